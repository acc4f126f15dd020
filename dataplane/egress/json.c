/*
 * The JSON form of records.  What is the same for all records of a stream (names with their quotes,
 * the appliance's label) is text made once per schema; a record is then copies, numbers and times.
 */
#include "dataplane/egress/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/alert/alert.h"
#include "dataplane/core/drop.h"
#include "dataplane/egress/base64.h"
#include "dataplane/egress/json_names.h"
#include "dataplane/egress/number.h"
#include "dataplane/journal/record.h"

enum {
	SETS_MAX = 4,		/* schemas whose names are kept: the current one and a few older */
	FIXED_BYTES_MAX = 1024, /* of a record without names, values, strings and attributes */
	ESCAPED_BYTES_MAX = 6,	/* of one byte */
	SCORE_BYTES_MAX = 160,	/* of a score without names */
	COUNTER_BYTES_MAX = 96, /* of a counter with its name */
	STAT_BYTES_MAX = 8 + DP_NUMBER_BYTES_MAX,
	COPY_STEP = DP_JSON_NAMES_SLACK, /* copy_text() may write so much more than it was told */
};

struct dp_json_form {
	char *out;
	size_t size;
	struct dp_json_names *sets[SETS_MAX]; /* the last used first */
	struct dp_time_text event_time, arrival_time, other_time;
	struct dp_attribute_lookup attributes;
	char label[ESCAPED_BYTES_MAX * DP_LABEL_BYTES_MAX + 1]; /* escaped */
};

/* ---- small writers; each returns the new end ---- */

#define PUT(p, literal) put((p), (literal), sizeof(literal) - 1)

static inline char *put(char *p, const char *from, size_t n)
{
	memcpy(p, from, n);
	return p + n;
}

/* In steps of a fixed size: no call of memcpy for a dozen bytes. Both sides have the slack. */
static inline char *put_text(char *p, const struct dp_json_names *names, struct dp_json_text_at t)
{
	const char *from = names->pool + t.at;

	for (uint32_t done = 0; done < t.bytes; done += COPY_STEP)
		memcpy(p + done, from + done, COPY_STEP);
	return p + t.bytes;
}

static inline char *put_u64(char *p, uint64_t v)
{
	return p + dp_number_u64(v, p);
}

static inline char *put_time(char *p, struct dp_time_text *last, int64_t unix_ns)
{
	*p++ = '"';
	p += dp_number_time(last, unix_ns, p);
	*p++ = '"';
	return p;
}

static inline bool plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static char *escape_byte(char *p, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '"':
	case '\\':
		*p++ = '\\';
		*p++ = (char)c;
		return p;
	case '\n':
		return PUT(p, "\\n");
	case '\r':
		return PUT(p, "\\r");
	case '\t':
		return PUT(p, "\\t");
	default:
		p = PUT(p, "\\u00");
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
		return p;
	}
}

/* Are all eight bytes plain? A borrow between bytes can only come from one that is not. */
static inline bool plain_eight(uint64_t x)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t quote = x ^ '"' * each, backslash = x ^ '\\' * each;
	uint64_t control = (x - 0x20 * each) & ~x;

	return !((control | ((quote - each) & ~quote) | ((backslash - each) & ~backslash)) &
		 0x80 * each);
}

char *dp_json_escape(char *out, const char *text, size_t bytes)
{
	size_t i = 0;

	for (uint64_t x; bytes - i >= sizeof(x); i += sizeof(x)) {
		memcpy(&x, text + i, sizeof(x));
		if (!plain_eight(x))
			break;
		memcpy(out, &x, sizeof(x));
		out += sizeof(x);
	}
	for (; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];

		if (plain(c))
			*out++ = (char)c;
		else
			out = escape_byte(out, c);
	}
	return out;
}

void dp_id_text(const uint64_t id[2], char out[32])
{
	dp_number_hex(id[1], out);
	dp_number_hex(id[0], out + 16);
}

/* ---- parts of a record ---- */

static char *put_values(char *p, const struct dp_json_stream *t, const struct dp_json_names *names,
	const struct dp_rec_reading *r)
{
	const float *values = dp_rec_values(r);
	bool any = false;

	p = PUT(p, ",\"values\":{");
	for (uint16_t i = 0; i < r->field_count; i++) {
		if (!isfinite(values[i]))
			continue;
		p = put_text(p, names, t->field[i]);
		p += dp_number_f32(values[i], p);
		*p++ = ',';
		any = true;
	}
	p -= any;
	*p++ = '}';
	return p;
}

