/* The token bucket by a fake clock: exact over long runs, bounded after stalls. */
#include <criterion/criterion.h>

#include "firmware-sim/limits.h"
#include "firmware-sim/pace.h"

#define START 1000000000000ll

/* Tokens taken in [START, START + length_ns] when looked at every step_ns, and at the end. */
static uint64_t run(struct fws_pace *p, int64_t length_ns, int64_t step_ns)
{
	uint64_t got = 0;

	for (int64_t t = 0; t < length_ns; t += step_ns)
		got += fws_pace_take(p, START + t, 1000000);
	return got + fws_pace_take(p, START + length_ns, 1000000);
}

Test(fws_pace, one_a_second_is_exact_over_an_hour)
{
	struct fws_pace p;

	fws_pace_init(&p, 1, 1, 1, START);
	/* 7 ms does not divide a second: lateness must not add up. One more is due at the end. */
	cr_assert_eq(run(&p, 3600 * FWS_NS_PER_S, 7 * FWS_NS_PER_MS), 3601);
}

Test(fws_pace, a_million_a_second_is_exact)
{
	struct fws_pace p;

	fws_pace_init(&p, 1000000, 1, 1000, START);
	cr_assert_eq(run(&p, 10 * FWS_NS_PER_S, 63007), 10000001);
}

Test(fws_pace, a_share_of_a_rate_is_exact)
{
	struct fws_pace p;

	/* 81/s over 18 threads: 4.5/s, and in thousandths as the threads ask for it. */
	fws_pace_init(&p, 81000, 18000, 1, START);
	cr_assert_eq(run(&p, 60 * FWS_NS_PER_S, 1234567), 271);
}

Test(fws_pace, a_stall_bursts_no_more_than_the_bucket)
{
	static const struct {
		uint64_t rate, burst;
	} cases[] = {{1, 1}, {1, 5}, {81, 1}, {1000, 5}, {1000000, 1000}, {1000000, 1}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fws_pace p;
		int64_t late = START + 3600 * FWS_NS_PER_S;

		fws_pace_init(&p, cases[i].rate, 1, cases[i].burst, START);
		fws_pace_take(&p, START, 1);
		cr_expect_eq(fws_pace_take(&p, late, UINT64_MAX), cases[i].burst, "case %zu", i);
		cr_expect_eq(fws_pace_take(&p, late, UINT64_MAX), 0, "case %zu", i);
	}
}

/* The bound that pace.h states, for spans of every length and a clock that stalls now and then. */
Test(fws_pace, no_span_holds_more_than_stated)
{
	enum { STEPS = 2000 };
	static int64_t at[STEPS];
	static uint64_t taken[STEPS];
	const uint64_t rate = 500, burst = 3;
	struct fws_pace p;
	int64_t now = START;
	uint64_t x = 88172645463325252ull;

	fws_pace_init(&p, rate, 1, burst, START);
	for (int i = 0; i < STEPS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		now += (int64_t)(x % (x & 15 ? 3000000 : 40000000));
		at[i] = now;
		taken[i] = fws_pace_take(&p, now, 1000);
	}
	for (int i = 0; i < STEPS; i++) {
		uint64_t sum = 0;

		for (int j = i; j < STEPS && j < i + 100; j++) {
			sum += taken[j];
			cr_assert_leq((double)sum,
				(double)burst + 1 + (double)rate * (double)(at[j] - at[i]) / 1e9);
		}
	}
}

Test(fws_pace, due_is_when_the_next_token_is_there)
{
	struct fws_pace p;
	int64_t due;

	fws_pace_init(&p, 3, 1, 1, START);
	cr_assert_eq(fws_pace_due(&p, START), START);
	cr_assert_eq(fws_pace_take(&p, START, 9), 1);
	due = fws_pace_due(&p, START);
	cr_assert_eq(fws_pace_take(&p, due - 1, 9), 0);
	cr_assert_eq(fws_pace_take(&p, due, 9), 1);
}

Test(fws_pace, nothing_before_the_start_and_all_without_a_rate)
{
	struct fws_pace p;

	fws_pace_init(&p, 10, 1, 1, START);
	cr_assert_eq(fws_pace_take(&p, START - 1, 9), 0);
	cr_assert_eq(fws_pace_due(&p, START - 1), START);
	fws_pace_init(&p, 0, 1, 1, START);
	cr_assert_eq(fws_pace_take(&p, START, 12345), 12345);
}
