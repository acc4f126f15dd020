/* The shared streams and records of the journal's tests. */
#include "tests/unit/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"

#define S DP_NS_PER_S

void sample_streams_init(struct sample_streams *s)
{
	*s = (struct sample_streams){
		.fields = {{"temperature", "°C", -40, 85, 0.01f, 0},
			{"humidity", "%", 0, 100, 0.01f, 0},
			{"voltage", "V", -INFINITY, INFINITY, 0.001f, 0},
			{"lux", "lx", 0, INFINITY, 1, 0}},
		.tags = {{"lot"}, {"line"}},
		.windows = {{"30s/10s", 30 * S, 10 * S, DP_STAT_ALL, 0},
			{"5m/1m", 300 * S, 60 * S, DP_STAT_MEAN | DP_STAT_MAX, 0},
			{"1m", 60 * S, 60 * S, DP_STAT_COUNT | DP_STAT_LAST, 0}},
		.rules = {{"hot", DP_RULE_ABOVE, DP_SEVERITY_WARNING, 0, -1, 0, 60, 2, 3, 0, 0,
				  .of_score = false},
			{"warm on average", DP_RULE_ABOVE, DP_SEVERITY_INFO, 0, 0, DP_STAT_MEAN, 40,
				1, 1, 0, 0, .of_score = false},
			{"silent", DP_RULE_MISSING, DP_SEVERITY_CRITICAL, -1, -1, 0, 0, 0, 3, 0,
				30 * S, .of_score = false}},
		.models = {{.name = "anomaly", .window = -1, .label_at = 0, .label_count = 2}},
		.labels = {{"ordinary"}, {"odd"}},
		.derived = {{.text = "mean(temperature,30s)"}, {.text = "delta(voltage)"}},
	};
	s->streams[0] = (struct dp_stream){
		.name = "climate",
		.id_key = "sensor",
		.time_key = "time",
		.index = 0,
		.number = 1,
		.field_count = 3,
		.tag_count = 2,
		.window_count = 2,
		.rule_count = 3,
		.model_count = 1,
		.lateness_ns = 5 * S,
		.max_skew_ns = 60 * S,
		.idle_ns = 90 * S,
		.forget_ns = 86400 * S,
		.fields = s->fields,
		.tags = s->tags,
		.windows = s->windows,
		.rules = s->rules,
		.models = s->models,
		.labels = s->labels,
		.derived = s->derived,
		.label_count = 2,
		.derived_count = 2,
		.reading_models = 1,
	};
	s->streams[1] = (struct dp_stream){
		.name = "light",
		.id_key = "id",
		.index = 1,
		.number = 7,
		.field_count = 1,
		.window_count = 1,
		.max_skew_ns = 60 * S,
		.idle_ns = 90 * S,
		.forget_ns = 86400 * S,
		.fields = &s->fields[3],
		.windows = &s->windows[2],
	};
	s->set = (struct dp_stream_set){.count = 2, .streams = s->streams};
	s->set.hash = dp_schema_hash(&s->set);
	for (uint32_t i = 0; i < s->set.count; i++)
		s->streams[i].state_hash = dp_stream_state_hash(&s->streams[i]);
}

void sample_log_init(struct dp_log *log, struct dp_arena *arena, uint32_t worker)
{
	struct sample_streams s;
	struct dp_log_config config = {
		.ring_bytes = SAMPLE_LOG_BYTES,
		.block_max = SAMPLE_BLOCK_MAX,
		.worker = worker,
		.appliance = SAMPLE_APPLIANCE,
		.epoch = SAMPLE_EPOCH,
		.linger_ns = DP_NS_PER_MS,
	};

	sample_streams_init(&s);
	config.schema_hash = s.set.hash;
	if (dp_arena_init(arena, SAMPLE_LOG_BYTES + DP_DISK_ALIGN) ||
		dp_log_init(log, &config, arena))
		abort();
}

/* Record of that stream and sensor, its time noted. */
static void *record(struct dp_log *log, enum dp_rec_kind kind, size_t head_bytes, size_t bytes,
	const char *sensor)
{
	uint32_t index;
	struct dp_rec *rec = dp_log_record(log, kind, bytes, &index);

	rec->id_len = (uint8_t)strlen(sensor);
	memcpy((char *)rec + head_bytes, sensor, rec->id_len);
	return rec;
}

static int64_t time_of(uint32_t round)
{
	return SAMPLE_TIME_NS + (int64_t)round * S;
}

static void numbered(struct dp_log *log, const struct dp_stream *s, uint32_t round)
{
	static const char tags[] = "\x03L42\x05north";
	static const uint8_t tag_len[] = {3, 5};
	const float values[] = {20.5f + (float)round, NAN, 3.3f};
	const float derived[] = {21.25f, NAN};
	struct dp_rec_score score = {.version = 4, .value = 0.25f, .probability = 0.75f};
	struct dp_rec_reading *r = record(
		log, DP_REC_READING, sizeof(*r), dp_rec_reading_bytes(s, 6, tag_len), "pump-7");

	r->event_ns = time_of(round) - 250 * DP_NS_PER_MS;
	r->arrival_ns = time_of(round);
	r->life = 0x0123456789abcdefull;
	r->seq = 100 + round;
	r->seen = 7;
	r->boot = 0xb007b007u;
	r->flags = DP_ROW_NUMBERED | DP_ROW_OUT_OF_RANGE;
	r->tag_count = 2;
	r->field_count = 3;
	r->score_count = 1;
	r->derived_count = 2;
	r->group = 1;
	memcpy((float *)dp_rec_values(r), values, sizeof(values));
	memcpy((float *)dp_rec_derived(r), derived, sizeof(derived));
	memcpy((struct dp_rec_score *)dp_rec_scores(r), &score, sizeof(score));
	memcpy((uint8_t *)dp_rec_tags(r), tags, sizeof(tags) - 1);
	dp_log_reading_time(log, r->event_ns, r->arrival_ns);
}

