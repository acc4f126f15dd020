/*
 * Event-time windows per sensor (design: time, windows, replay).  Each window definition has its
 * own grid of panes as long as its slide; a pane holds partials (count, mean, M2, min, max, last)
 * per field; closing merges panes, readings are never read again.  Windows [k*slide, k*slide +
 * size) are aligned to Unix time 0.
 *
 * Watermark of a sensor: greatest event time that was not `future`, less lateness.  A window closes
 * once its end <= watermark.  An idle close moves it on for each window definition by itself, to
 * the end of the last window closed: a 5-minute window closed early makes nothing late for
 * 30-second ones.  A reading in a pane of a window not closed yet updates that pane, however late;
 * else it is late for that definition.  A `future` reading is in no window: it would have to be
 * kept outside the panes until its time comes.  A value that is NaN or infinite is missing.
 */
#pragma once

#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/sensor.h"
#include "dataplane/journal/record.h"

enum { DP_CLOCK_RESET_READINGS = 4 }; /* "several": in a row, in order, behind by > max_skew */

/* A window that closed. Its statistics lie in dp_closes.stats from stats_at, laid out as in the
 * window record: per field, per bit of the definition's stats from the lowest. */
struct dp_close {
	uint32_t row; /* of the batch that closed it; 0 for timers */
	uint32_t slot;
	uint32_t count; /* readings */
	uint32_t stats_at;
	int64_t start_ns, end_ns;
	uint8_t window, reason; /* enum dp_close_reason */
};

struct dp_closes {
	uint32_t count, max;
	uint32_t stats_used, stats_max;
	struct dp_close *list;
	uint32_t *stats; /* u32 counts, f32 bits otherwise */
};

struct dp_window_layout; /* opaque: offsets of panes in a slot, per stream */

/*
 * What a model reads of a sensor's panes when a reading has been put into them: over the panes that
 * end with the newest that holds a reading and are as many as a window has.
 */
struct dp_probe {
	struct dp_expr expr; /* STAT, ZSCORE or SLOPE */
	uint32_t to;	     /* place in a row of dp_probes.out */
};

struct dp_probes {
	uint32_t count, stride;
	const struct dp_probe *list; /* those of one window and field together */
	float *out;		     /* [DP_BATCH_MAX][stride]; NaN: missing */
};

struct dp_windows {
	const struct dp_stream *stream;
	struct dp_window_layout *layout;
	struct dp_counters *counters;
	struct dp_probes probes; /* none unless set after the init */
};

/* Panes kept of window definition i; also the most windows of it that one reading can close. */
static inline uint32_t dp_window_panes(const struct dp_stream *s, uint16_t i)
{
	const struct dp_window_def *d = &s->windows[i];

	return (uint32_t)(d->size_ns / d->slide_ns +
			  (s->lateness_ns + d->slide_ns - 1) / d->slide_ns);
}

/* Bytes of a slot's window state; multiple of 8. */
size_t dp_window_slot_bytes(const struct dp_stream *s);
/* Most windows that one reading can close: bounds dp_closes for a batch. */
uint32_t dp_window_closes_max(const struct dp_stream *s);

/* Arena bytes that the two inits below take at most. */
size_t dp_windows_bytes(const struct dp_stream *s);
size_t dp_closes_bytes(const struct dp_stream *s);

/* 0, -ENOMEM, or -EINVAL for more than DP_PANES_MAX panes, or windows of more than 15 years. */
int dp_windows_init(struct dp_windows *w, const struct dp_stream *s, struct dp_counters *counters,
	struct dp_arena *arena);
int dp_closes_init(struct dp_closes *c, const struct dp_stream *s, struct dp_arena *arena);

/* A new slot's window state (the slot is zeroed). */
void dp_window_slot_init(const struct dp_windows *w, const struct dp_table *t, struct dp_slot *s);

/*
 * The stage: rows of b, whose slots are filled, in order.  Lists what closes, in row order, by
 * window definition, then by start; flags rows (late, future, clock reset); moves watermarks;
 * counts. Leaves alone: life, seen, last_*, timers (worker.c).
 */
void dp_window_push(const struct dp_windows *w, const struct dp_table *t, struct dp_batch *b,
	struct dp_closes *out);

/* What the probes find after row `row` of a batch, whose values those are; dp_window_push calls it.
 */
void dp_window_probe(const struct dp_windows *w, char *state, const float *values, uint32_t row);

/* Closes all windows of one sensor that hold a reading: idle or retired. None of them, and none
 * before them, opens again in this life. */
void dp_window_close_all(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	enum dp_close_reason reason, struct dp_closes *out);

/* Replay: the same state change as dp_window_push made for that reading, nothing listed or counted.
 * The flags say what was decided then (future, late, clock reset). */
void dp_window_replay_reading(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values);
/* Replay: the window of that record is closed now. */
void dp_window_replay_close(const struct dp_windows *w, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_window *r);
/* Does any window of the sensor hold a reading? (else an idle close has nothing to do) */
bool dp_window_open(const struct dp_windows *w, const struct dp_table *t, uint32_t slot);
