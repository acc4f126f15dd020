/* Log: behind alert, the end of a worker's turn. Owns nothing; writes the open block of the ring.
 */
#include "dataplane/journal/append.h"

#include <assert.h>
#include <string.h>

#include "dataplane/journal/schema.h"

/* Where in closes and events the rows already written end. */
struct merge {
	uint32_t close, event;
};

static void put_id(void *at, struct dp_rec *head, const struct dp_sensor_id *id)
{
	head->id_len = id->len;
	memcpy(at, id->bytes, id->len);
}

static void set_place(const struct dp_append *a, struct dp_slot *s, uint32_t index)
{
	struct dp_rec_place p = dp_log_place(a->log, index);

	s->pos_epoch = p.epoch;
	s->pos_sequence = p.sequence;
	s->pos_worker = p.worker;
	s->pos_index = index;
}

/* ---- windows ---- */

static const struct dp_rec *put_window(const struct dp_append *a, const struct dp_brought *w,
	const struct dp_close *c, int64_t arrival_ns)
{
	const struct dp_stream *stream = w->table->stream;
	uint32_t stats = stream->windows[c->window].stats, index;
	uint8_t scores = w->scores->of_window[c->window];
	struct dp_slot *s = dp_table_slot(w->table, c->slot);
	struct dp_rec_window *r = dp_log_record(a->log, DP_REC_WINDOW,
		dp_rec_window_bytes(stream, stats, scores, s->id.len), &index);
	size_t words = (size_t)stream->field_count * (size_t)__builtin_popcount(stats);
	char *tail = (char *)(r + 1);

	r->head.stream = stream->index;
	r->start_ns = c->start_ns;
	r->end_ns = c->end_ns;
	r->arrival_ns = arrival_ns;
	r->life = s->life;
	r->count = c->count;
	r->window = c->window;
	r->reason = c->reason;
	r->field_count = stream->field_count;
	r->stats = (uint16_t)stats;
	put_id(tail, &r->head, &s->id);
	tail += dp_rec_pad(s->id.len, 4);
	memcpy(tail, w->closes->stats + c->stats_at, words * 4);
	r->score_count = scores;
	if (scores)
		memcpy(tail + words * 4,
			dp_scores_of_close(w->scores, (uint32_t)(c - w->closes->list)),
			scores * sizeof(struct dp_rec_score));
	dp_log_arrival_time(a->log, arrival_ns);
	set_place(a, s, index);
	return &r->head;
}

/* ---- alerts ---- */

static void last_reading_id(const struct dp_append *a, const struct dp_table *t,
	const struct dp_slot *s, uint64_t id[2])
{
	struct {
		struct dp_rec_reading r;
		char id[DP_SENSOR_ID_MAX];
	} rec = {.r = {.head = {.kind = DP_REC_READING,
			       .id_len = s->id.len,
			       .stream = t->stream->index},
			 .seq = s->last_seq,
			 .boot = s->last_boot,
			 .index = s->last_index,
			 .flags = s->last_flags}};
	struct dp_rec_place place = {.appliance = a->log->appliance,
		.epoch = s->read_epoch,
		.sequence = s->read_sequence,
		.worker = s->read_worker,
		.index = s->read_index};

	memcpy(rec.id, s->id.bytes, s->id.len);
	dp_rec_id(&rec.r.head, a->streams, &place, id);
}

/* `cause` is the record that raised, with its place; NULL: the sensor's last reading. */
static void put_alert(const struct dp_append *a, const struct dp_brought *w,
	const struct dp_alert_event *e, const struct dp_rec *cause, uint32_t cause_index,
	int64_t arrival_ns)
{
	const struct dp_stream *stream = w->table->stream;
	const struct dp_rule *rule = &stream->rules[e->rule];
	struct dp_slot *s = dp_table_slot(w->table, e->slot);
	struct dp_alert_state *state =
		(struct dp_alert_state *)dp_slot_alerts(w->table, s) + e->rule;
	struct dp_rec_place place = dp_log_place(a->log, cause_index);
	struct dp_rec_alert *r;
	uint32_t index;

	if (e->raised) {
		if (cause)
			dp_rec_id(cause, a->streams, &place, state->cause);
		else
			last_reading_id(a, w->table, s, state->cause);
		state->raised_ns = arrival_ns;
	}
	r = dp_log_record(a->log, DP_REC_ALERT, dp_rec_alert_bytes(s->id.len), &index);
	r->head.stream = stream->index;
	r->event_ns = e->event_ns;
	r->arrival_ns = arrival_ns;
	memcpy(r->cause, state->cause, sizeof(r->cause));
	r->life = s->life;
	r->value = e->value;
	r->raised_ns = state->raised_ns;
	r->rule_hash = dp_rule_hash(stream, rule);
	r->rule = e->rule;
	r->raised = e->raised;
	r->severity = (uint8_t)rule->severity;
	put_id(r + 1, &r->head, &s->id);
	dp_log_arrival_time(a->log, arrival_ns);
	set_place(a, s, index);
	dp_count(a->counters, DP_C_RECORDS_ALERT, 1);
	dp_count(a->counters, e->raised ? DP_C_ALERTS_RAISED : DP_C_ALERTS_CLEARED, 1);
}

