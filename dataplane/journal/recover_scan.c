/* Recovery, first part: read the directory as it was left. Writes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/recover_impl.h"

enum {
	LOAD_TRIES = 3,
	SERIAL_JUMP_MAX = 1 << 24, /* segments that one run may have made and lost the headers of */
};

bool dp_recover_grow(void *array, uint32_t count, uint32_t *max, size_t size)
{
	void *old, *grown;
	uint32_t more = *max ? 2 * *max : 16;

	if (count < *max)
		return true;
	memcpy(&old, array, sizeof(old));
	grown = realloc(old, more * size);
	if (!grown)
		return false;
	memcpy(array, &grown, sizeof(grown));
	*max = more;
	return true;
}

/* ---- the directory ---- */

static int note_name(void *arg, const char *name)
{
	struct dp_recovering *r = arg;
	uint64_t serial;

	if (dp_io_is_temp(name) && strlen(name) < sizeof(r->temps[0])) {
		if (!dp_recover_grow(&r->temps, r->temp_count, &r->temp_max, sizeof(r->temps[0])))
			return -ENOMEM;
		strcpy(r->temps[r->temp_count++], name);
	}
	if (!dp_segment_serial(name, &serial))
		return 0;
	if (!dp_recover_grow(&r->segments, r->segment_count, &r->segment_max, sizeof(*r->segments)))
		return -ENOMEM;
	r->segments[r->segment_count++] = (struct dp_scan_segment){.serial = serial};
	return 0;
}

static int compare_serials(const void *a, const void *b)
{
	uint64_t x = ((const struct dp_scan_segment *)a)->serial;
	uint64_t y = ((const struct dp_scan_segment *)b)->serial;

	return x < y ? -1 : x > y;
}

/* ---- one segment ---- */

static void note_epoch(struct dp_scan_segment *s, uint64_t epoch)
{
	s->epoch_min = epoch < s->epoch_min ? epoch : s->epoch_min;
	s->epoch_max = epoch > s->epoch_max ? epoch : s->epoch_max;
}

/* A block index of a file is bounded by its size; epochs and workers are whatever was written. */
static int note_block(struct dp_scan_segment *s, const struct dp_segment_item *item)
{
	const struct dp_block *b = item->block;

	if (!dp_recover_grow(&s->blocks, s->block_count, &s->block_max, sizeof(*s->blocks)))
		return -ENOMEM;
	s->blocks[s->block_count++] = (struct dp_scanned){
		.lp = DP_LP(s->serial, item->offset),
		.epoch = b->epoch,
		.sequence = b->sequence,
		.records_before = b->records_before,
		.durable_lp = b->durable_lp,
		.worker = b->worker,
		.bytes = b->bytes,
		.record_count = b->record_count,
		.entry = dp_footer_entry(b),
	};
	note_epoch(s, b->epoch);
	if (b->arrival_max_ns > s->last_ns)
		s->last_ns = b->arrival_max_ns;
	return 0;
}

static int note_fault(struct dp_scan_segment *s, const struct dp_segment_item *item)
{
	if (!dp_recover_grow(&s->faults, s->fault_count, &s->fault_max, sizeof(*s->faults)))
		return -ENOMEM;
	s->faults[s->fault_count++] =
		(struct dp_fault){DP_LP(s->serial, item->offset), item->bytes};
	return 0;
}

struct scanning {
	struct dp_scan_segment *segment;
	const struct dp_journal_config *config;
};

static bool stopped(const struct dp_journal_config *c)
{
	return c->stop && c->stop(c->stop_arg);
}

static int note_item(void *arg, const struct dp_segment_item *item)
{
	const struct scanning *scanning = arg;
	struct dp_scan_segment *s = scanning->segment;
	uint64_t end = item->offset + item->bytes;
	int rc = 0;

	if (stopped(scanning->config))
		return -ECANCELED;
	if (item->kind == DP_SEGMENT_BLOCK)
		rc = note_block(s, item);
	else if (item->kind == DP_SEGMENT_FAULT)
		rc = note_fault(s, item);
	if (end > s->used_end)
		s->used_end = end;
	return rc;
}

static void take_footer(struct dp_scan_segment *s, const struct dp_footer *f)
{
	s->sealed = true;
	s->ended = f->flags & DP_FOOTER_ENDED;
	s->end = dp_footer_end(f, s->start);
	s->records_after = f->records_after;
	s->last_ns = f->sealed_ns;
	for (uint32_t i = 0; i < f->block_count; i++)
		note_epoch(s, f->entries[i].epoch);
}

static int scan_unsealed(struct dp_recovering *r, struct dp_scan_segment *s, const char *name)
{
	struct scanning scanning = {s, r->config};
	int rc = dp_segment_walk(&r->io, name, note_item, &scanning);

	s->end = s->block_count ? DP_LP_OFFSET(s->blocks[s->block_count - 1].lp) +
					  dp_block_disk_bytes(s->blocks[s->block_count - 1].bytes)
				: s->start;
	return rc;
}

