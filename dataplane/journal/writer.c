/*
 * The writer: between the workers' log rings and the outputs, the only one that writes segments.
 *
 * Taken blocks stand in one queue until they are durable: durable | written | taken.  A group moves
 * `written`, a sync that held moves `durable` and releases the rings.  A failure moves `written`
 * back to `durable`: the same blocks go, in the same order, to a new segment.
 */
#include "dataplane/journal/writer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/writer_impl.h"

enum {
	GROUP_BLOCKS_MAX = 512,
	GROUP_BYTES_MAX = 8 << 20,
};

#define BACKOFF_MAX_NS DP_NS_PER_S

static void set(_Atomic uint64_t *to, uint64_t v)
{
	atomic_store_explicit(to, v, memory_order_relaxed);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	set(to, atomic_load_explicit(to, memory_order_relaxed) + n);
}

static struct dp_taken *taken_at(const struct dp_writer *w, uint64_t index)
{
	return &w->taken[index % w->taken_max];
}

void dp_writer_publish(struct dp_writer *w, uint64_t lp, uint64_t records)
{
	set(&w->stats.records, records);
	/* W1: pairs with the outputs' acquire; the bytes before it are in the file. */
	atomic_store_explicit(&w->stats.readable, lp, memory_order_release);
}

/* ---- taking and releasing ---- */

static void take_sealed(struct dp_writer *w)
{
	for (uint32_t i = 0; i < w->log_count; i++) {
		struct dp_block *b;

		while ((b = dp_log_take(w->logs[i]))) {
			/* A ring holds no more blocks than pages. */
			assert(w->taken_index - w->durable_index < w->taken_max);
			*taken_at(w, w->taken_index++) =
				(struct dp_taken){b, dp_log_taken(w->logs[i]), i};
		}
	}
}

static void release_durable(struct dp_writer *w, uint64_t up_to)
{
	uint64_t free_to[DP_WORKERS_MAX] = {0};
	bool moved[DP_WORKERS_MAX] = {false};

	for (; w->durable_index < up_to; w->durable_index++) {
		const struct dp_taken *t = taken_at(w, w->durable_index);

		free_to[t->log] = t->up_to;
		moved[t->log] = true;
	}
	for (uint32_t i = 0; i < w->log_count; i++)
		if (moved[i])
			dp_log_release(w->logs[i], free_to[i]);
}

/* More than half of a ring waits for the sync. */
static bool ring_presses(const struct dp_writer *w)
{
	for (uint32_t i = 0; i < w->log_count; i++) {
		const struct dp_log *log = w->logs[i];
		uint64_t held =
			dp_log_taken(log) - atomic_load_explicit(&log->freed, memory_order_relaxed);

		if (held > log->ring_bytes / 2)
			return true;
	}
	return false;
}

static bool rings_empty(const struct dp_writer *w)
{
	for (uint32_t i = 0; i < w->log_count; i++)
		if (atomic_load_explicit(&w->logs[i]->sealed, memory_order_acquire) !=
			dp_log_taken(w->logs[i]))
			return false;
	return true;
}

/* ---- failure ---- */

static void back_off(struct dp_writer *w, const struct dp_now *now)
{
	w->retry_at_ns = now->steady_ns + w->backoff_ns;
	w->backoff_ns = 2 * w->backoff_ns < BACKOFF_MAX_NS ? 2 * w->backoff_ns : BACKOFF_MAX_NS;
}

static bool no_room(int err)
{
	return err == -ENOSPC || err == -EDQUOT;
}

/*
 * Leaves the current segment as it is: what was synced of it stays, what lies behind that is
 * superseded by the next one, which takes the same blocks again.
 */
static void abandon(struct dp_writer *w, const struct dp_now *now)
{
	if (w->written_index > w->redo_until)
		w->redo_until = w->written_index;
	w->written_index = w->durable_index;
	w->records = w->records_durable;
	w->supersedes = w->durable_lp;
	if (w->current.handle >= 0)
		dp_writer_retire(w, now);
}

