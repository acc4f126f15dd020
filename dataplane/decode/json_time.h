/* Event times as JSON readings spell them (docs/wire.md). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * ISO 8601 date and time of day (the profile is in docs/wire.md) to Unix nanoseconds.  False when
 * malformed or outside [0, DP_EVENT_NS_END).
 */
bool dp_json_time_text(const char *text, size_t len, int64_t *event_ns);

/*
 * Epoch numbers; the unit follows from the magnitude: below 1e11 seconds, below 1e14 milliseconds,
 * below 1e17 microseconds, else nanoseconds.  False when outside [0, DP_EVENT_NS_END).
 */
bool dp_json_time_integer(int64_t epoch, int64_t *event_ns);

/* The same with a fraction, rounded to the microsecond: a double holds no more at today's epoch. */
bool dp_json_time_real(double epoch, int64_t *event_ns);
