/*
 * What an output saves: how far it is, what it counted, its transport's state.  One small file,
 * `output-NAME.pos`, replaced whole; `output-NAME.known` beside it says that there was one, so that
 * a lost file is not taken for a new output.
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

/* The file, little endian, as it lies in memory. */
struct dp_position {
	uint32_t magic;
	uint16_t version, flags;
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

/*
 * Reads the position of an output of p->appliance. 0, or -errno when the disk refuses: then nothing
 * is known, and to begin anew would send what was delivered.
 */
int dp_position_load(const struct dp_io *io, const char *output, struct dp_position *p,
	enum dp_position_found *found);

/* Durable on return. 0 or -errno. Sets magic, version and hash. */
int dp_position_save(const struct dp_io *io, const char *output, struct dp_position *p);

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
