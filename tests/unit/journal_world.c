#include "tests/unit/journal_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- a disk that refuses ---- */

static int refused(struct world *w, enum world_op op)
{
	if (w->fail_op != op || w->fail_count == 0)
		return 0;
	if (w->fail_at > 1) {
		w->fail_at--;
		return 0;
	}
	w->fail_count--;
	return w->fail_err;
}

static int world_open(void *ctx, const char *name, int flags)
{
	struct world *w = ctx;

	return w->under.ops->open(w->under.ctx, name, flags);
}

static void world_close(void *ctx, int h)
{
	struct world *w = ctx;

	w->under.ops->close(w->under.ctx, h);
}

static ssize_t world_pread(void *ctx, int h, void *buf, size_t n, uint64_t offset)
{
	struct world *w = ctx;

	return w->under.ops->pread(w->under.ctx, h, buf, n, offset);
}

static int world_pwritev(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset)
{
	struct world *w = ctx;
	int rc = refused(w, WORLD_WRITE);

	return rc ? rc : w->under.ops->pwritev(w->under.ctx, h, iov, iov_count, offset);
}

static int world_zero(void *ctx, int h, uint64_t size)
{
	struct world *w = ctx;
	int rc = refused(w, WORLD_ZERO);

	return rc ? rc : w->under.ops->zero(w->under.ctx, h, size);
}

static int world_truncate(void *ctx, int h, uint64_t size)
{
	struct world *w = ctx;

	return w->under.ops->truncate(w->under.ctx, h, size);
}

static int world_sync(void *ctx, int h)
{
	struct world *w = ctx;

	return w->under.ops->sync(w->under.ctx, h);
}

static int world_sync_start(void *ctx, int h)
{
	struct world *w = ctx;
	int rc = refused(w, WORLD_SYNC_START);

	if (rc)
		return rc;
	w->sync_err = refused(w, WORLD_SYNC_POLL);
	return w->sync_err ? 0 : w->under.ops->sync_start(w->under.ctx, h);
}

static int world_sync_poll(void *ctx)
{
	struct world *w = ctx;
	int rc = w->sync_err;

	w->sync_err = 0;
	return rc ? rc : w->under.ops->sync_poll(w->under.ctx);
}

static int world_sync_dir(void *ctx)
{
	struct world *w = ctx;
	int rc = refused(w, WORLD_SYNC_DIR);

	return rc ? rc : w->under.ops->sync_dir(w->under.ctx);
}

static int64_t world_size(void *ctx, int h)
{
	struct world *w = ctx;

	return w->under.ops->size(w->under.ctx, h);
}

static int world_rename(void *ctx, const char *from, const char *to)
{
	struct world *w = ctx;
	int rc = refused(w, WORLD_RENAME);

	return rc ? rc : w->under.ops->rename(w->under.ctx, from, to);
}

static int world_unlink(void *ctx, const char *name)
{
	struct world *w = ctx;

	return w->under.ops->unlink(w->under.ctx, name);
}

static int world_list(void *ctx, int (*each)(void *arg, const char *name), void *arg)
{
	struct world *w = ctx;

	return w->under.ops->list(w->under.ctx, each, arg);
}

static int world_lock(void *ctx, const char *name)
{
	struct world *w = ctx;

	return w->under.ops->lock(w->under.ctx, name);
}

static uint64_t world_random(void *ctx)
{
	struct world *w = ctx;

	return w->random += 0x9e3779b97f4a7c15ull;
}

static const struct dp_io_ops world_ops = {
	.open = world_open,
	.close = world_close,
	.pread = world_pread,
	.pwritev = world_pwritev,
	.zero = world_zero,
	.truncate = world_truncate,
	.sync = world_sync,
	.sync_start = world_sync_start,
	.sync_poll = world_sync_poll,
	.sync_dir = world_sync_dir,
	.size = world_size,
	.rename = world_rename,
	.unlink = world_unlink,
	.list = world_list,
	.lock = world_lock,
	.random = world_random,
};

