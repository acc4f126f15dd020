/*
 * Steer: a reading goes to the worker that owns its sensor; admit: the owner looks the sensor up
 * (or takes it in), refuses duplicates, fills batch.slot.
 *
 * Owner = high 32 bits of the key (xxh3 of the id) scaled to the number of workers, so that neither
 * the table's index nor a partitioner sees the same bits.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/ring.h"
#include "dataplane/core/sensor.h"

static inline uint32_t dp_owner(uint64_t key, uint32_t workers)
{
	return (uint32_t)(((key >> 32) * workers) >> 32);
}

/* Bytes of a ring between two workers: some datagrams of the widest kind, thousands of a usual one.
 */
uint64_t dp_steer_ring_bytes(const struct dp_stream_set *streams);

struct dp_steer_peer {
	struct dp_ring **to; /* [i]: ring from this worker to worker i; own entry NULL */
	uint32_t self, workers;
	uint32_t touched; /* bit per worker: something was put and not yet published */
};

/*
 * Moves the rows of b that others own into their rings and closes the gaps; what a full ring does
 * not take is counted as dropped.steer_full. Groups stay whole.
 */
void dp_steer_out(struct dp_steer_peer *p, struct dp_batch *b, struct dp_counters *c);

/* Shows what was put; returns a bit per worker that has something new (to be woken). */
uint32_t dp_steer_publish(struct dp_steer_peer *p);

/*
 * Appends messages of one incoming ring to the batches (by stream) until a batch holds
 * DP_BATCH_FLUSH rows or the ring is empty. Returns the number of rows taken. The waiting time of a
 * batch that was empty begins at `steady_ns`.
 */
uint32_t dp_steer_in(struct dp_ring *from, struct dp_batch *batches, int64_t steady_ns);

/* New sensors are taken in at a bounded rate: a bucket of one second's worth. */
struct dp_admit_rate {
	uint32_t new_per_s; /* 0: no limit */
	int64_t tokens_ns;  /* steady time up to which the bucket was emptied */
};

/*
 * Sensors of a stream that all workers together hold: hashing spreads them unevenly, so that the
 * tables are larger than an even share and only this count is the bound.
 */
struct dp_places {
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t held; /* workers: rw */
	uint64_t max;				       /* set once */
};

/* Before a sensor is made; false: all places are taken. */
bool dp_place_take(struct dp_places *p);
/* Of a sensor that is gone, or did not come to be. */
void dp_place_give(struct dp_places *p);

struct dp_admit {
	struct dp_table *table;
	struct dp_places *places; /* of the table's stream: all workers share it */
	struct dp_counters *counters;
	struct dp_admit_rate *rate; /* of the worker: all its streams share it */
};

/*
 * Finds or takes in the sensor of every row, drops duplicates, stale and refused groups whole (each
 * counted), sets the bits of what stays: the caller has made sure that it will be recorded.
 * New slots are initialised by `fresh` (stage state) and their first row is flagged
 * DP_ROW_NEW_LIFE.
 */
struct dp_admit_fresh {
	void (*init)(void *arg, struct dp_slot *s);
	void *arg;
};
void dp_admit(struct dp_admit *a, struct dp_batch *b, int64_t steady_ns,
	const struct dp_admit_fresh *fresh);

/* Replay: the bits that a record says were set. */
void dp_seen_restore(struct dp_slot *s, uint32_t boot, uint64_t seq, uint64_t seen);
