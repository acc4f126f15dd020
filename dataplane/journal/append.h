/*
 * The last stage of a worker: what a batch brought goes into the log ring as records, each reading
 * with all that it caused in one block: windows that it closes, alerts of those, the reading,
 * alerts that it raises or clears.  A datagram as it came, where an input keeps it, is a group of
 * its own before them.
 */
#pragma once

#include <stdint.h>

#include "dataplane/alert/alert.h"
#include "dataplane/core/clock.h"
#include "dataplane/core/drop.h"
#include "dataplane/journal/log.h"
#include "dataplane/score/score.h"
#include "dataplane/window/window.h"

struct dp_append {
	struct dp_log *log;
	const struct dp_stream_set *streams;
	struct dp_counters *counters;
};

/* What one stream's stages brought. */
struct dp_brought {
	const struct dp_table *table;
	const struct dp_alerts *alerts;
	const struct dp_batch *batch; /* NULL for timers */
	const struct dp_closes *closes;
	const struct dp_scores *scores;
	const struct dp_alert_events *events;
};

/* All rows of the batch. Room for them was checked before admit. */
void dp_append_batch(
	const struct dp_append *a, const struct dp_brought *w, const struct dp_now *now);

/* Windows and alerts of one sensor that a timer brought. */
void dp_append_timer(
	const struct dp_append *a, const struct dp_brought *w, const struct dp_now *now);

/* The counters as they stand; `what` DP_MARK_START or DP_MARK_COUNTERS. */
void dp_append_mark(const struct dp_append *a, enum dp_mark_what what, const struct dp_now *now);

/*
 * The same for a sensor that is forgotten from here on, with the mark that says so, in one block:
 * a crash leaves all of it or nothing.
 */
void dp_append_retired(const struct dp_append *a, const struct dp_brought *w, uint32_t slot,
	const struct dp_now *now);

struct dp_gap {
	enum dp_gap_reason reason;
	uint64_t count, epoch, sequence;
	uint16_t worker, stream; /* stream 0xffff: of none */
};
void dp_append_gap(const struct dp_append *a, const struct dp_gap *gap, const struct dp_now *now);

/* A datagram that was decoded, and the first reading in it. */
struct dp_payload {
	const uint8_t *bytes;
	uint32_t count; /* of bytes, at most DP_DATAGRAM_BYTES_MAX */
	uint16_t stream;
	const struct dp_sensor_id *id;
};

/*
 * As it came. Gives way to readings: without room for two full batches of them besides, with all
 * that they may cause, it is only counted.
 */
void dp_append_raw(const struct dp_append *a, const struct dp_payload *p, const struct dp_now *now);

/* Most bytes of a mark or gap record. */
size_t dp_append_small_bytes(void);
