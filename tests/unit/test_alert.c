#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "dataplane/alert/alert.h"
#include "dataplane/journal/schema.h"

enum { FIELDS = 2, RULES_MAX = 4, SCRIPT = 12 };

#define S    DP_NS_PER_S
#define BASE (1700000000 * S)

/* One sensor of a stream with fields a, b, a window "10s" and the rules that a test gives. */
struct world {
	struct dp_stream stream;
	struct dp_field fields[FIELDS];
	struct dp_window_def window;
	struct dp_rule rules[RULES_MAX];
	struct dp_arena arena;
	struct dp_table table;
	struct dp_windows windows;
	struct dp_alerts alerts;
	struct dp_closes closes;
	struct dp_scores scores; /* none */
	struct dp_alert_events events;
	struct dp_batch batch;
	struct dp_counters counters;
	uint32_t slot;
};

static struct world w;

static void open_world(const struct dp_rule *rules, uint16_t count)
{
	struct dp_table_config c = {.stream = &w.stream, .slots_max = 2};
	struct dp_sensor_id id = {.len = 1, .bytes = "s"};

	memset(&w, 0, sizeof(w));
	strcpy(w.fields[0].name, "a");
	strcpy(w.fields[1].name, "b");
	w.window = (struct dp_window_def){"10s", 10 * S, 10 * S, DP_STAT_ALL & ~DP_STAT_MIN, 0};
	if (count)
		memcpy(w.rules, rules, count * sizeof(*rules));
	w.stream = (struct dp_stream){.name = "room",
		.field_count = FIELDS,
		.window_count = 1,
		.rule_count = count,
		.fields = w.fields,
		.windows = &w.window,
		.rules = w.rules,
		.lateness_ns = 0,
		.max_skew_ns = 60 * S};
	c.window_bytes = dp_window_slot_bytes(&w.stream);
	c.alert_bytes = dp_alert_slot_bytes(&w.stream);
	cr_assert_eq(dp_arena_init(&w.arena, dp_table_bytes(&c) + dp_windows_bytes(&w.stream) +
						     dp_closes_bytes(&w.stream) +
						     dp_batch_bytes(&w.stream) +
						     dp_alert_events_bytes(&w.stream)),
		0);
	cr_assert_eq(dp_table_init(&w.table, &c, &w.arena, 0), 0);
	cr_assert_eq(dp_windows_init(&w.windows, &w.stream, &w.counters, &w.arena), 0);
	cr_assert_eq(dp_closes_init(&w.closes, &w.stream, &w.arena), 0);
	cr_assert_eq(dp_alerts_init(&w.alerts, &w.stream), 0);
	cr_assert_eq(dp_alert_events_init(&w.events, &w.stream, &w.arena), 0);
	cr_assert_eq(dp_batch_init(&w.batch, &w.stream, &w.arena), 0);
	w.slot = dp_table_add(&w.table, &id, dp_table_hash(&w.table, &id));
	dp_window_slot_init(&w.windows, &w.table, dp_table_slot(&w.table, w.slot));
	dp_alert_slot_init(&w.alerts, &w.table, dp_table_slot(&w.table, w.slot));
}

static void shut_world(void)
{
	dp_arena_fini(&w.arena);
}

static void clear(void)
{
	w.closes.count = w.closes.stats_used = w.events.count = 0;
}

static void add_row(int64_t event_ns, int64_t arrival_ns, float a)
{
	struct dp_batch *b = &w.batch;
	uint32_t row = b->count++;

	b->slot[row] = w.slot;
	b->event_ns[row] = event_ns;
	b->arrival_ns[row] = arrival_ns;
	b->flags[row] = 0;
	dp_batch_row_values(b, row)[0] = a;
	dp_batch_row_values(b, row)[1] = NAN;
}

/* Through window and alert, as the worker does. */
static void run(void)
{
	struct dp_slot *s = dp_table_slot(&w.table, w.slot);
	struct dp_batch *b = &w.batch;

	clear();
	dp_window_push(&w.windows, &w.table, b, &w.closes);
	dp_alert_push(&w.alerts, &w.table, b, &w.closes, &w.scores, &w.events);
	s->last_arrival_ns = s->last_steady_ns = b->arrival_ns[b->count - 1];
	b->count = 0;
}