static char *put_tags(char *p, const struct dp_json_stream *t, const struct dp_json_names *names,
	const struct dp_rec_reading *r)
{
	const uint8_t *tag = dp_rec_tags(r);
	bool any = false;

	for (uint8_t i = 0; i < r->tag_count; i++) {
		uint8_t len = *tag++;

		if (len) {
			if (!any)
				p = PUT(p, ",\"tags\":{");
			p = put_text(p, names, t->tag[i]);
			*p++ = '"';
			p = dp_json_escape(p, (const char *)tag, len);
			p = PUT(p, "\",");
			any = true;
		}
		tag += len;
	}
	if (any)
		p[-1] = '}';
	return p;
}

static char *put_number(char *p, float v)
{
	return p + dp_number_f32(v, p);
}

/* Of a model that says classes. */
static char *put_class(char *p, const struct dp_json_stream *t, const struct dp_json_names *names,
	const struct dp_rec_score *score)
{
	uint32_t label = t->label_at[score->model] + score->class_index;

	if (isfinite(score->probability))
		p = put_number(PUT(p, ",\"probability\":"), score->probability);
	if (score->class_index >= t->label_count[score->model])
		return p; /* no writer of ours */
	p = PUT(p, ",\"class\":");
	p = put_u64(p, score->class_index);
	p = PUT(p, ",\"label\":");
	return put_text(p, names, t->label[label]);
}

static char *put_scores(char *p, const struct dp_json_stream *t, const struct dp_json_names *names,
	const struct dp_rec_score *score, uint8_t count)
{
	if (count == 0)
		return p;
	p = PUT(p, ",\"scores\":{");
	for (uint8_t i = 0; i < count; i++, score++) {
		p = put_text(p, names, t->model[score->model]);
		p = PUT(p, "{\"version\":");
		p = put_u64(p, score->version);
		if (score->flags & DP_SCORE_NONE) {
			p = PUT(p, ",\"missing\":true},");
			continue;
		}
		if (t->label_count[score->model])
			p = put_class(p, t, names, score);
		else if (isfinite(score->value))
			p = put_number(PUT(p, ",\"value\":"), score->value);
		p = PUT(p, "},");
	}
	p[-1] = '}';
	return p;
}

/* What the models took from the sensor's windows. */
static char *put_derived(char *p, const struct dp_json_stream *t, const struct dp_json_names *names,
	const struct dp_rec_reading *r)
{
	const float *derived = dp_rec_derived(r);
	bool any = false;

	for (uint16_t i = 0; i < r->derived_count; i++) {
		if (!isfinite(derived[i]))
			continue;
		if (!any)
			p = PUT(p, ",\"inputs\":{");
		p = put_text(p, names, t->derived[i]);
		p += dp_number_f32(derived[i], p);
		*p++ = ',';
		any = true;
	}
	if (any)
		p[-1] = '}';
	return p;
}

static char *put_flags(char *p, uint16_t flags)
{
	static const struct {
		uint16_t flag;
		const char *name;
	} names[] = {
		{DP_ROW_ARRIVAL_TIME, "arrival_time"},
		{DP_ROW_OUT_OF_RANGE, "out_of_range"},
		{DP_ROW_LATE, "late"},
		{DP_ROW_FUTURE, "future"},
		{DP_ROW_CLOCK_RESET, "clock_reset"},
		{DP_ROW_NEW_LIFE, "new_life"},
	};

	/* Whether the sender numbers is seen by "seq". */
	if (!(flags & ~DP_ROW_NUMBERED))
		return p;
	p = PUT(p, ",\"flags\":[");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(flags & names[i].flag))
			continue;
		*p++ = '"';
		p = put(p, names[i].name, strlen(names[i].name));
		p = PUT(p, "\",");
	}
	p[-1] = ']';
	return p;
}

/* One type for ever: an index takes "seq" for a signed 64-bit number and would refuse more. */
static char *put_number_of_sender(char *p, const struct dp_rec_reading *r)
{
	p = PUT(p, ",\"boot\":");
	p = put_u64(p, r->boot);
	if (r->seq <= INT64_MAX) {
		p = PUT(p, ",\"seq\":");
		p = put_u64(p, r->seq);
	} else {
		p = PUT(p, ",\"seq_text\":\"");
		p = put_u64(p, r->seq);
		*p++ = '"';
	}
	p = PUT(p, ",\"index\":");
	return put_u64(p, r->index);
}

