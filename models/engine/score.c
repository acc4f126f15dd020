/* Between window and alert: which engine takes which rows, what comes before and behind it. */
#include "models/engine/score.h"

#include <assert.h>
#include <math.h>

#include "models/engine/engine.h"
#include "models/engine/rank.h"

static size_t align_up(size_t n)
{
	return (n + 7) / 8 * 8;
}

/* Of the ranks, or of the imputed values. */
static size_t values_bytes(const struct mdl_bundle *m, uint32_t rows)
{
	size_t lanes = ((size_t)rows + MDL_LANES - 1) / MDL_LANES * MDL_LANES;

	if (m->kind == MDL_LINEAR)
		return align_up((size_t)rows * m->input_count * sizeof(float));
	return align_up(lanes * m->slot_count * sizeof(uint16_t));
}

size_t mdl_scratch_bytes(const struct mdl_bundle *m, uint32_t rows_max)
{
	return values_bytes(m, rows_max) + align_up(rows_max);
}

void mdl_rows_init(struct mdl_rows *rows, const struct mdl_bundle *m, void *scratch)
{
	rows->ranks = scratch;
	rows->imputed = scratch;
	rows->refused = (uint8_t *)scratch + values_bytes(m, rows->count);
}

/* ---- what comes before and behind the engines ---- */

static void begin_trees(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	mdl_rank_rows(m, rows);
	for (uint32_t row = 0; row < rows->count; row++)
		for (uint32_t k = 0; k < m->output_count; k++)
			rows->out[(size_t)row * m->output_count + k] = m->initial[k];
}

static void end_trees(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	size_t n = (size_t)rows->count * m->output_count;

	if (m->kind == MDL_FOREST)
		for (size_t i = 0; i < n; i++)
			rows->out[i] /= m->tree_count;
}

static void end_refused(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	for (uint32_t row = 0; row < rows->count; row++) {
		if (!rows->refused[row])
			continue;
		for (uint32_t k = 0; k < m->output_count; k++)
			rows->out[(size_t)row * m->output_count + k] = NAN;
		for (uint32_t t = 0; rows->leaves && t < m->tree_count; t++)
			rows->leaves[(size_t)row * m->tree_count + t] = MDL_LEAF_NONE;
	}
}

/* ---- the engines by name ---- */

const char *mdl_engine_name(enum mdl_engine engine)
{
	switch (engine) {
	case MDL_ENGINE_PLAIN:
		return "plain";
	case MDL_ENGINE_TREES:
		return "trees";
	case MDL_ENGINE_ROWS:
		return "rows";
	default:
		return "linear";
	}
}

unsigned mdl_engines_of(const struct mdl_bundle *m)
{
	if (m->kind == MDL_LINEAR)
		return MDL_ENGINE_PLAIN | MDL_ENGINE_LINEAR;
	return MDL_ENGINE_PLAIN | MDL_ENGINE_TREES | MDL_ENGINE_ROWS;
}

void mdl_sum(const struct mdl_bundle *m, enum mdl_engine engine, const struct mdl_rows *rows)
{
	assert(mdl_engines_of(m) & engine);
	assert(engine != MDL_ENGINE_ROWS || rows->count % MDL_LANES == 0);
	if (engine == MDL_ENGINE_PLAIN) {
		mdl_plain_rows(m, rows);
		return;
	}
	if (engine == MDL_ENGINE_LINEAR) {
		mdl_linear_rows(m, rows);
	} else {
		begin_trees(m, rows);
		if (engine == MDL_ENGINE_ROWS)
			mdl_walk_by_rows(m, rows, 0, rows->count);
		else
			mdl_walk_by_trees(m, rows, 0, rows->count);
		end_trees(m, rows);
	}
	end_refused(m, rows);
}

/* ---- scoring ---- */

void mdl_score(const struct mdl_bundle *m, const float *inputs, uint32_t rows, void *scratch,
	double *out, uint32_t *leaves)
{
	struct mdl_rows r = {.count = rows, .inputs = inputs, .out = out, .leaves = leaves};

	mdl_rows_init(&r, m, scratch);
	if (m->kind == MDL_LINEAR) {
		mdl_linear_rows(m, &r);
	} else {
		uint32_t whole = rows / MDL_LANES * MDL_LANES;

		begin_trees(m, &r);
		mdl_walk_by_rows(m, &r, 0, whole);
		mdl_walk_by_trees(m, &r, whole, rows);
		end_trees(m, &r);
	}
	mdl_link_rows(m, &r);
	end_refused(m, &r);
}

void mdl_judge(const struct mdl_bundle *m, const double *out, struct mdl_verdict *v)
{
	uint32_t best = 0;

	*v = (struct mdl_verdict){.value = NAN, .probability = NAN};
	for (uint32_t k = 0; k < m->output_count; k++) {
		v->none |= !isfinite(out[k]);
		best = out[k] > out[best] ? k : best;
	}
	if (v->none)
		return;
	v->value = out[best];
	if (m->task == MDL_REGRESSION)
		return;
	v->probability = out[best];
	v->class_index = (uint8_t)(m->task == MDL_BINARY ? out[0] > m->threshold : best);
}
