/*
 * Alert rules of a stream, per sensor (design: alert: raise/clear).  Rules on a field see every
 * reading that is not late and holds the field, rules on a score every one that is not late and has
 * the score; rules on a window's statistic or score see every closed window; missing-data rules see
 * arrival time.  A rule raises once it was violated for `count`
 * readings (or windows) in a row, or without a break for duration_ns of event time, and clears at
 * the first value beyond the hysteresis.
 */
#pragma once

#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/sensor.h"
#include "dataplane/score/score.h"
#include "dataplane/window/window.h"

/* An alert that was raised or cleared. */
struct dp_alert_event {
	uint32_t row; /* of the batch, or of the close list when by_close */
	uint32_t slot;
	bool by_close; /* caused by closes->list[row] */
	bool raised;
	uint8_t rule;
	int64_t event_ns;
	double value;
};

struct dp_alert_events {
	uint32_t count, max;
	struct dp_alert_event *list;
};

/* Per rule and sensor, in the slot. Public because log fills and replay restores cause. */
struct dp_alert_state {
	uint64_t cause[2];     /* of the open raise; the clear carries it too */
	int64_t raised_ns;     /* arrival time of the raise */
	int64_t since_ns;      /* event time of the first violation in a row; DP_TIME_NONE */
	int64_t last_event_ns; /* rate: of last_value; DP_TIME_NONE */
	float last_value;
	uint32_t violations; /* in a row */
};

struct dp_alerts {
	const struct dp_stream *stream;
};

size_t dp_alert_slot_bytes(const struct dp_stream *s);
int dp_alerts_init(struct dp_alerts *a, const struct dp_stream *s);
/* Arena bytes that dp_alert_events_init takes at most. */
size_t dp_alert_events_bytes(const struct dp_stream *s);
int dp_alert_events_init(
	struct dp_alert_events *e, const struct dp_stream *s, struct dp_arena *arena);
void dp_alert_slot_init(const struct dp_alerts *a, const struct dp_table *t, struct dp_slot *s);

/*
 * The stage: closes and rows of b in the order in which they will be logged (closes of row i before
 * row i).  Lists raises and clears, keeps slot->raised. A reading clears a raised missing-data
 * alert.
 */
void dp_alert_push(const struct dp_alerts *a, const struct dp_table *t, const struct dp_batch *b,
	const struct dp_closes *closes, const struct dp_scores *scores,
	struct dp_alert_events *out);

/* Windows that a timer closed: closes->list[*], all of one slot. */
void dp_alert_closes(const struct dp_alerts *a, const struct dp_table *t,
	const struct dp_closes *closes, const struct dp_scores *scores,
	struct dp_alert_events *out);

/* Silence that raises a missing-data rule; INT64_MAX when that is longer than time. */
int64_t dp_alert_silence_ns(const struct dp_rule *r);

/* Missing data, by steady time since the slot's last reading. Returns the next time at which one
 * may be due for this slot; INT64_MAX: none. */
int64_t dp_alert_timer(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	int64_t steady_ns, struct dp_alert_events *out);

/*
 * Arrival time, Unix, from which on records are needed to bring the slot's open alerts back: the
 * oldest raise, and the reading before it when it is of silence. INT64_MAX: none is open.
 */
int64_t dp_alert_needed_since(const struct dp_table *t, uint32_t slot);

/* Clears all that is raised (a sensor is retired). */
void dp_alert_clear_all(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	struct dp_alert_events *out);

/*
 * Replay: the state change of a reading or window, nothing listed; then the facts.  `then` is the
 * stream by which the record was written: models are found by name.
 */
void dp_alert_replay_reading(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values, const struct dp_stream *then);
void dp_alert_replay_window(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_window *r, const uint32_t *stats, const struct dp_stream *then);
/* Ignored when the rule is gone or has changed (rule_hash). */
void dp_alert_replay_alert(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_alert *r);
