/* Models of a config: from file names to plans. */
#include "control/config/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config/parse.h"
#include "models/bundle/load.h"

enum { WHY_BYTES = 512 };

/* Labels of all models of a stream, one behind the other. */
static bool take_labels(struct ctl_cx *cx, struct dp_stream *s, struct mdl_bundle *const *bundles)
{
	uint32_t count = 0;

	for (uint16_t i = 0; i < s->model_count; i++)
		count += bundles[i]->class_count;
	if (count > DP_LABELS_MAX) {
		ctl_fail_at(cx, &s->models, "have %u classes together, at most %d are kept", count,
			DP_LABELS_MAX);
		return false;
	}
	s->labels = ctl_pool_take(&cx->config->pool, (count + 1) * sizeof(*s->labels));
	for (uint16_t i = 0; i < s->model_count; i++) {
		const struct mdl_bundle *b = bundles[i];
		struct dp_model *m = &s->models[i];

		m->label_at = s->label_count;
		m->label_count = (uint16_t)b->class_count;
		s->reading_models += m->window < 0;
		for (uint32_t k = 0; k < b->class_count; k++)
			memcpy(s->labels[s->label_count++].text, b->labels[k], MDL_LABEL_BYTES);
	}
	return true;
}

enum { CLASSES_BYTES = 200 };

/* "ok, degraded, faulty", as many as there is room for. */
static const char *class_names(
	const struct dp_stream *s, const struct dp_model *m, char text[CLASSES_BYTES])
{
	size_t used = 0;

	for (uint16_t i = 0; i < m->label_count; i++) {
		const char *label = s->labels[m->label_at + i].text;

		if (used + strlen(label) + sizeof(", ...") > CLASSES_BYTES)
			return strcat(text, ", ...");
		used += (size_t)snprintf(
			text + used, CLASSES_BYTES - used, "%s%s", i ? ", " : "", label);
	}
	return text;
}

static void resolve_class(struct ctl_cx *cx, const struct dp_stream *s, struct dp_rule *r)
{
	const struct dp_model *m = &s->models[r->model];

	r->window = m->window;
	if (!*r->class_name) {
		if (m->label_count > 2)
			ctl_fail_at(cx, &r->model, "needs class too: the model has %u of them",
				m->label_count);
		return;
	}
	for (uint16_t i = 0; i < m->label_count; i++)
		if (strcmp(s->labels[m->label_at + i].text, r->class_name) == 0)
			r->label = (int16_t)(m->label_at + i);
	if (r->label < 0 && !m->label_count)
		ctl_fail_at(cx, r->class_name, "model %s says a value, not classes", m->name);
	else if (r->label < 0)
		ctl_fail_at(cx, r->class_name, "model %s has no class \"%s\"; it has %s", m->name,
			r->class_name, class_names(s, m, (char[CLASSES_BYTES]){0}));
}

static void bind_stream(struct ctl_cx *cx, struct dp_stream *s, struct mdl_bundle *const *bundles)
{
	struct ctl_models *models = cx->config->models;
	struct dp_plan_why why;
	struct dp_plan *plan;
	int rc;

	if (!take_labels(cx, s, bundles))
		return;
	for (uint16_t i = 0; i < s->rule_count; i++)
		if (s->rules[i].of_score)
			resolve_class(cx, s, &s->rules[i]);
	rc = dp_plan_new(s, (const struct mdl_bundle *const *)bundles, &plan, &why);
	if (rc == -ENOMEM)
		abort();
	for (uint32_t i = 0; i < why.count; i++)
		ctl_fail_at(cx, &s->models[why.list[i].model].file, "%s", why.list[i].text);
	if (why.left_out)
		ctl_fail_at(cx, &s->models, "and %u more that do not fit", why.left_out);
	if (rc)
		return;
	models->plans[s->index] = plan;
	s->derived = plan->derived;
	s->derived_count = (uint16_t)plan->derived_count;
	for (uint16_t i = 0; i < s->window_count; i++)
		s->windows[i].kept = plan->kept[i];
}

/* False: at least one was refused, and said so. */
static bool load_bundles(struct ctl_cx *cx, const struct dp_stream *s, struct mdl_bundle **out)
{
	bool good = true;

	for (uint16_t i = 0; i < s->model_count; i++) {
		const struct dp_model *m = &s->models[i];
		char why[WHY_BYTES];

		if (mdl_bundle_load(m->file, &out[i], why, sizeof(why)) == 0)
			continue;
		ctl_fail_at(cx, &m->file, "%s", why);
		good = false;
	}
	return good;
}

void ctl_models_load(struct ctl_cx *cx)
{
	struct dp_stream_set *set = &cx->config->streams;
	struct ctl_models *models = calloc(1, sizeof(*models));
	uint32_t at = 0;

	if (!models)
		abort();
	for (uint32_t i = 0; i < set->count; i++)
		models->bundle_count += set->streams[i].model_count;
	models->plan_count = set->count;
	models->bundles = calloc(models->bundle_count + 1, sizeof(struct mdl_bundle *));
	models->plans = calloc(set->count + 1, sizeof(struct dp_plan *));
	if (!models->bundles || !models->plans)
		abort();
	cx->config->models = models;
	for (uint32_t i = 0; i < set->count; i++) {
		struct dp_stream *s = &set->streams[i];

		if (s->model_count && load_bundles(cx, s, models->bundles + at))
			bind_stream(cx, s, models->bundles + at);
		at += s->model_count;
	}
}

void ctl_models_free(struct ctl_models *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->plan_count; i++)
		dp_plan_free(m->plans[i]);
	for (uint32_t i = 0; i < m->bundle_count; i++)
		mdl_bundle_free(m->bundles[i]);
	free(m->plans);
	free(m->bundles);
	free(m);
}
