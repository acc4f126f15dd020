/*
 * core/worker.c: batches, timers, a full log ring, a stop, one turn's bounds.  What breaks if it
 * fails: readings that wait too long or are lost, sensors forgotten in part, a worker that starves.
 */
#include "dataplane/core/worker.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/decode/wire.h"
#include "dataplane/journal/schema.h"
#include "tests/unit/linear_model.h"

enum {
	WORKERS_MAX = 4,
	SENSORS_MAX = 300, /* of a worker */
	QUEUE = 8192,
	DATAGRAM_BYTES = 320,
	RECORDS_MAX = 1 << 16,
};

#define START  1700000000000000000ll
#define SECOND DP_NS_PER_S

/* What was heard of one record. */
struct heard {
	uint64_t block, life, seq;
	int64_t start_ns;
	uint32_t index;
	uint16_t flags;
	uint8_t kind, what, reason, raised, rule, group;
	char id[DP_SENSOR_ID_MAX + 1];
	uint32_t payload_bytes;
	uint8_t payload[DATAGRAM_BYTES];
};

struct queue {
	struct dp_packet list[QUEUE];
	uint8_t bytes[QUEUE][DATAGRAM_BYTES + DP_JSON_PADDING];
	uint32_t put, got;
};

static struct dp_field fields[2];
static struct dp_tag tag = {"lot"};
static struct dp_window_def windows[2];
static struct dp_rule rules[3];
static struct linear_stream linear;
static struct dp_stream stream;
static struct dp_stream_set set = {.count = 1, .streams = &stream};
static const struct dp_input inputs[4] = {{.format = DP_FORMAT_BINARY}, {.format = DP_FORMAT_JSON},
	{.format = DP_FORMAT_BINARY, .keep_raw = true},
	{.format = DP_FORMAT_JSON, .keep_raw = true}};
enum { RAW = 2 }; /* to the index of an input: the one that keeps what comes */
static const uint32_t slots_max = SENSORS_MAX;
static const uint32_t *sensors_max; /* of all workers; NULL: no bound but the slots */

static struct dp_worker *workers;
static uint32_t worker_count;
static struct queue *queues;
static struct heard *heard;
static uint32_t heard_count, woken_workers;
static struct dp_now now;

/* ---- the world ---- */

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct queue *q = ctx;
	uint32_t n = 0;

	(void)c;
	while (n < max && q->got < q->put)
		out[n++] = q->list[q->got++ % QUEUE];
	return n;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)ctx;
	(void)packets;
	(void)count;
}

static const struct dp_source_ops source_ops = {.burst = burst, .done = done};

static void wake_worker(void *arg, uint32_t worker)
{
	(void)arg;
	woken_workers |= 1u << worker;
}

static void wake_writer(void *arg)
{
	(void)arg;
}

static void make_stream(void)
{
	strcpy(fields[0].name, "temperature");
	strcpy(fields[1].name, "humidity");
	for (int i = 0; i < 2; i++) {
		fields[i].min = -INFINITY;
		fields[i].max = INFINITY;
		fields[i].scale = 1;
	}
	windows[0] = (struct dp_window_def){.name = "30s/10s",
		.size_ns = 30 * SECOND,
		.slide_ns = 10 * SECOND,
		.stats = DP_STAT_ALL};
	windows[1] = (struct dp_window_def){.name = "60s",
		.size_ns = 60 * SECOND,
		.slide_ns = 60 * SECOND,
		.stats = DP_STAT_MEAN | DP_STAT_MAX};
	rules[0] = (struct dp_rule){.name = "hot",
		.kind = DP_RULE_ABOVE,
		.severity = DP_SEVERITY_WARNING,
		.window = -1,
		.threshold = 25,
		.count = 1};
	rules[1] = (struct dp_rule){.name = "hot mean",
		.kind = DP_RULE_ABOVE,
		.severity = DP_SEVERITY_CRITICAL,
		.stat = DP_STAT_MEAN,
		.threshold = 22,
		.count = 1};
	rules[2] = (struct dp_rule){.name = "silent",
		.kind = DP_RULE_MISSING,
		.severity = DP_SEVERITY_CRITICAL,
		.field = -1,
		.window = -1,
		.count = 3,
		.period_ns = 20 * SECOND};
	stream = (struct dp_stream){.name = "room",
		.id_key = "id",
		.time_key = "time",
		.number = 1,
		.field_count = 2,
		.tag_count = 1,
		.window_count = 2,
		.rule_count = 3,
		.lateness_ns = 5 * SECOND,
		.max_skew_ns = 3600 * SECOND,
		.idle_ns = 90 * SECOND,
		.forget_ns = 3600 * SECOND,
		.fields = fields,
		.tags = &tag,
		.windows = windows,
		.rules = rules};
	linear_stream_bind(&linear, &stream,
		(const char *[]){"temperature", "mean(temperature,30s)", "delta(humidity)", NULL},
		10 * SECOND);
	stream.state_hash = dp_stream_state_hash(&stream);
	set.hash = dp_schema_hash(&set);
}

