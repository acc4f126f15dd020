/*
 * What is true of one sensor: its readings are recorded in the order in which they came, its
 * windows hold what a naive recomputation says, each once, its alerts are raised and cleared in
 * turn.  After a start the models begin anew from what the log holds, as the appliance does.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tests/sim/oracle.h"

static void *grow(void *list, uint32_t count, uint32_t *max, size_t each)
{
	if (count < *max)
		return list;
	*max = *max ? 2 * *max : 64;
	list = realloc(list, *max * each);
	if (!list)
		abort();
	return list;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* ---- order of arrival ---- */

static void take_deliveries(struct oracle *o)
{
	for (; o->seen_deliveries < o->net->delivered_count; o->seen_deliveries++) {
		const struct sim_delivery *d = &o->net->delivered[o->seen_deliveries];
		struct oracle_sensor *s = &o->sensors[o->net->units[d->unit].sensor];

		s->due = grow(s->due, s->due_count, &s->due_max, sizeof(*s->due));
		s->due[s->due_count++] = *d;
	}
}

/*
 * A unit was recorded: per socket, in the order in which it was handed over.  One that came to
 * several sockets says nothing.
 */
static void check_arrival(struct oracle *o, struct oracle_sensor *s, uint32_t unit)
{
	uint32_t found = 0, at = 0;

	take_deliveries(o);
	while (s->due_from < s->due_count && s->due_from < s->due_at[s->due[s->due_from].queue])
		s->due_from++;
	for (uint32_t i = s->due_from; i < s->due_count; i++) {
		const struct sim_delivery *d = &s->due[i];

		if (d->unit != unit || i < s->due_at[d->queue])
			continue;
		if (found && s->due[at].queue == d->queue)
			continue; /* a repetition: the first is meant */
		found++;
		at = i;
	}
	sim_check(o->sim, found, "unit %u was recorded out of order, or never received", unit);
	if (found == 1)
		s->due_at[s->due[at].queue] = at + 1;
}

/* ---- windows ---- */

static bool is_closed(const struct oracle_sensor *s, uint8_t window, int64_t start_ns)
{
	for (uint32_t i = s->closed_count; i > 0; i--)
		if (s->closed[i - 1].window == window && s->closed[i - 1].start_ns == start_ns)
			return true;
	return false;
}

/* All windows that this reading asks for have come. */
static void check_closed(struct oracle *o, const struct oracle_sensor *s,
	const struct dp_stream *st, const struct oracle_kept *kept)
{
	for (uint8_t w = 0; w < st->window_count && !kept->unjudged; w++) {
		const struct dp_window_def *d = &st->windows[w];
		int64_t last = floor_div(kept->event_ns, d->slide_ns);

		for (int64_t k = kept->from[w]; k <= last; k++)
			sim_check(o->sim, is_closed(s, w, k * d->slide_ns),
				"window %s from %" PRId64 " of sensor %u never came, reading %u is "
				"in it",
				d->name, k * d->slide_ns, (uint32_t)(s - o->sensors),
				kept->reading);
	}
}

static void check_all_closed(
	struct oracle *o, const struct oracle_sensor *s, const struct dp_stream *st)
{
	for (uint32_t i = 0; i < s->kept_count; i++)
		check_closed(o, s, st, &s->kept[i]);
}

/* No window that is still open holds it. */
static bool passed(
	const struct oracle_sensor *s, const struct dp_stream *st, const struct oracle_kept *kept)
{
	for (uint8_t w = 0; w < st->window_count; w++)
		if (kept->from[w] != INT64_MAX &&
			floor_div(kept->event_ns, st->windows[w].slide_ns) >= s->next[w])
			return false;
	return true;
}

/* Readings behind the watermark are judged and forgotten, so that this stays fast. */
static void prune(struct oracle *o, struct oracle_sensor *s, const struct dp_stream *st)
{
	uint32_t kept = 0, closed = 0;
	int64_t oldest = INT64_MAX;

	for (uint32_t i = 0; i < s->kept_count; i++) {
		if (passed(s, st, &s->kept[i])) {
			check_closed(o, s, st, &s->kept[i]);
			continue;
		}
		oldest = s->kept[i].event_ns < oldest ? s->kept[i].event_ns : oldest;
		s->kept[kept++] = s->kept[i];
	}
	for (uint32_t i = 0; i < s->closed_count; i++)
		if (s->closed[i].start_ns + st->windows[s->closed[i].window].size_ns > oldest)
			s->closed[closed++] = s->closed[i];
	s->kept_count = kept;
	s->closed_count = closed;
	s->prune_at = 2 * kept + 32;
}

