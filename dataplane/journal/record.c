/* Records: what is one, where its parts lie, and what it is called. */
#include "dataplane/journal/record.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/core/batch.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory's layout");
_Static_assert((int)DP_NAME_BYTES_MAX < 256 && (int)DP_SENSOR_ID_MAX < 256, "length is one byte");

enum { ROW_FLAGS_ALL = (DP_ROW_NEW_LIFE << 1) - 1 };

static size_t head_bytes(const struct dp_rec *rec)
{
	static const uint8_t bytes[DP_REC_KINDS] = {
		[DP_REC_READING] = sizeof(struct dp_rec_reading),
		[DP_REC_WINDOW] = sizeof(struct dp_rec_window),
		[DP_REC_ALERT] = sizeof(struct dp_rec_alert),
		[DP_REC_GAP] = sizeof(struct dp_rec_gap),
		[DP_REC_MARK] = sizeof(struct dp_rec_mark),
		[DP_REC_RAW] = sizeof(struct dp_rec_raw),
	};

	return rec->kind < DP_REC_KINDS ? bytes[rec->kind] : 0;
}

/* Behind the sensor id. */
static const char *tail(const struct dp_rec *rec)
{
	return (const char *)rec + head_bytes(rec) + dp_rec_pad(rec->id_len, 4);
}

const char *dp_rec_sensor(const struct dp_rec *rec)
{
	return (const char *)rec + head_bytes(rec);
}

const float *dp_rec_values(const struct dp_rec_reading *r)
{
	return (const float *)tail(&r->head);
}

const float *dp_rec_derived(const struct dp_rec_reading *r)
{
	return dp_rec_values(r) + r->field_count;
}

const struct dp_rec_score *dp_rec_scores(const struct dp_rec_reading *r)
{
	return (const struct dp_rec_score *)(dp_rec_derived(r) + r->derived_count);
}

const uint8_t *dp_rec_tags(const struct dp_rec_reading *r)
{
	return (const uint8_t *)(dp_rec_scores(r) + r->score_count);
}

const uint32_t *dp_rec_stats(const struct dp_rec_window *w)
{
	return (const uint32_t *)tail(&w->head);
}

const struct dp_rec_score *dp_rec_window_scores(const struct dp_rec_window *w)
{
	size_t stats = (size_t)w->field_count * (size_t)__builtin_popcount(w->stats);

	return (const struct dp_rec_score *)(dp_rec_stats(w) + stats);
}

const uint64_t *dp_rec_counters(const struct dp_rec_mark *m)
{
	return (const uint64_t *)tail(&m->head);
}

const uint8_t *dp_rec_payload(const struct dp_rec_raw *r)
{
	return (const uint8_t *)tail(&r->head);
}

/* ---- check ---- */

static bool zeros(const char *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (from[i])
			return false;
	return true;
}

/* The record ends `used` bytes behind its begin, but for zeros up to the next multiple of 8. */
static bool ends_at(const struct dp_rec *rec, size_t used)
{
	return rec->bytes == dp_rec_pad(used, 8) &&
	       zeros((const char *)rec + used, rec->bytes - used);
}

/* Models rise, so that none is there twice. */
static bool scores_good(const struct dp_rec_score *score, size_t n, const struct dp_stream *s)
{
	for (size_t i = 0; i < n; i++)
		if (score[i].model >= s->model_count || score[i].flags & ~DP_SCORE_NONE ||
			(i && score[i].model <= score[i - 1].model))
			return false;
	return true;
}

static bool reading_good(const struct dp_rec_reading *r, const struct dp_stream *s)
{
	size_t used = (size_t)(tail(&r->head) - (const char *)r);
	const char *src = (const char *)r;

	if (r->field_count != s->field_count || r->tag_count != s->tag_count ||
		r->score_count > s->model_count || r->flags > ROW_FLAGS_ALL || r->reserved ||
		r->index >= DP_DATAGRAM_READINGS_MAX || r->group > DP_DATAGRAM_READINGS_MAX ||
		(r->derived_count && r->derived_count != s->derived_count))
		return false;
	if (!(r->flags & DP_ROW_NUMBERED) && r->seq)
		return false;
	used += sizeof(float) * ((size_t)r->field_count + r->derived_count) +
		sizeof(struct dp_rec_score) * r->score_count;
	if (used > r->head.bytes || !scores_good(dp_rec_scores(r), r->score_count, s))
		return false;
	for (uint8_t i = 0; i < r->tag_count; i++) {
		size_t left = r->head.bytes - used;
		uint8_t len = left ? (uint8_t)src[used] : 0;

		if (left < 1u + len || len > DP_TAG_BYTES_MAX ||
			!dp_utf8_valid(src + used + 1, len))
			return false;
		used += 1u + len;
	}
	return ends_at(&r->head, used);
}