static void start(uint32_t count, uint32_t new_per_s)
{
	struct dp_worker_config configs[WORKERS_MAX];

	make_stream();
	now = (struct dp_now){.real_ns = START, .steady_ns = START};
	worker_count = count;
	workers = aligned_alloc(DP_CACHE_LINE, count * sizeof(*workers));
	queues = calloc(count, sizeof(*queues));
	heard = calloc(RECORDS_MAX, sizeof(*heard));
	for (uint32_t i = 0; i < count; i++)
		configs[i] = (struct dp_worker_config){.index = i,
			.workers = count,
			.streams = &set,
			.plans = (const struct dp_plan *const *)&linear.plan,
			.inputs = inputs,
			.slots_max = &slots_max,
			.sensors_max = sensors_max,
			.new_sensors_per_s = new_per_s,
			.seed = 7,
			.log = {.ring_bytes = 1 << 21,
				.block_max = (uint32_t)dp_block_bytes_max(&set),
				.worker = i,
				.appliance = 1,
				.epoch = 1,
				.schema_hash = set.hash,
				.linger_ns = DP_NS_PER_MS},
			.hooks = {.wake_worker = wake_worker, .wake_writer = wake_writer}};
	cr_assert_eq(dp_workers_init(workers, count, configs, &now), 0);
	for (uint32_t i = 0; i < count; i++)
		workers[i].source = (struct dp_source){.ops = &source_ops, .ctx = &queues[i]};
}

static void finish(void)
{
	dp_workers_fini(workers, worker_count);
	dp_plan_free(linear.plan);
	free(workers);
	free(queues);
	free(heard);
	heard_count = woken_workers = 0;
}

/* ---- datagrams ---- */

static void send_bytes(uint32_t worker, uint16_t input, const void *bytes, uint32_t count)
{
	struct queue *q = &queues[worker];
	uint32_t at = q->put++ % QUEUE;

	assert(count <= DATAGRAM_BYTES && q->put - q->got <= QUEUE);
	memcpy(q->bytes[at], bytes, count);
	q->list[at] = (struct dp_packet){.data = q->bytes[at], .bytes = count, .input = input};
}

/* A numbered datagram of `rows` readings a second apart, the last of them now. */
static void send_numbered(uint32_t worker, const char *id, uint64_t seq, uint8_t rows, float value)
{
	uint8_t bytes[DATAGRAM_BYTES], *at = bytes + sizeof(struct dp_wire_head);
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = DP_WIRE_NUMBERED | DP_WIRE_DELTA_MS,
		.stream = 1,
		.id_len = (uint8_t)strlen(id),
		.count = rows,
		.boot = 9,
		.field_count = 1,
		.sequence = seq,
		.base_time_ns = now.real_ns};

	memcpy(bytes, &head, sizeof(head));
	memcpy(at, id, head.id_len);
	at += head.id_len;
	for (int32_t i = 0; i < rows; i++) {
		int32_t delta = (i - rows + 1) * 1000;

		memcpy(at, &delta, 4);
		at[4] = 1;
		memcpy(at + 5, &value, 4);
		at += 9;
	}
	send_bytes(worker, 0, bytes, (uint32_t)(at - bytes));
}

static void send_json(uint32_t worker, const char *text)
{
	send_bytes(worker, 1, text, (uint32_t)strlen(text));
}

/* Name of the n-th sensor that this worker owns; without stdio, which may allocate. */
static const char *sensor_of(uint32_t worker, uint32_t n)
{
	static _Thread_local char name[16];

	for (uint32_t i = 0;; i++) {
		struct dp_sensor_id id = {.len = 8};
		uint32_t rest = i;

		memcpy(id.bytes, "mote", 4);
		for (int digit = 7; digit > 3; digit--, rest /= 10)
			id.bytes[digit] = (char)('0' + rest % 10);
		assert(i < 10000);
		if (dp_owner(dp_sensor_key(&id), worker_count) != worker || n--)
			continue;
		memcpy(name, id.bytes, sizeof(name));
		return name;
	}
}

/* ---- turns ---- */

static bool turn(uint32_t worker, int64_t later_ns)
{
	now.real_ns += later_ns;
	now.steady_ns += later_ns;
	return dp_worker_turn(&workers[worker], &now);
}

/* Turns of all workers until they have nothing more to do. */
static void settle(void)
{
	bool busy = true;

	for (int i = 0; busy && i < 100000; i++) {
		busy = false;
		for (uint32_t k = 0; k < worker_count; k++)
			busy |= turn(k, 1000);
	}
	assert(!busy);
}

