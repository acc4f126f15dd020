/*
 * Two workers on two threads that steer to each other and share one plan of models, a writer on a
 * third, which also looks at the models' counters: rings, wake-ups, scores, alerts and the stop as
 * the daemon uses them. A plain program: criterion's own memory does not go together with
 * ThreadSanitizer's.
 */
#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/core/sleep.h"
#include "dataplane/core/worker.h"
#include "dataplane/decode/wire.h"
#include "dataplane/journal/schema.h"
#include "tests/unit/linear_model.h"

#ifdef NDEBUG
#error the checks of this program are asserts
#endif

enum { WORKERS = 2, SENSORS = 20, ROUNDS = 3001, DATAGRAM_BYTES = 64, ROW_BYTES = 9 };

#define WAIT_NS	      (60 * DP_NS_PER_S)
#define LOST_AFTER_NS (30 * DP_NS_PER_S)
#define START_NS      1700000000000000000ll

static struct dp_field field = {"t", "", -INFINITY, INFINITY, 1, 0};
static struct dp_window_def window = {"30s", 30 * DP_NS_PER_S, 10 * DP_NS_PER_S, DP_STAT_COUNT, 0};
static struct dp_rule rule = {.name = "steps",
	.kind = DP_RULE_ABOVE,
	.severity = DP_SEVERITY_INFO,
	.field = -1,
	.window = -1,
	.threshold = 1.5,
	.count = 1,
	.of_score = true,
	.label = -1};
static struct dp_stream stream = {.name = "s",
	.number = 1,
	.field_count = 1,
	.window_count = 1,
	.rule_count = 1,
	.lateness_ns = DP_NS_PER_S,
	.max_skew_ns = 3600 * DP_NS_PER_S,
	.idle_ns = 3600 * DP_NS_PER_S,
	.forget_ns = 7200 * DP_NS_PER_S,
	.fields = &field,
	.windows = &window,
	.rules = &rule};
static struct linear_stream linear;
static struct dp_stream_set set = {.count = 1, .streams = &stream};
static const struct dp_input input = {.format = DP_FORMAT_BINARY};

/* One worker's thread and the datagrams that come to its socket. */
struct thread {
	struct dp_worker *worker;
	struct dp_parker parker;
	pthread_t thread;
	_Atomic uint32_t sent; /* main: writes, release; worker: acquire */
	uint32_t got;
	uint64_t sequence[SENSORS];
	uint8_t bytes[DP_BURST_MAX][DATAGRAM_BYTES + DP_JSON_PADDING];
};

static struct dp_worker *workers;
static struct thread threads[WORKERS];
/* Of a sensor, by what was heard of it. */
static struct {
	uint64_t next, readings, alerts;
	float before;
} sensors[WORKERS * SENSORS];
static uint64_t heard;

static struct dp_now clock_now(void)
{
	struct timespec ts;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = START_NS + ts.tv_sec * DP_NS_PER_S + ts.tv_nsec;
	return (struct dp_now){.real_ns = ns, .steady_ns = ns};
}

/* ---- the socket ---- */

/* What a sensor's datagrams hold, in turn. */
static float value_of(uint64_t sequence)
{
	return (float)(sequence % 2);
}

/* Datagram number n of that socket: sensor n % SENSORS of it, numbered. */
static uint32_t encode(struct thread *t, uint32_t n, uint8_t *out)
{
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = DP_WIRE_NUMBERED | DP_WIRE_DELTA_MS,
		.stream = 1,
		.id_len = 2,
		.count = (uint8_t)(1 + n % 2),
		.boot = 1,
		.field_count = 1,
		.sequence = t->sequence[n % SENSORS]++,
		.base_time_ns = START_NS};
	const float value = value_of(head.sequence);
	uint8_t *at = out;

	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	*at++ = (uint8_t)('A' + (t - threads));
	*at++ = (uint8_t)('a' + n % SENSORS);
	for (uint8_t i = 0; i < head.count; i++, at += ROW_BYTES) {
		memset(at, 0, ROW_BYTES);
		at[4] = 1;
		memcpy(at + 5, &value, sizeof(value));
	}
	return (uint32_t)(at - out);
}

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct thread *t = ctx;
	uint32_t there = atomic_load_explicit(&t->sent, memory_order_acquire), n = 0;

	(void)c;
	for (; n < max && t->got < there; n++, t->got++)
		out[n] = (struct dp_packet){
			.data = t->bytes[n], .bytes = encode(t, t->got, t->bytes[n])};
	return n;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)ctx;
	(void)packets;
	(void)count;
}