/* One reading; '+' raised, '-' cleared, '.' nothing, '?' more than one. */
static char push_at(int64_t event_ns, int64_t arrival_ns, float a)
{
	add_row(event_ns, arrival_ns, a);
	run();
	if (w.events.count > 1)
		return '?';
	return w.events.count == 0 ? '.' : w.events.list[0].raised ? '+' : '-';
}

static char push(double seconds, float a)
{
	int64_t at = BASE + (int64_t)(seconds * 1e9);

	return push_at(at, at, a);
}

static bool is_raised(uint32_t rule)
{
	return dp_table_slot(&w.table, w.slot)->raised >> rule & 1;
}

/* ---- rules on a field: what each of a row of values brings, one a second ---- */

struct script {
	const char *why;
	struct dp_rule rule;
	float values[SCRIPT];
	const char *events;
};

#define ABOVE(t) .kind = DP_RULE_ABOVE, .window = -1, .threshold = (t)
#define BELOW(t) .kind = DP_RULE_BELOW, .window = -1, .threshold = (t)
#define RATE(t)	 .kind = DP_RULE_RATE, .window = -1, .threshold = (t)

static const struct script scripts[] = {
	{"above", {ABOVE(10), .count = 1}, {10, 10.5f, 11, 10, 11}, ".+.-+"},
	{"below", {BELOW(10), .count = 1}, {10, 9.5f, 9, 10, 9}, ".+.-+"},
	{"above with hysteresis", {ABOVE(10), .hysteresis = 2, .count = 1}, {11, 9, 8.5f, 8, 9, 11},
		"+..-.+"},
	{"below with hysteresis", {BELOW(10), .hysteresis = 2, .count = 1}, {9, 11, 11.5f, 12, 9},
		"+..-+"},
	{"three in a row", {ABOVE(10), .count = 3}, {11, 11, 10, 11, 11, 11, 11, 10}, ".....+.-"},
	{"between the limits a run breaks", {ABOVE(10), .hysteresis = 5, .count = 2},
		{11, 8, 11, 11, 8, 11, 4}, "...+..-"},
	{"after a clear the run starts anew", {ABOVE(10), .count = 2}, {11, 11, 1, 11, 11},
		".+-.+"},
	{"NaN neither violates nor clears", {ABOVE(10), .count = 2}, {11, NAN, 11, NAN, 5},
		"..+.-"},
	{"infinite is missing", {ABOVE(10), .count = 1}, {INFINITY, 11, -INFINITY, 5}, ".+.-"},
	{"for 3 s", {ABOVE(10), .duration_ns = 3 * S}, {11, 11, 11, 11, 11, 5, 11}, "...+.-."},
	{"a break starts the duration anew", {ABOVE(10), .duration_ns = 2 * S},
		{11, 11, 5, 11, 11, 11}, ".....+"},
	{"rate, both ways", {RATE(2), .count = 1}, {5, 7, 9.5f, 9.5f, 7}, "..+-+"},
	{"rate over a missing value takes longer", {RATE(2), .count = 1}, {5, NAN, 9, NAN, 13.5f},
		"....+"},
	{"rate with hysteresis", {RATE(2), .hysteresis = 1.5, .count = 1}, {0, 3, 5, 4, 4.5f, 8},
		".+..-+"},
	{"rate twice in a row", {RATE(2), .count = 2}, {0, 3, 6, 9, 9}, "..+.-"},
};

Test(alert, rules_on_a_field)
{
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		const struct script *c = &scripts[i];

		open_world(&c->rule, 1);
		for (size_t k = 0; c->events[k]; k++) {
			char got = push((double)k, c->values[k]);

			cr_assert_eq(got, c->events[k], "%s: value %zu brings %c, should be %c",
				c->why, k, got, c->events[k]);
		}
		shut_world();
	}
}

Test(alert, event_says_what_was_compared)
{
	const struct dp_rule rules[] = {{ABOVE(10), .count = 1}, {RATE(2), .count = 1}};

	open_world(rules, 2);
	push(1, 0);
	cr_assert_eq(push(3, 12), '?', "both, in the order of the rules");
	cr_assert_eq(w.events.list[0].rule, 0);
	cr_assert_eq(w.events.list[0].value, 12);
	cr_assert_eq(w.events.list[0].event_ns, BASE + 3 * S);
	cr_assert_eq(w.events.list[1].rule, 1);
	cr_assert_eq(w.events.list[1].value, 6, "per second");
	cr_assert_eq(w.events.list[1].slot, w.slot);
	cr_assert_not(w.events.list[1].by_close);
	shut_world();
}

