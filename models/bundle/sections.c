/* Inputs, output, texts and the linear model: everything but the trees. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "models/bundle/parts.h"
#include "models/bundle/text.h"

/* ---- schema ---- */

int mdl_load_schema(struct mdl_load *l)
{
	const struct mdl_span *s = &l->sections[MDL_SECTION_SCHEMA];
	bool linear = l->model.kind == MDL_LINEAR;

	if (s->bytes != l->model.input_count * sizeof(struct mdl_file_input))
		return mdl_refuse(l, MDL_SECTION_SCHEMA, "has %zu bytes for %u inputs", s->bytes,
			l->model.input_count);
	for (uint32_t i = 0; i < l->model.input_count; i++) {
		uint32_t bins = mdl_file_input_at(l, i).bin_count;

		if (bins > (linear ? 0 : MDL_BINS_MAX))
			return mdl_refuse(l, MDL_SECTION_SCHEMA, "input %u: %u bins", i, bins);
		l->bin_count += bins;
		l->block_count += mdl_block_count(bins);
		l->top_count += mdl_top_count(bins);
	}
	return 0;
}

static int refuse_input(const struct mdl_load *l, uint32_t i, const char *why)
{
	return mdl_refuse(l, MDL_SECTION_SCHEMA, "input %u: %s", i, why);
}

static bool of_window_record(enum mdl_function f)
{
	return (f >= MDL_MEAN && f <= MDL_COUNT) || f == MDL_HOUR || f == MDL_WEEKDAY;
}

static int check_window(const struct mdl_load *l, uint32_t i, const struct mdl_file_input *f)
{
	int64_t size_ns = l->m->inputs[i].parsed.size_ns;

	if (l->m->rows == MDL_WINDOWS && !of_window_record(l->m->inputs[i].parsed.function))
		return refuse_input(l, i, "a closed window has no such input");
	if (f->size_ns != size_ns)
		return refuse_input(l, i, "the window's size is not that of the expression");
	if (size_ns ? f->slide_ns <= 0 || f->slide_ns > size_ns || size_ns % f->slide_ns
		    : f->slide_ns != 0)
		return refuse_input(l, i, "the window's slide does not divide its size");
	return 0;
}

static int check_missing(const struct mdl_load *l, uint32_t i, const struct mdl_file_input *f)
{
	if (f->missing < MDL_MISSING_REFUSED || f->missing > MDL_MISSING_BRANCH)
		return refuse_input(l, i, "what a missing value does is not known");
	if (f->missing == MDL_MISSING_BRANCH && l->m->kind == MDL_LINEAR)
		return refuse_input(l, i, "a linear model has no branches for missing values");
	if (f->missing != MDL_MISSING_IMPUTED && !mdl_all_zero(&f->imputed, sizeof(f->imputed)))
		return refuse_input(l, i, "an imputed value that nothing uses");
	if (!isfinite(f->imputed))
		return refuse_input(l, i, "the imputed value is not finite");
	return 0;
}

static int load_input(const struct mdl_load *l, uint32_t i)
{
	struct mdl_file_input f = mdl_file_input_at(l, i);
	struct mdl_input *in = &l->m->inputs[i];
	int rc;

	if (mdl_text_field(f.text, sizeof(f.text)) == SIZE_MAX)
		return refuse_input(l, i, "the expression is not ended by zeros");
	if (mdl_expression_parse(f.text, &in->parsed))
		return refuse_input(l, i, "not an expression in its canonical form");
	for (uint32_t k = 0; k < i; k++)
		if (!strcmp(f.text, l->m->inputs[k].expression))
			return refuse_input(l, i, "the same as one before");
	rc = check_window(l, i, &f);
	rc = rc ? rc : check_missing(l, i, &f);
	if (!rc && f.zero)
		rc = refuse_input(l, i, "reserved bytes are not zero");
	if (rc)
		return rc;
	memcpy(in->expression, f.text, sizeof(in->expression));
	in->size_ns = f.size_ns;
	in->slide_ns = f.slide_ns;
	in->imputed = f.imputed;
	in->missing = f.missing;
	return 0;
}

/* A model of closed windows is one of windows of one size and slide. */
static int check_one_window(const struct mdl_load *l)
{
	const struct mdl_input *first = NULL;

	for (uint32_t i = 0; i < l->m->input_count; i++) {
		const struct mdl_input *in = &l->m->inputs[i];

		if (!in->size_ns)
			continue;
		if (first && (in->size_ns != first->size_ns || in->slide_ns != first->slide_ns))
			return refuse_input(l, i, "of another window than those before");
		first = in;
	}
	if (!first)
		return mdl_refuse(l, MDL_SECTION_SCHEMA, "no input says which windows these are");
	return 0;
}

int mdl_load_inputs(struct mdl_load *l)
{
	for (uint32_t i = 0; i < l->m->input_count; i++) {
		int rc = load_input(l, i);

		if (rc)
			return rc;
	}
	return l->m->rows == MDL_WINDOWS ? check_one_window(l) : 0;
}

/* ---- output ---- */

