/* Binds the models of a stream to it. Cold. */
#include "dataplane/score/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/score/resolve.h"

struct binder {
	struct dp_plan *plan;
	const struct dp_stream *s;
	uint32_t inputs; /* of all models: an upper bound of everything */
	bool too_many;	 /* derived inputs, and it was said of this model */
	struct dp_plan_why *why;
};

static void refuse(const struct binder *b, uint32_t model, const char *input, const char *reason)
{
	struct dp_plan_why *why = b->why;

	if (why->count == DP_PLAN_WHYS_MAX) {
		why->left_out++;
		return;
	}
	why->list[why->count].model = model;
	snprintf(why->list[why->count++].text, DP_PLAN_WHY_BYTES, "model %s%s%s: %s",
		b->s->models[model].name, input ? ", input " : "", input ? input : "", reason);
}

static bool same(const struct dp_expr *a, const struct dp_expr *b)
{
	return a->op == b->op && a->field == b->field && a->other == b->other &&
	       a->window == b->window && a->stat == b->stat;
}

/* ---- what the inputs are ---- */

/* Lists what a model of readings needs, each thing once over all models. */
static int need(struct dp_plan *p, const struct dp_expr *e, const char *text)
{
	uint32_t i = 0;

	if (e->op == DP_EXPR_VALUE)
		return 0;
	if (!dp_expr_derived(e)) {
		while (i < p->computed_count && !same(&p->computed[i].expr, e))
			i++;
		p->computed[i].expr = *e;
		p->computed_count += i == p->computed_count;
		return 0;
	}
	while (i < p->derived_count && !same(&p->derived[i].expr, e))
		i++;
	if (i == DP_DERIVED_MAX)
		return -E2BIG;
	snprintf(p->derived[i].text, sizeof(p->derived[i].text), "%s", text);
	p->derived[i].expr = *e;
	p->derived_count += i == p->derived_count;
	return 0;
}

/* NULL: a close has it. */
static const char *not_of_close(const struct dp_stream *s, const struct dp_expr *e, uint16_t window)
{
	if (e->op == DP_EXPR_HOUR || e->op == DP_EXPR_WEEKDAY)
		return NULL;
	if (e->op != DP_EXPR_STAT || e->window != window)
		return "a model of closed windows takes statistics of that window only";
	return s->windows[window].stats & e->stat ? NULL : "the window's `stats` leave it out";
}

static bool alike(const struct dp_stream *s, uint16_t a, uint16_t b)
{
	return s->windows[a].size_ns == s->windows[b].size_ns &&
	       s->windows[a].slide_ns == s->windows[b].slide_ns;
}

static void bind_input(struct binder *b, uint32_t model, uint32_t i, struct dp_expr *e)
{
	const struct dp_bound_model *to = &b->plan->models[model];
	const struct mdl_input *in = &to->bundle->inputs[i];
	char reason[DP_PLAN_WHY_BYTES / 2];
	const char *wrong = NULL;

	if (dp_resolve(in, b->s, e, reason, sizeof(reason)))
		wrong = reason;
	else if (to->window >= 0 && e->op == DP_EXPR_STAT &&
		 alike(b->s, e->window, (uint16_t)to->window))
		e->window = (uint16_t)to->window; /* of several of that size and slide its own */
	if (!wrong && to->window >= 0) {
		wrong = not_of_close(b->s, e, (uint16_t)to->window);
	} else if (!wrong && need(b->plan, e, in->expression) && !b->too_many) {
		wrong = "the models of the stream have too many inputs that need the sensor's "
			"state";
		b->too_many = true;
	}
	if (wrong)
		refuse(b, model, in->expression, wrong);
}

static int bind_model(struct binder *b, uint32_t model)
{
	struct dp_plan *p = b->plan;
	struct dp_bound_model *to = &p->models[model];
	const struct mdl_bundle *m = to->bundle;

	if ((m->rows == MDL_WINDOWS) != (to->window >= 0)) {
		refuse(b, model, NULL,
			to->window >= 0 ? "was trained on readings, not on closed windows"
					: "was trained on closed windows, not on readings");
		return 0;
	}
	b->too_many = false;
	p->inputs_max = m->input_count > p->inputs_max ? m->input_count : p->inputs_max;
	p->outputs_max = m->output_count > p->outputs_max ? m->output_count : p->outputs_max;
	to->expr = calloc(m->input_count, sizeof(*to->expr));
	to->source = calloc(m->input_count, sizeof(*to->source));
	if (!to->expr || !to->source)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->input_count; i++)
		bind_input(b, model, i, &to->expr[i]);
	return 0;
}