Test(alert, late_readings_are_not_evaluated)
{
	const struct dp_rule rules[] = {{ABOVE(10), .count = 1}};

	open_world(rules, 1);
	push(25, 1);
	cr_assert_eq(push_at(BASE + 5 * S, BASE + 26 * S, 99), '.');
	cr_assert_eq(push(27, 99), '+');
	cr_assert_eq(push_at(BASE + 5 * S, BASE + 28 * S, 0), '.', "nor do they clear");
	shut_world();
}

Test(alert, rate_ignores_what_is_not_newer)
{
	const struct dp_rule rules[] = {{RATE(2), .count = 1}};

	open_world(rules, 1);
	push(5, 0);
	cr_assert_eq(push(5, 100), '.', "same time");
	cr_assert_eq(push(4, 100), '.', "older");
	cr_assert_eq(push(6, 1), '.', "1 a second since the value at 5 s");
	shut_world();
}

/* A clock far ahead must not time anything, but its values are still values. */
Test(alert, future_time_is_not_relied_on)
{
	const struct dp_rule rules[] = {{ABOVE(10), .count = 1},
		{ABOVE(100), .duration_ns = 10 * S}, {RATE(2), .count = 1}};
	int64_t future = BASE + 9000 * S;

	open_world(rules, 3);
	push(1, 0);
	push_at(future, BASE + 2 * S, 500);
	cr_assert_eq(w.events.count, 1);
	cr_assert_eq(w.events.list[0].rule, 0);
	push(2.5, 0);
	push(3, 500);
	cr_assert_eq(w.events.count, 2);
	cr_assert_eq(w.events.list[1].rule, 2);
	cr_assert_eq(w.events.list[1].value, 1000, "a second, since the value at 2.5 s");
	push_at(future, BASE + 4 * S, 500);
	cr_assert_eq(w.events.count, 0, "not violated for 9000 s");
	push_at(future, BASE + 5 * S, 50);
	push(13, 500);
	cr_assert_not(is_raised(1), "the value ahead broke the run that began at 3 s");
	shut_world();
}

Test(alert, clock_reset_starts_runs_anew_and_keeps_alerts)
{
	const struct dp_rule rules[] = {
		{ABOVE(10), .count = 1}, {ABOVE(10), .duration_ns = 10 * S}, {RATE(2), .count = 1}};

	open_world(rules, 3);
	push(499, 11);
	push(500, 11);
	for (int i = 0; i < DP_CLOCK_RESET_READINGS; i++)
		push_at(BASE + i * S, BASE + (501 + i) * S, 11);
	cr_assert(is_raised(0), "open alerts stay open");
	cr_assert_eq(push_at(BASE + 9 * S, BASE + 509 * S, 11), '.', "6 s since the reset");
	cr_assert_eq(push_at(BASE + 13 * S, BASE + 513 * S, 11), '+', "10 s since it");
	cr_assert_eq(push_at(BASE + 14 * S, BASE + 514 * S, 99), '+', "rates have a new start");
	shut_world();
}

/* ---- rules on a window ---- */

static struct dp_rule on_window(enum dp_stat stat, double threshold, uint32_t count)
{
	return (struct dp_rule){.kind = DP_RULE_ABOVE,
		.window = 0,
		.stat = stat,
		.threshold = threshold,
		.count = count};
}

Test(alert, rules_on_a_window_statistic)
{
	const struct dp_rule rules[] = {on_window(DP_STAT_MEAN, 10, 1),
		on_window(DP_STAT_COUNT, 1, 2), on_window(DP_STAT_MAX, 1000, 1)};

	open_world(rules, 3);
	push(1, 14);
	push(2, 8);
	cr_assert_eq(w.events.count, 0);
	cr_assert_eq(push(11, 50), '+', "mean of [0, 10) is 11; count needs two in a row");
	cr_assert(w.events.list[0].by_close);
	cr_assert_eq(w.events.list[0].row, 0);
	cr_assert_eq(w.events.list[0].value, 11);
	cr_assert_eq(w.events.list[0].event_ns, BASE + 10 * S, "the window's end");
	push(12, -50);
	push(21, 1);
	cr_assert_eq(w.events.count, 2, "mean 0 clears, count 2 of [10, 20) raises");
	cr_assert(!w.events.list[0].raised && w.events.list[1].raised);
	cr_assert_eq(w.events.list[1].rule, 1);
	cr_assert_eq(w.events.list[1].value, 2);
	shut_world();
}

