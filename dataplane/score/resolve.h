/*
 * An input of a model, found in a stream: by the names of its fields and the size and slide of its
 * window (docs/bundle.md, "Inputs").  Cold: control binds models before a worker sees them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dataplane/core/stream.h"
#include "models/bundle/bundle.h"

/* 0, or -EINVAL with what the stream lacks in `why`. */
int dp_resolve(const struct mdl_input *in, const struct dp_stream *s, struct dp_expr *out,
	char *why, size_t why_bytes);

/* Does it need more than the reading itself and its time? */
static inline bool dp_expr_derived(const struct dp_expr *e)
{
	return e->op >= DP_EXPR_STAT && e->op <= DP_EXPR_DELTA;
}
