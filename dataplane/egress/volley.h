/*
 * How much is handed to librdkafka at a time, and when.  librdkafka 2.0.2 sends no request of a
 * partition of which an idempotent producer has five messages on their way, and spins on poll(0)
 * while a batch is due that may not leave.  So messages gather here, not there: the first waits
 * `gather_ns` for others, and until fewer than five are on their way; both waits are one.  Then all
 * that is there goes, a volley, within `spread_ns`, which is the time that librdkafka in its turn
 * waits for the rest of it: one request a partition.  Not once there is more than a request of full
 * size holds: then speed counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DP_VOLLEY_MESSAGES = 5, DP_VOLLEY_BYTES = 1 << 20 };

struct dp_volley {
	int64_t gather_ns, spread_ns;	  /* set once */
	uint64_t messages, bytes;	  /* on their way */
	bool open;			  /* takes more */
	bool waited;			  /* a message waits, since: */
	int64_t waits_since_ns, began_ns; /* steady */
};

/* librdkafka's part of the linger: as long as it takes to hand over what has gathered. */
static inline int64_t dp_volley_spread_ns(int64_t linger_ns)
{
	return linger_ns / 4;
}

/* `linger_ns`: longest that a message waits for others, here and in librdkafka together. */
static inline void dp_volley_init(struct dp_volley *v, int64_t linger_ns)
{
	*v = (struct dp_volley){.gather_ns = linger_ns - dp_volley_spread_ns(linger_ns),
		.spread_ns = dp_volley_spread_ns(linger_ns)};
}

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
	if (steady_ns - v->waits_since_ns < v->gather_ns || dp_volley_full(v))
		return false;
	v->open = true;
	v->waited = false;
	v->began_ns = steady_ns;
	return true;
}

/* Steady; when to ask again: INT64_MAX where no message waits, or only a report helps. */
static inline int64_t dp_volley_deadline(const struct dp_volley *v)
{
	return v->waited && !dp_volley_full(v) ? v->waits_since_ns + v->gather_ns : INT64_MAX;
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
static inline void dp_volley_pause(struct dp_volley *v, int64_t steady_ns)
{
	v->open &= steady_ns - v->began_ns < v->spread_ns;
}