static void forget_time(struct oracle_sensor *s)
{
	s->event_max = INT64_MIN;
	s->run = 0;
	s->kept_count = s->closed_count = 0;
	s->prune_at = 32;
	for (int w = 0; w < SIM_WINDOWS_MAX; w++)
		s->next[w] = INT64_MIN;
}

static void forget(struct oracle_sensor *s)
{
	forget_time(s);
	s->known = s->cut = s->retiring = false;
	s->before = NAN;
	s->raised = 0;
	s->life = 0;
}

void oracle_sensors_forget(struct oracle *o)
{
	for (uint32_t i = 0; i < o->net->sensor_count; i++) {
		struct oracle_sensor *s = &o->sensors[i];

		forget(s);
		s->due_count = s->due_from = 0;
		memset(s->due_at, 0, sizeof(s->due_at));
	}
}

/* Moves the watermark; returns whether the reading is late for a window definition. */
static bool keep(struct oracle_sensor *s, const struct dp_stream *st, uint32_t reading,
	int64_t event_ns, bool live)
{
	struct oracle_kept *kept;
	bool late = false;

	s->kept = grow(s->kept, s->kept_count, &s->kept_max, sizeof(*s->kept));
	kept = &s->kept[s->kept_count++];
	*kept = (struct oracle_kept){
		.reading = reading, .event_ns = event_ns, .unjudged = s->cut && !live};
	if (event_ns > s->event_max)
		s->event_max = event_ns;
	for (uint8_t w = 0; w < st->window_count; w++) {
		const struct dp_window_def *d = &st->windows[w];
		int64_t span = d->size_ns / d->slide_ns, pane = floor_div(event_ns, d->slide_ns);
		int64_t open = floor_div(s->event_max - st->lateness_ns, d->slide_ns) - span + 1;

		if (open > s->next[w])
			s->next[w] = open;
		kept->from[w] = pane - span + 1 > s->next[w] ? pane - span + 1 : s->next[w];
		if (pane < s->next[w]) {
			kept->from[w] = INT64_MAX;
			late = true;
		}
	}
	return late;
}

static bool near(float a, double b)
{
	return (isnan(a) && isnan(b)) || fabs((double)a - b) <= 2e-3 + 1e-5 * fabs(b);
}

/* One field's statistics, plainly, over all readings of the window. */
static void check_field(struct oracle *o, const struct oracle_sensor *s,
	const struct dp_rec_window *w, uint32_t field, const uint32_t **at)
{
	double sum = 0, squares = 0, value[7] = {0, 0, NAN, NAN, NAN, NAN, NAN};
	int64_t last_ns = INT64_MIN;
	uint32_t n = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < s->kept_count; i++) {
			const struct oracle_kept *k = &s->kept[i];
			double v = (double)o->net->readings[k->reading].values[field];

			if (k->from[w->window] == INT64_MAX || k->event_ns < w->start_ns ||
				k->event_ns >= w->end_ns || isnan(v))
				continue;
			if (pass) {
				squares += (v - sum / n) * (v - sum / n);
				continue;
			}
			n++;
			sum += v;
			value[4] = n == 1 || v < value[4] ? v : value[4];
			value[5] = n == 1 || v > value[5] ? v : value[5];
			value[6] = k->event_ns >= last_ns ? v : value[6];
			last_ns = k->event_ns >= last_ns ? k->event_ns : last_ns;
		}
	}
	value[1] = n;
	value[2] = n ? sum / n : NAN;
	value[3] = n > 1 ? sqrt(squares / (n - 1)) : NAN;
	for (uint32_t bit = 0; bit < 6; bit++) {
		float got;

		if (!(w->stats >> bit & 1))
			continue;
		memcpy(&got, *at, sizeof(got));
		if (bit == 0)
			got = (float)**at;
		++*at;
		sim_check(o->sim, near(got, value[1 + bit]),
			"window from %" PRId64 " of sensor %u, field %u, statistic %u: %g instead "
			"of %g",
			w->start_ns, (uint32_t)(s - o->sensors), field, bit, (double)got,
			value[1 + bit]);
	}
}

