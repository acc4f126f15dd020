/*
 * Models bound to a stream, and the stage that runs them.  The models are sums of their inputs, so
 * that a score is what was put in.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/score/score.h"
#include "tests/unit/linear_model.h"

#define S    DP_NS_PER_S
#define BASE (1699999200 * S) /* 14 November 2023, a Tuesday, 22:00:00 UTC */

enum { FIELDS = 2, WINDOWS = 2, MODELS = 3, SENSORS = 4 };

/* Fields x and y; windows of 30 s by 10 s with everything, of 1 min with its count. */
struct world {
	struct dp_field fields[FIELDS];
	struct dp_window_def windows[WINDOWS];
	struct dp_model models[MODELS];
	struct dp_stream stream;
	struct linear_model linear[MODELS];
	const struct mdl_bundle *bundles[MODELS];
	struct dp_plan *plan;
	struct dp_arena arena;
	struct dp_table table;
	struct dp_windows w;
	struct dp_closes closes;
	struct dp_scorer scorer;
	struct dp_batch batch;
	struct dp_counters counters;
	struct dp_plan_why why;
};

static struct world w;

static void add_model(const char *name, enum mdl_task task, const char *const *expressions)
{
	uint16_t i = w.stream.model_count++;

	linear_model_init(&w.linear[i], name, task, expressions, 10 * S);
	w.bundles[i] = &w.linear[i].bundle;
	w.models[i] = (struct dp_model){.window = -1};
	strcpy(w.models[i].name, name);
}

static void make_stream(void)
{
	memset(&w, 0, sizeof(w));
	strcpy(w.fields[0].name, "x");
	strcpy(w.fields[1].name, "y");
	w.windows[0] = (struct dp_window_def){"30s/10s", 30 * S, 10 * S, DP_STAT_COUNT, 0};
	w.windows[1] = (struct dp_window_def){
		"1m", 60 * S, 60 * S, DP_STAT_COUNT | DP_STAT_MEAN | DP_STAT_MAX, 0};
	w.stream = (struct dp_stream){.name = "test",
		.field_count = FIELDS,
		.window_count = WINDOWS,
		.max_skew_ns = 60 * S,
		.fields = w.fields,
		.windows = w.windows,
		.models = w.models};
}

static int bind(void)
{
	return dp_plan_new(&w.stream, w.bundles, &w.plan, &w.why);
}

/* What control/config does with a plan; then the stages. */
static void open_stages(void)
{
	struct dp_table_config c = {.stream = &w.stream, .slots_max = SENSORS};

	cr_assert_eq(bind(), 0, "%s", w.why.list[0].text);
	w.stream.derived = w.plan->derived;
	w.stream.derived_count = (uint16_t)w.plan->derived_count;
	for (int i = 0; i < WINDOWS; i++)
		w.windows[i].kept = w.plan->kept[i];
	c.window_bytes = dp_window_slot_bytes(&w.stream);
	c.score_bytes = dp_score_slot_bytes(&w.stream);
	cr_assert_eq(dp_arena_init(&w.arena, dp_table_bytes(&c) + dp_windows_bytes(&w.stream) +
						     dp_closes_bytes(&w.stream) +
						     dp_batch_bytes(&w.stream) +
						     dp_scorer_bytes(w.plan)),
		0);
	cr_assert_eq(dp_table_init(&w.table, &c, &w.arena, 0), 0);
	cr_assert_eq(dp_windows_init(&w.w, &w.stream, &w.counters, &w.arena), 0);
	cr_assert_eq(dp_closes_init(&w.closes, &w.stream, &w.arena), 0);
	cr_assert_eq(dp_scorer_init(&w.scorer, w.plan, &w.arena), 0);
	w.w.probes = dp_score_probes(&w.scorer);
	cr_assert_eq(dp_batch_init(&w.batch, &w.stream, &w.arena), 0);
}

static void shut(void)
{
	dp_plan_free(w.plan);
	dp_arena_fini(&w.arena);
}

static uint32_t add_sensor(const char *name)
{
	struct dp_sensor_id id = {.len = (uint8_t)strlen(name)};
	uint32_t slot;

	memcpy(id.bytes, name, id.len);
	slot = dp_table_add(&w.table, &id, dp_table_hash(&w.table, &id));
	dp_window_slot_init(&w.w, &w.table, dp_table_slot(&w.table, slot));
	dp_score_slot_init(&w.table, dp_table_slot(&w.table, slot));
	return slot;
}

static void add_row(uint32_t slot, int64_t event_ns, float x, float y)
{
	uint32_t row = w.batch.count++;

	w.batch.slot[row] = slot;
	w.batch.event_ns[row] = w.batch.arrival_ns[row] = event_ns;
	w.batch.flags[row] = 0;
	dp_batch_row_values(&w.batch, row)[0] = x;
	dp_batch_row_values(&w.batch, row)[1] = y;
}