void dp_writer_fail(struct dp_writer *w, int err, const struct dp_now *now)
{
	if (w->syncing != DP_SYNC_OF_NOTHING) { /* its file is still in use */
		w->failed = err;
		return;
	}
	w->failed = 0;
	set(&w->stats.error, (uint64_t)-err);
	set(&w->stats.at_limit, w->at_limit && w->phase >= DP_PHASE_MAKE);
	if (no_room(err) && w->phase >= DP_PHASE_MAKE && w->durable_index >= w->redo_until) {
		set(&w->stats.state, DP_WRITER_FULL);
	} else {
		add(&w->stats.failures, 1);
		set(&w->stats.state, DP_WRITER_DEGRADED);
	}
	if (w->phase >= DP_PHASE_MAKE)
		dp_writer_drop_next(w);
	else
		abandon(w, now);
	w->phase = DP_PHASE_MAKE;
	back_off(w, now);
}

/* ---- syncs ---- */

void dp_writer_sync(struct dp_writer *w, int handle, enum dp_sync_of what, const struct dp_now *now)
{
	int rc = w->io.ops->sync_start(w->io.ctx, handle);

	if (rc) {
		dp_writer_fail(w, rc, now);
		return;
	}
	w->syncing = what;
	w->sync_started_ns = now->steady_ns;
	w->sync_index = w->written_index;
	w->sync_lp = DP_LP(w->current.serial, w->current.at);
	w->sync_records = w->records;
}

static void group_durable(struct dp_writer *w)
{
	release_durable(w, w->sync_index);
	w->records_durable = w->sync_records;
	w->durable_lp = w->sync_lp;
	set(&w->stats.durable, w->durable_lp);
	if (w->config.sync != DP_SYNC_LAZY)
		dp_writer_publish(w, w->durable_lp, w->records_durable);
	w->unsynced_since_ns = w->sync_started_ns; /* of what was written meanwhile */
	w->backoff_ns = DP_WRITER_BACKOFF_NS;
	if (w->durable_index >= w->redo_until)
		set(&w->stats.state, DP_WRITER_OK);
}

static void sync_held(struct dp_writer *w, enum dp_sync_of what, const struct dp_now *now)
{
	int rc = 0;

	switch (what) {
	case DP_SYNC_OF_NOTHING:
		break;
	case DP_SYNC_OF_GROUP:
		group_durable(w);
		break;
	case DP_SYNC_OF_FOOTER:
		dp_writer_retire(w, now);
		w->phase = DP_PHASE_MAKE;
		w->retry_at_ns = 0; /* making it ahead may have been refused */
		break;
	case DP_SYNC_OF_HEAD:
		rc = dp_writer_install(w);
		break;
	}
	if (rc)
		dp_writer_fail(w, rc, now);
}

/* Looks after the running sync. True: it has ended. */
static bool poll_sync(struct dp_writer *w, const struct dp_now *now)
{
	enum dp_sync_of what = w->syncing;
	uint64_t took = (uint64_t)(now->steady_ns - w->sync_started_ns);
	int rc;

	if (what == DP_SYNC_OF_NOTHING)
		return false;
	rc = w->io.ops->sync_poll(w->io.ctx);
	if (rc == -EAGAIN)
		return false;
	w->syncing = DP_SYNC_OF_NOTHING;
	add(&w->stats.syncs, 1);
	set(&w->stats.sync_ns_last, took);
	if (took > atomic_load_explicit(&w->stats.sync_ns_max, memory_order_relaxed))
		set(&w->stats.sync_ns_max, took);
	if (rc)
		dp_writer_fail(w, rc, now);
	else
		sync_held(w, what, now);
	/* A write failed meanwhile; in that segment nothing more. */
	if (w->failed)
		dp_writer_fail(w, w->failed, now);
	return true;
}

/* ---- groups ---- */