static void check_window(
	struct oracle *o, const struct oracle_sensor *s, const struct dp_rec_window *w)
{
	const struct dp_stream *st = &o->config->streams[w->head.stream];
	const uint32_t *stats = dp_rec_stats(w);
	uint32_t count = 0;

	sim_check(o->sim, s->known && w->life == s->life,
		"window from %" PRId64 " of sensor %u in another life", w->start_ns,
		(uint32_t)(s - o->sensors));
	sim_check(o->sim,
		floor_div(w->start_ns, st->windows[w->window].slide_ns) >= s->next[w->window],
		"window from %" PRId64 " of sensor %u was closed before", w->start_ns,
		(uint32_t)(s - o->sensors));
	for (uint32_t i = 0; i < s->kept_count; i++)
		count += s->kept[i].from[w->window] != INT64_MAX &&
			 s->kept[i].event_ns >= w->start_ns && s->kept[i].event_ns < w->end_ns;
	sim_check(o->sim, count == w->count && count,
		"window from %" PRId64 " of sensor %u holds %u readings instead of %u", w->start_ns,
		(uint32_t)(s - o->sensors), w->count, count);
	for (uint32_t f = 0; f < st->field_count; f++)
		check_field(o, s, w, f, &stats);
}

static void window(
	struct oracle *o, struct oracle_sensor *s, const struct dp_rec_window *w, bool live)
{
	const struct dp_window_def *d = &o->config->streams[w->head.stream].windows[w->window];
	int64_t k = floor_div(w->start_ns, d->slide_ns);

	if (live)
		check_window(o, s, w);
	s->closed = grow(s->closed, s->closed_count, &s->closed_max, sizeof(*s->closed));
	s->closed[s->closed_count++] = (struct oracle_closed){w->window, w->start_ns};
	if (k >= s->next[w->window])
		s->next[w->window] = k + 1;
}

/* ---- readings, alerts, retirement ---- */

static void begin_life(struct oracle *o, struct oracle_sensor *s, const struct dp_rec_reading *r,
	const struct oracle_record *record, bool live)
{
	uint32_t at = (uint32_t)(s - o->sensors);

	if (r->flags & DP_ROW_NEW_LIFE) {
		sim_check(o->sim, !live || !s->known, "sensor %u was forgotten and nothing says so",
			at);
		forget(s);
		s->known = true;
	} else {
		if (live)
			check_all_closed(o, s, &o->config->streams[r->head.stream]);
		forget_time(s);
	}
	s->life = r->life;
	sim_check(o->sim, r->life == record->id[0], "sensor %u: life is not its first reading", at);
}

/* ---- scores ---- */

static int64_t pane_of(const struct oracle_kept *k, const struct dp_window_def *d)
{
	return floor_div(k->event_ns, d->slide_ns);
}

/* Values of the second field in the panes that end with the newest, of the first window. */
static float count_in_panes(
	const struct oracle *o, const struct oracle_sensor *s, const struct dp_stream *st)
{
	const struct dp_window_def *d = &st->windows[0];
	int64_t newest = INT64_MIN, from;
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->kept_count; i++)
		if (pane_of(&s->kept[i], d) >= s->next[0] && pane_of(&s->kept[i], d) > newest)
			newest = pane_of(&s->kept[i], d);
	if (newest == INT64_MIN)
		return 0;
	from = newest - d->size_ns / d->slide_ns + 1;
	from = from < s->next[0] ? s->next[0] : from;
	for (uint32_t i = 0; i < s->kept_count; i++)
		n += pane_of(&s->kept[i], d) >= from && s->kept[i].from[0] != INT64_MAX &&
		     !isnan(o->net->readings[s->kept[i].reading].values[1]);
	return (float)n;
}

static bool same(float a, float b)
{
	return a == b || (isnan(a) && isnan(b));
}

