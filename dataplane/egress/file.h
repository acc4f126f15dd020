/*
 * JSON lines to a file that rotates, and to a descriptor (stdout).
 *
 * File: a block is delivered once its lines are fdatasynced.  The state saved with the positions is
 * (generation, length); a start cuts the file back to it, undoing the rotation that came after, so
 * that each record is in the files exactly once whenever the daemon is killed, and no half line
 * stays.  Each rotation is saved before the next, so that one is all there can be to undo: whatever
 * else lies beside the file is somebody else's and left alone.
 */
#pragma once

#include <stdint.h>

#include "dataplane/egress/egress.h"

enum { DP_FILE_NAME_BYTES_MAX = 200 };

struct dp_file_config {
	char name[DP_FILE_NAME_BYTES_MAX + 1]; /* in the directory of the disk table */
	uint64_t place; /* hash of its path: a state that names another is not about this file */
	/*
	 * A file that has reached this is renamed NAME.N, N counting up from 1, and a new one is
	 * begun; 0: never.
	 */
	uint64_t rotate_bytes;
	uint32_t keep;		  /* renamed files that stay, the latest; at least 1 */
	int64_t sync_interval_ns; /* lines wait at most so long for their sync */
	uint64_t sync_bytes;	  /* or until there are so many bytes of them */
};

/* `io`: a table of its own (one sync at a time); closed by the caller after the output. */
int dp_file_new(
	const struct dp_file_config *config, const struct dp_io *io, struct dp_transport *out);

/*
 * Lines to a descriptor that stays the caller's. Delivered = written. Never waits for the reader of
 * a pipe; the caller ignores SIGPIPE.
 */
int dp_stdout_new(int fd, struct dp_transport *out);
