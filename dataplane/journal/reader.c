/*
 * The reader: behind the writer, before outputs and replay.  Owns a place in the log and an open
 * segment.  The order of the log is that of the segments, but for one rule: a segment that
 * supersedes a place takes over there (segment.h), whatever lies behind that place before it.
 */
#include "dataplane/journal/reader.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/reader_index.h"
#include "dataplane/journal/schema.h"

/* The last position of a worker that was yielded. */
struct last {
	uint32_t worker;
	uint64_t epoch, sequence;
};

struct schema {
	uint64_t hash;
	struct dp_stream_set *streams;
};

struct dp_reader {
	struct dp_io io;
	uint64_t appliance;
	uint64_t at;
	struct dp_reader_counts counts;

	struct dp_reader_index index;
	bool freed; /* a segment of the index was gone when we came to it */

	bool open;
	struct dp_segment segment;
	const struct dp_stream_set *streams;
	bool end_known;
	uint64_t end; /* offset behind its last block, once it is no longer written */
	bool sealed;  /* `end` is by a footer or a cut, not by the file's end */
	struct dp_view view;

	bool records_known;
	uint64_t records; /* in the log before `at` */

	struct last *last; /* [last_count] */
	uint32_t last_count, last_max;
	struct schema *schemas; /* [schema_count] */
	uint32_t schema_count;
};

int dp_reader_open(const struct dp_io *io, uint64_t appliance, uint64_t lp, struct dp_reader **out)
{
	struct dp_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->io = *io;
	r->appliance = appliance;
	r->at = lp;
	*out = r;
	return 0;
}

static void close_segment(struct dp_reader *r)
{
	if (r->open)
		dp_segment_close(&r->segment);
	r->open = false;
	r->view.bytes = 0;
}

void dp_reader_close(struct dp_reader *r)
{
	close_segment(r);
	dp_view_fini(&r->view);
	for (uint32_t i = 0; i < r->schema_count; i++)
		dp_schema_free(r->schemas[i].streams);
	free(r->schemas);
	dp_reader_index_fini(&r->index);
	free(r->last);
	free(r);
}

uint64_t dp_reader_at(const struct dp_reader *r)
{
	return r->at;
}

const struct dp_reader_counts *dp_reader_counts(const struct dp_reader *r)
{
	return &r->counts;
}

/* ---- positions ---- */

static struct last *last_of(struct dp_reader *r, uint32_t worker)
{
	for (uint32_t i = 0; i < r->last_count; i++)
		if (r->last[i].worker == worker)
			return &r->last[i];
	if (r->last_count == r->last_max) {
		uint32_t max = r->last_max ? 2 * r->last_max : DP_WORKERS_MAX;
		struct last *all = realloc(r->last, max * sizeof(*all));

		if (!all)
			return NULL;
		r->last = all;
		r->last_max = max;
	}
	r->last[r->last_count] = (struct last){.worker = worker};
	return &r->last[r->last_count++];
}

/* Notes the position. 1: it is new; 0: it was there before; -ENOMEM. */
static int note_position(struct dp_reader *r, const struct dp_block *b)
{
	struct last *l = last_of(r, b->worker);

	if (!l)
		return -ENOMEM;
	if (b->epoch < l->epoch || (b->epoch == l->epoch && b->sequence <= l->sequence))
		return 0;
	l->epoch = b->epoch;
	l->sequence = b->sequence;
	return 1;
}

/* ---- the open segment ---- */

