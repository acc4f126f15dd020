/* Values of the simulated sensors. */
#include "firmware-sim/signal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum curve { OTHER, TEMPERATURE, HUMIDITY, VOLTAGE, LIGHT };

static enum curve curve_of(const char *name)
{
	static const char *const names[] = {"", "temperature", "humidity", "voltage", "light"};

	for (int i = TEMPERATURE; i <= LIGHT; i++)
		if (!strcmp(name, names[i]))
			return (enum curve)i;
	return OTHER;
}

void fws_signal_init(struct fws_signal_set *s, const struct fws_shape *shape, bool repeat)
{
	static const float sigma[] = {0.1f, 0.05f, 0.15f, 0.004f, 3};
	static const float resolution[] = {0.01f, 0.01f, 0.01f, 0.001f, 1};

	*s = (struct fws_signal_set){.field_count = shape->field_count, .repeat = repeat};
	memcpy(s->fields, shape->fields, sizeof(s->fields));
	for (uint32_t f = 0; f < s->field_count; f++) {
		s->curve[f] = (uint8_t)curve_of(s->fields[f]);
		s->sigma[f] = sigma[s->curve[f]];
		s->resolution[f] = resolution[s->curve[f]];
	}
}

void fws_signal_fini(struct fws_signal_set *s)
{
	for (uint32_t i = 0; i < s->trace_count; i++) {
		free(s->traces[i].values);
		free(s->traces[i].label);
	}
	free(s->traces);
	s->traces = NULL;
	s->trace_count = 0;
}

struct fws_trace *fws_signal_trace(struct fws_signal_set *s, uint32_t file, uint32_t mote)
{
	for (uint32_t i = s->trace_count; i-- > 0 && s->traces[i].file == file;)
		if (s->traces[i].mote == mote)
			return &s->traces[i];

	struct fws_trace *all = realloc(s->traces, (s->trace_count + 1) * sizeof(*all));

	if (!all)
		return NULL;
	s->traces = all;
	all += s->trace_count++;
	*all = (struct fws_trace){.file = file, .mote = mote};
	return all;
}

int fws_trace_add(struct fws_trace *t, const float *values, uint32_t field_count, uint8_t label)
{
	if (t->count == t->room) {
		uint32_t room = t->room ? t->room * 2 : 256;
		float *v = realloc(t->values, (size_t)room * field_count * sizeof(float));

		if (!v)
			return -ENOMEM;
		t->values = v;

		uint8_t *l = realloc(t->label, room);

		if (!l)
			return -ENOMEM;
		t->label = l;
		t->room = room;
	}
	memcpy(t->values + (size_t)t->count * field_count, values, field_count * sizeof(float));
	t->label[t->count++] = label;
	return 0;
}

/* Devices beyond the traces share one: each begins elsewhere in it and measures a little beside it.
 */
void fws_signal_start(const struct fws_signal_set *s, struct fws_signal_state *st, uint32_t index,
	struct fws_rng rng)
{
	uint32_t turn = 0;

	st->rng = rng;
	st->trace = NULL;
	st->row = st->rows_read = 0;
	if (s->trace_count) {
		st->trace = &s->traces[index % s->trace_count];
		turn = index / s->trace_count;
		st->row = (uint32_t)(fmod(turn * 0.6180339887, 1) * st->trace->count);
	}
	st->phase = (float)fws_rng_unit(&st->rng) * 0.1f;
	st->age = (float)fws_rng_unit(&st->rng);
	st->slow_ns = INT64_MIN;
	for (uint32_t f = 0; f < s->field_count; f++) {
		float spread = 10 * s->sigma[f] * fws_rng_normal(&st->rng);
		float own = st->trace ? st->trace->sigma[f] : NAN;

		st->sigma[f] = isnan(own) ? s->sigma[f] : fmaxf(own, s->resolution[f]);
		st->offset[f] = isnan(own) || turn ? spread : 0;
	}
}

/* The curves without noise: indoor climate over a day, a lithium cell of 3 V, daylight. */
static void compute_slow(const struct fws_signal_set *s, struct fws_signal_state *st, int64_t t_ns)
{
	double day = fmod((double)(t_ns / FWS_NS_PER_S) / 86400.0 + st->phase, 1);
	float sun = (float)sin(2 * M_PI * (day - 0.25));
	float temperature = 22 + 4 * (float)sin(2 * M_PI * (day - 0.4));

	for (uint32_t f = 0; f < s->field_count; f++) {
		switch ((enum curve)s->curve[f]) {
		case TEMPERATURE:
			st->slow[f] = temperature;
			break;
		case HUMIDITY:
			st->slow[f] = 45 - 2 * (temperature - 22);
			break;
		case VOLTAGE:
			st->slow[f] = 3 - 0.3f * st->age + 0.002f * (temperature - 22);
			break;
		case LIGHT:
			st->slow[f] = 40 + 600 * fmaxf(sun, 0);
			break;
		case OTHER:
			st->slow[f] = 10 * (float)sin(2 * M_PI * (day * 24 + f * 0.1));
			break;
		}
	}
	st->slow_ns = t_ns;
}

static float quantised(float v, float resolution)
{
	return rintf(v / resolution) * resolution;
}

bool fws_signal_read(const struct fws_signal_set *s, struct fws_signal_state *st, int64_t t_ns,
	float *values, uint8_t *label)
{
	const float *row = NULL;

	*label = 0;
	if (st->trace) {
		if (st->rows_read == st->trace->count) {
			if (!s->repeat)
				return false;
			st->rows_read = 0;
		}
		row = st->trace->values + (size_t)st->row * s->field_count;
		*label = st->trace->label[st->row];
		st->row = st->row + 1 == st->trace->count ? 0 : st->row + 1;
		st->rows_read++;
	}
	if (st->slow_ns == INT64_MIN || t_ns - st->slow_ns > FWS_NS_PER_S || t_ns < st->slow_ns)
		compute_slow(s, st, t_ns);
	for (uint32_t f = 0; f < s->field_count; f++) {
		float v;

		if (row && !isnan(row[f])) {
			v = row[f] + st->offset[f];
		} else if (st->trace && !isnan(st->trace->sigma[f])) {
			values[f] = NAN; /* measured, but not this time */
			continue;
		} else {
			v = st->slow[f] + st->offset[f] + s->sigma[f] * fws_rng_normal(&st->rng);
		}
		values[f] = quantised(v, s->resolution[f]);
		if (s->curve[f] == LIGHT && values[f] < 0)
			values[f] = 0;
	}
	return true;
}