/* ---- lives ---- */

struct world *world_new(enum dp_sync_mode sync)
{
	struct world *w = calloc(1, sizeof(*w));

	cr_assert(w);
	fake_disk_io(&w->disk, &w->under);
	w->io = (struct dp_io){&world_ops, w};
	sample_streams_init(&w->streams);
	w->config = (struct dp_journal_config){
		.sync = sync,
		.on_full = DP_FULL_BLOCK,
		.segment_bytes = DP_SEGMENT_BYTES_MIN,
		.retention_ns = DP_NS_PER_S * 3600,
		.sync_interval_ns = DP_NS_PER_S,
	};
	w->now = (struct dp_now){SAMPLE_TIME_NS, SAMPLE_TIME_NS};
	return w;
}

static void forget(struct world *w)
{
	if (w->writer)
		dp_writer_free(w->writer);
	if (w->recovery)
		dp_recovery_free(w->recovery);
	for (uint32_t i = 0; i < WORLD_WORKERS; i++)
		if (w->arenas[i].base)
			dp_arena_fini(&w->arenas[i]);
	memset(w->arenas, 0, sizeof(w->arenas));
	w->writer = NULL;
	w->recovery = NULL;
	w->sync_err = 0;
}

void world_free(struct world *w)
{
	forget(w);
	fake_disk_fini(&w->disk);
	free(w);
}

void world_fail(struct world *w, enum world_op op, uint32_t at, uint32_t count, int err)
{
	w->fail_op = op;
	w->fail_at = at;
	w->fail_count = count;
	w->fail_err = err;
}

void world_replay_needs(struct world *w, uint32_t worker, uint64_t serial, int64_t since_ns)
{
	atomic_store(&w->logs[worker].marked_serial, serial);
	atomic_store(&w->logs[worker].since_ns, since_ns);
}

int world_start(struct world *w)
{
	struct dp_writer_setup setup = {
		.config = w->config,
		.io = w->io,
		.streams = &w->streams.set,
		.logs = w->log_list,
		.log_count = WORLD_WORKERS,
	};

	w->now.real_ns += DP_NS_PER_MS;
	w->now.steady_ns = w->now.real_ns;
	if (dp_recover(&w->io, &w->config, &w->now, &w->recovery, &w->report))
		return -1;
	cr_assert_lt(w->life_count, WORLD_LIVES_MAX);
	for (uint32_t i = 0; i < WORLD_WORKERS; i++) {
		w->log_list[i] = &w->logs[i];
		sample_log_init(&w->logs[i], &w->arenas[i], i);
		w->logs[i].appliance = w->recovery->appliance;
		w->logs[i].epoch = w->recovery->epoch;
		world_replay_needs(w, i, UINT64_MAX, INT64_MAX);
		w->lives[w->life_count][i].epoch = w->recovery->epoch;
	}
	w->life_count++;
	setup.recovery = w->recovery;
	return dp_writer_new(&setup, &w->now, &w->writer);
}

static struct world_sealed *sealed_now(struct world *w, uint32_t worker)
{
	return &w->lives[w->life_count - 1][worker];
}

void world_put(struct world *w, uint32_t worker, uint32_t blocks)
{
	struct world_sealed *s = sealed_now(w, worker);

	for (uint32_t i = 0; i < blocks; i++) {
		cr_assert(dp_log_room(&w->logs[worker], SAMPLE_GROUP_BYTES));
		sample_group(&w->logs[worker], &w->streams, s->count);
		cr_assert(dp_log_seal(&w->logs[worker], 0, true));
		cr_assert_lt(s->count, WORLD_BLOCKS_MAX);
		s->ends[s->count++] = w->logs[worker].open_at;
	}
}