Test(alert, window_without_the_statistic_says_nothing)
{
	const struct dp_rule rules[] = {on_window(DP_STAT_STD, -1, 1)};

	open_world(rules, 1);
	push(1, 14);
	cr_assert_eq(push(11, 14), '.', "one value has no spread");
	push(12, 14);
	cr_assert_eq(push(21, 14), '+');
	shut_world();
}

/* What a block holds: windows of a reading, their alerts, the reading, its alerts. */
Test(alert, events_are_in_the_order_of_the_log)
{
	const struct dp_rule rules[] = {{ABOVE(10), .count = 1}, on_window(DP_STAT_MAX, 10, 1)};

	open_world(rules, 2);
	add_row(BASE + 1 * S, BASE + 1 * S, 20);
	add_row(BASE + 11 * S, BASE + 11 * S, 0);
	add_row(BASE + 21 * S, BASE + 21 * S, 20);
	run();
	cr_assert_eq(w.closes.count, 2);
	cr_assert_eq(w.events.count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		static const struct dp_alert_event want[] = {{.row = 0, .raised = true},
			{.row = 0, .by_close = true, .raised = true, .rule = 1}, {.row = 1},
			{.row = 1, .by_close = true, .rule = 1}, {.row = 2, .raised = true}};
		const struct dp_alert_event *e = &w.events.list[i];

		cr_assert(e->row == want[i].row && e->by_close == want[i].by_close &&
				  e->raised == want[i].raised && e->rule == want[i].rule,
			"event %u", i);
	}
	shut_world();
}

Test(alert, windows_closed_by_a_timer)
{
	const struct dp_rule rules[] = {on_window(DP_STAT_MAX, 10, 1)};

	open_world(rules, 1);
	push(1, 20);
	clear();
	dp_window_close_all(&w.windows, &w.table, w.slot, DP_CLOSE_IDLE, &w.closes);
	dp_alert_closes(&w.alerts, &w.table, &w.closes, &w.scores, &w.events);
	cr_assert_eq(w.events.count, 1);
	cr_assert(w.events.list[0].by_close && w.events.list[0].raised);
	shut_world();
}

/* ---- missing data ---- */

static const struct dp_rule missing[] = {
	{.kind = DP_RULE_MISSING, .field = -1, .window = -1, .period_ns = 5 * S, .count = 3},
	{.kind = DP_RULE_MISSING, .field = -1, .window = -1, .period_ns = 20 * S, .count = 1},
};

static int64_t timer(double seconds)
{
	clear();
	return dp_alert_timer(
		&w.alerts, &w.table, w.slot, BASE + (int64_t)(seconds * 1e9), &w.events);
}

Test(alert, missing_is_raised_once_and_cleared_by_a_reading)
{
	open_world(missing, 2);
	cr_assert_eq(timer(0), INT64_MAX, "a sensor that never sent is not missed");
	push(100, 1);
	cr_assert_eq(timer(114.999), BASE + 115 * S);
	cr_assert_eq(w.events.count, 0);
	cr_assert_eq(timer(116), BASE + 120 * S, "the other rule");
	cr_assert_eq(w.events.count, 1);
	cr_assert_eq(w.events.list[0].value, 16, "seconds of silence");
	cr_assert_eq(w.events.list[0].event_ns, BASE + 116 * S);
	cr_assert_eq(timer(119), BASE + 120 * S);
	cr_assert_eq(w.events.count, 0);
	cr_assert_eq(timer(120), INT64_MAX);
	cr_assert_eq(w.events.count, 1);
	push_at(BASE + 1 * S, BASE + 130 * S, 1);
	cr_assert_eq(w.events.count, 2, "a late reading is a reading");
	cr_assert(!w.events.list[0].raised && !w.events.list[1].raised);
	cr_assert_eq(timer(131), BASE + 145 * S);
	cr_assert_eq(w.events.count, 0);
	shut_world();
}

Test(alert, silence_longer_than_time)
{
	const struct dp_rule rule = {.kind = DP_RULE_MISSING,
		.field = -1,
		.window = -1,
		.period_ns = INT64_MAX / 2,
		.count = UINT32_MAX};

	open_world(&rule, 1);
	push(1, 1);
	cr_assert_eq(timer(1e6), INT64_MAX);
	cr_assert_eq(w.events.count, 0);
	shut_world();
}