static void push(void)
{
	w.closes.count = w.closes.stats_used = 0;
	dp_window_push(&w.w, &w.table, &w.batch, &w.closes);
	dp_score_push(&w.scorer, &w.table, &w.batch, &w.closes);
	w.batch.count = 0;
}

static float score(uint32_t row, uint32_t model)
{
	return dp_scores_of_reading(&w.scorer.scores, row)[model].value;
}

/* ---- binding ---- */

Test(scorer, what_models_share_is_computed_once)
{
	make_stream();
	add_model("a", MDL_REGRESSION,
		(const char *[]){"x", "mean(x,30s)", "delta(y)", "hour()", NULL});
	add_model("b", MDL_REGRESSION,
		(const char *[]){"mean(x,30s)", "slope(x,30s)", "hour()", "delta(y)", NULL});
	cr_assert_eq(bind(), 0, "%s", w.why.list[0].text);
	cr_expect_eq(w.plan->derived_count, 3);
	cr_expect_eq(w.plan->probe_count, 2);
	cr_expect_eq(w.plan->delta_count, 1);
	cr_expect_eq(w.plan->computed_count, 1);
	cr_expect_eq(w.plan->width, FIELDS + 4);
	cr_expect_eq(w.plan->kept[0], DP_STAT_MEAN);
	cr_expect_str_eq(w.plan->derived[1].text, "delta(y)");
	dp_plan_free(w.plan);
}

/* A model must not start with half its inputs, or with others than it was trained on. */
Test(scorer, what_the_stream_cannot_provide_is_refused_by_name)
{
	static const struct {
		const char *expression;
		const char *says;
	} bad[] = {
		{"z", "model a, input z: stream test has no field \"z\""},
		{"ratio(x,z)", "model a, input ratio(x,z): stream test has no field \"z\""},
		{"mean(x,5m)", "model a, input mean(x,5m): stream test has no window of 300 s that "
			       "slides by 10 s"},
		{"max(x,1m)", "model a, input max(x,1m): stream test has no window of 60 s that "
			      "slides by 10 s"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_stream();
		add_model("a", MDL_REGRESSION, (const char *[]){"x", bad[i].expression, NULL});
		cr_assert_eq(bind(), -EINVAL);
		cr_expect_str_eq(w.why.list[0].text, bad[i].says);
		cr_expect_null(w.plan);
	}
}

/* Who mends a config is to see all at once; a model with 256 wrong ones may not fill the screen. */
Test(scorer, all_that_does_not_fit_is_told)
{
	const char *many[LINEAR_INPUTS_MAX + 1] = {
		"z", "mean(x,5m)", "x", "slope(y,30s)", "hour()"};
	char names[LINEAR_INPUTS_MAX][4];

	make_stream();
	add_model("a", MDL_REGRESSION, many);
	add_model("b", MDL_REGRESSION, (const char *[]){"y", NULL});
	w.linear[1].bundle.rows = MDL_WINDOWS;
	add_model("c", MDL_REGRESSION, (const char *[]){"delta(u)", NULL});
	cr_assert_eq(bind(), -EINVAL);
	cr_assert_eq(w.why.count, 4);
	cr_expect_eq(w.why.left_out, 0);
	cr_expect(strstr(w.why.list[0].text, "model a, input z:"));
	cr_expect(strstr(w.why.list[1].text, "model a, input mean(x,5m):"));
	cr_expect(strstr(w.why.list[2].text, "model b: was trained"));
	cr_expect(strstr(w.why.list[3].text, "model c, input delta(u):"));
	cr_expect_eq(w.why.list[3].model, 2);
	for (int i = 0; i < LINEAR_INPUTS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "q%d", i);
		many[i] = names[i];
	}
	make_stream();
	add_model("a", MDL_REGRESSION, many);
	add_model("b", MDL_REGRESSION, many);
	cr_assert_eq(bind(), -EINVAL);
	cr_expect_eq(w.why.count, DP_PLAN_WHYS_MAX);
	cr_expect_eq(w.why.left_out, 2 * LINEAR_INPUTS_MAX - DP_PLAN_WHYS_MAX);
}

enum { WIDE_FIELDS = 40, WIDE_INPUTS = 160 };

/* Windows' statistics of many fields: input number n of WIDE_FIELDS * 8. */
static void make_wide_input(struct mdl_input *in, uint32_t n)
{
	static const char *const of[] = {
		"mean", "std", "min", "max", "last", "count", "zscore", "slope"};

	snprintf(in->expression, sizeof(in->expression), "%s(f%u,30s)", of[n % 8], n / 8);
	cr_assert_eq(mdl_expression_parse(in->expression, &in->parsed), 0);
	in->size_ns = 30 * S;
	in->slide_ns = 10 * S;
	in->missing = MDL_MISSING_REFUSED;
}

