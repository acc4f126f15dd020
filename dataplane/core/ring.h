/*
 * Bounded single-producer single-consumer ring of messages of any size, bytes in one power-of-two
 * buffer.  A message is contiguous: where it does not fit before the end of the buffer a skip mark
 * fills the rest.  Positions are monotone byte counts, so full and empty never look alike.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/limits.h"
#include "dataplane/core/mem.h"

#define DP_RING_SKIP UINT32_MAX

struct dp_ring {
	char *buf;
	uint64_t size;

	_Alignas(DP_CACHE_LINE) uint64_t put;	       /* producer: rw, published in head */
	uint64_t tail_seen;			       /* producer: last value read of tail */
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t head; /* producer: writes, consumer: reads */
	_Alignas(DP_CACHE_LINE) uint64_t got;	       /* consumer: rw, published in tail */
	uint64_t head_seen;
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t tail; /* consumer: writes, producer: reads */
};

enum { DP_RING_HEAD = 8 }; /* u32 length before each message; messages start at multiples of 8 */

static inline int dp_ring_init(struct dp_ring *r, uint64_t size, struct dp_arena *arena)
{
	assert(size && (size & (size - 1)) == 0);
	*r = (struct dp_ring){.size = size};
	r->buf = dp_arena_take(arena, size, DP_CACHE_LINE);
	return r->buf ? 0 : -ENOMEM;
}

/*
 * Room for a message of `bytes` (with its head at most size / 2: a larger one might find no place
 * even in an empty ring), or NULL when full. Not visible before
 * dp_ring_publish; several may be put before one publish.
 */
static inline void *dp_ring_put(struct dp_ring *r, uint32_t bytes)
{
	uint64_t need = DP_RING_HEAD + ((bytes + 7ull) & ~7ull);
	uint64_t at = r->put & (r->size - 1);
	uint64_t skip = r->size - at < need ? r->size - at : 0;

	assert(need <= r->size / 2);
	if (r->put + skip + need - r->tail_seen > r->size) {
		/* R1: pairs with R2, the consumer is done with these bytes */
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (r->put + skip + need - r->tail_seen > r->size)
			return NULL;
	}
	if (skip) {
		*(uint32_t *)(r->buf + at) = DP_RING_SKIP;
		r->put += skip;
		at = 0;
	}
	*(uint32_t *)(r->buf + at) = bytes;
	r->put += need;
	return r->buf + at + DP_RING_HEAD;
}

/* Makes everything put so far visible. True when there was something to show. */
static inline bool dp_ring_publish(struct dp_ring *r)
{
	if (atomic_load_explicit(&r->head, memory_order_relaxed) == r->put)
		return false;
	/* H1: pairs with H2, the messages' bytes are written */
	atomic_store_explicit(&r->head, r->put, memory_order_release);
	return true;
}

/* Oldest message or NULL when empty; it stays until dp_ring_drop. */
static inline const void *dp_ring_peek(struct dp_ring *r, uint32_t *bytes)
{
	uint64_t at;

	if (r->got == r->head_seen) {
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire); /* H2 */
		if (r->got == r->head_seen)
			return NULL;
	}
	at = r->got & (r->size - 1);
	if (*(const uint32_t *)(r->buf + at) == DP_RING_SKIP) {
		r->got += r->size - at; /* a message follows: both were published together */
		at = 0;
	}
	*bytes = *(const uint32_t *)(r->buf + at);
	return r->buf + at + DP_RING_HEAD;
}

/* Gives the bytes of the message last peeked back to the producer. */
static inline void dp_ring_drop(struct dp_ring *r, uint32_t bytes)
{
	r->got += DP_RING_HEAD + ((bytes + 7ull) & ~7ull);
	atomic_store_explicit(&r->tail, r->got, memory_order_release); /* R2 */
}

static inline bool dp_ring_empty(const struct dp_ring *r)
{
	return atomic_load_explicit(&r->head, memory_order_acquire) ==
	       atomic_load_explicit(&r->tail, memory_order_acquire);
}
