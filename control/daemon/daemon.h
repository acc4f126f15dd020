/*
 * What penstockd is made of.  Boot (boot.c) makes it in stages and takes it apart in reverse;
 * threads.c runs it; stop.c brings it to rest so that nothing taken over is lost.
 */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/api/server.h"
#include "control/api/view.h"
#include "control/config/config.h"
#include "control/config/kafka.h"
#include "control/daemon/clock.h"
#include "dataplane/core/sleep.h"
#include "dataplane/rx/rx_uring.h"

/* Exit statuses; part of the interface, docs/cli.md. */
enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1,	/* memory, threads: nothing that the config could change */
	CTL_EXIT_CONFIG = 2,	/* usage, or a config with errors */
	CTL_EXIT_LOCKED = 3,	/* another daemon holds the state directory */
	CTL_EXIT_FOREIGN = 4,	/* the state directory is another appliance's */
	CTL_EXIT_NEWER = 5,	/* written by a newer version */
	CTL_EXIT_STORAGE = 6,	/* the state directory cannot be used */
	CTL_EXIT_OUTPUT = 7,	/* an output cannot be made */
	CTL_EXIT_INPUT = 8,	/* an input's address cannot be had */
	CTL_EXIT_NO_URING = 9,	/* no io_uring here */
	CTL_EXIT_API = 10,	/* the API's socket cannot be had */
	CTL_EXIT_UNWRITTEN = 11 /* stopped, but not everything could be written */
};

/* What is asked of a writer's or output's thread that is to end. */
enum ctl_end {
	CTL_END_NO,
	CTL_END_DRAINED, /* once nothing is left to do */
	CTL_END_NOW,
};

struct ctl_worker_thread {
	struct dp_worker *worker;
	const struct ctl_clock *clock;
	struct dp_parker parker;
	struct dp_arena arena; /* of the ring and its buffers */
	struct dp_uring *uring;
	int fds[DP_INPUTS_MAX];
	uint16_t inputs[DP_INPUTS_MAX];
	uint32_t fd_count;
	uint16_t core;
	cpu_set_t affinity; /* thread: writes before `state`; then read only */
	pthread_t thread;
	bool running;
	_Atomic int state; /* thread: 0 not yet, 1 ready, 2 listening, -errno */
	_Atomic bool go;   /* control: listen, every worker is ready */
	_Atomic bool quit; /* control: ends at once, whatever is left */
};

struct ctl_writer_thread {
	struct dp_writer *writer;
	struct dp_log *logs[DP_WORKERS_MAX]; /* the writer keeps this array */
	const struct ctl_clock *clock;
	struct ctl_daemon *daemon; /* whose outputs are woken */
	struct dp_parker parker;
	pthread_t thread;
	bool running;
	uint64_t announced;   /* thread: readable as the outputs last were told */
	_Atomic uint32_t end; /* enum ctl_end */
	_Atomic bool ended;
};

struct ctl_output_thread {
	const struct ctl_output *config;
	const struct ctl_clock *clock;
	struct dp_output *output;
	struct dp_parker parker;
	struct dp_io_posix *journal; /* a table of its own; NULL without journal.dir */
	struct dp_io_posix *folder;  /* of a file output */
	struct ctl_kafka_given kafka;
	pthread_t thread;
	bool running;
	_Atomic bool waits;   /* output: writes, writer: reads; new blocks are no use to it */
	_Atomic uint32_t end; /* enum ctl_end */
	_Atomic bool ended;
	bool drained; /* thread: before `ended` */
	int saved;    /* thread: before `ended`; 0 or -errno */
	pthread_mutex_t lock;
	char trouble[256]; /* under `lock` */
};

/* health.c: what the log was told last. */
enum { CTL_OUTPUT_LOSSES = 4 };
struct ctl_health {
	uint64_t writer_state, output_state[DP_OUTPUTS_MAX];
	uint64_t lost[DP_COUNTER_COUNT];
	uint64_t output_lost[DP_OUTPUTS_MAX][CTL_OUTPUT_LOSSES];
	int64_t lost_told_ns; /* steady */
};

