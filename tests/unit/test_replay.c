/*
 * core/replay.c: what a start says of what it could not bring back.  What breaks if it fails: the
 * same loss told at every start, a loss that is not told, or told as something else.
 */
#include "dataplane/core/replay.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"
#include "tests/unit/journal_world.h"

/* What the gap records of one start say, by reason. */
struct told {
	uint64_t count[DP_GAP_EXPIRED + 1];
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

static struct dp_worker *new_workers(const struct world *w, const struct dp_stream_set *streams,
	uint32_t count, const uint32_t *slots, const uint32_t *sensors)
{
	static const struct dp_input input = {.format = DP_FORMAT_BINARY};
	struct dp_worker_config configs[3];
	struct dp_worker_config c = {.workers = count,
		.streams = streams,
		.inputs = &input,
		.slots_max = slots,
		.sensors_max = sensors,
		.log = {.ring_bytes = 1 << 21,
			.block_max = (uint32_t)dp_block_bytes_max(streams),
			.appliance = w->recovery->appliance,
			.epoch = w->recovery->epoch,
			.schema_hash = streams->hash},
		.hooks = {no_wake_worker, no_wake_writer, NULL}};
	struct dp_worker *workers = aligned_alloc(DP_CACHE_LINE, count * sizeof(*workers));

	while (c.log.ring_bytes < 4 * (c.log.block_max + (uint64_t)DP_DISK_ALIGN))
		c.log.ring_bytes *= 2;
	cr_assert(workers);
	for (uint32_t i = 0; i < count; i++) {
		configs[i] = c;
		configs[i].index = configs[i].log.worker = i;
	}
	cr_assert_eq(dp_workers_init(workers, count, configs, &w->now), 0);
	return workers;
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
	}
	cr_assert(!bad);
	return t;
}

/* Replays the log of the start that has just been made into one worker. */
static struct told replay(struct world *w, const struct dp_stream_set *streams, uint32_t slots,
	struct dp_replayed *out)
{
	uint32_t slots_max[2] = {slots, slots};
	struct dp_worker *worker = new_workers(w, streams, 1, slots_max, NULL);
	struct told t;

	cr_assert_eq(dp_workers_replay(worker, 1, &w->io, w->recovery, &w->now, out), 0);
	t = told_by(worker, streams);
	dp_workers_fini(worker, 1);
	free(worker);
	return t;
}

/* What the start has told is in the log, with another block; a clean stop and a start. */
static void tell_and_start_again(struct world *w, const struct told *t)
{
	struct dp_counters counters = {0};
	struct dp_append a = {&w->logs[0], &w->streams.set, &counters};

	world_put(w, 0, 1);
	for (int reason = DP_GAP_CRASH; reason <= DP_GAP_EXPIRED; reason++) {
		struct dp_gap gap = {
			.reason = reason, .count = t->count[reason], .stream = UINT16_MAX};

		if (gap.count)
			dp_append_gap(&a, &gap, &w->now);
	}
	dp_log_seal(&w->logs[0], 0, true);
	world_run(w, 1000);
	cr_assert_eq(world_stop(w), 0);
	cr_assert_eq(world_start(w), 0);
}

/* A log of so many blocks of one segment, and a start behind it. */
static void live(struct world *w, uint32_t blocks)
{
	cr_assert_eq(world_start(w), 0);
	world_put(w, 0, blocks);
	world_run(w, 1000);
	cr_assert_eq(world_stop(w), 0);
	cr_assert_eq(world_start(w), 0);
}

