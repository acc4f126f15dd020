/*
 * The stream set as bytes (docs/block.md).  One description of the layout per direction: put_* and
 * get_* below stand in the same order.  Reading runs twice, first only to learn the size of the one
 * allocation; both runs take the same path, so what the first accepted the second does too.
 */
#include "dataplane/journal/schema.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/core/batch.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory's layout");

#define SCHEMA_MAGIC 0x48435350u /* "PSCH" */

enum {
	SCHEMA_VERSION = 1,
	FIELD_IS_SCORE = 0xfffe, /* in place of a rule's field: model and label follow */
};

/* ---- writing ---- */

/* Bytes go to a buffer, to a hash, or are only counted. */
struct sink {
	char *buf;
	size_t size, used;
	XXH3_state_t *hash;
};

static void put(struct sink *to, const void *from, size_t n)
{
	if (to->hash)
		XXH3_64bits_update(to->hash, from, n);
	if (to->used < to->size)
		memcpy(to->buf + to->used, from, n < to->size - to->used ? n : to->size - to->used);
	to->used += n;
}

static void put_u8(struct sink *to, uint8_t v)
{
	put(to, &v, sizeof(v));
}

static void put_u16(struct sink *to, uint16_t v)
{
	put(to, &v, sizeof(v));
}

static void put_u32(struct sink *to, uint32_t v)
{
	put(to, &v, sizeof(v));
}

static void put_i64(struct sink *to, int64_t v)
{
	put(to, &v, sizeof(v));
}

static void put_f32(struct sink *to, float v)
{
	put(to, &v, sizeof(v));
}

static void put_f64(struct sink *to, double v)
{
	put(to, &v, sizeof(v));
}

static void put_text(struct sink *to, const char *text)
{
	size_t len = strlen(text);

	put_u8(to, (uint8_t)len);
	put(to, text, len);
}

static void put_field(struct sink *to, const struct dp_field *f)
{
	put_text(to, f->name);
	put_text(to, f->unit);
	put_f32(to, f->min);
	put_f32(to, f->max);
	put_f32(to, f->scale);
	put_f32(to, f->offset);
}

static void put_window(struct sink *to, const struct dp_window_def *w)
{
	put_text(to, w->name);
	put_i64(to, w->size_ns);
	put_i64(to, w->slide_ns);
	put_u32(to, w->stats);
}

static void put_rule(struct sink *to, const struct dp_rule *r)
{
	put_text(to, r->name);
	put_u8(to, (uint8_t)r->kind);
	put_u8(to, (uint8_t)r->severity);
	put_u16(to, r->of_score ? FIELD_IS_SCORE : (uint16_t)r->field);
	if (r->of_score) {
		put_u16(to, (uint16_t)r->model);
		put_u16(to, (uint16_t)r->label);
	}
	put_u16(to, (uint16_t)r->window);
	put_u32(to, r->stat);
	put_f64(to, r->threshold);
	put_f64(to, r->hysteresis);
	put_u32(to, r->count);
	put_i64(to, r->duration_ns);
	put_i64(to, r->period_ns);
}

/* Only where there are any: schemas of streams without models are as they were before them. */
static void put_models(struct sink *to, const struct dp_stream *s)
{
	put_u16(to, s->label_count);
	put_u16(to, s->derived_count);
	for (uint16_t i = 0; i < s->model_count; i++) {
		put_text(to, s->models[i].name);
		put_u16(to, (uint16_t)s->models[i].window);
		put_u16(to, s->models[i].label_at);
		put_u16(to, s->models[i].label_count);
	}
	for (uint16_t i = 0; i < s->label_count; i++)
		put_text(to, s->labels[i].text);
	for (uint16_t i = 0; i < s->derived_count; i++)
		put_text(to, s->derived[i].text);
}

static void put_stream(struct sink *to, const struct dp_stream *s)
{
	put_text(to, s->name);
	put_text(to, s->id_key);
	put_text(to, s->time_key);
	put_u16(to, s->number);
	put_u16(to, s->field_count);
	put_u16(to, s->tag_count);
	put_u16(to, s->window_count);
	put_u16(to, s->rule_count);
	put_u16(to, s->model_count);
	put_i64(to, s->lateness_ns);
	put_i64(to, s->max_skew_ns);
	put_i64(to, s->idle_ns);
	put_i64(to, s->forget_ns);
	for (uint16_t i = 0; i < s->field_count; i++)
		put_field(to, &s->fields[i]);
	for (uint16_t i = 0; i < s->tag_count; i++)
		put_text(to, s->tags[i].name);
	for (uint16_t i = 0; i < s->window_count; i++)
		put_window(to, &s->windows[i]);
	for (uint16_t i = 0; i < s->rule_count; i++)
		put_rule(to, &s->rules[i]);
	if (s->model_count)
		put_models(to, s);
}

