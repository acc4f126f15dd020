/* Between the signal and the encoder: what breaks, and the truth about it. */
#include "firmware-sim/fault.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
	[FWS_STUCK] = "stuck",
	[FWS_DRIFT] = "drift",
	[FWS_SPIKE] = "spike",
	[FWS_NOISE] = "noise",
	[FWS_BATTERY] = "battery",
};

enum { KINDS = sizeof(names) / sizeof(names[0]) };

const char *fws_fault_name(enum fws_fault_kind kind)
{
	return names[kind];
}

static int find_field(const struct fws_shape *shape, const char *name)
{
	for (uint32_t i = 0; i < shape->field_count; i++)
		if (!strcmp(shape->fields[i], name))
			return (int)i;
	return -1;
}

static const char *parse_seconds(int64_t *ns, const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= 0 && s <= 1e9))
		return "seconds must be a number from 0 to 10^9";
	*ns = (int64_t)(s * 1e9);
	return NULL;
}

static const char *parse_sensors(struct fws_fault *f, const char *text)
{
	char *end;
	unsigned long first = strtoul(text, &end, 10), last = first;

	if (end != text && *end == '-')
		last = strtoul(end + 1, &end, 10);
	if (end == text || *end || first < 1 || last < first || last > FWS_SENSORS_MAX)
		return "sensors must be A or A-B, counted from 1";
	f->first = (uint32_t)first - 1;
	f->last = (uint32_t)last - 1;
	return NULL;
}

static const char *parse_size(struct fws_fault *f, const char *text)
{
	char *end;

	f->size = strtof(text, &end);
	return end == text || *end || !isfinite(f->size) ? "size must be a number" : NULL;
}

/* NULL, or what is wrong with key=value. */
static const char *parse_pair(struct fws_fault *f, const struct fws_shape *shape, char *pair)
{
	char *value = strchr(pair, '=');

	if (!value)
		return "expected KEY=VALUE after the kind";
	*value++ = '\0';
	if (!strcmp(pair, "after"))
		return parse_seconds(&f->after_ns, value);
	if (!strcmp(pair, "for"))
		return parse_seconds(&f->for_ns, value);
	if (!strcmp(pair, "every"))
		return parse_seconds(&f->every_ns, value);
	if (!strcmp(pair, "sensors"))
		return parse_sensors(f, value);
	if (!strcmp(pair, "size"))
		return parse_size(f, value);
	if (strcmp(pair, "field"))
		return "keys are field, size, after, for, every, sensors";

	int field = find_field(shape, value);

	if (field < 0)
		return "no such field";
	f->field = (uint16_t)field;
	return NULL;
}

int fws_fault_parse(
	struct fws_fault *f, const char *spec, const struct fws_shape *shape, const char **why)
{
	char text[256], *save = NULL, *part;

	*why = "too long";
	if (strlen(spec) >= sizeof(text))
		return -EINVAL;
	strcpy(text, spec);
	*f = (struct fws_fault){.size = 8, .for_ns = 30 * FWS_NS_PER_S, .last = UINT32_MAX};
	part = strtok_r(text, ",", &save);
	for (int k = FWS_STUCK; part && k < KINDS; k++)
		if (!strcmp(part, names[k]))
			f->kind = (enum fws_fault_kind)k;
	*why = "kinds are stuck, drift, spike, noise, battery";
	if (!f->kind)
		return -EINVAL;
	if (f->kind == FWS_BATTERY) {
		int field = find_field(shape, "voltage");

		*why = "battery needs the field voltage";
		if (field < 0)
			return -EINVAL;
		f->field = (uint16_t)field;
	}
	while ((part = strtok_r(NULL, ",", &save))) {
		*why = parse_pair(f, shape, part);
		if (*why)
			return -EINVAL;
	}
	*why = "an episode must be longer than 0 and end before the next begins";
	if (f->for_ns <= 0 || (f->every_ns && f->every_ns < f->for_ns))
		return -EINVAL;
	*why = NULL;
	return 0;
}

/* Number of the episode that elapsed_ns lies in (from 1; 0 none) and the time since it began. */
static uint32_t episode_at(const struct fws_fault *f, int64_t elapsed_ns, int64_t *since_ns)
{
	int64_t t = elapsed_ns - f->after_ns;
	uint32_t n = 1;

	if (t < 0)
		return 0;
	if (f->every_ns) {
		n += (uint32_t)(t / f->every_ns);
		t %= f->every_ns;
	}
	*since_ns = t;
	return t < f->for_ns ? n : 0;
}

/* How far off, in sigma; with noise how wide. */
static float how_far(const struct fws_fault *f, bool first, float progress)
{
	switch (f->kind) {
	case FWS_STUCK:
		return first ? 0 : INFINITY;
	case FWS_DRIFT:
	case FWS_BATTERY:
		return fabsf(f->size) * progress;
	case FWS_SPIKE:
	case FWS_NOISE:
		return fabsf(f->size);
	}
	return 0;
}

static float faulty(
	const struct fws_fault *f, const struct fws_fault_reading *r, float onset, float progress)
{
	float v = r->values[f->field], step = f->size * r->sigma[f->field];

	switch (f->kind) {
	case FWS_STUCK:
		return onset;
	case FWS_DRIFT:
		return v + step * progress;
	case FWS_SPIKE:
		return v + (fws_rng_next(r->rng) & 1 ? step : -step);
	case FWS_NOISE:
		return v + step * fws_rng_normal(r->rng);
	case FWS_BATTERY:
		return fmaxf(v - step * progress, 0);
	}
	return v;
}

uint32_t fws_fault_apply(const struct fws_fault *faults, uint32_t count,
	struct fws_fault_state *state, const struct fws_fault_reading *r,
	struct fws_fault_hit *hits)
{
	uint32_t hit = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct fws_fault *f = &faults[i];
		int64_t since = 0;
		uint32_t episode = episode_at(f, r->elapsed_ns, &since);
		float truth = r->values[f->field];

		if (!episode || r->device < f->first || r->device > f->last || isnan(truth))
			continue;

		bool first = episode != state[i].episode;

		if (first)
			state[i] = (struct fws_fault_state){episode, truth};
		else if (f->kind == FWS_SPIKE)
			continue;

		float progress = (float)((double)since / (double)f->for_ns);

		r->values[f->field] = faulty(f, r, state[i].onset, progress);
		hits[hit++] = (struct fws_fault_hit){
			(uint8_t)i, f->field, truth, how_far(f, first, progress)};
	}
	return hit;
}