Test(alert, retired_sensor_clears_what_is_open)
{
	const struct dp_rule rules[] = {
		{ABOVE(10), .count = 1}, {BELOW(10), .count = 1}, missing[0]};

	open_world(rules, 3);
	push(1, 20);
	timer(100);
	clear();
	dp_alert_clear_all(&w.alerts, &w.table, w.slot, &w.events);
	cr_assert_eq(w.events.count, 2);
	cr_assert(w.events.list[0].rule == 0 && w.events.list[1].rule == 2);
	cr_assert(isnan(w.events.list[0].value), "nothing was compared");
	cr_assert_eq(dp_table_slot(&w.table, w.slot)->raised, 0);
	shut_world();
}

/* ---- bounds, replay ---- */

/* A rule that can speak on every value and a window that closes with every reading. */
Test(alert, list_holds_the_worst_batch)
{
	const struct dp_rule rules[] = {
		{ABOVE(10), .count = 1}, {BELOW(10), .count = 1}, on_window(DP_STAT_LAST, 10, 1)};

	open_world(rules, 3);
	for (int i = 0; i < DP_BATCH_MAX; i++)
		add_row(BASE + i * 10 * S, BASE + i * 10 * S, i % 2 ? 1 : 20);
	run();
	cr_assert_eq(w.events.count, 2 + 3 * (DP_BATCH_MAX - 1) - 1);
	cr_assert_leq(w.events.count, w.events.max);
	shut_world();
}

static struct dp_rec_alert fact(uint32_t rule_hash, uint8_t raised)
{
	return (struct dp_rec_alert){.rule = 0,
		.raised = raised,
		.rule_hash = rule_hash,
		.cause = {7, 8},
		.raised_ns = 9};
}

Test(alert, replayed_facts_decide_what_is_open)
{
	const struct dp_rule rules[] = {
		{.name = "other", BELOW(-50), .count = 1}, {.name = "hot", ABOVE(10), .count = 2}};
	struct dp_rec_reading r = {.event_ns = BASE + 1 * S};
	float values[FIELDS] = {20, NAN};
	struct dp_rec_alert a;
	const struct dp_alert_state *st;

	open_world(rules, 2);
	st = dp_slot_alerts(&w.table, dp_table_slot(&w.table, w.slot));
	dp_alert_replay_reading(&w.alerts, &w.table, w.slot, &r, values, &w.stream);
	dp_alert_replay_reading(&w.alerts, &w.table, w.slot, &r, values, &w.stream);
	cr_assert_not(is_raised(1), "replay raises nothing by itself");
	a = fact(dp_rule_hash(&w.stream, &w.rules[1]), 1);
	dp_alert_replay_alert(&w.alerts, &w.table, w.slot, &a);
	cr_assert(is_raised(1) && !is_raised(0), "the rule that was meant, wherever it is now");
	cr_assert_eq(st[1].cause[1], 8);
	cr_assert_eq(st[1].raised_ns, 9);
	cr_assert_eq(push(2, 20), '.', "it is open already");
	a = fact(dp_rule_hash(&w.stream, &w.rules[1]) + 1, 0);
	dp_alert_replay_alert(&w.alerts, &w.table, w.slot, &a);
	cr_assert(is_raised(1), "a rule that has changed says nothing of this one");
	a = fact(dp_rule_hash(&w.stream, &w.rules[1]), 0);
	dp_alert_replay_alert(&w.alerts, &w.table, w.slot, &a);
	cr_assert_not(is_raised(1));
	shut_world();
}

Test(alert, stream_without_rules)
{
	open_world(NULL, 0);
	cr_assert_eq(push(1, 1e30f), '.');
	cr_assert_eq(push(20, 1), '.', "a window closes, and no rule asks");
	cr_assert_eq(timer(1e6), INT64_MAX);
	shut_world();
}

/* ---- scores ---- */

static struct dp_model said_by[2] = {
	{.name = "state", .window = -1, .label_at = 0, .label_count = 3},
	{.name = "odd", .window = -1, .label_at = 3, .label_count = 2}};
static struct dp_label said[5] = {{"ok"}, {"worn"}, {"faulty"}, {"no"}, {"yes"}};

#define ON_SCORE(of, class)                                                                        \
	.kind = DP_RULE_ABOVE, .field = -1, .window = -1, .of_score = true, .model = (of),         \
	.label = (class)

