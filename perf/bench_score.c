/*
 * What scoring costs: nanoseconds a row in batches of 1, 8 and 64, beside a plain walk of the same
 * trees (thresholds as floats in the nodes, one row, one tree, one node at a time), in turn within
 * one run; the sums are compared.  Complete trees, random splits, rows that no predictor has seen.
 * One JSON line.
 *
 * usage: bench_score [TREES [DEPTH [INPUTS [BINS]]]], else 20 5 8 64
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/engine/engine.h"
#include "models/engine/rank.h"
#include "models/engine/score.h"

enum { ROWS = 1 << 12, ROUNDS = 60, BATCHES = 3 };

static const uint32_t batch_rows[BATCHES] = {1, 8, 64};

struct plain_node {
	float threshold;
	uint32_t input;
	uint32_t left, right; /* 0: a leaf */
};

struct setup {
	struct mdl_bundle m;
	uint32_t depth, bins;
	struct plain_node *plain;
	double *plain_value; /* [nodes] */
	float *rows;
	double *out, *plain_out;
	void *scratch;
};

static void *room(size_t count, size_t each)
{
	void *at = calloc(count + 1, each);

	if (!at) {
		fprintf(stderr, "bench_score: no memory\n");
		exit(1);
	}
	return at;
}

/* ---- the model, by hand: a bundle would need its golden rows ---- */

static void make_inputs(struct setup *s)
{
	const uint32_t blocks = s->bins / MDL_BIN_BLOCK + 1;
	const uint32_t tops = (blocks + MDL_BIN_TOPS - 1) / MDL_BIN_TOPS * MDL_BIN_TOPS;
	struct mdl_bundle *m = &s->m;

	m->inputs = room(m->input_count, sizeof(*m->inputs));
	m->bins = room((size_t)m->input_count * blocks * MDL_BIN_BLOCK, sizeof(float));
	m->bin_tops = room((size_t)m->input_count * tops, sizeof(float));
	m->bin_first = room(m->input_count, sizeof(uint32_t));
	m->top_first = room(m->input_count + 1, sizeof(uint32_t));
	m->missing_rank = room(m->input_count, sizeof(uint16_t));
	for (uint32_t i = 0; i < m->input_count; i++) {
		float *bins = m->bins + i * blocks * MDL_BIN_BLOCK, *top = m->bin_tops + i * tops;

		m->inputs[i].missing = MDL_MISSING_REFUSED;
		m->bin_first[i] = i * blocks * MDL_BIN_BLOCK;
		m->top_first[i + 1] = (i + 1) * tops;
		for (uint32_t k = 0; k < blocks * MDL_BIN_BLOCK; k++)
			bins[k] = k < s->bins ? (float)(k + 1) / (float)(s->bins + 1) : INFINITY;
		for (uint32_t k = 0; k < tops; k++)
			top[k] = k < blocks ? bins[(k + 1) * MDL_BIN_BLOCK - 1] : INFINITY;
	}
}

static void make_node(struct setup *s, uint32_t first, uint32_t i, uint32_t splits, uint32_t leaf)
{
	struct mdl_bundle *m = &s->m;
	struct plain_node *p = &s->plain[first + i];
	uint32_t input = (uint32_t)rand() % m->input_count, rank = (uint32_t)rand() % s->bins;

	if (i >= splits) {
		m->nodes[first + i] = (struct mdl_node){0, MDL_RANK_LEAF, first + i};
		m->leaf[first + i] = leaf;
		m->value[first + i] = (double)rand() / RAND_MAX;
		s->plain_value[first + i] = m->value[first + i];
		return;
	}
	m->nodes[first + i] =
		(struct mdl_node){(uint16_t)(input * MDL_LANES), (uint16_t)rank, first + 2 * i + 1};
	p->input = input;
	p->threshold = m->bins[m->bin_first[input] + rank];
	p->left = first + 2 * i + 1;
	p->right = p->left + 1;
}

static void make_trees(struct setup *s)
{
	struct mdl_bundle *m = &s->m;
	uint32_t splits = (1u << s->depth) - 1, count = 2 * splits + 1;
	uint32_t lanes = (m->tree_count + MDL_LANES - 1) / MDL_LANES;

	m->node_count = m->tree_count * count;
	m->leaf_count = m->tree_count * (splits + 1);
	m->nodes = room(m->node_count, sizeof(*m->nodes));
	m->leaf = room(m->node_count, sizeof(*m->leaf));
	m->value = room(m->node_count, sizeof(*m->value));
	m->tree_first = room(m->tree_count + 1, sizeof(uint32_t));
	m->tree_root = room(lanes * MDL_LANES, sizeof(uint32_t));
	m->tree_output = room(m->tree_count, sizeof(uint32_t));
	m->tree_depth = room(m->tree_count, 1);
	m->lanes_depth = room(lanes, 1);
	s->plain = room(m->node_count, sizeof(*s->plain));
	s->plain_value = room(m->node_count, sizeof(double));
	memset(m->lanes_depth, (int)s->depth, lanes);
	for (uint32_t t = 0; t < lanes * MDL_LANES; t++)
		m->tree_root[t] = t < m->tree_count ? t * count : m->node_count - 1;
	for (uint32_t t = 0; t < m->tree_count; t++) {
		m->tree_first[t] = t * count;
		m->tree_depth[t] = (uint8_t)s->depth;
		for (uint32_t i = 0; i < count; i++)
			make_node(s, t * count, i, splits, t * (splits + 1) + i - splits);
	}
}

