/* What is wrong with inputs and outputs only in combination. */
#include "control/config/parse.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/kafka.h"

static bool is_wildcard(const struct ctl_listen *l)
{
	if (l->address.any.sa_family == AF_INET)
		return l->address.v4.sin_addr.s_addr == 0;
	return IN6_IS_ADDR_UNSPECIFIED(&l->address.v6.sin6_addr);
}

/* The IPv4 address that a socket of this address takes; false: it takes none. */
static bool as_v4(const struct ctl_listen *l, uint32_t *v4)
{
	if (l->address.any.sa_family == AF_INET) {
		*v4 = l->address.v4.sin_addr.s_addr;
		return true;
	}
	memcpy(v4, l->address.v6.sin6_addr.s6_addr + 12, sizeof(*v4));
	return IN6_IS_ADDR_V4MAPPED(&l->address.v6.sin6_addr);
}

/* Would one get datagrams meant for the other? An IPv6 wildcard takes IPv4 as well. */
static bool overlap(const struct ctl_listen *a, const struct ctl_listen *b)
{
	bool wild_a = is_wildcard(a), wild_b = is_wildcard(b);
	bool six_a = a->address.any.sa_family == AF_INET6;
	bool six_b = b->address.any.sa_family == AF_INET6;
	uint32_t v4_a, v4_b;

	if (a->port != b->port || !a->port || !a->length || !b->length)
		return false;
	if (as_v4(a, &v4_a) && as_v4(b, &v4_b))
		return v4_a == v4_b || !v4_a || !v4_b;
	if ((wild_a && six_a) || (wild_b && six_b))
		return true;
	return six_a && six_b &&
	       IN6_ARE_ADDR_EQUAL(&a->address.v6.sin6_addr, &b->address.v6.sin6_addr);
}

void ctl_check_inputs(struct ctl_cx *cx)
{
	const struct ctl_config *c = cx->config;
	const struct ctl_names inputs = {
		c->inputs, c->input_count, sizeof(struct ctl_input), "input"};
	bool any = false;

	ctl_check_names(cx, &inputs);
	for (uint32_t i = 0; i < c->input_count; i++) {
		const struct ctl_input *in = &c->inputs[i];

		any |= in->enabled;
		if (in->format == DP_FORMAT_JSON && in->stream == -1 && c->streams.count > 1)
			ctl_fail_at(cx, &in->stream,
				"is required: json readings do not name one of the %u streams",
				c->streams.count);
		for (uint32_t k = 0; k < i && in->enabled; k++) {
			if (!c->inputs[k].enabled || !overlap(&in->listen, &c->inputs[k].listen))
				continue;
			ctl_fail_at(cx, &in->listen, "%s overlaps %s of input \"%s\" in line %u",
				in->listen.text, c->inputs[k].listen.text, c->inputs[k].name,
				ctl_line_of(cx, &c->inputs[k].listen));
			break;
		}
	}
	if (c->input_count && !any)
		ctl_fail_at(cx, &c->inputs, "all are disabled: nothing would come in");
}

static void check_properties(struct ctl_cx *cx, const struct ctl_kafka *k)
{
	for (uint32_t i = 0; i < k->property_count; i++) {
		const char *key;

		if (!dp_kafka_reserved(k->properties[i].name, &key))
			continue;
		if (key)
			ctl_fail_at(cx, &k->properties[i], "is set by the key %s", key);
		else
			ctl_fail_at(
				cx, &k->properties[i], "cannot be changed: delivery depends on it");
	}
}

/* For what only librdkafka finds, when places are known no more. */
static void note_place(struct ctl_cx *cx, struct ctl_output *out)
{
	struct ctl_kafka *k = &out->kafka;

	k->given = ctl_place_of(cx, &k->properties);
	if (!k->given.line)
		k->given = ctl_place_of(cx, &out->type);
}

static const char *kind_name(int kind)
{
	static const char *const names[DP_REC_KINDS] = {
		"", "readings", "windows", "alerts", "gaps", "marks", "raw"};

	return names[kind];
}

static void check_json_topics(struct ctl_cx *cx, const struct ctl_output *out)
{
	const struct ctl_kafka *k = &out->kafka;
	bool any = false;

	if (k->topic)
		ctl_fail_at(cx, &k->topic, "is for format: packed; json takes topics by kind");
	for (int kind = 1; kind < DP_REC_KINDS; kind++) {
		bool wanted = out->kinds & 1u << kind;

		any |= k->topics.kind[kind] != NULL;
		if (wanted && !k->topics.kind[kind])
			ctl_fail_at(cx, &k->topics.kind[kind], "is required, for kinds holds %s",
				kind_name(kind));
		if (!wanted && k->topics.kind[kind])
			ctl_fail_at(cx, &k->topics.kind[kind], "is never used: kinds lacks %s",
				kind_name(kind));
	}
	if (!any && !out->kinds)
		ctl_fail_at(cx, &k->topics.kind[DP_REC_READING],
			"no topic is given: format: json needs one for each kind of record");
}

