/* Replay: between recover and the first turn. Owns the ledger's recovery and the routing to owners.
 */
#include "dataplane/core/replay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One run's part of the ledger: the last mark of each worker and what the log holds after it. */
struct run {
	uint64_t epoch;
	uint64_t marked[DP_WORKERS_MAX][DP_COUNTER_COUNT];
	uint64_t after[DP_WORKERS_MAX][DP_COUNTER_COUNT];
};

struct replayer {
	struct dp_worker *workers;
	uint32_t count;
	const struct dp_stream_set *streams;
	const struct dp_stream_set *known; /* the set that `map` is for */
	int32_t map[DP_STREAMS_MAX];	   /* index there -> index here, -1: gone or changed */
	struct dp_replayed *out;
	struct dp_reader_counts counts; /* of the log up to where we are */
	/* what no gap record in the log tells of yet */
	uint64_t untold_schema;		   /* readings */
	uint64_t untold_damage;		   /* records */
	uint64_t unreadable;		   /* records of good blocks that make no sense */
	uint64_t before[DP_COUNTER_COUNT]; /* totals of runs before `run` */
	struct run run;
};

/* ---- streams ---- */

static void map_streams(struct replayer *p, const struct dp_stream_set *theirs)
{
	if (p->known == theirs)
		return;
	p->known = theirs;
	for (uint32_t i = 0; i < theirs->count; i++) {
		p->map[i] = -1;
		for (uint32_t k = 0; k < p->streams->count; k++) {
			const struct dp_stream *ours = &p->streams->streams[k];

			if (strcmp(ours->name, theirs->streams[i].name) == 0 &&
				ours->state_hash == theirs->streams[i].state_hash)
				p->map[i] = (int32_t)k;
		}
	}
}

/* ---- what could not be brought back ---- */

/* Up to here so many records of the log were not found, or made no sense. */
static void note_damage(struct replayer *p, uint64_t records)
{
	if (records <= p->out->damaged_records)
		return;
	p->untold_damage += records - p->out->damaged_records;
	p->out->damaged_records = records;
}

/* An earlier start has told of what this one has found again: never of what comes behind it. */
static void take_gap(struct replayer *p, const struct dp_rec_gap *g)
{
	uint64_t *untold = NULL;

	if (g->reason == DP_GAP_SCHEMA)
		untold = &p->untold_schema;
	else if (g->reason == DP_GAP_DAMAGE)
		untold = &p->untold_damage;
	if (untold)
		*untold -= g->count < *untold ? g->count : *untold;
}

/* ---- ledger ---- */

static void close_run(struct replayer *p)
{
	for (uint32_t w = 0; w < DP_WORKERS_MAX; w++)
		for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
			p->before[i] += p->run.marked[w][i] + p->run.after[w][i];
	memset(&p->run, 0, sizeof(p->run));
}

static void take_mark(struct replayer *p, uint32_t worker, const struct dp_rec_mark *m)
{
	const uint64_t *v = dp_rec_counters(m);

	memset(p->run.marked[worker], 0, sizeof(p->run.marked[worker]));
	memset(p->run.after[worker], 0, sizeof(p->run.after[worker]));
	for (uint32_t i = 0; i < m->counter_count && i < DP_COUNTER_COUNT; i++)
		p->run.marked[worker][i] = v[i];
	/* worker 0 began its run with the totals of all runs before */
	if (worker == 0)
		memset(p->before, 0, sizeof(p->before));
}

static void count_after(struct replayer *p, uint32_t worker, const struct dp_rec *rec)
{
	static const enum dp_counter of_kind[DP_REC_KINDS] = {
		[DP_REC_READING] = DP_C_RECORDS_READING,
		[DP_REC_WINDOW] = DP_C_RECORDS_WINDOW,
		[DP_REC_ALERT] = DP_C_RECORDS_ALERT,
		[DP_REC_GAP] = DP_C_RECORDS_GAP,
		[DP_REC_MARK] = DP_C_RECORDS_MARK,
		[DP_REC_RAW] = DP_C_RECORDS_RAW,
	};
	uint64_t *after = p->run.after[worker];

	after[of_kind[rec->kind]]++;
	if (rec->kind == DP_REC_READING) {
		bool first = ((const struct dp_rec_reading *)rec)->group != 0;

		after[DP_C_RX_DATAGRAMS] += first;
		after[DP_C_DECODED_DATAGRAMS] += first;
		after[DP_C_DECODED_READINGS]++;
		after[DP_C_RECORDED]++;
		after[DP_C_REC_RECOVERED]++;
	}
}

