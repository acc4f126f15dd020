/* steer/admit.c: duplicates, stale, gaps, bounds of new sensors. */
#include "dataplane/steer/steer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct dp_field fields[] = {{.name = "t", .min = -INFINITY, .max = INFINITY}};
static const struct dp_stream stream = {.name = "s", .field_count = 1, .fields = fields};
static struct dp_arena arena;
static struct dp_table table;
static struct dp_batch batch;
static struct dp_counters counters;
static struct dp_admit_rate rate;
static struct dp_places places;
static struct dp_admit admit;
static uint32_t fresh_slots;

#define START 1700000000000000000ll

static void fresh(void *arg, struct dp_slot *s)
{
	cr_assert_not_null(s);
	fresh_slots++;
}

static const struct dp_admit_fresh on_fresh = {.init = fresh};

static void set_up(void)
{
	struct dp_table_config c = {.stream = &stream, .slots_max = 100, .seed = 1};

	cr_assert_eq(dp_arena_init(&arena, 8 << 20), 0);
	cr_assert_eq(dp_table_init(&table, &c, &arena, START), 0);
	cr_assert_eq(dp_batch_init(&batch, &stream, &arena), 0);
	rate = (struct dp_admit_rate){0};
	places = (struct dp_places){.max = 200};
	admit = (struct dp_admit){
		.table = &table, .places = &places, .counters = &counters, .rate = &rate};
}

static void tear_down(void)
{
	dp_arena_fini(&arena);
}

TestSuite(admit, .init = set_up, .fini = tear_down);

static void row(const char *id, uint32_t boot, uint64_t seq, uint16_t flags, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i++) {
		uint32_t r = batch.count++;

		memset(&batch.id[r], 0, sizeof(batch.id[r]));
		batch.id[r].len = (uint8_t)strlen(id);
		memcpy(batch.id[r].bytes, id, strlen(id));
		batch.boot[r] = boot;
		batch.seq[r] = seq;
		batch.flags[r] = flags;
		batch.group[r] = (uint8_t)(i ? 0 : rows);
		batch.index[r] = (uint8_t)i;
	}
}

static uint32_t run(void)
{
	uint32_t kept;

	dp_admit(&admit, &batch, START, &on_fresh);
	kept = batch.count;
	batch.count = 0;
	return kept;
}

static uint32_t one(uint32_t boot, uint64_t seq)
{
	row("a", boot, seq, DP_ROW_NUMBERED, 1);
	return run();
}

static uint64_t counted(enum dp_counter c)
{
	return dp_counted(&counters, c);
}

Test(admit, a_datagram_seen_before_is_a_duplicate_whole)
{
	row("a", 1, 5, DP_ROW_NUMBERED, 3);
	row("b", 1, 5, DP_ROW_NUMBERED, 1);
	row("a", 1, 5, DP_ROW_NUMBERED, 3);
	cr_assert_eq(run(), 4);
	cr_assert_eq(counted(DP_C_DUPLICATE), 3);
	cr_assert_eq(fresh_slots, 2);
}

Test(admit, reordered_within_the_bitmap_is_taken_once)
{
	static const uint64_t order[] = {10, 8, 9, 12, 11, 8, 12, 75, 12, 11};
	static const uint32_t taken[] = {1, 1, 1, 1, 1, 0, 0, 1, 0, 0};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		cr_assert_eq(one(1, order[i]), taken[i], "step %zu", i);
	cr_assert_eq(counted(DP_C_DUPLICATE), 3);
	cr_assert_eq(counted(DP_C_DROP_STALE), 1, "11 is 64 below 75");
}

Test(admit, a_gap_is_lost_only_when_it_leaves_the_bitmap)
{
	one(1, 0);
	one(1, 2); /* 1 is missing */
	cr_assert_eq(counted(DP_C_LOST_SENDER), 0);
	one(1, 64); /* 0 leaves */
	cr_assert_eq(counted(DP_C_LOST_SENDER), 0);
	one(1, 65); /* 1 leaves */
	cr_assert_eq(counted(DP_C_LOST_SENDER), 1);
	cr_assert_eq(one(1, 1), 0);
	cr_assert_eq(counted(DP_C_DROP_STALE), 1);
}

Test(admit, a_jump_counts_what_was_skipped)
{
	one(1, 0);
	one(1, 1000); /* 1 .. 936 have left, 937 .. 999 may still come */
	cr_assert_eq(counted(DP_C_LOST_SENDER), 936);
}

Test(admit, an_absurd_jump_does_not_count_as_loss)
{
	one(1, 0);
	one(1, UINT64_MAX);
	cr_assert_eq(counted(DP_C_LOST_SENDER), 0, "it has lost count, not datagrams");
	cr_assert_eq(one(1, UINT64_MAX), 0);
	cr_assert_eq(one(1, UINT64_MAX - 63), 1);
}

