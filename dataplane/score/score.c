/*
 * The score stage.  Owns the registers of a batch and, in a slot, the values before.  Inputs are
 * assembled once a batch; each model gathers its own from them.
 */
#include "dataplane/score/score.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "dataplane/core/clock.h"
#include "models/engine/score.h"

#define DAY_NS	(86400 * DP_NS_PER_S)
#define HOUR_NS (3600 * DP_NS_PER_S)
enum { EPOCH_WEEKDAY = 3 }; /* 1 January 1970 was a Thursday; Monday is 0 */

/* ---- memory ---- */

static uint32_t delta_count(const struct dp_stream *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->derived_count; i++)
		n += s->derived[i].expr.op == DP_EXPR_DELTA;
	return n;
}

size_t dp_score_slot_bytes(const struct dp_stream *s)
{
	return dp_rec_pad(delta_count(s) * sizeof(float), 8);
}

static size_t closes_max(const struct dp_plan *p)
{
	return p->of_closes ? (size_t)DP_BATCH_MAX * dp_window_closes_max(p->stream) : 0;
}

static size_t scratch_bytes(const struct dp_plan *p)
{
	size_t most = 0;

	for (uint32_t i = 0; i < p->model_count; i++) {
		size_t n = mdl_scratch_bytes(p->models[i].bundle, DP_BATCH_MAX);

		most = n > most ? n : most;
	}
	return most;
}

size_t dp_scorer_bytes(const struct dp_plan *p)
{
	if (!p)
		return 0;
	return 8 * DP_CACHE_LINE + scratch_bytes(p) +
	       p->model_count * sizeof(struct dp_model_stats) +
	       DP_BATCH_MAX * (p->width * sizeof(float) + p->inputs_max * sizeof(float) +
				      p->outputs_max * sizeof(double) +
				      p->of_readings * sizeof(struct dp_rec_score)) +
	       closes_max(p) * p->of_closes * sizeof(struct dp_rec_score);
}

int dp_scorer_init(struct dp_scorer *c, const struct dp_plan *p, struct dp_arena *arena)
{
	struct dp_scores *s = &c->scores;

	*c = (struct dp_scorer){.plan = p};
	if (!p)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &c->began);
	c->began_cycles = dp_cycles();
	*s = (struct dp_scores){.of_readings = p->of_readings,
		.of_closes = p->of_closes,
		.derived_at = p->stream->field_count,
		.width = p->width};
	for (uint32_t i = 0; i < p->model_count; i++)
		if (p->models[i].window >= 0)
			s->of_window[p->models[i].window]++;
	s->registers = dp_arena_take(arena, DP_BATCH_MAX * p->width * sizeof(float), DP_CACHE_LINE);
	s->readings = dp_arena_take(
		arena, DP_BATCH_MAX * p->of_readings * sizeof(*s->readings), DP_CACHE_LINE);
	s->closes = dp_arena_take(
		arena, closes_max(p) * p->of_closes * sizeof(*s->closes), DP_CACHE_LINE);
	c->inputs =
		dp_arena_take(arena, DP_BATCH_MAX * p->inputs_max * sizeof(float), DP_CACHE_LINE);
	c->outputs =
		dp_arena_take(arena, DP_BATCH_MAX * p->outputs_max * sizeof(double), DP_CACHE_LINE);
	c->scratch = dp_arena_take(arena, scratch_bytes(p), DP_CACHE_LINE);
	c->stats = dp_arena_take(arena, p->model_count * sizeof(*c->stats), DP_CACHE_LINE);
	return s->registers && s->readings && s->closes && c->inputs && c->outputs && c->scratch &&
			       c->stats
		       ? 0
		       : -ENOMEM;
}

void dp_score_slot_init(const struct dp_table *t, struct dp_slot *s)
{
	float *before = dp_slot_scores(t, s);

	for (uint32_t i = 0, n = delta_count(t->stream); i < n; i++)
		before[i] = NAN;
}

struct dp_probes dp_score_probes(const struct dp_scorer *c)
{
	if (!c->plan)
		return (struct dp_probes){0};
	return (struct dp_probes){.count = c->plan->probe_count,
		.stride = c->plan->width,
		.list = c->plan->probes,
		.out = c->scores.registers};
}

/* ---- inputs ---- */

static int64_t within(int64_t a, int64_t b)
{
	int64_t rest = a % b;

	return rest < 0 ? rest + b : rest;
}

static float hour_of(int64_t event_ns)
{
	return (float)(within(event_ns, DAY_NS) / HOUR_NS);
}

static float weekday_of(int64_t event_ns)
{
	int64_t day = (event_ns - within(event_ns, DAY_NS)) / DAY_NS;

	return (float)within(day + EPOCH_WEEKDAY, 7);
}

/* One row of registers; the probes have put theirs there already. */
static void assemble(
	const struct dp_scorer *c, const struct dp_table *t, const struct dp_batch *b, uint32_t row)
{
	const struct dp_plan *p = c->plan;
	const float *values = dp_batch_row_values(b, row);
	float *at = c->scores.registers + (size_t)row * p->width;
	float *before = dp_slot_scores(t, dp_table_slot(t, b->slot[row]));

	memcpy(at, values, p->stream->field_count * sizeof(float));
	for (uint32_t i = 0; i < p->delta_count; i++) {
		float v = values[p->deltas[i].expr.field];

		at[p->deltas[i].to] = v - before[i];
		before[i] = v;
	}
	for (uint32_t i = 0; i < p->computed_count; i++) {
		const struct dp_register *r = &p->computed[i];

		if (r->expr.op == DP_EXPR_RATIO)
			at[r->to] = values[r->expr.field] / values[r->expr.other];
		else if (r->expr.op == DP_EXPR_HOUR)
			at[r->to] = hour_of(b->event_ns[row]);
		else
			at[r->to] = weekday_of(b->event_ns[row]);
	}
}

