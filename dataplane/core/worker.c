/*
 * The whole path of a reading, in order, and the only file that knows it:
 *
 *   rx -> decode -> steer -> (ring) -> admit -> window -> alert -> log
 *
 * A turn takes one burst, decodes it into a batch per stream, gives away what others own, works off
 * what is ripe, fires what is due, seals what has waited long enough.
 */
#include "dataplane/core/worker.h"

#include <assert.h>
#include <string.h>

enum {
	TIMERS_PER_TURN = 64,
	RING_ROUNDS_PER_TURN = 4, /* of DP_BATCH_FLUSH rows and a datagram, from each ring */
	QUERY_SLOTS_PER_TURN = 512,
	DRAIN_NS = 500000000, /* most that a stop goes on reading from senders that do not */
	MARK_NS = 1000000000,
};

/* ---- the stages behind steer ---- */

static void fresh_slot(void *arg, struct dp_slot *s)
{
	struct dp_worker_stream *ws = arg;

	dp_window_slot_init(&ws->windows, &ws->table, s);
	dp_alert_slot_init(&ws->alerts, &ws->table, s);
	dp_score_slot_init(&ws->table, s);
}

/* The slot's next timer: idle close, missing data, retirement. */
static void arm(struct dp_worker_stream *ws, uint32_t slot, int64_t missing_due_ns)
{
	const struct dp_stream *stream = ws->table.stream;
	struct dp_slot *s = dp_table_slot(&ws->table, slot);
	int64_t due = s->last_steady_ns + stream->forget_ns;

	if (!s->idle_closed && s->last_steady_ns + stream->idle_ns < due)
		due = s->last_steady_ns + stream->idle_ns;
	if (missing_due_ns < due)
		due = missing_due_ns;
	dp_table_arm(&ws->table, slot, due);
}

/*
 * Arrival times of the rows' slots. A timer once armed is left alone: it fires early, finds that a
 * reading came, and is armed anew. That costs one firing per idle time instead of a list per
 * reading.
 */
static void touch(struct dp_worker_stream *ws, const struct dp_batch *b, int64_t steady_ns)
{
	for (uint32_t row = 0; row < b->count; row++) {
		struct dp_slot *s = dp_table_slot(&ws->table, b->slot[row]);

		s->last_arrival_ns = b->arrival_ns[row];
		s->last_steady_ns = steady_ns;
		if (s->rearm || s->timer_due == DP_TIME_NONE) {
			s->rearm = s->idle_closed = false;
			arm(ws, b->slot[row], steady_ns + ws->missing_ns);
		}
	}
}

