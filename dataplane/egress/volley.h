/*
 * How much is handed to librdkafka at a time.  What the output hands over between two looks at the
 * reports, and within librdkafka's linger, is a volley: it leaves as one request a partition.
 * librdkafka 2.0.2 sends no request of a partition of which an idempotent producer has five
 * messages on their way, and spins on poll(0) while a batch is due that may not leave; so the next
 * volley waits until fewer are on their way, and is larger then.  Not once there is more than a
 * request of full size holds: then speed counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DP_VOLLEY_MESSAGES = 5, DP_VOLLEY_BYTES = 1 << 20 };

struct dp_volley {
	uint64_t messages, bytes; /* on their way */
	bool open;		  /* takes more */
	int64_t began_ns;	  /* steady */
};

/* May a message go now? Begins a volley when none is open. */
static inline bool dp_volley_take(struct dp_volley *v, int64_t steady_ns)
{
	if (v->open)
		return true;
	if (v->messages >= DP_VOLLEY_MESSAGES && v->bytes < DP_VOLLEY_BYTES)
		return false;
	v->open = true;
	v->began_ns = steady_ns;
	return true;
}

static inline void dp_volley_sent(struct dp_volley *v, uint64_t bytes)
{
	v->messages++;
	v->bytes += bytes;
}

static inline void dp_volley_reported(struct dp_volley *v, uint64_t bytes)
{
	v->messages--;
	v->bytes -= bytes;
}

/* The output looks at its reports. */
static inline void dp_volley_pause(struct dp_volley *v, int64_t steady_ns, int64_t linger_ns)
{
	v->open &= steady_ns - v->began_ns < linger_ns;
}
