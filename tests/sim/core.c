/* Random numbers, trace, steps and failures of a seed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "tests/sim/sim.h"

#define GOLDEN 0x9e3779b97f4a7c15u

void sim_init(struct sim *s, uint64_t seed)
{
	s->seed = s->random = seed;
	s->trace = seed;
	s->kill_at = UINT64_MAX;
}

/* splitmix64: Steele, Lea, Flood 2014. */
uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->random += GOLDEN;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
	return (uint32_t)((sim_random(s) >> 32) * n >> 32);
}

int64_t sim_between(struct sim *s, int64_t low, int64_t high)
{
	return low + (int64_t)(sim_random(s) % (uint64_t)(high - low + 1));
}

bool sim_chance(struct sim *s, uint32_t per_10000)
{
	return per_10000 && sim_below(s, 10000) < per_10000;
}

void sim_note(struct sim *s, const char *what, uint64_t a, uint64_t b)
{
	uint64_t words[] = {XXH3_64bits(what, strlen(what)), a, b, s->trace};

	s->trace = XXH3_64bits(words, sizeof(words));
	s->events++;
	if (s->verbose)
		printf("%u.%" PRIu64 " %s %" PRIx64 " %" PRIx64 "\n", s->life, s->steps, what, a,
			b);
}

void sim_note_bytes(struct sim *s, const char *what, const void *bytes, size_t n)
{
	sim_note(s, what, n, XXH3_64bits(bytes, n));
}

bool sim_step(struct sim *s)
{
	if (!s->dead && ++s->steps >= s->kill_at) {
		s->dead = true;
		sim_note(s, "dies", s->steps, 0);
	}
	return s->dead;
}

void sim_fail(struct sim *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("seed %" PRIu64 ", life %u, step %" PRIu64 ": ", s->seed, s->life, s->steps);
	vprintf(format, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
	longjmp(s->failed, 1);
}