static void check_packed_topic(struct ctl_cx *cx, const struct ctl_output *out)
{
	const struct ctl_kafka *k = &out->kafka;

	if (!k->topic)
		ctl_fail_at(cx, &k->topic, "is required with format: packed");
	for (int kind = 1; kind < DP_REC_KINDS; kind++) {
		if (k->topics.kind[kind])
			ctl_fail_at(cx, &k->topics.kind[kind],
				"is for format: json; packed has one topic");
	}
	if (ctl_kinds_made(cx->config) & ~out->kinds)
		ctl_fail_at(cx, &out->kinds, "packed messages hold every kind of record");
	if (k->partition == CTL_PARTITION_BY_SENSOR)
		ctl_fail_at(cx, &k->partition, "packed messages hold many sensors: by_worker only");
	if (k->linger_ns > 0)
		ctl_fail_at(cx, &k->linger_ns,
			"must be 0 with format: packed: blocks have waited already "
			"(journal.linger)");
}

/* Asked for, and nobody keeps it. */
static void check_raw(struct ctl_cx *cx, const struct ctl_output *out)
{
	const char *const *topic = &out->kafka.topics.kind[DP_REC_RAW];

	if (!out->enabled || !cx->config->input_count ||
		ctl_kinds_made(cx->config) & 1u << DP_REC_RAW)
		return;
	if (*topic)
		ctl_fail_at(cx, topic, "is never used: no input has keep_raw: true");
	else if (out->kinds & 1u << DP_REC_RAW)
		ctl_fail_at(cx, &out->kinds, "holds raw, but no input has keep_raw: true");
}

/* Is `path` the directory or below it? Texts are compared, links are not followed. */
static bool inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	return !strncmp(path, dir, len) && (path[len] == '/' || !path[len]);
}

/* Does `path` read like a file that belongs to the output on `other`: renamed, or its lock? */
static bool beside(const char *path, const char *other)
{
	size_t len = strlen(other);

	if (strncmp(path, other, len) != 0 || path[len] != '.')
		return false;
	path += len + 1;
	return !strcmp(path, "lock") || (*path && !path[strspn(path, "0123456789")]);
}

static void check_pair(struct ctl_cx *cx, const struct ctl_output *a, const struct ctl_output *b)
{
	if (a->type != b->type || !a->enabled || !b->enabled)
		return;
	if (a->type == CTL_OUTPUT_STDOUT)
		ctl_fail_at(cx, &a->type, "output \"%s\" writes to stdout already", b->name);
	if (a->type != CTL_OUTPUT_FILE || !a->path || !b->path)
		return;
	if (!strcmp(a->path, b->path))
		ctl_fail_at(cx, &a->path, "is the file of output \"%s\" in line %u", b->name,
			ctl_line_of(cx, &b->path));
	if (beside(a->path, b->path) || beside(b->path, a->path))
		ctl_fail_at(cx, &a->path,
			"and that of output \"%s\" in line %u collide: renamed files and a lock "
			"are kept beside a file",
			b->name, ctl_line_of(cx, &b->path));
}

void ctl_check_outputs(struct ctl_cx *cx)
{
	const struct ctl_config *c = cx->config;
	const struct ctl_names outputs = {
		c->outputs, c->output_count, sizeof(struct ctl_output), "output"};

	ctl_check_names(cx, &outputs);
	for (uint32_t i = 0; i < c->output_count; i++) {
		const struct ctl_output *out = &c->outputs[i];

		if (strchr(out->name, '/'))
			ctl_fail_at(cx, out->name,
				"may not hold /, for files are named after the output");
		for (uint32_t k = 0; k < i; k++)
			check_pair(cx, out, &c->outputs[k]);
		if (out->type == CTL_OUTPUT_FILE && out->path && c->journal.dir &&
			inside(out->path, c->journal.dir))
			ctl_fail_at(cx, &out->path,
				"lies in journal.dir, which is for the journal alone");
		check_raw(cx, out);
		if (out->type != CTL_OUTPUT_KAFKA)
			continue;
		check_properties(cx, &out->kafka);
		note_place(cx, &cx->config->outputs[i]);
		if (out->kafka.format == CTL_KAFKA_JSON)
			check_json_topics(cx, out);
		else if (out->kafka.format == CTL_KAFKA_PACKED)
			check_packed_topic(cx, out);
	}
}
