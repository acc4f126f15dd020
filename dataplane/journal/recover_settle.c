/*
 * Recovery, third part: makes the directory so that readers need not know what happened.  Every
 * step can be the last one: the next start then finds less to do.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/recover_impl.h"

static const char tail_name[] = "recover.tmp";

static int failed(struct dp_recovering *r, int rc, const char *step, uint64_t serial)
{
	char name[DP_SEGMENT_NAME_BYTES];

	dp_segment_name(name, serial);
	return dp_recover_failed(r, DP_RECOVER_IO, rc, step, name);
}

static struct dp_scan_segment *segment_of(struct dp_recovering *r, uint64_t lp)
{
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (r->segments[i].serial == DP_LP_SERIAL(lp))
			return &r->segments[i];
	return NULL;
}

/* ---- what is not to be trusted ---- */

static int remove_temps(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->temp_count; i++) {
		int rc = r->io.ops->unlink(r->io.ctx, r->temps[i]);

		if (rc && rc != -ENOENT)
			return dp_recover_failed(r, DP_RECOVER_IO, rc, "remove", r->temps[i]);
	}
	return 0;
}

/* A segment that cannot say what it is goes out of the way as a whole. */
static int set_aside(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->segment_count; i++) {
		char name[DP_SEGMENT_NAME_BYTES], aside[64];
		int rc;

		if (!r->segments[i].bad)
			continue;
		dp_segment_name(name, r->segments[i].serial);
		snprintf(aside, sizeof(aside), "quarantine-%016" PRIx64 ".bin",
			r->segments[i].serial);
		rc = r->io.ops->rename(r->io.ctx, name, aside);
		if (rc)
			return dp_recover_failed(r, DP_RECOVER_IO, rc, "set aside", name);
	}
	return 0;
}

/* A copy for whoever wants to look; the bytes stay in the segment too, so it may fail. */
static void keep_fault(
	struct dp_recovering *r, const struct dp_segment *s, const struct dp_fault *f)
{
	char name[64];
	char *buf = malloc(f->bytes);
	ssize_t n = buf ? dp_segment_read(s, buf, f->bytes, DP_LP_OFFSET(f->lp)) : 0;

	snprintf(name, sizeof(name), "quarantine-%016" PRIx64 "-%08" PRIx32 ".bin",
		DP_LP_SERIAL(f->lp), DP_LP_OFFSET(f->lp));
	if (n > 0)
		dp_io_save(&r->io, name, buf, (size_t)n);
	free(buf);
}

static void keep_faults(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *s = &r->segments[i];
		char name[DP_SEGMENT_NAME_BYTES];
		struct dp_segment open;

		dp_segment_name(name, s->serial);
		if (s->bad || s->dropped || s->fault_count == 0 ||
			dp_segment_open(&r->io, name, s->serial, &open))
			continue;
		for (uint32_t k = 0; k < s->fault_count; k++)
			keep_fault(r, &open, &s->faults[k]);
		dp_segment_close(&open);
	}
}

/* ---- the tail, written again ---- */

struct rewrite {
	struct dp_recovering *r;
	struct dp_scan_segment to;
	int handle;
	uint64_t at, records;
	struct dp_footer_entry *entries; /* [tail_count] */
	struct dp_segment from;
	bool open;
	char *buf; /* [buf_bytes] */
	size_t buf_bytes;
};

static int open_source(struct rewrite *w, uint64_t serial)
{
	char name[DP_SEGMENT_NAME_BYTES];
	int rc;

	if (w->open && w->from.head.serial == serial)
		return 0;
	if (w->open)
		dp_segment_close(&w->from);
	dp_segment_name(name, serial);
	rc = dp_segment_open(&w->r->io, name, serial, &w->from);
	w->open = rc == 0;
	return rc;
}

