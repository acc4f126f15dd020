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

/* Partials of up to so many fields that follow each other, side by side: a vector's work. */
enum { DP_LANES = 4 };

struct dp_merged {
	double n[DP_LANES], mean[DP_LANES], m2[DP_LANES];
	float min[DP_LANES], max[DP_LANES], last[DP_LANES];
};

/*
 * Chan, Golub and LeVeque 1979: partials of two sets to those of their union; the pane is the
 * later. Without a branch on what is there: a field without values adds 0. For that each field of
 * a pane that holds a reading must be as empty_pane() in window.c leaves it until its first value
 * comes, whoever fills the pane: mean and m2 0 (m2 is added whatever the count), min infinity,
 * max -infinity, last NaN.
 */
static inline __attribute__((always_inline)) void dp_pane_merge(const struct dp_window_layout *l,
	const struct dp_pane *pane, uint32_t field, uint32_t lanes, struct dp_merged *restrict m)
{
	const char *b = (const char *)pane;
	const uint32_t *count = (const uint32_t *)(b + l->count_at) + field;
	const double *mean = (const double *)(b + l->mean_at) + field;
	const double *m2 = (const double *)(b + l->m2_at) + field;
	const float *min = (const float *)(b + l->min_at) + field;
	const float *max = (const float *)(b + l->max_at) + field;
	const float *last = (const float *)(b + l->last_at) + field;

	if (l->mean_at) {
		for (uint32_t i = 0; i < lanes; i++) {
			double n = count[i], all = m->n[i] + n;
			double off = n > 0 ? mean[i] - m->mean[i] : 0;
			double part = n / (all > 0 ? all : 1);

			if (l->m2_at)
				m->m2[i] += m2[i] + off * off * m->n[i] * part;
			m->mean[i] += off * part;
		}
	}
	if (l->count_at)
		for (uint32_t i = 0; i < lanes; i++)
			m->n[i] += count[i];
	if (l->min_at)
		for (uint32_t i = 0; i < lanes; i++)
			m->min[i] = min[i] < m->min[i] ? min[i] : m->min[i];
	if (l->max_at)
		for (uint32_t i = 0; i < lanes; i++)
			m->max[i] = max[i] > m->max[i] ? max[i] : m->max[i];
	if (l->last_at)
		for (uint32_t i = 0; i < lanes; i++)
			m->last[i] = isnan(last[i]) ? m->last[i] : last[i];
}

/* Of fields [field, field + lanes), panes in the order given. `lanes` is at most DP_LANES. */
static inline void dp_panes_merge(const struct dp_window_layout *l,
	const struct dp_pane *const *panes, uint32_t count, uint32_t field, uint32_t lanes,
	struct dp_merged *m)
{
	for (uint32_t i = 0; i < DP_LANES; i++) {
		m->n[i] = m->mean[i] = m->m2[i] = 0;
		m->min[i] = INFINITY;
		m->max[i] = -INFINITY;
		m->last[i] = NAN;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (lanes == DP_LANES)
			dp_pane_merge(l, panes[i], field, DP_LANES, m);
		else
			dp_pane_merge(l, panes[i], field, lanes, m);
	}
}

static inline uint32_t dp_lanes_from(uint32_t field, uint32_t fields)
{
	return fields - field < DP_LANES ? fields - field : DP_LANES;
}

/* NaN: the window does not have it. */
static inline float dp_merged_stat(const struct dp_merged *m, uint32_t lane, uint32_t stat)
{
	switch (stat) {
	case DP_STAT_COUNT:
		return (float)m->n[lane];
	case DP_STAT_MEAN:
		return m->n[lane] > 0 ? (float)m->mean[lane] : NAN;
	case DP_STAT_STD:
		return m->n[lane] > 1 ? (float)sqrt(m->m2[lane] / (m->n[lane] - 1)) : NAN;
	case DP_STAT_MIN:
		return isfinite(m->min[lane]) ? m->min[lane] : NAN;
	case DP_STAT_MAX:
		return isfinite(m->max[lane]) ? m->max[lane] : NAN;
	default:
		return m->last[lane];
	}
}
