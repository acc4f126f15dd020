/* What is wrong with streams only in combination: names, windows, alert rules. */
#include "control/config/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct named {
	const char *name;
	uint32_t index;
};

static int by_name(const void *left, const void *right)
{
	const struct named *a = left, *b = right;
	int c = strcmp(a->name, b->name);

	return c ? c : (a->index > b->index) - (a->index < b->index);
}

void ctl_check_names(struct ctl_cx *cx, const struct ctl_names *names)
{
	struct named *sorted = calloc(names->count + 1, sizeof(*sorted));
	const char *base = names->base;

	if (!sorted)
		abort();
	for (uint32_t i = 0; i < names->count; i++)
		sorted[i] = (struct named){base + i * names->stride, i};
	qsort(sorted, names->count, sizeof(*sorted), by_name);
	for (size_t i = 1, first = 0; i < names->count; i++) {
		if (strcmp(sorted[i].name, sorted[first].name)) {
			first = i;
			continue;
		}
		if (sorted[i].name[0])
			ctl_fail_at(cx, sorted[i].name, "%s \"%s\" is already in line %u",
				names->what, sorted[i].name, ctl_line_of(cx, sorted[first].name));
	}
	free(sorted);
}

static void check_fields(struct ctl_cx *cx, const struct dp_stream *s)
{
	const struct ctl_names fields = {
		s->fields, s->field_count, sizeof(struct dp_field), "field"};
	const struct ctl_names tags = {s->tags, s->tag_count, sizeof(struct dp_tag), "tag"};

	ctl_check_names(cx, &fields);
	ctl_check_names(cx, &tags);
	for (uint16_t i = 0; i < s->field_count; i++) {
		const struct dp_field *f = &s->fields[i];

		if (f->min > f->max)
			ctl_fail_at(cx, &f->min, "is above max, which is %g", f->max);
		if (f->scale == 0 || !isfinite(f->scale))
			ctl_fail_at(cx, &f->scale, "must be finite and not 0");
		if (!isfinite(f->offset))
			ctl_fail_at(cx, &f->offset, "must be finite");
	}
}

/* JSON readings hold fields, tags, id and time side by side: each key means one thing. */
static void check_keys(struct ctl_cx *cx, const struct dp_stream *s)
{
	const struct {
		const char *key, *what;
	} own[] = {{s->id_key, "id_key"}, {s->time_key, "time_key"}};

	if (s->id_key[0] && !strcmp(s->id_key, s->time_key))
		ctl_fail_at(cx, s->time_key, "\"%s\" is the id_key too", s->time_key);
	for (size_t k = 0; k < 2; k++) {
		for (uint16_t i = 0; own[k].key[0] && i < s->field_count; i++) {
			if (!strcmp(s->fields[i].name, own[k].key))
				ctl_fail_at(cx, s->fields[i].name, "\"%s\" is the %s of the stream",
					own[k].key, own[k].what);
		}
		for (uint16_t i = 0; own[k].key[0] && i < s->tag_count; i++) {
			if (!strcmp(s->tags[i].name, own[k].key))
				ctl_fail_at(cx, s->tags[i].name, "\"%s\" is the %s of the stream",
					own[k].key, own[k].what);
		}
	}
	for (uint16_t t = 0; t < s->tag_count; t++) {
		for (uint16_t i = 0; s->tags[t].name[0] && i < s->field_count; i++) {
			if (!strcmp(s->fields[i].name, s->tags[t].name))
				ctl_fail_at(cx, s->tags[t].name, "\"%s\" is a field of the stream",
					s->tags[t].name);
		}
	}
}

/* Panes of one slide each: the window itself, what lateness keeps open, one cut at both ends. */
static int64_t panes(const struct dp_stream *s, const struct dp_window_def *w)
{
	return (w->size_ns + s->lateness_ns + w->slide_ns - 1) / w->slide_ns + 1;
}

static void check_windows(struct ctl_cx *cx, const struct dp_stream *s)
{
	const struct ctl_names windows = {
		s->windows, s->window_count, sizeof(struct dp_window_def), "window"};
	char size[CTL_SCALAR_TEXT_BYTES], slide[CTL_SCALAR_TEXT_BYTES];

	ctl_check_names(cx, &windows);
	for (uint16_t i = 0; i < s->window_count; i++) {
		const struct dp_window_def *w = &s->windows[i];

		if (!w->size_ns || !w->slide_ns)
			continue;
		ctl_write_duration(w->size_ns, size);
		ctl_write_duration(w->slide_ns, slide);
		if (w->slide_ns > w->size_ns)
			ctl_fail_at(
				cx, &w->slide_ns, "%s is longer than the size, %s", slide, size);
		else if (w->size_ns % w->slide_ns)
			ctl_fail_at(
				cx, &w->size_ns, "%s is no multiple of the slide, %s", size, slide);
		else if (panes(s, w) > DP_PANES_MAX)
			ctl_fail_at(cx, &w->slide_ns,
				"size and lateness make %lld panes of %s, at most %d are kept: "
				"choose a "
				"longer slide",
				(long long)panes(s, w), slide, DP_PANES_MAX);
	}
}

