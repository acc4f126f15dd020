/*
 * Reads blocks from segments in log order.  The one reader: of outputs, recovery, replay, dump.
 * Follows footers from segment to segment, skips damage to the next valid block and counts it,
 * jumps to a segment that supersedes, yields each position (epoch, worker, sequence) once and in
 * order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/journal/segment.h"

struct dp_reader;

struct dp_reader_counts {
	uint64_t blocks, records, bytes;
	uint64_t damaged_regions; /* runs of bytes that hold no valid block where one should be */
	uint64_t quarantined_records; /* by the jump of records_before over such a region */
	uint64_t repeated;	      /* equal positions dropped */
	uint64_t missing_segments;
	uint64_t expired_records; /* by the same jump, over segments that were freed before we came
				   */
};

struct dp_reader_block {
	const struct dp_block *block; /* valid until the next call */
	const struct dp_stream_set
		*streams; /* the segment's own schema; lives as long as the reader */
	uint64_t lp;	  /* where it begins */
	uint64_t lp_next; /* where to go on */
};

/* Starts at `lp` (0: the oldest segment there is). 0 or -errno. */
int dp_reader_open(const struct dp_io *io, uint64_t appliance, uint64_t lp, struct dp_reader **out);
void dp_reader_close(struct dp_reader *r);

/*
 * Next block before `limit` (an lp; a writer's `readable`). 1 with *out filled, 0 at the limit,
 * -errno when the disk refuses (try again later: nothing was skipped).  -EAGAIN: damage in the
 * segment that is being written, at a place not known to have been synced; the writer is about to
 * write it again, or to sync it, and skipping it now would put what comes again out of order.
 */
int dp_reader_next(struct dp_reader *r, uint64_t limit, struct dp_reader_block *out);

uint64_t dp_reader_at(const struct dp_reader *r); /* lp of what comes next */
const struct dp_reader_counts *dp_reader_counts(const struct dp_reader *r);
