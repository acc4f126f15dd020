/*
 * Every engine against a naive reading of the same model, in any batch.  What would break: a
 * reading scored by another leaf than the library's, or otherwise in a batch of 64 than alone.
 */
#include "models/engine/score.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/core/mem.h"
#include "models/bundle/load.h"
#include "models/engine/engine.h"
#include "models/engine/rank.h"
#include "tests/unit/bundle_build.h"

enum { ROWS = 64, CANARY = 0x5a };

#define SPEC(kind_, task_, rows_, missing_, inputs_, outputs_, trees_, splits_)                    \
	.kind = kind_, .task = task_, .rows = rows_, .missing = missing_, .inputs = inputs_,       \
	.outputs = outputs_, .trees = trees_, .splits = splits_

static const struct build_spec specs[] = {
	/* bare stumps, one tree, trees that fill no lane, and some more than one lane */
	{SPEC(MDL_FOREST, MDL_BINARY, MDL_READINGS, 0, 3, 1, 1, 1)},
	{SPEC(MDL_FOREST, MDL_REGRESSION, MDL_READINGS, 0, 5, 1, 7, 12)},
	{SPEC(MDL_FOREST, MDL_REGRESSION, MDL_WINDOWS, MDL_MISSING_BRANCH, 4, 1, 9, 60)},
	{SPEC(MDL_FOREST, MDL_MULTICLASS, MDL_READINGS, 0, 6, 4, 20, 31)},
	{SPEC(MDL_FOREST, MDL_BINARY, MDL_READINGS, MDL_MISSING_IMPUTED, 1, 1, 16, 20)},
	{SPEC(MDL_FOREST, MDL_BINARY, MDL_READINGS, 0, 256, 1, 33, 80)},
	{SPEC(MDL_FOREST, MDL_MULTICLASS, MDL_READINGS, 0, 4, 8, 3, 64), .chain = true},
	{SPEC(MDL_BOOSTED, MDL_REGRESSION, MDL_READINGS, 0, 5, 1, 20, 31)},
	{SPEC(MDL_BOOSTED, MDL_BINARY, MDL_WINDOWS, MDL_MISSING_BRANCH, 6, 1, 40, 15)},
	{SPEC(MDL_BOOSTED, MDL_MULTICLASS, MDL_READINGS, 0, 5, 3, 25, 31), .pool = 300},
	{SPEC(MDL_BOOSTED, MDL_MULTICLASS, MDL_READINGS, MDL_MISSING_REFUSED, 2, 5, 11, 7)},
	{SPEC(MDL_LINEAR, MDL_REGRESSION, MDL_READINGS, 0, 1, 1, 0, 0)},
	{SPEC(MDL_LINEAR, MDL_BINARY, MDL_WINDOWS, 0, 9, 1, 0, 0)},
	{SPEC(MDL_LINEAR, MDL_MULTICLASS, MDL_READINGS, MDL_MISSING_IMPUTED, 33, 4, 0, 0)},
};

enum { SPECS = sizeof(specs) / sizeof(specs[0]) };

/* A model, loaded, and what the naive walk says of its rows. */
struct world {
	struct build b;
	struct mdl_bundle *m;
	double *want, *got;
	uint32_t *want_leaves, *leaves;
	uint8_t *scratch;
	size_t scratch_bytes;
};

static void open_world(struct world *w, const struct build_spec *spec, unsigned seed)
{
	struct build_spec s = *spec;
	char why[MDL_WHY_BYTES];
	uint8_t *bytes;
	size_t n;

	s.golden = 3;
	s.random_rows = ROWS;
	s.seed = seed;
	build_model(&w->b, &s);
	bytes = build_pack(&w->b, &n);
	cr_assert_eq(
		mdl_bundle_parse(bytes, n, &w->m, why, sizeof(why)), 0, "seed %u: %s", seed, why);
	free(bytes);
	w->want = calloc(ROWS * s.outputs, sizeof(double));
	w->got = calloc(ROWS * s.outputs, sizeof(double));
	w->want_leaves = calloc(ROWS * w->m->tree_count + 1, sizeof(uint32_t));
	w->leaves = calloc(ROWS * w->m->tree_count + 1, sizeof(uint32_t));
	w->scratch_bytes = mdl_scratch_bytes(w->m, ROWS);
	w->scratch = malloc(w->scratch_bytes);
	for (uint32_t row = 0; row < ROWS; row++)
		build_naive(&w->b, w->b.rows + row * s.inputs, w->want + row * s.outputs,
			w->want_leaves + row * w->m->tree_count);
}

