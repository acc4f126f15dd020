/*
 * The worker's path without sockets and disk: datagrams in memory through dp_worker_turn, blocks
 * thrown away.  Prints one line of JSON a case: ns of CPU a reading.  For finding where cycles go
 * (`perf record build-release/perf/bench_path binary 1`); ratios with peers are bench.py's.
 *
 * usage: bench_path binary|json READINGS_PER_DATAGRAM [SENSORS [WINDOWS]]
 */
#include "dataplane/core/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/decode/wire.h"
#include "dataplane/journal/schema.h"

enum { PREPARED = 4096, DATAGRAM_BYTES = 4096, FIELDS = 4, ROUNDS = 300 };
#define START 1700000000000000000ll

struct datagram {
	uint8_t bytes[DATAGRAM_BYTES + DP_JSON_PADDING];
	uint32_t length, sensor;
};

struct load {
	struct datagram *list;
	uint32_t next, sensors, readings;
	uint64_t sent, *sequence;
	bool json;
};

static void die(const char *what)
{
	fprintf(stderr, "bench_path: %s\n", what);
	exit(2);
}

/* ---- datagrams: made once, sequence and time patched as they go ---- */

static void make_binary(struct datagram *d, uint32_t readings)
{
	struct dp_wire_head h = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = DP_WIRE_NUMBERED,
		.stream = 1,
		.count = (uint8_t)readings,
		.boot = 1,
		.field_count = FIELDS};
	uint8_t *at = d->bytes + sizeof(h), presence = 15;
	char id[DP_SENSOR_ID_MAX + 1];

	h.id_len = (uint8_t)snprintf(id, sizeof(id), "bench-sensor-%08u", d->sensor);
	memcpy(d->bytes, &h, sizeof(h));
	memcpy(at, id, h.id_len);
	at += h.id_len;
	for (uint32_t i = 0; i < readings; i++) {
		int32_t delta = (int32_t)i * 1000;
		float v[FIELDS] = {21.5f + (float)(d->sensor % 10), 48.25f, 2.875f, 310.0f};

		memcpy(at, &delta, 4);
		at[4] = presence;
		memcpy(at + 5, v, sizeof(v));
		at += 5 + sizeof(v);
	}
	d->length = (uint32_t)(at - d->bytes);
}

static void patch(struct load *l, struct datagram *d)
{
	uint64_t seq = l->sequence[d->sensor]++;
	int64_t at = START + (int64_t)seq * 1000000000;

	if (l->json) {
		d->length = (uint32_t)snprintf((char *)d->bytes, DATAGRAM_BYTES,
			"{\"id\":\"bench-sensor-%08u\",\"ts\":%lld,\"temperature\":21.5,"
			"\"humidity\":48.25,\"voltage\":2.875,\"light\":310}",
			d->sensor, (long long)at);
		return;
	}
	memcpy(d->bytes + offsetof(struct dp_wire_head, sequence), &seq, 8);
	memcpy(d->bytes + offsetof(struct dp_wire_head, base_time_ns), &at, 8);
}

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct load *l = ctx;

	(void)c;
	if (l->next == PREPARED)
		return 0;
	for (uint32_t i = 0; i < max; i++) {
		const struct datagram *d = &l->list[l->next++];

		out[i] = (struct dp_packet){.data = d->bytes, .bytes = d->length};
	}
	return max;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)packets;
	((struct load *)ctx)->sent += count;
}

static const struct dp_source_ops source_ops = {.burst = burst, .done = done};

/* ---- the stream ---- */

static struct dp_field fields[FIELDS] = {
	{.name = "temperature"}, {.name = "humidity"}, {.name = "voltage"}, {.name = "light"}};
static struct dp_window_def windows[2] = {
	{.name = "30s/10s", .size_ns = 30000000000, .slide_ns = 10000000000, .stats = DP_STAT_ALL},
	{.name = "5m/1m", .size_ns = 300000000000, .slide_ns = 60000000000, .stats = DP_STAT_ALL}};
static struct dp_stream stream = {.name = "sensors",
	.id_key = "id",
	.time_key = "ts",
	.number = 1,
	.field_count = FIELDS,
	.lateness_ns = 5000000000,
	.max_skew_ns = INT64_MAX / 4,
	.idle_ns = 3600000000000,
	.forget_ns = 86400000000000,
	.fields = fields,
	.windows = windows};

