/*
 * core/floor.c: what a worker tells the writer to keep for a start.  What breaks if it fails: a
 * journal that never frees, or a start without the counters or with an alert forgotten.
 */
#include "dataplane/core/floor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/core/worker.h"
#include "dataplane/journal/schema.h"

#define START  1700000000000000000ll
#define SECOND DP_NS_PER_S

enum { SENSORS_MAX = 2000 };

static struct dp_field field = {"temperature", .min = -INFINITY, .max = INFINITY, .scale = 1};
static struct dp_rule rules[2];
static struct dp_stream stream;
static struct dp_stream_set set = {.count = 1, .streams = &stream};
static const struct dp_input input = {.format = DP_FORMAT_BINARY};
static const uint32_t slots_max = SENSORS_MAX;
static struct dp_worker *worker;
static struct dp_now now;

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	(void)ctx;
	(void)out;
	(void)max;
	(void)c;
	return 0;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)ctx;
	(void)packets;
	(void)count;
}

static void wake_worker(void *arg, uint32_t other)
{
	(void)arg;
	(void)other;
}

static void wake_writer(void *arg)
{
	(void)arg;
}

static void begin(void)
{
	static const struct dp_source_ops ops = {.burst = burst, .done = done};
	struct dp_worker_config c = {.workers = 1,
		.streams = &set,
		.inputs = &input,
		.slots_max = &slots_max,
		.log = {.ring_bytes = 1 << 21, .appliance = 1, .epoch = 1},
		.hooks = {.wake_worker = wake_worker, .wake_writer = wake_writer}};

	for (int i = 0; i < 2; i++) {
		snprintf(rules[i].name, sizeof(rules[i].name), "high-%d", i);
		rules[i].kind = DP_RULE_ABOVE;
		rules[i].window = -1;
		rules[i].threshold = 30 + i;
		rules[i].count = 1;
	}
	stream = (struct dp_stream){.name = "s",
		.number = 1,
		.field_count = 1,
		.fields = &field,
		.rule_count = 2,
		.rules = rules,
		.idle_ns = 3600 * SECOND,
		.forget_ns = 86400 * SECOND};
	stream.state_hash = dp_stream_state_hash(&stream);
	set.hash = dp_schema_hash(&set);
	c.log.block_max = (uint32_t)dp_block_bytes_max(&set);
	c.log.schema_hash = set.hash;
	now = (struct dp_now){.real_ns = START, .steady_ns = 5 * SECOND};
	worker = aligned_alloc(DP_CACHE_LINE, sizeof(*worker));
	cr_assert_eq(dp_workers_init(worker, 1, &c, &now), 0);
	worker->source = (struct dp_source){.ops = &ops};
}

static void finish(void)
{
	dp_workers_fini(worker, 1);
	free(worker);
}

static bool writes;

static void write_all(void);

static void pass(int64_t ns)
{
	now.real_ns += ns;
	now.steady_ns += ns;
	dp_worker_turn(worker, &now);
	if (writes)
		write_all();
}

/* All that is sealed goes to that segment and is durable. */
static void write_all(void)
{
	dp_log_seal(&worker->log, now.steady_ns, true);
	while (dp_log_take(&worker->log))
		;
	dp_log_release(&worker->log, dp_log_taken(&worker->log));
}

/* Sum of the gap records `expired` in the ring; nothing of it is written over in these tests. */
static uint64_t gap_counts(void)
{
	struct dp_log second = worker->log;
	const struct dp_block *b;
	uint64_t sum = 0;

	dp_log_seal(&worker->log, now.steady_ns, true);
	atomic_store(&second.sealed, atomic_load(&worker->log.sealed));
	second.taken = 0;
	while ((b = dp_log_take(&second))) {
		const struct dp_rec *rec;
		size_t cursor = 0;
		bool bad = false;

		while ((rec = dp_block_next(b, &set, &cursor, &bad)))
			if (rec->kind == DP_REC_GAP &&
				((const struct dp_rec_gap *)rec)->reason == DP_GAP_EXPIRED)
				sum += ((const struct dp_rec_gap *)rec)->count;
	}
	return sum;
}

static uint64_t marks(void)
{
	return dp_counted(&worker->counters, DP_C_RECORDS_MARK);
}

static uint64_t marked_serial(void)
{
	return atomic_load(&worker->log.marked_serial);
}