static bool window_good(const struct dp_rec_window *w, const struct dp_stream *s)
{
	size_t used = (size_t)(tail(&w->head) - (const char *)w);
	int64_t end_ns;

	if (w->window >= s->window_count || w->field_count != s->field_count || w->count == 0 ||
		w->stats & ~(s->windows[w->window].stats | DP_STAT_COUNT) ||
		w->score_count > s->model_count || w->reason < DP_CLOSE_WATERMARK ||
		w->reason > DP_CLOSE_RETIRED || w->reserved8 || w->reserved)
		return false;
	if (__builtin_add_overflow(w->start_ns, s->windows[w->window].size_ns, &end_ns) ||
		w->end_ns != end_ns)
		return false;
	used += sizeof(float) * w->field_count * (size_t)__builtin_popcount(w->stats);
	used += sizeof(struct dp_rec_score) * w->score_count;
	return used <= w->head.bytes && scores_good(dp_rec_window_scores(w), w->score_count, s) &&
	       ends_at(&w->head, used);
}

static bool alert_good(const struct dp_rec_alert *a, const struct dp_stream *s)
{
	return a->rule < s->rule_count && a->raised <= 1 && a->severity >= DP_SEVERITY_INFO &&
	       a->severity <= DP_SEVERITY_CRITICAL && !a->reserved &&
	       ends_at(&a->head, (size_t)(tail(&a->head) - (const char *)a));
}

static bool gap_good(const struct dp_rec_gap *g)
{
	return g->reason >= DP_GAP_CRASH && g->reason <= DP_GAP_EXPIRED && !g->reserved8 &&
	       !g->reserved && ends_at(&g->head, (size_t)(tail(&g->head) - (const char *)g));
}

static bool mark_good(const struct dp_rec_mark *m)
{
	bool retired = m->what == DP_MARK_RETIRED;
	size_t used = (size_t)(tail(&m->head) - (const char *)m);

	/* Only marks without a sensor count, so that the counters are aligned. */
	return m->what >= DP_MARK_START && m->what <= DP_MARK_RETIRED &&
	       retired == (m->head.id_len > 0) && retired == (m->head.stream != DP_REC_NO_STREAM) &&
	       zeros((const char *)m->reserved8, sizeof(m->reserved8)) &&
	       m->counter_count <= (retired ? 0 : DP_MARK_COUNTERS_MAX) &&
	       ends_at(&m->head, used + 8 * (size_t)m->counter_count);
}

static bool raw_good(const struct dp_rec_raw *r)
{
	size_t used = (size_t)(tail(&r->head) - (const char *)r);

	return r->payload_bytes >= 1 && r->payload_bytes <= DP_DATAGRAM_BYTES_MAX && !r->reserved &&
	       ends_at(&r->head, used + r->payload_bytes);
}

/* Records of what a sensor sent or what was found out about it. */
static bool of_sensor(const struct dp_rec *rec)
{
	return rec->kind <= DP_REC_ALERT || rec->kind == DP_REC_RAW;
}

bool dp_rec_check(const struct dp_rec *rec, size_t left, const struct dp_stream_set *streams)
{
	const struct dp_stream *s = NULL;
	size_t padded_id;

	if (left < sizeof(*rec) || rec->bytes > left || rec->bytes % 8 || head_bytes(rec) == 0)
		return false;
	padded_id = dp_rec_pad(rec->id_len, 4);
	if (rec->bytes < head_bytes(rec) + padded_id)
		return false;
	if (rec->id_len && !dp_sensor_id_valid(dp_rec_sensor(rec), rec->id_len))
		return false;
	if (!zeros(dp_rec_sensor(rec) + rec->id_len, padded_id - rec->id_len))
		return false;
	if (rec->stream < streams->count)
		s = &streams->streams[rec->stream];
	else if (rec->stream != DP_REC_NO_STREAM)
		return false;
	if (of_sensor(rec) && (!s || rec->id_len == 0))
		return false;
	switch (rec->kind) {
	case DP_REC_READING:
		return reading_good((const struct dp_rec_reading *)rec, s);
	case DP_REC_WINDOW:
		return window_good((const struct dp_rec_window *)rec, s);
	case DP_REC_ALERT:
		return alert_good((const struct dp_rec_alert *)rec, s);
	case DP_REC_GAP:
		return gap_good((const struct dp_rec_gap *)rec);
	case DP_REC_RAW:
		return raw_good((const struct dp_rec_raw *)rec);
	default:
		return mark_good((const struct dp_rec_mark *)rec);
	}
}