static void hear_record(const struct dp_block *b, uint32_t index, const struct dp_rec *rec)
{
	struct heard *h = &heard[heard_count++ % RECORDS_MAX];

	*h = (struct heard){.block = b->sequence, .index = index, .kind = rec->kind};
	memcpy(h->id, dp_rec_sensor(rec), rec->id_len);
	if (rec->kind == DP_REC_READING) {
		const struct dp_rec_reading *r = (const struct dp_rec_reading *)rec;

		h->flags = r->flags;
		h->seq = r->seq;
		h->life = r->life;
		h->group = r->group;
	} else if (rec->kind == DP_REC_WINDOW) {
		const struct dp_rec_window *r = (const struct dp_rec_window *)rec;

		h->reason = r->reason;
		h->start_ns = r->start_ns;
		h->what = r->window;
		h->life = r->life;
	} else if (rec->kind == DP_REC_ALERT) {
		h->raised = ((const struct dp_rec_alert *)rec)->raised;
		h->rule = ((const struct dp_rec_alert *)rec)->rule;
	} else if (rec->kind == DP_REC_MARK) {
		h->what = ((const struct dp_rec_mark *)rec)->what;
	} else if (rec->kind == DP_REC_RAW) {
		const struct dp_rec_raw *r = (const struct dp_rec_raw *)rec;

		assert(r->payload_bytes <= DATAGRAM_BYTES);
		h->start_ns = r->arrival_ns;
		h->payload_bytes = r->payload_bytes;
		memcpy(h->payload, dp_rec_payload(r), r->payload_bytes);
	}
}

/* The writer's part: takes what is sealed and gives the space back. */
static void hear(uint32_t worker)
{
	struct dp_block *b;

	while ((b = dp_log_take(&workers[worker].log))) {
		const struct dp_rec *rec;
		size_t cursor = 0;
		uint32_t index = 0;
		bool bad = false;

		while ((rec = dp_block_next(b, &set, &cursor, &bad)))
			hear_record(b, index++, rec);
		assert(!bad);
	}
	dp_log_release(&workers[worker].log, dp_log_taken(&workers[worker].log));
}

static void settle_and_hear(void)
{
	settle();
	for (uint32_t i = 0; i < worker_count; i++) {
		turn(i, 2 * DP_NS_PER_MS); /* the linger */
		hear(i);
	}
}

static uint64_t counted(enum dp_counter which)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < worker_count; i++)
		n += dp_counted(&workers[i].counters, which);
	return n;
}

static uint64_t dropped(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		if (strncmp(dp_counter_name(i), "dropped.", 8) == 0)
			n += counted((enum dp_counter)i);
	return n;
}

static int64_t in_flight(void)
{
	return (int64_t)(counted(DP_C_DECODED_READINGS) - counted(DP_C_RECORDED) -
			 counted(DP_C_DUPLICATE) - dropped());
}

static uint32_t heard_of(uint8_t kind, const char *id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < heard_count; i++)
		n += heard[i].kind == kind && strcmp(heard[i].id, id) == 0;
	return n;
}

/* ---- batches ---- */

Test(worker, a_reading_waits_for_company_only_so_long)
{
	start(1, 0);
	send_numbered(0, "a", 0, 1, 20);
	turn(0, 1000);
	cr_assert_eq(counted(DP_C_RECORDED), 0, "more may come: it gathers");
	send_numbered(0, "a", 1, 1, 20);
	turn(0, DP_BATCH_WAIT_NS / 2);
	cr_assert_eq(counted(DP_C_RECORDED), 0);
	send_numbered(0, "a", 2, 1, 20);
	turn(0, DP_BATCH_WAIT_NS / 2);
	cr_assert_eq(counted(DP_C_RECORDED), 3, "the first has waited long enough");
	send_numbered(0, "a", 3, 1, 20);
	turn(0, 1000);
	turn(0, 1000);
	cr_assert_eq(counted(DP_C_RECORDED), 4, "a turn without input works off what there is");
	finish();
}

/* What a packet waited in its socket counts, also when its batch is worked off a turn later. */
Test(worker, the_wait_in_the_socket_is_part_of_the_linger)
{
	start(1, 0);
	settle_and_hear();
	heard_count = 0;
	now.steady_ns += DP_NS_PER_MS;
	send_numbered(0, "a", 0, 1, 20);
	workers[0].gathered_ns = DP_NS_PER_MS - 3000;
	turn(0, 1000);
	workers[0].gathered_ns = 0;
	turn(0, 1000);
	hear(0);
	cr_assert_eq(counted(DP_C_RECORDED), 1);
	cr_expect_eq(heard_count, 0, "2 us are left of the linger");
	turn(0, 2000);
	hear(0);
	cr_expect_eq(heard_count, 1);
	finish();
}

Test(worker, a_full_batch_does_not_wait)
{
	start(1, 0);
	for (uint64_t i = 0; i < 8; i++)
		send_numbered(0, "a", i, 10, 20);
	turn(0, 1);
	cr_assert_eq(counted(DP_C_RECORDED), 70, "the seventh datagram made it 64 or more");
	cr_assert_eq(in_flight(), 10);
	finish();
}

