/* The log ring's cold side: making it, opening and sealing blocks, and what the writer calls. */
#include "dataplane/journal/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/*
 * Where the block behind one of `bytes` at `at` begins.  Worker and writer both use this rule, so
 * no marker is needed at the end of the ring.
 */
static uint64_t next_block_at(const struct dp_log *log, uint64_t at, uint32_t bytes)
{
	uint64_t next = at + dp_block_disk_bytes(bytes);
	uint64_t left = log->ring_bytes - (next & (log->ring_bytes - 1));

	return left < log->block_max ? next + left : next;
}

static struct dp_block *block_at(const struct dp_log *log, uint64_t at)
{
	return (struct dp_block *)(log->ring + (at & (log->ring_bytes - 1)));
}

int dp_log_init(struct dp_log *log, const struct dp_log_config *config, struct dp_arena *arena)
{
	uint32_t block_max = (uint32_t)dp_block_disk_bytes(config->block_max);

	*log = (struct dp_log){
		.ring_bytes = config->ring_bytes,
		.block_max = block_max,
		.worker = config->worker,
		.appliance = config->appliance,
		.epoch = config->epoch,
		.schema_hash = config->schema_hash,
		.linger_ns = config->linger_ns,
		.next_sequence = 1,
		.since_ns = INT64_MIN,
	};
	if (config->ring_bytes & (config->ring_bytes - 1) || block_max <= DP_BLOCK_SEAL_BYTES ||
		config->ring_bytes / 4 < block_max)
		return -EINVAL;
	log->ring = dp_arena_take(arena, config->ring_bytes, DP_DISK_ALIGN);
	return log->ring ? 0 : -ENOMEM;
}

void dp_log_open_block(struct dp_log *log)
{
	struct dp_block *b = block_at(log, log->open_at);

	assert(!log->open);
	*b = (struct dp_block){
		.magic = DP_BLOCK_MAGIC,
		.version = DP_BLOCK_VERSION,
		.appliance = log->appliance,
		.epoch = log->epoch,
		.sequence = log->next_sequence++,
		.worker = log->worker,
		.bytes = DP_BLOCK_HEAD_BYTES,
		.event_min_ns = INT64_MAX,
		.event_max_ns = INT64_MIN,
		.arrival_min_ns = INT64_MAX,
		.arrival_max_ns = INT64_MIN,
		.schema_hash = log->schema_hash,
	};
	log->open = b;
}

void dp_log_seal_block(struct dp_log *log)
{
	struct dp_block *b = log->open;

	/* Old records must not reach the disk or Kafka behind the end of this block. */
	memset((char *)b + b->bytes, 0, dp_block_disk_bytes(b->bytes) - b->bytes);
	log->open_at = next_block_at(log, log->open_at, b->bytes);
	log->open = NULL;
	/* L1: pairs with dp_log_take; the block's bytes and `records` are before it. */
	atomic_store_explicit(&log->sealed, log->open_at, memory_order_release);
}

bool dp_log_seal(struct dp_log *log, int64_t steady_ns, bool force)
{
	const struct dp_block *b = log->open;

	if (!b || b->record_count == 0)
		return false;
	if (!force && b->bytes < DP_BLOCK_SEAL_BYTES && steady_ns - log->opened_ns < log->linger_ns)
		return false;
	dp_log_seal_block(log);
	return true;
}

bool dp_log_room_reload(struct dp_log *log, uint64_t need)
{
	/* L2: pairs with dp_log_release; the writer is done with the bytes before. */
	log->freed_seen = atomic_load_explicit(&log->freed, memory_order_acquire);
	return need <= log->freed_seen + log->ring_bytes;
}

struct dp_block *dp_log_take(struct dp_log *log)
{
	struct dp_block *b;

	/* L1: pairs with dp_log_seal_block. */
	if (log->taken == atomic_load_explicit(&log->sealed, memory_order_acquire))
		return NULL;
	b = block_at(log, log->taken);
	log->taken = next_block_at(log, log->taken, b->bytes);
	return b;
}

void dp_log_release(struct dp_log *log, uint64_t up_to)
{
	assert(up_to <= log->taken);
	/* L2: pairs with dp_log_room_reload. */
	atomic_store_explicit(&log->freed, up_to, memory_order_release);
}