/* What the rule compares for a reading of which the models said that. */
static double compared(const struct dp_rule *rule, const struct dp_rec_score scores[2])
{
	struct dp_rule plain = *rule;
	double value;

	plain.threshold = -1; /* everything raises */
	plain.count = 1;
	open_world(&plain, 1);
	w.stream.models = said_by;
	w.stream.labels = said;
	w.stream.model_count = 2;
	w.stream.label_count = 5;
	w.scores = (struct dp_scores){.of_readings = 2, .readings = (struct dp_rec_score *)scores};
	add_row(BASE, BASE, 1);
	run();
	value = w.events.count == 1 ? w.events.list[0].value : NAN;
	w.scores = (struct dp_scores){0};
	shut_world();
	return value;
}

/* A model of two classes tells the probability of the second, one of more that of its own. */
Test(alert, a_class_is_compared_by_its_own_probability)
{
	const struct dp_rule faulty = {ON_SCORE(0, 2)}, ok = {ON_SCORE(0, 0)},
			     no = {ON_SCORE(1, 3)}, yes = {ON_SCORE(1, 4)},
			     second = {ON_SCORE(1, -1)};
	const struct dp_rec_score quiet[2] = {{.model = 0, .class_index = 0, .probability = 0.75f},
		{.model = 1, .class_index = 0, .probability = 0.25f}};
	const struct dp_rec_score loud[2] = {{.model = 0, .class_index = 2, .probability = 0.5f},
		{.model = 1, .class_index = 1, .probability = 0.875f}};
	const struct dp_rec_score none[2] = {
		{.model = 0, .flags = DP_SCORE_NONE, .probability = NAN},
		{.model = 1, .flags = DP_SCORE_NONE, .probability = NAN}};

	cr_expect_eq(compared(&ok, quiet), 0.75);
	cr_expect_eq(compared(&faulty, quiet), 0);
	cr_expect_eq(compared(&no, quiet), 0.75);
	cr_expect_eq(compared(&yes, quiet), 0);
	cr_expect_eq(compared(&second, quiet), 0.25);
	cr_expect_eq(compared(&faulty, loud), 0.5);
	cr_expect_eq(compared(&no, loud), 0);
	cr_expect_eq(compared(&yes, loud), 0.875);
	cr_expect(isnan(compared(&faulty, none)) && isnan(compared(&second, none)));
}

/* An earlier version may have had its classes in another order, or have been of another kind. */
Test(alert, replay_finds_models_and_classes_by_name)
{
	const struct dp_rule rules[] = {
		{.name = "bad", ON_SCORE(0, 2), .threshold = 0.4, .count = 2}};
	struct dp_label then_said[3] = {{"faulty"}, {"ok"}, {"worn"}};
	struct dp_model then_by[2] = {{.name = "odd", .window = -1, .label_count = 0},
		{.name = "state", .window = -1, .label_at = 0, .label_count = 3}};
	struct dp_stream then = {.models = then_by, .labels = then_said, .label_count = 3};
	struct {
		struct dp_rec_reading r;
		float values[FIELDS];
		struct dp_rec_score scores[2];
	} rec = {.r = {.head = {.kind = DP_REC_READING},
			 .event_ns = BASE,
			 .field_count = FIELDS,
			 .score_count = 2},
		.scores = {{.model = 0, .value = 9},
			{.model = 1, .class_index = 2, .probability = 0.9f}}};
	const struct dp_rec_reading *r = (const struct dp_rec_reading *)&rec;
	const struct dp_alert_state *st;

	open_world(rules, 1);
	cr_assert_eq(dp_rec_scores(r), rec.scores);
	w.stream.models = said_by;
	w.stream.labels = said;
	w.stream.model_count = 2;
	w.stream.label_count = 5;
	st = dp_slot_alerts(&w.table, dp_table_slot(&w.table, w.slot));
	dp_alert_replay_reading(&w.alerts, &w.table, w.slot, r, rec.values, &then);
	cr_expect_eq(st->violations, 0, "number 2 was worn then");
	rec.scores[1].class_index = 0;
	dp_alert_replay_reading(&w.alerts, &w.table, w.slot, r, rec.values, &then);
	cr_expect_eq(st->violations, 1);
	then_by[1].label_count = 0;
	dp_alert_replay_reading(&w.alerts, &w.table, w.slot, r, rec.values, &then);
	cr_expect_eq(st->violations, 1, "a regression then says nothing of classes");
	shut_world();
}
