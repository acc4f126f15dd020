#include "tests/prop/window_streams.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rng;

void random_seed(uint64_t seed)
{
	rng = seed;
}

static uint64_t random_u64(void) /* splitmix64 */
{
	uint64_t z = rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int64_t random_below(int64_t n)
{
	return (int64_t)(random_u64() % (uint64_t)n);
}

static bool one_in(int64_t n)
{
	return random_below(n) == 0;
}

static struct dp_rule random_rule(const struct world *w)
{
	struct dp_rule r = {.kind = (enum dp_rule_kind)(1 + random_below(4)),
		.severity = DP_SEVERITY_INFO,
		.field = (int16_t)random_below(w->stream.field_count),
		.window = -1,
		.threshold = (double)random_below(10),
		.hysteresis = (double)random_below(3),
		.count = (uint32_t)(1 + random_below(3)),
		.period_ns = 1 + random_below(4 * w->windows[0].slide_ns)};

	snprintf(r.name, sizeof(r.name), "rule %d", (int)random_below(1000000000));
	if (r.kind == DP_RULE_MISSING) {
		r.field = -1;
		return r;
	}
	if (one_in(2)) {
		uint32_t stats;

		r.window = (int16_t)random_below(w->stream.window_count);
		stats = w->windows[r.window].stats;
		do
			r.stat = 1u << random_below(REF_STATS);
		while (!(stats & r.stat));
	}
	if (one_in(3)) {
		r.count = 0;
		r.duration_ns = 1 + random_below(5 * w->windows[0].slide_ns);
	}
	return r;
}

static int by_place(const void *a, const void *b)
{
	const struct dp_expr *x = &((const struct dp_probe *)a)->expr;
	const struct dp_expr *y = &((const struct dp_probe *)b)->expr;

	if (x->window != y->window)
		return x->window < y->window ? -1 : 1;
	return x->field < y->field ? -1 : x->field > y->field;
}

/* What models may take of the windows, and what these keep for it. */
static void random_probes(struct world *w)
{
	w->probe_count = (uint32_t)random_below(PROBES + 1);
	for (uint32_t i = 0; i < w->probe_count; i++) {
		struct dp_probe *p = &w->probes[i];

		p->expr.op = (enum dp_expr_op)(DP_EXPR_STAT + random_below(3));
		p->expr.window = (uint16_t)random_below(w->stream.window_count);
		p->expr.field = (uint16_t)random_below(w->stream.field_count);
		p->expr.stat = 1u << random_below(REF_STATS);
		p->to = i;
		w->windows[p->expr.window].kept |= p->expr.op == DP_EXPR_ZSCORE	 ? DP_STAT_STD
						   : p->expr.op == DP_EXPR_SLOPE ? DP_STAT_MEAN
										 : p->expr.stat;
	}
	qsort(w->probes, w->probe_count, sizeof(w->probes[0]), by_place);
}

void random_world(struct world *w)
{
	static const int64_t units[] = {1, 7, 1000003, DP_NS_PER_MS, DP_NS_PER_S};
	int64_t unit = units[random_below(5)];

	memset(w, 0, sizeof(*w));
	w->stream = (struct dp_stream){.name = "random",
		.field_count = (uint16_t)(1 + random_below(REF_FIELDS_MAX)),
		.window_count = (uint16_t)(1 + random_below(WINDOWS)),
		.rule_count = (uint16_t)random_below(RULES + 1),
		.fields = w->fields,
		.windows = w->windows,
		.rules = w->rules,
		.lateness_ns = one_in(3) ? 0 : random_below(40 * unit),
		.max_skew_ns = random_below(60 * unit)};
	for (uint16_t i = 0; i < w->stream.window_count; i++) {
		struct dp_window_def *d = &w->windows[i];

		d->slide_ns = unit * (1 + random_below(20));
		d->size_ns = d->slide_ns * (one_in(3) ? 1 : 1 + random_below(8));
		d->stats = one_in(2) ? DP_STAT_ALL : (uint32_t)(1 + random_below(DP_STAT_ALL));
	}
	for (uint16_t i = 0; i < w->stream.rule_count; i++)
		w->rules[i] = random_rule(w);
	random_probes(w);
}

static float random_value(void)
{
	if (one_in(8))
		return one_in(4) ? INFINITY : NAN;
	if (one_in(12))
		return 1e6f + (float)random_below(3);
	return (float)random_below(2000) / 100 - 5;
}

void random_steps(const struct world *w, struct step *steps)
{
	static const int64_t starts[] = {
		0, 1700000000000000000, -3000000000000000000, 8300000000000000000};
	int64_t slide = w->windows[0].slide_ns, clock = starts[random_below(4)], step_back = 0;
	int64_t ns[SENSORS];

	for (int i = 0; i < SENSORS; i++)
		ns[i] = clock;
	for (uint32_t i = 0; i < STEPS; i++) {
		struct step *s = &steps[i];
		int64_t *own = &ns[random_below(SENSORS)];

		s->sensor = (uint32_t)(own - ns);
		s->timer = one_in(15);
		if (one_in(20))
			clock += random_below(30 * slide);
		clock += random_below(slide / 2 + 2);
		s->arrival_ns = clock;
		if (one_in(40))
			step_back = random_below(200 * slide);
		if (one_in(20))
			step_back = 0;
		*own = one_in(4) ? *own : clock - step_back;
		s->event_ns = *own;
		if (one_in(5))
			s->event_ns -= random_below(w->stream.lateness_ns + 3 * slide);
		if (one_in(25))
			s->event_ns += random_below(2 * w->stream.max_skew_ns + 5);
		if (one_in(60))
			s->event_ns = clock - random_below(8000000000000000000 + 300 * slide) / 3;
		for (int f = 0; f < REF_FIELDS_MAX; f++)
			s->values[f] = random_value();
	}
}
