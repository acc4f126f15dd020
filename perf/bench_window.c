/*
 * What the window stage costs: nanoseconds a reading, for one and for two windows over four fields
 * with all statistics, sensors' slots in turn as a batch brings them; and how many more cycles when
 * models take inputs of those windows, with all panes filled.  One JSON line each.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/core/clock.h"
#include "dataplane/window/window.h"

enum { FIELDS = 4, ROUNDS = 7, PROBES_MAX = 12, PROBE_ROUNDS = 40, PROBE_BATCHES = 400 };

struct setup {
	struct dp_field fields[FIELDS];
	struct dp_window_def windows[2];
	struct dp_stream stream;
	struct dp_arena arena;
	struct dp_table table;
	struct dp_counters counters;
	struct dp_windows stage;
	struct dp_closes closes;
	struct dp_batch batch;
	struct dp_probe probes[PROBES_MAX];
	float *found; /* [DP_BATCH_MAX][PROBES_MAX] */
};

struct cost { /* of a reading */
	double ns, cycles;
};

static void need(int err)
{
	if (err) {
		fprintf(stderr, "bench_window: %s\n", strerror(-err));
		exit(1);
	}
}

static void setup(struct setup *b, uint16_t windows, uint32_t sensors)
{
	struct dp_table_config c = {.stream = &b->stream, .slots_max = sensors};

	memset(b, 0, sizeof(*b));
	b->windows[0] = (struct dp_window_def){
		"30s/10s", 30 * DP_NS_PER_S, 10 * DP_NS_PER_S, DP_STAT_ALL, 0};
	b->windows[1] = (struct dp_window_def){
		"5m/1m", 300 * DP_NS_PER_S, 60 * DP_NS_PER_S, DP_STAT_ALL, 0};
	b->stream = (struct dp_stream){.field_count = FIELDS,
		.window_count = windows,
		.lateness_ns = 5 * DP_NS_PER_S,
		.max_skew_ns = 60 * DP_NS_PER_S,
		.fields = b->fields,
		.windows = b->windows};
	c.window_bytes = dp_window_slot_bytes(&b->stream);
	need(dp_arena_init(&b->arena, dp_table_bytes(&c) + dp_windows_bytes(&b->stream) +
					      dp_closes_bytes(&b->stream) +
					      dp_batch_bytes(&b->stream) +
					      DP_BATCH_MAX * PROBES_MAX * sizeof(float) + 4096));
	need(dp_table_init(&b->table, &c, &b->arena, 0));
	need(dp_windows_init(&b->stage, &b->stream, &b->counters, &b->arena));
	need(dp_closes_init(&b->closes, &b->stream, &b->arena));
	need(dp_batch_init(&b->batch, &b->stream, &b->arena));
	b->found =
		dp_arena_take(&b->arena, DP_BATCH_MAX * PROBES_MAX * sizeof(float), DP_CACHE_LINE);
	for (uint32_t i = 0; i < sensors; i++) {
		struct dp_sensor_id id = {.len = sizeof(i)};
		uint32_t slot;

		memcpy(id.bytes, &i, sizeof(i));
		slot = dp_table_add(&b->table, &id, dp_table_hash(&b->table, &id));
		if (slot == DP_SLOT_NONE)
			need(-ENOMEM);
		dp_window_slot_init(&b->stage, &b->table, dp_table_slot(&b->table, slot));
	}
}

/* A reading a second of each sensor in turn. */
static struct cost measure(struct setup *b, uint32_t sensors, uint32_t batches, int64_t *event_ns)
{
	const double rows = (double)batches * DP_BATCH_FLUSH;
	struct timespec from, to;
	uint64_t cycles = 0, began;
	uint32_t sensor = 0;
	int64_t spent = 0;