static void count_batch(struct dp_worker *w, uint32_t rows)
{
	uint32_t bucket = 31u - (uint32_t)__builtin_clz(rows);
	_Atomic uint64_t *n =
		&w->batches[bucket < DP_BATCH_BUCKETS ? bucket : DP_BATCH_BUCKETS - 1];

	atomic_store_explicit(
		n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

static struct dp_brought brought(const struct dp_worker_stream *ws, const struct dp_batch *b)
{
	return (struct dp_brought){.table = &ws->table,
		.alerts = &ws->alerts,
		.batch = b,
		.closes = &ws->closes,
		.scores = &ws->scorer.scores,
		.events = &ws->events};
}

/* A batch of own readings, to its end. */
static void process(struct dp_worker *w, struct dp_batch *b, const struct dp_now *now)
{
	struct dp_worker_stream *ws = &w->per_stream[b->stream->index];
	struct dp_admit_fresh fresh = {.init = fresh_slot, .arg = ws};
	struct dp_brought what = brought(ws, b);

	if (!b->count)
		return;
	if (!dp_log_room(&w->log, b->count * dp_rec_bytes_max(b->stream))) {
		dp_count(&w->counters, DP_C_DROP_JOURNAL_FULL, b->count);
		b->count = 0;
		return;
	}
	count_batch(w, b->count);
	dp_admit(&ws->admit, b, now->steady_ns, &fresh);
	ws->closes.count = ws->closes.stats_used = ws->events.count = 0;
	dp_window_push(&ws->windows, &ws->table, b, &ws->closes);
	dp_score_push(&ws->scorer, &ws->table, b, &ws->closes);
	dp_alert_push(&ws->alerts, &ws->table, b, &ws->closes, &ws->scorer.scores, &ws->events);
	dp_append_batch(&w->append, &what, now);
	touch(ws, b, now->steady_ns);
	b->count = 0;
	dp_log_waits_since(&w->log, b->came_ns);
	dp_log_seal(&w->log, now->steady_ns, false);
}

/* ---- in front of it ---- */

static void steer_and_process(struct dp_worker *w, struct dp_batch *b, const struct dp_now *now)
{
	dp_steer_out(&w->peer, b, &w->counters);
	process(w, b, now);
}

/* One datagram into its batch; a batch that has become full goes on at once. */
static void decode(struct dp_worker *w, const struct dp_packet *p, const struct dp_now *now)
{
	const struct dp_input *in = &w->inputs[p->input];
	const uint8_t *end = p->data + p->bytes;
	uint16_t stream = in->stream;
	struct dp_batch *b;
	int n;

	dp_count(&w->counters, DP_C_RX_DATAGRAMS, 1);
	dp_count(&w->counters, DP_C_RX_BYTES, p->bytes);
	if (p->truncated) {
		dp_count(&w->counters, DP_C_REJ_OVERSIZE, 1);
		return;
	}
	if (in->format == DP_FORMAT_BINARY)
		n = dp_binary_decode(
			&w->decoded, p->data, end, now->real_ns, &w->counters, &stream);
	else
		n = dp_json_decode(
			w->json, &w->decoded, stream, p->data, end, now->real_ns, &w->counters);
	if (n < 0)
		return;
	b = &w->decoded.batches[stream];
	if (in->keep_raw) {
		const struct dp_payload payload = {
			p->data, p->bytes, stream, &b->id[b->count - (uint32_t)n]};

		dp_append_raw(&w->append, &payload, now);
	}
	if (b->count == (uint32_t)n) {
		b->oldest_ns = now->steady_ns;
		b->came_ns = now->steady_ns - w->gathered_ns;
	}
	if (b->count >= DP_BATCH_FLUSH)
		steer_and_process(w, b, now);
}

static uint32_t receive(struct dp_worker *w, const struct dp_now *now)
{
	struct dp_packet packets[DP_BURST_MAX];
	uint32_t n = w->source.ops->burst(w->source.ctx, packets, DP_BURST_MAX, &w->counters);

	for (uint32_t i = 0; i < n; i++) {
		if (i + 4 < n)
			__builtin_prefetch(packets[i + 4].data);
		decode(w, &packets[i], now);
	}
	if (n)
		w->source.ops->done(w->source.ctx, packets, n);
	return n;
}

/* Bounded, or a peer that is faster than this worker would keep it from all else. */
static uint32_t take_in(struct dp_worker *w, const struct dp_now *now)
{
	uint32_t rows = 0;

	for (uint32_t i = 0; i < w->workers; i++) {
		uint32_t n = i == w->index ? 0 : DP_BATCH_FLUSH;

		for (int round = 0; round < RING_ROUNDS_PER_TURN && n >= DP_BATCH_FLUSH; round++) {
			n = dp_steer_in(&w->from[i], w->taken, now->steady_ns);
			rows += n;
			for (uint32_t k = 0; k < w->streams->count; k++)
				if (w->taken[k].count >= DP_BATCH_FLUSH)
					process(w, &w->taken[k], now);
		}
	}
	return rows;
}

/* Batches that have waited long enough, or all when nothing came. */
static void flush(struct dp_worker *w, bool all, const struct dp_now *now)
{
	uint32_t woken;

	for (uint32_t i = 0; i < w->streams->count; i++) {
		struct dp_batch *b = &w->decoded.batches[i];

		if (b->count && (all || now->steady_ns - b->oldest_ns >= DP_BATCH_WAIT_NS))
			steer_and_process(w, b, now);
		b = &w->taken[i];
		if (b->count && (all || now->steady_ns - b->oldest_ns >= DP_BATCH_WAIT_NS))
			process(w, b, now);
	}
	woken = dp_steer_publish(&w->peer);
	for (; woken; woken &= woken - 1)
		w->hooks.wake_worker(w->hooks.arg, (uint32_t)__builtin_ctz(woken));
}

/* ---- timers ---- */

static void fire(
	struct dp_worker *w, struct dp_worker_stream *ws, uint32_t slot, const struct dp_now *now)
{
	const struct dp_stream *stream = ws->table.stream;
	struct dp_slot *s = dp_table_slot(&ws->table, slot);
	struct dp_brought what = brought(ws, NULL);
	int64_t silent = now->steady_ns - s->last_steady_ns, missing_due;
	bool forget = silent >= stream->forget_ns;

	ws->closes.count = ws->closes.stats_used = ws->events.count = 0;
	if (!s->idle_closed && (forget || silent >= stream->idle_ns)) {
		dp_window_close_all(&ws->windows, &ws->table, slot,
			forget ? DP_CLOSE_RETIRED : DP_CLOSE_IDLE, &ws->closes);
		s->idle_closed = true;
		dp_score_closes(&ws->scorer, &ws->closes);
		dp_alert_closes(
			&ws->alerts, &ws->table, &ws->closes, &ws->scorer.scores, &ws->events);
	}
	missing_due = dp_alert_timer(&ws->alerts, &ws->table, slot, now->steady_ns, &ws->events);
	s->rearm = true;
	if (!forget) {
		dp_append_timer(&w->append, &what, now);
		arm(ws, slot, missing_due);
		return;
	}
	dp_alert_clear_all(&ws->alerts, &ws->table, slot, &ws->events);
	dp_append_retired(&w->append, &what, slot, now);
	dp_table_remove(&ws->table, slot);
	dp_place_give(ws->admit.places);
}

static bool fire_due(struct dp_worker *w, const struct dp_now *now)
{
	bool any = false;

	for (uint32_t i = 0; i < w->streams->count; i++) {
		struct dp_worker_stream *ws = &w->per_stream[i];
		size_t need = 2 * dp_rec_bytes_max(ws->table.stream) + dp_append_small_bytes();

		for (uint32_t n = 0; n < TIMERS_PER_TURN; n++) {
			uint32_t slot;

			if (ws->table.armed && dp_table_deadline(&ws->table) > now->steady_ns)
				break;
			if (!dp_log_room(&w->log, need))
				return any; /* facts wait for the journal, they are never dropped */
			slot = dp_table_due(&ws->table, now->steady_ns);
			if (slot == DP_SLOT_NONE) { /* or looked at enough for one turn */
				any |= dp_table_deadline(&ws->table) <= now->steady_ns;
				break;
			}
			fire(w, ws, slot, now);
			any = true;
		}
	}
	return any;
}

static uint64_t counter_sum(const struct dp_worker *w)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		sum += dp_counted(&w->counters, i);
	return sum;
}

/* One worker tells for all; the writer counts only in its log. */
static void tell_expired(struct dp_worker *w, const struct dp_now *now)
{
	uint64_t expired = atomic_load_explicit(&w->log.expired, memory_order_relaxed);
	struct dp_gap gap = {
		.reason = DP_GAP_EXPIRED, .count = expired - w->expired_told, .stream = UINT16_MAX};

	if (gap.count == 0 || !dp_log_room(&w->log, 2 * dp_append_small_bytes()))
		return;
	dp_append_gap(&w->append, &gap, now);
	w->expired_told = expired;
}

/*
 * Each second if anything was counted or a new segment was begun; when the journal cannot take it,
 * as soon as it can.
 */
static void mark(struct dp_worker *w, const struct dp_now *now, bool at_once)
{
	bool first = w->mark_due_ns == 0;

	if (!at_once && now->steady_ns < w->mark_due_ns)
		return;
	tell_expired(w, now);
	if (!dp_log_room(&w->log, dp_append_small_bytes()))
		return;
	if (first || counter_sum(w) != w->mark_sum || dp_floor_wants_mark(w)) {
		dp_append_mark(&w->append, first ? DP_MARK_START : DP_MARK_COUNTERS, now);
		dp_floor_marked(w);
		w->mark_sum = counter_sum(w);
	}
	dp_floor_look(w, now);
	w->mark_due_ns = now->steady_ns + MARK_NS;
}

/* ---- control's questions ---- */

static void offer(struct dp_sensor_query *q, const struct dp_sensor_view *v)
{
	uint32_t at = q->count;

	if (at == q->max && v->readings <= q->views[at - 1].readings)
		return;
	if (at < q->max)
		q->count++;
	else
		at--;
	for (; at > 0 && q->views[at - 1].readings < v->readings; at--)
		q->views[at] = q->views[at - 1];
	q->views[at] = *v;
}

static void answer(struct dp_worker *w)
{
	/* Q1: pairs with the release of the post, the question's fields are written */
	struct dp_sensor_query *q = atomic_load_explicit(&w->query, memory_order_acquire);
	uint32_t budget = QUERY_SLOTS_PER_TURN;

	while (budget && q->stream_at < w->streams->count) {
		const struct dp_table *t = &w->per_stream[q->stream_at].table;

		for (; q->slot_at < t->fresh && budget; q->slot_at++, budget--) {
			const struct dp_slot *s = dp_table_slot(t, q->slot_at);
			struct dp_sensor_view v = {.id = s->id,
				.stream = t->stream->index,
				.last_flags = s->last_flags,
				.raised = s->raised,
				.worker = w->index,
				.readings = s->readings,
				.last_arrival_ns = s->last_arrival_ns,
				.watermark = s->watermark};

			if (!s->used || (q->one_stream && q->stream != v.stream))
				continue;
			q->seen++;
			if (q->id.len == 0 || memcmp(&q->id, &s->id, sizeof(q->id)) == 0)
				offer(q, &v);
		}
		if (q->slot_at < t->fresh)
			return;
		q->stream_at++;
		q->slot_at = 0;
	}
	if (q->stream_at == w->streams->count) {
		atomic_store_explicit(&w->query, NULL, memory_order_relaxed);
		/* Q2: control frees the question after it has seen this */
		atomic_store_explicit(&q->done, true, memory_order_release);
	}
}

/* ---- the turn ---- */

static bool rings_empty(const struct dp_worker *w)
{
	return !dp_worker_has_input(w);
}

/* What a stop asks for; true while there is something left to do. */
static bool stopping(struct dp_worker *w, uint32_t phase, bool found, const struct dp_now *now)
{
	uint32_t reached = atomic_load_explicit(&w->phase_reached, memory_order_relaxed);

	/* with nothing found the flush has worked off every batch */
	if (phase != DP_WORKER_RUN && reached < phase && (found || !rings_empty(w)))
		return true;
	if (phase == DP_WORKER_DRAIN && reached < DP_WORKER_DRAIN)
		atomic_store_explicit(&w->phase_reached, DP_WORKER_DRAIN, memory_order_release);
	if (phase == DP_WORKER_FINISH && reached < DP_WORKER_FINISH) {
		if (!dp_log_room(&w->log, dp_append_small_bytes()))
			return true;
		mark(w, now, true);
		if (dp_log_seal(&w->log, now->steady_ns, true))
			w->hooks.wake_writer(w->hooks.arg);
		atomic_store_explicit(&w->phase_reached, DP_WORKER_FINISH, memory_order_release);
	}
	return false;
}

static bool may_receive(struct dp_worker *w, uint32_t phase, const struct dp_now *now)
{
	if (phase == DP_WORKER_RUN)
		return true;
	if (!w->drain_until_ns)
		w->drain_until_ns = now->steady_ns + DRAIN_NS;
	return phase == DP_WORKER_DRAIN && now->steady_ns < w->drain_until_ns &&
	       atomic_load_explicit(&w->phase_reached, memory_order_relaxed) < DP_WORKER_DRAIN;
}

bool dp_worker_turn(struct dp_worker *w, const struct dp_now *now)
{
	uint32_t phase = atomic_load_explicit(&w->phase, memory_order_acquire);
	uint64_t sealed = atomic_load_explicit(&w->log.sealed, memory_order_relaxed);
	uint32_t packets, rows;
	bool busy;

	if (atomic_load_explicit(&w->phase_reached, memory_order_relaxed) == DP_WORKER_FINISH)
		return false;
	packets = may_receive(w, phase, now) ? receive(w, now) : 0;
	rows = take_in(w, now);
	flush(w, packets == 0, now);
	busy = fire_due(w, now) || packets || rows;
	mark(w, now, false);
	if (atomic_load_explicit(&w->query, memory_order_relaxed))
		answer(w);
	dp_log_seal(&w->log, now->steady_ns, false);
	busy |= stopping(w, phase, packets || rows, now);
	if (atomic_load_explicit(&w->log.sealed, memory_order_relaxed) != sealed)
		w->hooks.wake_writer(w->hooks.arg);
	return busy || atomic_load_explicit(&w->query, memory_order_relaxed);
}

int64_t dp_worker_deadline(const struct dp_worker *w)
{
	int64_t due = w->mark_due_ns;

	if (w->log.open && w->log.open->record_count && w->log.opened_ns + w->log.linger_ns < due)
		due = w->log.opened_ns + w->log.linger_ns;
	for (uint32_t i = 0; i < w->streams->count; i++) {
		int64_t t = dp_table_deadline(&w->per_stream[i].table);

		due = t < due ? t : due;
	}
	return due;
}

bool dp_worker_has_input(const struct dp_worker *w)
{
	for (uint32_t i = 0; i < w->workers; i++)
		if (i != w->index && !dp_ring_empty(&w->from[i]))
			return true;
	return false;
}