/* Reads the block from where it lies; it must still be good. */
static int load_block(struct rewrite *w, const struct dp_scanned *b)
{
	struct dp_block_spot spot = {DP_LP_SERIAL(b->lp), DP_LP_OFFSET(b->lp), 0};
	size_t bytes = dp_block_disk_bytes(b->bytes);
	ssize_t n;
	int rc = open_source(w, spot.serial);

	if (rc)
		return rc;
	if (bytes > w->buf_bytes) {
		free(w->buf);
		w->buf = aligned_alloc(DP_DISK_ALIGN, bytes);
		w->buf_bytes = w->buf ? bytes : 0;
	}
	if (!w->buf)
		return -ENOMEM;
	memset(w->buf, 0, bytes);
	spot.salt = w->from.head.salt;
	n = w->from.io.ops->pread(w->from.io.ctx, w->from.handle, w->buf, b->bytes, spot.offset);
	if (n < 0)
		return (int)n;
	if (dp_block_check((const struct dp_block *)w->buf, (size_t)n, &spot) != DP_BLOCK_OK)
		return -EIO;
	return 0;
}

static int write_at(struct rewrite *w, void *buf, size_t bytes)
{
	struct iovec iov = {buf, bytes};
	int rc = w->r->io.ops->pwritev(w->r->io.ctx, w->handle, &iov, 1, w->at);

	w->at += bytes;
	return rc;
}

static int write_head(struct rewrite *w)
{
	struct dp_recovering *r = w->r;
	int rc = open_source(w, DP_LP_SERIAL(r->tail[0].lp));
	struct dp_segment_schema schema;
	size_t bytes, most;
	char *buf;

	if (rc)
		return rc;
	schema = (struct dp_segment_schema){w->from.copy + sizeof(w->from.head),
		w->from.head.schema_bytes, w->from.head.schema_hash};
	most = 2 * w->from.head.copy_bytes + dp_footer_disk_bytes(r->tail_count);
	for (uint32_t i = 0; i < r->tail_count; i++)
		most += dp_block_disk_bytes(r->tail[i].bytes);
	w->to.serial = r->max_serial + 1;
	w->to.head = (struct dp_segment_head){
		.serial = w->to.serial,
		.salt = dp_io_random(&r->io),
		.appliance = r->out->appliance,
		.epoch = r->out->epoch,
		.created_ns = r->now.real_ns,
		.segment_bytes = most > r->config->segment_bytes ? most : r->config->segment_bytes,
		.records_before = r->records_at,
		.supersedes = r->durable_lp,
	};
	rc = dp_segment_head_build(&w->to.head, &schema, &buf, &bytes);
	if (rc)
		return rc;
	w->to.start = (uint32_t)bytes;
	rc = write_at(w, buf, bytes);
	free(buf);
	return rc;
}

static int write_blocks(struct rewrite *w)
{
	for (uint32_t i = 0; i < w->r->tail_count; i++) {
		struct dp_block_spot spot = {w->to.serial, w->at, w->to.head.salt};
		int rc = load_block(w, &w->r->tail[i]);
		struct dp_block *b = (struct dp_block *)w->buf;

		if (rc)
			return rc;
		b->records_before = w->records;
		b->durable_lp = w->r->durable_lp;
		dp_block_finish(b, &spot);
		w->entries[i] = dp_footer_entry(b);
		w->records += b->record_count;
		rc = write_at(w, b, dp_block_disk_bytes(b->bytes));
		if (rc)
			return rc;
	}
	return 0;
}

static int write_footer(struct rewrite *w)
{
	struct dp_footer f = {
		.serial = w->to.serial,
		.offset = w->at,
		.records_after = w->records,
		.block_count = w->r->tail_count,
		.sealed_ns = w->r->now.real_ns,
	};
	size_t bytes = dp_footer_disk_bytes(f.block_count);
	void *buf = aligned_alloc(DP_DISK_ALIGN, bytes);
	int rc;

	if (!buf)
		return -ENOMEM;
	dp_footer_build(&f, w->entries, w->to.head.salt, buf);
	rc = write_at(w, buf, bytes);
	free(buf);
	return rc;
}

