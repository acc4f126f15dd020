/*
 * Score: between window and alert.  Every model of the stream on every reading, late ones too, and
 * on every window that closes.  A model says nothing of a row of which an input is missing that it
 * has no rule for: a flag on the score, never a lost record.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/mem.h"
#include "dataplane/core/sensor.h"
#include "dataplane/journal/record.h"
#include "dataplane/score/plan.h"
#include "dataplane/window/window.h"

enum { DP_CYCLE_BUCKETS = 32 };

/* Of one model. Bucket i of batches: cycles of the time-stamp counter in [2^i, 2^(i+1)). */
struct dp_model_stats { /* worker: writes, control: reads */
	_Atomic uint64_t rows, missing, cycles;
	_Atomic uint64_t batches[DP_CYCLE_BUCKETS];
};

/* What the stage brought, for alerts and the log. */
struct dp_scores {
	uint32_t of_readings, of_closes; /* as in the plan: how far apart rows lie */
	uint32_t derived_at, width;
	float *registers;		   /* [DP_BATCH_MAX][width] */
	struct dp_rec_score *readings;	   /* [DP_BATCH_MAX][of_readings] */
	struct dp_rec_score *closes;	   /* [closes][of_closes] */
	uint8_t of_window[DP_WINDOWS_MAX]; /* models of that window */
};

struct dp_scorer {
	const struct dp_plan *plan; /* NULL: the stream has no models */
	struct dp_scores scores;
	float *inputs;	 /* [DP_BATCH_MAX][inputs_max] */
	double *outputs; /* [DP_BATCH_MAX][outputs_max] */
	void *scratch;
	struct dp_model_stats *stats; /* [models] */
	struct timespec began;	      /* monotonic, at: */
	uint64_t began_cycles;	      /* how long a cycle is follows from both */
};

/* Bytes of a slot's state: the values before, of what models take the difference of. */
size_t dp_score_slot_bytes(const struct dp_stream *s);
size_t dp_scorer_bytes(const struct dp_plan *p);
/* `p` NULL: a stage that does nothing. 0 or -ENOMEM. */
int dp_scorer_init(struct dp_scorer *c, const struct dp_plan *p, struct dp_arena *arena);
void dp_score_slot_init(const struct dp_table *t, struct dp_slot *s);

/* Where dp_window_push is to put what it finds. */
struct dp_probes dp_score_probes(const struct dp_scorer *c);

/* The stage: rows of b after dp_window_push with those probes, and what closed. */
void dp_score_push(struct dp_scorer *c, const struct dp_table *t, const struct dp_batch *b,
	const struct dp_closes *closes);
/* Windows that a timer closed. */
void dp_score_closes(struct dp_scorer *c, const struct dp_closes *closes);

/* Replay: the state change of that reading. */
void dp_score_replay_reading(const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values);

static inline const struct dp_rec_score *dp_scores_of_reading(
	const struct dp_scores *s, uint32_t row)
{
	return s->of_readings ? s->readings + (size_t)row * s->of_readings : NULL;
}

static inline const struct dp_rec_score *dp_scores_of_close(
	const struct dp_scores *s, uint32_t close)
{
	return s->of_closes ? s->closes + (size_t)close * s->of_closes : NULL;
}

/* [derived_count] of the stream. */
static inline const float *dp_scores_derived(const struct dp_scores *s, uint32_t row)
{
	return s->registers + (size_t)row * s->width + s->derived_at;
}
