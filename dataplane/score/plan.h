/*
 * A plan: the models of one stream, bound to it.  Control makes it before any worker runs; workers
 * only read it.  A row of registers holds everything that the models of readings take of a reading,
 * each thing once:
 *
 *   values[field_count] | derived[derived_count] | computed[...]
 *
 * Derived inputs need the sensor's state and go into the reading's record; computed ones (ratio,
 * hour, weekday) follow from the record.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/limits.h"
#include "dataplane/core/stream.h"
#include "dataplane/window/window.h"
#include "models/bundle/bundle.h"

/* A register and what it holds. */
struct dp_register {
	struct dp_expr expr;
	uint32_t to;
};

struct dp_bound_model {
	const struct mdl_bundle *bundle;
	int16_t window;	      /* index; -1: readings */
	struct dp_expr *expr; /* [inputs] */
	uint16_t *source;     /* [inputs]: registers; only of a model of readings */
};

struct dp_plan {
	const struct dp_stream *stream;
	uint32_t model_count;
	struct dp_bound_model models[DP_MODELS_MAX];
	uint32_t of_readings, of_closes; /* models of readings; most models of one window */
	uint32_t width;			 /* registers */
	uint32_t inputs_max, outputs_max;
	uint32_t derived_count, probe_count, delta_count, computed_count;
	struct dp_derived *derived; /* in the order of their registers */
	struct dp_probe *probes;    /* by window, then by field */
	struct dp_register *deltas; /* the state of delta i is the i-th of the slot */
	struct dp_register *computed;
	uint32_t kept[DP_WINDOWS_MAX]; /* statistics that the probes need */
};

enum { DP_PLAN_WHY_BYTES = 512, DP_PLAN_WHYS_MAX = 16 };

/* All that does not fit, as far as there is room. */
struct dp_plan_why {
	uint32_t count, left_out;
	struct {
		uint32_t model;
		char text[DP_PLAN_WHY_BYTES];
	} list[DP_PLAN_WHYS_MAX];
};

/*
 * Binds bundles[i] to s->models[i]; both must outlive the plan.  Of the stream nothing is used that
 * the plan yields (derived, kept).  0, -ENOMEM, or -EINVAL with models, inputs and reasons in *why.
 */
int dp_plan_new(const struct dp_stream *s, const struct mdl_bundle *const *bundles,
	struct dp_plan **out, struct dp_plan_why *why);
void dp_plan_free(struct dp_plan *p);