/* ---- where they are ---- */

static int by_place(const void *a, const void *b)
{
	const struct dp_expr *x = &((const struct dp_probe *)a)->expr;
	const struct dp_expr *y = &((const struct dp_probe *)b)->expr;

	if (x->window != y->window)
		return x->window < y->window ? -1 : 1;
	return x->field < y->field ? -1 : x->field > y->field;
}

static uint32_t stats_needed(const struct dp_expr *e)
{
	switch (e->op) {
	case DP_EXPR_ZSCORE:
		return DP_STAT_STD;
	case DP_EXPR_SLOPE:
		return DP_STAT_MEAN;
	default:
		return e->stat;
	}
}

static uint16_t register_of(const struct dp_plan *p, const struct dp_expr *e)
{
	uint32_t fields = p->stream->field_count, i = 0;

	if (e->op == DP_EXPR_VALUE)
		return e->field;
	if (dp_expr_derived(e)) {
		while (!same(&p->derived[i].expr, e))
			i++;
		return (uint16_t)(fields + i);
	}
	while (!same(&p->computed[i].expr, e))
		i++;
	return (uint16_t)(fields + p->derived_count + i);
}

static void place(struct dp_plan *p)
{
	uint32_t fields = p->stream->field_count;

	for (uint32_t i = 0; i < p->derived_count; i++) {
		const struct dp_expr *e = &p->derived[i].expr;

		if (e->op == DP_EXPR_DELTA) {
			p->deltas[p->delta_count++] = (struct dp_register){*e, fields + i};
		} else {
			p->probes[p->probe_count++] = (struct dp_probe){*e, fields + i};
			p->kept[e->window] |= stats_needed(e);
		}
	}
	qsort(p->probes, p->probe_count, sizeof(*p->probes), by_place);
	for (uint32_t i = 0; i < p->computed_count; i++)
		p->computed[i].to = fields + p->derived_count + i;
	p->width = fields + p->derived_count + p->computed_count;
	for (uint32_t i = 0; i < p->model_count; i++) {
		struct dp_bound_model *m = &p->models[i];
		uint32_t of_window = 0;

		p->of_readings += m->window < 0;
		for (uint32_t k = 0; m->window < 0 && k < m->bundle->input_count; k++)
			m->source[k] = register_of(p, &m->expr[k]);
		for (uint32_t k = 0; m->window >= 0 && k < p->model_count; k++)
			of_window += p->models[k].window == m->window;
		p->of_closes = of_window > p->of_closes ? of_window : p->of_closes;
	}
}

int dp_plan_new(const struct dp_stream *s, const struct mdl_bundle *const *bundles,
	struct dp_plan **out, struct dp_plan_why *why)
{
	struct dp_plan *p = calloc(1, sizeof(*p));
	struct binder b = {.plan = p, .s = s, .why = why};
	int rc = 0;

	*out = NULL;
	why->count = why->left_out = 0;
	if (!p)
		return -ENOMEM;
	p->stream = s;
	p->model_count = s->model_count;
	for (uint32_t i = 0; i < p->model_count; i++) {
		p->models[i].bundle = bundles[i];
		p->models[i].window = s->models[i].window;
		b.inputs += bundles[i]->input_count;
	}
	p->derived = calloc(b.inputs + 1, sizeof(*p->derived));
	p->probes = calloc(b.inputs + 1, sizeof(*p->probes));
	p->deltas = calloc(b.inputs + 1, sizeof(*p->deltas));
	p->computed = calloc(b.inputs + 1, sizeof(*p->computed));
	if (!p->derived || !p->probes || !p->deltas || !p->computed)
		rc = -ENOMEM;
	for (uint32_t i = 0; i < p->model_count && rc == 0; i++)
		rc = bind_model(&b, i);
	if (rc == 0 && why->count)
		rc = -EINVAL;
	if (rc) {
		dp_plan_free(p);
		return rc;
	}
	place(p);
	*out = p;
	return 0;
}

void dp_plan_free(struct dp_plan *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->model_count; i++) {
		free(p->models[i].source);
		free(p->models[i].expr);
	}
	free(p->derived);
	free(p->probes);
	free(p->deltas);
	free(p->computed);
	free(p);
}
