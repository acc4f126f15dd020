/*
 * Alert: between window and log.  Owns a slot's rule states and its `raised` bits; cause and
 * raised_ns of a state are filled by log.  docs/alerts.md says what each rule means.
 *
 * The run of violations goes on whether or not the alert is open, so that it is a function of the
 * values alone; replay counts runs and takes raises and clears from the records.
 */
#include "dataplane/alert/alert.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "dataplane/journal/schema.h"

/* One value for one rule. */
struct sample {
	double value;
	int64_t event_ns;
	bool timed; /* false: the event time is not to be relied on */
};

/* Scores of a reading or a close, and the stream whose models they name. */
struct scored {
	const struct dp_rec_score *list;
	uint32_t count;
	const struct dp_stream *then;
};

/* What rules see of a reading. */
struct reading {
	int64_t event_ns;
	const float *values;
	struct scored scored;
	uint16_t flags;
};

/* Of a window that closed, with the statistics that `stats` names. */
struct closed {
	int64_t end_ns;
	const uint32_t *words;
	struct scored scored;
	uint32_t stats;
	uint8_t window;
};

/* Where events go; out NULL: replay. */
struct target {
	struct dp_slot *s;
	struct dp_alert_event event; /* row, slot, by_close are filled */
	struct dp_alert_events *out;
};

static inline struct dp_alert_state *states_of(const struct dp_table *t, struct dp_slot *s)
{
	return dp_slot_alerts(t, s);
}

/* ---- sizes ---- */

size_t dp_alert_slot_bytes(const struct dp_stream *s)
{
	return s->rule_count * sizeof(struct dp_alert_state);
}

/*
 * Most events of a batch.  A rule says at most one thing about a value: a reading brings each rule
 * on a field one event, each missing-data rule one (it clears), each window rule one a window
 * closed. A timer brings less: the closes of one reading, and each rule once more, raised or
 * cleared.
 */
static size_t events_max(const struct dp_stream *s)
{
	size_t of_reading = 0;

	for (uint16_t i = 0; i < s->rule_count; i++) {
		int16_t window = s->rules[i].window;

		of_reading += window < 0 ? 1 : dp_window_panes(s, (uint16_t)window);
	}
	return DP_BATCH_MAX * of_reading + 2u * s->rule_count;
}

size_t dp_alert_events_bytes(const struct dp_stream *s)
{
	return DP_CACHE_LINE + events_max(s) * sizeof(struct dp_alert_event);
}

int dp_alerts_init(struct dp_alerts *a, const struct dp_stream *s)
{
	if (s->rule_count > DP_RULES_MAX)
		return -EINVAL;
	*a = (struct dp_alerts){.stream = s};
	return 0;
}

int dp_alert_events_init(
	struct dp_alert_events *e, const struct dp_stream *s, struct dp_arena *arena)
{
	size_t max = events_max(s);

	if (max > UINT32_MAX)
		return -EINVAL;
	*e = (struct dp_alert_events){.max = (uint32_t)max};
	e->list = dp_arena_take(arena, max * sizeof(*e->list), DP_CACHE_LINE);
	return e->list ? 0 : -ENOMEM;
}

/* ---- one rule ---- */

static void restart(struct dp_alert_state *st)
{
	st->since_ns = st->last_event_ns = DP_TIME_NONE;
	st->violations = 0;
}

/* Runs and rates do not reach over a step of the sensor's clock; open alerts stay open. */
static void restart_all(const struct dp_alerts *a, const struct dp_table *t, struct dp_slot *s)
{
	for (uint16_t i = 0; i < a->stream->rule_count; i++)
		restart(&states_of(t, s)[i]);
}

void dp_alert_slot_init(const struct dp_alerts *a, const struct dp_table *t, struct dp_slot *s)
{
	memset(states_of(t, s), 0, dp_alert_slot_bytes(a->stream));
	restart_all(a, t, s);
	s->raised = 0;
}

