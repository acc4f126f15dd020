/* Random streams for the property tests of windows and alerts, and what each step of one brought.
 */
#pragma once

#include "dataplane/alert/alert.h"
#include "tests/prop/window_reference.h"

enum {
	SENSORS = 3,
	STEPS = 160,
	WINDOWS = 3,
	RULES = 6,
	STEP_CLOSES = 512,
	STEP_WORDS = 4096,
	STEP_EVENTS = 1024,
	PROBES = 12,
};

/* A reading or a timer of one sensor, and all that it brought. */
struct step {
	uint32_t sensor;
	bool timer;
	int64_t event_ns, arrival_ns;
	float values[REF_FIELDS_MAX];
	/* result */
	uint16_t flags;
	uint32_t close_count, word_count, event_count;
	struct dp_close closes[STEP_CLOSES]; /* stats_at within words */
	uint32_t words[STEP_WORDS];
	struct dp_alert_event events[STEP_EVENTS];
	float probed[PROBES]; /* of a reading */
};

struct world {
	struct dp_stream stream;
	struct dp_field fields[REF_FIELDS_MAX];
	struct dp_window_def windows[WINDOWS];
	struct dp_rule rules[RULES];
	struct dp_counters counters;
	uint32_t probe_count;
	struct dp_probe probes[PROBES];
};

/* All that is random follows from the seed. */
void random_seed(uint64_t seed);
int64_t random_below(int64_t n);

/* A stream with random fields, windows, rules, lateness. */
void random_world(struct world *w);

/* Clocks that jitter, run late and ahead, jump and step back; gaps; ties; missing values. */
void random_steps(const struct world *w, struct step *steps);
