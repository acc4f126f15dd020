#include "dataplane/core/drop.h"

#include <criterion/criterion.h>
#include <string.h>

Test(drop, names_are_distinct_and_of_a_known_class)
{
	static const char *const classes[] = {"received.", "decoded.", "rejected.", "recorded.",
		"duplicate.", "dropped.", "records.", "noted.", "lost.", "recovered."};

	for (int i = 0; i < DP_COUNTER_COUNT; i++) {
		const char *name = dp_counter_name((enum dp_counter)i);
		bool known = false;

		cr_assert(strlen(dp_counter_help((enum dp_counter)i)) > 0);
		for (size_t k = 0; k < sizeof(classes) / sizeof(*classes); k++)
			known |= strncmp(name, classes[k], strlen(classes[k])) == 0;
		cr_assert(known, "%s would be in no sum of the ledger", name);
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(name, dp_counter_name((enum dp_counter)k));
	}
}

/* A number stays open whoever lost the datagram: an operator must not blame the network alone. */
Test(drop, gaps_of_senders_are_not_said_to_be_before_us_alone)
{
	cr_assert(strstr(dp_counter_help(DP_C_LOST_SENDER), "not recorded"));
	cr_assert(strstr(dp_counter_help(DP_C_LOST_SENDER), "dropped here"));
}

Test(drop, rejected_reasons_are_adjacent)
{
	for (int i = 0; i < DP_COUNTER_COUNT; i++)
		cr_assert_eq(strncmp(dp_counter_name((enum dp_counter)i), "rejected.", 9) == 0,
			i >= DP_C_REJ_TRUNCATED && i <= DP_C_REJ_TAG);
}

Test(drop, counts_add_up)
{
	static struct dp_counters c;

	dp_count(&c, DP_C_LATE, 2);
	dp_count(&c, DP_C_LATE, 40);
	cr_assert_eq(dp_counted(&c, DP_C_LATE), 42);
	cr_assert_eq(dp_counted(&c, DP_C_FUTURE), 0);
}
