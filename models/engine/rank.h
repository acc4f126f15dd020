/* Values to ranks among a model's thresholds: after this the trees compare small integers. */
#pragma once

#include <float.h>
#include <math.h>

#include "models/engine/engine.h"

static inline bool mdl_is_there(float x)
{
	return fabsf(x) <= FLT_MAX; /* false for NaN too */
}

/* How many thresholds of input i are smaller than x; anything for what is not finite. */
uint32_t mdl_rank_of(const struct mdl_bundle *m, uint32_t i, float x);

/* Fills the rows' ranks, and which rows are refused. */
void mdl_rank_rows(const struct mdl_bundle *m, const struct mdl_rows *rows);
