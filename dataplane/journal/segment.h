/*
 * Segments: the files of the journal (docs/block.md), named by serial, "%016llx.seg".  A header with
 * the schema, written twice; blocks at multiples of DP_DISK_ALIGN; a hashed footer once sealed.
 *
 * A log position (lp) is serial << 32 | offset: one number that orders everything ever written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/journal/block.h"
#include "dataplane/journal/io.h"

#define DP_SEGMENT_MAGIC 0x47455350u /* "PSEG" */
#define DP_FOOTER_MAGIC	 0x544f4650u /* "PFOT" */

enum {
	DP_SEGMENT_VERSION = 1,
	DP_SEGMENT_NAME_BYTES = 24,
	DP_SEGMENT_BYTES_MIN = 1 << 20,
	DP_SEGMENT_BYTES_MAX = 1 << 30,
};

struct dp_segment_head {
	uint32_t magic;
	uint16_t version;
	uint16_t endian; /* 0x1234 as written */
	uint64_t serial, salt, appliance;
	uint64_t epoch; /* of the run that made it */
	int64_t created_ns;
	uint32_t copy_bytes; /* of one header copy, schema included; multiple of DP_DISK_ALIGN */
	uint32_t schema_bytes; /* right behind this struct */
	uint64_t schema_hash;
	uint64_t segment_bytes;
	uint64_t records_before; /* records in the log before its first block */
	/* This segment holds again, in order, every good block from that lp on; 0: it does not. */
	uint64_t supersedes;
	uint64_t reserved[4];
	uint64_t hash; /* xxh3-64, unseeded, over this copy with the field zero */
};
_Static_assert(sizeof(struct dp_segment_head) == 128, "segment header");

struct dp_footer_entry { /* one per block, in file order */
	uint64_t epoch, sequence;
	int64_t event_min_ns, event_max_ns;
	uint32_t offset_pages; /* / DP_DISK_ALIGN */
	uint32_t bytes;
	uint32_t record_count;
	uint32_t worker;
};
_Static_assert(sizeof(struct dp_footer_entry) == 48, "footer entry");

struct dp_footer {
	uint32_t magic;
	uint16_t version, flags;
	uint64_t serial, offset, records_after;
	uint32_t block_count;
	uint32_t bytes; /* header, entries and any later sections */
	int64_t sealed_ns;
	uint64_t reserved;
	uint64_t hash; /* xxh3-64 seeded with the salt over bytes, this field zero */
	struct dp_footer_entry entries[];
};
_Static_assert(sizeof(struct dp_footer) == 64, "footer");

#define DP_LP(serial, offset) ((uint64_t)(serial) << 32 | (uint32_t)(offset))
#define DP_LP_SERIAL(lp)      ((lp) >> 32)
#define DP_LP_OFFSET(lp)      ((uint32_t)(lp))

void dp_segment_name(char name[DP_SEGMENT_NAME_BYTES], uint64_t serial);
bool dp_segment_serial(const char *name, uint64_t *serial); /* false: not a segment's name */
