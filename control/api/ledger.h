/*
 * The ledger: every sum that must close, read while everything runs.  Counters further down the
 * path are read first, so that what is under way is never negative.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/api/view.h"

struct ctl_ledger_output {
	const char *name;
	uint64_t written; /* records in the log since the output was made */
	uint64_t delivered, dead_letter, filtered, expired, quarantined;
	int64_t spooled; /* written and in none of the sums yet */
};

struct ctl_ledger {
	uint64_t counters[DP_COUNTER_COUNT]; /* sums over the workers */
	/* (a) received = decoded + rejected + in flight, in datagrams */
	uint64_t rejected;
	int64_t datagrams_in_flight;
	/* (b) decoded = recorded + duplicate + dropped + in flight, in readings */
	uint64_t dropped;
	int64_t readings_in_flight;
	/* records of all kinds: appended = written + pending */
	uint64_t records;  /* by the workers' counters */
	uint64_t appended; /* by the log rings, on top of what the log held at the start */
	uint64_t written;  /* readable by outputs */
	int64_t pending;   /* in log rings or on their way to the disk */
	/* (c) written = delivered + dead_letter + filtered + expired + quarantined + spooled */
	struct ctl_ledger_output outputs[DP_OUTPUTS_MAX];
	uint32_t output_count;
	bool balanced; /* nothing is negative; when settled, every sum closes */
	bool settled;  /* nothing is in flight and nothing pending */
};

void ctl_ledger_read(const struct ctl_view *view, struct ctl_ledger *out);

/* A new reference. */
json_t *ctl_ledger_json(const struct ctl_ledger *l);

/* One line for the log. */
void ctl_ledger_line(const struct ctl_ledger *l, char *text, size_t size);

/* Class and name of a counter: "rejected" and "utf8" of "rejected.utf8". Bytes of the class. */
size_t ctl_counter_class(enum dp_counter which, const char **name);
