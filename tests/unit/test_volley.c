/* egress/volley.h.  What breaks if it fails: a core that spins, or an output that stands still. */
#include "dataplane/egress/volley.h"

#include <criterion/criterion.h>

static void send_some(struct dp_volley *v, int64_t now_ns, int count, uint64_t bytes)
{
	for (int i = 0; i < count; i++) {
		cr_assert(dp_volley_take(v, now_ns));
		dp_volley_sent(v, bytes);
	}
}

static void report(struct dp_volley *v, int count, uint64_t bytes)
{
	for (int i = 0; i < count; i++)
		dp_volley_reported(v, bytes);
}

Test(volley, the_next_waits_until_few_are_on_their_way)
{
	struct dp_volley v = {0};

	send_some(&v, 0, 100, 10);
	cr_expect(dp_volley_end(&v, 0));
	cr_expect_not(dp_volley_take(&v, 1));
	cr_expect(dp_volley_full(&v));
	cr_expect_eq(dp_volley_deadline(&v), DP_VOLLEY_NUDGE_NS, "time alone does not help");
	report(&v, 95, 10);
	cr_expect_not(dp_volley_take(&v, 1), "five are on their way");
	report(&v, 1, 10);
	send_some(&v, 1, 50, 10);
	cr_expect(dp_volley_end(&v, 0));
	cr_expect_not(dp_volley_take(&v, 2));
	report(&v, 54, 10);
	cr_expect_eq(v.messages, 0);
	cr_expect_eq(v.bytes, 0);
	cr_expect(dp_volley_take(&v, 3));
}

Test(volley, gathers_for_the_linger)
{
	struct dp_volley v = {.linger_ns = 400};

	cr_expect_eq(dp_volley_deadline(&v), INT64_MAX, "nothing waits");
	cr_expect_not(dp_volley_take(&v, 1000));
	cr_expect_not(dp_volley_end(&v, 0), "nothing was taken");
	cr_expect_not(dp_volley_take(&v, 1399));
	cr_expect_eq(dp_volley_deadline(&v), 1400);
	send_some(&v, 1400, 20, 1);
	cr_expect_eq(dp_volley_deadline(&v), INT64_MAX);
	cr_expect(dp_volley_end(&v, 0));
	cr_expect_not(dp_volley_end(&v, 0), "it has ended");
}

/* What waits for reports has gathered in that time. */
Test(volley, both_waits_are_one)
{
	struct dp_volley v = {.linger_ns = 400};

	cr_expect_not(dp_volley_take(&v, 0));
	send_some(&v, 400, 5, 1);
	dp_volley_end(&v, 0);
	cr_expect_not(dp_volley_take(&v, 500));
	cr_expect_not(dp_volley_take(&v, 900), "five are on their way");
	report(&v, 1, 1);
	cr_expect(dp_volley_take(&v, 901));
}

Test(volley, a_backlog_goes_at_full_speed)
{
	struct dp_volley v = {0};

	send_some(&v, 0, 5, DP_VOLLEY_BYTES / 5 + 1);
	for (int i = 0; i < 100; i++) {
		cr_expect_not(dp_volley_end(&v, 0), "it fills requests by itself");
		send_some(&v, 0, 5, DP_VOLLEY_BYTES / 5 + 1);
	}
	cr_expect_eq(v.messages, 505);
}

/* librdkafka's thread may have slept through the flush. */
Test(volley, is_nudged_until_something_is_heard)
{
	const int64_t ms = 1000000;
	struct dp_volley v = {0};

	send_some(&v, 0, 10, 1);
	cr_expect(dp_volley_end(&v, 0));
	cr_expect_not(dp_volley_nudge(&v, 3 * ms - 1));
	cr_expect(dp_volley_nudge(&v, 3 * ms));
	cr_expect_eq(dp_volley_deadline(&v), 9 * ms);
	cr_expect(dp_volley_nudge(&v, 9 * ms));
	cr_expect(dp_volley_nudge(&v, 21 * ms));
	cr_expect_eq(dp_volley_deadline(&v), INT64_MAX, "librdkafka has lingered long enough");
	report(&v, 10, 1);
	send_some(&v, 30 * ms, 10, 1);
	cr_expect(dp_volley_end(&v, 30 * ms));
	report(&v, 6, 1);
	cr_expect_eq(dp_volley_deadline(&v), INT64_MAX, "it has left");
}