/*
 * Closes of `row` (all that are left when of a timer: row is then what the first says), then the
 * alerts of those. The windows are the last records of the block, in order, so the one that a raise
 * names is found by walking on from the first.
 */
static void put_closes(const struct dp_append *a, const struct dp_brought *w, struct merge *m,
	uint32_t row, int64_t arrival_ns)
{
	uint32_t first = m->close, first_index = a->log->open->record_count;
	const struct dp_rec *first_rec = NULL;

	for (; m->close < w->closes->count && w->closes->list[m->close].row == row; m->close++) {
		const struct dp_rec *rec = put_window(a, w, &w->closes->list[m->close], arrival_ns);

		first_rec = first_rec ? first_rec : rec;
	}
	dp_count(a->counters, DP_C_RECORDS_WINDOW, m->close - first);
	for (; m->event < w->events->count; m->event++) {
		const struct dp_alert_event *e = &w->events->list[m->event];
		const struct dp_rec *rec = first_rec;

		if (!e->by_close || e->row >= m->close)
			break;
		for (uint32_t i = first; i < e->row; i++)
			rec = (const struct dp_rec *)((const char *)rec + rec->bytes);
		put_alert(a, w, e, rec, first_index + e->row - first, arrival_ns);
	}
}

/* ---- readings ---- */

static void put_tags(char *at, struct dp_rec_reading *r, const struct dp_batch *b, uint32_t row)
{
	uint16_t tags = b->stream->tag_count;

	r->tag_count = (uint8_t)tags;
	for (uint16_t i = 0; i < tags; i++) {
		size_t k = (size_t)row * tags + i;

		*at++ = (char)b->tag_len[k];
		memcpy(at, b->tags[k], b->tag_len[k]);
		at += b->tag_len[k];
	}
}

/* Returns where the tags go. */
static char *put_scores(char *at, struct dp_rec_reading *r, const struct dp_scores *s, uint32_t row,
	const struct dp_stream *stream)
{
	size_t derived = stream->derived_count * sizeof(float);
	size_t scores = s->of_readings * sizeof(struct dp_rec_score);

	r->derived_count = stream->derived_count;
	r->score_count = (uint8_t)s->of_readings;
	memcpy(at, dp_scores_derived(s, row), derived);
	if (scores) /* else all models are of windows */
		memcpy(at + derived, dp_scores_of_reading(s, row), scores);
	return at + derived + scores;
}

static size_t reading_bytes(const struct dp_batch *b, uint32_t row)
{
	const struct dp_stream *s = b->stream;

	return dp_rec_reading_bytes(
		s, b->id[row].len, s->tag_count ? b->tag_len + (size_t)row * s->tag_count : NULL);
}

static void note_reading(struct dp_slot *s, const struct dp_rec_reading *r,
	const struct dp_append *a, uint32_t index)
{
	set_place(a, s, index);
	s->read_epoch = s->pos_epoch;
	s->read_sequence = s->pos_sequence;
	s->read_worker = s->pos_worker;
	s->read_index = index;
	s->last_seq = r->seq;
	s->last_boot = r->boot;
	s->last_index = r->index;
	s->last_flags = r->flags;
	s->readings++;
}