static void check_rule(struct ctl_cx *cx, const struct dp_stream *s, const struct dp_rule *r)
{
	const struct dp_window_def *w = r->window >= 0 ? &s->windows[r->window] : NULL;

	if (r->kind && r->kind != DP_RULE_MISSING && r->field == -1 && r->model == -1)
		ctl_fail_at(cx, r->name, "needs field or score: what is compared");
	if (r->field != -1 && r->model != -1)
		ctl_fail_at(cx, &r->model, "give field or score, not both");
	if (*r->class_name && r->model == -1)
		ctl_fail_at(cx, r->class_name, "needs score too: which model says it");
	if (w && r->model != -1) {
		ctl_fail_at(cx, &r->window, "a score is of what its model scores: leave it out");
		return;
	}
	if (w && !r->stat)
		ctl_fail_at(cx, &r->window, "needs stat too: which statistic of the window");
	if (r->window == -1 && r->stat)
		ctl_fail_at(cx, &r->stat, "needs window too: whose statistic it is");
	if (w && r->stat && w->stats && !(w->stats & r->stat))
		ctl_fail_at(cx, &r->stat, "window %s does not keep this statistic", w->name);
	if (r->count && r->duration_ns)
		ctl_fail_at(cx, &r->duration_ns, "give count or for, not both");
	if (r->hysteresis < 0 || !isfinite(r->hysteresis))
		ctl_fail_at(cx, &r->hysteresis, "must be finite and not below 0");
	/* a change is never below 0: the alert would clear at none at all, or never */
	if (r->kind == DP_RULE_RATE && r->hysteresis > 0 && r->hysteresis >= r->threshold)
		ctl_fail_at(cx, &r->hysteresis, "must be less than the threshold of a rate");
	if (r->kind == DP_RULE_RATE && r->threshold < 0)
		ctl_fail_at(cx, &r->threshold, "is compared with an absolute change: not below 0");
	if (r->kind == DP_RULE_MISSING && r->period_ns && s->forget_ns &&
		(double)r->period_ns * r->count >= (double)s->forget_ns)
		ctl_fail_at(cx, &r->period_ns,
			"times count reaches the stream's forget: the sensor is gone before the "
			"alert");
}

static void check_times(struct ctl_cx *cx, const struct dp_stream *s)
{
	if (s->idle_ns && s->forget_ns && s->idle_ns > s->forget_ns)
		ctl_fail_at(cx, &s->idle_ns, "is longer than forget");
	if (s->forget_ns && s->lateness_ns > s->forget_ns)
		ctl_fail_at(cx, &s->lateness_ns, "is longer than forget");
}

static void check_numbers(struct ctl_cx *cx)
{
	const struct dp_stream *list = cx->config->streams.streams;

	for (uint32_t i = 1; i < cx->config->streams.count; i++) {
		for (uint32_t k = 0; k < i; k++) {
			if (list[i].number != list[k].number || !list[i].number)
				continue;
			ctl_fail_at(cx, &list[i].number, "%u is the number of stream \"%s\" too",
				list[i].number, list[k].name);
			break;
		}
	}
}

void ctl_check_streams(struct ctl_cx *cx)
{
	const struct dp_stream_set *set = &cx->config->streams;
	const struct ctl_names streams = {
		set->streams, set->count, sizeof(struct dp_stream), "stream"};

	ctl_check_names(cx, &streams);
	check_numbers(cx);
	for (uint32_t i = 0; i < set->count; i++) {
		const struct dp_stream *s = &set->streams[i];
		const struct ctl_names rules = {
			s->rules, s->rule_count, sizeof(struct dp_rule), "alert"};
		const struct ctl_names models = {
			s->models, s->model_count, sizeof(struct dp_model), "model"};

		check_fields(cx, s);
		check_keys(cx, s);
		check_times(cx, s);
		check_windows(cx, s);
		ctl_check_names(cx, &models);
		ctl_check_names(cx, &rules);
		for (uint16_t k = 0; k < s->rule_count; k++)
			check_rule(cx, s, &s->rules[k]);
	}
}