/* A peer that sends faster than this worker processes must not keep it from all else. */
Test(worker, a_turn_takes_a_bounded_number_from_a_ring)
{
	const uint32_t datagrams = 2000;
	uint32_t turns = 0;

	start(2, 0);
	for (uint32_t i = 0; i < datagrams; i++)
		send_numbered(0, sensor_of(1, 0), i, 1, 20);
	while (queues[0].got < queues[0].put || in_flight() > (int64_t)datagrams)
		turn(0, 1000);
	turn(0, 1000);
	cr_assert_eq(woken_workers, 2);
	for (uint64_t last = 0; counted(DP_C_RECORDED) < datagrams; turns++) {
		cr_assert(turn(1, 1000));
		hear(1);
		cr_assert_leq(counted(DP_C_RECORDED) - last, 512);
		last = counted(DP_C_RECORDED);
	}
	cr_assert_geq(turns, 4);
	finish();
}

/* ---- the log ring is full ---- */

Test(worker, a_full_journal_refuses_whole_datagrams_and_recovers)
{
	uint64_t seq = 0, refused, recorded, resent;

	start(1, 0);
	while (!counted(DP_C_DROP_JOURNAL_FULL)) {
		send_numbered(0, "a", seq++, 3, 20);
		turn(0, 1000);
		turn(0, 1000);
		cr_assert_lt(seq, 20000u);
	}
	cr_assert_eq(in_flight(), 0);
	refused = counted(DP_C_DROP_JOURNAL_FULL);
	recorded = counted(DP_C_RECORDED);
	cr_assert_eq(refused, 3, "the datagram as a whole");
	hear(0);
	resent = seq - 1;
	send_numbered(0, "a", resent, 3, 20);
	send_numbered(0, "a", resent - 1, 3, 20);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_RECORDED), recorded + 3, "what was refused may come again");
	cr_assert_eq(counted(DP_C_DUPLICATE), 3, "what was recorded may not");
	cr_assert_eq(in_flight(), 0);
	for (uint32_t i = 0, rows = 0; i < heard_count; i++) {
		if (heard[i].kind != DP_REC_READING)
			continue;
		cr_assert_eq(heard[i].group, rows % 3 ? 0 : 3, "a datagram in parts");
		rows++;
	}
	finish();
}

Test(worker, timers_wait_for_the_journal_and_lose_nothing)
{
	uint64_t seq = 0;

	start(1, 0);
	send_numbered(0, "quiet", 0, 1, 20);
	while (!counted(DP_C_DROP_JOURNAL_FULL)) {
		send_numbered(0, "a", seq++, 3, 20);
		turn(0, 1000);
		turn(0, 1000);
	}
	for (int i = 0; i < 200; i++)
		turn(0, SECOND);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), 0);
	cr_assert_leq(dp_worker_deadline(&workers[0]), now.steady_ns, "still due");
	hear(0);
	settle_and_hear();
	cr_assert_eq(heard_of(DP_REC_ALERT, "quiet"), 1);
	cr_assert_gt(heard_of(DP_REC_WINDOW, "quiet"), 0);
	finish();
}

/* ---- timers ---- */

Test(worker, missing_data_is_raised_once_and_cleared_by_a_reading)
{
	start(1, 0);
	send_numbered(0, "a", 0, 1, 20);
	settle();
	turn(0, 59 * SECOND);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), 0);
	for (int i = 0; i < 20; i++)
		turn(0, SECOND);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), 1);
	send_numbered(0, "a", 1, 1, 20);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_ALERTS_CLEARED), 1);
	for (int i = 0; i < 70; i++)
		turn(0, SECOND);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), 2, "silent again");
	finish();
}

Test(worker, an_idle_sensor_closes_its_windows_once)
{
	uint32_t windows_idle;

	start(1, 0);
	send_numbered(0, "a", 0, 1, 20);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_RECORDS_WINDOW), 0);
	turn(0, 88 * SECOND);
	cr_assert_eq(counted(DP_C_RECORDS_WINDOW), 0);
	cr_assert_leq(dp_worker_deadline(&workers[0]), now.steady_ns + 2 * SECOND);
	turn(0, 2 * SECOND + DP_WHEEL_TICK_NS);
	settle_and_hear();
	windows_idle = heard_of(DP_REC_WINDOW, "a");
	cr_assert_eq(windows_idle, 4, "three that slide, one that tumbles");
	for (uint32_t i = 0; i < heard_count; i++)
		if (heard[i].kind == DP_REC_WINDOW)
			cr_assert_eq(heard[i].reason, DP_CLOSE_IDLE);
	for (int i = 0; i < 300; i++)
		turn(0, SECOND);
	settle_and_hear();
	cr_assert_eq(heard_of(DP_REC_WINDOW, "a"), windows_idle);
	send_numbered(0, "a", 1, 1, 20);
	settle_and_hear();
	for (int i = 0; i < 100; i++)
		turn(0, SECOND);
	settle_and_hear();
	cr_assert_eq(heard_of(DP_REC_WINDOW, "a"), 2 * windows_idle, "and again after a reading");
	finish();
}