static void put_set(struct sink *to, const struct dp_stream_set *set)
{
	put_u32(to, SCHEMA_MAGIC);
	put_u16(to, SCHEMA_VERSION);
	put_u16(to, (uint16_t)set->count);
	for (uint32_t i = 0; i < set->count; i++)
		put_stream(to, &set->streams[i]);
}

size_t dp_schema_write(const struct dp_stream_set *set, void *buf, size_t size)
{
	struct sink to = {.buf = buf, .size = size};

	put_set(&to, set);
	return to.used;
}

static struct sink hash_sink(XXH3_state_t *state)
{
	XXH3_INITSTATE(state);
	XXH3_64bits_reset(state);
	return (struct sink){.hash = state};
}

uint64_t dp_schema_hash(const struct dp_stream_set *set)
{
	XXH3_state_t state;
	struct sink to = hash_sink(&state);

	put_set(&to, set);
	return XXH3_64bits_digest(&state);
}

uint64_t dp_stream_state_hash(const struct dp_stream *s)
{
	XXH3_state_t state;
	struct sink to = hash_sink(&state);

	put_text(&to, s->name);
	put_i64(&to, s->lateness_ns);
	put_u16(&to, s->field_count);
	for (uint16_t i = 0; i < s->field_count; i++) {
		put_text(&to, s->fields[i].name);
		put_text(&to, s->fields[i].unit);
	}
	put_u16(&to, s->tag_count);
	for (uint16_t i = 0; i < s->tag_count; i++)
		put_text(&to, s->tags[i].name);
	put_u16(&to, s->window_count);
	for (uint16_t i = 0; i < s->window_count; i++)
		put_window(&to, &s->windows[i]);
	return XXH3_64bits_digest(&state);
}

uint32_t dp_rule_hash(const struct dp_stream *s, const struct dp_rule *r)
{
	struct dp_rule plain = *r;
	XXH3_state_t state;
	struct sink to = hash_sink(&state);

	/* By name: a field or window that only moved in its list leaves the rule what it was. */
	plain.field = plain.window = plain.model = plain.label = -1;
	put_text(&to, s->name);
	put_rule(&to, &plain);
	put_text(&to, r->field >= 0 ? s->fields[r->field].name : "");
	put_text(&to, r->window >= 0 ? s->windows[r->window].name : "");
	if (r->of_score) {
		put_text(&to, s->models[r->model].name);
		put_text(&to, r->label >= 0 ? s->labels[r->label].text : "");
	}
	return (uint32_t)XXH3_64bits_digest(&state);
}

/* ---- reading ---- */

/* `bad` sticks: after it nothing is taken any more and every value is zero. */
struct source {
	const char *at, *end;
	bool bad;
	char *base; /* NULL in the run that only measures */
	size_t used;
};

static void get(struct source *from, void *to, size_t n)
{
	from->bad |= (size_t)(from->end - from->at) < n;
	if (from->bad) {
		memset(to, 0, n);
		return;
	}
	memcpy(to, from->at, n);
	from->at += n;
}

static uint8_t get_u8(struct source *from)
{
	uint8_t v;

	get(from, &v, sizeof(v));
	return v;
}

static uint16_t get_u16(struct source *from)
{
	uint16_t v;

	get(from, &v, sizeof(v));
	return v;
}

static uint32_t get_u32(struct source *from)
{
	uint32_t v;

	get(from, &v, sizeof(v));
	return v;
}

/* Times and lengths of time: none is negative. */
static int64_t get_ns(struct source *from)
{
	int64_t v;

	get(from, &v, sizeof(v));
	from->bad |= v < 0;
	return v;
}

static float get_f32(struct source *from)
{
	float v;

	get(from, &v, sizeof(v));
	from->bad |= isnan(v);
	return v;
}

static double get_f64(struct source *from)
{
	double v;

	get(from, &v, sizeof(v));
	from->bad |= !isfinite(v);
	return v;
}

/* Text of at most `max` printable bytes into to[max + 1]. */
static void get_text(struct source *from, char *to, size_t max)
{
	uint8_t len = get_u8(from);

	from->bad |= len > max;
	if (from->bad)
		len = 0;
	get(from, to, len);
	to[len] = '\0';
	from->bad |= !dp_text_valid(to, len);
}

static void get_name(struct source *from, char *to)
{
	get_text(from, to, DP_NAME_BYTES_MAX);
	from->bad |= !to[0];
}

/*
 * An array of the one allocation; NULL when only measuring.  Bounded by the bytes still there, of
 * which each element takes one at least.
 */