struct ctl_options {
	const char *config_path;
	int64_t stop_timeout_ns; /* most that a stop waits for outputs */
};

struct ctl_daemon {
	struct ctl_options options;
	struct ctl_clock clock;
	struct ctl_config *config;
	int signals;	 /* signalfd: SIGTERM, SIGINT */
	int stop_asked;	 /* eventfd: by the API */
	uint32_t opened; /* stages of the boot that are done */

	struct dp_io io; /* the writer's table of the state directory */
	struct dp_io_posix *posix;
	struct dp_io_memory *memory;
	struct dp_recovery *recovery;
	struct dp_replayed replayed;

	struct dp_worker *workers;
	struct dp_input inputs[DP_INPUTS_MAX];	  /* by index in the config */
	struct ctl_worker_thread *worker_threads; /* [config->workers.count] */
	struct ctl_writer_thread writer;
	struct ctl_output_thread outputs[DP_OUTPUTS_MAX];
	uint32_t output_count; /* enabled ones */
	struct ctl_input_view listening[DP_INPUTS_MAX];
	uint32_t listening_count;

	struct ctl_view view;
	struct ctl_health health;
	struct ctl_api *api;
};

enum { CTL_BOOT_BROKEN_OFF = -1 }; /* somebody wanted to stop before it was up */

/* boot.c: all stages, or none: unwinds what it did. An enum ctl_exit, or CTL_BOOT_BROKEN_OFF. */
int ctl_boot(struct ctl_daemon *d);
/* Unwinds all stages in reverse. Threads have ended. */
void ctl_unwind(struct ctl_daemon *d);

/* journal.c: lock, recover, workers with what they knew, writer. */
int ctl_open_journal(struct ctl_daemon *d);
void ctl_close_journal(struct ctl_daemon *d);
int ctl_open_workers(struct ctl_daemon *d);
void ctl_close_workers(struct ctl_daemon *d);
int ctl_open_writer(struct ctl_daemon *d);
void ctl_close_writer(struct ctl_daemon *d);

/* inputs.c: sockets, and a ring per worker over them, nothing received yet. */
int ctl_open_inputs(struct ctl_daemon *d);
void ctl_close_inputs(struct ctl_daemon *d);
/* Packets queue from here on: late, when little is left to do before they are received. */
int ctl_bind_inputs(struct ctl_daemon *d);

/* outputs.c */
int ctl_open_outputs(struct ctl_daemon *d);
void ctl_close_outputs(struct ctl_daemon *d);
/* Only once it is up: a boot that fails may have had the wrong config. */
void ctl_drop_positions(struct ctl_daemon *d);

/* threads.c: the workers' threads, each pinned, its memory populated; they receive nothing yet. */
int ctl_open_worker_threads(struct ctl_daemon *d);
void ctl_close_worker_threads(struct ctl_daemon *d);
/* Writer and outputs, then lets all workers go at once: they listen when this returns. */
int ctl_open_threads(struct ctl_daemon *d);
/* Ends what still runs without waiting for anything; after ctl_stop there is nothing. */
void ctl_close_threads(struct ctl_daemon *d);
void ctl_join_worker(struct ctl_worker_thread *t);
void ctl_join_writer(struct ctl_writer_thread *t);
void ctl_join_output(struct ctl_output_thread *t);
void ctl_wake_worker(void *daemon, uint32_t worker);
void ctl_wake_writer(void *daemon);

/* stop.c: brings everything to rest, in the order of the path. An enum ctl_exit. */
int ctl_stop(struct ctl_daemon *d);

/* True once somebody wants the daemon to stop; takes the signal or message. */
bool ctl_stop_asked(struct ctl_daemon *d, int wait_ms);

/* health.c: what is there before anything runs, then all that has changed for better or worse. */
void ctl_health_begin(struct ctl_health *h, const struct ctl_view *view);
void ctl_health_look(struct ctl_health *h, const struct ctl_view *view);

/* parts.c: zeroed memory for structures with cache lines of their own; NULL: none left. */
void *ctl_zeroed(size_t bytes);
/* Makes a folder and those above it; 0 or -errno. */
int ctl_make_folder(const char *path);
