/*
 * How much is handed to librdkafka at a time.  What the output hands over between two looks at the
 * reports, and within librdkafka's linger, is a volley: it leaves as one request a partition.  An
 * idempotent producer has at most five requests of a partition on their way, and librdkafka 2.0.2
 * spins on poll(0) while a batch is due that may not leave; so the next volley waits until fewer
 * than DP_VOLLEYS_MAX are on their way, and is larger then.  Not once more is on its way than
 * requests of full size hold: then speed counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { DP_VOLLEYS_MAX = 3, DP_VOLLEYS_BYTES = 3 << 20 };

struct dp_volleys {
	uint64_t sent, reported;      /* messages */
	uint64_t bytes;		      /* on their way */
	uint64_t end[DP_VOLLEYS_MAX]; /* value of `sent` behind each, oldest first */
	uint32_t count;
	bool open;	  /* the last takes more */
	int64_t began_ns; /* the last; steady */
};

/* May a message go now? Begins a volley when none is open. */
static inline bool dp_volley_take(struct dp_volleys *v, int64_t steady_ns)
{
	if (v->open)
		return true;
	while (v->count && v->end[0] <= v->reported)
		memmove(v->end, v->end + 1, --v->count * sizeof(v->end[0]));
	if (v->count == DP_VOLLEYS_MAX && v->bytes < DP_VOLLEYS_BYTES)
		return false;
	v->count += v->count < DP_VOLLEYS_MAX;
	v->end[v->count - 1] = v->sent;
	v->open = true;
	v->began_ns = steady_ns;
	return true;
}

static inline void dp_volley_sent(struct dp_volleys *v, uint64_t bytes)
{
	v->end[v->count - 1] = ++v->sent;
	v->bytes += bytes;
}

static inline void dp_volley_reported(struct dp_volleys *v, uint64_t bytes)
{
	v->reported++;
	v->bytes -= bytes;
}

/* The output looks at its reports. */
static inline void dp_volley_pause(struct dp_volleys *v, int64_t steady_ns, int64_t linger_ns)
{
	v->open &= steady_ns - v->began_ns < linger_ns;
}