static void *carve(struct source *from, uint32_t count, size_t each)
{
	size_t at = from->used;

	from->bad |= count > (size_t)(from->end - from->at);
	if (from->bad)
		return NULL;
	from->used += (count * each + 7) / 8 * 8;
	return from->base ? from->base + at : NULL;
}

static void get_field(struct source *from, struct dp_field *f)
{
	get_name(from, f->name);
	get_text(from, f->unit, DP_UNIT_BYTES_MAX);
	f->min = get_f32(from);
	f->max = get_f32(from);
	f->scale = get_f32(from);
	f->offset = get_f32(from);
	from->bad |= f->min > f->max || isinf(f->scale) || isinf(f->offset);
}

static void get_window(struct source *from, struct dp_window_def *w)
{
	get_name(from, w->name);
	w->size_ns = get_ns(from);
	w->slide_ns = get_ns(from);
	w->stats = get_u32(from);
	from->bad |= w->size_ns == 0 || w->slide_ns == 0 || w->stats & ~(uint32_t)DP_STAT_ALL;
	from->bad |=
		!from->bad && (w->size_ns % w->slide_ns || w->size_ns / w->slide_ns > DP_PANES_MAX);
}

static void get_rule(struct source *from, struct dp_rule *r, const struct dp_stream *s)
{
	uint8_t kind, severity;

	get_name(from, r->name);
	kind = get_u8(from);
	severity = get_u8(from);
	r->field = (int16_t)get_u16(from);
	r->model = r->label = -1;
	r->of_score = (uint16_t)r->field == FIELD_IS_SCORE;
	if (r->of_score) {
		r->field = -1;
		r->model = (int16_t)get_u16(from);
		r->label = (int16_t)get_u16(from);
		from->bad |= r->model < 0 || r->model >= s->model_count || r->label < -1 ||
			     r->label >= DP_LABELS_MAX;
	}
	r->window = (int16_t)get_u16(from);
	r->stat = get_u32(from);
	r->threshold = get_f64(from);
	r->hysteresis = get_f64(from);
	r->count = get_u32(from);
	r->duration_ns = get_ns(from);
	r->period_ns = get_ns(from);
	from->bad |= kind < DP_RULE_ABOVE || kind > DP_RULE_MISSING ||
		     severity < DP_SEVERITY_INFO || severity > DP_SEVERITY_CRITICAL;
	from->bad |= r->field < -1 || r->field >= s->field_count || r->window < -1 ||
		     r->window >= s->window_count || r->stat & ~(uint32_t)DP_STAT_ALL ||
		     r->stat & (r->stat - 1);
	r->kind = from->bad ? 0 : (enum dp_rule_kind)kind;
	r->severity = from->bad ? 0 : (enum dp_severity)severity;
}

static void get_model(struct source *from, struct dp_model *m, struct dp_stream *s)
{
	get_name(from, m->name);
	m->window = (int16_t)get_u16(from);
	m->label_at = get_u16(from);
	m->label_count = get_u16(from);
	from->bad |= m->window < -1 || m->window >= s->window_count ||
		     m->label_at + m->label_count > s->label_count;
	s->reading_models += m->window < 0;
}

static void get_models(struct source *from, struct dp_stream *s)
{
	struct dp_model model;
	struct dp_label label;
	struct dp_derived derived = {0};

	s->label_count = get_u16(from);
	s->derived_count = get_u16(from);
	from->bad |= s->label_count > DP_LABELS_MAX || s->derived_count > DP_DERIVED_MAX;
	if (from->bad)
		return;
	s->models = carve(from, s->model_count, sizeof(model));
	for (uint16_t i = 0; !from->bad && i < s->model_count; i++)
		get_model(from, s->models ? &s->models[i] : &model, s);
	s->labels = carve(from, s->label_count, sizeof(label));
	for (uint16_t i = 0; !from->bad && i < s->label_count; i++)
		get_text(from, s->labels ? s->labels[i].text : label.text, DP_CLASS_BYTES_MAX);
	s->derived = carve(from, s->derived_count, sizeof(derived));
	for (uint16_t i = 0; !from->bad && i < s->derived_count; i++)
		get_text(from, s->derived ? s->derived[i].text : derived.text, DP_EXPR_BYTES_MAX);
}

