/*
 * Windows the slow way, for one sensor: each open window keeps the list of all its readings, and
 * its statistics are computed from that list when it closes.  Shares nothing with dataplane/window
 * but the definitions of a stream.
 */
#pragma once

#include "dataplane/window/window.h"

enum { REF_FIELDS_MAX = 6, REF_STATS = 6, REF_CLOSES_MAX = 4096 };

struct ref_close {
	int64_t start_ns, end_ns;
	uint32_t count;
	uint8_t window, reason;
	double stats[REF_FIELDS_MAX][REF_STATS]; /* by bit of enum dp_stat; NaN = missing */
	double magnitude[REF_FIELDS_MAX]; /* greatest |value|: what rounding is relative to */
};

struct ref_closes {
	uint32_t count;
	struct ref_close list[REF_CLOSES_MAX];
};

/* What a model sees of a field: over the first open window that holds the newest pane. */
struct ref_probe {
	double stats[REF_STATS]; /* as in ref_close */
	double slope;		 /* a second; NaN for fewer than two panes with values */
	double magnitude;
};

struct ref_sensor;

struct ref_sensor *ref_new(const struct dp_stream *s);
void ref_free(struct ref_sensor *r);

/* Appends what the reading closes; returns DP_ROW_LATE, _FUTURE, _CLOCK_RESET as they apply. */
uint16_t ref_reading(struct ref_sensor *r, int64_t event_ns, int64_t arrival_ns,
	const float *values, struct ref_closes *out);

/* Appends the windows that an idle close closes. */
void ref_idle(struct ref_sensor *r, struct ref_closes *out);

/* After a reading. */
void ref_probe(const struct ref_sensor *r, uint16_t def, uint16_t field, struct ref_probe *out);
