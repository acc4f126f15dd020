/* A daemon as the API sees one, without any thread: workers whose counters a test sets. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "control/api/view.h"

struct view_world {
	struct ctl_config config;
	struct ctl_output output_config;
	struct dp_writer_stats writer;
	struct dp_output_stats output;
	cpu_set_t affinity;
	struct ctl_view view;
	struct dp_worker *workers;
};

static void no_trouble(void *arg, char *text, size_t size)
{
	(void)arg;
	(void)size;
	*text = 0;
}

/* All counters 0, one output; free with free_world. */
static inline struct view_world *make_world(uint32_t workers)
{
	size_t bytes = (sizeof(struct view_world) + 63) / 64 * 64;
	struct view_world *w = aligned_alloc(64, bytes);

	memset(w, 0, bytes);
	w->workers = aligned_alloc(64, workers * sizeof(*w->workers));
	memset(w->workers, 0, workers * sizeof(*w->workers));
	strcpy(w->config.name, "gate-1");
	strcpy(w->output_config.name, "kafka");
	w->view.config = &w->config;
	w->view.writer = &w->writer;
	w->view.worker_count = workers;
	for (uint32_t i = 0; i < workers; i++) {
		w->view.workers[i].worker = &w->workers[i];
		w->view.workers[i].affinity = &w->affinity;
	}
	w->view.output_count = 1;
	w->view.outputs[0] = (struct ctl_output_view){
		.config = &w->output_config, .stats = &w->output, .trouble = no_trouble};
	return w;
}

static inline void free_world(struct view_world *w)
{
	free(w->workers);
	free(w);
}

static inline void set_count(
	struct view_world *w, uint32_t worker, enum dp_counter which, uint64_t n)
{
	atomic_store(&w->workers[worker].counters.v[which], n);
}
