#include "tests/prop/window_reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef __int128 wide; /* sums of times do not overflow in it */

struct reading {
	int64_t event_ns;
	float values[REF_FIELDS_MAX];
};

/* In order of arrival. */
struct open_window {
	wide start_ns;
	struct reading *readings;
	uint32_t count, room;
};

struct def {
	struct open_window *open; /* by start */
	uint32_t count;
	bool any_idle;
	wide idle_start_ns; /* last window that an idle close closed */
};

struct ref_sensor {
	const struct dp_stream *stream;
	struct def defs[DP_WINDOWS_MAX];
	bool any;
	int64_t newest_ns; /* greatest event time of this life */
	int64_t behind[DP_CLOCK_RESET_READINGS];
	uint32_t behind_count;
};

struct ref_sensor *ref_new(const struct dp_stream *s)
{
	struct ref_sensor *r = calloc(1, sizeof(*r));

	assert(r && s->field_count <= REF_FIELDS_MAX);
	r->stream = s;
	return r;
}

static void drop_windows(struct def *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		free(d->open[i].readings);
	free(d->open);
	memset(d, 0, sizeof(*d));
}

void ref_free(struct ref_sensor *r)
{
	for (uint16_t i = 0; i < r->stream->window_count; i++)
		drop_windows(&r->defs[i]);
	free(r);
}

/* ---- statistics ---- */

static void of_field(
	const struct open_window *w, uint16_t field, double stats[REF_STATS], double *magnitude)
{
	long double sum = 0, squares = 0;
	double min = NAN, max = NAN, last = NAN;
	wide last_ns = 0;
	uint32_t n = 0;

	*magnitude = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		double v = (double)w->readings[i].values[field];

		if (!isfinite(v))
			continue;
		sum += (long double)v;
		min = n == 0 || v < min ? v : min;
		max = n == 0 || v > max ? v : max;
		if (n == 0 || w->readings[i].event_ns >= last_ns) {
			last = v;
			last_ns = w->readings[i].event_ns;
		}
		*magnitude = fmax(*magnitude, fabs(v));
		n++;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		long double off = (long double)w->readings[i].values[field] - sum / (n ? n : 1);

		if (isfinite(w->readings[i].values[field]))
			squares += off * off;
	}
	stats[0] = n;
	stats[1] = n ? (double)(sum / n) : NAN;
	stats[2] = n > 1 ? (double)sqrtl(squares / (n - 1)) : NAN;
	stats[3] = min;
	stats[4] = max;
	stats[5] = last;
}

static void emit(const struct ref_sensor *r, uint16_t def, const struct open_window *w,
	enum dp_close_reason reason, struct ref_closes *out)
{
	struct ref_close *c = &out->list[out->count++];

	assert(out->count <= REF_CLOSES_MAX);
	c->start_ns = (int64_t)w->start_ns;
	c->end_ns = (int64_t)(w->start_ns + r->stream->windows[def].size_ns);
	c->count = w->count;
	c->window = (uint8_t)def;
	c->reason = (uint8_t)reason;
	for (uint16_t i = 0; i < r->stream->field_count; i++)
		of_field(w, i, c->stats[i], &c->magnitude[i]);
}

/* ---- windows ---- */

static void close_first(
	struct ref_sensor *r, uint16_t def, enum dp_close_reason reason, struct ref_closes *out)
{
	struct def *d = &r->defs[def];

	emit(r, def, &d->open[0], reason, out);
	free(d->open[0].readings);
	memmove(d->open, d->open + 1, --d->count * sizeof(*d->open));
}

/* Is the window that starts there closed, whether or not it ever held a reading? */
static bool is_closed(const struct ref_sensor *r, uint16_t def, wide start_ns)
{
	const struct def *d = &r->defs[def];
	wide watermark = (wide)r->newest_ns - r->stream->lateness_ns;

	return start_ns + r->stream->windows[def].size_ns <= watermark ||
	       (d->any_idle && start_ns <= d->idle_start_ns);
}

static void put_in(struct def *d, wide start_ns, const struct reading *what)
{
	uint32_t i = 0;
	struct open_window *w;

	while (i < d->count && d->open[i].start_ns < start_ns)
		i++;
	if (i == d->count || d->open[i].start_ns != start_ns) {
		d->open = realloc(d->open, (d->count + 1) * sizeof(*d->open));
		assert(d->open);
		memmove(d->open + i + 1, d->open + i, (d->count - i) * sizeof(*d->open));
		d->open[i] = (struct open_window){.start_ns = start_ns};
		d->count++;
	}
	w = &d->open[i];
	if (w->count == w->room) {
		w->room = 2 * w->room + 4;
		w->readings = realloc(w->readings, w->room * sizeof(*w->readings));
		assert(w->readings);
	}
	w->readings[w->count++] = *what;
}