/* ---- sensors ---- */

struct target {
	struct dp_worker_stream *ws;
	uint32_t slot;
	const struct dp_stream *then; /* by which the record was written */
};

static struct dp_sensor_id id_of(const struct dp_rec *rec)
{
	struct dp_sensor_id id = {.len = rec->id_len};

	memcpy(id.bytes, dp_rec_sensor(rec), rec->id_len);
	return id;
}

/* A raise too: the log may begin behind the readings before it, and those that follow need it. */
static bool makes_slot(const struct dp_rec *rec)
{
	return rec->kind == DP_REC_READING ||
	       (rec->kind == DP_REC_ALERT && ((const struct dp_rec_alert *)rec)->raised);
}

/* The slot of the record's sensor at its owner of today. */
static bool find_target(
	struct replayer *p, const struct dp_rec *rec, int32_t stream, struct target *t)
{
	struct dp_sensor_id id = id_of(rec);
	uint32_t owner = dp_owner(dp_sensor_key(&id), p->count);
	uint64_t hash;

	t->ws = &p->workers[owner].per_stream[stream];
	hash = dp_table_hash(&t->ws->table, &id);
	t->slot = dp_table_find(&t->ws->table, &id, hash);
	if (t->slot != DP_SLOT_NONE || !makes_slot(rec))
		return t->slot != DP_SLOT_NONE;
	t->slot = dp_table_add(&t->ws->table, &id, hash);
	if (t->slot == DP_SLOT_NONE)
		return false;
	dp_window_slot_init(&t->ws->windows, &t->ws->table, dp_table_slot(&t->ws->table, t->slot));
	dp_alert_slot_init(&t->ws->alerts, &t->ws->table, dp_table_slot(&t->ws->table, t->slot));
	dp_score_slot_init(&t->ws->table, dp_table_slot(&t->ws->table, t->slot));
	return true;
}

static void note_place(struct dp_slot *s, const struct dp_block *b, uint32_t index)
{
	s->pos_epoch = b->epoch;
	s->pos_sequence = b->sequence;
	s->pos_worker = b->worker;
	s->pos_index = index;
}

static void apply_reading(const struct target *t, const struct dp_rec_reading *r)
{
	struct dp_slot *s = dp_table_slot(&t->ws->table, t->slot);
	const float *values = dp_rec_values(r);

	/* in a slot that is not new: the mark that retired the old life was lost, with what it saw
	 */
	if (r->flags & DP_ROW_NEW_LIFE) {
		memset(s->seen, 0, sizeof(s->seen));
		s->readings = 0;
	}
	dp_window_replay_reading(&t->ws->windows, &t->ws->table, t->slot, r, values);
	dp_score_replay_reading(&t->ws->table, t->slot, r, values);
	dp_alert_replay_reading(&t->ws->alerts, &t->ws->table, t->slot, r, values, t->then);
	if ((r->flags & DP_ROW_NUMBERED) && r->group) {
		uint64_t seen = r->seen;

#ifdef DP_BREAK_BITMAP_WIDE /* tests/sim must notice: what never came would be refused */
		seen = ~0ull;
#endif
		dp_seen_restore(s, r->boot, r->seq, seen);
	}
	s->life = r->life;
	s->last_arrival_ns = s->last_steady_ns = r->arrival_ns;
	s->last_seq = r->seq;
	s->last_boot = r->boot;
	s->last_index = r->index;
	s->last_flags = r->flags;
	s->read_epoch = s->pos_epoch;
	s->read_sequence = s->pos_sequence;
	s->read_worker = s->pos_worker;
	s->read_index = s->pos_index;
	s->idle_closed = false;
	s->readings++;
}

static void apply(struct replayer *p, const struct target *t, const struct dp_rec *rec)
{
	struct dp_slot *s = dp_table_slot(&t->ws->table, t->slot);

	switch (rec->kind) {
	case DP_REC_READING:
		apply_reading(t, (const struct dp_rec_reading *)rec);
		p->out->readings++;
		break;
	case DP_REC_WINDOW: {
		const struct dp_rec_window *w = (const struct dp_rec_window *)rec;

#ifndef DP_BREAK_REPLAY_EMITS /* tests/sim must notice: the window would come out once more */
		dp_window_replay_close(&t->ws->windows, &t->ws->table, t->slot, w);
#endif
		dp_alert_replay_window(
			&t->ws->alerts, &t->ws->table, t->slot, w, dp_rec_stats(w), t->then);
		s->idle_closed = w->reason == DP_CLOSE_IDLE;
		break;
	}
	case DP_REC_ALERT:
		dp_alert_replay_alert(
			&t->ws->alerts, &t->ws->table, t->slot, (const struct dp_rec_alert *)rec);
		break;
	case DP_REC_MARK: /* of a sensor: retired */
		dp_table_remove(&t->ws->table, t->slot);
		break;
	}
}