struct group {
	struct iovec iov[GROUP_BLOCKS_MAX];
	int iov_count;
	uint64_t bytes, padding, records, count;
};

/* Gives the next taken block its place. */
static void place_block(struct dp_writer *w, struct group *g, struct dp_block *b)
{
	struct dp_block_spot spot = {w->current.serial, w->current.at + g->bytes, w->current.salt};
	size_t bytes = dp_block_disk_bytes(b->bytes);
	struct iovec *last = g->iov_count ? &g->iov[g->iov_count - 1] : NULL;

	b->records_before = w->records + g->records;
	b->durable_lp = w->durable_lp;
	dp_block_finish(b, &spot);
	w->current.entries[w->current.entry_count + g->count] = dp_footer_entry(b);
	if (last && (char *)last->iov_base + last->iov_len == (char *)b)
		last->iov_len += bytes;
	else
		g->iov[g->iov_count++] = (struct iovec){b, bytes};
	g->bytes += bytes;
	g->padding += bytes - b->bytes;
	g->records += b->record_count;
	g->count++;
}

/* Everything taken that fits; at the segment's end phase becomes SEAL. */
static void gather(struct dp_writer *w, struct group *g)
{
	g->iov_count = 0;
	g->bytes = g->padding = g->records = g->count = 0;
	while (w->written_index + g->count < w->taken_index && g->iov_count < GROUP_BLOCKS_MAX &&
		g->bytes < GROUP_BYTES_MAX) {
		struct dp_block *b = taken_at(w, w->written_index + g->count)->block;
		uint64_t end = w->current.at + g->bytes + dp_block_disk_bytes(b->bytes);
		uint32_t blocks = w->current.entry_count + (uint32_t)g->count + 1;

		if (end + dp_footer_disk_bytes(blocks) > w->config.segment_bytes) {
			w->phase = DP_PHASE_SEAL;
			break;
		}
		place_block(w, g, b);
	}
}

static bool write_group(struct dp_writer *w, const struct dp_now *now)
{
	struct group g;
	int rc;

	gather(w, &g);
	if (g.count == 0)
		return false;
	rc = w->io.ops->pwritev(w->io.ctx, w->current.handle, g.iov, g.iov_count, w->current.at);
	if (rc) {
		dp_writer_fail(w, rc, now);
		return true;
	}
	if (w->written_index == w->durable_index)
		w->unsynced_since_ns = now->steady_ns;
	w->current.at += g.bytes;
	w->current.entry_count += (uint32_t)g.count;
	w->written_index += g.count;
	w->records += g.records;
#ifdef DP_BREAK_RELEASE_EARLY /* tests/sim must notice: what was not synced is lost */
	release_durable(w, w->written_index);
#endif
	add(&w->stats.groups, 1);
	add(&w->stats.blocks, g.count);
	add(&w->stats.bytes, g.bytes - g.padding);
	add(&w->stats.padding_bytes, g.padding);
	/* What readers had seen in a segment that failed must be here again before they come. */
	if (w->config.sync == DP_SYNC_LAZY && w->written_index >= w->redo_until)
		dp_writer_publish(w, DP_LP(w->current.serial, w->current.at), w->records);
	return true;
}

/* What lazy lets gather before a sync; nothing when the writer is to come to its end. */
static int64_t sync_interval(const struct dp_writer *w)
{
	return atomic_load_explicit(&w->drain, memory_order_relaxed) ? 0
								     : w->config.sync_interval_ns;
}

static bool sync_due(const struct dp_writer *w, const struct dp_now *now)
{
	if (w->syncing != DP_SYNC_OF_NOTHING || w->written_index == w->durable_index)
		return false;
	return w->config.sync != DP_SYNC_LAZY || w->written_index <= w->redo_until ||
	       now->steady_ns - w->unsynced_since_ns >= sync_interval(w) || ring_presses(w);
}