static void close_world(struct world *w)
{
	mdl_bundle_free(w->m);
	build_free(&w->b);
	free(w->want);
	free(w->got);
	free(w->want_leaves);
	free(w->leaves);
	free(w->scratch);
}

static bool same(double got, double want, bool to_the_bit)
{
	if (isnan(got) || isnan(want))
		return isnan(got) && isnan(want);
	return to_the_bit ? !memcmp(&got, &want, sizeof(got)) : fabs(got - want) <= 1e-12;
}

/* Rows first .. first + n are what the naive walk says. */
static void compare(const struct world *w, uint32_t first, uint32_t n, const char *what)
{
	uint32_t outputs = w->m->output_count, trees = w->m->tree_count;

	for (uint32_t i = 0; i < n * outputs; i++)
		cr_assert(same(w->got[i], w->want[first * outputs + i], w->m->link == MDL_IDENTITY),
			"%s, seed %u, row %u of %u, output %u: %.17g, not %.17g", what,
			w->b.spec.seed, i / outputs, n, i % outputs, w->got[i],
			w->want[first * outputs + i]);
	for (uint32_t i = 0; i < n * trees; i++)
		cr_assert_eq(w->leaves[i], w->want_leaves[first * trees + i],
			"%s, seed %u, row %u of %u, tree %u: leaf %u, not %u", what, w->b.spec.seed,
			i / trees, n, i % trees, w->leaves[i], w->want_leaves[first * trees + i]);
}

static void score(const struct world *w, const float *rows, uint32_t n)
{
	memset(w->got, CANARY, ROWS * w->m->output_count * sizeof(double));
	memset(w->leaves, CANARY, ROWS * w->m->tree_count * sizeof(uint32_t));
	mdl_score(w->m, rows, n, w->scratch, w->got, w->leaves);
}

Test(score, every_batch_size_yields_what_the_naive_walk_does)
{
	for (uint32_t s = 0; s < SPECS; s++) {
		for (unsigned seed = 1; seed <= 8; seed++) {
			struct world w;

			open_world(&w, &specs[s], seed);
			for (uint32_t n = 1; n <= ROWS; n++) {
				uint32_t first = (n * 7) % (ROWS - n + 1);

				score(&w, w.b.rows + first * w.m->input_count, n);
				compare(&w, first, n, "score");
			}
			close_world(&w);
		}
	}
}

Test(score, engines_agree_bit_for_bit_before_the_link)
{
	for (uint32_t s = 0; s < SPECS; s++) {
		struct world w;
		struct mdl_rows rows = {.count = ROWS};
		size_t out_bytes;
		double *plain;

		open_world(&w, &specs[s], 100 + s);
		out_bytes = ROWS * w.m->output_count * sizeof(double);
		plain = malloc(out_bytes);
		rows.inputs = w.b.rows;
		rows.leaves = w.leaves;
		mdl_rows_init(&rows, w.m, w.scratch);
		rows.out = plain;
		mdl_sum(w.m, MDL_ENGINE_PLAIN, &rows);
		rows.out = w.got;
		for (unsigned e = 1; e < MDL_ENGINE_END; e <<= 1) {
			if (!(mdl_engines_of(w.m) & e))
				continue;
			memset(w.leaves, CANARY, ROWS * w.m->tree_count * sizeof(uint32_t));
			mdl_sum(w.m, e, &rows);
			for (uint32_t i = 0; i < ROWS * w.m->output_count; i++)
				cr_assert(same(w.got[i], plain[i], true), "spec %u, %s, output %u",
					s, mdl_engine_name(e), i);
			cr_assert_arr_eq(w.leaves, w.want_leaves,
				ROWS * w.m->tree_count * sizeof(uint32_t), "spec %u, %s", s,
				mdl_engine_name(e));
		}
		free(plain);
		close_world(&w);
	}
}

