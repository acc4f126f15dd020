/*
 * The writer's segments: making the next one ahead, sealing the full one, freeing the old ones. The
 * next one is made under a temporary name and gets its own only when its header is durable, so that
 * every segment that has a name explains itself.
 */
#include "dataplane/journal/writer_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ZERO_STEP = 1 << 20 };

#define LOOK_NS	      (10 * DP_NS_PER_S) /* retention passes without anyone waking the writer */
#define FREE_AGAIN_NS DP_NS_PER_S

static const char next_name[] = "next.tmp";

static void set(_Atomic uint64_t *to, uint64_t v)
{
	atomic_store_explicit(to, v, memory_order_relaxed);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	set(to, atomic_load_explicit(to, memory_order_relaxed) + n);
}

static uint64_t bytes_total(const struct dp_writer *w)
{
	return w->old_bytes + (w->current.handle >= 0 ? w->current.bytes : 0) +
	       (w->next.handle >= 0 ? w->config.segment_bytes : 0);
}

static void show_segments(struct dp_writer *w)
{
	uint64_t current = w->current.handle >= 0 ? w->current.serial : 0;
	uint64_t newest_old = w->old_count ? w->old[w->old_count - 1].serial : 0;

	set(&w->stats.oldest_serial, w->old_count ? w->old[0].serial : current);
	set(&w->stats.newest_serial, current ? current : newest_old);
	set(&w->stats.segment_bytes_total, bytes_total(w));
}

/* ---- freeing ---- */

static uint64_t lowest_need(const struct dp_writer *w)
{
	uint64_t low = UINT64_MAX;

	for (uint32_t i = 0; i < DP_OUTPUTS_MAX; i++) {
		/* W2: pairs with dp_writer_need. */
		uint64_t need = atomic_load_explicit(&w->need[i], memory_order_acquire);

		low = need < low ? need : low;
	}
	return low;
}

/* A start would bring back less without it: counters, sensors that have open alerts. */
static bool replay_needs(const struct dp_writer *w, const struct dp_old_segment *s)
{
	if (w->config.sync == DP_SYNC_OFF) /* no start finds it */
		return false;
	for (uint32_t i = 0; i < w->log_count; i++) {
		struct dp_log *log = w->logs[i];

		if (s->serial >= atomic_load_explicit(&log->marked_serial, memory_order_relaxed) ||
			s->last_ns >= atomic_load_explicit(&log->since_ns, memory_order_relaxed))
			return true;
	}
	return false;
}

/* What may have to be read again, or written again, is never freed. */
static bool behind_all(const struct dp_writer *w, const struct dp_old_segment *s)
{
	return s->serial < DP_LP_SERIAL(w->durable_lp);
}

/*
 * Nothing but a sync keeps two changes of a directory in their order: without one a power cut might
 * take a later segment and leave an earlier, and the log would have a hole.
 */
static int unlink_segment(struct dp_writer *w, uint64_t serial)
{
	char name[DP_SEGMENT_NAME_BYTES];
	int rc = w->unlinked ? w->io.ops->sync_dir(w->io.ctx) : 0;

	if (rc)
		return rc;
	w->unlinked = true;
	dp_segment_name(name, serial);
	rc = w->io.ops->unlink(w->io.ctx, name);
	return rc == -ENOENT ? 0 : rc;
}

static bool free_oldest(struct dp_writer *w, const struct dp_now *now)
{
	struct dp_old_segment s = w->old[0];
	int rc;

	if (now->steady_ns < w->free_not_before_ns)
		return false;
	rc = unlink_segment(w, s.serial);
	if (rc) {
		set(&w->stats.error, (uint64_t)-rc);
		set(&w->stats.at_limit, 0);
		w->free_not_before_ns = now->steady_ns + FREE_AGAIN_NS;
		return false;
	}
	if (replay_needs(w, &s))
		add(&w->stats.segments_freed_early, 1);
	if (s.serial >= lowest_need(w)) {
		add(&w->stats.expired_records, s.records_after - s.records_before);
		add(&w->logs[0]->expired, s.records_after - s.records_before);
	}
	w->old_bytes -= s.bytes;
	memmove(w->old, w->old + 1, --w->old_count * sizeof(*w->old));
	add(&w->stats.segments_freed, 1);
	show_segments(w);
	return true;
}

