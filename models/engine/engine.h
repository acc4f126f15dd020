/* Between score.c and the engines; the packet path knows score.h alone. */
#pragma once

#include "models/bundle/bundle.h"

/* A batch on its way. */
struct mdl_rows {
	uint32_t count;
	const float *inputs; /* [count][input_count] */
	double *out;	     /* [count][output_count] */
	uint32_t *leaves;    /* NULL or [count][tree_count] */
	/* Scratch. Trees: ranks [count / lanes, rounded up][slot_count][lanes]. */
	uint16_t *ranks;
	float *imputed;	  /* linear: [count][input_count] */
	uint8_t *refused; /* [count] */
};

/* What a batch needs besides, as mdl_score() lays it out. */
void mdl_rows_init(struct mdl_rows *rows, const struct mdl_bundle *m, void *scratch);

/* Ways to the same sums; a bit each. */
enum mdl_engine {
	MDL_ENGINE_PLAIN = 1,  /* any kind */
	MDL_ENGINE_TREES = 2,  /* several trees of a row at once */
	MDL_ENGINE_ROWS = 4,   /* several rows of a tree at once; batches of whole lanes */
	MDL_ENGINE_LINEAR = 8, /* linear models */
	MDL_ENGINE_END = 16,
};

const char *mdl_engine_name(enum mdl_engine engine);

/* Those that mdl_score() may use for such a model, and the plain one. */
unsigned mdl_engines_of(const struct mdl_bundle *m);

/*
 * The outputs before the link, by one engine; for a row that is refused NaN, and MDL_LEAF_NONE for
 * its leaves.
 */
void mdl_sum(const struct mdl_bundle *m, enum mdl_engine engine, const struct mdl_rows *rows);

/* link.c: the outputs of each row through the model's link, in place. */
void mdl_link_rows(const struct mdl_bundle *m, const struct mdl_rows *rows);

/* plain.c: without scratch. */
void mdl_plain_rows(const struct mdl_bundle *m, const struct mdl_rows *rows);

/* walk.c: adds to `out`. Rows from `first`, ranked: groups of MDL_LANES whole ones, or any. */
void mdl_walk_by_rows(
	const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t first, uint32_t end);
void mdl_walk_by_trees(
	const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t first, uint32_t end);

/* linear.c */
void mdl_linear_rows(const struct mdl_bundle *m, const struct mdl_rows *rows);