static void damage(struct world *w, uint32_t block)
{
	struct fake_file *f = (struct fake_file *)fake_disk_file(&w->disk, "0000000000000001.seg");

	cr_assert(f);
	f->data[(2 + block) * DP_DISK_ALIGN + 200] ^= 1;
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

	live(w, 5); /* a reading of each stream in each */
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

static void put_reading(struct world *w, const char *sensor, int64_t arrival_ns)
{
	const struct dp_stream *s = &w->streams.streams[1];
	struct dp_log *log = &w->logs[0];
	struct dp_rec_reading *r;
	uint32_t index;

	dp_log_group(log, SAMPLE_GROUP_BYTES, arrival_ns);
	r = dp_log_record(log, DP_REC_READING,
		dp_rec_reading_bytes(s, (uint32_t)strlen(sensor), NULL), &index);
	r->head.stream = 1;
	r->head.id_len = (uint8_t)strlen(sensor);
	memcpy(r + 1, sensor, r->head.id_len);
	r->event_ns = r->arrival_ns = arrival_ns;
	r->life = 7;
	r->flags = DP_ROW_NEW_LIFE;
	r->field_count = s->field_count;
	dp_log_reading_time(log, arrival_ns, arrival_ns);
	cr_assert(dp_log_seal(log, 0, true));
}

static bool is_known(const struct dp_worker *workers, uint32_t count, const char *sensor)
{
	struct dp_sensor_id id = {.len = (uint8_t)strlen(sensor)};
	bool found = false;

	memcpy(id.bytes, sensor, id.len);
	for (uint32_t i = 0; i < count; i++) {
		const struct dp_table *t = &workers[i].per_stream[1].table;

		found |= dp_table_find(t, &id, dp_table_hash(t, &id)) != DP_SLOT_NONE;
	}
	return found;
}

/*
 * limits.memory has been lowered: what comes back is no more than it allows, over all workers, and
 * is what was heard last, not what stands first in the log.
 */
Test(replay, what_is_beyond_the_bound_of_all_workers_is_the_longest_silent)
{
	enum { SENSORS = 40, MOST = 10, COUNT = 3 };
	static const uint32_t slots_max[2] = {SENSORS, SENSORS}, sensors_max[2] = {MOST, MOST};
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_worker *workers;
	struct dp_replayed r;
	char sensor[8];

	cr_assert_eq(world_start(w), 0);
	for (int i = 0; i < SENSORS; i++) { /* 11 and 37 have no common factor with 40 */
		snprintf(sensor, sizeof(sensor), "s-%d", i * 11 % SENSORS);
		put_reading(w, sensor, SAMPLE_TIME_NS + i * 37 % SENSORS);
	}
	world_run(w, 1000);
	cr_assert_eq(world_stop(w), 0);
	cr_assert_eq(world_start(w), 0);
	workers = new_workers(w, &w->streams.set, COUNT, slots_max, sensors_max);
	cr_assert_eq(dp_workers_replay(workers, COUNT, &w->io, w->recovery, &w->now, &r), 0);
	cr_expect_eq(r.sensors, MOST);
	cr_expect_eq(r.dropped_limit, SENSORS - MOST);
	cr_expect_eq(atomic_load(&workers[0].per_stream[1].admit.places->held), MOST);
	for (int i = 0; i < SENSORS; i++) {
		snprintf(sensor, sizeof(sensor), "s-%d", i * 11 % SENSORS);
		cr_expect_eq(is_known(workers, COUNT, sensor), i * 37 % SENSORS >= SENSORS - MOST,
			"%s", sensor);
	}
	dp_workers_fini(workers, COUNT);
	free(workers);
	world_free(w);
}

Test(replay, a_change_of_streams_is_told_once)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_stream streams[2];
	struct dp_stream_set other;
	struct dp_replayed r;
	struct told t;

	live(w, 5);
	other = changed(w, streams);
	t = replay(w, &other, 4, &r);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 5);
	tell_and_start_again(w, &t); /* with one more of the old streams */
	t = replay(w, &w->streams.set, 4, &r);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 0, "the streams are the old ones again");
	t = replay(w, &other, 4, &r);
	cr_expect_eq(r.dropped_schema, 6);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 1, "only what came since");
	tell_and_start_again(w, &t);
	tell_and_start_again(w, &(struct told){0});
	t = replay(w, &other, 4, &r);
	cr_expect_eq(r.dropped_schema, 8);
	cr_expect_eq(t.count[DP_GAP_SCHEMA], 2);
	world_free(w);
}

/* Sealed segments too: recovery does not look into them. */
Test(replay, damage_is_told_once)
{
	static const uint32_t blocks[] = {0, 3, 5};

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		struct world *w = world_new(DP_SYNC_ALWAYS);
		struct dp_replayed r;
		struct told t;

		live(w, 6);
		t = replay(w, &w->streams.set, 4, &r);
		cr_expect_eq(t.count[DP_GAP_DAMAGE], 0);
		damage(w, blocks[i]); /* in the first, in between, at the end of the log */
		t = replay(w, &w->streams.set, 4, &r);
		cr_expect_eq(t.count[DP_GAP_DAMAGE], SAMPLE_RECORDS, "block %u", blocks[i]);
		cr_expect_eq(r.damaged_records, SAMPLE_RECORDS);
		cr_expect_eq(r.damage_new, SAMPLE_RECORDS);
		cr_expect_eq(r.damaged_regions, 1);
		tell_and_start_again(w, &t);
		t = replay(w, &w->streams.set, 4, &r);
		cr_expect_eq(t.count[DP_GAP_DAMAGE], 0, "block %u", blocks[i]);
		cr_expect_eq(r.damaged_records, SAMPLE_RECORDS);
		cr_expect_eq(r.damage_new, 0);
		damage(w, 1); /* before what was told */
		t = replay(w, &w->streams.set, 4, &r);
		cr_expect_eq(t.count[DP_GAP_DAMAGE], SAMPLE_RECORDS, "block %u", blocks[i]);
		world_free(w);
	}
}