/* ---- ids (docs/block.md) ---- */

enum {
	KIND_OF_PLACE = 0x80, /* keeps tuples made of a place apart from tuples made of names */
	TUPLE_BYTES_MAX = 1 + 3 * (1 + DP_NAME_BYTES_MAX) + 32,
};

struct tuple {
	size_t used;
	uint8_t bytes[TUPLE_BYTES_MAX];
};

static void put(struct tuple *t, const void *from, size_t n)
{
	memcpy(t->bytes + t->used, from, n);
	t->used += n;
}

static void put_u8(struct tuple *t, uint8_t v)
{
	put(t, &v, sizeof(v));
}

static void put_u32(struct tuple *t, uint32_t v)
{
	put(t, &v, sizeof(v));
}

static void put_u64(struct tuple *t, uint64_t v)
{
	put(t, &v, sizeof(v));
}

static void put_text(struct tuple *t, const char *text, size_t len)
{
	put_u8(t, (uint8_t)len);
	put(t, text, len);
}

static void put_name(struct tuple *t, const char *name)
{
	put_text(t, name, strlen(name));
}

static void put_place(struct tuple *t, uint8_t kind, const struct dp_rec_place *place)
{
	put_u8(t, kind | KIND_OF_PLACE);
	put_u64(t, place->appliance);
	put_u64(t, place->epoch);
	put_u32(t, place->worker);
	put_u64(t, place->sequence);
	put_u32(t, place->index);
}

static void put_reading(struct tuple *t, const struct dp_rec_reading *r, const struct dp_stream *s)
{
	put_u8(t, DP_REC_READING);
	put_name(t, s->name);
	put_text(t, dp_rec_sensor(&r->head), r->head.id_len);
	put_u32(t, r->boot);
	put_u64(t, r->seq);
	put_u32(t, r->index);
}

static void put_window(struct tuple *t, const struct dp_rec_window *w, const struct dp_stream *s)
{
	put_u8(t, DP_REC_WINDOW);
	put_name(t, s->name);
	put_text(t, dp_rec_sensor(&w->head), w->head.id_len);
	put_u64(t, w->life);
	put_name(t, s->windows[w->window].name);
	put_u64(t, (uint64_t)w->start_ns);
}

static void put_alert(struct tuple *t, const struct dp_rec_alert *a, const struct dp_stream *s)
{
	put_u8(t, DP_REC_ALERT);
	put_name(t, s->rules[a->rule].name);
	put_name(t, s->name);
	put_text(t, dp_rec_sensor(&a->head), a->head.id_len);
	put_u64(t, a->cause[0]);
	put_u64(t, a->cause[1]);
	put_u8(t, a->raised);
}

void dp_rec_id(const struct dp_rec *rec, const struct dp_stream_set *streams,
	const struct dp_rec_place *place, uint64_t id[2])
{
	const struct dp_rec_reading *r = (const struct dp_rec_reading *)rec;
	struct tuple t;
	XXH128_hash_t hash;

	t.used = 0;
	if (rec->kind == DP_REC_READING && r->flags & DP_ROW_NUMBERED)
		put_reading(&t, r, &streams->streams[rec->stream]);
	else if (rec->kind == DP_REC_WINDOW)
		put_window(&t, (const struct dp_rec_window *)rec, &streams->streams[rec->stream]);
	else if (rec->kind == DP_REC_ALERT)
		put_alert(&t, (const struct dp_rec_alert *)rec, &streams->streams[rec->stream]);
	else
		put_place(&t, rec->kind, place);
	hash = XXH3_128bits(t.bytes, t.used);
	id[0] = hash.low64;
	id[1] = hash.high64;
}
