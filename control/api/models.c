/* What the models do, over all workers: part of /status and of /metrics. */
#include "control/api/models.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "dataplane/core/clock.h"

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* Nanoseconds of one cycle, by what has passed since the stage was made. */
static double cycle_ns(const struct dp_scorer *c)
{
	uint64_t cycles = dp_cycles() - c->began_cycles;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!cycles)
		return 0;
	return ((double)(now.tv_sec - c->began.tv_sec) * 1e9 +
		       (double)(now.tv_nsec - c->began.tv_nsec)) /
	       (double)cycles;
}

struct ctl_model_sums ctl_model_sums(const struct ctl_view *view, uint32_t stream, uint32_t model)
{
	struct ctl_model_sums sums = {0};

	for (uint32_t w = 0; w < view->worker_count; w++) {
		const struct dp_scorer *c = &view->workers[w].worker->per_stream[stream].scorer;
		const struct dp_model_stats *s = &c->stats[model];

		sums.rows += load(&s->rows);
		sums.missing += load(&s->missing);
		sums.cycles += load(&s->cycles);
		for (uint32_t i = 0; i < DP_CYCLE_BUCKETS; i++)
			sums.batches[i] += load(&s->batches[i]);
		sums.cycle_ns = cycle_ns(c);
	}
	return sums;
}

/* Upper end of the bucket in which the share `part` of the batches is reached. */
static double batch_us(const struct ctl_model_sums *s, double part)
{
	uint64_t all = 0, seen = 0;
	uint32_t i = 0;

	for (uint32_t k = 0; k < DP_CYCLE_BUCKETS; k++)
		all += s->batches[k];
	for (; i < DP_CYCLE_BUCKETS; i++) {
		seen += s->batches[i];
		if ((double)seen >= part * (double)all)
			break;
	}
	return all ? exp2(i + 1) * s->cycle_ns / 1e3 : 0;
}

static json_t *model_json(const struct ctl_view *view, const struct dp_stream *s, uint32_t i)
{
	const struct dp_model *m = &s->models[i];
	const struct mdl_bundle *b = view->config->models->plans[s->index]->models[i].bundle;
	struct ctl_model_sums sums = ctl_model_sums(view, s->index, i);
	double rows = sums.rows ? (double)sums.rows : 1;
	char hash[2 * MDL_SHA256_BYTES + 1];

	for (uint32_t k = 0; k < MDL_SHA256_BYTES; k++)
		snprintf(hash + 2 * k, 3, "%02x", b->sha256[k]);
	return json_pack("{s:s, s:s, s:s?, s:s, s:I, s:s, s:I, s:I, s:f, s:f, s:{s:f, s:f}}",
		"stream", s->name, "name", m->name, "window",
		m->window < 0 ? NULL : s->windows[m->window].name, "bundle", b->name, "version",
		(json_int_t)b->version, "sha256", hash, "rows", (json_int_t)sums.rows, "missing",
		(json_int_t)sums.missing, "cycles_each", (double)sums.cycles / rows, "us_each",
		(double)sums.cycles / rows * sums.cycle_ns / 1e3, "batch_us", "p50",
		batch_us(&sums, 0.5), "p99", batch_us(&sums, 0.99));
}

json_t *ctl_models_json(const struct ctl_view *view)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->config->streams.count; i++) {
		const struct dp_stream *s = &view->config->streams.streams[i];

		for (uint32_t k = 0; k < s->model_count; k++)
			json_array_append_new(list, model_json(view, s, k));
	}
	return list;
}
