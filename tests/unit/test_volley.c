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

Test(volley, the_next_waits_until_few_are_on_their_way)
{
	struct dp_volley v = {0};

	send_some(&v, 0, 100, 10);
	dp_volley_pause(&v, 0, 0);
	cr_expect_not(dp_volley_take(&v, 1));
	for (int i = 0; i < 95; i++)
		dp_volley_reported(&v, 10);
	cr_expect_not(dp_volley_take(&v, 1), "five are on their way");
	dp_volley_reported(&v, 10);
	send_some(&v, 1, 50, 10);
	dp_volley_pause(&v, 1, 0);
	cr_expect_not(dp_volley_take(&v, 2));
	for (int i = 0; i < 54; i++)
		dp_volley_reported(&v, 10);
	cr_expect_eq(v.messages, 0);
	cr_expect_eq(v.bytes, 0);
	cr_expect(dp_volley_take(&v, 3));
}

Test(volley, within_the_linger_it_is_one)
{
	struct dp_volley v = {0};

	for (int64_t now = 0; now < 5; now++) {
		send_some(&v, now, 2, 1);
		dp_volley_pause(&v, now, 5);
	}
	dp_volley_pause(&v, 5, 5);
	cr_expect_not(dp_volley_take(&v, 5));
}

Test(volley, a_backlog_goes_at_full_speed)
{
	struct dp_volley v = {0};

	for (int i = 0; i < 100; i++) {
		send_some(&v, 0, 5, DP_VOLLEY_BYTES / 5 + 1);
		dp_volley_pause(&v, 0, 0);
	}
	cr_expect_eq(v.messages, 500);
}
