/* What a worker is made of: memory, tables, rings. Cold; worker.c is the path. */
#include "dataplane/core/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct dp_table_config table_config(const struct dp_stream *s, uint32_t slots, uint64_t seed)
{
	return (struct dp_table_config){.stream = s,
		.slots_max = slots,
		.seed = seed,
		.window_bytes = dp_window_slot_bytes(s),
		.alert_bytes = dp_alert_slot_bytes(s),
		.score_bytes = dp_score_slot_bytes(s)};
}

size_t dp_worker_sensor_bytes(const struct dp_stream *s)
{
	struct dp_table_config c = table_config(s, 1, 0);

	return dp_table_sensor_bytes(&c);
}

static const struct dp_plan *plan_of(const struct dp_worker_config *c, uint32_t stream)
{
	return c->plans ? c->plans[stream] : NULL;
}

size_t dp_worker_bytes(const struct dp_worker_config *c)
{
	size_t n = c->log.ring_bytes + DP_DISK_ALIGN;
	uint32_t others = c->workers - 1;

	n += others * (dp_steer_ring_bytes(c->streams) + DP_CACHE_LINE);
	for (uint32_t i = 0; i < c->streams->count; i++) {
		const struct dp_stream *s = &c->streams->streams[i];
		struct dp_table_config t = table_config(s, c->slots_max[i], 0);

		n += dp_table_bytes(&t) + 2 * (dp_batch_bytes(s) + sizeof(struct dp_batch));
		n += sizeof(struct dp_worker_stream) + dp_windows_bytes(s) + dp_closes_bytes(s) +
		     dp_scorer_bytes(plan_of(c, i)) + dp_alert_events_bytes(s) + 8 * DP_CACHE_LINE;
	}
	n += c->streams->count * sizeof(struct dp_places);
	return n + c->workers * sizeof(struct dp_ring) + (64 << 10);
}

#define YEAR_NS (365ll * 86400 * DP_NS_PER_S) /* as good as never, and sums do not overflow */

static int64_t shortest_silence(const struct dp_stream *s)
{
	int64_t least = YEAR_NS;

	for (uint16_t i = 0; i < s->rule_count; i++) {
		const struct dp_rule *r = &s->rules[i];
		int64_t ns = r->kind == DP_RULE_MISSING ? dp_alert_silence_ns(r) : YEAR_NS;

		least = ns < least ? ns : least;
	}
	return least;
}

static int init_stream(
	struct dp_worker *w, const struct dp_worker_config *c, uint32_t i, const struct dp_now *now)
{
	const struct dp_stream *s = &c->streams->streams[i];
	struct dp_worker_stream *ws = &w->per_stream[i];
	struct dp_table_config t = table_config(s, c->slots_max[i], c->seed);
	int err = dp_table_init(&ws->table, &t, &w->arena, now->steady_ns);

	ws->missing_ns = shortest_silence(s);
	ws->admit = (struct dp_admit){
		.table = &ws->table, .counters = &w->counters, .rate = &w->admit_rate};
	err = err ? err : dp_windows_init(&ws->windows, s, &w->counters, &w->arena);
	err = err ? err : dp_closes_init(&ws->closes, s, &w->arena);
	err = err ? err : dp_scorer_init(&ws->scorer, plan_of(c, i), &w->arena);
	ws->windows.probes = dp_score_probes(&ws->scorer);
	err = err ? err : dp_alerts_init(&ws->alerts, s);
	err = err ? err : dp_alert_events_init(&ws->events, s, &w->arena);
	err = err ? err : dp_batch_init(&w->decoded.batches[i], s, &w->arena);
	return err ? err : dp_batch_init(&w->taken[i], s, &w->arena);
}