/* Its inputs are those of the moment, and its score is their sum. */
static void check_score(struct oracle *o, const struct oracle_sensor *s,
	const struct dp_rec_reading *r, const struct dp_stream *st)
{
	const struct dp_rec_score *score = dp_rec_scores(r);
	const float *values = dp_rec_values(r), *derived = dp_rec_derived(r);
	uint32_t sensor = (uint32_t)(s - o->sensors);
	double sum;

	if (!st->model_count) {
		sim_check(o->sim, !r->score_count && !r->derived_count,
			"sensor %u: a score without a model", sensor);
		return;
	}
	sim_check(o->sim, r->score_count == 1 && r->derived_count == SIM_MODEL_INPUTS - 1,
		"sensor %u: %u scores, %u derived inputs", sensor, r->score_count,
		r->derived_count);
	sim_check(o->sim,
		score->model == 0 &&
			score->version == o->config->linear[st->index].linear.bundle.version,
		"sensor %u: scored by model %u, version %u", sensor, score->model, score->version);
	sim_check(o->sim, same(derived[0], values[1] - s->before),
		"sensor %u: the difference is %g, not %g", sensor, (double)derived[0],
		(double)(values[1] - s->before));
	sim_check(o->sim, s->cut || same(derived[1], count_in_panes(o, s, st)),
		"sensor %u: the panes hold %g values, not %g", sensor, (double)derived[1],
		(double)count_in_panes(o, s, st));
	sum = (double)values[1] + (double)derived[0] + (double)derived[1];
	sim_check(o->sim,
		isfinite(sum) ? score->flags == 0 && score->value == (float)sum
			      : score->flags == DP_SCORE_NONE && isnan(score->value),
		"sensor %u: score %g, flags %u, should be %g", sensor, (double)score->value,
		score->flags, sum);
}

/* ---- alerts on scores ---- */

/* The rule of that stream that is on a score; SIM_RULES_MAX: none. */
static uint32_t score_rule(const struct dp_stream *st)
{
	for (uint32_t i = 0; i < st->rule_count; i++)
		if (st->rules[i].of_score)
			return i;
	return SIM_RULES_MAX;
}

/* What docs/alerts.md says that this score brings about; live: it is due as the next record. */
static void see_score(struct oracle *o, struct oracle_sensor *s, const struct oracle_record *record,
	const struct dp_rec_reading *r, bool live)
{
	const struct dp_stream *st = &o->config->streams[r->head.stream];
	const struct dp_rec_score *score = dp_rec_scores(r);
	uint32_t at = score_rule(st);
	bool raised = s->raised >> at & 1, raises, clears;

	if (at == SIM_RULES_MAX || r->flags & DP_ROW_LATE || score->flags & DP_SCORE_NONE)
		return;
	s->run = (double)score->value > st->rules[at].threshold ? s->run + 1 : 0;
	raises = !raised && s->run >= st->rules[at].count;
	clears = raised &&
		 (double)score->value <= st->rules[at].threshold - st->rules[at].hysteresis;
	if (!live || !(raises || clears))
		return;
	s->alert.due = true;
	s->alert.raised = raises;
	s->alert.value = (double)score->value;
	memcpy(s->alert.cause, raises ? record->id : s->cause[at], sizeof(s->alert.cause));
	o->alerts_due++;
}

static void check_score_alert(struct oracle *o, struct oracle_sensor *s,
	const struct oracle_record *record, const struct dp_rec_alert *a)
{
	if (s->retiring) /* no score is behind it */
		return;
	sim_check(o->sim, s->alert.due, "alert %u of sensor %u: no score %s it", a->rule,
		record->sensor, a->raised ? "raises" : "clears");
	sim_check(o->sim,
		a->raised == s->alert.raised && a->value == s->alert.value &&
			memcmp(a->cause, s->alert.cause, sizeof(a->cause)) == 0,
		"alert %u of sensor %u: %s at %g, should be %s at %g, or the cause is another",
		a->rule, record->sensor, a->raised ? "raised" : "cleared", a->value,
		s->alert.raised ? "raised" : "cleared", s->alert.value);
	s->alert.due = false;
	o->alerts_due--;
	o->score_alerts++;
}