/* Where the mark of a sensor's retirement is, and that all it closes stands in the same block. */
static void check_retired(const char *id)
{
	uint32_t mark = UINT32_MAX;

	for (uint32_t i = 0; i < heard_count; i++) {
		const struct heard *h = &heard[i];

		if (strcmp(h->id, id) == 0 && h->kind == DP_REC_MARK)
			mark = i;
	}
	cr_assert_neq(mark, UINT32_MAX, "%s has no mark", id);
	cr_assert_eq(heard[mark].what, DP_MARK_RETIRED);
	for (uint32_t i = 0; i < heard_count; i++) {
		const struct heard *h = &heard[i];
		bool facts = (h->kind == DP_REC_WINDOW && h->reason == DP_CLOSE_RETIRED) ||
			     (h->kind == DP_REC_ALERT && !h->raised);

		if (strcmp(h->id, id) || h->kind == DP_REC_MARK)
			continue;
		cr_assert_lt(i, mark, "something of %s after its mark", id);
		if (facts)
			cr_assert_eq(h->block, heard[mark].block,
				"a crash between could close %s twice", id);
	}
}

Test(worker, a_sensor_is_forgotten_with_all_that_was_open_in_one_block)
{
	const uint32_t sensors = 200;

	start(1, 0);
	stream.idle_ns = stream.forget_ns; /* so that retirement closes the windows */
	for (uint32_t i = 0; i < sensors; i++)
		send_numbered(0, sensor_of(0, i), 0, 4, 30); /* raises an alert */
	settle_and_hear();
	cr_assert_eq(workers[0].per_stream[0].table.slots_used, sensors);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), sensors);
	turn(0, stream.forget_ns - 5 * SECOND);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_SENSORS_RETIRED), 0);
	turn(0, 6 * SECOND);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_SENSORS_RETIRED), sensors);
	cr_assert_eq(workers[0].per_stream[0].table.slots_used, 0);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), counted(DP_C_ALERTS_CLEARED));
	for (uint32_t i = 0; i < sensors; i++)
		check_retired(sensor_of(0, i));
	heard_count = 0;
	send_numbered(0, sensor_of(0, 3), 0, 1, 20);
	settle_and_hear();
	cr_assert_eq(heard_of(DP_REC_READING, sensor_of(0, 3)), 1, "not a duplicate any more");
	for (uint32_t i = 0; i < heard_count; i++)
		if (heard[i].kind == DP_REC_READING)
			cr_assert(heard[i].flags & DP_ROW_NEW_LIFE);
	finish();
}

/* A count left out is one period; a silence longer than time does not overflow into the past. */
Test(worker, odd_missing_rules_do_not_fire_at_once)
{
	start(1, 0);
	finish();
	rules[2].count = 0;
	cr_assert_eq(dp_alert_silence_ns(&rules[2]), 20 * SECOND);
	rules[2].count = UINT32_MAX;
	rules[2].period_ns = INT64_MAX / 2;
	cr_assert_eq(dp_alert_silence_ns(&rules[2]), INT64_MAX);
}

/* A timer wheel left behind by a month without sensors would be walked a bucket at a time. */
Test(worker, the_timers_keep_up_while_there_is_no_sensor)
{
	start(1, 0);
	settle();
	turn(0, 30 * 86400 * SECOND);
	cr_assert_eq(workers[0].per_stream[0].table.wheel_at, now.steady_ns / DP_WHEEL_TICK_NS);
	finish();
}

/* ---- raw payloads ---- */

/* The last datagram put into that worker's queue goes to the input that keeps what comes. */
static void keep_last(uint32_t worker)
{
	queues[worker].list[(queues[worker].put - 1) % QUEUE].input += RAW;
}

static const struct heard *heard_raw(uint32_t nth)
{
	for (uint32_t i = 0; i < heard_count; i++)
		if (heard[i].kind == DP_REC_RAW && nth-- == 0)
			return &heard[i];
	cr_assert_fail("there is no such payload");
	return NULL;
}

static void expect_payload(uint32_t nth, const char *id, uint32_t worker, uint32_t datagram)
{
	const struct heard *h = heard_raw(nth);
	const struct dp_packet *p = &queues[worker].list[datagram];

	cr_expect_str_eq(h->id, id);
	cr_assert_eq(h->payload_bytes, p->bytes);
	cr_expect_arr_eq(h->payload, p->data, p->bytes);
}