static enum mdl_link link_of(const struct mdl_bundle *m)
{
	if (m->kind == MDL_FOREST || m->task == MDL_REGRESSION)
		return MDL_IDENTITY;
	return m->task == MDL_BINARY ? MDL_SIGMOID : MDL_SOFTMAX;
}

static int load_labels(const struct mdl_load *l, const uint8_t *at)
{
	memcpy(l->m->labels, at, l->m->class_count * sizeof(l->m->labels[0]));
	for (uint32_t i = 0; i < l->m->class_count; i++) {
		const char *label = l->m->labels[i];
		size_t n = mdl_text_field(label, sizeof(l->m->labels[0]));

		if (!n || n == SIZE_MAX || !mdl_text_printable(label, n))
			return mdl_refuse(l, MDL_SECTION_OUTPUT,
				"label %u is not 1 to 31 bytes of printable UTF-8, then zeros", i);
		for (uint32_t k = 0; k < i; k++)
			if (!strcmp(label, l->m->labels[k]))
				return mdl_refuse(
					l, MDL_SECTION_OUTPUT, "labels %u and %u are alike", k, i);
	}
	return 0;
}

int mdl_load_output(struct mdl_load *l)
{
	const uint8_t *at = l->sections[MDL_SECTION_OUTPUT].at;
	size_t initial_bytes = l->m->output_count * sizeof(double), unit;
	struct mdl_file_output f;

	memcpy(&f, at, sizeof(f));
	if (f.link != link_of(l->m))
		return mdl_refuse(l, MDL_SECTION_OUTPUT, "link %u, and this model has %u", f.link,
			link_of(l->m));
	if (!mdl_all_zero(f.zero, sizeof(f.zero)))
		return mdl_refuse(l, MDL_SECTION_OUTPUT, "reserved bytes are not zero");
	if (f.class_count != l->m->class_count)
		return mdl_refuse(l, MDL_SECTION_OUTPUT, "%u classes, and this model has %u",
			f.class_count, l->m->class_count);
	unit = mdl_text_field(f.unit, sizeof(f.unit));
	if (unit == SIZE_MAX || !mdl_text_printable(f.unit, unit))
		return mdl_refuse(l, MDL_SECTION_OUTPUT,
			"the unit is not at most 15 bytes of printable UTF-8, then zeros");
	if (unit && l->m->task != MDL_REGRESSION)
		return mdl_refuse(l, MDL_SECTION_OUTPUT, "a unit, and the task has classes");
	l->m->link = f.link;
	memcpy(l->m->unit, f.unit, sizeof(l->m->unit));
	memcpy(l->m->initial, at + sizeof(f), initial_bytes);
	if (l->m->kind != MDL_BOOSTED && !mdl_all_zero(l->m->initial, initial_bytes))
		return mdl_refuse(l, MDL_SECTION_OUTPUT,
			"an initial prediction, and the model is not boosted");
	for (uint32_t i = 0; i < l->m->output_count; i++)
		if (!isfinite(l->m->initial[i]))
			return mdl_refuse(
				l, MDL_SECTION_OUTPUT, "initial prediction %u is not finite", i);
	return load_labels(l, at + sizeof(f) + initial_bytes);
}

/* ---- texts ---- */

static int load_text(const struct mdl_load *l, enum mdl_section type, char *to)
{
	const struct mdl_span *s = &l->sections[type];

	memcpy(to, s->at, s->bytes); /* the end is there already */
	if (!mdl_text_object(to, s->bytes))
		return mdl_refuse(l, type, "not a JSON object in UTF-8");
	return 0;
}

int mdl_load_texts(struct mdl_load *l)
{
	struct mdl_file_head head;
	int rc = load_text(l, MDL_SECTION_METRICS, l->m->metrics);

	rc = rc ? rc : load_text(l, MDL_SECTION_PROVENANCE, l->m->provenance);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < l->section_count; i++) {
		struct mdl_section_info *to = &l->m->sections[i];
		struct mdl_file_entry e;

		memcpy(&e, l->file.at + sizeof(head) + i * sizeof(e), sizeof(e));
		to->type = e.type;
		to->bytes = e.bytes;
		memcpy(to->sha256, e.sha256, sizeof(to->sha256));
	}
	return 0;
}

/* ---- linear ---- */

static int load_finite(const struct mdl_load *l, double *to, const uint8_t *at, size_t count)
{
	memcpy(to, at, count * sizeof(*to));
	for (size_t i = 0; i < count; i++)
		if (!isfinite(to[i]))
			return mdl_refuse(l, MDL_SECTION_LINEAR, "%s %zu is not finite",
				to == l->m->bias ? "bias" : "weight", i);
	return 0;
}

int mdl_load_linear(struct mdl_load *l)
{
	const uint8_t *at = l->sections[MDL_SECTION_LINEAR].at;
	size_t weights = (size_t)l->m->output_count * l->m->input_count;
	int rc;

	if (l->m->kind != MDL_LINEAR)
		return 0;
	rc = load_finite(l, l->m->weight, at, weights);
	return rc ? rc
		  : load_finite(l, l->m->bias, at + weights * sizeof(double), l->m->output_count);
}