/* Into every window that holds its time and is open; false when there is none. */
static bool put(struct ref_sensor *r, uint16_t def, const struct reading *what)
{
	const struct dp_window_def *w = &r->stream->windows[def];
	wide start_ns = what->event_ns;
	bool any = false;

	while (start_ns % w->slide_ns != 0)
		start_ns -= ((start_ns % w->slide_ns) + w->slide_ns) % w->slide_ns;
	for (; start_ns + w->size_ns > what->event_ns; start_ns -= w->slide_ns) {
		if (is_closed(r, def, start_ns))
			continue;
		put_in(&r->defs[def], start_ns, what);
		any = true;
	}
	return any;
}

/* ---- time ---- */

static bool clock_reset(struct ref_sensor *r, int64_t event_ns)
{
	wide watermark = (wide)r->newest_ns - r->stream->lateness_ns;

	if (!r->any || watermark - event_ns <= r->stream->max_skew_ns) {
		r->behind_count = 0;
		return false;
	}
	if (r->behind_count && event_ns < r->behind[r->behind_count - 1])
		r->behind_count = 0;
	r->behind[r->behind_count++] = event_ns;
	return r->behind_count == DP_CLOCK_RESET_READINGS;
}

uint16_t ref_reading(struct ref_sensor *r, int64_t event_ns, int64_t arrival_ns,
	const float *values, struct ref_closes *out)
{
	const struct dp_stream *s = r->stream;
	struct reading what = {.event_ns = event_ns};
	uint16_t flags = 0;

	memcpy(what.values, values, s->field_count * sizeof(float));
	if ((wide)event_ns - arrival_ns > s->max_skew_ns) {
		r->behind_count = 0;
		return DP_ROW_FUTURE;
	}
	if (clock_reset(r, event_ns)) {
		for (uint16_t i = 0; i < s->window_count; i++) {
			while (r->defs[i].count)
				close_first(r, i, DP_CLOSE_CLOCK_RESET, out);
			drop_windows(&r->defs[i]);
		}
		r->any = false;
		r->behind_count = 0;
		flags |= DP_ROW_CLOCK_RESET;
	}
	if (!r->any || event_ns > r->newest_ns)
		r->newest_ns = event_ns;
	r->any = true;
	for (uint16_t i = 0; i < s->window_count; i++) {
		while (r->defs[i].count && is_closed(r, i, r->defs[i].open[0].start_ns))
			close_first(r, i, DP_CLOSE_WATERMARK, out);
		if (!put(r, i, &what))
			flags |= DP_ROW_LATE;
	}
	return flags;
}

void ref_idle(struct ref_sensor *r, struct ref_closes *out)
{
	for (uint16_t i = 0; i < r->stream->window_count; i++) {
		struct def *d = &r->defs[i];

		while (d->count) {
			d->any_idle = true;
			d->idle_start_ns = d->open[0].start_ns;
			close_first(r, i, DP_CLOSE_IDLE, out);
		}
	}
}

/* ---- probes ---- */

struct pane {
	wide start_ns;
	long double sum;
	uint32_t count;
};

/* Of one window's readings, in order of arrival, into panes of that slide. */
static uint32_t split(const struct open_window *w, uint16_t field, wide slide_ns,
	struct pane *panes, uint32_t most)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < w->count; i++) {
		float v = w->readings[i].values[field];
		wide at =
			w->start_ns + (w->readings[i].event_ns - w->start_ns) / slide_ns * slide_ns;
		uint32_t k = 0;

		if (!isfinite(v))
			continue;
		while (k < count && panes[k].start_ns != at)
			k++;
		assert(k < most);
		if (k == count)
			panes[count++] = (struct pane){.start_ns = at};
		panes[k].sum += (long double)v;
		panes[k].count++;
	}
	return count;
}

static double slope_of(const struct open_window *w, uint16_t field, int64_t slide_ns)
{
	struct pane panes[DP_PANES_MAX];
	uint32_t count = split(w, field, slide_ns, panes, DP_PANES_MAX);
	long double n = 0, t = 0, m = 0, up = 0, down = 0;

	if (count < 2)
		return NAN;
	for (uint32_t i = 0; i < count; i++) {
		n += panes[i].count;
		t += (long double)(panes[i].start_ns - w->start_ns) / 1e9L * panes[i].count;
		m += panes[i].sum;
	}
	for (uint32_t i = 0; i < count; i++) {
		long double off = (long double)(panes[i].start_ns - w->start_ns) / 1e9L - t / n;

		up += panes[i].count * off * (panes[i].sum / panes[i].count - m / n);
		down += panes[i].count * off * off;
	}
	return (double)(up / down);
}

void ref_probe(const struct ref_sensor *r, uint16_t def, uint16_t field, struct ref_probe *out)
{
	const struct def *d = &r->defs[def];
	const struct dp_window_def *w = &r->stream->windows[def];
	const struct open_window none = {0};
	const struct open_window *seen = &none;
	uint32_t i = 0;

	if (d->count) {
		/* the window that starts with the newest pane is the last that has a reading */
		while (d->open[i].start_ns + w->size_ns <= d->open[d->count - 1].start_ns)
			i++;
		seen = &d->open[i];
	}
	of_field(seen, field, out->stats, &out->magnitude);
	out->slope = slope_of(seen, field, w->slide_ns);
}
