/*
 * Which message a broker means that refuses a request.  It answers for all that the request holds,
 * so a refusal says something of a message only if that was alone in it.  After one that was not,
 * all that is on its way goes out again with one message a request, until each has its answer.  If
 * none was refused then, the requests were too large for the topic, and are made smaller.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	DP_BATCH_BYTES = 1000000, /* librdkafka's own batch.size */
	DP_BATCH_BYTES_MIN = 16384,
};

struct dp_refusal {
	bool alone; /* one message a request, until `left` more have their answer */
	bool found; /* one of them was refused */
	uint64_t left;
	uint32_t batch_bytes;	/* most in a request; 0: as configured */
	uint32_t request_bytes; /* as the producer has it now */
};

/* A request of several was refused. */
static inline void dp_refusal_begin(struct dp_refusal *r)
{
	r->alone = true;
	r->found = false;
	r->left = 0;
}

/*
 * So many messages come again, beside those that have yet to come: all that the refusal can have
 * meant.
 */
static inline void dp_refusal_again(struct dp_refusal *r, uint64_t messages)
{
	r->left = r->alone ? r->left + messages : 0;
}

static inline void dp_refusal_answered(struct dp_refusal *r, bool refused)
{
	if (!r->alone)
		return;
	r->found |= refused;
	r->left -= r->left > 0;
}

/* Requests may hold several again, of a new producer. */
static inline bool dp_refusal_over(const struct dp_refusal *r)
{
	return r->alone && r->left == 0;
}

static inline void dp_refusal_end(struct dp_refusal *r)
{
	uint32_t half = r->request_bytes / 2;

	if (!r->found && r->request_bytes > DP_BATCH_BYTES_MIN)
		r->batch_bytes = half > DP_BATCH_BYTES_MIN ? half : DP_BATCH_BYTES_MIN;
	r->alone = false;
}
