#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/window/window.h"

enum { FIELDS = 2, SENSORS = 4 };

#define S    DP_NS_PER_S
#define BASE (1700000000 * S) /* a multiple of 10 s and 50 s */

/* One stream: "30s/10s" with all statistics, "50s" with count and last; 5 s lateness, 60 s skew. */
struct world {
	struct dp_stream stream;
	struct dp_window_def defs[2];
	struct dp_arena arena;
	struct dp_table table;
	struct dp_windows windows;
	struct dp_closes closes;
	struct dp_batch batch;
	struct dp_counters counters;
	uint32_t slot;
};

static struct world w;

static uint32_t add_sensor(const char *name)
{
	struct dp_sensor_id id = {.len = (uint8_t)strlen(name)};
	uint32_t slot;

	memcpy(id.bytes, name, id.len);
	slot = dp_table_add(&w.table, &id, dp_table_hash(&w.table, &id));
	dp_window_slot_init(&w.windows, &w.table, dp_table_slot(&w.table, slot));
	return slot;
}

static void open_world(uint16_t window_count)
{
	struct dp_table_config c = {.stream = &w.stream, .slots_max = SENSORS};

	memset(&w, 0, sizeof(w));
	w.defs[0] = (struct dp_window_def){"30s/10s", 30 * S, 10 * S, DP_STAT_ALL, 0};
	w.defs[1] = (struct dp_window_def){"50s", 50 * S, 50 * S, DP_STAT_COUNT | DP_STAT_LAST, 0};
	w.stream = (struct dp_stream){.field_count = FIELDS,
		.window_count = window_count,
		.windows = w.defs,
		.lateness_ns = 5 * S,
		.max_skew_ns = 60 * S};
	c.window_bytes = dp_window_slot_bytes(&w.stream);
	cr_assert_eq(c.window_bytes % 8, 0);
	cr_assert_eq(dp_arena_init(&w.arena, dp_table_bytes(&c) + dp_windows_bytes(&w.stream) +
						     dp_closes_bytes(&w.stream) +
						     dp_batch_bytes(&w.stream)),
		0);
	cr_assert_eq(dp_table_init(&w.table, &c, &w.arena, 0), 0);
	cr_assert_eq(dp_windows_init(&w.windows, &w.stream, &w.counters, &w.arena), 0);
	cr_assert_eq(dp_closes_init(&w.closes, &w.stream, &w.arena), 0);
	cr_assert_eq(dp_batch_init(&w.batch, &w.stream, &w.arena), 0);
	w.slot = add_sensor("a");
}

static void one_window(void)
{
	open_world(1);
}

static void two_windows(void)
{
	open_world(2);
}

static void shut_world(void)
{
	dp_arena_fini(&w.arena);
}

static void clear_closes(void)
{
	w.closes.count = w.closes.stats_used = 0;
}

/* One reading in a batch of its own; its flags. Arrival is the event time unless given. */
static uint16_t push_at(int64_t event_ns, int64_t arrival_ns, float a, float b)
{
	struct dp_batch *p = &w.batch;

	clear_closes();
	p->count = 1;
	p->slot[0] = w.slot;
	p->event_ns[0] = event_ns;
	p->arrival_ns[0] = arrival_ns;
	p->flags[0] = 0;
	dp_batch_row_values(p, 0)[0] = a;
	dp_batch_row_values(p, 0)[1] = b;
	dp_window_push(&w.windows, &w.table, p, &w.closes);
	return p->flags[0];
}

static uint16_t push(double seconds, float value)
{
	int64_t at = BASE + (int64_t)(seconds * 1e9);

	return push_at(at, BASE + 1000 * S, value, value);
}

static void close_idle(void)
{
	clear_closes();
	dp_window_close_all(&w.windows, &w.table, w.slot, DP_CLOSE_IDLE, &w.closes);
}

static void expect_close(uint32_t i, uint8_t window, int64_t start_s, uint32_t count)
{
	const struct dp_close *c = &w.closes.list[i];

	cr_assert_lt(i, w.closes.count);
	cr_assert_eq(c->window, window);
	cr_assert_eq(c->start_ns, BASE + start_s * S, "starts at %lld",
		(long long)((c->start_ns - BASE) / S));
	cr_assert_eq(c->end_ns, c->start_ns + w.defs[window].size_ns);
	cr_assert_eq(c->count, count);
	cr_assert_eq(c->slot, w.slot);
}

static float stat(uint32_t close, uint32_t field, enum dp_stat which)
{
	const struct dp_close *c = &w.closes.list[close];
	uint32_t stats = w.defs[c->window].stats;
	uint32_t at = c->stats_at + field * (uint32_t)__builtin_popcount(stats) +
		      (uint32_t)__builtin_popcount(stats & (which - 1u));
	float v;

	memcpy(&v, &w.closes.stats[at], sizeof(v));
	return which == DP_STAT_COUNT ? (float)w.closes.stats[at] : v;
}