static void no_worker(void *arg, uint32_t worker)
{
	(void)arg;
	(void)worker;
}

static void no_writer(void *arg)
{
	(void)arg;
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void start(struct dp_worker *w, struct dp_stream_set *set, uint32_t sensors,
	const struct dp_input *input)
{
	struct dp_now now = {.real_ns = START, .steady_ns = START};
	struct dp_worker_config c = {.workers = 1,
		.streams = set,
		.inputs = input,
		.slots_max = &sensors,
		.seed = 42,
		.log = {.ring_bytes = 64 << 20,
			.block_max = (uint32_t)dp_block_bytes_max(set),
			.appliance = 1,
			.epoch = 1,
			.schema_hash = set->hash,
			.linger_ns = 1000000},
		.hooks = {.wake_worker = no_worker, .wake_writer = no_writer}};

	for (uint32_t i = 0; i < FIELDS; i++) {
		fields[i].min = -INFINITY;
		fields[i].max = INFINITY;
		fields[i].scale = 1;
	}
	set->hash = dp_schema_hash(set);
	if (dp_workers_init(w, 1, &c, &now))
		die("no memory");
}

static void run(struct dp_worker *w, struct load *l)
{
	struct dp_now now = {.real_ns = START, .steady_ns = START};
	uint64_t log_bytes = 0;
	int64_t spent = 0;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		int64_t began;

		for (uint32_t i = 0; i < PREPARED; i++)
			patch(l, &l->list[i]);
		l->next = 0;
		began = cpu_ns();
		while (l->next < PREPARED) {
			const struct dp_block *b;

			now.steady_ns += 20000;
			dp_worker_turn(w, &now);
			while ((b = dp_log_take(&w->log)))
				log_bytes += b->bytes;
			dp_log_release(&w->log, dp_log_taken(&w->log));
		}
		if (round >= ROUNDS / 10)
			spent += cpu_ns() - began;
	}
	printf("{\"what\":\"path\",\"format\":\"%s\",\"readings_per_datagram\":%u,\"sensors\":%u,"
	       "\"windows\":%u,\"ns_per_reading\":%.1f,\"recorded\":%llu,\"log_bytes\":%llu}\n",
		l->json ? "json" : "binary", l->readings, l->sensors, stream.window_count,
		(double)spent / ((double)(ROUNDS - ROUNDS / 10) * PREPARED * l->readings),
		(unsigned long long)dp_counted(&w->counters, DP_C_RECORDED),
		(unsigned long long)log_bytes);
}

int main(int argc, char **argv)
{
	struct dp_stream_set set = {.count = 1, .streams = &stream};
	struct dp_worker *w = aligned_alloc(DP_CACHE_LINE, sizeof(*w));
	struct load l = {0};
	struct dp_input input;

	if (argc < 3)
		die("usage: bench_path binary|json READINGS [SENSORS [WINDOWS]]");
	l.json = strcmp(argv[1], "json") == 0;
	l.readings = l.json ? 1 : (uint32_t)atoi(argv[2]);
	l.sensors = argc > 3 ? (uint32_t)atoi(argv[3]) : 1000;
	stream.window_count = (uint16_t)(argc > 4 ? atoi(argv[4]) : 1);
	if (!w || !l.readings || l.readings > DP_DATAGRAM_READINGS_MAX || !l.sensors ||
		stream.window_count > 2)
		die("out of bounds");
	input = (struct dp_input){.format = l.json ? DP_FORMAT_JSON : DP_FORMAT_BINARY};
	l.list = calloc(PREPARED, sizeof(*l.list));
	l.sequence = calloc(l.sensors, sizeof(*l.sequence));
	start(w, &set, l.sensors, &input);
	w->source = (struct dp_source){.ops = &source_ops, .ctx = &l};
	for (uint32_t i = 0; i < PREPARED; i++) {
		l.list[i].sensor = (i * 2654435761u) % l.sensors;
		make_binary(&l.list[i], l.readings);
	}
	run(w, &l);
	dp_workers_fini(w, 1);
	free(l.sequence);
	free(l.list);
	free(w);
	return 0;
}
