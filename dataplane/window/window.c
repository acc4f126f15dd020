/*
 * Window: between admit and alert.  Owns event_max, watermark, back_* of a slot and the window
 * bytes behind it: per window definition a ring of panes.
 *
 * Panes and windows are numbered by start / slide; window k covers panes k .. k + span - 1.  `next`
 * is the first window not closed.  It moves with the watermark, or beyond the last window that an
 * idle close closed, and never back within a life: so nothing closes twice, and a pane below it is
 * in closed windows only.  Panes kept: with w = floor(watermark / slide) the oldest open window is
 * w - span + 1 and the newest pane at most w + ceil(lateness / slide), which makes
 * span + ceil(lateness / slide).
 */
#include "dataplane/window/window.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "dataplane/window/pane.h"

enum { PREFETCH_ROWS = 4 };

/* What makes a reading or a timer close windows; out NULL: replay, nothing is listed. */
struct cause {
	uint32_t row, slot;
	enum dp_close_reason reason;
	struct dp_closes *out;
};

/* ---- panes ---- */

static void empty_pane(const struct dp_window_layout *l, struct dp_pane *pane, uint32_t fields)
{
	char *base = (char *)pane;

	for (uint32_t i = 0; i < fields; i++) {
		if (l->last_at) {
			((int64_t *)(base + l->last_ns_at))[i] = DP_TIME_NONE;
			((float *)(base + l->last_at))[i] = NAN;
		}
		if (l->mean_at)
			((double *)(base + l->mean_at))[i] = 0;
		if (l->m2_at)
			((double *)(base + l->m2_at))[i] = 0;
		if (l->count_at)
			((uint32_t *)(base + l->count_at))[i] = 0;
		if (l->min_at)
			((float *)(base + l->min_at))[i] = INFINITY;
		if (l->max_at)
			((float *)(base + l->max_at))[i] = -INFINITY;
	}
}

/*
 * Welford's step (Knuth 4.2.2) per field, without a branch on the values. `stats` is a constant
 * where it is called for all of them, so that this is one tight loop.
 */
static inline __attribute__((always_inline)) void add_fields(const struct dp_window_layout *l,
	struct dp_pane *pane, const float *restrict values, uint32_t fields, int64_t event_ns,
	uint32_t stats)
{
	char *base = (char *)pane;
	int64_t *restrict last_ns = (int64_t *)(base + l->last_ns_at);
	double *restrict mean = (double *)(base + l->mean_at);
	double *restrict m2 = (double *)(base + l->m2_at);
	uint32_t *restrict count = (uint32_t *)(base + l->count_at);
	float *restrict min = (float *)(base + l->min_at);
	float *restrict max = (float *)(base + l->max_at);
	float *restrict last = (float *)(base + l->last_at);

	for (uint32_t i = 0; i < fields; i++) {
		float v = values[i];
		bool there = fabsf(v) <= FLT_MAX;

		if (stats & (DP_STAT_COUNT | DP_STAT_MEAN | DP_STAT_STD))
			count[i] += there;
		if (stats & (DP_STAT_MEAN | DP_STAT_STD)) {
			double off = there ? (double)v - mean[i] : 0;
			double step = off / (double)(count[i] + !count[i]);

			mean[i] += step;
			if (stats & DP_STAT_STD)
				m2[i] += off * (off - step);
		}
		if (stats & DP_STAT_MIN)
			min[i] = there && v < min[i] ? v : min[i];
		if (stats & DP_STAT_MAX)
			max[i] = there && v > max[i] ? v : max[i];
		if (stats & DP_STAT_LAST) {
			bool later = there & (event_ns >= last_ns[i]);

			last[i] = later ? v : last[i];
			last_ns[i] = later ? event_ns : last_ns[i];
		}
	}
}

static inline void add(const struct dp_window_layout *l, struct dp_pane *pane, const float *values,
	uint32_t fields, int64_t event_ns)
{
	pane->readings++;
	if (l->stats == DP_STAT_ALL)
		add_fields(l, pane, values, fields, event_ns, DP_STAT_ALL);
	else
		add_fields(l, pane, values, fields, event_ns, l->stats);
}

