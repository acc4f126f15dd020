/*
 * The blocks that an output has read and not yet delivered, in log order.  A block passes when it
 * is the oldest and every message of it is accounted for; only then do its records enter the sums
 * and does the position move, so that sums and position always agree.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/egress/position.h"

/* Cookies: the block's number in the ring above, the record's index in the block below. */
enum { DP_FLIGHT_INDEX_BITS = 24 };

struct dp_flight {
	uint64_t lp, lp_next;
	uint64_t records_after; /* in the log up to and with this block */
	uint64_t epoch, sequence;
	uint64_t bytes; /* of messages taken by the transport */
	uint64_t delivered, dead_letter, filtered, expired, quarantined;
	int64_t arrival_ns; /* of its oldest record */
	uint32_t worker;
	uint32_t messages, outstanding; /* taken; taken and without a final word */
	uint32_t refused;		/* of the outstanding: waiting for the dead-letter file */
	uint32_t record_count;
	bool whole; /* all of its messages were taken */
};

struct dp_flights {
	struct dp_flight *at;
	uint64_t head, tail; /* monotone */
	uint64_t mask;
	uint64_t bytes; /* of all */
};

/* count: at least 1. 0 or -ENOMEM. */
int dp_flights_init(struct dp_flights *f, uint32_t count);
void dp_flights_fini(struct dp_flights *f);

static inline struct dp_flight *dp_flights_at(const struct dp_flights *f, uint64_t number)
{
	return &f->at[number & f->mask];
}

static inline uint64_t dp_flights_count(const struct dp_flights *f)
{
	return f->tail - f->head;
}

/* A new youngest, zeroed; there is room. */
struct dp_flight *dp_flights_push(struct dp_flights *f);

/* The block that a cookie names; NULL: none on its way. */
struct dp_flight *dp_flights_of(const struct dp_flights *f, uint64_t cookie);

static inline uint64_t dp_flight_cookie(uint64_t number, uint32_t index)
{
	return (number & UINT32_MAX) << DP_FLIGHT_INDEX_BITS | index;
}

/* Moves the oldest into the position when nothing of it is outstanding; true: one passed. */
bool dp_flights_pass(struct dp_flights *f, struct dp_position *p);
