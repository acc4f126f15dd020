/*
 * What an output saves: how far it is, what it counted, its transport's state.  One small file,
 * `output-NAME.pos`, of three slots that are written in turn, in place: a save is one write and one
 * fdatasync that nobody waits for, and no work for the file system's own journal.  The newest good
 * slot counts.  `output-NAME.known` beside it says that there was one, so that a lost file is not
 * taken for a new output.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/egress/egress.h"

enum { DP_LANES_MAX = 4 * DP_WORKERS_MAX };

/* Blocks of this epoch and worker up to `sequence` are delivered. */
struct dp_lane {
	uint64_t epoch, sequence;
	uint32_t worker, reserved;
};

/* A slot of the file, little endian, as it lies in memory. */
struct dp_position {
	uint32_t magic;
	uint16_t version, flags;
	uint64_t generation; /* grows by one with each save, also with one that failed */
	uint64_t appliance;
	uint64_t lp;	  /* of the first block that is not delivered */
	uint64_t records; /* in the log before lp, over all time */
	/* of dp_output_stats; records = baseline + the five sums */
	uint64_t baseline, delivered, dead_letter, filtered, expired, quarantined;
	uint64_t dead_bytes;  /* length of the dead-letter file */
	uint64_t epoch_floor; /* of epochs below, everything is delivered */
	uint32_t lane_count, state_bytes;
	struct dp_lane lanes[DP_LANES_MAX];
	uint8_t state[DP_OUTPUT_STATE_BYTES_MAX];
	uint64_t hash; /* xxh3-64 of everything before */
};

enum dp_position_found {
	DP_POSITION_FOUND,
	DP_POSITION_NEW,  /* never saved */
	DP_POSITION_LOST, /* damaged, another appliance's, or gone: there was one */
};

struct dp_position_file {
	struct dp_io io; /* its sync_start is for this file alone */
	char output[DP_NAME_BYTES_MAX + 1];
	int handle;	     /* -1: there is no file, or none that is any good */
	int durable, saving; /* slots; -1: none. Never written over */
	uint64_t generation; /* of the last save */
};

/*
 * Opens the file of an output of p->appliance and reads its position. 0, or -errno when the disk
 * refuses: then nothing is known, and to begin anew would send what was delivered.  What was read
 * may be in the kernel's cache alone: it is durable after the first save. A file that failed to
 * open needs no close.
 */
int dp_position_open(struct dp_position_file *f, const struct dp_io *io, const char *output,
	struct dp_position *p, enum dp_position_found *found);
void dp_position_close(struct dp_position_file *f);

/* Durable on return, also while a started save runs. 0 or -errno. Sets magic to hash. */
int dp_position_save(struct dp_position_file *f, struct dp_position *p);

/*
 * Begins a save; at most one at a time, in a file that was saved before. `p` may change at once. 0
 * or -errno. Poll says -EAGAIN while it runs, then once 0 (durable) or -errno.
 */
int dp_position_save_start(struct dp_position_file *f, struct dp_position *p);
int dp_position_save_poll(struct dp_position_file *f);

/*
 * Drops what is saved of one output that `named` does not know. 1 with its name, 0 when there is
 * none (left), -errno.  A dead-letter file stays: it is the operator's.
 */
int dp_position_drop(const struct dp_io *io, bool (*named)(void *arg, const char *output),
	void *arg, char output[DP_NAME_BYTES_MAX + 1]);

bool dp_position_delivered(
	const struct dp_position *p, uint64_t epoch, uint32_t worker, uint64_t sequence);

/* Of one lane, sequences only grow. */
void dp_position_pass(struct dp_position *p, uint64_t epoch, uint32_t worker, uint64_t sequence);