/* ---- closing ---- */

Test(window, closes_when_the_watermark_reaches_its_end, .init = one_window, .fini = shut_world)
{
	push(1, 1);
	push(14.999999, 1);
	cr_assert_eq(w.closes.count, 0, "the watermark is still before 10 s");
	push(15, 1);
	cr_assert_eq(w.closes.count, 1);
	expect_close(0, 0, -20, 1);
	cr_assert_eq(w.closes.list[0].reason, DP_CLOSE_WATERMARK);
}

/* Sliding windows share readings; a jump closes all of them once and empty ones not at all. */
Test(window, jump_lists_by_definition_then_by_start, .init = two_windows, .fini = shut_world)
{
	push(1, 1);
	push(11, 2);
	push(14, 3);
	cr_assert_eq(w.closes.count, 0);
	push_at(BASE + 100000 * S, BASE + 100000 * S, 4, 4);
	cr_assert_eq(w.closes.count, 5);
	expect_close(0, 0, -20, 1);
	expect_close(1, 0, -10, 3);
	expect_close(2, 0, 0, 3);
	expect_close(3, 0, 10, 2);
	expect_close(4, 1, 0, 3);
	cr_assert_eq(stat(4, 1, DP_STAT_LAST), 3);
}

Test(window, longest_jump_closes_once, .init = two_windows, .fini = shut_world)
{
	push_at(-8400000000000000000, 0, 1, 1);
	push_at(8400000000000000000, 8400000000000000000, 1, 1);
	cr_assert_eq(w.closes.count, 4);
	push_at(8400000000000000000, 8400000000000000000, 1, 1);
	cr_assert_eq(w.closes.count, 0);
}

Test(window, negative_times_are_times, .init = one_window, .fini = shut_world)
{
	push_at(-1, 0, 1, 1);
	push_at(36 * S, 36 * S, 1, 1);
	cr_assert_eq(w.closes.count, 3, "the pane is [-10 s, 0), not [0, 10 s)");
	cr_assert_eq(w.closes.list[0].start_ns, -30 * S);
	cr_assert_eq(w.closes.list[2].start_ns, -10 * S);
}

Test(window, each_sensor_has_its_own_watermark, .init = one_window, .fini = shut_world)
{
	uint32_t first = w.slot;

	push(1, 1);
	w.slot = add_sensor("b");
	push(900, 1);
	cr_assert_eq(w.closes.count, 0);
	w.slot = first;
	cr_assert_eq(push(2, 1), 0, "not late for its own clock");
}

/* ---- statistics ---- */

Test(window, statistics_of_a_window, .init = one_window, .fini = shut_world)
{
	push(1, 2);
	push(12, 4);
	push(13, 9);
	push(100, 0);
	expect_close(2, 0, 0, 3);
	cr_assert_eq(stat(2, 0, DP_STAT_COUNT), 3);
	cr_assert_float_eq(stat(2, 0, DP_STAT_MEAN), 5, 1e-6);
	cr_assert_float_eq(stat(2, 0, DP_STAT_STD), sqrtf(13), 1e-6, "over n - 1");
	cr_assert_eq(stat(2, 0, DP_STAT_MIN), 2);
	cr_assert_eq(stat(2, 0, DP_STAT_MAX), 9);
	cr_assert_eq(stat(2, 0, DP_STAT_LAST), 9);
}

Test(window, missing_values_leave_the_field_alone, .init = one_window, .fini = shut_world)
{
	push_at(BASE + 1 * S, BASE + S, 5, NAN);
	push_at(BASE + 2 * S, BASE + S, NAN, NAN);
	push_at(BASE + 3 * S, BASE + S, INFINITY, NAN);
	push(100, 0);
	expect_close(0, 0, -20, 3);
	cr_assert_eq(stat(0, 0, DP_STAT_COUNT), 1);
	cr_assert_eq(stat(0, 0, DP_STAT_MEAN), 5);
	cr_assert(isnan(stat(0, 0, DP_STAT_STD)), "one value has none");
	cr_assert_eq(stat(0, 0, DP_STAT_MAX), 5);
	cr_assert_eq(stat(0, 0, DP_STAT_LAST), 5);
	cr_assert_eq(stat(0, 1, DP_STAT_COUNT), 0);
	for (uint32_t bit = DP_STAT_MEAN; bit <= DP_STAT_LAST; bit <<= 1)
		cr_assert(isnan(stat(0, 1, (enum dp_stat)bit)), "statistic %u of nothing", bit);
}