static int write_tail(struct rewrite *w)
{
	const struct dp_io *io = &w->r->io;
	int rc = write_head(w);

	if (rc == 0)
		rc = write_blocks(w);
	/* The footer says that the blocks are durable. */
	if (rc == 0)
		rc = io->ops->sync(io->ctx, w->handle);
	if (rc == 0)
		rc = write_footer(w);
	if (rc == 0)
		rc = io->ops->sync(io->ctx, w->handle);
	return rc;
}

/* Under its name the new segment takes the tail's place at once. */
static int name_tail(struct rewrite *w)
{
	struct dp_recovering *r = w->r;
	char name[DP_SEGMENT_NAME_BYTES];
	int rc;

	dp_segment_name(name, w->to.serial);
	rc = r->io.ops->rename(r->io.ctx, tail_name, name);
	if (rc == 0)
		rc = r->io.ops->sync_dir(r->io.ctx);
	if (rc)
		return rc;
	if (!dp_recover_grow(&r->segments, r->segment_count, &r->segment_max, sizeof(*r->segments)))
		return -ENOMEM;
	w->to.sealed = true;
	w->to.records_after = w->records;
	w->to.file_bytes = w->at;
	w->to.last_ns = r->now.real_ns;
	r->segments[r->segment_count++] = w->to;
	r->max_serial = w->to.serial;
	r->records_at = w->records;
	r->out->rewritten_blocks = r->tail_count;
	return 0;
}

static int rewrite_tail(struct dp_recovering *r)
{
	struct rewrite w = {.r = r, .records = r->records_at};
	int rc;

	w.entries = malloc(r->tail_count * sizeof(*w.entries));
	if (!w.entries)
		return -ENOMEM;
	rc = w.handle =
		r->io.ops->open(r->io.ctx, tail_name, DP_IO_READ | DP_IO_WRITE | DP_IO_CREATE);
	if (w.handle >= 0) {
		rc = write_tail(&w);
		r->io.ops->close(r->io.ctx, w.handle);
		if (rc == 0)
			rc = name_tail(&w);
		else
			r->io.ops->unlink(r->io.ctx, tail_name);
	}
	if (w.open)
		dp_segment_close(&w.from);
	free(w.entries);
	free(w.buf);
	return rc;
}

/*
 * The disk has no room for a new segment.  When the tail lies straight in its segment, that is
 * synced and keeps it: a full disk must not prevent a start.
 */
static int keep_tail(struct dp_recovering *r)
{
	struct dp_scan_segment *s = segment_of(r, r->durable_lp);
	char name[DP_SEGMENT_NAME_BYTES];
	uint64_t records = r->records_at;
	uint32_t first = 0;
	int h, rc;

	while (s && first < s->block_count && s->blocks[first].lp < r->durable_lp)
		first++;
	if (!s || s->sealed || s->block_count - first != r->tail_count)
		return -ENOSPC;
	/* That sync failed before: what is read now may never have reached the disk. */
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (r->segments[i].dropped && r->segments[i].serial > s->serial)
			return -ENOSPC;
	for (uint32_t i = first; i < s->block_count; i++) {
		if (s->blocks[i].records_before != records)
			return -ENOSPC;
		records += s->blocks[i].record_count;
	}
	dp_segment_name(name, s->serial);
	h = r->io.ops->open(r->io.ctx, name, DP_IO_READ | DP_IO_WRITE);
	if (h < 0)
		return h;
	rc = r->io.ops->sync(r->io.ctx, h);
	r->io.ops->close(r->io.ctx, h);
	if (rc)
		return rc;
	s->end = DP_LP_OFFSET(s->blocks[s->block_count - 1].lp) +
		 (uint32_t)dp_block_disk_bytes(s->blocks[s->block_count - 1].bytes);
	s->cut = r->durable_lp = DP_LP(s->serial, s->end);
	s->records_after = r->records_at = records;
	return 0;
}

/* ---- sealing and removing ---- */