static char *put_reading(struct dp_json_form *f, char *p, const struct dp_json_names *names,
	const struct dp_rec_reading *r)
{
	const struct dp_json_stream *t = &names->streams[r->head.stream];

	p = put_values(p, t, names, r);
	p = put_tags(p, t, names, r);
	p = put_derived(p, t, names, r);
	p = put_scores(p, t, names, dp_rec_scores(r), r->score_count);
	p = put_flags(p, r->flags);
	p = PUT(p, ",\"arrival\":");
	p = put_time(p, &f->arrival_time, r->arrival_ns);
	if (r->flags & DP_ROW_NUMBERED)
		p = put_number_of_sender(p, r);
	return p;
}

/* One field's statistics, from the lowest bit of `stats`; steps over them in *stat. */
static char *put_stats(char *p, uint32_t stats, const uint32_t **stat)
{
	static const char *const names[] = {
		"\"count\":", "\"mean\":", "\"std\":", "\"min\":", "\"max\":", "\"last\":"};
	bool any = false;

	*p++ = '{';
	for (uint32_t left = stats; left; left &= left - 1) {
		uint32_t bit = (uint32_t)__builtin_ctz(left);
		uint32_t bits = *(*stat)++;
		float v;

		memcpy(&v, &bits, sizeof(v));
		if (bit && !isfinite(v))
			continue;
		p = put(p, names[bit], strlen(names[bit]));
		p = bit ? p + dp_number_f32(v, p) : put_u64(p, bits);
		*p++ = ',';
		any = true;
	}
	p -= any;
	*p++ = '}';
	return p;
}

static char *put_window(struct dp_json_form *f, char *p, const struct dp_json_names *names,
	const struct dp_rec_window *w)
{
	static const char *const reasons[] = {[DP_CLOSE_WATERMARK] = "watermark",
		[DP_CLOSE_IDLE] = "idle",
		[DP_CLOSE_CLOCK_RESET] = "clock_reset",
		[DP_CLOSE_RETIRED] = "retired"};
	const struct dp_json_stream *t = &names->streams[w->head.stream];
	const uint32_t *stat = dp_rec_stats(w);

	p = PUT(p, ",\"window\":{\"name\":");
	p = put_text(p, names, t->window[w->window]);
	p = PUT(p, ",\"start\":");
	p = put_time(p, &f->other_time, w->start_ns);
	p = PUT(p, ",\"end\":");
	p = put_time(p, &f->event_time, w->end_ns);
	p = PUT(p, ",\"count\":");
	p = put_u64(p, w->count);
	p = PUT(p, ",\"reason\":\"");
	p = put(p, reasons[w->reason], strlen(reasons[w->reason]));
	p = PUT(p, "\",\"stats\":{");
	if (w->stats) {
		for (uint16_t i = 0; i < w->field_count; i++) {
			p = put_text(p, names, t->field[i]);
			p = put_stats(p, w->stats, &stat);
			*p++ = ',';
		}
		p -= w->field_count > 0;
	}
	p = PUT(p, "}}");
	p = put_scores(p, t, names, dp_rec_window_scores(w), w->score_count);
	p = PUT(p, ",\"arrival\":");
	return put_time(p, &f->arrival_time, w->arrival_ns);
}

static char *put_alert(struct dp_json_form *f, char *p, const struct dp_json_names *names,
	const struct dp_stream *s, const struct dp_rec_alert *a)
{
	static const char *const severities[] = {[DP_SEVERITY_INFO] = "info",
		[DP_SEVERITY_WARNING] = "warning",
		[DP_SEVERITY_CRITICAL] = "critical"};
	const struct dp_json_stream *t = &names->streams[a->head.stream];
	const struct dp_rule *rule = &s->rules[a->rule];
	double threshold = rule->kind == DP_RULE_MISSING
				   ? (double)dp_alert_silence_ns(rule) / (double)DP_NS_PER_S
				   : rule->threshold;

	p = PUT(p, ",\"alert\":{\"rule\":");
	p = put_text(p, names, t->rule[a->rule]);
	p = PUT(p, ",\"severity\":\"");
	p = put(p, severities[a->severity], strlen(severities[a->severity]));
	p = a->raised ? PUT(p, "\",\"state\":\"raise\"") : PUT(p, "\",\"state\":\"clear\"");
	if (isfinite(a->value)) {
		p = PUT(p, ",\"value\":");
		p += dp_number_f64(a->value, p);
	}
	if (isfinite(threshold)) {
		p = PUT(p, ",\"threshold\":");
		p += dp_number_f64(threshold, p);
	}
	p = PUT(p, ",\"raised_at\":");
	p = put_time(p, &f->other_time, a->raised_ns);
	p = PUT(p, ",\"cause\":\"");
	dp_id_text(a->cause, p);
	p = PUT(p + 32, "\"},\"arrival\":");
	return put_time(p, &f->arrival_time, a->arrival_ns);
}

