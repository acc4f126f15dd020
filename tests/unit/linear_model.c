#include "tests/unit/linear_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void linear_model_init(struct linear_model *m, const char *name, enum mdl_task task,
	const char *const *expressions, int64_t slide_ns)
{
	struct mdl_bundle *b = &m->bundle;

	memset(m, 0, sizeof(*m));
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->version = 7;
	b->kind = MDL_LINEAR;
	b->task = task;
	b->rows = MDL_READINGS;
	b->link = task == MDL_BINARY ? MDL_SIGMOID : MDL_IDENTITY;
	b->output_count = 1;
	b->class_count = task == MDL_BINARY ? 2 : 0;
	b->threshold = 0.5;
	b->inputs = m->inputs;
	b->labels = m->labels;
	b->weight = m->weight;
	b->bias = &m->bias;
	b->initial = &m->initial;
	strcpy(m->labels[0], "no");
	strcpy(m->labels[1], "yes");
	for (; *expressions; expressions++) {
		struct mdl_input *in = &m->inputs[b->input_count];
		int rc = mdl_expression_parse(*expressions, &in->parsed);

		assert(rc == 0 && b->input_count < LINEAR_INPUTS_MAX);
		(void)rc;
		snprintf(in->expression, sizeof(in->expression), "%s", *expressions);
		in->size_ns = in->parsed.size_ns;
		in->slide_ns = in->size_ns ? slide_ns : 0;
		in->missing = MDL_MISSING_REFUSED;
		m->weight[b->input_count++] = 1;
	}
}

void linear_stream_bind(struct linear_stream *l, struct dp_stream *s,
	const char *const *expressions, int64_t slide_ns)
{
	const struct mdl_bundle *bundle = &l->linear.bundle;
	struct dp_plan_why why;

	linear_model_init(&l->linear, "sum", MDL_REGRESSION, expressions, slide_ns);
	l->model = (struct dp_model){.name = "sum", .window = -1};
	s->models = &l->model;
	s->model_count = s->reading_models = 1;
	if (dp_plan_new(s, &bundle, &l->plan, &why)) {
		fprintf(stderr, "%s\n", why.list[0].text);
		abort();
	}
	s->derived = l->plan->derived;
	s->derived_count = (uint16_t)l->plan->derived_count;
	for (uint16_t i = 0; i < s->window_count; i++)
		s->windows[i].kept = l->plan->kept[i];
}
