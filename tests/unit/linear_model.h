/* A linear model without a file, for tests of what calls the engines: the sum of its inputs. */
#pragma once

#include "dataplane/score/plan.h"
#include "models/bundle/bundle.h"

enum { LINEAR_INPUTS_MAX = 16 };

struct linear_model {
	struct mdl_bundle bundle;
	struct mdl_input inputs[LINEAR_INPUTS_MAX];
	char labels[2][MDL_LABEL_BYTES];
	double weight[LINEAR_INPUTS_MAX];
	double bias, initial;
};

/*
 * Expressions end with NULL; every window slides by slide_ns.  A missing input is refused.  `task`:
 * a regression, or a binary model with the classes "no" and "yes".
 */
void linear_model_init(struct linear_model *m, const char *name, enum mdl_task task,
	const char *const *expressions, int64_t slide_ns);

/* One such model of a stream, and what control makes of it. */
struct linear_stream {
	struct linear_model linear;
	struct dp_model model;
	struct dp_plan *plan; /* NULL: none bound; to be freed */
};

/* A regression "sum" of readings; before the stream's hashes are made. */
void linear_stream_bind(struct linear_stream *l, struct dp_stream *s,
	const char *const *expressions, int64_t slide_ns);
