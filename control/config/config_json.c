/* The effective config as JSON, from the tables of keys.c: what `penstock config` and the API show.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control/config/config.h"
#include "control/config/keys.h"
#include "control/config/scalar.h"

/* What reads back as `text`: "${" alone would begin a variable. */
static json_t *string_json(const char *text)
{
	char *escaped = malloc(2 * strlen(text) + 1), *to = escaped;
	json_t *string;

	if (!escaped)
		abort();
	for (; *text; text++) {
		if (text[0] == '$' && text[1] == '{')
			*to++ = '$';
		*to++ = *text;
	}
	*to = 0;
	string = json_string(escaped);
	free(escaped);
	return string;
}

/* Enough digits to read back as the same value: a float is shown as the float that it is. */
static json_t *number_json(const struct ctl_key *k, const void *at)
{
	char text[CTL_SCALAR_TEXT_BYTES];
	double value;
	float narrow;

	if (k->size == sizeof(narrow)) {
		memcpy(&narrow, at, sizeof(narrow));
		snprintf(text, sizeof(text), "%.9g", (double)narrow);
		for (int digits = 1; digits < 9; digits++) {
			char shorter[CTL_SCALAR_TEXT_BYTES];

			snprintf(shorter, sizeof(shorter), "%.*g", digits, (double)narrow);
			if (strtof(shorter, NULL) == narrow) {
				strcpy(text, shorter);
				break;
			}
		}
		value = strtod(text, NULL);
	} else {
		memcpy(&value, at, sizeof(value));
	}
	return isfinite(value) ? json_real(value) : NULL;
}

static json_t *choices_json(const struct ctl_key *k, const void *at)
{
	json_t *list = json_array();
	uint32_t bits;

	memcpy(&bits, at, sizeof(bits));
	for (const struct ctl_choice *c = k->choices; c->name; c++) {
		if (bits & (uint32_t)c->value)
			json_array_append_new(list, json_string(c->name));
	}
	return list;
}

static json_t *workers_json(const struct ctl_workers *w)
{
	json_t *list;

	if (w->automatic)
		return json_string("auto");
	if (!w->listed)
		return json_integer(w->count);
	list = json_array();
	for (uint32_t i = 0; i < w->count; i++)
		json_array_append_new(list, json_integer(w->core[i]));
	return list;
}

static bool may_be_secret(const char *name)
{
	static const char *const parts[] = {
		"password", "secret", "key.pem", "token", "jaas", "oauthbearer.config"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strstr(name, parts[i]))
			return true;
	}
	return false;
}

static json_t *properties_json(const struct ctl_key *k, const void *at)
{
	const struct ctl_property *list;
	json_t *map = json_object();
	uint32_t count;

	memcpy(&list, at, sizeof(list));
	memcpy(&count, (const char *)at - k->offset + k->count_offset, sizeof(count));
	for (uint32_t i = 0; i < count; i++)
		json_object_set_new(map, list[i].name,
			string_json(may_be_secret(list[i].name) ? "***" : list[i].value));
	return map;
}

static json_t *uint_json(const struct ctl_key *k, const void *at)
{
	uint64_t value = 0;

	memcpy(&value, at, k->size);
	return value || k->fallback ? json_integer((json_int_t)value) : NULL;
}

static json_t *text_json(const void *at)
{
	const char *text;

	memcpy(&text, at, sizeof(text));
	return text ? string_json(text) : NULL;
}

static json_t *size_json(const struct ctl_key *k, const void *at)
{
	char text[CTL_SCALAR_TEXT_BYTES];
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	if (!value && !k->fallback && !k->fallback_text)
		return NULL;
	if (k->type == CTL_T_BYTES)
		ctl_write_bytes(value, text);
	else
		ctl_write_duration((int64_t)value, text);
	return json_string(text);
}

/* A name where an index is kept; `stream` is the one that is being shown. */
static json_t *reference_json(const struct ctl_config *c, const struct ctl_key *k,
	const struct dp_stream *stream, const void *at)
{
	int16_t index;

	memcpy(&index, at, sizeof(index));
	if (index < 0)
		return NULL;
	if (k->type == CTL_T_FIELD)
		return string_json(stream->fields[index].name);
	if (k->type == CTL_T_MODEL)
		return json_string(stream->models[index].name);
	if (k->type == CTL_T_WINDOW)
		return json_string(stream->windows[index].name);
	return json_string(c->streams.streams[index].name);
}

static json_t *scalar_json(const struct ctl_config *c, const struct ctl_key *k,
	const struct dp_stream *stream, const void *at)
{
	int choice;

	switch (k->type) {
	case CTL_T_NAME:
	case CTL_T_LABEL:
	case CTL_T_TEXT:
		return *(const char *)at || k->fallback ? string_json(at) : NULL;
	case CTL_T_PATH:
	case CTL_T_TOPIC:
	case CTL_T_BROKERS:
		return text_json(at);
	case CTL_T_BOOL:
		return json_boolean(*(const bool *)at);
	case CTL_T_UINT:
		return uint_json(k, at);
	case CTL_T_NUMBER:
		return number_json(k, at);
	case CTL_T_BYTES:
	case CTL_T_DURATION:
		return size_json(k, at);
	case CTL_T_CHOICE:
		memcpy(&choice, at, sizeof(choice));
		return choice ? json_string(ctl_choice_name(k->choices, choice)) : NULL;
	case CTL_T_CHOICES:
		return choices_json(k, at);
	case CTL_T_LISTEN:
		return json_string(((const struct ctl_listen *)at)->text);
	case CTL_T_WORKERS:
		return workers_json(at);
	case CTL_T_PROPERTIES:
		return properties_json(k, at);
	default:
		return reference_json(c, k, stream, at);
	}
}

static json_t *object_json(const struct ctl_config *c, const struct ctl_object *o,
	const struct dp_stream *stream, const void *at);

static json_t *list_json(const struct ctl_config *c, const struct ctl_key *k,
	const struct dp_stream *stream, const void *owner)
{
	const char *count_at = (const char *)owner + k->count_offset, *items;
	bool streams = !strcmp(k->name, "streams");
	json_t *list = json_array();
	uint32_t count = 0;

	memcpy(&items, (const char *)owner + k->offset, sizeof(items));
	memcpy(&count, count_at, k->count_size); /* little endian */
	for (uint32_t i = 0; i < count; i++, items += k->size) {
		const struct dp_stream *now = streams ? &c->streams.streams[i] : stream;

		json_array_append_new(list,
			k->object ? object_json(c, k->object, now, items) : string_json(items));
	}
	return list;
}

/* As deep as the tables nest. */
static json_t *object_json(const struct ctl_config *c, const struct ctl_object *o,
	const struct dp_stream *stream, const void *at)
{
	uint32_t now = ctl_object_case(o, at);
	json_t *map = json_object();

	for (const struct ctl_key *k = o->keys; k->name; k++) {
		const char *slot = (const char *)at + k->offset;
		json_t *value;

		if ((k->only && !(k->only & now)) || (o->given && !o->given(at, k)))
			continue;
		if (k->type == CTL_T_OBJECT)
			value = object_json(c, k->object, stream, slot);
		else if (k->type == CTL_T_LIST)
			value = list_json(c, k, stream, at);
		else
			value = scalar_json(c, k, stream, slot);
		if (value)
			json_object_set_new(map, k->name, value);
	}
	return map;
}

json_t *ctl_config_json(const struct ctl_config *config)
{
	return object_json(config, ctl_root_object(), NULL, config);
}