static void list_event(struct target *to, uint16_t rule, bool raised, const struct sample *v)
{
	struct dp_alert_events *out = to->out;

	if (raised)
		to->s->raised |= 1u << rule;
	else
		to->s->raised &= ~(1u << rule);
	to->event.rule = (uint8_t)rule;
	to->event.raised = raised;
	to->event.event_ns = v->event_ns;
	to->event.value = v->value;
	assert(out->count < out->max);
	out->list[out->count++] = to->event;
}

/* Change per second since the value before; NaN where there is none, or it is not older. */
static double rate_of(struct dp_alert_state *st, const struct sample *v)
{
	double rate = NAN;

	if (!v->timed || v->event_ns <= st->last_event_ns)
		return NAN;
	if (st->last_event_ns != DP_TIME_NONE)
		rate = fabs(v->value - (double)st->last_value) /
		       (((double)v->event_ns - (double)st->last_event_ns) / (double)DP_NS_PER_S);
	st->last_event_ns = v->event_ns;
	st->last_value = (float)v->value;
	return rate;
}

static bool violates(const struct dp_rule *r, double value)
{
	return r->kind == DP_RULE_BELOW ? value < r->threshold : value > r->threshold;
}

static bool clears(const struct dp_rule *r, double value)
{
	return r->kind == DP_RULE_BELOW ? value >= r->threshold + r->hysteresis
					: value <= r->threshold - r->hysteresis;
}

/* One more value that violates; is the run long enough to raise? */
static bool run_on(const struct dp_rule *r, struct dp_alert_state *st, const struct sample *v)
{
	int64_t lasted;

	if (r->duration_ns > 0) {
		if (!v->timed)
			return false;
		if (st->since_ns == DP_TIME_NONE)
			st->since_ns = v->event_ns;
		return __builtin_sub_overflow(v->event_ns, st->since_ns, &lasted)
			       ? v->event_ns > st->since_ns
			       : lasted >= r->duration_ns;
	}
	st->violations += st->violations < UINT32_MAX;
	return st->violations >= r->count;
}

static void see(const struct dp_alerts *a, const struct dp_table *t, uint16_t rule, struct sample v,
	struct target *to)
{
	const struct dp_rule *r = &a->stream->rules[rule];
	struct dp_alert_state *st = &states_of(t, to->s)[rule];
	bool raised = to->s->raised >> rule & 1;

	if (!isfinite(v.value))
		return;
	if (r->kind == DP_RULE_RATE)
		v.value = rate_of(st, &v);
	if (isnan(v.value))
		return;
	if (violates(r, v.value)) {
		if (run_on(r, st, &v) && !raised && to->out)
			list_event(to, rule, true, &v);
		return;
	}
	st->since_ns = DP_TIME_NONE;
	st->violations = 0;
	if (raised && to->out && clears(r, v.value))
		list_event(to, rule, false, &v);
}

/* ---- what rules see ---- */

/* What a model said of that class: its probability where it said it, else 0. */
static double class_said(const struct dp_stream *then, const struct dp_model *m,
	const struct dp_rec_score *score, const char *label)
{
	if (score->class_index >= m->label_count ||
		strcmp(then->labels[m->label_at + score->class_index].text, label) != 0)
		return 0;
	/* of two classes the probability is that of the second */
	return m->label_count == 2 && score->class_index == 0 ? 1 - (double)score->probability
							      : (double)score->probability;
}

/*
 * NaN: the model has said nothing, or was of another kind then.  Models and classes are found by
 * name: an earlier version may have had its classes in another order.
 */
static double score_of(
	const struct dp_stream *s, const struct dp_rule *r, const struct scored *scored)
{
	const struct dp_model *m = &s->models[r->model];

	for (uint32_t i = 0; i < scored->count; i++) {
		const struct dp_rec_score *score = &scored->list[i];
		const struct dp_model *of = &scored->then->models[score->model];

		if (of != m && strcmp(of->name, m->name) != 0)
			continue;
		if (score->flags & DP_SCORE_NONE || !of->label_count != !m->label_count)
			return NAN;
		if (!m->label_count)
			return (double)score->value;
		if (r->label >= 0)
			return class_said(scored->then, of, score, s->labels[r->label].text);
		return of->label_count == 2 ? (double)score->probability : NAN;
	}
	return NAN;
}