static void sensor_record(struct replayer *p, const struct dp_reader_block *in, uint32_t index,
	const struct dp_rec *rec)
{
	int32_t stream = p->map[rec->stream];
	struct target t = {.then = &in->streams->streams[rec->stream]};

	if (stream >= 0 && find_target(p, rec, stream, &t)) {
		note_place(dp_table_slot(&t.ws->table, t.slot), in->block, index);
		apply(p, &t, rec);
	} else if (rec->kind == DP_REC_READING) {
		*(stream < 0 ? &p->out->dropped_schema : &p->out->dropped_limit) += 1;
		p->untold_schema += stream < 0;
	}
}

static int each_block(void *arg, const struct dp_reader_block *in)
{
	struct replayer *p = arg;
	const struct dp_block *b = in->block;
	const struct dp_rec *rec;
	size_t cursor = 0;
	uint32_t index = 0;
	bool bad = false;

	map_streams(p, in->streams);
	note_damage(p, p->counts.quarantined_records + p->unreadable);
	if (b->epoch != p->run.epoch) {
		close_run(p);
		p->run.epoch = b->epoch;
	}
	while ((rec = dp_block_next(b, in->streams, &cursor, &bad))) {
		count_after(p, b->worker, rec);
		if (rec->kind == DP_REC_MARK &&
			((const struct dp_rec_mark *)rec)->what != DP_MARK_RETIRED)
			take_mark(p, b->worker, (const struct dp_rec_mark *)rec);
		else if (rec->kind == DP_REC_GAP)
			take_gap(p, (const struct dp_rec_gap *)rec);
		else if (rec->kind != DP_REC_RAW && rec->id_len && rec->stream != DP_REC_NO_STREAM)
			sensor_record(p, in, index, rec);
		index++;
		p->out->records++;
	}
	p->out->blocks++;
	p->out->unreadable_blocks += bad;
	p->unreadable += b->record_count - index;
	return 0;
}

/* ---- afterwards ---- */

/*
 * The sums close by what is known: readings taken over but in no mark's or record's count left
 * neither trace nor promise, so they leave decoded; the gap record bounds how many they were.
 */
static void settle(uint64_t v[DP_COUNTER_COUNT])
{
	uint64_t disposed = v[DP_C_RECORDED] + v[DP_C_DUPLICATE];

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		if (strncmp(dp_counter_name(i), "dropped.", 8) == 0)
			disposed += v[i];
	v[DP_C_DECODED_READINGS] = disposed;
}

/* Most readings that can have been taken over and not yet been in the log when a run ended. */
static uint64_t crash_bound(const struct replayer *p)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < p->count; i++)
		n += p->workers[i].log.ring_bytes / sizeof(struct dp_rec_reading);
	return n;
}

static void append_gaps(struct replayer *p, const struct dp_recovery *r, const struct dp_now *now)
{
	const struct dp_append *a = &p->workers[0].append;
	struct dp_gap gap = {.stream = UINT16_MAX, .epoch = r->last_epoch};

	if (r->last_epoch && (!r->clean || p->out->readings_after_mark)) {
		gap.reason = DP_GAP_CRASH;
		gap.count = crash_bound(p);
		dp_append_gap(a, &gap, now);
	}
	if (p->untold_damage) {
		gap.reason = DP_GAP_DAMAGE;
		gap.count = p->untold_damage;
		dp_append_gap(a, &gap, now);
	}
	if (p->untold_schema) {
		gap.reason = DP_GAP_SCHEMA;
		gap.count = p->untold_schema;
		dp_append_gap(a, &gap, now);
	}
}

/* Damage behind the last block that was found shows only in what the log should hold. */
static void count_damage(struct replayer *p, const struct dp_recovery *r)
{
	uint64_t first = r->segment_count ? r->segments[0].records_before : r->records;
	uint64_t found = first + p->counts.records;

	note_damage(p, (r->records > found ? r->records - found : 0) + p->unreadable);
	p->out->damaged_regions = p->counts.damaged_regions;
	p->out->damage_new = p->untold_damage;
}