/* What a reader of the raw topic relies on: every byte, under the key of the readings. */
Test(worker, what_an_input_keeps_is_recorded_as_it_came)
{
	start(1, 0);
	send_numbered(0, "a", 0, 3, 20);
	keep_last(0);
	send_json(0, " [{\"id\":\"b\", \"x\":null},{\"id\":\"c\"}]\n");
	keep_last(0);
	send_numbered(0, "a", 0, 3, 20);
	keep_last(0);
	send_numbered(0, "a", 1, 1, 20);
	send_json(0, "{\"id\":\"d\"");
	keep_last(0);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_RECORDS_RAW), 3, "a duplicate too, nothing that was rejected");
	cr_assert_eq(heard_of(DP_REC_RAW, "a"), 2);
	expect_payload(0, "a", 0, 0);
	expect_payload(1, "b", 0, 1);
	expect_payload(2, "a", 0, 2);
	for (uint32_t i = 0; i < heard_count; i++)
		if (heard[i].kind == DP_REC_READING)
			cr_expect_gt(&heard[i], heard_raw(1), "it stands before its readings");
	cr_assert_eq(counted(DP_C_RECORDED), 6);
	cr_assert_eq(counted(DP_C_RAW_LOST), 0);
	cr_assert_eq(in_flight(), 0);
	finish();
}

Test(worker, a_payload_stays_where_it_came_in)
{
	start(2, 0);
	send_numbered(0, sensor_of(1, 0), 0, 1, 20);
	keep_last(0);
	settle();
	turn(0, 2 * DP_NS_PER_MS);
	hear(0);
	expect_payload(0, sensor_of(1, 0), 0, 0);
	cr_expect_eq(heard_of(DP_REC_READING, sensor_of(1, 0)), 0);
	turn(1, 2 * DP_NS_PER_MS);
	hear(1);
	cr_expect_eq(heard_of(DP_REC_READING, sensor_of(1, 0)), 1);
	cr_expect_eq(heard_of(DP_REC_RAW, sensor_of(1, 0)), 1);
	finish();
}

/*
 * A ring that the writer empties a block at a time: room for a batch is megabytes, that for a
 * payload is little. Readings must not starve behind payloads, and what is not kept is counted.
 */
Test(worker, payloads_give_way_to_readings)
{
	uint64_t sent = 0;

	start(1, 0);
	while (counted(DP_C_RAW_LOST) == 0) {
		send_numbered(0, "a", sent++, 1, 20);
		keep_last(0);
		settle();
		cr_assert_lt(sent, 100000);
	}
	cr_expect_eq(counted(DP_C_DROP_JOURNAL_FULL), 0, "there is room for readings still");
	for (uint32_t i = 0; i < 100000; i++) {
		if (i % 1000 == 0 && dp_log_take(&workers[0].log))
			dp_log_release(&workers[0].log, dp_log_taken(&workers[0].log));
		send_numbered(0, "a", sent++, 1, 20);
		keep_last(0);
		turn(0, 1000);
	}
	settle();
	cr_expect_gt(counted(DP_C_RECORDED), 50000);
	cr_expect_eq(counted(DP_C_RECORDS_RAW) + counted(DP_C_RAW_LOST),
		counted(DP_C_DECODED_DATAGRAMS));
	cr_expect_eq(counted(DP_C_DECODED_DATAGRAMS), sent);
	cr_assert_eq(in_flight(), 0, "in none of the sums");
	finish();
}

/* ---- new sensors ---- */

Test(worker, beyond_the_bound_and_the_rate_new_sensors_are_named_drops)
{
	start(1, 100);
	for (uint32_t i = 0; i < 150; i++)
		send_numbered(0, sensor_of(0, i), 0, 1, 20);
	settle();
	cr_assert_eq(counted(DP_C_SENSORS_NEW), 100);
	cr_assert_eq(counted(DP_C_DROP_SENSOR_RATE), 50);
	for (uint32_t i = 0; i < 1000; i++) {
		send_numbered(0, sensor_of(0, i % 400), i, 1, 20);
		turn(0, 10 * DP_NS_PER_MS);
		hear(0);
	}
	settle();
	cr_assert_eq(counted(DP_C_SENSORS_NEW), SENSORS_MAX);
	cr_assert_gt(counted(DP_C_DROP_SENSOR_LIMIT), 0);
	cr_assert_eq(in_flight(), 0);
	finish();
}

static uint64_t sensors_held(void)
{
	const struct dp_worker_stream *first = &workers[0].per_stream[0];
	uint64_t used = 0;

	for (uint32_t i = 0; i < worker_count; i++)
		used += workers[i].per_stream[0].table.slots_used;
	cr_assert_eq(atomic_load(&first->admit.places->held), used);
	return used;
}

/*
 * What limits.memory and limits.per_stream say is of the appliance. Were a place not given back,
 * the second round would have fewer sensors; were it given back twice, more.
 */
Test(worker, all_workers_together_hold_no_more_than_the_bound)
{
	static const uint32_t most = 8;

	sensors_max = &most;
	start(4, 0);
	for (uint32_t round = 1; round <= 3; round++) {
		for (uint32_t i = 0; i < 200; i++)
			send_numbered(i % 3, sensor_of(i % 4, i), round, 1, 20);
		settle_and_hear();
		cr_assert_eq(sensors_held(), most);
		cr_assert_eq(counted(DP_C_SENSORS_NEW), round * most);
		cr_assert_eq(counted(DP_C_DROP_SENSOR_LIMIT), round * (200 - most));
		turn(0, stream.forget_ns + SECOND);
		settle_and_hear();
		cr_assert_eq(sensors_held(), 0);
	}
	cr_assert_eq(in_flight(), 0);
	finish();
}

