#include "dataplane/core/floor.h"

#include "dataplane/core/worker.h"

enum { SLOTS_PER_LOOK = 512 };

static void restart(struct dp_floor *f, const struct dp_now *now)
{
	f->stream_at = f->slot_at = 0;
	f->found_end = 0;
	f->began_ns = now->real_ns;
	f->oldest_ns = INT64_MAX;
}

void dp_floor_init(struct dp_worker *w, const struct dp_now *now)
{
	w->floor = (struct dp_floor){0};
	restart(&w->floor, now);
}

static uint64_t log_end(const struct dp_worker *w)
{
	return w->log.open_at + (w->log.open ? w->log.open->bytes : 0);
}

/* What the ring has been freed of is durable. */
static bool durable(const struct dp_worker *w, uint64_t end)
{
	return atomic_load_explicit(&w->log.freed, memory_order_relaxed) >= end;
}

bool dp_floor_wants_mark(const struct dp_worker *w)
{
	return atomic_load_explicit(&w->log.serial, memory_order_relaxed) != w->floor.marked_serial;
}

void dp_floor_marked(struct dp_worker *w)
{
	struct dp_floor *f = &w->floor;

	/* It goes there or further: the writer never returns to an earlier segment. */
	f->marked_serial = atomic_load_explicit(&w->log.serial, memory_order_relaxed);
	if (f->pending_end)
		return;
	f->pending_serial = f->marked_serial;
	f->pending_end = log_end(w);
}

static void look_at_mark(struct dp_worker *w)
{
	struct dp_floor *f = &w->floor;

	if (!f->pending_end || !durable(w, f->pending_end))
		return;
	atomic_store_explicit(&w->log.marked_serial, f->pending_serial, memory_order_relaxed);
	f->pending_end = 0;
}

/* An alert raised behind the look's back was raised after it began. */
static void look_at_alerts(struct dp_worker *w, const struct dp_now *now)
{
	struct dp_floor *f = &w->floor;
	uint32_t budget = SLOTS_PER_LOOK;

	while (budget && f->stream_at < w->streams->count) {
		const struct dp_worker_stream *ws = &w->per_stream[f->stream_at];
		int64_t since_ns;

		if (!ws->table.stream->rule_count || f->slot_at == ws->table.fresh) {
			f->stream_at++;
			f->slot_at = 0;
			continue;
		}
		since_ns = dp_alert_needed_since(&ws->table, f->slot_at++);
		f->oldest_ns = since_ns < f->oldest_ns ? since_ns : f->oldest_ns;
		budget--;
	}
	if (f->stream_at < w->streams->count)
		return;
	/* A clear that a power cut takes would leave a raise without its sensor. */
	if (!f->found_end)
		f->found_end = log_end(w);
	if (!durable(w, f->found_end))
		return;
	atomic_store_explicit(&w->log.since_ns,
		f->oldest_ns < f->began_ns ? f->oldest_ns : f->began_ns, memory_order_relaxed);
	restart(f, now);
}

void dp_floor_look(struct dp_worker *w, const struct dp_now *now)
{
	look_at_mark(w);
	look_at_alerts(w, now);
}