/* By event time of values, not of readings: a later reading without the field does not count. */
Test(window, last_is_by_event_time_then_by_arrival, .init = one_window, .fini = shut_world)
{
	push_at(BASE + 5 * S, BASE + 9 * S, 50, 1);
	push_at(BASE + 4 * S, BASE + 9 * S, 40, 2);
	push_at(BASE + 5 * S, BASE + 9 * S, 51, 3);
	push_at(BASE + 7 * S, BASE + 9 * S, NAN, 4);
	push_at(BASE + 6 * S, BASE + 9 * S, 60, 5);
	push(100, 0);
	cr_assert_eq(stat(0, 0, DP_STAT_LAST), 60);
	cr_assert_eq(stat(0, 1, DP_STAT_LAST), 4);
}

Test(window, small_spread_far_from_zero, .init = one_window, .fini = shut_world)
{
	for (int i = 0; i < 1000; i++)
		push(0.001 * i, 1000000.0f + (float)(i % 2));
	push(100, 0);
	cr_assert_float_eq(stat(0, 0, DP_STAT_STD), 0.50025, 1e-4);
}

/* ---- late, future, idle ---- */

Test(window, late_reading_is_dropped_from_what_is_closed, .init = one_window, .fini = shut_world)
{
	push(1, 1);
	push(36, 1); /* watermark 31: closed up to [0, 30) */
	cr_assert_eq(push(9.9, 7), DP_ROW_LATE, "only in closed windows");
	cr_assert_eq(push(12, 7), 0, "[10, 40) is open still");
	cr_assert_eq(dp_counted(&w.counters, DP_C_LATE), 1);
	push(100, 1);
	expect_close(0, 0, 10, 2);
	cr_assert_eq(stat(0, 0, DP_STAT_MAX), 7);
}

Test(window, late_for_one_definition_counts_once, .init = two_windows, .fini = shut_world)
{
	push(1, 1);
	push(36, 1);
	cr_assert_eq(push(2, 1), DP_ROW_LATE);
	cr_assert_eq(dp_counted(&w.counters, DP_C_LATE), 1);
	push(60, 1);
	expect_close(w.closes.count - 1, 1, 0, 3);
}

Test(window, future_reading_moves_nothing, .init = one_window, .fini = shut_world)
{
	int64_t now = BASE + 2 * S;

	cr_assert_eq(push_at(BASE + S, now, 1, 1), 0);
	cr_assert_eq(push_at(now + 60 * S, now, 1, 1), 0, "max_skew itself is allowed");
	cr_assert_eq(push_at(now + 60 * S + 1, now, 1, 1), DP_ROW_FUTURE);
	cr_assert_eq(w.closes.count, 0);
	cr_assert_eq(dp_table_slot(&w.table, w.slot)->event_max, now + 60 * S);
	cr_assert_eq(push_at(INT64_MAX, INT64_MAX, 1, 1), DP_ROW_FUTURE, "beyond all windows");
	cr_assert_eq(push_at(INT64_MAX, INT64_MIN, 1, 1), DP_ROW_FUTURE, "no overflow");
	cr_assert_eq(push_at(INT64_MIN, INT64_MAX, 1, 1), DP_ROW_LATE);
	cr_assert_eq(dp_counted(&w.counters, DP_C_FUTURE), 3);
}

Test(window, idle_close_is_final, .init = one_window, .fini = shut_world)
{
	push(1, 1);
	push(12, 1);
	cr_assert(dp_window_open(&w.windows, &w.table, w.slot));
	close_idle();
	cr_assert_eq(w.closes.count, 4);
	expect_close(0, 0, -20, 1);
	expect_close(3, 0, 10, 1);
	cr_assert_eq(w.closes.list[3].reason, DP_CLOSE_IDLE);
	cr_assert_not(dp_window_open(&w.windows, &w.table, w.slot));
	close_idle();
	cr_assert_eq(w.closes.count, 0);
	cr_assert_eq(push(13, 1), DP_ROW_LATE);
	cr_assert_eq(push(20, 1), 0, "[20, 50) held nothing and is open");
	push(100, 1);
	expect_close(0, 0, 20, 1);
	cr_assert_eq(w.closes.count, 1);
}

Test(window, idle_close_of_long_windows_leaves_short_ones_alone, .init = two_windows,
	.fini = shut_world)
{
	push(1, 1);
	close_idle();
	cr_assert_eq(push(31, 1), DP_ROW_LATE, "[0, 50) is closed");
	push(100, 1);
	cr_assert_eq(w.closes.count, 3);
	expect_close(0, 0, 10, 1);
	expect_close(2, 0, 30, 1);
}

/* ---- a clock that steps back ---- */

