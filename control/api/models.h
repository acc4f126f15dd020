/* Counters of models, summed over the workers. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "control/api/view.h"
#include "dataplane/score/score.h"

struct ctl_model_sums {
	uint64_t rows, missing, cycles;
	uint64_t batches[DP_CYCLE_BUCKETS]; /* by cycles, as in dp_model_stats */
	double cycle_ns;
};

struct ctl_model_sums ctl_model_sums(const struct ctl_view *view, uint32_t stream, uint32_t model);

json_t *ctl_models_json(const struct ctl_view *view);