/* Its entries are the blocks that count; it lies behind all bytes there are. */
static int seal(struct dp_recovering *r, struct dp_scan_segment *s, int h)
{
	uint64_t offset = dp_rec_pad(s->used_end > s->end ? s->used_end : s->end, DP_DISK_ALIGN);
	struct dp_footer f = {
		.serial = s->serial,
		.offset = offset,
		.records_after = s->records_after,
		.sealed_ns = s->last_ns,
	};
	struct dp_footer_entry *entries = malloc((s->block_count + 1) * sizeof(*entries));
	struct iovec iov = {NULL, 0};
	int rc = -ENOMEM;

	for (uint32_t i = 0; entries && i < s->block_count && s->blocks[i].lp < s->cut; i++)
		entries[f.block_count++] = s->blocks[i].entry;
	iov.iov_len = dp_footer_disk_bytes(f.block_count);
	iov.iov_base = aligned_alloc(DP_DISK_ALIGN, iov.iov_len);
	if (entries && iov.iov_base) {
		dp_footer_build(&f, entries, s->head.salt, iov.iov_base);
		rc = r->io.ops->pwritev(r->io.ctx, h, &iov, 1, offset);
	}
	if (rc == 0)
		rc = r->io.ops->truncate(r->io.ctx, h, offset + iov.iov_len);
	if (rc == 0)
		rc = r->io.ops->sync(r->io.ctx, h);
	if (rc == 0)
		s->file_bytes = offset + iov.iov_len;
	free(iov.iov_base);
	free(entries);
	return rc;
}

/* Without a seal readers know by the later segment alone where this one ends. */
static bool ends_anyway(const struct dp_recovering *r, const struct dp_scan_segment *s)
{
	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *t = &r->segments[i];

		if (!t->bad && !t->dropped && t->serial > s->serial &&
			DP_LP_SERIAL(t->head.supersedes) == s->serial)
			return true;
	}
	return false;
}

/*
 * A footer that is there may be in the cache alone: a start that was killed wrote it.  What it
 * leaves out would count again if it went while later segments stayed.
 */
static int seal_all(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->segment_count; i++) {
		struct dp_scan_segment *s = &r->segments[i];
		char name[DP_SEGMENT_NAME_BYTES];
		int h, rc;

		if (s->bad || s->dropped)
			continue;
		dp_segment_name(name, s->serial);
		rc = h = r->io.ops->open(r->io.ctx, name, DP_IO_READ | DP_IO_WRITE);
		if (h >= 0) {
			rc = s->sealed ? r->io.ops->sync(r->io.ctx, h) : seal(r, s, h);
			r->io.ops->close(r->io.ctx, h);
		}
		s->sealed = rc == 0;
		if (rc && !ends_anyway(r, s))
			return failed(r, rc, "seal", s->serial);
	}
	return 0;
}

static int remove_dropped(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->segment_count; i++) {
		char name[DP_SEGMENT_NAME_BYTES];
		int rc;

		if (!r->segments[i].dropped)
			continue;
		dp_segment_name(name, r->segments[i].serial);
		rc = r->io.ops->unlink(r->io.ctx, name);
		if (rc && rc != -ENOENT)
			return dp_recover_failed(r, DP_RECOVER_IO, rc, "remove", name);
	}
	return 0;
}

int dp_recover_settle(struct dp_recovering *r)
{
	int rc = remove_temps(r);

	if (rc == 0)
		rc = set_aside(r);
	if (rc)
		return rc;
	if (r->tail_count) {
		rc = rewrite_tail(r);
		if (rc == -ENOSPC || rc == -EDQUOT)
			rc = keep_tail(r);
		if (rc)
			return failed(r, rc, "write again the end of", DP_LP_SERIAL(r->durable_lp));
	}
	rc = seal_all(r);
	if (rc == 0)
		rc = remove_dropped(r);
	if (rc)
		return rc;
	keep_faults(r); /* last: what counts needs the room first */
	rc = r->io.ops->sync_dir(r->io.ctx);
	return rc ? dp_recover_failed(r, DP_RECOVER_IO, rc, "sync", ".") : 0;
}
