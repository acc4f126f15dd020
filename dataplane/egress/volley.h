/*
 * When messages are handed to librdkafka.  Version 2.0.2 sends no request of a partition of which
 * an idempotent producer has five messages on their way, and spins on poll(0) while one is due that
 * may not leave.  So they gather here, not there: the first waits the linger for others, and until
 * fewer than five are on their way; both waits are one.  Then all that is there goes at once, a
 * volley. Not once there is more than a request of full size holds: then speed counts.
 *
 * rd_kafka_flush() has a volley leave as one request.  Without it librdkafka lingers for long
 * enough that none goes in two, between which it would spin; its thread may miss a flush, and is
 * nudged.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DP_VOLLEY_MESSAGES = 5, DP_VOLLEY_BYTES = 1 << 20 };

/* Of librdkafka; as a property. More than it takes to hand over any volley but a backlog. */
#define DP_VOLLEY_LINGER_MS "20"

/* After a volley, when nothing was heard of it: 3, 6 and 12 ms; then that linger is over. */
#define DP_VOLLEY_NUDGE_NS     3000000ll
#define DP_VOLLEY_NUDGE_NS_MAX 12000000ll

struct dp_volley {
	int64_t linger_ns;	  /* set once */
	uint64_t messages, bytes; /* on their way */
	bool open;		  /* takes more */
	bool waited;		  /* a message waits, since: */
	int64_t waits_since_ns;	  /* steady */
	int64_t nudge_ns;	  /* steady: it may not have left yet, and is to be told again */
	int64_t nudge_wait_ns;	  /* 0: no more */
};

/* On its way is as much as may be. */
static inline bool dp_volley_full(const struct dp_volley *v)
{
	return v->messages >= DP_VOLLEY_MESSAGES && v->bytes < DP_VOLLEY_BYTES;
}

/* May a message go now? Begins a volley, or the wait for one, when none is open. */
static inline bool dp_volley_take(struct dp_volley *v, int64_t steady_ns)
{
	if (v->open)
		return true;
	if (!v->waited)
		v->waits_since_ns = steady_ns;
	v->waited = true;
	if (steady_ns - v->waits_since_ns < v->linger_ns || dp_volley_full(v))
		return false;
	v->open = true;
	v->waited = false;
	return true;
}

/* Steady; when to ask again, or to nudge: INT64_MAX where only a report helps. */
static inline int64_t dp_volley_deadline(const struct dp_volley *v)
{
	int64_t due = v->nudge_wait_ns ? v->nudge_ns : INT64_MAX;
	int64_t next = v->waits_since_ns + v->linger_ns;

	return v->waited && !dp_volley_full(v) && next < due ? next : due;
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
	if (v->messages < DP_VOLLEY_MESSAGES)
		v->nudge_wait_ns = 0;
}

/* There is no more for now. True: what was taken has a request to fill, and is to leave. */
static inline bool dp_volley_end(struct dp_volley *v, int64_t steady_ns)
{
	bool leaves = v->open && v->bytes < DP_VOLLEY_BYTES;

	v->open = false;
	if (leaves) {
		v->nudge_wait_ns = DP_VOLLEY_NUDGE_NS;
		v->nudge_ns = steady_ns + DP_VOLLEY_NUDGE_NS;
	}
	return leaves;
}

/* Is it to be told again to leave? A thread that did not run in time has not heard it. */
static inline bool dp_volley_nudge(struct dp_volley *v, int64_t steady_ns)
{
	if (!v->nudge_wait_ns || steady_ns < v->nudge_ns)
		return false;
	v->nudge_wait_ns *= 2;
	v->nudge_ns = steady_ns + v->nudge_wait_ns;
	if (v->nudge_wait_ns > DP_VOLLEY_NUDGE_NS_MAX)
		v->nudge_wait_ns = 0;
	return true;
}