static void see_reading(const struct dp_alerts *a, const struct dp_table *t,
	const struct reading *in, struct target *to)
{
	struct sample v = {.event_ns = in->event_ns, .timed = !(in->flags & DP_ROW_FUTURE)};

	if (in->flags & DP_ROW_CLOCK_RESET)
		restart_all(a, t, to->s);
	for (uint16_t i = 0; i < a->stream->rule_count; i++) {
		const struct dp_rule *r = &a->stream->rules[i];

		if (r->kind == DP_RULE_MISSING) {
			v.value = 0;
			if (to->s->raised >> i & 1 && to->out)
				list_event(to, i, false, &v);
		} else if (r->window < 0 && !(in->flags & DP_ROW_LATE)) {
			v.value = r->of_score ? score_of(a->stream, r, &in->scored)
					      : (double)in->values[r->field];
			see(a, t, i, v, to);
		}
	}
}

static double stat_of(const struct dp_rule *r, uint32_t stats, const uint32_t *words)
{
	uint32_t width = (uint32_t)__builtin_popcount(stats);
	uint32_t at =
		(uint32_t)r->field * width + (uint32_t)__builtin_popcount(stats & (r->stat - 1));
	float v;

	if (!(stats & r->stat))
		return NAN;
	if (r->stat == DP_STAT_COUNT)
		return words[at];
	memcpy(&v, &words[at], sizeof(v));
	return (double)v;
}

static void see_window(const struct dp_alerts *a, const struct dp_table *t, const struct closed *in,
	struct target *to)
{
	for (uint16_t i = 0; i < a->stream->rule_count; i++) {
		const struct dp_rule *r = &a->stream->rules[i];
		struct sample v = {.event_ns = in->end_ns, .timed = true};

		if (r->kind == DP_RULE_MISSING || r->window != in->window)
			continue;
		v.value = r->of_score ? score_of(a->stream, r, &in->scored)
				      : stat_of(r, in->stats, in->words);
		see(a, t, i, v, to);
	}
}

struct brought {
	const struct dp_closes *closes;
	const struct dp_scores *scores;
};

static void see_close(const struct dp_alerts *a, const struct dp_table *t,
	const struct brought *what, uint32_t i, struct dp_alert_events *out)
{
	const struct dp_close *c = &what->closes->list[i];
	const struct closed in = {.end_ns = c->end_ns,
		.words = what->closes->stats + c->stats_at,
		.scored = {dp_scores_of_close(what->scores, i), what->scores->of_window[c->window],
			a->stream},
		.stats = a->stream->windows[c->window].stats,
		.window = c->window};
	struct target to = {.s = dp_table_slot(t, c->slot),
		.event = {.row = i, .slot = c->slot, .by_close = true},
		.out = out};

	see_window(a, t, &in, &to);
}

/* ---- the stage ---- */

void dp_alert_push(const struct dp_alerts *a, const struct dp_table *t, const struct dp_batch *b,
	const struct dp_closes *closes, const struct dp_scores *scores, struct dp_alert_events *out)
{
	const struct brought what = {closes, scores};
	uint32_t close = 0;

	if (!a->stream->rule_count)
		return;
	for (uint32_t row = 0; row < b->count; row++) {
		struct target to = {.s = dp_table_slot(t, b->slot[row]),
			.event = {.row = row, .slot = b->slot[row]},
			.out = out};
		const struct reading in = {.event_ns = b->event_ns[row],
			.values = dp_batch_row_values(b, row),
			.scored = {dp_scores_of_reading(scores, row), scores->of_readings,
				a->stream},
			.flags = b->flags[row]};

		for (; close < closes->count && closes->list[close].row == row; close++)
			see_close(a, t, &what, close, out);
		see_reading(a, t, &in, &to);
	}
	assert(close == closes->count);
}

void dp_alert_closes(const struct dp_alerts *a, const struct dp_table *t,
	const struct dp_closes *closes, const struct dp_scores *scores, struct dp_alert_events *out)
{
	const struct brought what = {closes, scores};

	for (uint32_t i = 0; i < closes->count; i++)
		see_close(a, t, &what, i, out);
}