Test(admit, what_came_before_we_first_met_a_sender_is_not_missed)
{
	one(1, 500);
	one(1, 700);
	cr_assert_eq(counted(DP_C_LOST_SENDER), 700 - 500 - 64);
	cr_assert_eq(one(2, 3), 1);
	one(2, 70); /* of a fresh boot 0 .. 6 have left, 3 of them came */
	cr_assert_eq(counted(DP_C_LOST_SENDER), 136 + 6);
}

Test(admit, two_boots_are_remembered_the_third_pushes_out_the_oldest)
{
	cr_assert_eq(one(1, 5), 1);
	cr_assert_eq(one(2, 5), 1);
	cr_assert_eq(one(1, 5), 0);
	cr_assert_eq(one(2, 5), 0);
	cr_assert_eq(one(3, 5), 1);
	cr_assert_eq(one(2, 5), 0);
}

Test(admit, unnumbered_readings_are_never_duplicates)
{
	row("a", 0, 0, 0, 1);
	row("a", 0, 0, 0, 1);
	cr_assert_eq(run(), 2);
}

Test(admit, the_bitmap_of_a_row_claims_only_rows_before_it)
{
	row("a", 1, 6, DP_ROW_NUMBERED, 1);
	row("a", 1, 4, DP_ROW_NUMBERED, 1);
	row("a", 1, 7, DP_ROW_NUMBERED, 1);
	dp_admit(&admit, &batch, START, &on_fresh);
	cr_assert_eq(batch.seen[0], 1);
	cr_assert_eq(batch.seen[1], 1);
	cr_assert_eq(batch.seen[2], 1 | 2 | 8);
}

/* A restart in the middle: the same duplicates are known as without it. */
Test(admit, restored_bits_refuse_what_was_recorded_and_nothing_else)
{
	struct dp_slot s = {0};

	dp_seen_restore(&s, 1, 6, 1);
	dp_seen_restore(&s, 1, 4, 1);
	dp_seen_restore(&s, 1, 7, 1 | 2 | 8);
	cr_assert_eq(s.seen[0].top, 7);
	cr_assert_eq(s.seen[0].seen, 1 | 2 | 8);
	dp_seen_restore(&s, 1, 200, 1);
	dp_seen_restore(&s, 1, 7, 1);
	cr_assert_eq(s.seen[0].top, 200);
	cr_assert_eq(s.seen[0].seen, 1);
}

Test(admit, new_sensors_are_bounded_by_number_and_rate)
{
	char id[8];

	for (uint32_t i = 0; i < 120; i++) {
		snprintf(id, sizeof(id), "n%u", i);
		row(id, 0, 0, 0, 1);
		if (batch.count == 60)
			run();
	}
	cr_assert_eq(table.slots_used, 100);
	cr_assert_eq(atomic_load(&places.held), 100);
	cr_assert_eq(counted(DP_C_DROP_SENSOR_LIMIT), 20);
}

Test(admit, the_rate_of_new_sensors_refills_with_time)
{
	char id[8];
	uint32_t kept = 0;

	rate.new_per_s = 10;
	rate.tokens_ns = START - DP_NS_PER_S;
	for (uint32_t i = 0; i < 50; i++) {
		snprintf(id, sizeof(id), "r%u", i);
		row(id, 0, 0, 0, 1);
	}
	kept = run();
	cr_assert_eq(kept, 10);
	cr_assert_eq(counted(DP_C_DROP_SENSOR_RATE), 40);
	row("late", 0, 0, 0, 1);
	dp_admit(&admit, &batch, START + DP_NS_PER_S / 5, &on_fresh);
	cr_assert_eq(batch.count, 1);
}

/* limits.new_sensors_per_s is of the appliance: more streams must not mean more new sensors. */
Test(admit, streams_of_a_worker_share_the_rate)
{
	struct dp_table_config c = {.stream = &stream, .slots_max = 100, .seed = 2};
	struct dp_table other;
	uint32_t kept = 0;
	char id[8];

	cr_assert_eq(dp_table_init(&other, &c, &arena, START), 0);
	rate = (struct dp_admit_rate){.new_per_s = 10, .tokens_ns = START - DP_NS_PER_S};
	for (uint32_t i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "s%u", i);
		row(id, 0, 0, 0, 1);
		admit.table = i % 2 ? &other : &table;
		kept += run();
	}
	cr_assert_eq(kept, 10);
	cr_assert_eq(counted(DP_C_DROP_SENSOR_RATE), 30);
}
