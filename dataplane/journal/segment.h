/*
 * Segments: the files of the journal (docs/block.md), named by serial, "%016llx.seg".  A header
 * with the schema, written twice; blocks at multiples of DP_DISK_ALIGN; a hashed footer once
 * sealed.
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
	uint32_t copy_bytes;   /* of one header copy, schema included; multiple of DP_DISK_ALIGN */
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

enum dp_footer_flag {
	DP_FOOTER_ENDED = 1, /* a run ended here in order: nothing of it was left in memory */
	DP_FOOTER_FLAGS_KNOWN = 1,
};

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

/* A segment of which one header copy is good, open for reading. */
struct dp_segment {
	struct dp_io io;
	int handle;
	uint64_t file_bytes; /* when it was opened */
	uint32_t start;	     /* offset of the first block */
	struct dp_segment_head head;
	char *copy; /* [head.copy_bytes]: the header copy, the schema at sizeof(head) */
};

/*
 * Opens the file `name`. serial 0: whatever its header says, else it must be that. 0; -ENOENT;
 * -EBADMSG: no good header copy; -EPROTO: of a newer format; other -errno of the disk, -EIO when
 * nothing where a header may be can be read.
 */
int dp_segment_open(
	const struct dp_io *io, const char *name, uint64_t serial, struct dp_segment *out);
void dp_segment_close(struct dp_segment *s);

/*
 * As pread, but a bad place on the disk is damage like any other: pages that cannot be read come as
 * 0xee, as long as the file can be read elsewhere.  -EIO: nowhere, it is the disk that refuses.
 */
ssize_t dp_segment_read(const struct dp_segment *s, void *buf, size_t n, uint64_t offset);

/* Only the header of that serial's segment; errors as above. */
int dp_segment_peek(const struct dp_io *io, uint64_t serial, struct dp_segment_head *out);

/* Its schema, dp_schema_free() it. 0, -EBADMSG, -ENOMEM. */
int dp_segment_streams(const struct dp_segment *s, struct dp_stream_set **out);

struct dp_segment_schema {
	const void *bytes; /* dp_schema_write() */
	size_t size;
	uint64_t hash;
};

/*
 * Both copies of a header in one buffer, free() it. h: serial, salt, appliance, epoch, created_ns,
 * segment_bytes, records_before, supersedes are set; the rest is filled in. *bytes: of both, which
 * is where blocks start. 0, -EMSGSIZE, -ENOMEM.
 */
int dp_segment_head_build(struct dp_segment_head *h, const struct dp_segment_schema *schema,
	char **out, size_t *bytes);

/* Bytes of file that a footer of so many blocks takes. */
size_t dp_footer_disk_bytes(uint32_t block_count);

/* Entry of that block as it lies at its segment_offset. */
struct dp_footer_entry dp_footer_entry(const struct dp_block *b);

/*
 * Fills buf[dp_footer_disk_bytes(f->block_count)]: f with serial, offset, records_after,
 * block_count, sealed_ns set.
 */
void dp_footer_build(
	struct dp_footer *f, const struct dp_footer_entry *entries, uint64_t salt, void *buf);

/* The footer of a sealed segment, free() it. 0; -ENOENT: it has no good one; other -errno. */
int dp_footer_load(const struct dp_segment *s, struct dp_footer **out);

/* Offset behind its last block. */
uint32_t dp_footer_end(const struct dp_footer *f, uint32_t start);

/* A window on a segment's bytes, so that blocks are read many at a time. */
struct dp_view {
	char *buf; /* at a multiple of DP_DISK_ALIGN */
	size_t size;
	uint64_t at;
	size_t bytes; /* of the file, from `at` */
};

void dp_view_fini(struct dp_view *v);

/* What lies at a place that is a multiple of DP_DISK_ALIGN. */
struct dp_segment_found {
	enum dp_block_fault fault;
	const struct dp_block *block; /* when it is DP_BLOCK_OK; valid until the next call */
	uint64_t offset;
	uint64_t used_end; /* resync: behind the last page skipped that is not all zeros; 0: none */
};

/* Looks for a good block at that offset, before `end`. 0, or -errno of the disk. */
int dp_segment_block(const struct dp_segment *s, struct dp_view *v, uint64_t offset, uint64_t end,
	struct dp_segment_found *out);

/* First good block at or behind `offset`. 1; 0: none before `end`; -errno. */
int dp_segment_resync(const struct dp_segment *s, struct dp_view *v, uint64_t offset, uint64_t end,
	struct dp_segment_found *out);

enum dp_segment_item_kind {
	DP_SEGMENT_HEAD,
	DP_SEGMENT_BLOCK,
	DP_SEGMENT_FAULT, /* bytes that hold no good block where one should be */
	DP_SEGMENT_FOOTER,
};

struct dp_segment_item {
	enum dp_segment_item_kind kind;
	uint64_t offset, bytes; /* in the file */
	const struct dp_segment_head *head;
	const struct dp_stream_set *streams; /* NULL: the schema cannot be read */
	const struct dp_block *block;	     /* of a block */
	const struct dp_footer *footer;	     /* of the footer */
	enum dp_block_fault fault;	     /* of a fault: what is wrong at its offset */
};

/*
 * Shows a segment file from front to end: header, blocks and faults as they lie, footer; for
 * `penstock journal dump` and recovery. Errors as dp_segment_open, or what `each` returned if not
 * 0.
 */
int dp_segment_walk(const struct dp_io *io, const char *name,
	int (*each)(void *arg, const struct dp_segment_item *item), void *arg);