static const struct dp_rec *put_reading(
	const struct dp_append *a, const struct dp_brought *w, uint32_t row, uint32_t *index)
{
	const struct dp_batch *b = w->batch;
	const struct dp_stream *stream = b->stream;
	struct dp_slot *s = dp_table_slot(w->table, b->slot[row]);
	struct dp_rec_reading *r =
		dp_log_record(a->log, DP_REC_READING, reading_bytes(b, row), index);
	size_t id_bytes = dp_rec_pad(b->id[row].len, 4);
	char *tail = (char *)(r + 1);

	r->head.stream = stream->index;
	r->event_ns = b->event_ns[row];
	r->arrival_ns = b->arrival_ns[row];
	if (b->flags[row] & DP_ROW_NUMBERED) {
		r->seq = b->seq[row];
		r->boot = b->boot[row];
		r->seen = b->seen[row];
	}
	r->flags = b->flags[row];
	r->index = b->index[row];
	r->group = b->group[row];
	r->field_count = stream->field_count;
	put_id(tail, &r->head, &b->id[row]);
	tail += id_bytes;
	memcpy(tail, dp_batch_row_values(b, row), 4u * stream->field_count);
	tail += 4u * stream->field_count;
	if (w->scores->width)
		tail = put_scores(tail, r, w->scores, row, stream);
	put_tags(tail, r, b, row);
	if (r->flags & (DP_ROW_NEW_LIFE | DP_ROW_CLOCK_RESET)) {
		struct dp_rec_place place = dp_log_place(a->log, *index);
		uint64_t id[2];

		dp_rec_id(&r->head, a->streams, &place, id);
		s->life = id[0];
	}
	r->life = s->life;
	dp_log_reading_time(a->log, r->event_ns, r->arrival_ns);
	note_reading(s, r, a, *index);
	return &r->head;
}

static size_t close_bytes(const struct dp_brought *w, uint32_t close, size_t id_len)
{
	uint8_t window = w->closes->list[close].window;
	const struct dp_stream *stream = w->table->stream;

	return dp_rec_window_bytes(
		stream, stream->windows[window].stats, w->scores->of_window[window], id_len);
}

/* Exact bytes of a group with all that it causes. */
static size_t group_bytes(
	const struct dp_brought *w, const struct merge *m, uint32_t row, uint32_t rows)
{
	uint8_t id_len = w->batch->id[row].len;
	size_t n = 0;
	uint32_t close = m->close, event = m->event;

	for (uint32_t i = row; i < row + rows; i++)
		n += reading_bytes(w->batch, i);
	for (; close < w->closes->count && w->closes->list[close].row < row + rows; close++)
		n += close_bytes(w, close, id_len);
	for (; event < w->events->count; event++) {
		const struct dp_alert_event *e = &w->events->list[event];

		if (e->by_close ? e->row >= close : e->row >= row + rows)
			break;
		n += dp_rec_alert_bytes(id_len);
	}
	return n;
}

static void put_row(const struct dp_append *a, const struct dp_brought *w, struct merge *m,
	uint32_t row, const struct dp_now *now)
{
	const struct dp_rec *rec;
	uint32_t index;

	put_closes(a, w, m, row, now->real_ns);
	rec = put_reading(a, w, row, &index);
	for (; m->event < w->events->count; m->event++) {
		const struct dp_alert_event *e = &w->events->list[m->event];

		if (e->by_close || e->row != row)
			break;
		put_alert(a, w, e, rec, index, now->real_ns);
	}
}

void dp_append_batch(
	const struct dp_append *a, const struct dp_brought *w, const struct dp_now *now)
{
	const struct dp_batch *b = w->batch;
	struct merge m = {0};

	for (uint32_t row = 0; row < b->count; row += b->group[row]) {
		uint32_t rows = b->group[row];

		dp_log_group(a->log, group_bytes(w, &m, row, rows), now->steady_ns);
		for (uint32_t i = row; i < row + rows; i++)
			put_row(a, w, &m, i, now);
	}
	assert(m.close == w->closes->count && m.event == w->events->count);
	dp_count(a->counters, DP_C_RECORDED, b->count);
	dp_count(a->counters, DP_C_RECORDS_READING, b->count);
}

static size_t timer_bytes(const struct dp_brought *w)
{
	size_t n = w->events->count * dp_rec_alert_bytes(DP_SENSOR_ID_MAX);

	for (uint32_t i = 0; i < w->closes->count; i++)
		n += close_bytes(w, i, DP_SENSOR_ID_MAX);
	return n;
}

static void put_timer(
	const struct dp_append *a, const struct dp_brought *w, const struct dp_now *now)
{
	struct merge m = {0};

	put_closes(a, w, &m, 0, now->real_ns);
	for (; m.event < w->events->count; m.event++) {
		const struct dp_alert_event *e = &w->events->list[m.event];

		put_alert(a, w, e, NULL, 0, now->real_ns);
	}
	assert(m.close == w->closes->count);
}

