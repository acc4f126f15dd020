/* The appliance of one seed: what outlives a process (disk, network, brokers) and the process. */
#pragma once

#include "dataplane/core/replay.h"
#include "dataplane/core/worker.h"
#include "dataplane/egress/egress.h"
#include "dataplane/journal/recover.h"
#include "dataplane/journal/writer.h"
#include "tests/sim/broker.h"
#include "tests/sim/disk.h"
#include "tests/sim/net.h"
#include "tests/sim/oracle.h"

/* X(name): what has happened over all seeds; a thing that never happens is not tested. */
#define SIM_TOTALS(X)                                                                              \
	X(starts)                                                                                  \
	X(starts_failed)                                                                           \
	X(kills)                                                                                   \
	X(power_cuts)                                                                              \
	X(clean_stops)                                                                             \
	X(blocks)                                                                                  \
	X(blocks_lost)                                                                             \
	X(blocks_rewritten)                                                                        \
	X(segments_made)                                                                           \
	X(segments_freed)                                                                          \
	X(writer_failures)                                                                         \
	X(writer_full)                                                                             \
	X(records)                                                                                 \
	X(windows)                                                                                 \
	X(alerts)                                                                                  \
	X(score_alerts)                                                                            \
	X(duplicates)                                                                              \
	X(stale)                                                                                   \
	X(journal_full)                                                                            \
	X(late)                                                                                    \
	X(future)                                                                                  \
	X(clock_resets)                                                                            \
	X(retired)                                                                                 \
	X(rejected)                                                                                \
	X(delivered)                                                                               \
	X(dead_letters)                                                                            \
	X(filtered)                                                                                \
	X(resends)                                                                                 \
	X(reopens)

struct sim_totals {
#define X(name) uint64_t name;
	SIM_TOTALS(X)
#undef X
};

enum { WORLD_SAMPLES = 512 };

struct world {
	struct sim *sim;
	struct sim_totals *totals;
	struct sim_config config;
	struct sim_disk *journal, *files;
	struct sim_net *net;
	struct oracle *oracle;
	struct sim_broker *brokers[SIM_OUTPUTS_MAX];
	bool power_cut; /* there was one since a start has gone through the log */
	bool stopped;	/* it ended as it was asked to */

	/* the process */
	struct dp_recovery *recovery;
	struct dp_worker *workers;
	uint32_t worker_count;
	struct dp_log *logs[SIM_WORKERS_MAX];
	struct dp_writer *writer;
	struct dp_output *outputs[SIM_OUTPUTS_MAX];
	struct dp_reader *probe;	      /* reads what outputs may read */
	struct dp_log taken[SIM_WORKERS_MAX]; /* a second cursor on each log ring */
	struct dp_counters base;	      /* as replay left them */
	uint64_t readable, durable;
	/* which segment was written when: below what is old enough nobody needs the log */
	struct {
		int64_t real_ns;
		uint64_t serial;
	} samples[WORLD_SAMPLES];
	uint32_t sample_count, sample_from;
	uint64_t floor;
	bool freed_early;     /* what a start needs went for want of room */
	uint64_t freed_below; /* serial: so far the writer has freed; a power cut may undo some of
				 it */
};

void world_init(struct world *w, struct sim *s, struct sim_totals *totals);
void world_fini(struct world *w);

/* Starts a process. False: a fault kept it from starting, or it died meanwhile. */
bool world_start(struct world *w, uint32_t workers);
/* It ends here, whatever it was doing. */
void world_end(struct world *w, bool power_cut);

/* One step of one of its parts. */
void world_turn(struct world *w, uint32_t worker);
void world_write(struct world *w);
void world_output(struct world *w, uint32_t output);

/* Asks it to stop; true once it has. */
bool world_stop(struct world *w);
bool world_drained(struct world *w);

/* At the very end: everything sent out is there. */
void world_check_files(struct world *w);

/* ledger.c */
void world_add_totals(struct world *w); /* of this process */
uint64_t world_counted(const struct world *w, enum dp_counter which);
void world_check_ledger(struct world *w);	  /* at any time */
void world_check_settled(struct world *w);	  /* workers have nothing in flight */
void world_check_places(struct world *w);	  /* at any time */
void world_check_restored(struct world *w);	  /* right after a start */
void world_check_outputs_ledger(struct world *w); /* drained */
