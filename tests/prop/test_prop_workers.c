/*
 * The same datagrams through 1, 2 and 4 workers, in random interleavings of their turns, yield the
 * same records of every sensor, byte for byte and in the same order.  What would break: a reading
 * that is steered loses its order, its whole datagram, a tag, or is counted twice.
 */
#include "dataplane/core/worker.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/decode/wire.h"
#include "dataplane/journal/schema.h"
#include "tests/unit/linear_model.h"

enum {
	SEEDS = 60,
	SENSORS = 40,
	DATAGRAMS = 3000,
	DATAGRAM_BYTES = 512,
	RECORD_BYTES_MAX = 1 << 20, /* of one sensor */
};

#define START 1700000000000000000ll

struct world {
	struct dp_stream_set set;
	struct dp_stream stream;
	struct dp_field fields[2];
	struct dp_tag tag;
	struct dp_window_def windows[2];
	struct dp_rule rules[3];
	struct linear_stream linear;
	struct dp_input input;
	uint32_t slots_max;
};

struct datagram {
	uint8_t bytes[DATAGRAM_BYTES + DP_JSON_PADDING];
	uint32_t length;
	uint32_t sensor;
};

/* Datagrams on their way to one worker. */
struct queue {
	const struct datagram **list;
	uint32_t put, got;
};

struct heard {
	char *bytes;
	size_t used;
};

static uint64_t rng;

static uint32_t random_below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 16) % n);
}

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	strcpy(w->fields[0].name, "temperature");
	strcpy(w->fields[1].name, "humidity");
	for (int i = 0; i < 2; i++) {
		w->fields[i].min = -INFINITY;
		w->fields[i].max = INFINITY;
		w->fields[i].scale = 1;
	}
	strcpy(w->tag.name, "lot");
	w->windows[0] = (struct dp_window_def){.name = "30s/10s",
		.size_ns = 30 * DP_NS_PER_S,
		.slide_ns = 10 * DP_NS_PER_S,
		.stats = DP_STAT_ALL};
	w->windows[1] = (struct dp_window_def){.name = "60s",
		.size_ns = 60 * DP_NS_PER_S,
		.slide_ns = 60 * DP_NS_PER_S,
		.stats = DP_STAT_MEAN | DP_STAT_MAX};
	w->rules[0] = (struct dp_rule){.name = "hot",
		.kind = DP_RULE_ABOVE,
		.severity = DP_SEVERITY_WARNING,
		.window = -1,
		.threshold = 25,
		.hysteresis = 1,
		.count = 2};
	w->rules[1] = (struct dp_rule){.name = "hot mean",
		.kind = DP_RULE_ABOVE,
		.severity = DP_SEVERITY_CRITICAL,
		.stat = DP_STAT_MEAN,
		.threshold = 22,
		.count = 1};
	w->rules[2] = (struct dp_rule){.name = "jump",
		.kind = DP_RULE_RATE,
		.severity = DP_SEVERITY_INFO,
		.field = 1,
		.window = -1,
		.threshold = 4,
		.count = 1};
	w->stream = (struct dp_stream){.name = "room",
		.number = 1,
		.field_count = 2,
		.tag_count = 1,
		.window_count = 2,
		.rule_count = 3,
		.lateness_ns = 5 * DP_NS_PER_S,
		.max_skew_ns = 3600 * DP_NS_PER_S,
		.idle_ns = 3600 * DP_NS_PER_S,
		.forget_ns = 24 * 3600 * DP_NS_PER_S,
		.fields = w->fields,
		.tags = &w->tag,
		.windows = w->windows,
		.rules = w->rules};
	linear_stream_bind(&w->linear, &w->stream,
		(const char *[]){"temperature", "zscore(temperature,30s)", "slope(humidity,30s)",
			"delta(humidity)", NULL},
		10 * DP_NS_PER_S);
	w->stream.state_hash = dp_stream_state_hash(&w->stream);
	w->set = (struct dp_stream_set){.count = 1, .streams = &w->stream};
	w->set.hash = dp_schema_hash(&w->set);
	w->input = (struct dp_input){.format = DP_FORMAT_BINARY};
	w->slots_max = SENSORS;
}

/* ---- datagrams ---- */

static uint8_t *put(uint8_t *at, const void *from, size_t n)
{
	memcpy(at, from, n);
	return at + n;
}

