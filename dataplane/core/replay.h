/*
 * Replay: the journal's records back into the workers' tables, before any thread runs (design:
 * time, windows, replay).  Emits nothing but gap records, each loss in one; facts (windows, alerts,
 * retirements) are taken as they were written.  Also finds out where the ledger stood.
 */
#pragma once

#include <stdint.h>

#include "dataplane/core/worker.h"
#include "dataplane/journal/recover.h"

struct dp_replayed {
	uint64_t blocks, records, readings;
	uint64_t sensors;
	uint64_t readings_after_mark; /* recovered: written, but counted by no mark any more */
	uint64_t dropped_schema;      /* readings of streams that are gone or have changed */
	uint64_t dropped_limit;	      /* readings of sensors that no longer fit */
	uint64_t unreadable_blocks;   /* good hash, bad record: written by something else */
	uint64_t damaged_regions;     /* of the log, in sealed segments too */
	uint64_t damaged_records;     /* that were in them, or in unreadable blocks */
	uint64_t damage_new;	      /* of these, records that no gap record told of yet */
};

/*
 * Replays all of r into the workers (any number of them, also another than before), sets worker 0's
 * counters to the ledger as it stood, arms every sensor's timer so that what is due fires in the
 * first turns, appends gap records for what could not be brought back. 0 or -errno of the disk.
 */
int dp_workers_replay(struct dp_worker *workers, uint32_t count, const struct dp_io *io,
	const struct dp_recovery *r, const struct dp_now *now, struct dp_replayed *out);