static void get_arrays(struct source *from, struct dp_stream *s)
{
	struct dp_field field;
	struct dp_tag tag;
	struct dp_window_def window;
	struct dp_rule rule;

	s->fields = carve(from, s->field_count, sizeof(field));
	for (uint16_t i = 0; !from->bad && i < s->field_count; i++)
		get_field(from, s->fields ? &s->fields[i] : &field);
	s->tags = carve(from, s->tag_count, sizeof(tag));
	for (uint16_t i = 0; !from->bad && i < s->tag_count; i++)
		get_name(from, s->tags ? s->tags[i].name : tag.name);
	s->windows = carve(from, s->window_count, sizeof(window));
	for (uint16_t i = 0; !from->bad && i < s->window_count; i++)
		get_window(from, s->windows ? &s->windows[i] : &window);
	s->rules = carve(from, s->rule_count, sizeof(rule));
	for (uint16_t i = 0; !from->bad && i < s->rule_count; i++)
		get_rule(from, s->rules ? &s->rules[i] : &rule, s);
	if (s->model_count)
		get_models(from, s);
}

static void get_stream(struct source *from, struct dp_stream *s)
{
	get_name(from, s->name);
	get_text(from, s->id_key, DP_NAME_BYTES_MAX);
	get_text(from, s->time_key, DP_NAME_BYTES_MAX);
	s->number = get_u16(from);
	s->field_count = get_u16(from);
	s->tag_count = get_u16(from);
	s->window_count = get_u16(from);
	s->rule_count = get_u16(from);
	s->model_count = get_u16(from);
	s->label_count = s->derived_count = s->reading_models = 0;
	s->lateness_ns = get_ns(from);
	s->max_skew_ns = get_ns(from);
	s->idle_ns = get_ns(from);
	s->forget_ns = get_ns(from);
	from->bad |= s->field_count > DP_FIELDS_MAX || s->tag_count > DP_TAGS_MAX ||
		     s->window_count > DP_WINDOWS_MAX || s->rule_count > DP_RULES_MAX ||
		     s->model_count > DP_MODELS_MAX;
	if (!from->bad)
		get_arrays(from, s);
}

static struct dp_stream_set *get_set(struct source *from)
{
	struct dp_stream_set *set = carve(from, 1, sizeof(*set));
	struct dp_stream *streams, scratch = {0};
	uint16_t count;

	from->bad |= get_u32(from) != SCHEMA_MAGIC;
	from->bad |= get_u16(from) != SCHEMA_VERSION;
	count = get_u16(from);
	from->bad |= count > DP_STREAMS_MAX;
	streams = carve(from, count, sizeof(*streams));
	for (uint16_t i = 0; !from->bad && i < count; i++) {
		scratch.index = i;
		get_stream(from, &scratch);
		if (streams)
			streams[i] = scratch;
	}
	from->bad |= from->at != from->end;
	if (set)
		*set = (struct dp_stream_set){.count = count, .streams = streams};
	return set;
}

/* Are the names, which lie `each` bytes apart, all different? */
static bool names_differ(const void *first, uint32_t count, size_t each)
{
	for (uint32_t i = 1; i < count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (!strcmp((const char *)first + i * each, (const char *)first + j * each))
				return false;
	return true;
}

static bool set_good(const struct dp_stream_set *set)
{
	if (!names_differ(set->streams, set->count, sizeof(*set->streams)))
		return false;
	for (uint32_t i = 0; i < set->count; i++) {
		const struct dp_stream *s = &set->streams[i];

		for (uint32_t j = 0; j < i; j++)
			if (set->streams[j].number == s->number)
				return false;
		if (!names_differ(s->fields, s->field_count, sizeof(*s->fields)) ||
			!names_differ(s->tags, s->tag_count, sizeof(*s->tags)) ||
			!names_differ(s->windows, s->window_count, sizeof(*s->windows)) ||
			!names_differ(s->rules, s->rule_count, sizeof(*s->rules)) ||
			!names_differ(s->models, s->model_count, sizeof(*s->models)))
			return false;
		for (uint16_t k = 0; k < s->rule_count; k++)
			if (s->rules[k].of_score && s->rules[k].label >= s->label_count)
				return false;
	}
	return true;
}

int dp_schema_read(const void *buf, size_t size, struct dp_stream_set **out)
{
	struct source measure = {.at = buf, .end = (const char *)buf + size}, from = measure;
	struct dp_stream_set *set;

	*out = NULL;
	if (size > DP_SCHEMA_BYTES_MAX)
		return -EBADMSG;
	get_set(&measure);
	if (measure.bad)
		return -EBADMSG;
	from.base = calloc(1, measure.used);
	if (!from.base)
		return -ENOMEM;
	set = get_set(&from);
	if (!set_good(set)) {
		free(set);
		return -EBADMSG;
	}
	set->hash = XXH3_64bits(buf, size);
	for (uint32_t i = 0; i < set->count; i++)
		set->streams[i].state_hash = dp_stream_state_hash(&set->streams[i]);
	*out = set;
	return 0;
}

void dp_schema_free(struct dp_stream_set *set)
{
	free(set);
}