static void unnumbered(struct dp_log *log, const struct dp_stream *s, uint32_t round)
{
	static const char sensor[] = "Öl-3";
	struct dp_rec_reading *r = record(log, DP_REC_READING, sizeof(*r),
		dp_rec_reading_bytes(s, sizeof(sensor) - 1, NULL), sensor);

	r->head.stream = 1;
	r->event_ns = r->arrival_ns = time_of(round);
	r->flags = DP_ROW_ARRIVAL_TIME | DP_ROW_NEW_LIFE;
	r->field_count = 1;
	r->index = 3;
	*(float *)dp_rec_values(r) = 400.0f + (float)round;
	dp_log_reading_time(log, r->event_ns, r->arrival_ns);
}

static void window(struct dp_log *log, const struct dp_stream *s, uint32_t round)
{
	const struct dp_window_def *def = &s->windows[0];
	struct dp_rec_window *w = record(log, DP_REC_WINDOW, sizeof(*w),
		dp_rec_window_bytes(s, def->stats, 0, s->index ? 3 : 6),
		s->index ? "l-1" : "pump-7");
	size_t stat_count = (size_t)__builtin_popcount(def->stats);
	uint32_t *stats = (uint32_t *)dp_rec_stats(w);

	w->head.stream = s->index;
	w->end_ns = (SAMPLE_TIME_NS / def->slide_ns + round) * def->slide_ns;
	w->start_ns = w->end_ns - def->size_ns;
	w->arrival_ns = time_of(round);
	w->life = 0x0123456789abcdefull;
	w->count = 30;
	w->reason = s->index ? DP_CLOSE_IDLE : DP_CLOSE_WATERMARK;
	w->field_count = s->field_count;
	w->stats = (uint16_t)def->stats;
	for (uint16_t f = 0; f < s->field_count; f++) {
		stats[f * stat_count] =
			30u - f; /* the count is the lowest bit of both definitions */
		for (size_t i = 1; i < stat_count; i++) {
			float v = (float)(100 * f + 10 * i + round);

			memcpy(&stats[f * stat_count + i], &v, sizeof(v));
		}
	}
	dp_log_arrival_time(log, w->arrival_ns);
}

static void alert(struct dp_log *log, uint32_t round)
{
	struct dp_rec_alert *a =
		record(log, DP_REC_ALERT, sizeof(*a), dp_rec_alert_bytes(6), "pump-7");

	a->event_ns = time_of(round) - 250 * DP_NS_PER_MS;
	a->arrival_ns = time_of(round);
	a->cause[0] = 0x1111111111111111ull + round;
	a->cause[1] = 0x2222222222222222ull;
	a->life = 0x0123456789abcdefull;
	a->value = 61.5;
	a->raised_ns = a->arrival_ns - (round & 1 ? 5 * S : 0);
	a->rule_hash = 0xcafe;
	a->raised = !(round & 1);
	a->severity = DP_SEVERITY_WARNING;
	dp_log_arrival_time(log, a->arrival_ns);
}

static void gap(struct dp_log *log, uint32_t round)
{
	struct dp_rec_gap *g = record(log, DP_REC_GAP, sizeof(*g), sizeof(*g), "");

	g->head.stream = DP_REC_NO_STREAM;
	g->arrival_ns = time_of(round);
	g->count = 12 + round;
	g->epoch = SAMPLE_EPOCH - 1;
	g->sequence = 9;
	g->worker = 1;
	g->reason = DP_GAP_CRASH;
	dp_log_arrival_time(log, g->arrival_ns);
}

static void mark(struct dp_log *log, enum dp_mark_what what, uint32_t round)
{
	bool retired = what == DP_MARK_RETIRED;
	struct dp_rec_mark *m = record(log, DP_REC_MARK, sizeof(*m),
		retired ? 32 : sizeof(*m) + 3 * sizeof(uint64_t), retired ? "pump-7" : "");

	m->head.stream = retired ? 0 : DP_REC_NO_STREAM;
	m->arrival_ns = time_of(round);
	m->what = (uint8_t)what;
	m->counter_count = retired ? 0 : 3;
	for (uint32_t i = 0; i < m->counter_count; i++)
		((uint64_t *)dp_rec_counters(m))[i] = 1000u * (i + 1) + round;
	dp_log_arrival_time(log, m->arrival_ns);
}

void sample_group(struct dp_log *log, const struct sample_streams *s, uint32_t round)
{
	dp_log_group(log, SAMPLE_GROUP_BYTES, time_of(round));
	mark(log, DP_MARK_START, round);
	window(log, &s->streams[0], round);
	numbered(log, &s->streams[0], round);
	alert(log, round);
	unnumbered(log, &s->streams[1], round);
	gap(log, round);
	mark(log, DP_MARK_RETIRED, round);
	window(log, &s->streams[1], round);
}

const struct dp_rec *sample_record(
	const struct dp_block *b, const struct dp_stream_set *streams, uint32_t index)
{
	size_t cursor = 0;
	bool bad;
	const struct dp_rec *rec = dp_block_next(b, streams, &cursor, &bad);

	for (uint32_t i = 0; rec && i < index; i++)
		rec = dp_block_next(b, streams, &cursor, &bad);
	return rec;
}