/* Pane for a reading not in the newest one; NULL when it is in closed windows only. */
static struct dp_pane *other_pane(const struct dp_window_layout *l, struct dp_window_ring *r,
	int64_t event_ns, uint32_t fields)
{
	int64_t p = dp_floor_div(event_ns, l->slide_ns);
	struct dp_pane *pane;

	if (p < r->next)
		return NULL;
	if (!r->filled || p > r->newest) {
		/* panes passed over were emptied when `next` passed their last users */
		uint64_t at = r->filled ? r->newest_at + (uint64_t)(p - r->newest) : 0;

		r->newest_at = (uint32_t)(at < l->panes ? at : at - l->panes);
		assert(r->newest_at < l->panes);
		r->newest = p;
		r->newest_ns = p * l->slide_ns;
	}
	pane = dp_pane_of(l, r, p);
	if (!pane->readings) {
		empty_pane(l, pane, fields);
		r->filled++;
	}
	return pane;
}

static inline struct dp_pane *pane_for(const struct dp_window_layout *l, struct dp_window_ring *r,
	int64_t event_ns, uint32_t fields)
{
	if ((uint64_t)event_ns - (uint64_t)r->newest_ns < (uint64_t)l->slide_ns)
		return dp_pane_of(l, r, r->newest);
	return other_pane(l, r, event_ns, fields);
}

/* ---- closing ---- */

