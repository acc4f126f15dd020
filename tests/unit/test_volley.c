/* egress/volley.h.  What breaks if it fails: a core that spins, or an output that stands still. */
#include "dataplane/egress/volley.h"

#include <criterion/criterion.h>

static void send_one(struct dp_volleys *v, int64_t now_ns, uint64_t bytes)
{
	cr_assert(dp_volley_take(v, now_ns));
	dp_volley_sent(v, bytes);
}

Test(volley, the_next_waits_until_one_is_reported)
{
	struct dp_volleys v = {0};

	for (int i = 0; i < DP_VOLLEYS_MAX; i++) {
		for (int k = 0; k < 10; k++)
			send_one(&v, i, 100);
		dp_volley_pause(&v, i, 0);
	}
	cr_expect_not(dp_volley_take(&v, 10));
	for (int k = 0; k < 9; k++)
		dp_volley_reported(&v, 100);
	cr_expect_not(dp_volley_take(&v, 10), "one message of the first is still on its way");
	dp_volley_reported(&v, 100);
	for (int k = 0; k < 50; k++)
		send_one(&v, 10, 100);
	dp_volley_pause(&v, 10, 0);
	cr_expect_not(dp_volley_take(&v, 10));
	for (int k = 0; k < 70; k++)
		dp_volley_reported(&v, 100);
	cr_expect_eq(v.bytes, 0);
	for (int i = 0; i < DP_VOLLEYS_MAX; i++) {
		send_one(&v, 20, 1);
		dp_volley_pause(&v, 20, 0);
	}
	cr_expect_not(dp_volley_take(&v, 20), "none was forgotten, none counted twice");
}

Test(volley, within_the_linger_it_is_one)
{
	struct dp_volleys v = {0};

	for (int64_t now = 0; now < 5; now++) {
		send_one(&v, now, 1);
		dp_volley_pause(&v, now, 5);
	}
	cr_expect_eq(v.count, 1);
	dp_volley_pause(&v, 5, 5);
	send_one(&v, 5, 1);
	cr_expect_eq(v.count, 2);
}

Test(volley, a_backlog_goes_at_full_speed)
{
	struct dp_volleys v = {0};

	for (int i = 0; i < 100; i++) {
		send_one(&v, 0, 1 << 20);
		dp_volley_pause(&v, 0, 0);
	}
	cr_expect_eq(v.count, DP_VOLLEYS_MAX);
	for (int i = 0; i < 98; i++)
		dp_volley_reported(&v, 1 << 20);
	send_one(&v, 0, 1);
	cr_expect_eq(v.count, 2, "the rest of the backlog, and this one");
}