static char *put_gap(struct dp_json_form *f, char *p, const struct dp_rec_gap *g)
{
	static const char *const reasons[] = {[DP_GAP_CRASH] = "crash",
		[DP_GAP_DAMAGE] = "damage",
		[DP_GAP_SCHEMA] = "schema",
		[DP_GAP_EXPIRED] = "expired"};

	p = PUT(p, ",\"gap\":{\"reason\":\"");
	p = put(p, reasons[g->reason], strlen(reasons[g->reason]));
	p = PUT(p, "\",\"count\":");
	p = put_u64(p, g->count);
	if (g->epoch) {
		p = PUT(p, ",\"epoch\":");
		p = put_u64(p, g->epoch);
		p = PUT(p, ",\"worker\":");
		p = put_u64(p, g->worker);
		p = PUT(p, ",\"sequence\":");
		p = put_u64(p, g->sequence);
	}
	p = PUT(p, "},\"arrival\":");
	return put_time(p, &f->arrival_time, g->arrival_ns);
}

static char *put_mark(struct dp_json_form *f, char *p, const struct dp_rec_mark *m)
{
	static const char *const whats[] = {[DP_MARK_START] = "start",
		[DP_MARK_COUNTERS] = "counters",
		[DP_MARK_RETIRED] = "retired"};
	const uint64_t *counters = dp_rec_counters(m);

	p = PUT(p, ",\"mark\":{\"what\":\"");
	p = put(p, whats[m->what], strlen(whats[m->what]));
	*p++ = '"';
	if (m->counter_count)
		p = PUT(p, ",\"counters\":{");
	for (uint32_t i = 0; i < m->counter_count && i < DP_COUNTER_COUNT; i++) {
		const char *name = dp_counter_name((enum dp_counter)i);

		p = PUT(p, "\"");
		p = put(p, name, strlen(name));
		p = PUT(p, "\":");
		p = put_u64(p, counters[i]);
		*p++ = ',';
	}
	if (m->counter_count)
		p[-1] = '}';
	p = PUT(p, "},\"arrival\":");
	return put_time(p, &f->arrival_time, m->arrival_ns);
}

static char *put_raw(struct dp_json_form *f, char *p, const struct dp_rec_raw *r)
{
	p = PUT(p, ",\"payload\":\"");
	p = dp_base64_put(p, dp_rec_payload(r), r->payload_bytes);
	p = PUT(p, "\",\"arrival\":");
	return put_time(p, &f->arrival_time, r->arrival_ns);
}

/* ---- the record ---- */

static int64_t time_of(const struct dp_rec *rec)
{
	switch (rec->kind) {
	case DP_REC_READING:
		return ((const struct dp_rec_reading *)rec)->event_ns;
	case DP_REC_WINDOW:
		return ((const struct dp_rec_window *)rec)->end_ns;
	case DP_REC_ALERT:
		return ((const struct dp_rec_alert *)rec)->event_ns;
	case DP_REC_GAP:
		return ((const struct dp_rec_gap *)rec)->arrival_ns;
	case DP_REC_RAW:
		return ((const struct dp_rec_raw *)rec)->arrival_ns;
	default:
		return ((const struct dp_rec_mark *)rec)->arrival_ns;
	}
}

static const struct dp_json_names *names_of(
	struct dp_json_form *f, const struct dp_stream_set *streams)
{
	struct dp_json_names *found = NULL;
	uint32_t i = 0;

	if (f->sets[0] && f->sets[0]->hash == streams->hash)
		return f->sets[0];
	while (i < SETS_MAX - 1 && f->sets[i] && f->sets[i]->hash != streams->hash)
		i++;
	found = f->sets[i];
	if (!found || found->hash != streams->hash) {
		dp_json_names_free(found);
		found = dp_json_names_new(streams, f->label);
		f->sets[i] = NULL;
	}
	if (!found)
		return NULL;
	memmove(f->sets + 1, f->sets, i * sizeof(f->sets[0]));
	f->sets[0] = found;
	return found;
}

