/*
 * The run of one seed: random numbers, the clock, the trace, when the process dies.  Every part of
 * the simulated world draws from here, so that the same seed gives the same bytes.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/clock.h"

struct sim {
	uint64_t seed;
	uint64_t random;
	uint64_t trace; /* hash of everything that happened */
	uint64_t events;
	struct dp_now now;
	uint32_t life;
	uint64_t steps;	  /* in this life: calls of the disk, turns and steps of the actors */
	uint64_t kill_at; /* the step that is the last one; UINT64_MAX: none */
	bool dead;	  /* nothing that the process does has an effect any more */
	bool calm;	  /* no fault is injected */
	bool verbose;
	jmp_buf failed; /* where sim_fail goes */
};

void sim_init(struct sim *s, uint64_t seed);

uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t n);		       /* [0, n), n > 0 */
int64_t sim_between(struct sim *s, int64_t low, int64_t high); /* inclusive */
bool sim_chance(struct sim *s, uint32_t per_10000);

/* Into the trace; what is a short constant text. */
void sim_note(struct sim *s, const char *what, uint64_t a, uint64_t b);
void sim_note_bytes(struct sim *s, const char *what, const void *bytes, size_t n);

/* One more step of the process; true: it is dead or dies in this one. */
bool sim_step(struct sim *s);

/* A check did not hold: says so with the seed and ends the seed's run. */
void sim_fail(struct sim *s, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

#define sim_check(s, holds, ...)                                                                   \
	do {                                                                                       \
		if (!(holds))                                                                      \
			sim_fail(s, __VA_ARGS__);                                                  \
	} while (0)