/* Of a window that closed. */
static float close_input(const struct dp_plan *p, const struct dp_close *c, const uint32_t *words,
	const struct dp_expr *e)
{
	uint32_t stats = p->stream->windows[c->window].stats;
	uint32_t at = e->field * (uint32_t)__builtin_popcount(stats) +
		      (uint32_t)__builtin_popcount(stats & (e->stat - 1));
	float v;

	if (e->op == DP_EXPR_HOUR)
		return hour_of(c->end_ns);
	if (e->op == DP_EXPR_WEEKDAY)
		return weekday_of(c->end_ns);
	if (e->stat == DP_STAT_COUNT)
		return (float)words[at];
	memcpy(&v, &words[at], sizeof(v));
	return v;
}

/* ---- models ---- */

static void bump(_Atomic uint64_t *n, uint64_t by)
{
	atomic_store_explicit(
		n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

static uint32_t bucket_of(uint64_t cycles)
{
	uint32_t bucket = cycles ? 63u - (uint32_t)__builtin_clzll(cycles) : 0;

	return bucket < DP_CYCLE_BUCKETS ? bucket : DP_CYCLE_BUCKETS - 1;
}

/* What c->inputs holds, by model i; scores of rows lie `apart` from each other. */
static void run(
	struct dp_scorer *c, uint32_t i, uint32_t rows, struct dp_rec_score *out, uint32_t apart)
{
	const struct mdl_bundle *m = c->plan->models[i].bundle;
	struct dp_model_stats *stats = &c->stats[i];
	uint64_t began = dp_cycles(), took, missing = 0;

	mdl_score(m, c->inputs, rows, c->scratch, c->outputs, NULL);
	for (uint32_t row = 0; row < rows; row++) {
		struct dp_rec_score *to = out + (size_t)row * apart;
		struct mdl_verdict v;

		mdl_judge(m, c->outputs + (size_t)row * m->output_count, &v);
		if (!isfinite((float)v.value)) /* also of a sum beyond what a record holds */
			v = (struct mdl_verdict){.value = NAN, .probability = NAN, .none = true};
		missing += v.none;
		*to = (struct dp_rec_score){.model = (uint16_t)i,
			.class_index = v.class_index,
			.flags = v.none ? DP_SCORE_NONE : 0,
			.version = m->version,
			.value = (float)v.value,
			.probability = (float)v.probability};
	}
	took = dp_cycles() - began;
	bump(&stats->rows, rows);
	bump(&stats->missing, missing);
	bump(&stats->cycles, took);
	bump(&stats->batches[bucket_of(took)], 1);
}

static void gather(struct dp_scorer *c, const struct dp_bound_model *m, uint32_t rows)
{
	uint32_t inputs = m->bundle->input_count;

	for (uint32_t row = 0; row < rows; row++) {
		const float *from = c->scores.registers + (size_t)row * c->plan->width;
		float *to = c->inputs + (size_t)row * inputs;

		for (uint32_t k = 0; k < inputs; k++)
			to[k] = from[m->source[k]];
	}
}

/* Windows close far less often than readings come: one at a time. */
void dp_score_closes(struct dp_scorer *c, const struct dp_closes *closes)
{
	const struct dp_plan *p = c->plan;

	if (!p || !p->of_closes)
		return;
	for (uint32_t k = 0; k < closes->count; k++) {
		const struct dp_close *close = &closes->list[k];
		struct dp_rec_score *out = c->scores.closes + (size_t)k * p->of_closes;

		for (uint32_t i = 0; i < p->model_count; i++) {
			const struct dp_bound_model *m = &p->models[i];

			if (m->window != close->window)
				continue;
			for (uint32_t n = 0; n < m->bundle->input_count; n++)
				c->inputs[n] = close_input(
					p, close, closes->stats + close->stats_at, &m->expr[n]);
			run(c, i, 1, out++, 1);
		}
	}
}

void dp_score_push(struct dp_scorer *c, const struct dp_table *t, const struct dp_batch *b,
	const struct dp_closes *closes)
{
	const struct dp_plan *p = c->plan;
	uint32_t nth = 0;

	if (!p)
		return;
	dp_score_closes(c, closes);
	for (uint32_t row = 0; row < b->count; row++)
		assemble(c, t, b, row);
	for (uint32_t i = 0; i < p->model_count; i++) {
		if (p->models[i].window >= 0)
			continue;
		gather(c, &p->models[i], b->count);
		run(c, i, b->count, c->scores.readings + nth++, p->of_readings);
	}
}

void dp_score_replay_reading(const struct dp_table *t, uint32_t slot,
	const struct dp_rec_reading *r, const float *values)
{
	const struct dp_stream *s = t->stream;
	struct dp_slot *to = dp_table_slot(t, slot);
	float *before = dp_slot_scores(t, to);

#ifdef DP_BREAK_REPLAY_UNSCORED /* tests/sim must notice: a difference reaches over the restart */
	return;
#endif
	if (r->flags & DP_ROW_NEW_LIFE)
		dp_score_slot_init(t, to);
	for (uint32_t i = 0, n = 0; i < s->derived_count; i++)
		if (s->derived[i].expr.op == DP_EXPR_DELTA)
			before[n++] = values[s->derived[i].expr.field];
}