static void encode(struct datagram *d, uint32_t sensor, uint64_t seq, int64_t time_ns)
{
	char id[16];
	uint8_t count = (uint8_t)(1 + random_below(8)), tags = 1,
		tag_len = (uint8_t)random_below(9);
	uint8_t *at = d->bytes + sizeof(struct dp_wire_head), presence;
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = DP_WIRE_NUMBERED | DP_WIRE_DELTA_MS | DP_WIRE_TAGS,
		.stream = 1,
		.count = count,
		.boot = 7,
		.field_count = 2,
		.sequence = seq,
		.base_time_ns = time_ns};

	head.id_len = (uint8_t)snprintf(id, sizeof(id), "sensor-%u", sensor);
	memcpy(d->bytes, &head, sizeof(head));
	at = put(at, id, head.id_len);
	at = put(at, &tags, 1);
	at = put(at, &tag_len, 1);
	at = put(at, "lot-12345", tag_len);
	for (uint8_t i = 0; i < count; i++) {
		int32_t delta = (int32_t)i * 500 - (int32_t)random_below(2000);
		float v[2] = {15 + (float)random_below(150) / 10, 40 + (float)random_below(20)};

		presence = (uint8_t)(1 + random_below(3));
		at = put(at, &delta, sizeof(delta));
		at = put(at, &presence, 1);
		if (presence & 1)
			at = put(at, &v[0], 4);
		if (presence & 2)
			at = put(at, &v[1], 4);
	}
	d->length = (uint32_t)(at - d->bytes);
	d->sensor = sensor;
	cr_assert_leq(d->length, DATAGRAM_BYTES);
}

/* In the order in which they are sent: duplicates and neighbours swapped among them. */
static void make_datagrams(struct datagram *list)
{
	uint64_t next[SENSORS] = {0};

	memset(list, 0, DATAGRAMS * sizeof(*list));
	for (uint32_t i = 0; i < DATAGRAMS; i++) {
		uint32_t sensor = random_below(SENSORS);

		if (i && random_below(20) == 0) {
			list[i] = list[random_below(i)];
			continue;
		}
		encode(&list[i], sensor, next[sensor],
			START + (int64_t)next[sensor] * 4 * DP_NS_PER_S);
		next[sensor]++;
		if (i && random_below(10) == 0) {
			struct datagram d = list[i];

			list[i] = list[i - 1];
			list[i - 1] = d;
		}
	}
}

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct queue *q = ctx;
	uint32_t n = 0;

	(void)c;
	while (n < max && q->got < q->put) {
		const struct datagram *d = q->list[q->got++];

		out[n++] = (struct dp_packet){.data = d->bytes, .bytes = d->length};
	}
	return n;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)ctx;
	(void)packets;
	(void)count;
}

static const struct dp_source_ops source_ops = {.burst = burst, .done = done};

/* ---- one run ---- */

static void no_wake_worker(void *arg, uint32_t worker)
{
	(void)arg;
	(void)worker;
}

static void no_wake_writer(void *arg)
{
	(void)arg;
}

static void hear(const struct world *w, struct heard *heard, struct dp_log *log)
{
	struct dp_block *b;

	while ((b = dp_log_take(log))) {
		const struct dp_rec *rec;
		size_t cursor = 0;
		bool bad = false;

		while ((rec = dp_block_next(b, &w->set, &cursor, &bad))) {
			char id[DP_SENSOR_ID_MAX + 1] = {0};
			unsigned sensor;
			struct heard *h;

			if (!rec->id_len)
				continue;
			memcpy(id, dp_rec_sensor(rec), rec->id_len);
			cr_assert_eq(sscanf(id, "sensor-%u", &sensor), 1);
			h = &heard[sensor];
			cr_assert_leq(h->used + rec->bytes, RECORD_BYTES_MAX);
			memcpy(h->bytes + h->used, rec, rec->bytes);
			h->used += rec->bytes;
		}
		cr_assert_not(bad);
		dp_log_release(log, dp_log_taken(log));
	}
}

static void turn(const struct world *w, struct dp_worker *worker, struct heard *heard, int64_t step)
{
	struct dp_now now = {.real_ns = START, .steady_ns = START + step * 20000};

	dp_worker_turn(worker, &now);
	hear(w, heard, &worker->log);
}

static void start(struct world *w, struct dp_worker *workers, uint32_t count)
{
	struct dp_worker_config configs[DP_WORKERS_MAX];
	struct dp_now now = {.real_ns = START, .steady_ns = START};

	for (uint32_t i = 0; i < count; i++)
		configs[i] = (struct dp_worker_config){.index = i,
			.workers = count,
			.streams = &w->set,
			.plans = (const struct dp_plan *const *)&w->linear.plan,
			.inputs = &w->input,
			.slots_max = &w->slots_max,
			.sensors_max = &w->slots_max,
			.seed = rng,
			.log = {.ring_bytes = 4 << 20,
				.block_max = (uint32_t)dp_block_bytes_max(&w->set),
				.worker = i,
				.appliance = 1,
				.epoch = 1,
				.schema_hash = w->set.hash,
				.linger_ns = 1000000},
			.hooks = {.wake_worker = no_wake_worker, .wake_writer = no_wake_writer}};
	cr_assert_eq(dp_workers_init(workers, count, configs, &now), 0);
}

