/* The writer's beginning and end: its first segment, the seal of its last. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"
#include "dataplane/journal/writer_impl.h"

enum { MEMORY_BYTES = 256 << 20, MEMORY_SEGMENTS = 4 };

/* Most blocks that the rings can hold: each takes a page at least. */
static uint64_t blocks_max(const struct dp_writer_setup *setup)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < setup->log_count; i++)
		pages += setup->logs[i]->ring_bytes / DP_DISK_ALIGN;
	return pages;
}

/* The largest block must find its place in an empty segment. */
static bool blocks_fit(const struct dp_writer *w)
{
	size_t head =
		2 * dp_rec_pad(sizeof(struct dp_segment_head) + w->schema.size, DP_DISK_ALIGN);

	for (uint32_t i = 0; i < w->log_count; i++)
		if (head + w->logs[i]->block_max + dp_footer_disk_bytes(1) >
			w->config.segment_bytes)
			return false;
	return true;
}

static int take_schema(struct dp_writer *w, const struct dp_stream_set *streams)
{
	size_t bytes = dp_schema_write(streams, NULL, 0);
	char *buf = malloc(bytes);

	if (!buf)
		return -ENOMEM;
	dp_schema_write(streams, buf, bytes);
	w->schema = (struct dp_segment_schema){buf, bytes, dp_schema_hash(streams)};
	return bytes > DP_SCHEMA_BYTES_MAX ? -EMSGSIZE : 0;
}

static int take_recovery(struct dp_writer *w, const struct dp_recovery *r)
{
	w->appliance = r->appliance;
	w->epoch = r->epoch;
	w->next_serial = r->next_serial;
	w->records = w->records_durable = r->records;
	w->durable_lp = r->end_lp;
	w->old_max = r->segment_count + 64;
	w->old = malloc(w->old_max * sizeof(*w->old));
	if (!w->old)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_recovered_segment *s = &r->segments[i];

		w->old[w->old_count++] = (struct dp_old_segment){
			s->serial, s->bytes, s->records_before, s->records_after, s->last_ns};
		w->old_bytes += s->bytes;
	}
	atomic_init(&w->stats.durable, r->end_lp);
	atomic_init(&w->stats.readable, r->end_lp);
	atomic_init(&w->stats.records, r->records);
	return 0;
}

/* Room for the next segment while outputs still read in others, however large they are. */
static uint64_t memory_bytes_max(uint64_t segment_bytes)
{
	uint64_t n = MEMORY_SEGMENTS * segment_bytes;

	return n > MEMORY_BYTES ? n : MEMORY_BYTES;
}

static int set_up(struct dp_writer *w, const struct dp_writer_setup *setup)
{
	int rc = take_schema(w, setup->streams);

	w->config.segment_bytes &= ~(uint64_t)(DP_DISK_ALIGN - 1);
	if (rc == 0)
		rc = take_recovery(w, setup->recovery);
	if (rc)
		return rc;
	if (w->config.sync == DP_SYNC_OFF) {
		w->config.retention_ns = 0;
		if (w->config.bytes_max == 0)
			w->config.bytes_max = memory_bytes_max(w->config.segment_bytes);
	}
	if (w->config.segment_bytes < DP_SEGMENT_BYTES_MIN ||
		w->config.segment_bytes > DP_SEGMENT_BYTES_MAX || !blocks_fit(w))
		return -EINVAL;
	w->taken_max = blocks_max(setup);
	w->taken = calloc(w->taken_max, sizeof(*w->taken));
	w->current.entries =
		calloc(w->config.segment_bytes / DP_DISK_ALIGN, sizeof(*w->current.entries));
	return w->taken && w->current.entries ? 0 : -ENOMEM;
}

/*
 * The first segment, waited for.  A disk that is full is no reason not to start: outputs may be
 * about to make room.
 */
static int make_first(struct dp_writer *w, const struct dp_now *now)
{
	int rc;

	w->phase = DP_PHASE_MAKE;
	/* Nobody has said yet what he needs: nothing is freed. */
	w->free_not_before_ns = INT64_MAX;
	while (dp_writer_make_next(w, now))
		;
	w->free_not_before_ns = now->steady_ns;
	if (w->next.handle < 0 || w->next.zeroed < w->config.segment_bytes) {
		if (atomic_load_explicit(&w->stats.state, memory_order_relaxed) == DP_WRITER_FULL)
			return 0;
		return -(int)atomic_load_explicit(&w->stats.error, memory_order_relaxed);
	}
	rc = dp_writer_head(w, now);
	if (rc == 0)
		rc = w->io.ops->sync(w->io.ctx, w->next.handle);
	if (rc == 0)
		rc = dp_writer_install(w);
	if (rc)
		dp_writer_drop_next(w);
	return rc;
}

int dp_writer_new(
	const struct dp_writer_setup *setup, const struct dp_now *now, struct dp_writer **out)
{
	struct dp_writer *w;
	int rc;

	if (setup->log_count == 0 || setup->log_count > DP_WORKERS_MAX)
		return -EINVAL;
	w = aligned_alloc(_Alignof(struct dp_writer), sizeof(*w));
	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->config = setup->config;
	w->io = setup->io;
	w->logs = setup->logs;
	w->log_count = setup->log_count;
	w->current.handle = w->next.handle = -1;
	w->backoff_ns = DP_WRITER_BACKOFF_NS;
	for (uint32_t i = 0; i < DP_OUTPUTS_MAX; i++)
		atomic_init(&w->need[i], UINT64_MAX);
	rc = set_up(w, setup);
	if (rc == 0)
		rc = make_first(w, now);
	if (rc) {
		dp_writer_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void dp_writer_free(struct dp_writer *w)
{
	if (w->current.handle >= 0)
		w->io.ops->close(w->io.ctx, w->current.handle);
	if (w->next.handle >= 0)
		w->io.ops->close(w->io.ctx, w->next.handle);
	free(w->current.entries);
	free(w->taken);
	free(w->old);
	free((void *)w->schema.bytes);
	free(w);
}

int dp_writer_close(struct dp_writer *w, const struct dp_now *now)
{
	int rc = 0;

	if (!dp_writer_idle(w))
		return -EBUSY;
	dp_writer_drop_next(w);
	if (w->current.handle < 0)
		return 0;
	rc = dp_writer_footer(w, DP_FOOTER_ENDED, now);
	if (rc == 0)
		rc = w->io.ops->sync(w->io.ctx, w->current.handle);
	if (rc == 0)
		dp_writer_retire(w, now);
	return rc;
}