/* Who takes out the one model that was named would be told of the next only then. */
Test(scorer, too_many_inputs_are_told_once_for_each_model)
{
	static const uint32_t first[MODELS] = {0, WIDE_INPUTS, WIDE_INPUTS};
	static struct mdl_input inputs[MODELS][WIDE_INPUTS];
	static struct dp_field fields[WIDE_FIELDS];

	make_stream();
	for (uint32_t i = 0; i < WIDE_FIELDS; i++)
		snprintf(fields[i].name, sizeof(fields[i].name), "f%u", i);
	w.stream.fields = fields;
	w.stream.field_count = WIDE_FIELDS;
	for (uint32_t m = 0; m < MODELS; m++) {
		add_model(
			(const char *[]){"a", "b", "c"}[m], MDL_REGRESSION, (const char *[]){NULL});
		for (uint32_t i = 0; i < WIDE_INPUTS; i++)
			make_wide_input(&inputs[m][i], first[m] + i);
		w.linear[m].bundle.inputs = inputs[m];
		w.linear[m].bundle.input_count = WIDE_INPUTS;
	}
	cr_assert_eq(bind(), -EINVAL);
	cr_assert_eq(w.why.count, 2);
	cr_expect_eq(w.why.left_out, 0);
	for (uint32_t i = 0; i < 2; i++) {
		cr_expect_eq(w.why.list[i].model, 1 + i);
		cr_expect(strstr(w.why.list[i].text, "too many inputs"), "%s", w.why.list[i].text);
	}
}

