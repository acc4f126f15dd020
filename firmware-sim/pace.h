/*
 * Token bucket without drift: whole-number arithmetic on `num` tokens in `den` seconds, so that
 * 81/s over 18 threads stays 81/s.  Time is an argument.
 *
 * In any span of L seconds at most burst + 1 + rate * L tokens come out: a bucket of one token
 * stays exact at 1/s only if being woken late does not cost the part of a token that had grown
 * meanwhile.
 */
#pragma once

#include <stdint.h>

struct fws_pace {
	uint64_t num, den; /* num 0: no limit */
	uint64_t burst;
	int64_t last_ns;
	unsigned __int128 credit; /* in 1 / (den * 10^9) token */
};

/*
 * From start_ns on: one token at once, then one every den / num seconds; at most `burst` (>= 1) in
 * hand after a stall.  den >= 1.
 */
void fws_pace_init(
	struct fws_pace *p, uint64_t num, uint64_t den, uint64_t burst, int64_t start_ns);

/* Takes up to `want` tokens; returns how many there were. */
uint64_t fws_pace_take(struct fws_pace *p, int64_t now_ns, uint64_t want);

/* When the next token will be there; now_ns when there is one. */
int64_t fws_pace_due(struct fws_pace *p, int64_t now_ns);

/* The bucket that a rate needs when the sender may be woken 5 ms late, as on a busy machine. */
uint64_t fws_pace_burst_for(double rate);
