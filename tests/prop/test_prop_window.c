/*
 * Random streams of a few sensors: what window lists equals what a naive list of readings yields;
 * and after a restart at any record, replayed, everything that follows is the same bit for bit.
 * What would break: a window closes twice, never, too early, or with a reading too many; an alert
 * is raised again after a restart.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/alert/alert.h"
#include "dataplane/journal/schema.h"
#include "tests/prop/window_reference.h"
#include "tests/prop/window_streams.h"

enum { SEEDS = 600, REPLAY_SEEDS = 120 };

/* Everything that a worker has for the stream. */
struct state {
	struct dp_arena arena;
	struct dp_table table;
	struct dp_windows windows;
	struct dp_alerts alerts;
	struct dp_closes closes;
	struct dp_alert_events events;
	struct dp_batch batch;
	uint32_t slots[SENSORS];
	float probed[DP_BATCH_MAX][PROBES];
};

/* ---- the stages ---- */

static void state_init(struct state *st, struct world *w)
{
	struct dp_table_config c = {.stream = &w->stream,
		.slots_max = SENSORS,
		.window_bytes = dp_window_slot_bytes(&w->stream),
		.alert_bytes = dp_alert_slot_bytes(&w->stream)};
	size_t bytes = dp_table_bytes(&c) + dp_batch_bytes(&w->stream) +
		       dp_windows_bytes(&w->stream) + dp_closes_bytes(&w->stream) +
		       dp_alert_events_bytes(&w->stream) + 4096;

	cr_assert_eq(dp_arena_init(&st->arena, bytes), 0);
	cr_assert_eq(dp_table_init(&st->table, &c, &st->arena, 0), 0);
	cr_assert_eq(dp_windows_init(&st->windows, &w->stream, &w->counters, &st->arena), 0);
	st->windows.probes = (struct dp_probes){.count = w->probe_count,
		.stride = PROBES,
		.list = w->probes,
		.out = &st->probed[0][0]};
	cr_assert_eq(dp_closes_init(&st->closes, &w->stream, &st->arena), 0);
	cr_assert_eq(dp_alerts_init(&st->alerts, &w->stream), 0);
	cr_assert_eq(dp_alert_events_init(&st->events, &w->stream, &st->arena), 0);
	cr_assert_eq(dp_batch_init(&st->batch, &w->stream, &st->arena), 0);
	for (uint32_t i = 0; i < SENSORS; i++)
		st->slots[i] = DP_SLOT_NONE;
}

/* The sensor's slot; *fresh when this made it. */
static uint32_t slot_of(struct state *st, uint32_t sensor, bool *fresh)
{
	struct dp_sensor_id id = {.len = 1, .bytes = {(char)('a' + sensor)}};

	*fresh = st->slots[sensor] == DP_SLOT_NONE;
	if (*fresh) {
		uint32_t slot = dp_table_add(&st->table, &id, dp_table_hash(&st->table, &id));

		cr_assert_neq(slot, DP_SLOT_NONE);
		dp_window_slot_init(&st->windows, &st->table, dp_table_slot(&st->table, slot));
		dp_alert_slot_init(&st->alerts, &st->table, dp_table_slot(&st->table, slot));
		st->slots[sensor] = slot;
	}
	return st->slots[sensor];
}

static void keep_close(struct step *s, const struct state *st, const struct dp_close *c)
{
	const struct dp_window_def *d = &st->table.stream->windows[c->window];
	uint32_t n = (uint32_t)__builtin_popcount(d->stats) * st->table.stream->field_count;

	cr_assert(s->close_count < STEP_CLOSES && s->word_count + n <= STEP_WORDS);
	s->closes[s->close_count] = *c;
	s->closes[s->close_count].row = 0;
	s->closes[s->close_count++].stats_at = s->word_count;
	memcpy(s->words + s->word_count, st->closes.stats + c->stats_at, n * sizeof(uint32_t));
	s->word_count += n;
}

