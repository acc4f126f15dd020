/*
 * A worker: one pinned thread that owns the sensors whose key falls to it and runs every stage to
 * completion.  dp_worker_turn() is the whole path; the daemon's thread and tests/sim call it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/alert/alert.h"
#include "dataplane/core/batch.h"
#include "dataplane/core/clock.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/floor.h"
#include "dataplane/core/ring.h"
#include "dataplane/core/sensor.h"
#include "dataplane/journal/append.h"
#include "dataplane/journal/log.h"
#include "dataplane/rx/rx.h"
#include "dataplane/score/score.h"
#include "dataplane/steer/steer.h"
#include "dataplane/window/window.h"

/* What control asks of a running worker; a stop goes through them in order. */
enum dp_worker_phase {
	DP_WORKER_RUN,
	DP_WORKER_DRAIN, /* empty the sockets once more, take in no more, work off batches and rings
			  */
	DP_WORKER_FINISH, /* last mark, seal: nothing follows */
};

/* One sensor as control sees it. */
struct dp_sensor_view {
	struct dp_sensor_id id;
	uint16_t stream, last_flags;
	uint32_t raised, worker;
	uint64_t readings;
	int64_t last_arrival_ns, watermark;
};

/*
 * A question of control, answered by the worker between turns, a bounded number of slots at a time:
 * the `max` sensors with the most readings, or the one with `id`. Control fills, posts, polls
 * `done`.
 */
struct dp_sensor_query {
	struct dp_sensor_view *views; /* [max], best first when done */
	uint32_t max, count;
	struct dp_sensor_id id; /* len 0: top N */
	bool one_stream;	/* only sensors of `stream` */
	uint16_t stream;
	uint32_t stream_at, slot_at; /* worker: how far the sweep is */
	uint64_t seen;		     /* sensors of this worker, of that stream */
	_Atomic bool done;	     /* worker: release; control: acquire */
};

struct dp_worker_hooks {
	void (*wake_worker)(void *arg, uint32_t worker); /* it has something new in its ring */
	void (*wake_writer)(void *arg);			 /* a block was sealed */
	void *arg;
};

struct dp_worker_config {
	uint32_t index, workers;
	const struct dp_stream_set *streams;
	const struct dp_plan *const *plans; /* per stream, NULL where it has no models; or NULL */
	const struct dp_input *inputs;
	const uint32_t *slots_max;   /* per stream: sensors that this worker may hold */
	const uint32_t *sensors_max; /* per stream: that all together may; NULL: as many as slots */
	uint32_t new_sensors_per_s;  /* of this worker, over all streams; 0: no limit */
	uint64_t seed;
	struct dp_log_config log;
	struct dp_worker_hooks hooks;
};

struct dp_worker_stream {
	struct dp_table table;
	struct dp_windows windows;
	struct dp_scorer scorer;
	struct dp_alerts alerts;
	struct dp_closes closes;
	struct dp_alert_events events;
	struct dp_admit admit;
	int64_t missing_ns; /* shortest silence that a rule minds; a year when none does */
};

/* Distribution of batch sizes as processed: bucket i holds sizes in [2^i, 2^(i+1)). */
enum { DP_BATCH_BUCKETS = 8 };

struct dp_worker {
	/* set once */
	uint32_t index, workers;
	const struct dp_stream_set *streams;
	const struct dp_input *inputs;
	struct dp_worker_hooks hooks;
	struct dp_arena arena;
	struct dp_source source;
	struct dp_json *json;
	struct dp_worker_stream *per_stream; /* [streams->count] */
	struct dp_ring *from;		     /* [workers]: ring from worker i; own entry unused */

	/* worker: rw */
	struct dp_decode_target decoded; /* its batches: as received, mine and foreign */
	struct dp_batch *taken;		 /* [streams->count]: from the rings */
	struct dp_steer_peer peer;
	struct dp_admit_rate admit_rate;
	struct dp_append append;
	int64_t mark_due_ns;   /* steady */
	uint64_t mark_sum;     /* of the counters at the last mark: nothing new, no mark */
	int64_t gathered_ns;   /* what this turn receives has waited so long for company */
	uint64_t expired_told; /* of log.expired: by gap records */
	struct dp_floor floor;
	int64_t drain_until_ns; /* steady; 0: the drain has not begun */

	/* worker: writes, control: reads */
	struct dp_counters counters;
	_Atomic uint64_t batches[DP_BATCH_BUCKETS];
	_Atomic uint64_t sensors, turns, sleeps;
	_Atomic uint32_t phase_reached;

	/* control: writes, worker: reads */
	_Alignas(DP_CACHE_LINE) _Atomic uint32_t phase;
	_Atomic(struct dp_sensor_query *) query; /* worker clears it when done */

	struct dp_log log; /* worker and writer */
};

/* Bytes of one sensor of that stream with everything kept for it. */
size_t dp_worker_sensor_bytes(const struct dp_stream *s);

/* Arena of a worker with that config, rings to and from the others included. */
size_t dp_worker_bytes(const struct dp_worker_config *c);

/*
 * Makes `count` workers that steer to each other; all memory is taken here. The source is set by
 * the caller before the first turn. 0 or -errno.
 */
int dp_workers_init(struct dp_worker *w, uint32_t count, const struct dp_worker_config *configs,
	const struct dp_now *now);
void dp_workers_fini(struct dp_worker *w, uint32_t count);

/* One turn. True: something was done, more may be there; call again before sleeping. */
bool dp_worker_turn(struct dp_worker *w, const struct dp_now *now);

/* Steady time by which the next turn must come though nothing arrives; INT64_MAX: none. */
int64_t dp_worker_deadline(const struct dp_worker *w);

/* Anything in the rings to this worker? Asked again after publishing that it will sleep. */
bool dp_worker_has_input(const struct dp_worker *w);