static int scan_segment(struct dp_recovering *r, struct dp_scan_segment *s)
{
	char name[DP_SEGMENT_NAME_BYTES];
	struct dp_segment open;
	struct dp_footer *f;
	int rc;

	dp_segment_name(name, s->serial);
	if (stopped(r->config))
		return dp_recover_failed(r, DP_RECOVER_STOPPED, -ECANCELED, "read", name);
	rc = dp_segment_open(&r->io, name, s->serial, &open);
	s->bad = rc == -EBADMSG;
	if (rc == -EPROTO)
		return dp_recover_failed(r, DP_RECOVER_NEWER, 0, "format", name);
	if (rc)
		return s->bad ? 0 : dp_recover_failed(r, DP_RECOVER_IO, rc, "read", name);
	s->head = open.head;
	s->start = open.start;
	s->file_bytes = open.file_bytes;
	s->epoch_min = UINT64_MAX;
	s->epoch_max = s->head.epoch;
	s->last_ns = s->head.created_ns;
	rc = dp_footer_load(&open, &f);
	dp_segment_close(&open);
	if (rc == 0) {
		take_footer(s, f);
		free(f);
	} else if (rc == -ENOENT) {
		rc = scan_unsealed(r, s, name);
	}
	if (rc == 0)
		return 0;
	return dp_recover_failed(
		r, rc == -ECANCELED ? DP_RECOVER_STOPPED : DP_RECOVER_IO, rc, "read", name);
}

/* ---- the small files ---- */

/* Hexadecimal numbers of 16 digits, behind each the next character of `ends`. */
static bool parse_hex(const char *text, ssize_t n, const char *ends, uint64_t *out)
{
	size_t count = strlen(ends);

	if (n != (ssize_t)(17 * count))
		return false;
	for (size_t i = 0; i < count; i++, text += 17) {
		uint64_t v = 0;

		for (int k = 0; k < 16; k++) {
			const char *digits = "0123456789abcdef", *d = strchr(digits, text[k]);

			if (!text[k] || !d)
				return false;
			v = v << 4 | (uint64_t)(d - digits);
		}
		if (text[16] != ends[i])
			return false;
		out[i] = v;
	}
	return true;
}

/* 1: read; 0: missing, unreadable or not ours to understand; -1. */
static int load_numbers(struct dp_recovering *r, const char *name, const char *ends, uint64_t *out)
{
	char text[64];
	ssize_t n = -EIO;

	for (int i = 0; i < LOAD_TRIES && n == -EIO; i++)
		n = dp_io_load(&r->io, name, text, sizeof(text));
	if (n == -ENOENT || n == -EFBIG || n == -EIO)
		return 0;
	if (n < 0)
		return dp_recover_failed(r, DP_RECOVER_IO, (int)n, "read", name);
	return parse_hex(text, n, ends, out) ? 1 : 0;
}

static int load_small_files(struct dp_recovering *r)
{
	uint64_t epoch[3];
	int rc = load_numbers(r, "appliance", "\n", &r->out->appliance);

	r->has_appliance = r->appliance_stored = rc == 1;
	if (rc >= 0)
		rc = load_numbers(r, "epoch", "  \n", epoch);
	if (rc == 0) { /* as earlier versions wrote it */
		epoch[2] = 0;
		rc = load_numbers(r, "epoch", " \n", epoch);
	}
	if (rc == 1) {
		r->stored_abrupt = epoch[2];
		r->stored_epoch = epoch[0];
		r->stored_serial = epoch[1];
	}
	return rc < 0 ? -1 : 0;
}

/* The appliance is that of the file or, should the file be lost, of the segments. */
static int check_appliance(struct dp_recovering *r, const struct dp_scan_segment *s)
{
	char name[DP_SEGMENT_NAME_BYTES];

	if (s->bad)
		return 0;
	if (!r->has_appliance)
		r->out->appliance = s->head.appliance;
	r->has_appliance = true;
	if (s->head.appliance == r->out->appliance)
		return 0;
	dp_segment_name(name, s->serial);
	return dp_recover_failed(r, DP_RECOVER_FOREIGN, 0, "appliance", name);
}

/*
 * A serial is never given twice, but a name alone is no proof that it was given: one far beyond all
 * others would use up the 32 bits that a log position has for it.
 */
static int find_max_serial(struct dp_recovering *r)
{
	uint64_t max = r->stored_serial;
	char name[DP_SEGMENT_NAME_BYTES];

	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *s = &r->segments[i];

		if (s->serial > max && (!s->bad || s->serial - max <= SERIAL_JUMP_MAX))
			max = s->serial;
	}
	/* one for the end of the log written again, one for this run */
	if (max > UINT32_MAX - 2) {
		dp_segment_name(name, max);
		return dp_recover_failed(
			r, DP_RECOVER_IO, -EOVERFLOW, "no serial is left behind", name);
	}
	r->max_serial = max;
	return 0;
}

int dp_recover_scan(struct dp_recovering *r)
{
	int rc = r->io.ops->list(r->io.ctx, note_name, r);

	if (rc)
		return dp_recover_failed(r, DP_RECOVER_IO, rc, "list", ".");
	if (r->segment_count)
		qsort(r->segments, r->segment_count, sizeof(*r->segments), compare_serials);
	rc = load_small_files(r);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < r->segment_count; i++) {
		struct dp_scan_segment *s = &r->segments[i];

		if (scan_segment(r, s) || check_appliance(r, s))
			return -1;
		if (s->epoch_max > r->out->last_epoch)
			r->out->last_epoch = s->epoch_max;
	}
	return find_max_serial(r);
}