static void stop(struct world *w, struct dp_worker *workers, uint32_t count, struct heard *heard,
	int64_t step)
{
	for (uint32_t phase = DP_WORKER_DRAIN; phase <= DP_WORKER_FINISH; phase++) {
		for (uint32_t i = 0; i < count; i++)
			atomic_store(&workers[i].phase, phase);
		for (uint32_t k = 0; k < 50 * count; k++)
			turn(w, &workers[k % count], heard, step++);
		for (uint32_t i = 0; i < count; i++)
			cr_assert_eq(atomic_load(&workers[i].phase_reached), phase);
	}
}

static uint64_t sum(struct dp_worker *workers, uint32_t count, enum dp_counter which)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += dp_counted(&workers[i].counters, which);
	return n;
}

static void run(struct world *w, const struct datagram *list, uint32_t count, struct heard *heard)
{
	struct dp_worker *workers = aligned_alloc(DP_CACHE_LINE, count * sizeof(*workers));
	struct queue *queues = calloc(count, sizeof(*queues));
	uint32_t next = 0;
	int64_t step = 0;

	start(w, workers, count);
	for (uint32_t i = 0; i < count; i++) {
		queues[i].list = calloc(DATAGRAMS, sizeof(*queues[i].list));
		workers[i].source = (struct dp_source){.ops = &source_ops, .ctx = &queues[i]};
	}
	while (next < DATAGRAMS || step % 2000) {
		uint32_t arrive = random_below(20);

		for (; arrive && next < DATAGRAMS; arrive--, next++) {
			/* a sender's packets come to one socket, seldom its owner's */
			struct queue *q = &queues[list[next].sensor * 7 % count];

			q->list[q->put++] = &list[next];
		}
		turn(w, &workers[random_below(count)], heard, step++);
	}
	stop(w, workers, count, heard, step);
	cr_assert_eq(sum(workers, count, DP_C_RX_DATAGRAMS), DATAGRAMS);
	cr_assert_eq(sum(workers, count, DP_C_DECODED_READINGS),
		sum(workers, count, DP_C_RECORDED) + sum(workers, count, DP_C_DUPLICATE) +
			sum(workers, count, DP_C_DROP_STALE));
	cr_assert_gt(sum(workers, count, DP_C_DUPLICATE), 0);
	cr_assert_gt(sum(workers, count, DP_C_RECORDS_WINDOW), 100);
	cr_assert_gt(sum(workers, count, DP_C_ALERTS_RAISED), 10);
	for (uint32_t i = 0; i < count; i++)
		free(queues[i].list);
	free(queues);
	dp_workers_fini(workers, count);
	free(workers);
}

static void heard_init(struct heard *heard)
{
	for (uint32_t i = 0; i < SENSORS; i++)
		heard[i] = (struct heard){.bytes = malloc(RECORD_BYTES_MAX)};
}

static void heard_fini(struct heard *heard)
{
	for (uint32_t i = 0; i < SENSORS; i++)
		free(heard[i].bytes);
}

Test(workers, any_number_and_interleaving_yields_the_same_records, .timeout = 300)
{
	static const uint32_t counts[] = {2, 4};
	struct datagram *list = malloc(DATAGRAMS * sizeof(*list));
	struct world w;

	world_init(&w);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct heard one[SENSORS], many[SENSORS];

		rng = seed * 0x9e3779b97f4a7c15u;
		make_datagrams(list);
		heard_init(one);
		run(&w, list, 1, one);
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
			heard_init(many);
			run(&w, list, counts[k], many);
			for (uint32_t i = 0; i < SENSORS; i++) {
				cr_assert_eq(one[i].used, many[i].used,
					"seed %lu, %u workers, sensor %u", (unsigned long)seed,
					counts[k], i);
				cr_assert_eq(memcmp(one[i].bytes, many[i].bytes, one[i].used), 0,
					"seed %lu, %u workers, sensor %u", (unsigned long)seed,
					counts[k], i);
			}
			heard_fini(many);
		}
		heard_fini(one);
	}
	dp_plan_free(w.linear.plan);
	free(list);
}
