/* From the text of an option to its value, with a message on stderr when it is wrong. */
#include "firmware-sim/option_values.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fws_option_number(double *v, double low, double high, const char *text)
{
	char *end;

	*v = strtod(text, &end);
	if (end != text && !*end && *v >= low && *v <= high)
		return 0;
	fprintf(stderr, "penstock-sim: '%s': expected a number from %.15g to %.15g\n", text, low,
		high);
	return -EINVAL;
}

int fws_option_whole(uint32_t *v, uint32_t low, uint32_t high, const char *text)
{
	double d;
	int rc = fws_option_number(&d, low, high, text);

	if (!rc && d != floor(d)) {
		fprintf(stderr, "penstock-sim: '%s': expected a whole number\n", text);
		rc = -EINVAL;
	}
	if (!rc)
		*v = (uint32_t)d;
	return rc;
}

int fws_option_wrong(const char *option, const char *why)
{
	fprintf(stderr, "penstock-sim: --%s: %s\n", option, why);
	return -EINVAL;
}

int fws_option_pair(double *a, double *b, double high, const char *text)
{
	char first[64];
	const char *colon = strchr(text, ':');
	int rc;

	snprintf(first, sizeof(first), "%.*s", colon ? (int)(colon - text) : 63, text);
	rc = fws_option_number(a, 0, high, first);
	return rc || !colon ? rc : fws_option_number(b, 0, high, colon + 1);
}

int fws_option_copy_name(char out[FWS_NAME_MAX + 1], const char *text, size_t len)
{
	if (len < 1 || len > FWS_NAME_MAX)
		return -EINVAL;
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

int fws_option_fields(struct fws_shape *s, const char *list)
{
	s->field_count = 0;
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ",");

		if (s->field_count == FWS_FIELDS_MAX ||
			fws_option_copy_name(s->fields[s->field_count++], at, n))
			return fws_option_wrong(
				"fields", "1 to 64 names of 1 to 32 bytes, separated by commas");
		at += n;
		if (!*at)
			return 0;
	}
}

int fws_option_tags(struct fws_shape *s, const char *list)
{
	s->tag_count = 0;
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ","), name = strcspn(at, "=");
		uint32_t i = s->tag_count++;

		if (i == FWS_TAGS_MAX || name >= n || n - name - 1 > FWS_TAG_BYTES_MAX ||
			fws_option_copy_name(s->tag_names[i], at, name))
			return fws_option_wrong(
				"tags", "1 to 8 of NAME=VALUE, separated by commas");
		memcpy(s->tags[i], at + name + 1, n - name - 1);
		s->tags[i][n - name - 1] = '\0';
		at += n;
		if (!*at)
			return 0;
	}
}

int fws_option_target(struct fws_options *o, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t host = colon ? (size_t)(colon - text) : 0;

	if (host && *text == '[' && text[host - 1] == ']') {
		text++;
		host -= 2;
	}
	if (!host || host >= sizeof(o->host) || strlen(colon + 1) >= sizeof(o->port) || !colon[1])
		return fws_option_wrong("target", "expected HOST:PORT");
	memcpy(o->host, text, host);
	o->host[host] = '\0';
	strcpy(o->port, colon + 1);
	return 0;
}

int fws_option_verify(struct fws_options *o, const char *text)
{
	static const char *const modes[] = {NULL, "api:", "file:", "kafka:"};

	for (int i = FWS_VERIFY_API; i <= FWS_VERIFY_KAFKA; i++)
		if (!strncmp(text, modes[i], strlen(modes[i])) && text[strlen(modes[i])]) {
			o->verify = (enum fws_verify_mode)i;
			o->verify_where = text + strlen(modes[i]);
		}
	if (o->verify == FWS_VERIFY_NONE)
		return fws_option_wrong(
			"verify", "expected api:SOCKET, file:PATH or kafka:BROKERS/TOPIC");
	if (o->verify == FWS_VERIFY_KAFKA && !strrchr(text, '/'))
		return fws_option_wrong("verify", "expected kafka:BROKERS/TOPIC");
	return 0;
}