int64_t dp_alert_silence_ns(const struct dp_rule *r)
{
	int64_t ns;

	return __builtin_mul_overflow(r->period_ns, (int64_t)(r->count ? r->count : 1), &ns)
		       ? INT64_MAX
		       : ns;
}

int64_t dp_alert_timer(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	int64_t steady_ns, struct dp_alert_events *out)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	struct target to = {.s = s, .event = {.slot = slot}, .out = out};
	int64_t next = INT64_MAX, from = s->last_steady_ns, silent;

	if (from == DP_TIME_NONE)
		return INT64_MAX;
	if (from < t->heard_since_ns)
		from = t->heard_since_ns; /* while nobody listened nobody was silent */
	silent = steady_ns - from;
	for (uint16_t i = 0; i < a->stream->rule_count; i++) {
		const struct dp_rule *r = &a->stream->rules[i];
		int64_t due;

		if (r->kind != DP_RULE_MISSING || s->raised >> i & 1)
			continue;
		if (silent >= dp_alert_silence_ns(r)) {
			struct sample v = {.value = (double)silent / (double)DP_NS_PER_S,
				.event_ns = s->last_arrival_ns + (steady_ns - s->last_steady_ns)};

			list_event(&to, i, true, &v);
		} else if (!__builtin_add_overflow(from, dp_alert_silence_ns(r), &due)) {
			next = due < next ? due : next;
		}
	}
	return next;
}

int64_t dp_alert_needed_since(const struct dp_table *t, uint32_t slot)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	const struct dp_alert_state *states = states_of(t, s);
	uint32_t open = s->used ? s->raised : 0;
	int64_t oldest = open ? s->last_arrival_ns : INT64_MAX;

	for (; open; open &= open - 1) {
		int64_t raised_ns = states[__builtin_ctz(open)].raised_ns;

		oldest = raised_ns < oldest ? raised_ns : oldest;
	}
	return oldest;
}

void dp_alert_clear_all(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	struct dp_alert_events *out)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	struct target to = {.s = s, .event = {.slot = slot}, .out = out};
	struct sample v = {.value = NAN, .event_ns = s->last_arrival_ns};

	for (uint16_t i = 0; i < a->stream->rule_count; i++)
		if (s->raised >> i & 1)
			list_event(&to, i, false, &v);
}

/* ---- replay ---- */

void dp_alert_replay_reading(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values, const struct dp_stream *then)
{
	const struct reading in = {.event_ns = r->event_ns,
		.values = values,
		.scored = {dp_rec_scores(r), r->score_count, then},
		.flags = r->flags};
	struct target to = {.s = dp_table_slot(t, slot)};

	if (r->flags & DP_ROW_NEW_LIFE)
		dp_alert_slot_init(a, t, to.s);
#ifdef DP_BREAK_REPLAY_RUNS /* tests/sim must notice: a run would begin anew at a start */
	return;
#endif
	see_reading(a, t, &in, &to);
}

void dp_alert_replay_window(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_window *r, const uint32_t *stats, const struct dp_stream *then)
{
	const struct closed in = {.end_ns = r->end_ns,
		.words = stats,
		.scored = {dp_rec_window_scores(r), r->score_count, then},
		.stats = r->stats,
		.window = r->window};
	struct target to = {.s = dp_table_slot(t, slot)};

	see_window(a, t, &in, &to);
}

void dp_alert_replay_alert(const struct dp_alerts *a, const struct dp_table *t, uint32_t slot,
	const struct dp_rec_alert *r)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	const struct dp_stream *stream = a->stream;

	/* by hash, not by index: rules of another config may stand in another order */
	for (uint16_t i = 0; i < stream->rule_count; i++) {
		struct dp_alert_state *st = &states_of(t, s)[i];

		if (dp_rule_hash(stream, &stream->rules[i]) != r->rule_hash)
			continue;
		memcpy(st->cause, r->cause, sizeof(st->cause));
		st->raised_ns = r->raised_ns;
		if (r->raised)
			s->raised |= 1u << i;
		else
			s->raised &= ~(1u << i);
		return;
	}
}
