/*
 * Sleep and wake without lost wake-ups and with at most one system call a sleep.
 *
 *   sleeper                                waker
 *   dp_parker_arm     sleeping = 1; fence  publish work
 *   look again for work                    dp_parker_wake   fence; sleeping? exchange 0, write(fd)
 *   none: wait on fd; some: dp_parker_disarm
 *
 * The two seq_cst fences (S1, S2) make it impossible that the sleeper misses the work and the waker
 * misses the sleeper.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/limits.h"

struct dp_parker {
	_Alignas(
		DP_CACHE_LINE) _Atomic uint32_t sleeping; /* sleeper: sets, whoever wakes: clears */
	int fd;						  /* eventfd; readable once woken */
};

int dp_parker_init(struct dp_parker *p);
void dp_parker_fini(struct dp_parker *p);

void dp_parker_wake(struct dp_parker *p);

static inline void dp_parker_arm(struct dp_parker *p)
{
	atomic_store_explicit(&p->sleeping, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* S1: pairs with S2 in dp_parker_wake */
}

static inline void dp_parker_disarm(struct dp_parker *p)
{
	atomic_store_explicit(&p->sleeping, 0, memory_order_relaxed);
}

/*
 * Waits, armed, until woken, until `also_fd` (-1: none) is readable, or for at most timeout_ns
 * (negative or beyond a day: a day). Takes the wake-up off the fd and disarms.
 */
void dp_parker_wait(struct dp_parker *p, int also_fd, int64_t timeout_ns);
