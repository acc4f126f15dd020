/* A random appliance. */
#include "tests/sim/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"
#include "dataplane/score/plan.h"

#define MS DP_NS_PER_MS
#define S  DP_NS_PER_S

static int64_t pick(struct sim *s, const int64_t *list, uint32_t n)
{
	return list[sim_below(s, n)];
}

#define PICK(s, ...)                                                                               \
	pick(s, (const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void make_windows(struct sim_config *c, struct dp_stream *st, struct sim *s)
{
	static const struct dp_window_def defs[] = {
		{.name = "30s/10s", .size_ns = 30 * S, .slide_ns = 10 * S, .stats = DP_STAT_ALL},
		{.name = "8s",
			.size_ns = 8 * S,
			.slide_ns = 8 * S,
			.stats = DP_STAT_COUNT | DP_STAT_MEAN | DP_STAT_MAX},
		{.name = "6s/2s", .size_ns = 6 * S, .slide_ns = 2 * S, .stats = DP_STAT_LAST},
	};
	uint32_t first = sim_below(s, 3);

	st->windows = c->windows[st->index];
	st->window_count = (uint16_t)(1 + sim_below(s, 3));
	for (uint32_t i = 0; i < st->window_count; i++)
		st->windows[i] = defs[(first + i) % 3];
}

static void make_rules(struct sim_config *c, struct dp_stream *st, struct sim *s)
{
	const struct dp_rule rules[SIM_RULES_MAX] = {
		{.name = "high",
			.kind = DP_RULE_ABOVE,
			.severity = DP_SEVERITY_WARNING,
			.field = 1,
			.window = -1,
			.threshold = 30,
			.hysteresis = 5,
			.count = 1 + sim_below(s, 3)},
		{.name = "silent",
			.kind = DP_RULE_MISSING,
			.severity = DP_SEVERITY_CRITICAL,
			.field = -1,
			.window = -1,
			.count = 3,
			.period_ns = 1 * S},
		{.name = "low mean",
			.kind = DP_RULE_BELOW,
			.severity = DP_SEVERITY_INFO,
			.field = 1,
			.window = 0,
			.stat = st->windows[0].stats & DP_STAT_MEAN ? DP_STAT_MEAN : DP_STAT_LAST,
			.threshold = 20,
			.count = 1},
		{.name = "jump",
			.kind = DP_RULE_RATE,
			.severity = DP_SEVERITY_INFO,
			.field = 1,
			.window = -1,
			.threshold = 20,
			.count = 1},
		{.name = "odd",
			.kind = DP_RULE_ABOVE,
			.severity = DP_SEVERITY_INFO,
			.field = -1,
			.window = -1,
			.of_score = true,
			.label = -1,
			.threshold = 40,
			.hysteresis = 10,
			.count = 1 + sim_below(s, 2)},
	};

	/* the last is on the model */
	st->rules = c->rules[st->index];
	st->rule_count = st->model_count && sim_chance(s, 4000)
				 ? SIM_RULES_MAX
				 : (uint16_t)sim_below(s, SIM_RULES_MAX);
	memcpy(st->rules, rules, sizeof(rules));
}

/* v + delta(v) + count(v, the first window): of the reading, of the one before, of the panes. */
static void make_model(struct sim_config *c, struct dp_stream *st, struct sim *s)
{
	static const char *const counts[] = {"count(v,30s)", "count(v,8s)", "count(v,6s)"};
	const struct dp_window_def *w = &st->windows[0];
	const char *count = counts[w->size_ns == 30 * S ? 0 : w->size_ns == 8 * S ? 1 : 2];

	if (sim_chance(s, 4000))
		return;
	linear_stream_bind(&c->linear[st->index], st,
		(const char *[]){"v", "delta(v)", count, NULL}, w->slide_ns);
	c->plans[st->index] = c->linear[st->index].plan;
}

static void make_stream(struct sim_config *c, uint16_t index, struct sim *s)
{
	static const char *const names[SIM_FIELDS_MAX] = {"n", "v", "w", "x"};
	struct dp_stream *st = &c->streams[index];

	*st = (struct dp_stream){.id_key = "id",
		.time_key = "t",
		.index = index,
		.number = (uint16_t)(10 + 3 * index),
		.field_count = (uint16_t)(2 + sim_below(s, 3)),
		.tag_count = (uint16_t)sim_below(s, SIM_TAGS_MAX + 1),
		.lateness_ns = PICK(s, 0, 500 * MS, 3 * S),
		.max_skew_ns = PICK(s, 15 * S, 60 * S),
		.idle_ns = PICK(s, 2 * S, 10 * S, 40 * S),
		.forget_ns = c->frees ? 60 * S : PICK(s, 60 * S, 300 * S),
		.fields = c->fields[index],
		.tags = c->tags[index]};
	snprintf(st->name, sizeof(st->name), "stream%u", index);
	for (int i = 0; i < SIM_FIELDS_MAX; i++) {
		strcpy(st->fields[i].name, names[i]);
		st->fields[i].min = -INFINITY;
		st->fields[i].max = i == 1 ? 45 : INFINITY;
		st->fields[i].scale = 1;
	}
	strcpy(st->tags[0].name, "lot");
	strcpy(st->tags[1].name, "line");
	make_windows(c, st, s);
	make_model(c, st, s);
	make_rules(c, st, s);
	st->state_hash = dp_stream_state_hash(st);
	c->inputs[1 + index] = (struct dp_input){.format = DP_FORMAT_JSON, .stream = index};
}

static void make_output(
	const struct sim_config *c, struct sim_output_config *o, uint32_t i, struct sim *s)
{
	static const char *const names[] = {"file", "json", "packed"};
	bool all = sim_chance(s, 5000);

	o->config = (struct dp_output_config){
		.form = o->kind == SIM_BROKER_PACKED ? DP_FORM_PACKED : DP_FORM_JSON,
		.from_oldest = sim_chance(s, 5000),
		.kinds = all		       ? DP_KINDS_DEFAULT | 1u << DP_REC_MARK
			 : sim_chance(s, 5000) ? DP_KINDS_DEFAULT
					       : 1u << DP_REC_READING | 1u << DP_REC_WINDOW,
		.window_blocks = (uint32_t)PICK(s, 1, 4, 64),
		.window_bytes = (uint32_t)PICK(s, 20000, 1 << 20),
		.save_interval_ns = PICK(s, 0, 10 * MS, S),
		.slot = i};
	strcpy(o->config.name, names[o->kind]);
	o->rotate_bytes = (uint64_t)PICK(s, 0, 20000, 200000) * (c->flood ? 20 : 1);
	o->refuses = sim_chance(s, 3000);
}

static void make_outputs(struct sim_config *c, struct sim *s)
{
	uint32_t kinds = 1 + sim_below(s, 7);

	for (uint32_t k = 0; k < 3; k++) {
		if (!(kinds >> k & 1))
			continue;
		c->outputs[c->output_count].kind = (enum sim_output_kind)k;
		make_output(c, &c->outputs[c->output_count], c->output_count, s);
		c->output_count++;
	}
}

static void make_faults(struct sim_config *c, struct sim *s)
{
	bool rough = sim_chance(s, 4000), slow = sim_chance(s, 5000);

	c->faults = (struct sim_faults){.write = rough ? (uint32_t)PICK(s, 0, 20, 200) : 0,
		.sync = rough ? (uint32_t)PICK(s, 0, 20, 500) : 0,
		.read = rough ? (uint32_t)PICK(s, 0, 20) : 0,
		.directory = rough ? (uint32_t)PICK(s, 0, 20) : 0,
		.sync_ns_max = slow ? PICK(s, MS, 50 * MS, S) : 200000};
	c->loss = (uint32_t)PICK(s, 0, 100, 1000);
	c->duplicate = (uint32_t)PICK(s, 0, 300, 2000);
	c->delay = (uint32_t)PICK(s, 0, 300, 3000);
	c->bad = (uint32_t)PICK(s, 0, 100);
	c->broker_full = (uint32_t)PICK(s, 0, 100, 3000);
	c->broker_break = (uint32_t)PICK(s, 0, 10, 100);
	c->outage = (uint32_t)PICK(s, 0, 0, 5);
	c->power_cuts = (uint32_t)PICK(s, 0, 5000, 9000);
}

void sim_config_make(struct sim_config *c, struct sim *s)
{
	uint64_t block_max;

	memset(c, 0, sizeof(*c));
	c->set = (struct dp_stream_set){
		.count = 1 + sim_below(s, SIM_STREAMS_MAX), .streams = c->streams};
	c->inputs[0] = (struct dp_input){.format = DP_FORMAT_BINARY};
	c->frees = sim_chance(s, 3000);
	for (uint16_t i = 0; i < c->set.count; i++)
		make_stream(c, i, s);
	c->set.hash = dp_schema_hash(&c->set);
	c->sensors = 1 + sim_below(s, 12);
	c->lives = 2 + sim_below(s, 4);
	c->flood = sim_chance(s, 2500);
	c->linger_ns = c->flood ? PICK(s, 0, 0, 200000) : PICK(s, 0, 200000, 1 * MS, 50 * MS);
	c->new_sensors_per_s = (uint32_t)PICK(s, 0, 0, 0, 5);
	block_max = dp_block_bytes_max(&c->set);
	c->ring_bytes = 512 << 10;
	while (c->ring_bytes < 4 * (block_max + DP_DISK_ALIGN))
		c->ring_bytes *= 2;
	if (sim_chance(s, 3000))
		c->ring_bytes *= 4;
	c->journal = (struct dp_journal_config){
		.sync = sim_chance(s, 6500) ? DP_SYNC_ALWAYS : DP_SYNC_LAZY,
		.on_full = DP_FULL_BLOCK,
		.segment_bytes = (uint64_t)PICK(s, 1 << 20, 1 << 20, 2 << 20),
		.sync_interval_ns = S,
		.retention_ns = c->frees ? PICK(s, 0, 20 * S) : 0};
	make_faults(c, s);
	c->capacity = sim_chance(s, 1500) ? (uint64_t)sim_between(s, 3, 8) << 20 : 1ull << 30;
	make_outputs(c, s);
}

void sim_config_free(struct sim_config *c)
{
	for (int i = 0; i < SIM_STREAMS_MAX; i++)
		dp_plan_free(c->plans[i]);
}
