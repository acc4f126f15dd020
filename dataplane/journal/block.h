/*
 * Block v1 (docs/block.md): the unit of everything after scoring.  A 128-byte header, then records.
 * On disk a block starts at a multiple of DP_DISK_ALIGN and is padded with zeros to one; it is
 * never rewritten in place.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/journal/record.h"

#define DP_BLOCK_MAGIC	    0x4b4c4250u /* "PBLK" */
#define DP_BLOCK_SEAL_BYTES (64u << 10) /* a block is sealed once it reaches this */

enum { DP_BLOCK_VERSION = 1, DP_BLOCK_HEAD_BYTES = 128 };

struct dp_block {
	uint32_t magic;
	uint16_t version, flags;
	uint64_t appliance, epoch, sequence; /* sequence: dense from 1 per (epoch, worker) */
	uint32_t worker;
	uint32_t bytes; /* header and records, without padding */
	uint32_t record_count, reading_count;
	int64_t event_min_ns, event_max_ns;	/* of its readings; min > max: no reading */
	int64_t arrival_min_ns, arrival_max_ns; /* of its records */
	uint64_t schema_hash;
	/* filled by the writer thread */
	uint64_t records_before; /* records in the log before this block, over all time */
	uint64_t segment_serial;
	uint64_t segment_offset;
	uint64_t durable_lp; /* of the log, everything before was synced when this was written */
	uint64_t hash; /* xxh3-64 seeded with the segment's salt over bytes, this field zero */
};
_Static_assert(sizeof(struct dp_block) == DP_BLOCK_HEAD_BYTES, "block header");

enum dp_block_fault {
	DP_BLOCK_OK,
	DP_BLOCK_SHORT, /* fewer bytes there than the header says */
	DP_BLOCK_MAGIC_BAD,
	DP_BLOCK_VERSION_NEW,
	DP_BLOCK_HEADER_BAD, /* a length or count that cannot be */
	DP_BLOCK_PLACE_BAD,  /* another segment's, or another offset's: recycled or forged */
	DP_BLOCK_HASH_BAD,
};

/* Where a block must lie to be valid, and the salt of that segment. */
struct dp_block_spot {
	uint64_t serial, offset, salt;
};

/* Sets records_before's companions and the hash; b->bytes bytes are there. */
void dp_block_finish(struct dp_block *b, const struct dp_block_spot *spot);

/* Checks a header and its hash with `avail` bytes readable at b. Records are not looked at. */
enum dp_block_fault dp_block_check(
	const struct dp_block *b, size_t avail, const struct dp_block_spot *spot);
const char *dp_block_fault_name(enum dp_block_fault f);

/*
 * Walks the records of a checked block: *cursor starts at 0; returns the next record or NULL at the
 * end, or NULL with *bad set when a record does not pass dp_rec_check (the rest is then unusable).
 */
const struct dp_rec *dp_block_next(
	const struct dp_block *b, const struct dp_stream_set *streams, size_t *cursor, bool *bad);

static inline size_t dp_block_disk_bytes(uint32_t bytes)
{
	return dp_rec_pad(bytes, DP_DISK_ALIGN);
}

/* Largest block of these streams: DP_BLOCK_SEAL_BYTES and one more datagram with all it causes. */
size_t dp_block_bytes_max(const struct dp_stream_set *streams);
