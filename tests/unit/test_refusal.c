/* egress/refusal.h.  What breaks if it fails: good records end as dead letters, or nothing goes on.
 */
#include "dataplane/egress/refusal.h"

#include <criterion/criterion.h>

Test(refusal, one_by_one_until_all_have_their_answer)
{
	struct dp_refusal r = {0};

	dp_refusal_answered(&r, true);
	cr_expect_not(dp_refusal_over(&r), "it has not begun");
	dp_refusal_begin(&r);
	dp_refusal_again(&r, 3);
	for (int i = 0; i < 3; i++) {
		cr_expect(r.alone);
		cr_expect_not(dp_refusal_over(&r));
		dp_refusal_answered(&r, i == 1);
	}
	cr_expect(dp_refusal_over(&r));
	dp_refusal_answered(&r, false); /* one more that was on its way */
	cr_expect(dp_refusal_over(&r));
	dp_refusal_end(&r);
	cr_expect_not(r.alone);
	cr_expect_eq(r.batch_bytes, 0, "it was the message, not the size of the request");
}

Test(refusal, requests_shrink_when_no_message_was_at_fault)
{
	struct dp_refusal r = {.request_bytes = DP_BATCH_BYTES};

	for (uint32_t bytes = DP_BATCH_BYTES / 2; bytes > DP_BATCH_BYTES_MIN; bytes /= 2) {
		dp_refusal_begin(&r);
		dp_refusal_again(&r, 1);
		dp_refusal_answered(&r, false);
		dp_refusal_end(&r);
		cr_expect_eq(r.batch_bytes, bytes);
		r.request_bytes = bytes;
	}
	for (int i = 0; i < 2; i++) {
		dp_refusal_begin(&r);
		dp_refusal_again(&r, 0);
		cr_expect(dp_refusal_over(&r), "nothing was on its way");
		dp_refusal_end(&r);
		cr_expect_eq(r.batch_bytes, DP_BATCH_BYTES_MIN);
	}
}