/* Sorts what the batch brought by step; steps[i] is row i. */
static void keep(struct state *st, struct step *steps, uint32_t rows)
{
	uint32_t row = 0, closes_before = 0;

	for (uint32_t i = 0; i < st->closes.count; i++) {
		cr_assert_lt(st->closes.list[i].row, rows);
		keep_close(&steps[st->closes.list[i].row], st, &st->closes.list[i]);
	}
	for (uint32_t i = 0; i < st->events.count; i++) {
		struct dp_alert_event e = st->events.list[i];
		uint32_t of = e.by_close ? st->closes.list[e.row].row : e.row;
		struct step *s = &steps[of];

		cr_assert_geq(of, row, "events are in the order of the rows");
		for (; row < of; row++)
			closes_before += steps[row].close_count;
		e.row = e.by_close ? e.row - closes_before : 0;
		cr_assert(!e.by_close || !s->event_count || s->events[s->event_count - 1].by_close,
			"alerts of windows come before those of the reading");
		cr_assert_lt(s->event_count, STEP_EVENTS);
		memset(&s->events[s->event_count], 0, sizeof(e));
		s->events[s->event_count++] = e;
	}
	st->closes.count = st->closes.stats_used = st->events.count = 0;
}

static void touch(struct state *st, const struct step *s)
{
	struct dp_slot *slot = dp_table_slot(&st->table, st->slots[s->sensor]);

	slot->last_arrival_ns = slot->last_steady_ns = s->arrival_ns;
}

static const struct dp_scores no_scores;

static void run_timer(struct state *st, struct step *s)
{
	uint32_t slot = st->slots[s->sensor];
	bool open;

	if (slot == DP_SLOT_NONE)
		return;
	open = dp_window_open(&st->windows, &st->table, slot);
	dp_window_close_all(&st->windows, &st->table, slot, DP_CLOSE_IDLE, &st->closes);
	cr_assert_eq(open, st->closes.count > 0);
	dp_alert_closes(&st->alerts, &st->table, &st->closes, &no_scores, &st->events);
	dp_alert_timer(&st->alerts, &st->table, slot, s->arrival_ns, &st->events);
	keep(st, s, 1);
}

static void run_readings(struct state *st, struct step *steps, uint32_t n)
{
	struct dp_batch *b = &st->batch;

	for (uint32_t i = 0; i < n; i++) {
		bool fresh;

		b->slot[i] = slot_of(st, steps[i].sensor, &fresh);
		b->event_ns[i] = steps[i].event_ns;
		b->arrival_ns[i] = steps[i].arrival_ns;
		b->flags[i] = fresh ? DP_ROW_NEW_LIFE : 0;
		memcpy(dp_batch_row_values(b, i), steps[i].values,
			b->stream->field_count * sizeof(float));
	}
	b->count = n;
	dp_window_push(&st->windows, &st->table, b, &st->closes);
	dp_alert_push(&st->alerts, &st->table, b, &st->closes, &no_scores, &st->events);
	for (uint32_t i = 0; i < n; i++) {
		steps[i].flags = b->flags[i];
		for (uint32_t k = 0; k < st->windows.probes.count; k++)
			steps[i].probed[k] = st->probed[i][k];
		touch(st, &steps[i]);
	}
	keep(st, steps, n);
	b->count = 0;
}

/* All steps from `from` on, readings between timers in batches of at most `batch_max`. */
static void run(struct state *st, struct step *steps, uint32_t from, uint32_t batch_max)
{
	for (uint32_t i = from; i < STEPS;) {
		uint32_t n = 0, most = (uint32_t)(1 + random_below(batch_max));

		if (steps[i].timer) {
			run_timer(st, &steps[i++]);
			continue;
		}
		while (i + n < STEPS && n < most && !steps[i + n].timer)
			n++;
		run_readings(st, steps + i, n);
		i += n;
	}
}

/* What the log holds of a step, applied as replay.c does. */
static void replay(struct state *st, const struct world *w, const struct step *s)
{
	bool fresh;
	uint32_t slot;
	struct dp_rec_reading r = {
		.event_ns = s->event_ns, .arrival_ns = s->arrival_ns, .flags = s->flags};

	if (s->timer && st->slots[s->sensor] == DP_SLOT_NONE)
		return;
	slot = slot_of(st, s->sensor, &fresh);
	for (uint32_t i = 0; i < s->close_count; i++) {
		const struct dp_close *c = &s->closes[i];
		struct dp_rec_window rec = {.start_ns = c->start_ns,
			.end_ns = c->end_ns,
			.count = c->count,
			.window = c->window,
			.reason = c->reason,
			.stats = (uint16_t)w->windows[c->window].stats};

		dp_window_replay_close(&st->windows, &st->table, slot, &rec);
		dp_alert_replay_window(&st->alerts, &st->table, slot, &rec, s->words + c->stats_at,
			st->windows.stream);
	}
	if (!s->timer) {
		dp_window_replay_reading(&st->windows, &st->table, slot, &r, s->values);
		dp_alert_replay_reading(
			&st->alerts, &st->table, slot, &r, s->values, st->windows.stream);
		touch(st, s);
	}
	for (uint32_t i = 0; i < s->event_count; i++) {
		struct dp_rec_alert rec = {.rule = s->events[i].rule,
			.raised = s->events[i].raised,
			.rule_hash = dp_rule_hash(&w->stream, &w->rules[s->events[i].rule])};

		dp_alert_replay_alert(&st->alerts, &st->table, slot, &rec);
	}
}

