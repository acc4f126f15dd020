/* Seeded random numbers: splitmix64 (Steele, Lea, Flood 2014). One state per device and per thread,
 * so that the bytes of one device do not depend on how many threads run. */
#pragma once

#include <stdint.h>

struct fws_rng {
	uint64_t state;
};

static inline uint64_t fws_rng_next(struct fws_rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* A generator of its own for (seed, what, index). */
static inline struct fws_rng fws_rng_for(uint64_t seed, uint64_t what, uint64_t index)
{
	struct fws_rng r = {seed ^ what * 0xd6e8feb86659fd93ull};

	r.state = fws_rng_next(&r) + index * 0xa0761d6478bd642full;
	r.state = fws_rng_next(&r);
	return r;
}

/* [0, 1) */
static inline double fws_rng_unit(struct fws_rng *r)
{
	return (double)(fws_rng_next(r) >> 11) * 0x1p-53;
}

/* Mean 0, deviation 1, within +-3.46: the sum of four uniform u16 (Irwin-Hall), 2 ns. */
static inline float fws_rng_normal(struct fws_rng *r)
{
	uint64_t v = fws_rng_next(r);
	int32_t sum = (int32_t)((v & 0xffff) + (v >> 16 & 0xffff) + (v >> 32 & 0xffff) + (v >> 48));

	return (float)(sum - 131070) * (1.7320508f / 65536);
}
