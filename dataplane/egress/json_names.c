/* Makes the texts of one stream set, once; read by json.c for every record. */
#include "dataplane/egress/json_names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/json.h"

static const char *const kind_names[DP_REC_KINDS] = {
	[DP_REC_READING] = "reading",
	[DP_REC_WINDOW] = "window",
	[DP_REC_ALERT] = "alert",
	[DP_REC_GAP] = "gap",
	[DP_REC_MARK] = "mark",
	[DP_REC_RAW] = "raw",
};

/* Twice over the same code: first to count, then, with a pool, to write. */
struct maker {
	struct dp_json_names *names;
	size_t used, texts_used;
};

static void append(struct maker *m, const char *text)
{
	size_t n = strlen(text);

	if (m->names->pool)
		memcpy(m->names->pool + m->used, text, n);
	m->used += n;
}

static void append_escaped(struct maker *m, const char *name)
{
	char text[6 * DP_EXPR_BYTES_MAX + 1];

	assert(strlen(name) <= DP_EXPR_BYTES_MAX);
	*dp_json_escape(text, name, strlen(name)) = 0;
	append(m, text);
}

static void make_head(struct maker *m, struct dp_json_text_at *out, int kind, const char *label,
	const char *stream)
{
	size_t begin = m->used;

	append(m, "\",\"kind\":\"");
	append(m, kind_names[kind]);
	append(m, "\",\"appliance\":\"");
	append(m, label);
	append(m, "\"");
	if (stream) {
		append(m, ",\"stream\":\"");
		append_escaped(m, stream);
		append(m, "\"");
	}
	out->at = (uint32_t)begin;
	out->bytes = (uint32_t)(m->used - begin);
}

_Static_assert(
	offsetof(struct dp_field, name) == 0 && offsetof(struct dp_tag, name) == 0 &&
		offsetof(struct dp_model, name) == 0 && offsetof(struct dp_label, text) == 0 &&
		offsetof(struct dp_window_def, name) == 0 && offsetof(struct dp_rule, name) == 0,
	"make_list() finds the name at the start");

/* `count` structs of `stride` bytes that begin with a name; `end` goes behind each name. */
static struct dp_json_text_at *make_list(
	struct maker *m, const void *first, size_t stride, size_t count, const char *end)
{
	struct dp_json_text_at *list = NULL;

	if (m->names->texts)
		list = m->names->texts + m->texts_used;
	for (size_t i = 0; i < count; i++) {
		size_t begin = m->used;

		append(m, "\"");
		append_escaped(m, (const char *)first + i * stride);
		append(m, end);
		if (list)
			list[i] = (struct dp_json_text_at){
				(uint32_t)begin, (uint32_t)(m->used - begin)};
	}
	m->texts_used += count;
	return list;
}

/* "mean(x,5m)" as "mean_x_5m": an index takes brackets in a key, but no person types them. */
static void key_of(const char *expression, char key[DP_EXPR_BYTES_MAX + 1])
{
	size_t n = 0;

	for (; *expression; expression++)
		if (*expression != ')')
			key[n++] = *expression == '(' || *expression == ',' ? '_' : *expression;
	key[n] = 0;
}

static struct dp_json_text_at *make_derived(struct maker *m, const struct dp_stream *s)
{
	struct dp_json_text_at *list = NULL;

	if (m->names->texts)
		list = m->names->texts + m->texts_used;
	for (uint16_t i = 0; i < s->derived_count; i++) {
		char key[DP_EXPR_BYTES_MAX + 1];
		struct dp_json_text_at *one;

		key_of(s->derived[i].text, key);
		one = make_list(m, key, sizeof(key), 1, "\":");
		assert(!list || one == &list[i]);
		(void)one;
	}
	return list;
}

static size_t longest(const struct dp_json_text_at *list, size_t count)
{
	size_t most = 0;

	for (size_t i = 0; list && i < count; i++)
		most = list[i].bytes > most ? list[i].bytes : most;
	return most;
}

static void make_stream(
	struct maker *m, struct dp_json_stream *t, const struct dp_stream *s, const char *label)
{
	size_t begin = m->used;

	for (int kind = 1; kind < DP_REC_KINDS; kind++)
		make_head(m, &t->head[kind], kind, label, s->name);
	t->field = make_list(m, s->fields, sizeof(struct dp_field), s->field_count, "\":");
	t->tag = make_list(m, s->tags, sizeof(struct dp_tag), s->tag_count, "\":");
	t->model = make_list(m, s->models, sizeof(struct dp_model), s->model_count, "\":");
	t->label = make_list(m, s->labels, sizeof(struct dp_label), s->label_count, "\"");
	t->derived = make_derived(m, s);
	t->window = make_list(m, s->windows, sizeof(struct dp_window_def), s->window_count, "\"");
	t->rule = make_list(m, s->rules, sizeof(struct dp_rule), s->rule_count, "\"");
	t->names_bytes = m->used - begin;
	for (uint16_t i = 0; i < s->model_count; i++) {
		t->label_at[i] = s->models[i].label_at;
		t->label_count[i] = s->models[i].label_count;
	}
	t->score_bytes_max = longest(t->model, s->model_count) + longest(t->label, s->label_count);
}

static void make_all(struct maker *m, const struct dp_stream_set *streams, const char *label)
{
	m->used = 0;
	m->texts_used = 0;
	for (int kind = 1; kind < DP_REC_KINDS; kind++)
		make_head(m, &m->names->head[kind], kind, label, NULL);
	for (uint32_t i = 0; i < streams->count; i++)
		make_stream(m, &m->names->streams[i], &streams->streams[i], label);
}

struct dp_json_names *dp_json_names_new(const struct dp_stream_set *streams, const char *label)
{
	struct dp_json_names *names = calloc(1, sizeof(*names));
	struct maker m = {.names = names};

	if (!names)
		return NULL;
	names->hash = streams->hash;
	names->stream_count = streams->count;
	names->streams = calloc(streams->count + 1u, sizeof(*names->streams));
	if (!names->streams)
		goto fail;
	make_all(&m, streams, label);
	names->pool = calloc(1, m.used + DP_JSON_NAMES_SLACK);
	names->texts = calloc(m.texts_used + 1, sizeof(*names->texts));
	if (!names->pool || !names->texts)
		goto fail;
	make_all(&m, streams, label);
	return names;
fail:
	dp_json_names_free(names);
	return NULL;
}

void dp_json_names_free(struct dp_json_names *n)
{
	if (!n)
		return;
	free(n->pool);
	free(n->texts);
	free(n->streams);
	free(n);
}
