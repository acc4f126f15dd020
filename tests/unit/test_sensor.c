/* core/sensor.c: what breaks if it fails: sensors lost or mixed up, timers that never fire. */
#include "dataplane/core/sensor.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct dp_arena arena;
static struct dp_table table;
static const struct dp_stream stream = {.name = "s"};

enum { SLOTS = 1000 };
#define START 1700000000000000000ll

static void set_up(void)
{
	struct dp_table_config c = {.stream = &stream,
		.slots_max = SLOTS,
		.seed = 7,
		.window_bytes = 64,
		.alert_bytes = 8};

	cr_assert_eq(dp_arena_init(&arena, dp_table_bytes(&c)), 0);
	cr_assert_eq(dp_table_init(&table, &c, &arena, START), 0);
}

static void tear_down(void)
{
	dp_arena_fini(&arena);
}

TestSuite(sensor, .init = set_up, .fini = tear_down);

static struct dp_sensor_id id_of(uint32_t n)
{
	struct dp_sensor_id id = {0};

	id.len = (uint8_t)snprintf(id.bytes, sizeof(id.bytes), "mote-%u", n);
	return id;
}

static uint32_t find(uint32_t n)
{
	struct dp_sensor_id id = id_of(n);

	return dp_table_find(&table, &id, dp_table_hash(&table, &id));
}

static uint32_t add(uint32_t n)
{
	struct dp_sensor_id id = id_of(n);

	return dp_table_add(&table, &id, dp_table_hash(&table, &id));
}

Test(sensor, what_was_added_is_found_and_nothing_else)
{
	for (uint32_t i = 0; i < SLOTS; i++) {
		cr_assert_eq(find(i), DP_SLOT_NONE);
		cr_assert_neq(add(i), DP_SLOT_NONE);
	}
	cr_assert_eq(table.slots_used, SLOTS);
	cr_assert_eq(add(SLOTS), DP_SLOT_NONE, "the bound holds");
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct dp_sensor_id id = id_of(i);
		uint32_t slot = find(i);

		cr_assert_neq(slot, DP_SLOT_NONE);
		cr_assert_eq(memcmp(&dp_table_slot(&table, slot)->id, &id, sizeof(id)), 0);
	}
}

Test(sensor, removal_keeps_the_others_reachable)
{
	uint32_t seed = 12345;
	bool in[SLOTS] = {0};

	for (uint32_t step = 0; step < 50000; step++) {
		uint32_t n;

		seed = seed * 1664525 + 1013904223;
		n = (seed >> 8) % SLOTS;
		if (in[n])
			dp_table_remove(&table, find(n));
		else
			cr_assert_neq(add(n), DP_SLOT_NONE);
		in[n] = !in[n];
		if (step % 1000 == 0)
			for (uint32_t i = 0; i < SLOTS; i++)
				cr_assert_eq(
					find(i) != DP_SLOT_NONE, in[i], "step %u id %u", step, i);
	}
}

Test(sensor, a_removed_slot_comes_back_zeroed)
{
	uint32_t slot = add(1);

	memset(dp_slot_windows(&table, dp_table_slot(&table, slot)), 0xff, 64);
	dp_table_remove(&table, slot);
	cr_assert_eq(add(2), slot);
	for (int i = 0; i < 64; i++)
		cr_assert_eq(((char *)dp_slot_windows(&table, dp_table_slot(&table, slot)))[i], 0);
}

/* Each timer fires once, not before it is due and at most a tick after, also beyond the horizon. */
Test(sensor, timers_fire_when_due_in_any_order_of_arming)
{
	int64_t due[SLOTS];
	uint32_t fired = 0, seed = 99;
	bool has[SLOTS] = {0};

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t slot = add(i);

		seed = seed * 1664525 + 1013904223;
		due[slot] =
			START + (int64_t)(seed % 200000) * 1000000; /* up to 200 s, horizon 41 s */
		dp_table_arm(&table, slot, due[slot]);
	}
	for (int64_t now = START; now <= START + 201 * DP_NS_PER_S; now += 7000000) {
		uint32_t slot;

		while (dp_table_deadline(&table) <= now) {
			slot = dp_table_due(&table, now);
			if (slot == DP_SLOT_NONE)
				continue; /* only so many in one call */
			cr_assert_not(has[slot], "fires once");
			cr_assert_leq(due[slot], now);
			cr_assert_leq(now - due[slot], DP_WHEEL_TICK_NS + 7000000);
			has[slot] = true;
			fired++;
		}
	}
	cr_assert_eq(fired, SLOTS);
	cr_assert_eq(dp_table_deadline(&table), INT64_MAX);
}

Test(sensor, a_long_jump_of_time_fires_everything)
{
	for (uint32_t i = 0; i < 100; i++)
		dp_table_arm(&table, add(i), START + i * DP_NS_PER_S);
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_neq(dp_table_due(&table, START + 86400 * DP_NS_PER_S), DP_SLOT_NONE);
	cr_assert_eq(dp_table_due(&table, START + 86400 * DP_NS_PER_S), DP_SLOT_NONE);
}

Test(sensor, arming_again_moves_and_removing_disarms)
{
	uint32_t a = add(1), b = add(2);

	dp_table_arm(&table, a, START + DP_NS_PER_S);
	dp_table_arm(&table, a, START + 3 * DP_NS_PER_S);
	dp_table_arm(&table, b, START + DP_NS_PER_S);
	dp_table_remove(&table, b);
	cr_assert_eq(dp_table_due(&table, START + 2 * DP_NS_PER_S), DP_SLOT_NONE);
	cr_assert_eq(dp_table_due(&table, START + 4 * DP_NS_PER_S), a);
	cr_assert_eq(table.armed, 0);
}

/*
 * All sensors of a start are armed at one moment; those due beyond the horizon lie in one bucket,
 * which would stall a worker once each 41 s if it were walked at once.
 */
Test(sensor, a_bucket_of_timers_not_yet_due_is_walked_in_parts)
{
	const int64_t due = START + 100 * DP_NS_PER_S;
	uint32_t calls = 0, fired = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		dp_table_arm(&table, add(i), due);
	for (int64_t now = START; now < due; now += DP_WHEEL_TICK_NS) {
		do {
			cr_assert_eq(dp_table_due(&table, now), DP_SLOT_NONE);
			calls++;
		} while (dp_table_deadline(&table) <= now);
	}
	cr_assert_gt(calls, 10000 + 2, "more than a call a tick");
	while (dp_table_due(&table, due) != DP_SLOT_NONE)
		fired++;
	cr_assert_eq(fired, SLOTS);
}
