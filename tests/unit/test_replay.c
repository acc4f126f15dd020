/*
 * core/replay.c: what a start says of what it could not bring back.  What breaks if it fails: the
 * same loss told at every start, a loss that is not told, or told as something else.
 */
#include "dataplane/core/replay.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"
#include "tests/unit/journal_world.h"

/* What the gap records of one start say, by reason. */
struct told {
	uint64_t count[DP_GAP_EXPIRED + 1];
	uint32_t records;
};

static void no_wake_worker(void *arg, uint32_t other)
{
	(void)arg;
	(void)other;
}

static void no_wake_writer(void *arg)
{
	(void)arg;
}

static struct dp_worker *new_worker(
	const struct world *w, const struct dp_stream_set *streams, const uint32_t *slots)
{
	static const struct dp_input input = {.format = DP_FORMAT_BINARY};
	struct dp_worker_config c = {.workers = 1,
		.streams = streams,
		.inputs = &input,
		.slots_max = slots,
		.log = {.ring_bytes = 1 << 21,
			.block_max = (uint32_t)dp_block_bytes_max(streams),
			.appliance = w->recovery->appliance,
			.epoch = w->recovery->epoch,
			.schema_hash = streams->hash},
		.hooks = {no_wake_worker, no_wake_writer, NULL}};
	struct dp_worker *worker = aligned_alloc(DP_CACHE_LINE, sizeof(*worker));

	while (c.log.ring_bytes < 4 * (c.log.block_max + (uint64_t)DP_DISK_ALIGN))
		c.log.ring_bytes *= 2;
	cr_assert(worker);
	cr_assert_eq(dp_workers_init(worker, 1, &c, &w->now), 0);
	return worker;
}

static struct told told_by(const struct dp_worker *worker, const struct dp_stream_set *streams)
{
	struct told t = {0};
	const struct dp_rec *rec;
	size_t cursor = 0;
	bool bad = false;

	if (!worker->log.open)
		return t;
	while ((rec = dp_block_next(worker->log.open, streams, &cursor, &bad))) {
		const struct dp_rec_gap *g = (const struct dp_rec_gap *)rec;

		if (rec->kind != DP_REC_GAP)
			continue;
		t.count[g->reason] += g->count;
		t.records++;
	}
	cr_assert(!bad);
	return t;
}

/* Replays the log of the start that has just been made into one worker. */
static struct told replay(struct world *w, const struct dp_stream_set *streams, uint32_t slots,
	struct dp_replayed *out)
{
	uint32_t slots_max[2] = {slots, slots};
	struct dp_worker *worker = new_worker(w, streams, slots_max);
	struct told t;

	cr_assert_eq(dp_workers_replay(worker, 1, &w->io, w->recovery, &w->now, out), 0);
	t = told_by(worker, streams);
	dp_workers_fini(worker, 1);
	free(worker);
	return t;
}

static void begin(struct world *w)
{
	for (uint32_t i = 0; i < 2; i++)
		w->streams.streams[i].state_hash =
			dp_stream_state_hash(&w->streams.streams[i]);
	cr_assert_eq(world_start(w), 0);
}

/* The streams as the journal has them, with another unit in the first one's first field. */
static struct dp_stream_set changed(const struct world *w, struct dp_stream streams[2])
{
	static struct dp_field fields[8];
	struct dp_stream_set set = w->streams.set;

	memcpy(streams, w->streams.streams, 2 * sizeof(*streams));
	cr_assert_leq(streams[0].field_count, 8);
	memcpy(fields, streams[0].fields, streams[0].field_count * sizeof(*fields));
	strcpy(fields[0].name, "renamed");
	streams[0].fields = fields;
	streams[0].state_hash = dp_stream_state_hash(&streams[0]);
	cr_assert_neq(streams[0].state_hash, w->streams.streams[0].state_hash);
	set.streams = streams;
	set.hash = dp_schema_hash(&set);
	return set;
}

Test(replay, what_does_not_fit_is_not_told_as_a_change_of_streams)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_stream streams[2];
	struct dp_stream_set other;
	struct dp_replayed r;
	struct told t;

	begin(w);
	world_put(w, 0, 5); /* a reading of each stream in each */
	world_run(w, 1000);
	cr_assert_eq(world_stop(w), 0);
	begin(w);
	t = replay(w, &w->streams.set, 0, &r);
	cr_expect_eq(r.dropped_limit, 10);
	cr_expect_eq(r.dropped_schema, 0);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 0);
	other = changed(w, streams);
	t = replay(w, &other, 4, &r);
	cr_expect_eq(r.dropped_limit, 0);
	cr_expect_eq(r.dropped_schema, 5);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 5);
	world_free(w);
}