bool dp_writer_free_old(struct dp_writer *w, const struct dp_now *now)
{
	const struct dp_old_segment *s = w->old;

	w->free_at_ns = now->steady_ns + LOOK_NS;
	if (w->old_count == 0 || !behind_all(w, s) || s->serial >= lowest_need(w))
		return false;
	if ((now->real_ns - s->last_ns < w->config.retention_ns || replay_needs(w, s)) &&
		(w->config.bytes_max == 0 || bytes_total(w) <= w->config.bytes_max))
		return false;
	return free_oldest(w, now);
}

/*
 * Room is short: neither retention nor what only a start would need counts any more, and by config
 * neither do the outputs.
 */
static bool make_room(struct dp_writer *w, const struct dp_now *now)
{
	if (w->old_count == 0 || !behind_all(w, w->old))
		return false;
	if (w->old[0].serial >= lowest_need(w) &&
		(w->config.on_full != DP_FULL_DROP_OLDEST || w->phase != DP_PHASE_MAKE))
		return false;
	return free_oldest(w, now);
}

/* ---- the next segment ---- */

void dp_writer_drop_next(struct dp_writer *w)
{
	char name[DP_SEGMENT_NAME_BYTES];

	if (w->next.handle < 0)
		return;
	w->io.ops->close(w->io.ctx, w->next.handle);
	w->io.ops->unlink(w->io.ctx, next_name);
	if (w->next.head.serial) {
		/* Whether the failed rename took place is not known. */
		dp_segment_name(name, w->next.head.serial);
		w->io.ops->unlink(w->io.ctx, name);
	}
	w->next = (struct dp_next){.handle = -1};
}

/* The next segment cannot be made now. Only who waits for it is in trouble. */
static bool next_refused(struct dp_writer *w, int err, const struct dp_now *now)
{
	dp_writer_drop_next(w);
	if ((err == -ENOSPC || err == -EDQUOT) && w->phase == DP_PHASE_MAKE && make_room(w, now))
		return true;
	if (w->phase == DP_PHASE_MAKE)
		dp_writer_fail(w, err, now);
	else
		w->retry_at_ns = now->steady_ns + FREE_AGAIN_NS;
	return false;
}

static int open_next(struct dp_writer *w)
{
	int rc = w->io.ops->unlink(w->io.ctx, next_name);

	if (rc && rc != -ENOENT)
		return rc;
	rc = w->io.ops->open(w->io.ctx, next_name, DP_IO_READ | DP_IO_WRITE | DP_IO_CREATE);
	if (rc < 0)
		return rc;
	w->next = (struct dp_next){.handle = rc};
	return 0;
}

bool dp_writer_make_next(struct dp_writer *w, const struct dp_now *now)
{
	uint64_t left = w->config.segment_bytes - w->next.zeroed;
	int rc = 0;

	if (w->next.handle < 0) {
		w->at_limit = w->config.bytes_max &&
			      bytes_total(w) + w->config.segment_bytes > w->config.bytes_max;
		if (w->at_limit)
			return make_room(w, now) || next_refused(w, -ENOSPC, now);
		rc = open_next(w);
		left = w->config.segment_bytes;
	}
	if (left == 0)
		return false;
	if (rc == 0) {
		w->next.zeroed += left < ZERO_STEP ? left : ZERO_STEP;
		rc = w->io.ops->zero(w->io.ctx, w->next.handle, w->next.zeroed);
	}
	return rc ? next_refused(w, rc, now) : true;
}

