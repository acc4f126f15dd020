/* Blocks: finishing one for its place on disk, refusing what is not one, walking its records. */
#include "dataplane/journal/block.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory's layout");

/* The least that a record takes: its head alone holds no more than length and kind. */
static const size_t record_bytes_min = sizeof(struct dp_rec_mark);

/* Over header and payload as if the header's hash field were zero. */
static uint64_t block_hash(const struct dp_block *b, uint64_t salt)
{
	struct dp_block head = *b;
	XXH3_state_t state;

	head.hash = 0;
	XXH3_INITSTATE(&state);
	XXH3_64bits_reset_withSeed(&state, salt);
	XXH3_64bits_update(&state, &head, sizeof(head));
	XXH3_64bits_update(&state, b + 1, b->bytes - sizeof(head));
	return XXH3_64bits_digest(&state);
}

void dp_block_finish(struct dp_block *b, const struct dp_block_spot *spot)
{
	b->segment_serial = spot->serial;
	b->segment_offset = spot->offset;
	b->hash = 0;
	b->hash = XXH3_64bits_withSeed(b, b->bytes, spot->salt);
}

static bool header_possible(const struct dp_block *b)
{
	return b->version == DP_BLOCK_VERSION && b->flags == 0 && b->bytes > DP_BLOCK_HEAD_BYTES &&
	       b->bytes % 8 == 0 && b->record_count > 0 &&
	       b->record_count <= (b->bytes - DP_BLOCK_HEAD_BYTES) / record_bytes_min &&
	       b->reading_count <= b->record_count && b->sequence > 0 &&
	       b->worker < DP_WORKERS_MAX; /* replay and positions index by it */
}

enum dp_block_fault dp_block_check(
	const struct dp_block *b, size_t avail, const struct dp_block_spot *spot)
{
	if (avail < DP_BLOCK_HEAD_BYTES)
		return DP_BLOCK_SHORT;
	if (b->magic != DP_BLOCK_MAGIC)
		return DP_BLOCK_MAGIC_BAD;
	if (b->version > DP_BLOCK_VERSION)
		return DP_BLOCK_VERSION_NEW;
	if (!header_possible(b))
		return DP_BLOCK_HEADER_BAD;
	if (b->segment_serial != spot->serial || b->segment_offset != spot->offset)
		return DP_BLOCK_PLACE_BAD;
	if (b->bytes > avail)
		return DP_BLOCK_SHORT;
	return block_hash(b, spot->salt) == b->hash ? DP_BLOCK_OK : DP_BLOCK_HASH_BAD;
}

const char *dp_block_fault_name(enum dp_block_fault f)
{
	static const char *const names[] = {
		[DP_BLOCK_OK] = "ok",
		[DP_BLOCK_SHORT] = "cut short",
		[DP_BLOCK_MAGIC_BAD] = "no block",
		[DP_BLOCK_VERSION_NEW] = "newer format",
		[DP_BLOCK_HEADER_BAD] = "impossible header",
		[DP_BLOCK_PLACE_BAD] = "of another place",
		[DP_BLOCK_HASH_BAD] = "hash differs",
	};

	return f < sizeof(names) / sizeof(names[0]) ? names[f] : "unknown";
}

const struct dp_rec *dp_block_next(
	const struct dp_block *b, const struct dp_stream_set *streams, size_t *cursor, bool *bad)
{
	size_t left = b->bytes - DP_BLOCK_HEAD_BYTES - *cursor;
	const struct dp_rec *rec = (const struct dp_rec *)((const char *)(b + 1) + *cursor);

	*bad = false;
	if (left == 0)
		return NULL;
	if (!dp_rec_check(rec, left, streams)) {
		*bad = true;
		return NULL;
	}
	*cursor += rec->bytes;
	return rec;
}
