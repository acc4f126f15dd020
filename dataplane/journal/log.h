/*
 * The log ring: one contiguous ring of bytes per worker, single producer (the worker) and single
 * consumer (the writer thread).  The worker carves blocks from it, packs records in, seals; the
 * writer takes sealed blocks in order, makes them durable, releases them.
 *
 * Positions are monotone byte counts; a block never wraps: where less than block_max remains to the
 * end of the ring, both sides skip to its start by the same rule.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/mem.h"
#include "dataplane/journal/block.h"

struct dp_log {
	/* set once */
	char *ring;
	uint64_t ring_bytes; /* power of two */
	uint32_t block_max;
	uint32_t worker;
	uint64_t appliance, epoch, schema_hash;
	int64_t linger_ns;

	/* worker: rw */
	_Alignas(DP_CACHE_LINE) uint64_t open_at; /* position of the open block */
	struct dp_block *open;			  /* NULL when none is open */
	int64_t opened_ns;			  /* steady time of the open block's first record */
	uint64_t next_sequence;
	uint64_t freed_seen; /* last value read of freed */

	/* worker: writes, writer: reads */
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t sealed; /* everything before is sealed */
	_Atomic uint64_t records; /* cumulative, of this epoch; for the ledger */

	/* writer: rw */
	_Alignas(DP_CACHE_LINE) uint64_t taken;	/* next block to take */

	/* writer: writes, worker: reads */
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t freed;	/* space before is free again */
};

struct dp_log_config {
	uint64_t ring_bytes; /* power of two, at least 4 * block_max */
	uint32_t block_max;  /* dp_block_bytes_max() */
	uint32_t worker;
	uint64_t appliance, epoch, schema_hash;
	int64_t linger_ns;
};

int dp_log_init(struct dp_log *log, const struct dp_log_config *config, struct dp_arena *arena);

/* ---- worker ---- */

/*
 * May `bytes` more of records, in groups of at most block_max - DP_BLOCK_SEAL_BYTES each, be
 * recorded now whatever way they fall into blocks?  Conservative; false = backpressure.
 */
bool dp_log_room(struct dp_log *log, size_t bytes);

/*
 * Starts a group of at most `bytes` that must lie in one block: seals the open block when it does
 * not fit, opens one when none is. Room was checked.
 */
void dp_log_group(struct dp_log *log, size_t bytes, int64_t steady_ns);

/* Next record of the group, zeroed, head filled. Its index in the block is *index. */
void *dp_log_record(struct dp_log *log, enum dp_rec_kind kind, size_t bytes, uint32_t *index);

/* Widen the open block's time ranges; readings pass their event time, other records only arrival. */
void dp_log_reading_time(struct dp_log *log, int64_t event_ns, int64_t arrival_ns);
void dp_log_arrival_time(struct dp_log *log, int64_t arrival_ns);

/* The place of the record last made. */
struct dp_rec_place dp_log_place(const struct dp_log *log, uint32_t index);

/* Seals the open block if it has reached its size or its linger (or always with `force`). */
bool dp_log_seal(struct dp_log *log, int64_t steady_ns, bool force);

/* ---- writer ---- */

/* Next sealed block, or NULL; advances `taken`. The bytes stay until released. */
struct dp_block *dp_log_take(struct dp_log *log);

/* Position behind the block last taken: what to release once it is durable. */
static inline uint64_t dp_log_taken(const struct dp_log *log)
{
	return log->taken;
}

void dp_log_release(struct dp_log *log, uint64_t up_to);