static bool run(struct dp_writer *w, const struct dp_now *now)
{
	bool did = false;

	take_sealed(w);
	/* While the one sync of `always` runs, the next group gathers. */
	if (w->syncing == DP_SYNC_OF_NOTHING || w->config.sync == DP_SYNC_LAZY)
		did = write_group(w, now);
	if (w->phase != DP_PHASE_RUN || w->failed)
		return true;
	if (sync_due(w, now)) {
		dp_writer_sync(w, w->current.handle, DP_SYNC_OF_GROUP, now);
		did = true;
	}
	return did;
}

/* A valid footer says that all blocks before it are durable: they are synced first. */
static bool seal(struct dp_writer *w, const struct dp_now *now)
{
	int rc;

	if (w->syncing != DP_SYNC_OF_NOTHING)
		return false;
	if (w->written_index != w->durable_index) {
		dp_writer_sync(w, w->current.handle, DP_SYNC_OF_GROUP, now);
		return true;
	}
	rc = dp_writer_footer(w, 0, now);
	if (rc) {
		dp_writer_fail(w, rc, now);
		return true;
	}
	w->phase = DP_PHASE_FOOTER;
	dp_writer_sync(w, w->current.handle, DP_SYNC_OF_FOOTER, now);
	return true;
}

static bool make(struct dp_writer *w, const struct dp_now *now)
{
	int rc;

	if (now->steady_ns < w->retry_at_ns)
		return false;
	if (w->next.handle < 0 || w->next.zeroed < w->config.segment_bytes)
		return dp_writer_make_next(w, now);
	w->phase = DP_PHASE_HEAD;
	rc = dp_writer_head(w, now);
	if (rc)
		dp_writer_fail(w, rc, now);
	else
		dp_writer_sync(w, w->next.handle, DP_SYNC_OF_HEAD, now);
	return true;
}

bool dp_writer_step(struct dp_writer *w, const struct dp_now *now)
{
	bool did = poll_sync(w, now);

	if (w->failed) /* nothing more to that segment until its sync has ended */
		return did;
	switch (w->phase) {
	case DP_PHASE_RUN:
		did |= run(w, now);
		if (w->current.handle >= 0 && w->current.at > w->config.segment_bytes / 2 &&
			now->steady_ns >= w->retry_at_ns)
			did |= dp_writer_make_next(w, now);
		break;
	case DP_PHASE_SEAL:
		did |= seal(w, now);
		break;
	case DP_PHASE_MAKE:
		did |= make(w, now);
		break;
	case DP_PHASE_FOOTER:
	case DP_PHASE_HEAD:
		break;
	}
	return dp_writer_free_old(w, now) || did;
}

int64_t dp_writer_deadline(const struct dp_writer *w)
{
	int64_t at = w->old_count ? w->free_at_ns : INT64_MAX;
	int64_t due = INT64_MAX;

	if (w->phase == DP_PHASE_MAKE)
		due = w->retry_at_ns;
	else if (w->written_index != w->durable_index && w->syncing == DP_SYNC_OF_NOTHING)
		due = w->unsynced_since_ns + sync_interval(w);
	return due < at ? due : at;
}

void dp_writer_drain(struct dp_writer *w)
{
	/* whoever asks wakes the writer behind it */
	atomic_store_explicit(&w->drain, true, memory_order_relaxed);
}

bool dp_writer_idle(const struct dp_writer *w)
{
	return w->durable_index == w->taken_index && w->syncing == DP_SYNC_OF_NOTHING &&
	       rings_empty(w);
}

const struct dp_writer_stats *dp_writer_stats(const struct dp_writer *w)
{
	return &w->stats;
}

void dp_writer_need(struct dp_writer *w, uint32_t slot, uint64_t serial)
{
	assert(slot < DP_OUTPUTS_MAX);
	/* W2: pairs with the acquire in writer_switch.c; whoever frees comes after our reading. */
	atomic_store_explicit(&w->need[slot], serial, memory_order_release);
}