static uint32_t bits_of(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

/* A window's statistics of one field, lowest bit first; returns where the next field's go. */
static uint32_t *put_field(uint32_t *at, uint32_t stats, const struct dp_merged *m, uint32_t lane)
{
	for (; stats; stats &= stats - 1) {
		uint32_t stat = stats & -stats;
		float v = dp_merged_stat(m, lane, stat);

		*at++ = stat == DP_STAT_COUNT ? (uint32_t)m->n[lane] : bits_of(v);
	}
	return at;
}

/* Lists window k; one without a reading is nothing. */
static void close_window(const struct dp_windows *w, uint8_t window, struct dp_window_ring *r,
	int64_t k, const struct cause *why)
{
	const struct dp_window_layout *l = &w->layout[window];
	const struct dp_pane *panes[DP_PANES_MAX];
	uint32_t fields = w->stream->field_count, n = 0, count = 0;
	struct dp_closes *out = why->out;
	uint32_t *at;

	for (int64_t p = k; p < k + l->span && p <= r->newest; p++) {
		const struct dp_pane *pane = dp_pane_of(l, r, p);

		panes[n] = pane;
		n += pane->readings > 0;
		count += pane->readings;
	}
	if (!n)
		return;
	assert(out->count < out->max);
	assert(out->stats_max - out->stats_used >= l->words * fields);
	out->list[out->count++] = (struct dp_close){
		.row = why->row,
		.slot = why->slot,
		.count = count,
		.stats_at = out->stats_used,
		.start_ns = k * l->slide_ns,
		.end_ns = k * l->slide_ns + l->size_ns,
		.window = window,
		.reason = (uint8_t)why->reason,
	};
	at = out->stats + out->stats_used;
	for (uint32_t field = 0, lanes; field < fields; field += lanes) {
		struct dp_merged m;

		lanes = dp_lanes_from(field, fields);
		dp_panes_merge(l, panes, n, field, lanes, &m);
		for (uint32_t i = 0; i < lanes; i++)
			at = put_field(at, l->told, &m, i);
	}
	out->stats_used = (uint32_t)(at - out->stats);
}

/* Windows below `next` are closed from here on; panes that only they use become free. */
static void close_below(const struct dp_window_layout *l, struct dp_window_ring *r, int64_t next)
{
	int64_t p = r->filled ? r->next : next;

	for (; p < next && p <= r->newest; p++) {
		struct dp_pane *pane = dp_pane_of(l, r, p);

		r->filled -= pane->readings > 0;
		pane->readings = 0;
	}
	r->next = next;
	r->close_ns = (next + l->span) * l->slide_ns;
	if (!r->filled)
		r->newest_ns = DP_TIME_NONE;
}

/* The watermark has passed close_ns. */
static void close_due(const struct dp_windows *w, uint8_t window, struct dp_window_ring *r,
	int64_t watermark, const struct cause *why)
{
	const struct dp_window_layout *l = &w->layout[window];
	int64_t open = dp_floor_div(watermark, l->slide_ns) - l->span + 1;

	if (r->filled && why->out)
		for (int64_t k = r->next; k < open && k <= r->newest; k++)
			close_window(w, window, r, k, why);
	close_below(l, r, open);
}

static void close_everything(const struct dp_windows *w, char *state, const struct cause *why)
{
	for (uint8_t i = 0; i < w->stream->window_count; i++) {
		struct dp_window_ring *r = dp_pane_ring(&w->layout[i], state);

		if (!r->filled)
			continue;
		for (int64_t k = r->next; k <= r->newest; k++)
			close_window(w, i, r, k, why);
		close_below(&w->layout[i], r, r->newest + 1);
	}
}

/* ---- the stage ---- */

static void forget_time(const struct dp_windows *w, char *state, struct dp_slot *s)
{
	s->event_max = s->watermark = s->back_event = DP_TIME_NONE;
	s->back_count = 0;
	for (uint16_t i = 0; i < w->stream->window_count; i++) {
		const struct dp_window_layout *l = &w->layout[i];
		struct dp_window_ring *r = dp_pane_ring(l, state);

		*r = (struct dp_window_ring){
			.next = DP_TIME_NONE, .close_ns = DP_TIME_NONE, .newest_ns = DP_TIME_NONE};
		for (uint32_t p = 0; p < l->panes; p++)
			((struct dp_pane *)(state + l->panes_at + p * l->pane_bytes))->readings = 0;
	}
}

void dp_window_slot_init(const struct dp_windows *w, const struct dp_table *t, struct dp_slot *s)
{
	forget_time(w, dp_slot_windows(t, s), s);
}

/* By how much a is ahead of b is more than `most`. */
static inline bool ahead(int64_t a, int64_t b, int64_t most)
{
	int64_t by;

	return __builtin_sub_overflow(a, b, &by) ? a > b : by > most;
}

/* Readings in a row and in order behind the watermark, this one included; 0: it is not behind. */
static inline uint8_t note_back(struct dp_slot *s, int64_t event_ns, int64_t max_skew_ns)
{
	if (s->watermark == DP_TIME_NONE || !ahead(s->watermark, event_ns, max_skew_ns))
		s->back_count = 0;
	else if (s->back_count && event_ns < s->back_event)
		s->back_count = 1;
	else if (s->back_count < DP_CLOCK_RESET_READINGS)
		s->back_count++;
	s->back_event = event_ns;
	return s->back_count;
}

/* Moves the watermark, closes what is due, puts the reading into panes; false: late for a window.
 */
static inline bool take(const struct dp_windows *w, char *state, struct dp_slot *s,
	int64_t event_ns, const float *values, const struct cause *why)
{
	uint32_t fields = w->stream->field_count;
	bool in_time = true;

	if (event_ns > s->event_max) {
		s->event_max = event_ns;
		s->watermark = event_ns - w->stream->lateness_ns;
	}
	for (uint8_t i = 0; i < w->stream->window_count; i++) {
		const struct dp_window_layout *l = &w->layout[i];
		struct dp_window_ring *r = dp_pane_ring(l, state);
		struct dp_pane *pane;

		if (s->watermark >= r->close_ns)
			close_due(w, i, r, s->watermark, why);
		pane = pane_for(l, r, event_ns, fields);
		if (pane)
			add(l, pane, values, fields, event_ns);
		else
			in_time = false;
	}
	return in_time;
}

static inline uint16_t push_row(const struct dp_windows *w, const struct dp_table *t,
	const struct dp_batch *b, uint32_t row, struct dp_closes *out)
{
	struct dp_slot *s = dp_table_slot(t, b->slot[row]);
	char *state = dp_slot_windows(t, s);
	int64_t event_ns = b->event_ns[row];
	struct cause why = {row, b->slot[row], DP_CLOSE_WATERMARK, out};
	uint16_t flags = 0;

	if (event_ns > DP_EVENT_LIMIT_NS ||
		ahead(event_ns, b->arrival_ns[row], w->stream->max_skew_ns)) {
		s->back_count = 0;
		return DP_ROW_FUTURE;
	}
	if (event_ns < -DP_EVENT_LIMIT_NS)
		return DP_ROW_LATE;
	if (note_back(s, event_ns, w->stream->max_skew_ns) == DP_CLOCK_RESET_READINGS) {
		why.reason = DP_CLOSE_CLOCK_RESET;
		close_everything(w, state, &why);
		forget_time(w, state, s);
		flags = DP_ROW_CLOCK_RESET;
	}
	if (!take(w, state, s, event_ns, dp_batch_row_values(b, row), &why))
		flags |= DP_ROW_LATE;
	return flags;
}

/* Of each window the newest pane, where most readings go; admit has fetched the slot. */
static inline void prefetch_panes(
	const struct dp_windows *w, const struct dp_table *t, uint32_t slot)
{
	char *state = dp_slot_windows(t, dp_table_slot(t, slot));

	for (uint8_t i = 0; i < w->stream->window_count; i++) {
		const struct dp_window_layout *l = &w->layout[i];
		struct dp_window_ring *r = dp_pane_ring(l, state);
		const char *pane = (const char *)dp_pane_of(l, r, r->newest);

		for (size_t at = 0; at < l->pane_bytes; at += DP_CACHE_LINE)
			__builtin_prefetch(pane + at, 1);
	}
}

void dp_window_push(const struct dp_windows *w, const struct dp_table *t, struct dp_batch *b,
	struct dp_closes *out)
{
	uint32_t late = 0, future = 0, reset = 0;

	for (uint32_t row = 0; row < b->count; row++) {
		uint16_t flags;

		if (row + PREFETCH_ROWS < b->count)
			prefetch_panes(w, t, b->slot[row + PREFETCH_ROWS]);
		flags = push_row(w, t, b, row, out);
		late += (flags & DP_ROW_LATE) != 0;
		future += (flags & DP_ROW_FUTURE) != 0;
		if (w->probes.count)
			dp_window_probe(w, dp_slot_windows(t, dp_table_slot(t, b->slot[row])),
				dp_batch_row_values(b, row), row);
		reset += (flags & DP_ROW_CLOCK_RESET) != 0;
		b->flags[row] |= flags;
	}
	dp_count(w->counters, DP_C_LATE, late);
	dp_count(w->counters, DP_C_FUTURE, future);
	dp_count(w->counters, DP_C_CLOCK_RESET, reset);
}

void dp_window_close_all(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	enum dp_close_reason reason, struct dp_closes *out)
{
	struct cause why = {0, slot, reason, out};

	close_everything(w, dp_slot_windows(t, dp_table_slot(t, slot)), &why);
}

bool dp_window_open(const struct dp_windows *w, const struct dp_table *t, uint32_t slot)
{
	char *state = dp_slot_windows(t, dp_table_slot(t, slot));

	for (uint16_t i = 0; i < w->stream->window_count; i++)
		if (dp_pane_ring(&w->layout[i], state)->filled)
			return true;
	return false;
}

/* ---- replay ---- */

void dp_window_replay_reading(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	char *state = dp_slot_windows(t, s);
	struct cause why = {0, slot, DP_CLOSE_WATERMARK, NULL};

	/* a new life in a slot that is not new: the record that retired the old one was lost */
	if (r->flags & DP_ROW_NEW_LIFE)
		forget_time(w, state, s);
	if (r->flags & DP_ROW_FUTURE || r->event_ns > DP_EVENT_LIMIT_NS) {
		s->back_count = 0;
		return;
	}
	if (r->event_ns < -DP_EVENT_LIMIT_NS)
		return;
	if (r->flags & DP_ROW_CLOCK_RESET)
		forget_time(w, state, s);
	/* with another max_skew then, this one may be the last that was wanted; the next will do */
	if (note_back(s, r->event_ns, w->stream->max_skew_ns) == DP_CLOCK_RESET_READINGS)
		s->back_count--;
	take(w, state, s, r->event_ns, values, &why);
}

void dp_window_replay_close(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_window *r)
{
	const struct dp_window_layout *l = &w->layout[r->window];
	struct dp_window_ring *ring = dp_pane_ring(l, dp_slot_windows(t, dp_table_slot(t, slot)));
	int64_t k = dp_floor_div(r->start_ns, l->slide_ns);

	if (r->start_ns < -DP_EVENT_LIMIT_NS - DP_SPAN_LIMIT_NS || r->start_ns > DP_EVENT_LIMIT_NS)
		return;
	if (k >= ring->next)
		close_below(l, ring, k + 1);
}