/* `x <= t` and `rank(x) <= k` are the same, also where x is t, or one float beside it. */
Test(score, every_threshold_and_one_ulp_to_each_side)
{
	for (uint32_t s = 0; s < SPECS; s++) {
		struct world w;
		float *row;

		if (specs[s].kind == MDL_LINEAR || specs[s].inputs > 10)
			continue;
		open_world(&w, &specs[s], 200 + s);
		row = malloc(w.m->input_count * sizeof(float));
		for (uint32_t i = 0; i < w.m->input_count; i++) {
			for (uint32_t k = 0; k < w.m->bin_count[i]; k++) {
				const float t = w.m->bins[w.m->bin_first[i] + k],
					    around[] = {t, -t, nextafterf(t, INFINITY),
						    nextafterf(t, -INFINITY)};

				for (uint32_t a = 0; a < 4; a++) {
					memcpy(row, w.b.rows + (k % ROWS) * w.m->input_count,
						w.m->input_count * sizeof(float));
					row[i] = around[a];
					build_naive(&w.b, row, w.want, w.want_leaves);
					score(&w, row, 1);
					compare(&w, 0, 1, "at a threshold");
				}
			}
		}
		free(row);
		close_world(&w);
	}
}

Test(score, what_is_not_finite_is_missing)
{
	static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-45f, -1e-45f,
		FLT_MIN, FLT_MAX, -FLT_MAX};

	for (uint32_t s = 0; s < SPECS; s++) {
		struct world w;
		float *row;

		open_world(&w, &specs[s], 300 + s);
		row = malloc(w.m->input_count * sizeof(float));
		for (uint32_t i = 0; i < w.m->input_count * (sizeof(odd) / sizeof(odd[0])); i++) {
			for (uint32_t k = 0; k < w.m->input_count; k++)
				row[k] = (float)k;
			row[i % w.m->input_count] = odd[i / w.m->input_count];
			build_naive(&w.b, row, w.want, w.want_leaves);
			score(&w, row, 1);
			compare(&w, 0, 1, "odd");
		}
		free(row);
		close_world(&w);
	}
}

Test(score, leaves_may_be_left_out)
{
	struct world w;

	open_world(&w, &specs[3], 1);
	mdl_score(w.m, w.b.rows, ROWS, w.scratch, w.got, NULL);
	memcpy(w.leaves, w.want_leaves, ROWS * w.m->tree_count * sizeof(uint32_t));
	compare(&w, 0, ROWS, "without leaves");
	close_world(&w);
}

Test(score, origins_are_the_librarys_numbers)
{
	struct world w;

	open_world(&w, &specs[3], 1);
	for (uint32_t t = 0; t < w.m->tree_count; t++)
		for (uint32_t k = 0; k < w.b.trees[t].count; k++)
			if (w.b.trees[t].nodes[k].leaf)
				cr_expect_eq(mdl_leaf_origin(w.m, t, k), 1000 * (t + 1) + k);
	close_world(&w);
}

/* A score stage gives each model the scratch that it asked for, in one arena. */
Test(score, writes_nothing_beside_its_scratch_and_outputs)
{
	for (uint32_t s = 0; s < SPECS; s++) {
		for (uint32_t n = 1; n <= ROWS; n += 9) {
			struct world w;
			size_t bytes, outs, leaves;

			open_world(&w, &specs[s], 400 + s);
			bytes = mdl_scratch_bytes(w.m, n);
			outs = n * w.m->output_count;
			leaves = n * w.m->tree_count;
			cr_assert_leq(bytes, w.scratch_bytes);
			memset(w.scratch, CANARY, w.scratch_bytes);
			score(&w, w.b.rows, n);
			for (size_t i = bytes; i < w.scratch_bytes; i++)
				cr_assert_eq(w.scratch[i], CANARY, "spec %u, %u rows", s, n);
			for (size_t i = outs; i < ROWS * w.m->output_count; i++)
				cr_assert_eq(((uint8_t *)(w.got + i))[0], CANARY);
			for (size_t i = leaves; i < ROWS * w.m->tree_count; i++)
				cr_assert_eq(((uint8_t *)(w.leaves + i))[0], CANARY);
			close_world(&w);
		}
	}
}

Test(score, sealed_thread_scores)
{
	int status;
	pid_t child = fork(); /* a sealed thread cannot return into the test framework */

	if (child == 0) {
		struct world w[SPECS];

		for (uint32_t s = 0; s < SPECS; s++)
			open_world(&w[s], &specs[s], s);
		dp_mem_seal();
		for (uint32_t s = 0; s < SPECS; s++) {
			struct mdl_verdict v;

			mdl_score(w[s].m, w[s].b.rows, ROWS, w[s].scratch, w[s].got, w[s].leaves);
			mdl_judge(w[s].m, w[s].got, &v);
		}
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "scoring allocates");
}

