/* The models that a config names: bundles loaded, bound to their streams. */
#pragma once

#include <stdint.h>

#include "dataplane/score/plan.h"

struct ctl_models {
	uint32_t bundle_count, plan_count;
	struct mdl_bundle **bundles; /* in the order of streams, then of their models */
	struct dp_plan **plans;	     /* [streams]; NULL where a stream has no models */
};

struct ctl_cx;

/*
 * Loads every bundle that the config names, fills what streams say of their models (classes,
 * derived inputs, statistics to keep) and resolves alert rules on classes.  Adds an error for each
 * bundle, input and class that does not fit.
 */
void ctl_models_load(struct ctl_cx *cx);
void ctl_models_free(struct ctl_models *m);