static const struct dp_source_ops source_ops = {.burst = burst, .done = done};

/* ---- worker ---- */

static void wake_worker(void *arg, uint32_t worker)
{
	(void)arg;
	dp_parker_wake(&threads[worker].parker);
}

static void wake_writer(void *arg)
{
	(void)arg;
}

/* Sleeps until woken, whatever is due: a wake-up that is lost shows as a wait to its end. */
static void rest(struct thread *t, uint32_t phase)
{
	int64_t began;

	dp_parker_arm(&t->parker);
	if (dp_worker_has_input(t->worker) ||
		atomic_load_explicit(&t->sent, memory_order_acquire) != t->got ||
		atomic_load_explicit(&t->worker->phase, memory_order_relaxed) != phase) {
		dp_parker_disarm(&t->parker);
		return;
	}
	began = clock_now().steady_ns;
	dp_parker_wait(&t->parker, -1, WAIT_NS);
	assert(clock_now().steady_ns - began < LOST_AFTER_NS);
}

static void *work(void *arg)
{
	struct thread *t = arg;

	for (;;) {
		struct dp_now now = clock_now();
		uint32_t phase = atomic_load_explicit(&t->worker->phase, memory_order_acquire);

		if (dp_worker_turn(t->worker, &now))
			continue;
		if (atomic_load(&t->worker->phase_reached) == DP_WORKER_FINISH)
			return NULL;
		rest(t, phase);
	}
}

/* ---- writer ---- */

static uint32_t sensor_of(const struct dp_rec *rec)
{
	const char *id = dp_rec_sensor(rec);

	return (uint32_t)((id[0] - 'A') * SENSORS + (id[1] - 'a'));
}

/* Readings of a sensor come in the order in which they were sent, each once, and so are scored. */
static void hear_reading(const struct dp_rec_reading *r)
{
	uint32_t i = sensor_of(&r->head);
	const struct dp_rec_score *score = dp_rec_scores(r);
	const float *derived = dp_rec_derived(r), value = value_of(r->seq);

	if (r->group)
		assert(r->seq == sensors[i].next++);
	else
		assert(r->seq == sensors[i].next - 1);
	assert(r->score_count == 1 && r->derived_count == 2 && dp_rec_values(r)[0] == value);
	assert(derived[1] == (float)++sensors[i].readings);
	if (sensors[i].readings == 1)
		assert(score->flags == DP_SCORE_NONE && isnan(derived[0]));
	else
		assert(score->value == value + (value - sensors[i].before));
	sensors[i].before = value;
	heard++;
}

/* Each step up raises; what comes next clears. */
static void hear_alert(const struct dp_rec_alert *a)
{
	uint32_t i = sensor_of(&a->head);

	assert(a->raised == (sensors[i].alerts++ % 2 == 0));
	assert(a->raised ? a->value == 2 : a->value == 1 || a->value == -1);
}

static void hear(void)
{
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct dp_block *b;

		while ((b = dp_log_take(&workers[i].log))) {
			const struct dp_rec *rec;
			size_t cursor = 0;
			bool bad = false;

			while ((rec = dp_block_next(b, &set, &cursor, &bad))) {
				if (rec->kind == DP_REC_READING)
					hear_reading((const struct dp_rec_reading *)rec);
				else if (rec->kind == DP_REC_ALERT)
					hear_alert((const struct dp_rec_alert *)rec);
			}
			assert(!bad);
		}
		dp_log_release(&workers[i].log, dp_log_taken(&workers[i].log));
	}
}

static uint64_t counted(enum dp_counter which)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < WORKERS; i++)
		n += dp_counted(&workers[i].counters, which);
	return n;
}

/* As control's threads look at them while workers count on. */
static uint64_t scored(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < WORKERS; i++)
		n += atomic_load_explicit(
			&workers[i].per_stream[0].scorer.stats[0].rows, memory_order_relaxed);
	return n;
}

