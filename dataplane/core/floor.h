/*
 * The replay floor: what of the log a start would need of this worker, beside what is younger than
 * the longest `forget`: its latest mark of counters and the raise of every open alert.  The worker
 * tells the writer through its log; the writer keeps that much while there is room.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/clock.h"

struct dp_worker;

struct dp_floor {
	uint64_t marked_serial; /* segment that was being written at the last mark */
	/* the mark that is waited for to be durable; end 0: none */
	uint64_t pending_serial, pending_end;
	/* the look for open alerts, some slots at a time; what it found holds once it is durable */
	uint32_t stream_at, slot_at;
	int64_t began_ns, oldest_ns; /* Unix */
	uint64_t found_end;	     /* of the log when it had looked at all; 0: not yet */
};

void dp_floor_init(struct dp_worker *w, const struct dp_now *now);

/* The last mark may lie in an earlier segment than the one that is written now. */
bool dp_floor_wants_mark(const struct dp_worker *w);

/* A mark of counters was appended. */
void dp_floor_marked(struct dp_worker *w);

/* A bounded look, each second. */
void dp_floor_look(struct dp_worker *w, const struct dp_now *now);