Test(scorer, models_of_windows_take_only_what_their_window_keeps)
{
	static const struct {
		const char *expression;
		const char *says;
	} bad[] = {
		{"x", "model a, input x: a model of closed windows takes statistics of that window "
		      "only"},
		{"min(x,1m)", "model a, input min(x,1m): the window's `stats` leave it out"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_stream();
		add_model("a", MDL_REGRESSION, (const char *[]){bad[i].expression, NULL});
		w.linear[0].bundle.rows = MDL_WINDOWS;
		w.linear[0].inputs[0].slide_ns *= 6;
		w.models[0].window = 1;
		cr_assert_eq(bind(), -EINVAL);
		cr_expect_str_eq(w.why.list[0].text, bad[i].says);
	}
	w.models[0].window = -1;
	cr_assert_eq(bind(), -EINVAL);
	cr_expect_str_eq(
		w.why.list[0].text, "model a: was trained on closed windows, not on readings");
}

/* ---- scoring ---- */

/* Each row sees the sensor as it was then, whatever came behind it in the same batch. */
Test(scorer, inputs_are_those_of_the_moment)
{
	uint32_t a, b;

	make_stream();
	add_model("mean", MDL_REGRESSION, (const char *[]){"mean(x,30s)", NULL});
	add_model("delta", MDL_REGRESSION, (const char *[]){"delta(x)", NULL});
	add_model(
		"own", MDL_REGRESSION, (const char *[]){"ratio(x,y)", "hour()", "weekday()", NULL});
	open_stages();
	a = add_sensor("a");
	b = add_sensor("b");
	add_row(a, BASE, 10, 4);
	add_row(b, BASE, 100, 1);
	add_row(a, BASE + 15 * S, 20, 4);
	add_row(a, BASE + 40 * S, 60, 4);
	push();
	cr_expect_eq(score(0, 0), 10);
	cr_expect_eq(score(1, 0), 100);
	cr_expect_eq(score(2, 0), 15);
	cr_expect_eq(score(3, 0), 60, "the panes of 0 and 10 s are more than 30 s back");
	cr_expect(isnan(score(0, 1)) && isnan(score(1, 1)), "there is no reading before");
	cr_expect_eq(score(2, 1), 10);
	cr_expect_eq(score(3, 1), 40);
	cr_expect_eq(score(0, 2), 2.5f + 22 + 1);
	add_row(a, BASE + 26 * 3600 * S, 1, 2);
	add_row(b, -S, 1, 2);
	push();
	cr_expect_eq(score(0, 1), -59, "also from one batch to the next");
	cr_expect_eq(score(0, 2), 0.5f + 0 + 3);
	cr_expect_eq(score(1, 2), 0.5f + 23 + 2, "a Wednesday, 31 December 1969");
	shut();
}

/* A model that lacks an input says so; the others, and the reading, are not touched by it. */
Test(scorer, a_missing_input_is_a_flag_and_nothing_else)
{
	uint32_t a;
	const struct dp_rec_score *of;

	make_stream();
	add_model("needs", MDL_BINARY, (const char *[]){"x", "y", NULL});
	add_model("spares", MDL_BINARY, (const char *[]){"y", NULL});
	open_stages();
	a = add_sensor("a");
	add_row(a, BASE, NAN, 3);
	add_row(a, BASE + S, INFINITY, -3);
	add_row(a, BASE + 2 * S, 1, 3);
	push();
	for (uint32_t row = 0; row < 2; row++) {
		of = dp_scores_of_reading(&w.scorer.scores, row);
		cr_expect(of[0].flags == DP_SCORE_NONE && isnan(of[0].value) &&
			  isnan(of[0].probability));
		cr_expect_eq(of[0].version, 7);
		cr_expect_eq(of[1].flags, 0);
		cr_expect_eq(of[1].class_index, row == 0);
	}
	of = dp_scores_of_reading(&w.scorer.scores, 2);
	cr_expect_eq(of[0].flags, 0);
	cr_expect_eq(of[0].class_index, 1);
	cr_expect_float_eq(of[0].probability, 1 / (1 + exp(-4)), 1e-6);
	cr_expect_eq(atomic_load(&w.scorer.stats[0].rows), 3);
	cr_expect_eq(atomic_load(&w.scorer.stats[0].missing), 2);
	cr_expect_eq(atomic_load(&w.scorer.stats[1].missing), 0);
	shut();
}

Test(scorer, a_window_is_scored_by_what_it_closed_with)
{
	uint32_t a;
	const struct dp_rec_score *of;

	make_stream();
	add_model("reading", MDL_REGRESSION, (const char *[]){"x", NULL});
	add_model("window", MDL_REGRESSION,
		(const char *[]){"mean(x,1m)", "count(y,1m)", "hour()", NULL});
	w.linear[1].bundle.rows = MDL_WINDOWS;
	for (int i = 0; i < 2; i++)
		w.linear[1].inputs[i].slide_ns = 60 * S;
	w.models[1].window = 1;
	open_stages();
	a = add_sensor("a");
	add_row(a, BASE, 10, NAN);
	add_row(a, BASE + S, 20, 1);
	add_row(a, BASE + 61 * S, 0, 0);
	push();
	cr_assert_eq(w.scorer.scores.of_window[0], 0);
	cr_assert_eq(w.scorer.scores.of_window[1], 1);
	for (uint32_t i = 0; i < w.closes.count; i++) {
		if (w.closes.list[i].window != 1)
			continue;
		of = dp_scores_of_close(&w.scorer.scores, i);
		cr_expect_eq(of->model, 1);
		cr_expect_eq(of->value, 15 + 1 + 22);
	}
	cr_expect_eq(atomic_load(&w.scorer.stats[1].rows), 1);
	shut();
}

/* Windows may be alike but for their names and statistics: each model has that which it names. */
Test(scorer, of_windows_alike_a_model_has_its_own)
{
	uint32_t a;

	make_stream();
	w.windows[1] =
		(struct dp_window_def){"again", 30 * S, 10 * S, DP_STAT_COUNT | DP_STAT_MEAN, 0};
	add_model("reading", MDL_REGRESSION, (const char *[]){"mean(x,30s)", NULL});
	add_model("window", MDL_REGRESSION, (const char *[]){"mean(x,30s)", "count(y,30s)", NULL});
	w.linear[1].bundle.rows = MDL_WINDOWS;
	w.models[1].window = 1;
	open_stages();
	a = add_sensor("a");
	add_row(a, BASE, 10, 1);
	add_row(a, BASE + S, 20, 1);
	add_row(a, BASE + 31 * S, 50, 1);
	push();
	cr_expect_eq(score(1, 0), 15);
	cr_assert_eq(w.scorer.scores.of_window[1], 1);
	cr_expect_eq(atomic_load(&w.scorer.stats[1].rows), 3, "windows that end at 10, 20 and 30");
	for (uint32_t i = 0; i < w.closes.count; i++) {
		if (w.closes.list[i].window == 1)
			cr_expect_eq(dp_scores_of_close(&w.scorer.scores, i)->value, 15 + 2);
	}
	shut();
}

/* ---- replay ---- */

Test(scorer, replay_brings_the_values_before_back)
{
	struct dp_rec_reading r = {.event_ns = BASE};
	float values[FIELDS] = {5, 6};
	uint32_t a;

	make_stream();
	add_model("delta", MDL_REGRESSION, (const char *[]){"delta(y)", NULL});
	open_stages();
	a = add_sensor("a");
	dp_score_replay_reading(&w.table, a, &r, values);
	add_row(a, BASE + S, 0, 10);
	push();
	cr_expect_eq(score(0, 0), 4);
	r.flags = DP_ROW_NEW_LIFE;
	dp_score_replay_reading(&w.table, a, &r, values);
	add_row(a, BASE + S, 0, 7);
	push();
	cr_expect_eq(score(0, 0), 1, "the reading that began the life is one before, too");
	shut();
}
