/* A sensor's panes, for those that read them: window.c, which fills them, and probe.c. */
#pragma once

#include <assert.h>
#include <math.h>

#include "dataplane/window/layout.h"

static inline int64_t dp_floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static inline struct dp_window_ring *dp_pane_ring(const struct dp_window_layout *l, char *state)
{
	return (struct dp_window_ring *)(state + l->ring_at);
}

/* Pane p, of which newest - panes < p <= newest. */
static inline struct dp_pane *dp_pane_of(
	const struct dp_window_layout *l, struct dp_window_ring *r, int64_t p)
{
	int64_t at = (int64_t)r->newest_at - (r->newest - p);

	assert(p <= r->newest && r->newest - p < l->panes);
	at += at < 0 ? l->panes : 0;
	return (struct dp_pane *)((char *)(r + 1) + (size_t)at * l->pane_bytes);
}

/* Values of a field in a pane that holds a reading. */
static inline double dp_pane_count(
	const struct dp_window_layout *l, const struct dp_pane *pane, uint32_t field)
{
	const char *b = (const char *)pane;

	return l->count_at ? ((const uint32_t *)(b + l->count_at))[field] : 0;
}

static inline double dp_pane_mean(
	const struct dp_window_layout *l, const struct dp_pane *pane, uint32_t field)
{
	return ((const double *)((const char *)pane + l->mean_at))[field];
}

struct dp_merged {
	double n, mean, m2;
	float min, max, last;
};

/* Chan, Golub and LeVeque 1979: partials of two sets to those of their union; b is the later. */
static inline void dp_pane_merge(const struct dp_window_layout *l, const struct dp_pane *pane,
	uint32_t field, struct dp_merged *m)
{
	const char *b = (const char *)pane;
	double n = dp_pane_count(l, pane, field);

	if (l->mean_at && n > 0) {
		double off = dp_pane_mean(l, pane, field) - m->mean;
		double part = n / (m->n + n);

		if (l->m2_at)
			m->m2 += ((const double *)(b + l->m2_at))[field] + off * off * m->n * part;
		m->mean += off * part;
	}
	m->n += n;
	if (l->min_at)
		m->min = fminf(m->min, ((const float *)(b + l->min_at))[field]);
	if (l->max_at)
		m->max = fmaxf(m->max, ((const float *)(b + l->max_at))[field]);
	if (l->last_at && !isnan(((const float *)(b + l->last_at))[field]))
		m->last = ((const float *)(b + l->last_at))[field];
}

#define DP_MERGED_NONE ((struct dp_merged){.min = INFINITY, .max = -INFINITY, .last = NAN})
