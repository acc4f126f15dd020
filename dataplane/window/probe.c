/*
 * Window, for the models: statistics over a sensor's panes while its windows are open.  Reads
 * panes, writes one row of dp_probes.out.  The order of operations is that of a close, and that of
 * the training side (docs/bundle.md, "Inputs"): both must give the same bits.
 */
#include "dataplane/window/pane.h"

/* The panes of one window that hold a reading, oldest first. */
struct span {
	const struct dp_pane *pane[DP_PANES_MAX];
	int64_t age[DP_PANES_MAX]; /* in panes: 0 is the newest, negative before */
	uint32_t count;
};

static void look(const struct dp_window_layout *l, char *state, struct span *out)
{
	struct dp_window_ring *r = dp_pane_ring(l, state);
	int64_t p = r->newest - l->span + 1;

	out->count = 0;
	if (!r->filled)
		return;
	/* what is below `next` is closed, and its panes may be in use again */
	for (p = p < r->next ? r->next : p; p <= r->newest; p++) {
		const struct dp_pane *pane = dp_pane_of(l, r, p);

		out->pane[out->count] = pane;
		out->age[out->count] = p - r->newest;
		out->count += pane->readings > 0;
	}
}

static float stat_of(uint32_t stat, const struct dp_merged *m)
{
	switch (stat) {
	case DP_STAT_COUNT:
		return (float)m->n;
	case DP_STAT_MEAN:
		return m->n > 0 ? (float)m->mean : NAN;
	case DP_STAT_STD:
		return m->n > 1 ? (float)sqrt(m->m2 / (m->n - 1)) : NAN;
	case DP_STAT_MIN:
		return isfinite(m->min) ? m->min : NAN;
	case DP_STAT_MAX:
		return isfinite(m->max) ? m->max : NAN;
	default:
		return m->last;
	}
}

static float zscore_of(const struct dp_merged *m, float value)
{
	double std;

	if (!(m->n > 1) || !isfinite(value))
		return NAN;
	std = sqrt(m->m2 / (m->n - 1));
	return std > 0 ? (float)(((double)value - m->mean) / std) : 0;
}

/* Least squares through the panes' means, weighted by their counts; a second. */
static float slope_of(const struct dp_window_layout *l, const struct span *s, uint32_t field)
{
	double n = 0, t = 0, m = 0, up = 0, down = 0;
	uint32_t panes = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		double k = dp_pane_count(l, s->pane[i], field);

		if (!(k > 0))
			continue;
		panes++;
		n += k;
		t += k * (double)s->age[i];
		m += k * dp_pane_mean(l, s->pane[i], field);
	}
	if (panes < 2)
		return NAN;
	t /= n;
	m /= n;
	for (uint32_t i = 0; i < s->count; i++) {
		double k = dp_pane_count(l, s->pane[i], field), off;

		if (!(k > 0))
			continue;
		off = (double)s->age[i] - t;
		up += k * off * (dp_pane_mean(l, s->pane[i], field) - m);
		down += k * off * off;
	}
	return (float)(up / down / ((double)l->slide_ns / (double)DP_NS_PER_S));
}

void dp_window_probe(const struct dp_windows *w, char *state, const float *values, uint32_t row)
{
	const struct dp_probes *probes = &w->probes;
	float *out = probes->out + (size_t)row * probes->stride;
	struct dp_merged merged = DP_MERGED_NONE;
	uint16_t window = UINT16_MAX, field = UINT16_MAX;
	struct span span;

	span.count = 0;

	for (uint32_t i = 0; i < probes->count; i++) {
		const struct dp_probe *p = &probes->list[i];
		const struct dp_window_layout *l = &w->layout[p->expr.window];

		if (p->expr.window != window) {
			look(l, state, &span);
			field = UINT16_MAX;
		}
		window = p->expr.window;
		if (p->expr.field != field) {
			merged = DP_MERGED_NONE;
			for (uint32_t k = 0; k < span.count; k++)
				dp_pane_merge(l, span.pane[k], p->expr.field, &merged);
		}
		field = p->expr.field;
		if (p->expr.op == DP_EXPR_SLOPE)
			out[p->to] = slope_of(l, &span, field);
		else if (p->expr.op == DP_EXPR_ZSCORE)
			out[p->to] = zscore_of(&merged, values[field]);
		else
			out[p->to] = stat_of(p->expr.stat, &merged);
	}
}
