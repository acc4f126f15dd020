/*
 * The writer: the only one that writes segments.  Takes sealed blocks from every worker's log ring,
 * gives them their place, writes a group with one call, syncs it, releases the rings, publishes how
 * far outputs may read.  A plain step function: the daemon calls it on its thread, tests/sim on its
 * only one.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/clock.h"
#include "dataplane/journal/io.h"
#include "dataplane/journal/log.h"
#include "dataplane/journal/segment.h"

enum dp_sync_mode { DP_SYNC_ALWAYS = 1, DP_SYNC_LAZY, DP_SYNC_OFF };
enum dp_on_full { DP_FULL_BLOCK = 1, DP_FULL_DROP_OLDEST };

struct dp_journal_config {
	enum dp_sync_mode sync;
	enum dp_on_full on_full;
	uint64_t segment_bytes;
	uint64_t bytes_max;   /* of all segments; 0: as the file system has */
	int64_t retention_ns; /* sealed segments older than this may be freed; 0: as soon as may be
			       */
	int64_t sync_interval_ns; /* lazy */
	/* A start asks it once a block that is read; true: it ends with -ECANCELED. May be NULL. */
	bool (*stop)(void *arg);
	void *stop_arg;
};

enum dp_writer_state {
	DP_WRITER_OK,
	DP_WRITER_DEGRADED, /* a write or sync failed; blocks since the last success are being
			       redone */
	DP_WRITER_FULL,	    /* no room for the next segment: nothing is taken from the rings */
};

/* writer: writes; everybody reads. */
struct dp_writer_stats {
	_Atomic uint64_t
		readable; /* lp: outputs read only before it (A: release; reader: acquire) */
	_Atomic uint64_t records;  /* in the log before `readable`, over all time */
	_Atomic uint64_t durable;  /* lp: everything before is synced */
	_Atomic uint64_t state;	   /* enum dp_writer_state */
	_Atomic uint64_t error;	   /* errno of the last failure */
	_Atomic uint64_t at_limit; /* 1: that is ENOSPC by bytes_max, not by the disk */
	_Atomic uint64_t groups, syncs, blocks, bytes, padding_bytes, segments_made, segments_freed;
	_Atomic uint64_t failures; /* of write or sync */
	_Atomic uint64_t sync_ns_last, sync_ns_max;
	_Atomic uint64_t oldest_serial, newest_serial, segment_bytes_total;
	_Atomic uint64_t expired_records; /* freed by drop_oldest */
	_Atomic uint64_t
		segments_freed_early; /* for want of room, though a start would need them */
};

struct dp_recovery;
struct dp_writer;

struct dp_writer_setup {
	struct dp_journal_config config;
	struct dp_io io;
	const struct dp_stream_set *streams;
	struct dp_log **logs; /* [log_count], one per worker */
	uint32_t log_count;
	const struct dp_recovery *recovery; /* where the log ends, which segments there are */
};

/* Makes the first segment of this epoch. 0 or -errno; nothing of setup but io, logs is kept. */
int dp_writer_new(
	const struct dp_writer_setup *setup, const struct dp_now *now, struct dp_writer **out);
void dp_writer_free(struct dp_writer *w);

/*
 * One turn, never waits for the disk's sync: finish a sync that ended, take what is sealed, write,
 * start a sync, switch or free segments. True: something was done, call again at once.
 */
bool dp_writer_step(struct dp_writer *w, const struct dp_now *now);

/* Steady time at which the writer has something to do by itself; INT64_MAX: only when woken. */
int64_t dp_writer_deadline(const struct dp_writer *w);

/* From now on nothing waits for the lazy sync's interval: a clean stop. Any thread. */
void dp_writer_drain(struct dp_writer *w);

/* True when all that was sealed is durable (off: written) and nothing is under way. */
bool dp_writer_idle(const struct dp_writer *w);

/* Clean stop: seals the open segment with its footer and syncs. 0 or -errno. Rings must be empty.
 */
int dp_writer_close(struct dp_writer *w, const struct dp_now *now);

const struct dp_writer_stats *dp_writer_stats(const struct dp_writer *w);

/*
 * Outputs say what they still need: segments with a serial below the lowest of all slots may be
 * freed once retention allows it and no start would need them (core/floor.h: workers say that
 * through their logs). Slot of DP_OUTPUTS_MAX; UINT64_MAX: nothing. Any thread.
 */
void dp_writer_need(struct dp_writer *w, uint32_t slot, uint64_t serial);
