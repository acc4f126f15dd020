/* What the writer's files share: writer.c (groups), writer_switch.c (segments). */
#pragma once

#include "dataplane/journal/recover.h"
#include "dataplane/journal/writer.h"

#define DP_WRITER_BACKOFF_NS (10 * DP_NS_PER_MS)

/* A block that was taken from its ring and is not durable yet. */
struct dp_taken {
	struct dp_block *block;
	uint64_t up_to; /* of its ring: what to release */
	uint32_t log;
};

/* A segment that takes no more blocks. */
struct dp_old_segment {
	uint64_t serial, bytes, records_before, records_after;
	int64_t last_ns;
};

enum dp_writer_phase {
	DP_PHASE_RUN,	 /* the current segment takes blocks */
	DP_PHASE_SEAL,	 /* it is full: sync what is in it, then its footer */
	DP_PHASE_FOOTER, /* the footer is being synced */
	DP_PHASE_MAKE,	 /* there is no current segment: the next is being made */
	DP_PHASE_HEAD,	 /* the next one's header is being synced */
};

enum dp_sync_of { DP_SYNC_OF_NOTHING, DP_SYNC_OF_GROUP, DP_SYNC_OF_FOOTER, DP_SYNC_OF_HEAD };

struct dp_current {
	int handle; /* -1: none */
	uint64_t serial, salt, at;
	uint64_t records_before;
	uint64_t bytes;			 /* of the file */
	struct dp_footer_entry *entries; /* [entry_count], room for segment_bytes / DP_DISK_ALIGN */
	uint32_t entry_count;
};

struct dp_next {
	int handle; /* -1: none */
	uint64_t zeroed;
	struct dp_segment_head head; /* serial 0: not written yet */
};

struct dp_writer {
	struct dp_journal_config config;
	struct dp_io io;
	struct dp_log **logs;
	uint32_t log_count;
	uint64_t appliance, epoch;
	struct dp_segment_schema schema;

	enum dp_writer_phase phase;
	struct dp_current current;
	struct dp_next next;
	uint64_t next_serial;

	/* Taken blocks, monotone indexes into a ring: durable | written | taken. */
	struct dp_taken *taken; /* [taken_max] */
	uint64_t taken_max, durable_index, written_index, taken_index;
	uint64_t redo_until; /* below: written before, to a segment that failed */

	uint64_t records, records_durable; /* in the log: written, durable */
	uint64_t durable_lp;
	uint64_t supersedes; /* of the next segment; 0: the current one ended well */

	enum dp_sync_of syncing;
	uint64_t sync_index, sync_lp, sync_records;
	int64_t sync_started_ns, unsynced_since_ns;
	bool at_limit; /* bytes_max, not the disk, is what the next segment waits for */
	int failed;    /* -errno that waits for a running sync to end */

	int64_t retry_at_ns, backoff_ns;
	int64_t free_at_ns;	    /* next look at what may be freed */
	int64_t free_not_before_ns; /* the disk refused */
	bool unlinked;		    /* and the directory not synced since */

	struct dp_old_segment *old; /* [old_count], by serial */
	uint32_t old_count, old_max;
	uint64_t old_bytes;

	_Atomic bool drain; /* any thread: sets; writer: reads */
	_Atomic uint64_t need[DP_OUTPUTS_MAX];
	struct dp_writer_stats stats;
};

/* ---- writer.c ---- */

/* The current segment or the making of the next one has failed; what is not durable is redone. */
void dp_writer_fail(struct dp_writer *w, int err, const struct dp_now *now);

/* How far outputs may read, and how many records lie before. */
void dp_writer_publish(struct dp_writer *w, uint64_t lp, uint64_t records);

/* Starts the sync of that file. */
void dp_writer_sync(
	struct dp_writer *w, int handle, enum dp_sync_of what, const struct dp_now *now);

/* ---- writer_switch.c ---- */

/* One bounded step of making the next segment; true: something was done. */
bool dp_writer_make_next(struct dp_writer *w, const struct dp_now *now);
/* Writes the header of the finished next segment. 0 or -errno. */
int dp_writer_head(struct dp_writer *w, const struct dp_now *now);
/* The header is durable: the segment gets its name and becomes the current one. 0 or -errno. */
int dp_writer_install(struct dp_writer *w);
void dp_writer_drop_next(struct dp_writer *w);

/* Writes the current segment's footer and cuts the file behind it. 0 or -errno. */
int dp_writer_footer(struct dp_writer *w, uint16_t flags, const struct dp_now *now);
/* The current segment takes no more blocks. */
void dp_writer_retire(struct dp_writer *w, const struct dp_now *now);

/* Frees what nobody needs; true: something was freed. */
bool dp_writer_free_old(struct dp_writer *w, const struct dp_now *now);
