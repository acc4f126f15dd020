/*
 * A journal in a fake directory, for the tests of writer, reader and recovery: lives of a daemon
 * with two workers that record, get killed and come back; and what must be in the log then.
 */
#pragma once

#include "dataplane/journal/recover.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/sample.h"

enum { WORLD_WORKERS = 2, WORLD_LIVES_MAX = 8, WORLD_BLOCKS_MAX = 4096 };

enum world_op {
	WORLD_NONE,
	WORLD_WRITE,
	WORLD_ZERO,
	WORLD_SYNC_START, /* is refused */
	WORLD_SYNC_POLL,  /* the started sync fails */
	WORLD_SYNC_DIR,
	WORLD_RENAME,
	WORLD_OPS,
};

/* What a worker of one life sealed: sequence k + 1 ends at ring position ends[k]. */
struct world_sealed {
	uint64_t epoch;
	uint64_t ends[WORLD_BLOCKS_MAX];
	uint32_t count;
	uint32_t released; /* acknowledged: the ring has its space back */
	uint32_t damaged;  /* the test has destroyed some */
};

struct world {
	struct fake_disk disk;
	struct dp_io under, io;
	enum world_op fail_op; /* fails on its fail_at-th call from now, fail_count times */
	uint32_t fail_at, fail_count;
	int fail_err, sync_err;
	uint64_t random;

	struct sample_streams streams;
	struct dp_journal_config config;
	struct dp_now now;
	struct dp_recovery *recovery;
	struct dp_recover_report report;
	struct dp_writer *writer;
	struct dp_log logs[WORLD_WORKERS];
	struct dp_log *log_list[WORLD_WORKERS];
	struct dp_arena arenas[WORLD_WORKERS];

	struct world_sealed lives[WORLD_LIVES_MAX][WORLD_WORKERS];
	uint32_t life_count;
};

/* In memory of its own; world_free() it. The first life is not begun. */
struct world *world_new(enum dp_sync_mode sync);
void world_free(struct world *w);

void world_fail(struct world *w, enum world_op op, uint32_t at, uint32_t count, int err);

/* Recovers and opens the writer. 0, or what failed. */
int world_start(struct world *w);

/* What that worker says a start would need; after world_start(): nothing. */
void world_replay_needs(struct world *w, uint32_t worker, uint64_t serial, int64_t since_ns);
/* Seals `blocks` blocks of one group each on that worker. */
void world_put(struct world *w, uint32_t worker, uint32_t blocks);
/* Steps the writer until it has nothing to do, at most that often; time moves to its deadlines. */
void world_run(struct world *w, uint32_t steps_max);
/* Closes the writer and forgets the process's memory. */
int world_stop(struct world *w);
/* The process dies here; after a power cut only what was synced is left. */
void world_kill(struct world *w, bool power_cut);

/*
 * Reads the whole log of the life that runs, checks that each worker's blocks of each life are
 * there densely from 1, once, in order, at least those that were released, and that the recovery's
 * count of records says so; returns the number of blocks.
 */
uint32_t world_check(struct world *w, const char *what);

/* Replays the log and counts blocks, without any demand but order and uniqueness. */
uint32_t world_count(struct world *w, struct dp_reader_counts *counts);