Test(window, clock_reset_after_readings_in_a_row, .init = one_window, .fini = shut_world)
{
	push(500, 1);
	for (int i = 0; i < DP_CLOCK_RESET_READINGS - 1; i++)
		cr_assert_eq(push(100 + i, 1), DP_ROW_LATE);
	cr_assert_eq(push(110, 1), DP_ROW_CLOCK_RESET);
	cr_assert_eq(w.closes.count, 3);
	expect_close(0, 0, 480, 1);
	cr_assert_eq(w.closes.list[0].reason, DP_CLOSE_CLOCK_RESET);
	cr_assert_eq(push(111, 1), 0);
	cr_assert_eq(dp_counted(&w.counters, DP_C_CLOCK_RESET), 1);
	close_idle();
	expect_close(0, 0, 90, 2);
}

struct back {
	const char *why;
	double seconds[6]; /* after one at 500; 435 is the latest that is too far behind */
	int future;	   /* index + 1 of one that arrives 61 s before its time */
};

Test(window, no_clock_reset, .init = one_window, .fini = shut_world)
{
	static const struct back cases[] = {
		{"not behind enough", {435, 435, 435, 435, 435, 435}, 0},
		{"one in between is in time", {100, 101, 102, 499, 103, 104}, 0},
		{"not in order", {102, 101, 100, 99, 98, 97}, 0},
		{"out of order starts again", {100, 101, 102, 90, 91, 92}, 0},
		{"a future one in between", {100, 101, 102, 700, 103, 104}, 4},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[2] = {(char)('b' + i % 3), 0};

		if (i % 3 == 0) {
			shut_world();
			open_world(1);
		}
		w.slot = add_sensor(name);
		push(500, 1);
		for (int k = 0; k < 6; k++) {
			int64_t at = BASE + (int64_t)(cases[i].seconds[k] * 1e9);
			int64_t arrival = k + 1 == cases[i].future ? at - 61 * S : BASE + 1000 * S;

			cr_assert_not(push_at(at, arrival, 1, 1) & DP_ROW_CLOCK_RESET,
				"%s, reading %d", cases[i].why, k);
		}
	}
}

/* ---- bounds ---- */

/* Every reading of a batch closes as much as one can: the lists hold it. */
Test(window, lists_hold_the_worst_batch, .init = two_windows, .fini = shut_world)
{
	uint32_t most = dp_window_closes_max(&w.stream);
	struct dp_batch *b = &w.batch;

	cr_assert_eq(most, 4 + 2, "panes: 3 + 1 and 1 + 1");
	cr_assert_eq(w.closes.max, DP_BATCH_MAX * most);
	clear_closes();
	b->count = DP_BATCH_MAX;
	for (uint32_t i = 0; i < b->count; i++) {
		/* newest pane first, then as far back as is open, so that every pane is held */
		static const int64_t within[] = {50, 44, 34, 24};
		int64_t round = BASE + (int64_t)(i / 4) * 1000 * S;

		b->slot[i] = w.slot;
		b->event_ns[i] = round + within[i % 4] * S;
		b->arrival_ns[i] = b->event_ns[i];
		b->flags[i] = 0;
	}
	dp_window_push(&w.windows, &w.table, b, &w.closes);
	cr_assert_eq(w.closes.list[w.closes.count - 1].row, DP_BATCH_MAX - 4);
	for (uint32_t i = 0, of_row = 0; i < w.closes.count; i++) {
		of_row = i && w.closes.list[i].row == w.closes.list[i - 1].row ? of_row + 1 : 1;
		cr_assert_leq(of_row, most);
	}
}

Test(window, refuses_what_would_overflow, .init = one_window, .fini = shut_world)
{
	struct dp_windows other;

	w.defs[0].size_ns = 129 * w.defs[0].slide_ns;
	cr_assert_eq(dp_windows_init(&other, &w.stream, &w.counters, &w.arena), -EINVAL);
	w.defs[0].size_ns = w.defs[0].slide_ns = 600000000000000000;
	cr_assert_eq(dp_windows_init(&other, &w.stream, &w.counters, &w.arena), -EINVAL);
}

Test(window, stream_without_windows)
{
	open_world(0);
	cr_assert_eq(push(500, 1), 0);
	cr_assert_eq(push(10, 1), 0, "late for nothing");
	cr_assert_eq(w.closes.count, 0);
	cr_assert_not(dp_window_open(&w.windows, &w.table, w.slot));
	shut_world();
}

/* ---- replay ---- */

Test(window, new_life_in_an_old_slot_starts_anew, .init = one_window, .fini = shut_world)
{
	struct dp_rec_reading r = {
		.event_ns = BASE + 5 * S, .arrival_ns = BASE, .flags = DP_ROW_NEW_LIFE};
	float values[FIELDS] = {1, 1};

	push(500, 9);
	dp_window_replay_reading(&w.windows, &w.table, w.slot, &r, values);
	close_idle();
	cr_assert_eq(w.closes.count, 3);
	expect_close(0, 0, -20, 1);
}
