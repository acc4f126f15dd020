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

static float zscore_of(const struct dp_merged *m, uint32_t lane, float value)
{
	double std;

	if (!(m->n[lane] > 1) || !isfinite(value))
		return NAN;
	std = sqrt(m->m2[lane] / (m->n[lane] - 1));
	return std > 0 ? (float)(((double)value - m->mean[lane]) / std) : 0;
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
	uint32_t window = UINT32_MAX, first = 0, lanes = 0; /* of the fields that are merged */
	struct dp_merged merged;
	struct span span;

	for (uint32_t i = 0; i < probes->count; i++) {
		const struct dp_probe *p = &probes->list[i];
		const struct dp_window_layout *l = &w->layout[p->expr.window];
		uint32_t field = p->expr.field;

		if (p->expr.window != window) {
			look(l, state, &span);
			lanes = 0;
		}
		window = p->expr.window;
		if (field - first >= lanes) { /* fields rise within a window */
			/* a short tail as it is: begun further down, so that there are DP_LANES
			 * of them, it costs more (perf/README.md, "Inputs from windows") */
			first = field;
			lanes = dp_lanes_from(field, w->stream->field_count);
			dp_panes_merge(l, span.pane, span.count, first, lanes, &merged);
		}
		if (p->expr.op == DP_EXPR_SLOPE)
			out[p->to] = slope_of(l, &span, field);
		else if (p->expr.op == DP_EXPR_ZSCORE)
			out[p->to] = zscore_of(&merged, field - first, values[field]);
		else
			out[p->to] = dp_merged_stat(&merged, field - first, p->expr.stat);
	}
}