/* ---- against the reference ---- */

static bool near(double got, double want, double magnitude)
{
	if (isnan(want))
		return isnan(got);
	return fabs(got - want) <= 1e-6 * fabs(want) + 1e-13 * magnitude;
}

static void check_stats(const struct step *s, const struct dp_close *c,
	const struct ref_close *want, const struct world *w, uint64_t seed)
{
	const uint32_t *word = s->words + c->stats_at;

	for (uint16_t f = 0; f < w->stream.field_count; f++) {
		for (uint32_t bit = 0; bit < REF_STATS; bit++) {
			bool exact = bit != 1 && bit != 2;
			double expected = want->stats[f][bit];
			float got;

			if (!(w->windows[c->window].stats >> bit & 1))
				continue;
			memcpy(&got, word, sizeof(got));
			if (bit == 0)
				got = (float)*word;
			word++;
			cr_assert(exact ? (double)got == expected || (isnan(got) && isnan(expected))
					: near((double)got, expected, want->magnitude[f]),
				"seed %llu: window %u, field %u, stat %u is %.9g, should be %.9g",
				(unsigned long long)seed, c->window, f, bit, (double)got, expected);
		}
	}
}

static void check_step(const struct step *s, uint32_t at, const struct ref_closes *want,
	const struct world *w, uint64_t seed)
{
	unsigned long long n = seed;

	cr_assert_eq(s->close_count, want->count, "seed %llu, step %u: %u windows, should be %u", n,
		at, s->close_count, want->count);
	for (uint32_t i = 0; i < want->count; i++) {
		const struct dp_close *c = &s->closes[i];
		const struct ref_close *r = &want->list[i];

		cr_assert(c->window == r->window && c->start_ns == r->start_ns &&
				  c->end_ns == r->end_ns && c->count == r->count &&
				  c->reason == r->reason,
			"seed %llu, step %u: window %u [%lld, %lld) of %u for %u, should be "
			"%u [%lld, %lld) of %u for %u",
			n, at, c->window, (long long)c->start_ns, (long long)c->end_ns, c->count,
			c->reason, r->window, (long long)r->start_ns, (long long)r->end_ns,
			r->count, r->reason);
		check_stats(s, c, r, w, seed);
	}
}

static double wanted(const struct dp_expr *e, const struct ref_probe *p, float value)
{
	switch (e->op) {
	case DP_EXPR_SLOPE:
		return p->slope;
	case DP_EXPR_ZSCORE:
		if (!(p->stats[0] > 1) || !isfinite(value))
			return NAN;
		return p->stats[2] > 0 ? ((double)value - p->stats[1]) / p->stats[2] : 0;
	default:
		return p->stats[__builtin_ctz(e->stat)];
	}
}

static void check_probes(
	const struct step *s, const struct ref_sensor *r, const struct world *w, uint64_t seed)
{
	for (uint32_t i = 0; i < w->probe_count; i++) {
		const struct dp_probe *p = &w->probes[i];
		float got = s->probed[p->to];
		struct ref_probe found;
		double want, span;

		ref_probe(r, p->expr.window, p->expr.field, &found);
		want = wanted(&p->expr, &found, s->values[p->expr.field]);
		/* what the rounding of means comes to in this unit */
		span = p->expr.op == DP_EXPR_SLOPE
			       ? 1e9 / (double)w->windows[p->expr.window].slide_ns
		       : p->expr.op == DP_EXPR_ZSCORE
			       ? 1e3 / (found.stats[2] > 0 ? found.stats[2] : 1)
			       : 1;
		cr_assert(near((double)got, want, found.magnitude * span),
			"seed %llu: probe %d, stat %u, window %u, field %u is %.9g, should be %.9g",
			(unsigned long long)seed, p->expr.op, p->expr.stat, p->expr.window,
			p->expr.field, (double)got, want);
	}
}