/* A sensor that the rate refuses has no place. */
Test(worker, what_the_rate_refuses_takes_no_place)
{
	static const uint32_t most = 150;

	sensors_max = &most;
	start(1, 100);
	for (uint32_t i = 0; i < 120; i++)
		send_numbered(0, sensor_of(0, i), 0, 1, 20);
	settle_and_hear();
	cr_assert_eq(counted(DP_C_DROP_SENSOR_RATE), 20);
	cr_assert_eq(sensors_held(), 100);
	turn(0, SECOND);
	for (uint32_t i = 100; i < 170; i++)
		send_numbered(0, sensor_of(0, i), 1, 1, 20);
	settle_and_hear();
	cr_assert_eq(sensors_held(), most);
	cr_assert_eq(counted(DP_C_DROP_SENSOR_LIMIT), 20);
	finish();
}

/* ---- stop ---- */

Test(worker, a_drained_worker_still_takes_what_others_send)
{
	start(2, 0);
	settle();
	for (uint32_t i = 0; i < 2; i++)
		atomic_store(&workers[i].phase, DP_WORKER_DRAIN);
	turn(1, 1000);
	cr_assert_eq(atomic_load(&workers[1].phase_reached), DP_WORKER_DRAIN);
	for (uint32_t i = 0; i < 300; i++)
		send_numbered(0, sensor_of(1, i % 10), i / 10, 1, 20);
	turn(0, 1000);
	cr_assert_neq(atomic_load(&workers[0].phase_reached), DP_WORKER_DRAIN);
	settle();
	cr_assert_eq(atomic_load(&workers[0].phase_reached), DP_WORKER_DRAIN);
	cr_assert_eq(counted(DP_C_RECORDED), 300);
	for (uint32_t i = 0; i < 2; i++)
		atomic_store(&workers[i].phase, DP_WORKER_FINISH);
	settle();
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(atomic_load(&workers[i].phase_reached), DP_WORKER_FINISH);
		cr_assert_null(workers[i].log.open, "sealed");
		hear(i);
	}
	cr_assert_eq(in_flight(), 0);
	cr_assert_eq(heard[heard_count - 1].kind, DP_REC_MARK);
	finish();
}

/* More than one turn takes; and nobody asks the drained worker again whether its rings are empty.
 */
Test(worker, the_end_waits_for_what_is_in_the_rings)
{
	start(2, 0);
	settle();
	atomic_store(&workers[0].phase, DP_WORKER_DRAIN);
	atomic_store(&workers[1].phase, DP_WORKER_DRAIN);
	turn(1, 1000);
	for (uint32_t i = 0; i < 2000; i++)
		send_numbered(0, sensor_of(1, 0), i, 1, 20);
	while (atomic_load(&workers[0].phase_reached) != DP_WORKER_DRAIN)
		turn(0, 1000);
	atomic_store(&workers[0].phase, DP_WORKER_FINISH);
	atomic_store(&workers[1].phase, DP_WORKER_FINISH);
	settle();
	cr_assert_eq(atomic_load(&workers[1].phase_reached), DP_WORKER_FINISH);
	cr_assert_eq(counted(DP_C_RECORDED), 2000);
	finish();
}

Test(worker, senders_that_do_not_stop_do_not_stop_a_stop)
{
	uint32_t turns = 0;

	start(1, 0);
	settle();
	atomic_store(&workers[0].phase, DP_WORKER_DRAIN);
	while (atomic_load(&workers[0].phase_reached) != DP_WORKER_DRAIN) {
		send_numbered(0, "a", turns, 1, 20);
		turn(0, 10 * DP_NS_PER_MS);
		hear(0);
		cr_assert_lt(++turns, 200);
	}
	cr_assert_eq(in_flight(), 0);
	finish();
}

/* ---- questions ---- */

Test(worker, the_busiest_sensors_come_first)
{
	struct dp_sensor_view views[3];
	struct dp_sensor_query q = {.views = views, .max = 3};
	uint64_t seq = 0;

	start(1, 0);
	for (uint32_t i = 0; i < 100; i++)
		for (uint32_t k = 0; k <= i % 50; k++)
			send_numbered(0, sensor_of(0, i), seq++, 1, 20);
	settle();
	atomic_store(&workers[0].query, &q);
	settle();
	cr_assert(atomic_load(&q.done));
	cr_assert_eq(q.seen, 100);
	cr_assert_eq(q.count, 3);
	cr_assert_eq(views[0].readings, 50);
	cr_assert_eq(views[1].readings, 50);
	cr_assert_eq(views[2].readings, 49);
	finish();
}

/* ---- memory ---- */