	b->batch.count = DP_BATCH_FLUSH;
	for (uint32_t n = 0; n < batches; n++) {
		for (uint32_t i = 0; i < DP_BATCH_FLUSH; i++) {
			float *v = dp_batch_row_values(&b->batch, i);

			b->batch.slot[i] = sensor;
			b->batch.event_ns[i] = b->batch.arrival_ns[i] = *event_ns;
			for (int f = 0; f < FIELDS; f++)
				v[f] = (float)((i * 37 + n * 11 + (uint32_t)f * 5) % 97);
			if (++sensor == sensors) {
				sensor = 0;
				*event_ns += DP_NS_PER_S;
			}
		}
		b->closes.count = b->closes.stats_used = 0;
		clock_gettime(CLOCK_MONOTONIC, &from);
		began = dp_cycles();
		dp_window_push(&b->stage, &b->table, &b->batch, &b->closes);
		cycles += dp_cycles() - began;
		clock_gettime(CLOCK_MONOTONIC, &to);
		spent += (to.tv_sec - from.tv_sec) * DP_NS_PER_S + to.tv_nsec - from.tv_nsec;
	}
	return (struct cost){(double)spent / rows, (double)cycles / rows};
}

static double best(uint16_t windows, uint32_t sensors)
{
	static struct setup b;
	int64_t event_ns = 1700000000ll * DP_NS_PER_S;
	double least = INFINITY;

	setup(&b, windows, sensors);
	for (int i = 0; i < ROUNDS; i++)
		least = fmin(least, measure(&b, sensors, 4000, &event_ns).ns);
	dp_arena_fini(&b.arena);
	return least;
}

/* ---- what models take of the panes ---- */

/* The mean of each field in turn from `first`, then each field's zscore, then its slope. */
static void set_probes(struct setup *b, uint16_t window, uint16_t first, uint32_t count)
{
	static const enum dp_expr_op ops[] = {DP_EXPR_STAT, DP_EXPR_ZSCORE, DP_EXPR_SLOPE};
	uint32_t n = 0;

	for (uint16_t field = first; field < FIELDS; field++) {
		for (uint32_t i = field - first; i < count; i += FIELDS) {
			const struct dp_expr e = {.op = ops[i / FIELDS],
				.field = field,
				.window = window,
				.stat = i < FIELDS ? DP_STAT_MEAN : 0};

			b->probes[n] = (struct dp_probe){e, n};
			n++;
		}
	}
	b->stage.probes = (struct dp_probes){
		.count = count, .stride = PROBES_MAX, .list = b->probes, .out = b->found};
}

/* Cycles with and without, of the same state in turn; least of the rounds each. */
static void print_probes(uint32_t sensors)
{
	static const struct {
		uint16_t first;
		uint32_t count;
	} sets[] = {{0, 1}, {FIELDS - 1, 1}, {0, FIELDS}, {0, PROBES_MAX}};
	enum { SETS = sizeof(sets) / sizeof(sets[0]) };
	static const char *const names[] = {"30s/10s", "5m/1m"};
	static struct setup b;
	int64_t event_ns = 1700000000ll * DP_NS_PER_S, full = event_ns + 400 * DP_NS_PER_S;

	setup(&b, 2, sensors);
	while (event_ns < full)
		measure(&b, sensors, 4000, &event_ns);
	for (uint16_t window = 0; window < 2; window++) {
		double plain = INFINITY, with[SETS] = {INFINITY, INFINITY, INFINITY, INFINITY};

		for (int round = 0; round < PROBE_ROUNDS; round++) {
			set_probes(&b, window, 0, 0);
			plain = fmin(plain, measure(&b, sensors, PROBE_BATCHES, &event_ns).cycles);
			for (int i = 0; i < SETS; i++) {
				set_probes(&b, window, sets[i].first, sets[i].count);
				with[i] = fmin(with[i],
					measure(&b, sensors, PROBE_BATCHES, &event_ns).cycles);
			}
		}
		printf("{\"bench\": \"probes\", \"window\": \"%s\", \"sensors\": %u, "
		       "\"unit\": \"cycles a reading\", \"without\": %.0f, "
		       "\"1_input\": %.0f, \"1_of_last_field\": %.0f, \"4_inputs\": %.0f, "
		       "\"12_inputs\": %.0f}\n",
			names[window], sensors, plain, with[0], with[1], with[2], with[3]);
	}
	dp_arena_fini(&b.arena);
}

int main(void)
{
	printf("{\"bench\": \"window\", \"fields\": %d, \"unit\": \"ns a reading\", "
	       "\"one_window_100_sensors\": %.1f, \"one_window_20000_sensors\": %.1f, "
	       "\"two_windows_100_sensors\": %.1f, \"two_windows_20000_sensors\": %.1f}\n",
		FIELDS, best(1, 100), best(1, 20000), best(2, 100), best(2, 20000));
	print_probes(100);
	print_probes(20000);
	return 0;
}