static void note_released(struct world *w)
{
	for (uint32_t i = 0; i < WORLD_WORKERS; i++) {
		struct world_sealed *s = sealed_now(w, i);
		uint64_t freed = atomic_load(&w->logs[i].freed);

		while (s->released < s->count && s->ends[s->released] <= freed)
			s->released++;
	}
}

void world_run(struct world *w, uint32_t steps_max)
{
	for (uint32_t i = 0; i < steps_max && !w->disk.dead; i++) {
		bool did = dp_writer_step(w->writer, &w->now);
		int64_t next = dp_writer_deadline(w->writer);

		note_released(w);
		if (did)
			continue;
		if (dp_writer_idle(w->writer))
			return;
		if (next != INT64_MAX && next > w->now.steady_ns) {
			w->now.real_ns += next - w->now.steady_ns;
			w->now.steady_ns = next;
		}
	}
}

int world_stop(struct world *w)
{
	int rc = dp_writer_close(w->writer, &w->now);

	forget(w);
	return rc;
}

void world_kill(struct world *w, bool power_cut)
{
	forget(w);
	w->fail_op = WORLD_NONE;
	fake_disk_revive(&w->disk, power_cut);
}

/* ---- what must be there ---- */

struct seen {
	struct world *w;
	uint32_t next[WORLD_LIVES_MAX][WORLD_WORKERS];
	uint32_t life, count;
	const char *what;
	bool dense;
};

static int see_block(void *arg, const struct dp_reader_block *b)
{
	struct seen *s = arg;
	const struct dp_block *k = b->block;
	uint32_t *next;

	cr_assert_lt(k->worker, WORLD_WORKERS, "%s: worker %u", s->what, k->worker);
	while (s->life < s->w->life_count && s->w->lives[s->life][0].epoch < k->epoch)
		s->life++;
	cr_assert_lt(s->life, s->w->life_count, "%s: an epoch nobody had", s->what);
	cr_assert_eq(s->w->lives[s->life][0].epoch, k->epoch, "%s: epoch out of order", s->what);
	next = &s->next[s->life][k->worker];
	if (s->dense)
		cr_assert_eq(k->sequence, *next + 1, "%s: life %u worker %u: %lu after %u", s->what,
			s->life, k->worker, (unsigned long)k->sequence, *next);
	else
		cr_assert_gt(k->sequence, *next, "%s: doubled or out of order", s->what);
	*next = (uint32_t)k->sequence;
	cr_assert_leq(*next, s->w->lives[s->life][k->worker].count, "%s: never sealed", s->what);
	cr_assert_eq(k->record_count, SAMPLE_RECORDS);
	cr_assert(sample_record(k, b->streams, SAMPLE_RECORDS - 1), "%s: records", s->what);
	s->count++;
	return 0;
}

uint32_t world_check(struct world *w, const char *what)
{
	struct seen s = {.w = w, .what = what, .dense = true};
	struct dp_reader_counts counts;

	cr_assert_eq(dp_replay(&w->io, w->recovery, see_block, &s, &counts), 0, "%s", what);
	for (uint32_t i = 0; i < w->life_count; i++)
		for (uint32_t k = 0; k < WORLD_WORKERS; k++)
			cr_assert_geq(s.next[i][k], w->lives[i][k].released,
				"%s: life %u worker %u: %u of %u acknowledged are there", what, i,
				k, s.next[i][k], w->lives[i][k].released);
	cr_assert_eq(w->recovery->records, s.count * SAMPLE_RECORDS, "%s: records", what);
	return s.count;
}

uint32_t world_count(struct world *w, struct dp_reader_counts *counts)
{
	struct seen s = {.w = w, .what = "count"};
	struct dp_reader_block b;
	struct dp_reader *r;
	int rc;

	cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, 0, &r), 0);
	while ((rc = dp_reader_next(r, w->recovery->end_lp, &b)) == 1)
		see_block(&s, &b);
	cr_assert_eq(rc, 0);
	if (counts)
		*counts = *dp_reader_counts(r);
	dp_reader_close(r);
	return s.count;
}