static void json_load(uint32_t round)
{
	static const char *const texts[] = {
		"{\"id\":\"j1\",\"temperature\":21.5,\"lot\":\"x\",\"other\":[1,{\"a\":null}]}",
		"[{\"id\":\"j1\",\"humidity\":4e1},{\"id\":\"j2\",\"temperature\":null}]",
		"{\"id\":\"\\u00e9\",\"time\":\"2023-11-14T22:13:20.5Z\",\"temperature\":1}",
		"{\"id\":\"j3\",\"time\":1700000000123,\"temperature\":1e400}",
		"{\"id\":\"j3\",\"temperature\":\"hot\"}",
		"{\"id\":\"j3\"",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		"\xff\xfe",
		"",
		"{\"id\":\"j3\",\"lot\":"
		"\"0123456789012345678901234567890123456789012345678901234567"
		"8901234\"}",
	};

	send_json(0, texts[round % (sizeof(texts) / sizeof(texts[0]))]);
}

/* The longest datagrams: 64 objects, one long string, nothing but nesting. */
static void send_long(uint32_t round)
{
	static const char object[] = "{\"id\":\"j4\",\"humidity\":1.5},";
	static const char string[] = "{\"id\":\"j4\",\"more\":\"";
	static uint8_t bytes[DP_DATAGRAM_BYTES_MAX + DP_JSON_PADDING];
	struct queue *q = &queues[0];
	char *at = (char *)bytes;

	if (round % 3 == 0) {
		*at++ = '[';
		for (int i = 0; i < DP_DATAGRAM_READINGS_MAX; i++, at += sizeof(object) - 1)
			memcpy(at, object, sizeof(object) - 1);
		at[-1] = ']';
	}
	memset(at, round % 3 == 1 ? '[' : ' ',
		DP_DATAGRAM_BYTES_MAX - (size_t)(at - (char *)bytes));
	if (round % 3 == 2) {
		memset(at, 'x', DP_DATAGRAM_BYTES_MAX);
		memcpy(at, string, sizeof(string) - 1);
		memcpy(at + DP_DATAGRAM_BYTES_MAX - 2, "\"}", 2);
	}
	q->list[q->put++ % QUEUE] =
		(struct dp_packet){.data = bytes, .bytes = DP_DATAGRAM_BYTES_MAX, .input = 1};
	turn(0, 1000);
}

/* All that a worker can meet, on a thread that may not allocate. */
static void *sealed_load(void *arg)
{
	uint64_t seq = 0;

	(void)arg;
	dp_mem_seal();
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 4000; i++) {
			send_numbered(0, sensor_of(0, i % (SENSORS_MAX + 20)), seq + i / 640, 4,
				i % 7 ? 20 : 40);
			json_load(i);
			if (i % 100 < 3)
				send_long(i % 100);
			turn(0, 50 * DP_NS_PER_MS);
			if (round != 1)
				hear(0); /* round 1: the ring becomes full */
		}
		seq += 4000;
		for (uint32_t i = 0; i < 8000; i++) { /* alerts, idle closes, retirement */
			turn(0, SECOND);
			hear(0);
		}
	}
	return NULL;
}

Test(worker, nothing_is_allocated_once_sealed, .timeout = 60)
{
	struct dp_sensor_view views[10];
	struct dp_sensor_query q = {.views = views, .max = 10};
	pthread_t thread;

	start(1, 200);
	atomic_store(&workers[0].query, &q);
	cr_assert_eq(pthread_create(&thread, NULL, sealed_load, NULL), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert(atomic_load(&q.done));
	cr_assert_gt(counted(DP_C_SENSORS_NEW), SENSORS_MAX);
	cr_assert_gt(counted(DP_C_SENSORS_RETIRED), SENSORS_MAX);
	cr_assert_gt(counted(DP_C_DROP_SENSOR_LIMIT), 0);
	cr_assert_gt(counted(DP_C_DROP_JOURNAL_FULL), 0);
	cr_assert_gt(counted(DP_C_DUPLICATE), 0);
	cr_assert_gt(counted(DP_C_RECORDS_WINDOW), 1000);
	cr_assert_gt(counted(DP_C_ALERTS_RAISED), 100);
	cr_assert_eq(counted(DP_C_ALERTS_RAISED), counted(DP_C_ALERTS_CLEARED));
	cr_assert_gt(counted(DP_C_REJ_SYNTAX), 0);
	cr_assert_gt(counted(DP_C_REJ_UTF8), 0);
	cr_assert_gt(counted(DP_C_REJ_TAG), 0);
	cr_assert_eq(counted(DP_C_REJ_OVERSIZE), 0);
	cr_assert_gt(counted(DP_C_DECODED_READINGS), 3 * 40 * DP_DATAGRAM_READINGS_MAX);
	cr_assert_gt(counted(DP_C_UNKNOWN_KEY), 0);
	cr_assert_eq(in_flight(), 0);
	cr_assert_eq(atomic_load(&workers[0].per_stream[0].scorer.stats[0].rows),
		counted(DP_C_RECORDED));
	finish();
}
