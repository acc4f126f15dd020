/*
 * The log ring: one contiguous ring of bytes per worker, single producer (the worker) and single
 * consumer (the writer thread).  The worker carves blocks from it, packs records in, seals; the
 * writer takes sealed blocks in order, makes them durable, releases them.
 *
 * Positions are monotone byte counts; a block never wraps: where less than block_max remains to the
 * end of the ring, both sides skip to its start by the same rule.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
	int64_t opened_ns;	/* steady; what the open block's records have waited since */
	uint64_t next_sequence; /* of the next block to open; dense from 1 */
	uint64_t freed_seen;	/* last value read of freed */

	/* worker: writes, writer: reads */
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t sealed; /* everything before is sealed */
	_Atomic uint64_t records; /* cumulative, of this epoch; for the ledger */
	/* the replay floor (core/floor.h): segments before that serial, or older than that time,
	 * are not needed. 0 and INT64_MIN: all are */
	_Atomic uint64_t marked_serial;
	_Atomic int64_t since_ns; /* Unix */

	/* writer: rw */
	_Alignas(DP_CACHE_LINE) uint64_t taken; /* next block to take */

	/* writer: writes, worker: reads */
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t freed; /* space before is free again */
	_Atomic uint64_t serial; /* of the segment that it writes; 0: none yet */
	/* records freed before an output had them, in this run; of the first log, which tells */
	_Atomic uint64_t expired;
};

struct dp_log_config {
	uint64_t ring_bytes; /* power of two, at least 4 * block_max */
	uint32_t block_max;  /* dp_block_bytes_max() */
	uint32_t worker;
	uint64_t appliance, epoch, schema_hash;
	int64_t linger_ns;
};

/* Takes ring_bytes of the arena. 0, -EINVAL (sizes that do not go together), -ENOMEM. */
int dp_log_init(struct dp_log *log, const struct dp_log_config *config, struct dp_arena *arena);

/* ---- worker ---- */

/*
 * May `bytes` more of records, in groups of at most block_max - DP_BLOCK_SEAL_BYTES each, be
 * recorded now whatever way they fall into blocks?  Conservative; false = backpressure.  Holds for
 * the groups that follow until the next dp_log_seal(): a seal pads to the next DP_DISK_ALIGN.
 */
static inline bool dp_log_room(struct dp_log *log, size_t bytes);

/*
 * Starts a group of at most `bytes` that must lie in one block: seals the open block when it has
 * reached its size, opens one when none is. Room was checked.
 */
static inline void dp_log_group(struct dp_log *log, size_t bytes, int64_t steady_ns);

/*
 * Next record of the group, zeroed, its bytes and kind filled; `bytes` as the dp_rec_*_bytes()
 * functions say, a multiple of 8. Its index in the block is *index.
 */
static inline void *dp_log_record(
	struct dp_log *log, enum dp_rec_kind kind, size_t bytes, uint32_t *index);

/* Widen the open block's time ranges; readings pass their event time, other records only arrival.
 */
static inline void dp_log_reading_time(struct dp_log *log, int64_t event_ns, int64_t arrival_ns);
static inline void dp_log_arrival_time(struct dp_log *log, int64_t arrival_ns);

/* The place of a record of the open block; before anything seals it. */
static inline struct dp_rec_place dp_log_place(const struct dp_log *log, uint32_t index);

/* What was appended had waited since then; its linger counts from it. After each batch. */
static inline void dp_log_waits_since(struct dp_log *log, int64_t steady_ns);

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

/* ---- inlines ---- */

/* The slow branches of the inlines below. */
void dp_log_open_block(struct dp_log *log);
void dp_log_seal_block(struct dp_log *log);
bool dp_log_room_reload(struct dp_log *log, uint64_t need);

static inline bool dp_log_room(struct dp_log *log, size_t bytes)
{
	/*
	 * A block sealed for its size holds DP_BLOCK_SEAL_BYTES at least, so this many are begun;
	 * each costs a header and less than one page of padding, and the ring's end costs less than
	 * block_max once.
	 */
	uint64_t blocks = bytes / DP_BLOCK_SEAL_BYTES + 2;
	uint64_t need = log->open_at + (log->open ? log->open->bytes : 0) + bytes +
			blocks * (DP_BLOCK_HEAD_BYTES + DP_DISK_ALIGN) + log->block_max;

	return need <= log->freed_seen + log->ring_bytes || dp_log_room_reload(log, need);
}

static inline void dp_log_group(struct dp_log *log, size_t bytes, int64_t steady_ns)
{
	assert(bytes <= log->block_max - DP_BLOCK_SEAL_BYTES);
	if (log->open && log->open->bytes >= DP_BLOCK_SEAL_BYTES)
		dp_log_seal_block(log);
	if (!log->open)
		dp_log_open_block(log);
	if (log->open->record_count == 0)
		log->opened_ns = steady_ns;
}

static inline void dp_log_waits_since(struct dp_log *log, int64_t steady_ns)
{
	if (steady_ns < log->opened_ns)
		log->opened_ns = steady_ns;
}

static inline void *dp_log_record(
	struct dp_log *log, enum dp_rec_kind kind, size_t bytes, uint32_t *index)
{
	struct dp_block *b = log->open;
	struct dp_rec *rec = (struct dp_rec *)((char *)b + b->bytes);
	uint64_t records = atomic_load_explicit(&log->records, memory_order_relaxed);

	assert(bytes % 8 == 0 && bytes <= log->block_max - b->bytes);
	assert(log->open_at + b->bytes + bytes <= log->freed_seen + log->ring_bytes);
	memset(rec, 0, bytes);
	rec->bytes = (uint32_t)bytes;
	rec->kind = (uint8_t)kind;
	b->bytes += (uint32_t)bytes;
	*index = b->record_count++;
	b->reading_count += kind == DP_REC_READING;
	/* Before the seal's release: who sees a block written sees its records counted here. */
	atomic_store_explicit(&log->records, records + 1, memory_order_relaxed);
	return rec;
}

static inline void dp_log_arrival_time(struct dp_log *log, int64_t arrival_ns)
{
	struct dp_block *b = log->open;

	b->arrival_min_ns = arrival_ns < b->arrival_min_ns ? arrival_ns : b->arrival_min_ns;
	b->arrival_max_ns = arrival_ns > b->arrival_max_ns ? arrival_ns : b->arrival_max_ns;
}

static inline void dp_log_reading_time(struct dp_log *log, int64_t event_ns, int64_t arrival_ns)
{
	struct dp_block *b = log->open;

	b->event_min_ns = event_ns < b->event_min_ns ? event_ns : b->event_min_ns;
	b->event_max_ns = event_ns > b->event_max_ns ? event_ns : b->event_max_ns;
	dp_log_arrival_time(log, arrival_ns);
}

static inline struct dp_rec_place dp_log_place(const struct dp_log *log, uint32_t index)
{
	return (struct dp_rec_place){
		.appliance = log->appliance,
		.epoch = log->epoch,
		.sequence = log->open->sequence,
		.worker = log->worker,
		.index = index,
	};
}