static bool reserve(struct dp_json_form *f, size_t need)
{
	char *bigger;

	if (need <= f->size)
		return true;
	need = dp_rec_pad(need, 4096);
	bigger = realloc(f->out, need);
	if (!bigger)
		return false;
	f->out = bigger;
	f->size = need;
	return true;
}

/*
 * More than the text can take. Sensor, tags and payload lie in the record, so its size bounds them.
 */
static size_t bound(const struct dp_rec *rec, const struct dp_json_stream *t)
{
	size_t n = FIXED_BYTES_MAX + COPY_STEP + (size_t)ESCAPED_BYTES_MAX * rec->bytes;

	if (t)
		n += t->names_bytes;
	if (rec->kind == DP_REC_READING) {
		const struct dp_rec_reading *r = (const struct dp_rec_reading *)rec;

		n += ((size_t)r->field_count + r->derived_count) * DP_NUMBER_BYTES_MAX +
		     (size_t)r->score_count * (SCORE_BYTES_MAX + t->score_bytes_max);
	} else if (rec->kind == DP_REC_WINDOW) {
		const struct dp_rec_window *w = (const struct dp_rec_window *)rec;

		n += (size_t)w->field_count * (4 + 6 * STAT_BYTES_MAX) +
		     (size_t)w->score_count * (SCORE_BYTES_MAX + t->score_bytes_max);
	} else if (rec->kind == DP_REC_MARK) {
		n += (size_t)DP_COUNTER_COUNT * COUNTER_BYTES_MAX;
	}
	return n;
}

static char *put_kind(struct dp_json_form *f, char *p, const struct dp_json_names *names,
	const struct dp_stream_set *streams, const struct dp_rec *rec)
{
	switch (rec->kind) {
	case DP_REC_READING:
		return put_reading(f, p, names, (const struct dp_rec_reading *)rec);
	case DP_REC_WINDOW:
		return put_window(f, p, names, (const struct dp_rec_window *)rec);
	case DP_REC_ALERT:
		return put_alert(f, p, names, &streams->streams[rec->stream],
			(const struct dp_rec_alert *)rec);
	case DP_REC_GAP:
		return put_gap(f, p, (const struct dp_rec_gap *)rec);
	case DP_REC_RAW:
		return put_raw(f, p, (const struct dp_rec_raw *)rec);
	default:
		return put_mark(f, p, (const struct dp_rec_mark *)rec);
	}
}

const char *dp_json_form_record(struct dp_json_form *f, const struct dp_rec *rec,
	const struct dp_stream_set *streams, const uint64_t id[2], size_t *bytes)
{
	const struct dp_json_names *names = names_of(f, streams);
	const struct dp_json_stream *t = NULL;
	const char *attributes = NULL;
	size_t attribute_bytes = 0;
	char *p;

	if (!names)
		return NULL;
	if (rec->stream < streams->count)
		t = &names->streams[rec->stream];
	if (f->attributes.find && t && rec->id_len)
		attributes =
			f->attributes.find(f->attributes.arg, streams->streams[rec->stream].name,
				dp_rec_sensor(rec), rec->id_len, &attribute_bytes);
	if (!reserve(f, bound(rec, t) + attribute_bytes))
		return NULL;
	p = PUT(f->out, "{\"@timestamp\":");
	p = put_time(p, &f->event_time, time_of(rec));
	p = PUT(p, ",\"id\":\"");
	dp_id_text(id, p);
	p = put_text(p + 32, names, t ? t->head[rec->kind] : names->head[rec->kind]);
	if (t && rec->id_len) {
		p = PUT(p, ",\"sensor\":\"");
		p = dp_json_escape(p, dp_rec_sensor(rec), rec->id_len);
		*p++ = '"';
	}
	p = put_kind(f, p, names, streams, rec);
	if (attributes) {
		p = PUT(p, ",\"attributes\":");
		p = put(p, attributes, attribute_bytes);
	}
	*p++ = '}';
	*bytes = (size_t)(p - f->out);
	return f->out;
}

int dp_json_form_new(
	const char *label, const struct dp_attribute_lookup *attributes, struct dp_json_form **out)
{
	size_t bytes = strlen(label);
	struct dp_json_form *f;

	if (bytes > DP_LABEL_BYTES_MAX || !dp_utf8_valid(label, bytes))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	*dp_json_escape(f->label, label, bytes) = 0;
	f->attributes = *attributes;
	*out = f;
	return 0;
}

void dp_json_form_free(struct dp_json_form *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < SETS_MAX; i++)
		dp_json_names_free(f->sets[i]);
	free(f->out);
	free(f);
}
