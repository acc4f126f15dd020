/*
 * The golden rows: what the library said must come out of every engine.  The last of the checks;
 * the model is whole and walks end, but it may still be another than the one that was trained.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/bundle/parts.h"
#include "models/engine/engine.h"
#include "models/engine/score.h"

enum { CHUNK_ROWS = 64 };

#define TREES_WITHIN  1e-12 /* behind the link */
#define LINEAR_WITHIN 1e-9

/* Rows of one chunk, filled up to whole lanes with the last of them. */
struct golden {
	struct mdl_load *l;
	uint32_t first, count, padded;
	float *inputs;
	uint32_t *want_leaves, *leaves;
	double *want, *plain, *out; /* `plain` and `out` before the link */
	void *scratch;
};

static bool same_bits(double a, double b)
{
	return !memcmp(&a, &b, sizeof(a));
}

/* One array of a chunk, out of the section at `at`: rows of `row_bytes`. */
static void fetch(const struct golden *g, const uint8_t *at, void *to, size_t row_bytes)
{
	at += g->first * row_bytes;
	memcpy(to, at, g->count * row_bytes);
	for (uint32_t i = g->count; i < g->padded; i++)
		memcpy((uint8_t *)to + i * row_bytes, at + (g->count - 1) * row_bytes, row_bytes);
}

static void fetch_chunk(const struct golden *g)
{
	const struct mdl_bundle *m = g->l->m;
	const uint8_t *at = g->l->sections[MDL_SECTION_GOLDEN].at;
	size_t inputs = m->input_count * sizeof(float);
	size_t leaves = m->tree_count * sizeof(uint32_t), outs = m->output_count * sizeof(double);

	fetch(g, at, g->inputs, inputs);
	at += m->golden_count * inputs;
	fetch(g, at, g->want_leaves, leaves);
	at += m->golden_count * leaves;
	fetch(g, at, g->want, outs);
}

/* Infinite is missing too, but then it is written as NaN. */
static int check_inputs(const struct golden *g)
{
	uint32_t n = g->l->m->input_count;

	for (uint32_t i = 0; i < g->count * n; i++)
		if (isinf(g->inputs[i]))
			return mdl_refuse(g->l, MDL_SECTION_GOLDEN, "row %u: input %u is infinite",
				g->first + i / n, i % n);
	return 0;
}

static int refuse_row(const struct golden *g, uint32_t row, enum mdl_engine e, const char *why)
{
	return mdl_refuse(g->l, MDL_SECTION_GOLDEN, "row %u, engine %s: %s", g->first + row,
		mdl_engine_name(e), why);
}

/* Sums and leaves of an engine: equal to the plain one's and to the library's. */
static int check_sums(const struct golden *g, enum mdl_engine e)
{
	const struct mdl_bundle *m = g->l->m;

	for (uint32_t i = 0; i < g->count * m->tree_count; i++)
		if (g->leaves[i] != g->want_leaves[i])
			return mdl_refuse(g->l, MDL_SECTION_GOLDEN,
				"row %u, engine %s: leaf %" PRId64 " of tree %u, not %" PRId64,
				g->first + i / m->tree_count, mdl_engine_name(e),
				(int64_t)(int32_t)g->leaves[i], i % m->tree_count,
				(int64_t)(int32_t)g->want_leaves[i]);
	for (uint32_t i = 0; i < g->count * m->output_count; i++)
		if (!same_bits(g->out[i], g->plain[i]) && !(isnan(g->out[i]) && isnan(g->plain[i])))
			return refuse_row(
				g, i / m->output_count, e, "another sum than the plain one");
	return 0;
}

static bool is_close(const struct mdl_bundle *m, double got, double want)
{
	if (isnan(want) || isnan(got))
		return isnan(want) && isnan(got);
	if (m->kind == MDL_LINEAR)
		return fabs(got - want) <= LINEAR_WITHIN * fmax(1, fabs(want));
	return m->link == MDL_IDENTITY ? same_bits(got, want) : fabs(got - want) <= TREES_WITHIN;
}

static int check_outputs(const struct golden *g, enum mdl_engine e)
{
	const struct mdl_bundle *m = g->l->m;

	for (uint32_t i = 0; i < g->count * m->output_count; i++)
		if (!is_close(m, g->out[i], g->want[i]))
			return mdl_refuse(g->l, MDL_SECTION_GOLDEN,
				"row %u, engine %s: output %u is %.17g, not %.17g",
				g->first + i / m->output_count, mdl_engine_name(e),
				i % m->output_count, g->out[i], g->want[i]);
	return 0;
}

static int check_chunk(const struct golden *g)
{
	const struct mdl_bundle *m = g->l->m;
	struct mdl_rows rows = {.count = g->padded, .inputs = g->inputs, .leaves = g->leaves};
	int rc = check_inputs(g);

	if (rc)
		return rc;
	mdl_rows_init(&rows, m, g->scratch);
	rows.out = g->plain;
	mdl_sum(m, MDL_ENGINE_PLAIN, &rows);
	rows.out = g->out;
	for (unsigned e = MDL_ENGINE_PLAIN; !rc && e < MDL_ENGINE_END; e <<= 1) {
		if (!(mdl_engines_of(m) & e))
			continue;
		mdl_sum(m, e, &rows);
		rc = check_sums(g, e);
		if (!rc) {
			mdl_link_rows(m, &rows);
			rc = check_outputs(g, e);
		}
	}
	return rc;
}

/* Everything that a chunk needs, or false. */
static bool make_room(struct golden *g)
{
	const struct mdl_bundle *m = g->l->m;
	size_t outs = CHUNK_ROWS * (size_t)m->output_count;
	size_t leaves = CHUNK_ROWS * (size_t)m->tree_count;

	g->inputs = malloc(CHUNK_ROWS * m->input_count * sizeof(*g->inputs));
	g->want_leaves = malloc(2 * leaves * sizeof(*g->leaves) + 1);
	g->want = malloc(3 * outs * sizeof(*g->want));
	g->scratch = malloc(mdl_scratch_bytes(m, CHUNK_ROWS));
	if (!g->inputs || !g->want_leaves || !g->want || !g->scratch)
		return false;
	g->leaves = g->want_leaves + leaves;
	g->plain = g->want + outs;
	g->out = g->plain + outs;
	return true;
}

int mdl_load_golden(struct mdl_load *l)
{
	struct golden g = {.l = l};
	uint32_t rows = l->m->golden_count;
	int rc = make_room(&g) ? 0 : mdl_no_memory(l);

	for (; !rc && g.first < rows; g.first += CHUNK_ROWS) {
		g.count = rows - g.first < CHUNK_ROWS ? rows - g.first : CHUNK_ROWS;
		g.padded = (g.count + MDL_LANES - 1) / MDL_LANES * MDL_LANES;
		fetch_chunk(&g);
		rc = check_chunk(&g);
	}
	free(g.inputs);
	free(g.want_leaves);
	free(g.want);
	free(g.scratch);
	return rc;
}