static void make(struct setup *s)
{
	struct mdl_bundle *m = &s->m;

	m->kind = MDL_FOREST;
	m->task = MDL_BINARY;
	m->output_count = m->leaf_width = 1;
	m->slot_count = m->input_count;
	m->initial = room(1, sizeof(double));
	make_inputs(s);
	make_trees(s);
	s->rows = room((size_t)ROWS * m->input_count, sizeof(float));
	for (size_t i = 0; i < (size_t)ROWS * m->input_count; i++)
		s->rows[i] = (float)rand() / (float)RAND_MAX;
	s->out = room(ROWS, sizeof(double));
	s->plain_out = room(ROWS, sizeof(double));
	s->scratch = room(mdl_scratch_bytes(m, batch_rows[BATCHES - 1]), 1);
}

/* ---- what is measured ---- */

static double plain_row(const struct setup *s, const float *in)
{
	double sum = 0;

	for (uint32_t t = 0; t < s->m.tree_count; t++) {
		uint32_t at = s->m.tree_first[t];

		while (s->plain[at].left) {
			const struct plain_node *n = &s->plain[at];

			if (in[n->input] <= n->threshold)
				at = n->left;
			else
				at = n->right;
		}
		sum += s->plain_value[at];
	}
	return sum / s->m.tree_count;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* others may be at work */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double plain(struct setup *s)
{
	double from = now_ns();

	for (uint32_t row = 0; row < ROWS; row++)
		s->plain_out[row] = plain_row(s, s->rows + (size_t)row * s->m.input_count);
	return (now_ns() - from) / ROWS;
}

static double interleaved(struct setup *s, uint32_t batch)
{
	double from = now_ns();

	for (uint32_t row = 0; row < ROWS; row += batch)
		mdl_score(&s->m, s->rows + (size_t)row * s->m.input_count, batch, s->scratch,
			s->out + row, NULL);
	return (now_ns() - from) / ROWS;
}

/* Of that, the ranks, in batches of 64. */
static double ranks(struct setup *s)
{
	struct mdl_rows rows = {.count = batch_rows[BATCHES - 1]};
	double from = now_ns();

	mdl_rows_init(&rows, &s->m, s->scratch);
	for (uint32_t row = 0; row < ROWS; row += rows.count) {
		rows.inputs = s->rows + (size_t)row * s->m.input_count;
		mdl_rank_rows(&s->m, &rows);
	}
	return (now_ns() - from) / ROWS;
}

static uint32_t argument(int argc, char **argv, int i, uint32_t fallback)
{
	return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
	static struct setup s;
	double best_plain = INFINITY, best[BATCHES] = {INFINITY, INFINITY, INFINITY};
	double best_ranks = INFINITY;

	s.m.tree_count = argument(argc, argv, 1, 20);
	s.depth = argument(argc, argv, 2, 5);
	s.m.input_count = argument(argc, argv, 3, 8);
	s.bins = argument(argc, argv, 4, 64);
	make(&s);
	for (int round = 0; round < ROUNDS; round++) {
		best_plain = fmin(best_plain, plain(&s));
		best_ranks = fmin(best_ranks, ranks(&s));
		for (int b = 0; b < BATCHES; b++) {
			best[b] = fmin(best[b], interleaved(&s, batch_rows[b]));
			if (memcmp(s.out, s.plain_out, ROWS * sizeof(double))) {
				fprintf(stderr, "bench_score: the sums differ\n");
				return 1;
			}
		}
	}
	printf("{\"bench\": \"score\", \"trees\": %u, \"depth\": %u, \"inputs\": %u, \"bins\": %u, "
	       "\"unit\": \"ns a row\", \"plain\": %.1f, \"ranks\": %.1f, \"rows_1\": %.1f, "
	       "\"rows_8\": %.1f, \"rows_64\": %.1f, \"plain_to_rows_1\": %.2f, "
	       "\"plain_to_rows_8\": %.2f, \"plain_to_rows_64\": %.2f}\n",
		s.m.tree_count, s.depth, s.m.input_count, s.bins, best_plain, best_ranks, best[0],
		best[1], best[2], best_plain / best[0], best_plain / best[1], best_plain / best[2]);
	return 0;
}