/* The stream set of the open segment; sets stay until the reader is closed. */
static int take_streams(struct dp_reader *r)
{
	uint64_t hash = r->segment.head.schema_hash;
	struct schema *all;
	int rc;

	for (uint32_t i = 0; i < r->schema_count; i++) {
		if (r->schemas[i].hash == hash) {
			r->streams = r->schemas[i].streams;
			return 0;
		}
	}
	all = realloc(r->schemas, (r->schema_count + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	r->schemas = all;
	rc = dp_segment_streams(&r->segment, &all[r->schema_count].streams);
	if (rc)
		return rc;
	all[r->schema_count].hash = hash;
	r->streams = all[r->schema_count++].streams;
	return 0;
}

/* Records that should be between where we were and `records_before` are accounted for. */
static void pass_records(struct dp_reader *r, uint64_t records_before, bool freed)
{
	if (r->records_known && records_before > r->records) {
		uint64_t jump = records_before - r->records;

		if (freed)
			r->counts.expired_records += jump;
		else
			r->counts.quarantined_records += jump;
	}
	r->records = records_before;
	r->records_known = true;
}

/*
 * Opens the segment at `at`, or the next one there is; where that is gone or bad, moves behind it.
 * 0: there is none; 1: done what could be done; -errno.
 */
static int open_segment(struct dp_reader *r)
{
	uint64_t from = DP_LP_SERIAL(r->at);
	const struct dp_known *k = dp_reader_index_from(&r->index, from);
	char name[DP_SEGMENT_NAME_BYTES];
	bool gone, counted;
	int rc;

	if (!k)
		return 0;
	dp_segment_name(name, k->serial);
	rc = k->bad ? -EBADMSG : dp_segment_open(&r->io, name, k->serial, &r->segment);
	if (rc == 0) {
		rc = take_streams(r);
		if (rc)
			dp_segment_close(&r->segment);
	}
	if (rc && rc != -ENOENT && rc != -EBADMSG && rc != -EPROTO)
		return rc;
	if (rc) {
		r->counts.damaged_regions += rc != -ENOENT;
		r->freed |= rc == -ENOENT;
		r->at = DP_LP(k->serial + 1, 0);
		return 1;
	}
	/* A serial may be left out; only the count of records says whether one is missing. */
	gone = r->freed || (k->serial > from && k->serial == r->index.oldest);
	counted = r->records_known && k->records_before > r->records;
	if (k->serial > from)
		r->at = DP_LP(k->serial, 0);
	if (DP_LP_OFFSET(r->at) <= r->segment.start) {
		r->at = DP_LP(k->serial, r->segment.start);
		if (counted && !gone && k->serial > from)
			r->counts.missing_segments++;
		pass_records(r, k->records_before, gone);
	}
	r->open = true;
	r->freed = false;
	r->end_known = false;
	return 1;
}

/* Where the open segment, which is no longer written, ends. */
static int find_end(struct dp_reader *r)
{
	uint64_t serial = r->segment.head.serial, cut;
	struct dp_footer *f;
	int64_t size = r->io.ops->size(r->io.ctx, r->segment.handle);
	int rc;

	if (size < 0)
		return (int)size;
	r->segment.file_bytes = (uint64_t)size; /* sealing has cut it */
	rc = dp_footer_load(&r->segment, &f);
	if (rc && rc != -ENOENT)
		return rc;
	r->sealed = rc == 0;
	r->end = rc ? r->segment.file_bytes & ~(uint64_t)(DP_DISK_ALIGN - 1)
		    : dp_footer_end(f, r->segment.start);
	if (rc == 0)
		free(f);
	cut = dp_reader_cut(&r->index, serial);
	if (cut && (DP_LP_OFFSET(cut) < r->end || !r->sealed)) {
		r->end = DP_LP_OFFSET(cut);
		r->sealed = true;
	}
	r->end_known = true;
	return 0;
}

/* The positions that lie between `from` and where we are: what is superseded there was read. */
static int note_passed(struct dp_reader *r, uint64_t from, uint64_t to)
{
	while (from < to) {
		struct dp_segment_found found;
		int rc = dp_segment_resync(&r->segment, &r->view, from, to, &found);

		if (rc == 1)
			rc = note_position(r, found.block) < 0 ? -ENOMEM : 1;
		if (rc <= 0)
			return rc;
		from = found.offset + dp_block_disk_bytes(found.block->bytes);
	}
	return 0;
}

/* Goes on in the segment k, which supersedes the place where we are. */
static int jump(struct dp_reader *r, const struct dp_known *k)
{
	uint64_t serial = DP_LP_SERIAL(r->at), from = k->supersedes;

	if (r->open && from < r->at) {
		int rc = note_passed(r,
			DP_LP_SERIAL(from) == serial ? DP_LP_OFFSET(from) : r->segment.start,
			DP_LP_OFFSET(r->at));

		if (rc)
			return rc;
		r->records_known = false; /* its blocks count from a place that we are behind */
	}
	close_segment(r);
	r->at = DP_LP(k->serial, 0);
	return 0;
}

/* ---- reading ---- */

/* Does a block behind `offset` say that the place `at` had been synced? 1, 0, -errno. */
static int was_synced(struct dp_reader *r, uint64_t offset, uint64_t end)
{
	struct dp_segment_found found;
	int rc;

	while ((rc = dp_segment_resync(&r->segment, &r->view, offset, end, &found)) == 1) {
		if (found.block->durable_lp > r->at)
			return 1;
		offset = found.offset + dp_block_disk_bytes(found.block->bytes);
	}
	return rc;
}

/* At `at` lies no good block. 0: gone on behind the damage; -EAGAIN: wait; -errno. */
static int skip_damage(struct dp_reader *r, uint64_t end, bool live)
{
	uint64_t offset = DP_LP_OFFSET(r->at);
	struct dp_segment_found found;
	int rc = dp_segment_resync(&r->segment, &r->view, offset, end, &found);

	if (rc < 0)
		return rc;
	if (live) {
		int synced = rc == 1 ? was_synced(r, found.offset, end) : 0;

		if (synced <= 0)
			return synced ? synced : -EAGAIN;
	}
	/* Zeros at the end of a segment without footer are its room. */
	if (rc == 1 || r->sealed || found.used_end)
		r->counts.damaged_regions++;
	r->at = DP_LP(r->segment.head.serial, rc == 1 ? found.offset : end);
	return 0;
}

/* 1: *out filled; 0: nothing yielded, look again; -errno. */
static int read_block(struct dp_reader *r, uint64_t end, bool live, struct dp_reader_block *out)
{
	const struct dp_block *b;
	struct dp_segment_found found;
	int rc = dp_segment_block(&r->segment, &r->view, DP_LP_OFFSET(r->at), end, &found);
	uint64_t lp = r->at;

	if (rc)
		return rc;
	if (found.fault != DP_BLOCK_OK)
		return skip_damage(r, end, live);
	b = found.block;
	rc = note_position(r, b);
	if (rc < 0)
		return rc;
	pass_records(r, b->records_before, false);
	r->records += b->record_count;
	r->at += dp_block_disk_bytes(b->bytes);
	if (rc == 0) {
		r->counts.repeated++;
		return 0;
	}
	r->counts.blocks++;
	r->counts.records += b->record_count;
	r->counts.bytes += b->bytes;
	*out = (struct dp_reader_block){
		.block = b, .streams = r->streams, .lp = lp, .lp_next = r->at};
	return 1;
}

/* Behind the segment's end: to the one that supersedes it there, or to the next. */
static int leave_segment(struct dp_reader *r)
{
	const struct dp_known *k = dp_reader_superseding(&r->index, r->at);

	if (k)
		return jump(r, k);
	close_segment(r);
	r->at = DP_LP(r->segment.head.serial + 1, 0);
	return 0;
}

static int step(struct dp_reader *r, uint64_t limit, struct dp_reader_block *out)
{
	bool live = DP_LP_SERIAL(limit) == DP_LP_SERIAL(r->at);
	uint64_t end = DP_LP_OFFSET(limit);
	int rc = 0;

	if (!live && !r->end_known)
		rc = find_end(r);
	if (rc)
		return rc;
	if (!live) {
		const struct dp_known *k = dp_reader_superseding(&r->index, r->at);

		if (k)
			return jump(r, k);
		end = r->end;
	}
	if (DP_LP_OFFSET(r->at) >= end)
		return leave_segment(r);
	return read_block(r, end, live, out);
}

/* Makes the index complete up to that serial. */
static int grow_index(struct dp_reader *r, uint64_t serial)
{
	struct dp_reader_index_range range = {r->appliance, DP_LP_SERIAL(r->at), serial};
	int rc;

	if (serial <= r->index.upto)
		return 0;
	rc = dp_reader_index_grow(&r->index, &r->io, &range);
	r->end_known = false; /* the new ones may cut the open one */
	return rc;
}

int dp_reader_next(struct dp_reader *r, uint64_t limit, struct dp_reader_block *out)
{
	/* At its very start a segment need not be there yet: a writer that found the disk full. */
	int rc = grow_index(r, DP_LP_SERIAL(limit ? limit - 1 : 0));

	while (rc == 0 && r->at < limit) {
		if (!r->open) {
			rc = open_segment(r);
			if (rc == 0)
				return 0;
			rc = rc < 0 ? rc : 0;
			continue;
		}
		rc = step(r, limit, out);
	}
	return rc;
}