/* A raise of which no reading is left. */
static void drop_lifeless(struct dp_table *t)
{
	for (uint32_t slot = 0; slot < t->fresh; slot++) {
		const struct dp_slot *s = dp_table_slot(t, slot);

		if (s->used && !s->life)
			dp_table_remove(t, slot);
	}
}

struct silent {
	int64_t since_ns;
	uint32_t worker, slot;
};

static int by_silence(const void *one, const void *other)
{
	const struct silent *a = one, *b = other;

	if (a->since_ns != b->since_ns)
		return a->since_ns < b->since_ns ? -1 : 1;
	if (a->worker != b->worker)
		return a->worker < b->worker ? -1 : 1;
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static void list_silent(const struct replayer *p, uint32_t stream, struct silent *list)
{
	for (uint32_t w = 0; w < p->count; w++) {
		const struct dp_table *t = &p->workers[w].per_stream[stream].table;

		for (uint32_t slot = 0; slot < t->fresh; slot++)
			if (dp_table_slot(t, slot)->used)
				*list++ = (struct silent){
					dp_table_slot(t, slot)->last_steady_ns, w, slot};
	}
}

/*
 * The bound holds only here: in the log, which goes by worker, a new sensor may stand before the
 * mark of the one whose place it has. Where it was lowered, or a crash took that mark, the longest
 * silent go.
 */
static int drop_surplus(struct replayer *p, uint32_t stream)
{
	uint64_t max = p->workers[0].per_stream[stream].admit.places->max, used = 0;
	struct silent *list;

	for (uint32_t w = 0; w < p->count; w++)
		used += p->workers[w].per_stream[stream].table.slots_used;
	if (used <= max)
		return 0;
	list = calloc(used, sizeof(*list));
	if (!list)
		return -ENOMEM;
	list_silent(p, stream, list);
	qsort(list, used, sizeof(*list), by_silence);
	for (uint64_t i = 0; i < used - max; i++) {
		struct dp_table *t = &p->workers[list[i].worker].per_stream[stream].table;

		p->out->dropped_limit += dp_table_slot(t, list[i].slot)->readings;
		dp_table_remove(t, list[i].slot);
	}
	free(list);
	return 0;
}

static int drop_what_cannot_stay(struct replayer *p)
{
	int err = 0;

	for (uint32_t i = 0; i < p->streams->count && !err; i++) {
		for (uint32_t w = 0; w < p->count; w++)
			drop_lifeless(&p->workers[w].per_stream[i].table);
		err = drop_surplus(p, i);
	}
	return err;
}

static uint64_t arm_all(struct dp_worker *w, const struct dp_now *now)
{
	uint64_t sensors = 0;

	for (uint32_t i = 0; i < w->streams->count; i++) {
		struct dp_table *t = &w->per_stream[i].table;

		for (uint32_t slot = 0; slot < t->fresh; slot++) {
			struct dp_slot *s = dp_table_slot(t, slot);
			bool room;

			if (!s->used)
				continue;
			room = dp_place_take(w->per_stream[i].admit.places);
			assert(room);
			(void)room;
			/* heard when the clock was ahead of today's: silent from now on */
			if (s->last_steady_ns > now->steady_ns)
				s->last_steady_ns = now->steady_ns;
			s->rearm = true;
			dp_table_arm(t, slot, now->steady_ns);
			sensors++;
		}
	}
	return sensors;
}

int dp_workers_replay(struct dp_worker *workers, uint32_t count, const struct dp_io *io,
	const struct dp_recovery *r, const struct dp_now *now, struct dp_replayed *out)
{
	struct replayer *p = calloc(1, sizeof(*p));
	int err;

	memset(out, 0, sizeof(*out));
	if (!p)
		return -ENOMEM;
	p->workers = workers;
	p->count = count;
	p->streams = workers[0].streams;
	p->out = out;
	err = dp_replay(io, r, each_block, p, &p->counts);
	err = err ? err : drop_what_cannot_stay(p);
	if (err) {
		free(p);
		return err;
	}
	for (uint32_t w = 0; w < DP_WORKERS_MAX; w++)
		out->readings_after_mark += p->run.after[w][DP_C_REC_RECOVERED];
	close_run(p);
	settle(p->before);
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		dp_count(&workers[0].counters, (enum dp_counter)i, p->before[i]);
	count_damage(p, r);
	append_gaps(p, r, now);
	for (uint32_t i = 0; i < count; i++)
		out->sensors += arm_all(&workers[i], now);
	free(p);
	return 0;
}
