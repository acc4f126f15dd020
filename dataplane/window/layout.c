/* Window, the cold part: sizes and places of panes. */
#include "dataplane/window/layout.h"

#include <errno.h>

static size_t array(size_t *at, size_t bytes)
{
	size_t here = *at;

	*at += bytes;
	return here;
}

/* Lays definition i out from `at` on; returns where it ends. */
static size_t plan(const struct dp_stream *s, uint16_t i, size_t at, struct dp_window_layout *l)
{
	const struct dp_window_def *d = &s->windows[i];
	size_t n = s->field_count, end = sizeof(struct dp_pane);
	uint32_t kept = d->stats | d->kept;

	*l = (struct dp_window_layout){
		.slide_ns = d->slide_ns,
		.size_ns = d->size_ns,
		.stats = kept,
		.told = d->stats,
		.words = (uint32_t)__builtin_popcount(d->stats),
		.span = (uint32_t)(d->size_ns / d->slide_ns),
		.panes = dp_window_panes(s, i),
		.ring_at = at,
		.panes_at = at + sizeof(struct dp_window_ring),
	};
	if (kept & DP_STAT_LAST)
		l->last_ns_at = array(&end, n * sizeof(int64_t));
	if (kept & (DP_STAT_MEAN | DP_STAT_STD))
		l->mean_at = array(&end, n * sizeof(double));
	if (kept & DP_STAT_STD)
		l->m2_at = array(&end, n * sizeof(double));
	if (kept & (DP_STAT_COUNT | DP_STAT_MEAN | DP_STAT_STD))
		l->count_at = array(&end, n * sizeof(uint32_t));
	if (kept & DP_STAT_MIN)
		l->min_at = array(&end, n * sizeof(float));
	if (kept & DP_STAT_MAX)
		l->max_at = array(&end, n * sizeof(float));
	if (kept & DP_STAT_LAST)
		l->last_at = array(&end, n * sizeof(float));
	l->pane_bytes = (end + 7) & ~(size_t)7;
	return l->panes_at + l->panes * l->pane_bytes;
}

size_t dp_window_slot_bytes(const struct dp_stream *s)
{
	struct dp_window_layout l;
	size_t end = 0;

	for (uint16_t i = 0; i < s->window_count; i++)
		end = plan(s, i, end, &l);
	return end;
}

uint32_t dp_window_closes_max(const struct dp_stream *s)
{
	uint32_t n = 0;

	for (uint16_t i = 0; i < s->window_count; i++)
		n += dp_window_panes(s, i);
	return n;
}

static size_t words_max(const struct dp_stream *s)
{
	size_t n = 0;

	for (uint16_t i = 0; i < s->window_count; i++)
		n += (size_t)dp_window_panes(s, i) * s->field_count *
		     (size_t)__builtin_popcount(s->windows[i].stats);
	return n;
}

size_t dp_windows_bytes(const struct dp_stream *s)
{
	return DP_CACHE_LINE + s->window_count * sizeof(struct dp_window_layout);
}

size_t dp_closes_bytes(const struct dp_stream *s)
{
	return 2 * DP_CACHE_LINE +
	       DP_BATCH_MAX * (dp_window_closes_max(s) * sizeof(struct dp_close) +
				      words_max(s) * sizeof(uint32_t));
}

int dp_windows_init(struct dp_windows *w, const struct dp_stream *s, struct dp_counters *counters,
	struct dp_arena *arena)
{
	size_t at = 0;

	for (uint16_t i = 0; i < s->window_count; i++) {
		const struct dp_window_def *d = &s->windows[i];

		if (d->size_ns > DP_SPAN_LIMIT_NS ||
			s->lateness_ns > DP_SPAN_LIMIT_NS - d->size_ns ||
			dp_window_panes(s, i) > DP_PANES_MAX)
			return -EINVAL;
	}
	*w = (struct dp_windows){.stream = s, .counters = counters};
	w->layout = dp_arena_take(
		arena, s->window_count * sizeof(struct dp_window_layout), DP_CACHE_LINE);
	if (!w->layout)
		return -ENOMEM;
	for (uint16_t i = 0; i < s->window_count; i++)
		at = plan(s, i, at, &w->layout[i]);
	return 0;
}

int dp_closes_init(struct dp_closes *c, const struct dp_stream *s, struct dp_arena *arena)
{
	size_t closes = (size_t)DP_BATCH_MAX * dp_window_closes_max(s);
	size_t words = DP_BATCH_MAX * words_max(s);

	if (closes > UINT32_MAX || words > UINT32_MAX)
		return -EINVAL;
	*c = (struct dp_closes){.max = (uint32_t)closes, .stats_max = (uint32_t)words};
	c->list = dp_arena_take(arena, closes * sizeof(*c->list), DP_CACHE_LINE);
	c->stats = dp_arena_take(arena, words * sizeof(*c->stats), DP_CACHE_LINE);
	return c->list && c->stats ? 0 : -ENOMEM;
}