/* Among 0 to 70 thresholds, and so many that their blocks are searched and not counted. */
Test(score, a_rank_is_the_number_of_smaller_thresholds)
{
	enum { MANY = 3000, TOPS = MANY / MDL_BIN_BLOCK + 1 + MDL_BIN_TOPS };
	static float bins[MANY + MDL_BIN_BLOCK], tops[TOPS];
	uint32_t bin_first = 0, top_first[2] = {0};
	struct mdl_bundle m = {
		.bins = bins, .bin_tops = tops, .bin_first = &bin_first, .top_first = top_first};

	for (uint32_t n = 0; n <= MANY; n += n < 70 ? 1 : 293) {
		uint32_t blocks = n / MDL_BIN_BLOCK + 1;

		for (uint32_t i = 0; i < blocks * MDL_BIN_BLOCK; i++)
			bins[i] = i < n ? (float)i - 20 : INFINITY;
		top_first[1] = (blocks + MDL_BIN_TOPS - 1) / MDL_BIN_TOPS * MDL_BIN_TOPS;
		for (uint32_t i = 0; i < top_first[1]; i++)
			tops[i] = i < blocks ? bins[(i + 1) * MDL_BIN_BLOCK - 1] : INFINITY;
		for (float x = -23; x < (float)n; x += 0.5f) {
			uint32_t smaller = 0;

			for (uint32_t i = 0; i < n; i++)
				smaller += bins[i] < x;
			cr_assert_eq(mdl_rank_of(&m, 0, x), smaller, "%g among %u", (double)x, n);
		}
		cr_assert_eq(mdl_rank_of(&m, 0, FLT_MAX), n);
		/* what is not finite yields anything, but reads nothing beside */
		mdl_rank_of(&m, 0, NAN);
		mdl_rank_of(&m, 0, INFINITY);
	}
}

/* ---- verdicts ---- */

Test(score, verdicts)
{
	static const struct {
		enum mdl_task task;
		uint32_t outputs;
		double out[4];
		struct mdl_verdict want;
	} t[] = {
		{MDL_REGRESSION, 1, {-3.5}, {-3.5, NAN, 0, false}},
		{MDL_REGRESSION, 1, {NAN}, {NAN, NAN, 0, true}},
		{MDL_REGRESSION, 1, {INFINITY}, {NAN, NAN, 0, true}},
		{MDL_BINARY, 1, {0.5}, {0.5, 0.5, 0, false}}, /* not greater */
		{MDL_BINARY, 1, {0.50000001}, {0.50000001, 0.50000001, 1, false}},
		{MDL_BINARY, 1, {0.1}, {0.1, 0.1, 0, false}},
		{MDL_BINARY, 1, {NAN}, {NAN, NAN, 0, true}},
		{MDL_MULTICLASS, 3, {0.2, 0.4, 0.4}, {0.4, 0.4, 1, false}}, /* the first */
		{MDL_MULTICLASS, 4, {0.1, 0.2, 0.2, 0.5}, {0.5, 0.5, 3, false}},
		{MDL_MULTICLASS, 3, {0.2, NAN, 0.4}, {NAN, NAN, 0, true}},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mdl_bundle m = {
			.task = t[i].task, .output_count = t[i].outputs, .threshold = 0.5};
		struct mdl_verdict v;

		mdl_judge(&m, t[i].out, &v);
		cr_expect(same(v.value, t[i].want.value, true), "%zu: %g", i, v.value);
		cr_expect(same(v.probability, t[i].want.probability, true), "%zu", i);
		cr_expect_eq(v.class_index, t[i].want.class_index, "%zu", i);
		cr_expect_eq(v.none, t[i].want.none, "%zu", i);
	}
}

/* The sum may be anything that the leaves add up to. */
Test(score, links_do_not_overflow)
{
	double out[3] = {1e308, -1e308, 1e308};
	struct mdl_bundle m = {.link = MDL_SOFTMAX, .output_count = 3};
	struct mdl_rows rows = {.count = 1, .out = out};

	mdl_link_rows(&m, &rows);
	cr_expect_eq(out[0], 0.5);
	cr_expect_eq(out[1], 0);
	cr_expect_eq(out[2], 0.5);
	m = (struct mdl_bundle){.link = MDL_SIGMOID, .output_count = 1};
	out[0] = -1e308;
	mdl_link_rows(&m, &rows);
	cr_expect_eq(out[0], 0);
	out[0] = 1e308;
	mdl_link_rows(&m, &rows);
	cr_expect_eq(out[0], 1);
}
