/* What lies between a segment's header and its footer: good blocks, and what is not one. */
#include "dataplane/journal/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"

enum { VIEW_BYTES = 1 << 18 };

void dp_view_fini(struct dp_view *v)
{
	free(v->buf);
	*v = (struct dp_view){0};
}

/* Makes n bytes at `offset` visible, or what there is of them before `end`. 0 or -errno. */
static int view_at(
	const struct dp_segment *s, struct dp_view *v, uint64_t offset, size_t n, uint64_t end)
{
	size_t want = n < VIEW_BYTES ? VIEW_BYTES : dp_rec_pad(n, DP_DISK_ALIGN);
	ssize_t got;

	if (v->buf && offset >= v->at && offset + n <= v->at + v->bytes)
		return 0;
	if (want > v->size) {
		char *buf = aligned_alloc(DP_DISK_ALIGN, want);

		if (!buf)
			return -ENOMEM;
		free(v->buf);
		v->buf = buf;
		v->size = want;
	}
	if (want > end - offset)
		want = end - offset;
	v->bytes = 0;
	got = dp_segment_read(s, v->buf, want, offset);
	if (got < 0)
		return (int)got;
	v->at = offset;
	v->bytes = (size_t)got;
	return 0;
}

/* Bytes visible at that offset. */
static size_t view_left(const struct dp_view *v, uint64_t offset, uint64_t end)
{
	uint64_t to = v->at + v->bytes < end ? v->at + v->bytes : end;

	return offset < to ? to - offset : 0;
}

int dp_segment_block(const struct dp_segment *s, struct dp_view *v, uint64_t offset, uint64_t end,
	struct dp_segment_found *out)
{
	struct dp_block_spot spot = {s->head.serial, offset, s->head.salt};
	const struct dp_block *b;
	int rc = view_at(s, v, offset, DP_BLOCK_HEAD_BYTES, end);

	*out = (struct dp_segment_found){.fault = DP_BLOCK_SHORT, .offset = offset};
	if (rc || view_left(v, offset, end) < DP_BLOCK_HEAD_BYTES)
		return rc;
	b = (const struct dp_block *)(v->buf + (offset - v->at));
	/* Only what may be a block is worth reading as a whole. */
	if (b->magic == DP_BLOCK_MAGIC && b->segment_serial == spot.serial &&
		b->segment_offset == offset && b->bytes <= end - offset) {
		rc = view_at(s, v, offset, b->bytes, end);
		if (rc)
			return rc;
		b = (const struct dp_block *)(v->buf + (offset - v->at));
	}
	out->fault = dp_block_check(b, view_left(v, offset, end), &spot);
	if (out->fault == DP_BLOCK_OK && b->appliance != s->head.appliance)
		out->fault = DP_BLOCK_PLACE_BAD;
	out->block = b;
	return 0;
}

static bool all_zero(const char *at, size_t n)
{
	return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

int dp_segment_resync(const struct dp_segment *s, struct dp_view *v, uint64_t offset, uint64_t end,
	struct dp_segment_found *out)
{
	uint64_t used_end = 0;

	*out = (struct dp_segment_found){.fault = DP_BLOCK_SHORT, .offset = end};
	for (; offset < end; offset += DP_DISK_ALIGN) {
		size_t page;
		int rc = dp_segment_block(s, v, offset, end, out);

		out->used_end = used_end;
		if (rc || out->fault == DP_BLOCK_OK)
			return rc ? rc : 1;
		rc = view_at(s, v, offset, 1, end);
		if (rc)
			return rc;
		page = view_left(v, offset, end);
		if (page == 0) /* the file ends before */
			return 0;
		if (page > DP_DISK_ALIGN)
			page = DP_DISK_ALIGN;
		if (!all_zero(v->buf + (offset - v->at), page))
			used_end = out->used_end = offset + page;
	}
	return 0;
}

/* ---- the walk ---- */

struct walk {
	struct dp_segment segment;
	struct dp_stream_set *streams;
	struct dp_footer *footer;
	struct dp_view view;
	int (*each)(void *arg, const struct dp_segment_item *item);
	void *arg;
};

static int show(struct walk *w, struct dp_segment_item item)
{
	item.head = &w->segment.head;
	item.streams = w->streams;
	return w->each(w->arg, &item);
}

/* The run of bytes at `at` that hold no good block; *at is the next that does, or `end`. */
static int show_fault(struct walk *w, uint64_t *at, uint64_t end, enum dp_block_fault fault)
{
	struct dp_segment_found found;
	uint64_t from = *at;
	int rc = dp_segment_resync(&w->segment, &w->view, from, end, &found);

	if (rc < 0)
		return rc;
	*at = rc ? found.offset : end;
	/* Zeros up to the end are room, between blocks they are lost ones. */
	if (rc == 0 && found.used_end == 0)
		return 0;
	return show(w, (struct dp_segment_item){.kind = DP_SEGMENT_FAULT,
			       .offset = from,
			       .bytes = (rc ? found.offset : found.used_end) - from,
			       .fault = fault});
}

static int show_blocks(struct walk *w, uint64_t end)
{
	uint64_t at = w->segment.start;
	int rc = 0;

	while (rc == 0 && at < end) {
		struct dp_segment_found found;
		const struct dp_block *b;

		rc = dp_segment_block(&w->segment, &w->view, at, end, &found);
		if (rc)
			break;
		if (found.fault != DP_BLOCK_OK) {
			rc = show_fault(w, &at, end, found.fault);
			continue;
		}
		b = found.block;
		rc = show(w, (struct dp_segment_item){.kind = DP_SEGMENT_BLOCK,
				     .offset = at,
				     .bytes = dp_block_disk_bytes(b->bytes),
				     .block = b});
		at += dp_block_disk_bytes(b->bytes);
	}
	return rc;
}

static int walk_open(struct walk *w)
{
	struct dp_segment *s = &w->segment;
	int rc = dp_segment_streams(s, &w->streams);

	if (rc == -EBADMSG)
		rc = 0;
	if (rc == 0)
		rc = dp_footer_load(s, &w->footer);
	if (rc && rc != -ENOENT)
		return rc;
	return show(w, (struct dp_segment_item){.kind = DP_SEGMENT_HEAD, .bytes = s->start});
}

int dp_segment_walk(const struct dp_io *io, const char *name,
	int (*each)(void *arg, const struct dp_segment_item *item), void *arg)
{
	struct walk w = {.each = each, .arg = arg};
	int rc = dp_segment_open(io, name, 0, &w.segment);

	if (rc)
		return rc;
	rc = walk_open(&w);
	if (rc == 0)
		rc = show_blocks(&w, w.footer ? w.footer->offset : w.segment.file_bytes);
	if (rc == 0 && w.footer)
		rc = show(&w, (struct dp_segment_item){.kind = DP_SEGMENT_FOOTER,
				      .offset = w.footer->offset,
				      .bytes = w.footer->bytes,
				      .footer = w.footer});
	dp_view_fini(&w.view);
	free(w.footer);
	if (w.streams)
		dp_schema_free(w.streams);
	dp_segment_close(&w.segment);
	return rc;
}
