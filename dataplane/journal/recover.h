/*
 * Start-up: takes the directory, decides the epoch, finds where the log ends, makes what is there
 * trustworthy before anyone reads it.  Then replay hands every block over once, in order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/clock.h"
#include "dataplane/journal/reader.h"
#include "dataplane/journal/writer.h"

struct dp_recovered_segment {
	uint64_t serial;
	uint64_t records_before, records_after;
	uint64_t bytes;	 /* on disk */
	int64_t last_ns; /* sealed or created */
	bool sealed;
};

struct dp_recovery {
	uint64_t appliance;  /* random, made with the directory */
	uint64_t epoch;	     /* of this run; durable already */
	uint64_t last_epoch; /* highest seen in a segment; 0: none */
	uint64_t next_serial;
	uint64_t end_lp;		       /* behind the old log: where next_serial begins */
	uint64_t records;		       /* in the log, over all time */
	bool clean;			       /* the last run sealed its last segment */
	struct dp_recovered_segment *segments; /* [segment_count], by serial */
	uint32_t segment_count;
	uint64_t damaged_regions, quarantined_records;
	uint64_t rewritten_blocks; /* may not have been synced: written again, same positions */
	uint64_t torn_blocks;	   /* good, but behind a hole in what was not synced: left out */
	bool (*stop)(void *arg);   /* of the config, for dp_replay */
	void *stop_arg;
};

enum dp_recover_error {
	DP_RECOVER_OK,
	DP_RECOVER_LOCKED,  /* another daemon holds the directory */
	DP_RECOVER_FOREIGN, /* segments of another appliance: nothing was touched */
	DP_RECOVER_NEWER, /* a format version that this build does not know: nothing was touched */
	DP_RECOVER_IO,	  /* see error */
	DP_RECOVER_STOPPED, /* config->stop said so; nothing was touched */
};

struct dp_recover_report {
	enum dp_recover_error kind;
	int error;	/* errno */
	char what[160]; /* file and step, for the message to the operator */
};

/*
 * Takes the lock, reads or makes the appliance id, checks every segment, writes what the last run
 * may not have synced again to a new segment (a failed sync of that run may have left pages that
 * look synced and are not), keeps damaged bytes in quarantine files, seals unsealed segments, makes
 * the new epoch durable. 0, or -1 with the report filled.
 */
int dp_recover(const struct dp_io *io, const struct dp_journal_config *config,
	const struct dp_now *now, struct dp_recovery **out, struct dp_recover_report *report);
void dp_recovery_free(struct dp_recovery *r);

/*
 * Calls each for every block from the oldest segment to end_lp, in log order, each position once.
 * *counts: up to and with that block, then of all; what was passed over is in it. 0, -errno of the
 * disk, -ECANCELED when config->stop said so, or what `each` returned if not 0.
 */
int dp_replay(const struct dp_io *io, const struct dp_recovery *r,
	int (*each)(void *arg, const struct dp_reader_block *b), void *arg,
	struct dp_reader_counts *counts);
