/*
 * What the API may see of a running daemon: its config and its atomics.  Filled once at boot; reads
 * disturb nobody, and of what a worker owns only `query`, which is control's, is ever written.
 */
#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config/config.h"
#include "control/daemon/clock.h"
#include "dataplane/core/replay.h"
#include "dataplane/core/worker.h"
#include "dataplane/egress/egress.h"
#include "dataplane/journal/io.h"
#include "dataplane/journal/writer.h"

struct ctl_worker_view {
	struct dp_worker *worker;
	uint16_t core;		   /* asked for */
	const cpu_set_t *affinity; /* as read back by the worker's thread */
};

struct ctl_output_view {
	const struct ctl_output *config;
	const struct dp_output_stats *stats;
	/* One line on what is wrong with the other side, "" if nothing. Any thread. */
	void (*trouble)(void *arg, char *text, size_t size);
	void *arg;
};

struct ctl_input_view {
	const struct ctl_input *config;
	uint16_t port;		/* bound */
	uint32_t receive_bytes; /* of each worker's socket, as the kernel allows */
};

/* How this run began. */
struct ctl_start_view {
	bool first;	  /* nothing was there */
	bool clean;	  /* the last run sealed its last segment */
	uint64_t records; /* in the log, over all time */
	uint64_t rewritten_blocks, damaged_regions, quarantined_records;
	struct dp_replayed replayed;
};

struct ctl_view {
	const struct ctl_config *config;
	struct ctl_clock clock;
	int64_t started_ns; /* steady, which is Unix time then */
	uint64_t appliance, epoch;
	struct ctl_start_view start;

	struct ctl_worker_view workers[DP_WORKERS_MAX];
	uint32_t worker_count;
	const struct dp_writer_stats *writer;
	struct ctl_output_view outputs[DP_OUTPUTS_MAX];
	uint32_t output_count;
	struct ctl_input_view inputs[DP_INPUTS_MAX];
	uint32_t input_count;
	struct dp_io memory; /* the journal with `sync: off`; else readers open config's dir */

	_Atomic bool stopping;
	void (*stop)(void *arg);
	void (*wake_worker)(void *arg, uint32_t worker);
	void *arg;
};

/* Why the writer was last in trouble, in words; "" if it never was. */
enum { CTL_WRITER_TROUBLE_BYTES = 128 };
const char *ctl_writer_trouble(const struct ctl_view *view, char text[CTL_WRITER_TROUBLE_BYTES]);