static void check_reference(const struct step *steps, const struct world *w, uint64_t seed)
{
	struct ref_sensor *sensors[SENSORS];
	struct ref_closes *want = calloc(1, sizeof(*want));

	for (int i = 0; i < SENSORS; i++)
		sensors[i] = ref_new(&w->stream);
	for (uint32_t i = 0; i < STEPS; i++) {
		const struct step *s = &steps[i];
		uint16_t flags = 0;

		want->count = 0;
		if (s->timer)
			ref_idle(sensors[s->sensor], want);
		else
			flags = ref_reading(
				sensors[s->sensor], s->event_ns, s->arrival_ns, s->values, want);
		cr_assert_eq(s->flags & ~DP_ROW_NEW_LIFE, flags,
			"seed %llu, step %u: flags %x, "
			"should be %x",
			(unsigned long long)seed, i, s->flags, flags);
		check_step(s, i, want, w, seed);
		if (!s->timer)
			check_probes(s, sensors[s->sensor], w, seed);
	}
	for (int i = 0; i < SENSORS; i++)
		ref_free(sensors[i]);
	free(want);
}

Test(prop_window, equals_a_list_of_readings)
{
	struct step *steps = calloc(STEPS, sizeof(*steps));
	struct world w;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct state st;

		random_seed(seed);
		memset(steps, 0, STEPS * sizeof(*steps));
		random_world(&w);
		random_steps(&w, steps);
		state_init(&st, &w);
		run(&st, steps, 0, DP_BATCH_FLUSH);
		check_reference(steps, &w, seed);
		dp_arena_fini(&st.arena);
	}
	free(steps);
}

/* ---- replay ---- */

static void check_same(
	const struct step *live, const struct step *after, uint32_t cut, uint32_t at, uint64_t seed)
{
	bool same = live->flags == after->flags && live->close_count == after->close_count &&
		    live->word_count == after->word_count &&
		    live->event_count == after->event_count &&
		    memcmp(live->words, after->words, live->word_count * sizeof(uint32_t)) == 0 &&
		    memcmp(live->probed, after->probed, sizeof(live->probed)) == 0;

	for (uint32_t i = 0; same && i < live->close_count; i++) {
		const struct dp_close *a = &live->closes[i], *b = &after->closes[i];

		same = a->count == b->count && a->start_ns == b->start_ns &&
		       a->end_ns == b->end_ns && a->window == b->window && a->reason == b->reason;
	}
	for (uint32_t i = 0; same && i < live->event_count; i++) {
		const struct dp_alert_event *a = &live->events[i], *b = &after->events[i];

		same = a->row == b->row && a->by_close == b->by_close && a->rule == b->rule &&
		       a->raised == b->raised && a->event_ns == b->event_ns &&
		       memcmp(&a->value, &b->value, sizeof(a->value)) == 0;
	}
	cr_assert(same, "seed %llu: restarted before step %u, step %u brings something else",
		(unsigned long long)seed, cut, at);
}

Test(prop_window, restart_at_any_record_changes_nothing)
{
	struct step *steps = calloc(STEPS, sizeof(*steps));
	struct step *after = calloc(STEPS, sizeof(*after));
	uint64_t events = 0, resets = 0;
	struct world w;

	for (uint64_t seed = 1; seed <= REPLAY_SEEDS; seed++) {
		struct state st;

		random_seed(1000000 + seed);
		memset(steps, 0, STEPS * sizeof(*steps));
		random_world(&w);
		random_steps(&w, steps);
		state_init(&st, &w);
		run(&st, steps, 0, DP_BATCH_FLUSH);
		dp_arena_fini(&st.arena);
		memcpy(after, steps, STEPS * sizeof(*steps));
		for (uint32_t cut = 0; cut <= STEPS; cut++) {
			state_init(&st, &w);
			for (uint32_t i = 0; i < cut; i++)
				replay(&st, &w, &steps[i]);
			for (uint32_t i = cut; i < STEPS; i++) {
				after[i].flags = 0;
				after[i].close_count = after[i].word_count = 0;
				after[i].event_count = 0;
				memset(after[i].probed, 0, sizeof(after[i].probed));
			}
			run(&st, after, cut, 4);
			for (uint32_t i = cut; i < STEPS; i++)
				check_same(&steps[i], &after[i], cut, i, seed);
			dp_arena_fini(&st.arena);
		}
		for (uint32_t i = 0; i < STEPS; i++) {
			events += steps[i].event_count;
			resets += (steps[i].flags & DP_ROW_CLOCK_RESET) != 0;
		}
	}
	cr_assert(events > 1000 && resets > 10, "the streams must try what replay could break");
	free(steps);
	free(after);
}