void dp_append_timer(
	const struct dp_append *a, const struct dp_brought *w, const struct dp_now *now)
{
	size_t n = timer_bytes(w);

	if (!n)
		return;
	dp_log_group(a->log, n, now->steady_ns);
	put_timer(a, w, now);
}

/* ---- the rest ---- */

size_t dp_append_small_bytes(void)
{
	return dp_rec_pad(
		sizeof(struct dp_rec_mark) + DP_SENSOR_ID_MAX + sizeof(uint64_t) * DP_COUNTER_COUNT,
		8);
}

/* Of the group that was begun. */
static struct dp_rec_mark *put_mark(
	const struct dp_append *a, size_t tail, const struct dp_now *now)
{
	struct dp_rec_mark *r;
	uint32_t index;

	r = dp_log_record(a->log, DP_REC_MARK, dp_rec_pad(sizeof(*r) + tail, 8), &index);
	r->arrival_ns = now->real_ns;
	dp_log_arrival_time(a->log, now->real_ns);
	dp_count(a->counters, DP_C_RECORDS_MARK, 1);
	return r;
}

void dp_append_mark(const struct dp_append *a, enum dp_mark_what what, const struct dp_now *now)
{
	struct dp_rec_mark *r;
	uint64_t *v;

	dp_log_group(a->log, dp_append_small_bytes(), now->steady_ns);
	r = put_mark(a, sizeof(uint64_t) * DP_COUNTER_COUNT, now);
	v = (uint64_t *)(r + 1);
	r->head.stream = UINT16_MAX;
	r->what = (uint8_t)what;
	r->counter_count = DP_COUNTER_COUNT;
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		v[i] = dp_counted(a->counters, i);
}

void dp_append_retired(const struct dp_append *a, const struct dp_brought *w, uint32_t slot,
	const struct dp_now *now)
{
	const struct dp_slot *s = dp_table_slot(w->table, slot);
	struct dp_rec_mark *r;

	dp_log_group(a->log, timer_bytes(w) + dp_append_small_bytes(), now->steady_ns);
	put_timer(a, w, now);
	r = put_mark(a, s->id.len, now);
	r->head.stream = w->table->stream->index;
	r->what = DP_MARK_RETIRED;
	put_id(r + 1, &r->head, &s->id);
	dp_count(a->counters, DP_C_SENSORS_RETIRED, 1);
}

void dp_append_gap(const struct dp_append *a, const struct dp_gap *gap, const struct dp_now *now)
{
	struct dp_rec_gap *r;
	uint32_t index;

	dp_log_group(a->log, sizeof(*r), now->steady_ns);
	r = dp_log_record(a->log, DP_REC_GAP, sizeof(*r), &index);
	r->head.stream = gap->stream;
	r->arrival_ns = now->real_ns;
	r->count = gap->count;
	r->epoch = gap->epoch;
	r->sequence = gap->sequence;
	r->worker = gap->worker;
	r->reason = (uint8_t)gap->reason;
	dp_log_arrival_time(a->log, now->real_ns);
	dp_count(a->counters, DP_C_RECORDS_GAP, 1);
}

void dp_append_raw(const struct dp_append *a, const struct dp_payload *p, const struct dp_now *now)
{
	size_t bytes = dp_rec_raw_bytes(p->id->len, p->count);
	/* of readings, at worst: dp_block_bytes_max() */
	size_t batch = a->log->block_max - DP_BLOCK_SEAL_BYTES;
	struct dp_rec_raw *r;
	uint32_t index;
	char *tail;

	if (!dp_log_room(a->log, bytes + 2 * batch)) {
		dp_count(a->counters, DP_C_RAW_LOST, 1);
		return;
	}
	dp_log_group(a->log, bytes, now->steady_ns);
	r = dp_log_record(a->log, DP_REC_RAW, bytes, &index);
	r->head.stream = p->stream;
	r->arrival_ns = now->real_ns;
	r->payload_bytes = p->count;
	tail = (char *)(r + 1);
	put_id(tail, &r->head, p->id);
	memcpy(tail + dp_rec_pad(p->id->len, 4), p->bytes, p->count);
	dp_log_arrival_time(a->log, now->real_ns);
	dp_count(a->counters, DP_C_RECORDS_RAW, 1);
}