/* Of one row a datagram each step is an alert or its end; of two, the second row ends it. */
static void check_alerts(void)
{
	for (uint32_t i = 0; i < WORKERS * SENSORS; i++) {
		uint64_t datagrams = sensors[i].next;

		if (sensors[i].readings == datagrams)
			assert(sensors[i].alerts == datagrams - 1);
		else
			assert(sensors[i].alerts == datagrams / 2 * 2);
	}
}

/* ---- main ---- */

static void start(void)
{
	static const uint32_t slots_max = WORKERS * SENSORS;
	struct dp_worker_config configs[WORKERS];
	struct dp_now now = clock_now();

	linear_stream_bind(&linear, &stream,
		(const char *[]){"t", "delta(t)", "count(t,30s)", NULL}, window.slide_ns);
	linear.linear.weight[2] = 0; /* the count is looked at by itself */
	stream.state_hash = dp_stream_state_hash(&stream);
	set.hash = dp_schema_hash(&set);
	workers = aligned_alloc(DP_CACHE_LINE, WORKERS * sizeof(*workers));
	assert(workers);
	for (uint32_t i = 0; i < WORKERS; i++)
		configs[i] = (struct dp_worker_config){.index = i,
			.workers = WORKERS,
			.streams = &set,
			.plans = (const struct dp_plan *const *)&linear.plan,
			.inputs = &input,
			.slots_max = &slots_max,
			.sensors_max = &slots_max,
			.log = {.ring_bytes = 4 << 20,
				.block_max = (uint32_t)dp_block_bytes_max(&set),
				.worker = i,
				.appliance = 1,
				.epoch = 1,
				.schema_hash = set.hash},
			.hooks = {.wake_worker = wake_worker, .wake_writer = wake_writer}};
	assert(dp_workers_init(workers, WORKERS, configs, &now) == 0);
	for (uint32_t i = 0; i < WORKERS; i++) {
		threads[i].worker = &workers[i];
		workers[i].source = (struct dp_source){.ops = &source_ops, .ctx = &threads[i]};
		assert(dp_parker_init(&threads[i].parker) == 0);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		assert(pthread_create(&threads[i].thread, NULL, work, &threads[i]) == 0);
}

static void wait_for(enum dp_counter which, uint64_t n)
{
	while (counted(which) < n) {
		hear();
		assert(scored() >= heard); /* what was taken from a log was counted before */
		sched_yield();
	}
}

static void ask(uint32_t phase)
{
	for (uint32_t i = 0; i < WORKERS; i++) {
		atomic_store_explicit(&workers[i].phase, phase, memory_order_release);
		dp_parker_wake(&threads[i].parker);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		while (atomic_load_explicit(&workers[i].phase_reached, memory_order_acquire) <
			phase) {
			hear();
			sched_yield();
		}
}

int main(void)
{
	uint32_t sent = 0; /* to each socket */

	start();
	for (uint32_t round = 0; round < ROUNDS; round++) {
		sent += 2 * (1 + round % 20);
		for (uint32_t i = 0; i < WORKERS; i++) {
			atomic_store_explicit(&threads[i].sent, sent, memory_order_release);
			dp_parker_wake(&threads[i].parker);
		}
		if (round % 4) /* else the next comes while they work */
			wait_for(DP_C_RECORDED, WORKERS * (uint64_t)sent * 3 / 2);
	}
	ask(DP_WORKER_DRAIN);
	for (uint32_t i = 0; i < WORKERS; i++)
		while (dp_worker_has_input(&workers[i]))
			sched_yield();
	ask(DP_WORKER_FINISH);
	for (uint32_t i = 0; i < WORKERS; i++)
		assert(pthread_join(threads[i].thread, NULL) == 0);
	hear();
	assert(counted(DP_C_DROP_STEER_FULL) == 0);
	assert(counted(DP_C_RECORDED) == WORKERS * (uint64_t)sent * 3 / 2);
	assert(heard == counted(DP_C_RECORDED) && scored() == heard);
	check_alerts();
	printf("%lu readings, each once and in order\n", heard);
	for (uint32_t i = 0; i < WORKERS; i++)
		dp_parker_fini(&threads[i].parker);
	dp_workers_fini(workers, WORKERS);
	dp_plan_free(linear.plan);
	free(workers);
	return 0;
}