static int init_rings(struct dp_worker *w, const struct dp_worker_config *c)
{
	uint64_t bytes = dp_steer_ring_bytes(c->streams);

	w->from = dp_arena_take(&w->arena, c->workers * sizeof(*w->from), DP_CACHE_LINE);
	if (!w->from)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->workers; i++) {
		int err = i == w->index ? 0 : dp_ring_init(&w->from[i], bytes, &w->arena);

		if (err)
			return err;
	}
	return 0;
}

static int init_worker(
	struct dp_worker *w, const struct dp_worker_config *c, const struct dp_now *now)
{
	uint32_t streams = c->streams->count;
	struct dp_batch *batches;
	int err;

	memset(w, 0, sizeof(*w));
	w->index = c->index;
	w->workers = c->workers;
	w->streams = c->streams;
	w->inputs = c->inputs;
	w->hooks = c->hooks;
	w->admit_rate = (struct dp_admit_rate){
		.new_per_s = c->new_sensors_per_s, .tokens_ns = now->steady_ns - DP_NS_PER_S};
	err = dp_arena_init(&w->arena, dp_worker_bytes(c));
	if (err)
		return err;
	w->per_stream = dp_arena_take(&w->arena, streams * sizeof(*w->per_stream), DP_CACHE_LINE);
	batches = dp_arena_take(&w->arena, streams * sizeof(*batches), DP_CACHE_LINE);
	w->taken = dp_arena_take(&w->arena, streams * sizeof(*w->taken), DP_CACHE_LINE);
	w->json = dp_json_new(c->streams);
	if (!w->per_stream || !batches || !w->taken || !w->json)
		return -ENOMEM;
	dp_decode_target_init(&w->decoded, c->streams, batches);
	err = dp_log_init(&w->log, &c->log, &w->arena);
	err = err ? err : init_rings(w, c);
	for (uint32_t i = 0; i < streams && !err; i++)
		err = init_stream(w, c, i, now);
	dp_floor_init(w, now);
	w->append =
		(struct dp_append){.log = &w->log, .streams = c->streams, .counters = &w->counters};
	return err;
}

/* Ring i of worker k's `from` is what worker i puts into. */
static int connect(struct dp_worker *w, uint32_t count)
{
	for (uint32_t self = 0; self < count; self++) {
		struct dp_ring **to =
			dp_arena_take(&w[self].arena, count * sizeof(*to), DP_CACHE_LINE);

		if (!to)
			return -ENOMEM;
		for (uint32_t i = 0; i < count; i++)
			to[i] = i == self ? NULL : &w[i].from[self];
		w[self].peer = (struct dp_steer_peer){.to = to, .self = self, .workers = count};
	}
	return 0;
}

/* Worker 0 has the memory, all have the use. */
static int share_places(struct dp_worker *w, uint32_t count, const uint32_t *sensors_max)
{
	uint32_t streams = w[0].streams->count;
	struct dp_places *places =
		dp_arena_take(&w[0].arena, streams * sizeof(*places), DP_CACHE_LINE);

	if (!places)
		return -ENOMEM;
	for (uint32_t i = 0; i < streams; i++) {
		places[i].max = sensors_max ? sensors_max[i] : UINT64_MAX;
		for (uint32_t k = 0; k < count; k++)
			w[k].per_stream[i].admit.places = &places[i];
	}
	return 0;
}

int dp_workers_init(struct dp_worker *w, uint32_t count, const struct dp_worker_config *configs,
	const struct dp_now *now)
{
	int err = 0;

	memset(w, 0, count * sizeof(*w));
	for (uint32_t i = 0; i < count && !err; i++)
		err = init_worker(&w[i], &configs[i], now);
	err = err ? err : connect(w, count);
	err = err ? err : share_places(w, count, configs[0].sensors_max);
	if (err)
		dp_workers_fini(w, count);
	return err;
}

void dp_workers_fini(struct dp_worker *w, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (w[i].json)
			dp_json_free(w[i].json);
		dp_arena_fini(&w[i].arena);
		memset(&w[i], 0, sizeof(w[i]));
	}
}
