/*
 * Scoring a batch of rows: on the packet path, so without allocation, locks or system calls;
 * reentrant, each caller with its own scratch.  The order of every sum is docs/bundle.md's, so the
 * outputs before the link are the same bits whatever engine, batch and machine.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/bundle/bundle.h"

/* What mdl_score() of up to `rows_max` rows needs; at a multiple of 8. */
size_t mdl_scratch_bytes(const struct mdl_bundle *m, uint32_t rows_max);

/*
 * inputs: [rows][input_count], a value that is not finite is missing.  out: [rows][output_count],
 * behind the link; NaN for a row that misses an input which refuses that.  leaves: NULL or
 * [rows][tree_count], the node within its tree, MDL_LEAF_NONE for a row that is refused; without a
 * meaning for linear.
 */
void mdl_score(const struct mdl_bundle *m, const float *inputs, uint32_t rows, void *scratch,
	double *out, uint32_t *leaves);

struct mdl_verdict {
	double value;	     /* the score: a regression's value, else `probability` */
	double probability;  /* binary: of class 1; multi-class: of its class; regression: NaN */
	uint8_t class_index; /* 0 for a regression */
	bool none;	     /* no score: `out` is not finite; the others are NaN and 0 */
};

/* What the outputs of one row come to. */
void mdl_judge(const struct mdl_bundle *m, const double *out, struct mdl_verdict *v);
