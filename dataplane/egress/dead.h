/*
 * The dead-letter file of an output, `dead-NAME.jsonl`: what the other side refused for good, one
 * JSON line each with the reason (docs/record.md).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/egress/json.h"
#include "dataplane/journal/io.h"

struct dp_dead {
	struct dp_io io;
	char name[DP_NAME_BYTES_MAX + 16];
	char output[DP_NAME_BYTES_MAX + 1];
	int handle;	 /* -1: not open */
	uint64_t length; /* synced; lines end here */
	char *lines;	 /* not yet written */
	size_t used, size;
};

/*
 * Cuts the file back to `length`; UINT64_MAX: keeps what is there. No file is made before there is
 * a dead letter. 0 or -errno.  A table without calls (ops NULL): nothing is ever kept.
 */
int dp_dead_init(struct dp_dead *d, const struct dp_io *io, const char *output, uint64_t length);
void dp_dead_fini(struct dp_dead *d);

/* Where the refused message came from. */
struct dp_dead_place {
	const struct dp_block *block;
	bool gone; /* the log does not hold it any more: of `block` only the position is known */
	uint32_t index;
	const char *why;
};

/*
 * Gather a line: with the record's JSON, (text NULL) the whole block in base64, or neither where it
 * is gone. 0 or -ENOMEM.
 */
int dp_dead_add(
	struct dp_dead *d, const struct dp_dead_place *place, const char *text, size_t bytes);
void dp_dead_forget(struct dp_dead *d); /* what was gathered */

/* Appends what was gathered and syncs it. 0, or -errno: then nothing counts as written. */
int dp_dead_commit(struct dp_dead *d);