static void reading(struct oracle *o, const struct oracle_record *record,
	const struct dp_rec_reading *r, bool live)
{
	struct oracle_sensor *s = &o->sensors[record->sensor];
	const struct dp_stream *st = &o->config->streams[r->head.stream];
	bool late = false;

	if (live && r->index == 0)
		check_arrival(o, s, o->net->readings[record->reading].unit);
	if (r->flags & (DP_ROW_NEW_LIFE | DP_ROW_CLOCK_RESET))
		begin_life(o, s, r, record, live);
	if (!live && !s->known) { /* how it began is freed */
		s->known = s->cut = true;
		s->life = r->life;
	}
	sim_check(o->sim, !live || (s->known && r->life == s->life),
		"reading %u of sensor %u in another life", record->reading, record->sensor);
	sim_check(o->sim,
		!live || !!(r->flags & DP_ROW_FUTURE) ==
				 (r->event_ns - r->arrival_ns > st->max_skew_ns),
		"reading %u of sensor %u: future or not", record->reading, record->sensor);
	if (!(r->flags & DP_ROW_FUTURE))
		late = keep(s, st, record->reading, r->event_ns, live);
	if (live)
		check_score(o, s, r, st);
	see_score(o, s, record, r, live);
	s->before = dp_rec_values(r)[1];
	if (s->kept_count >= s->prune_at)
		prune(o, s, st);
	sim_check(o->sim, !live || late == !!(r->flags & DP_ROW_LATE),
		"reading %u of sensor %u: late or not", record->reading, record->sensor);
}

/* With its sensor goes what is raised, without a value: nothing else clears so. */
static void see_clear(struct oracle *o, struct oracle_sensor *s, const struct dp_rec_alert *a)
{
	bool valued = a->raised || !isnan(a->value);

	sim_check(o->sim, !valued || !s->retiring,
		"alert %u of sensor %u has a value, the sensor is being retired", a->rule,
		(uint32_t)(s - o->sensors));
	o->retiring += !valued && !s->retiring;
	s->retiring |= !valued;
}

static void alert(struct oracle *o, const struct oracle_record *record,
	const struct dp_rec_alert *a, bool live)
{
	struct oracle_sensor *s = &o->sensors[record->sensor];
	uint32_t bit = 1u << a->rule;

	if (live) {
		sim_check(o->sim, !!(s->raised & bit) != a->raised,
			"alert %u of sensor %u is %s twice", a->rule, record->sensor,
			a->raised ? "raised" : "cleared");
		see_clear(o, s, a);
		if (o->config->streams[a->head.stream].rules[a->rule].of_score)
			check_score_alert(o, s, record, a);
		sim_check(o->sim,
			a->raised || memcmp(s->cause[a->rule], a->cause, sizeof(a->cause)) == 0,
			"alert %u of sensor %u: cleared for another cause than raised", a->rule,
			record->sensor);
	}
	s->raised = a->raised ? s->raised | bit : s->raised & ~bit;
	memcpy(s->cause[a->rule], a->cause, sizeof(a->cause));
}

void oracle_sensor_record(struct oracle *o, const struct oracle_record *r, const struct dp_rec *rec,
	const struct dp_block *b, bool live)
{
	struct oracle_sensor *s = r->sensor == UINT32_MAX ? NULL : &o->sensors[r->sensor];

	(void)b;
	sim_check(o->sim, !live || !s || !s->alert.due || rec->kind == DP_REC_ALERT,
		"sensor %u: a score brought no alert", r->sensor);
	sim_check(o->sim,
		!live || !s || !s->retiring || rec->kind == DP_REC_ALERT ||
			rec->kind == DP_REC_MARK,
		"sensor %u: an alert was cleared without a value, and the sensor goes on",
		r->sensor);
	switch (rec->kind) {
	case DP_REC_READING:
		reading(o, r, (const struct dp_rec_reading *)rec, live);
		break;
	case DP_REC_WINDOW:
		window(o, s, (const struct dp_rec_window *)rec, live);
		break;
	case DP_REC_ALERT:
		alert(o, r, (const struct dp_rec_alert *)rec, live);
		break;
	case DP_REC_MARK:
		if (!s)
			break;
		if (live) {
			check_all_closed(o, s, &o->config->streams[rec->stream]);
			sim_check(o->sim, !s->raised,
				"sensor %u was forgotten with an alert raised", r->sensor);
			o->retiring -= s->retiring;
		}
		forget(s);
		break;
	}
}

void oracle_sensors_end(struct oracle *o)
{
	for (uint32_t i = 0; i < o->net->sensor_count; i++)
		check_all_closed(o, &o->sensors[i], &o->config->streams[o->net->sensors[i].stream]);
}