Test(floor, a_mark_counts_once_it_is_durable)
{
	begin();
	atomic_store(&worker->log.serial, 3);
	pass(0);
	cr_expect_eq(marks(), 1, "the start's");
	cr_expect_eq(marked_serial(), 0);
	for (int i = 0; i < 3; i++)
		pass(SECOND);
	cr_expect_eq(marked_serial(), 0, "not written yet");
	write_all();
	pass(SECOND);
	cr_expect_eq(marked_serial(), 3);
	finish();
}

/* A worker that nothing comes to would else hold the whole journal. */
/* What drop_oldest has freed before an output had it is in the log as a gap, once. */
Test(floor, expired_records_are_told_with_the_next_mark)
{
	begin();
	pass(0);
	write_all();
	atomic_store(&worker->log.expired, 700);
	pass(SECOND / 2);
	cr_expect_eq(dp_counted(&worker->counters, DP_C_RECORDS_GAP), 0);
	pass(SECOND);
	cr_expect_eq(dp_counted(&worker->counters, DP_C_RECORDS_GAP), 1);
	pass(2 * SECOND);
	cr_expect_eq(dp_counted(&worker->counters, DP_C_RECORDS_GAP), 1);
	atomic_store(&worker->log.expired, 1000);
	pass(2 * SECOND);
	cr_expect_eq(dp_counted(&worker->counters, DP_C_RECORDS_GAP), 2);
	cr_expect_eq(gap_counts(), 700 + 300);
	finish();
}

Test(floor, each_segment_gets_a_mark_of_every_worker)
{
	uint64_t before;

	begin();
	atomic_store(&worker->log.serial, 1);
	pass(0);
	pass(SECOND);
	write_all();
	for (int i = 0; i < 3; i++)
		pass(SECOND);
	before = marks();
	pass(10 * SECOND);
	cr_expect_eq(marks(), before, "nothing has happened");
	atomic_store(&worker->log.serial, 7);
	pass(SECOND);
	cr_expect_eq(marks(), before + 1);
	write_all();
	pass(SECOND);
	cr_expect_eq(marked_serial(), 7);
	finish();
}

static void add_sensor(uint32_t number, uint32_t raised, int64_t raised_ns)
{
	struct dp_worker_stream *ws = &worker->per_stream[0];
	struct dp_sensor_id id = {0};
	struct dp_alert_state *states;
	uint32_t slot;

	id.len = (uint8_t)snprintf(id.bytes, sizeof(id.bytes), "s%u", number);
	slot = dp_table_add(&ws->table, &id, dp_table_hash(&ws->table, &id));
	cr_assert_neq(slot, DP_SLOT_NONE);
	dp_window_slot_init(&ws->windows, &ws->table, dp_table_slot(&ws->table, slot));
	dp_alert_slot_init(&ws->alerts, &ws->table, dp_table_slot(&ws->table, slot));
	states = dp_slot_alerts(&ws->table, dp_table_slot(&ws->table, slot));
	dp_table_slot(&ws->table, slot)->raised = raised;
	dp_table_slot(&ws->table, slot)->last_arrival_ns = number == 40 ? raised_ns - 7 : START;
	for (int i = 0; i < 2; i++)
		states[i].raised_ns = raised_ns + i;
}

Test(floor, the_oldest_open_alert_is_kept_from_its_raise)
{
	begin();
	cr_expect_eq(atomic_load(&worker->log.since_ns), INT64_MIN, "until it has looked");
	for (uint32_t i = 0; i < SENSORS_MAX; i++)
		add_sensor(i, i == 1900 ? 2 : i == 40 ? 3 : 0, START - (int64_t)i * SECOND);
	pass(SECOND);
	cr_expect_eq(atomic_load(&worker->log.since_ns), INT64_MIN, "some slots at a time");
	for (int i = 0; i < 8; i++)
		pass(SECOND);
	cr_expect_eq(atomic_load(&worker->log.since_ns), INT64_MIN, "not durable");
	writes = true;
	pass(SECOND);
	pass(SECOND);
	cr_expect_eq(atomic_load(&worker->log.since_ns), START - 1900 * SECOND + 1);
	dp_table_slot(&worker->per_stream[0].table, 1900)->raised = 0;
	for (int i = 0; i < 8; i++)
		pass(SECOND);
	cr_expect_eq(atomic_load(&worker->log.since_ns), START - 40 * SECOND - 7,
		"of a silence the reading before it");
	dp_table_remove(&worker->per_stream[0].table, 40);
	for (int i = 0; i < 12; i++)
		pass(SECOND);
	cr_expect_gt(atomic_load(&worker->log.since_ns), START, "none is open");
	cr_expect_leq(atomic_load(&worker->log.since_ns), now.real_ns - 4 * SECOND,
		"one raised behind the look's back is younger than its beginning");
	finish();
}