int dp_writer_head(struct dp_writer *w, const struct dp_now *now)
{
	struct dp_segment_head *h = &w->next.head;
	struct iovec iov;
	char *buf;
	size_t bytes;
	int rc;

	if (w->next_serial > UINT32_MAX) /* a log position has 32 bits for it */
		return -EOVERFLOW;
	*h = (struct dp_segment_head){
		.serial = w->next_serial++,
		.salt = dp_io_random(&w->io),
		.appliance = w->appliance,
		.epoch = w->epoch,
		.created_ns = now->real_ns,
		.segment_bytes = w->config.segment_bytes,
		.records_before = w->records_durable,
		.supersedes = w->supersedes,
	};
	rc = dp_segment_head_build(h, &w->schema, &buf, &bytes);
	if (rc)
		return rc;
	iov = (struct iovec){buf, bytes};
	rc = w->io.ops->pwritev(w->io.ctx, w->next.handle, &iov, 1, 0);
	free(buf);
	return rc;
}

/* So that retiring a segment needs no memory. */
static int reserve_old(struct dp_writer *w)
{
	uint32_t max = w->old_max ? 2 * w->old_max : 64;
	struct dp_old_segment *old;

	if (w->old_count < w->old_max)
		return 0;
	old = realloc(w->old, max * sizeof(*old));
	if (!old)
		return -ENOMEM;
	w->old = old;
	w->old_max = max;
	return 0;
}

int dp_writer_install(struct dp_writer *w)
{
	const struct dp_segment_head *h = &w->next.head;
	struct dp_current *c = &w->current;
	char name[DP_SEGMENT_NAME_BYTES];
	int rc = reserve_old(w);

	dp_segment_name(name, h->serial);
	if (rc == 0)
		rc = w->io.ops->rename(w->io.ctx, next_name, name);
	if (rc == 0)
		rc = w->io.ops->sync_dir(w->io.ctx);
	if (rc)
		return rc;
	w->unlinked = false;
	for (uint32_t i = 0; i < w->log_count; i++)
		set(&w->logs[i]->serial, h->serial);
	c->handle = w->next.handle;
	c->serial = h->serial;
	c->salt = h->salt;
	c->records_before = h->records_before;
	c->at = 2 * (uint64_t)h->copy_bytes;
	c->bytes = h->segment_bytes;
	c->entry_count = 0;
	w->next = (struct dp_next){.handle = -1};
	w->supersedes = 0;
	w->phase = DP_PHASE_RUN;
	/* Unless there is something to be redone, all that was written is durable. */
	if (w->durable_index >= w->redo_until) {
		w->durable_lp = DP_LP(c->serial, c->at);
		set(&w->stats.durable, w->durable_lp);
		dp_writer_publish(w, w->durable_lp, w->records_durable);
		set(&w->stats.state, DP_WRITER_OK);
	}
	add(&w->stats.segments_made, 1);
	show_segments(w);
	return 0;
}

/* ---- the full segment ---- */

int dp_writer_footer(struct dp_writer *w, uint16_t flags, const struct dp_now *now)
{
	struct dp_current *c = &w->current;
	size_t bytes = dp_footer_disk_bytes(c->entry_count);
	struct dp_footer f = {
		.serial = c->serial,
		.offset = c->at,
		.flags = flags,
		.records_after = w->records_durable,
		.block_count = c->entry_count,
		.sealed_ns = now->real_ns,
	};
	void *buf = aligned_alloc(DP_DISK_ALIGN, bytes);
	struct iovec iov = {buf, bytes};
	int rc;

	if (!buf)
		return -ENOMEM;
	dp_footer_build(&f, c->entries, c->salt, buf);
	rc = w->io.ops->pwritev(w->io.ctx, c->handle, &iov, 1, c->at);
	free(buf);
	/* A file that is not cut is only longer. */
	if (rc == 0 && w->io.ops->truncate(w->io.ctx, c->handle, c->at + bytes) == 0)
		c->bytes = c->at + bytes;
	return rc;
}

void dp_writer_retire(struct dp_writer *w, const struct dp_now *now)
{
	struct dp_current *c = &w->current;

	w->io.ops->close(w->io.ctx, c->handle);
	w->old[w->old_count++] = (struct dp_old_segment){
		.serial = c->serial,
		.bytes = c->bytes,
		.records_before = c->records_before,
		.records_after = w->records_durable,
		.last_ns = now->real_ns,
	};
	w->old_bytes += c->bytes;
	c->handle = -1;
	show_segments(w);
}
