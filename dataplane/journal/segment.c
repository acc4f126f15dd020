/* Segments: names, headers, footers. What lies between them: segment_scan.c. */
#include "dataplane/journal/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/journal/schema.h"

enum {
	ENDIAN_MARK = 0x1234,
	HEAD_BYTES = sizeof(struct dp_segment_head),
	COPY_MAX = (HEAD_BYTES + DP_SCHEMA_BYTES_MAX + DP_DISK_ALIGN - 1) & ~(DP_DISK_ALIGN - 1),
	FOOTER_CHUNK = 1 << 18,
	READ_TRIES = 3,
	UNREADABLE = 0xee, /* not zero: something may have been there */
};

static const char name_end[] = ".seg";

void dp_segment_name(char name[DP_SEGMENT_NAME_BYTES], uint64_t serial)
{
	snprintf(name, DP_SEGMENT_NAME_BYTES, "%016llx%s", (unsigned long long)serial, name_end);
}

bool dp_segment_serial(const char *name, uint64_t *serial)
{
	uint64_t v = 0;

	if (strlen(name) != 16 + sizeof(name_end) - 1 || strcmp(name + 16, name_end) != 0)
		return false;
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, name[i]);

		if (!d)
			return false;
		v = v << 4 | (uint64_t)(d - digits);
	}
	*serial = v;
	/* A log position holds 32 bits of the serial. */
	return v > 0 && v <= UINT32_MAX;
}

/* Over `bytes` bytes as if the 8 bytes at hash_at were zero. */
static uint64_t hash_without(const char *at, size_t bytes, size_t hash_at, uint64_t seed)
{
	static const char zeros[8];
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_64bits_reset_withSeed(&state, seed);
	XXH3_64bits_update(&state, at, hash_at);
	XXH3_64bits_update(&state, zeros, sizeof(zeros));
	XXH3_64bits_update(&state, at + hash_at + 8, bytes - hash_at - 8);
	return XXH3_64bits_digest(&state);
}

/* ---- reading ---- */

/* A place counts as bad only when it stays so. */
static ssize_t read_tried(const struct dp_segment *s, void *buf, size_t n, uint64_t offset)
{
	ssize_t got = -EIO;

	for (int i = 0; i < READ_TRIES && got == -EIO; i++)
		got = s->io.ops->pread(s->io.ctx, s->handle, buf, n, offset);
	return got;
}

/* The disk still answers: what cannot be read is a place on it. */
static bool answers(const struct dp_segment *s)
{
	char byte;

	return s->io.ops->pread(s->io.ctx, s->handle, &byte, 1, 0) >= 0 ||
	       s->io.ops->pread(s->io.ctx, s->handle, &byte, 1, s->head.copy_bytes) >= 0;
}

ssize_t dp_segment_read(const struct dp_segment *s, void *buf, size_t n, uint64_t offset)
{
	ssize_t got = s->io.ops->pread(s->io.ctx, s->handle, buf, n, offset);
	size_t done = 0;
	bool bad = false;

	if (got != -EIO || !answers(s))
		return got;
	while (done < n) {
		size_t page = DP_DISK_ALIGN - (offset + done) % DP_DISK_ALIGN;

		page = page < n - done ? page : n - done;
		got = read_tried(s, (char *)buf + done, page, offset + done);
		if (got < 0 && got != -EIO)
			return got;
		if (got == -EIO) {
			memset((char *)buf + done, UNREADABLE, page);
			got = (ssize_t)page;
			bad = true;
		}
		done += (size_t)got;
		if ((size_t)got < page) /* the file's end */
			break;
	}
	return bad && !answers(s) ? -EIO : (ssize_t)done;
}

/* ---- headers ---- */

int dp_segment_head_build(struct dp_segment_head *h, const struct dp_segment_schema *schema,
	char **out, size_t *bytes)
{
	size_t copy = dp_rec_pad(HEAD_BYTES + schema->size, DP_DISK_ALIGN);
	char *buf;

	if (schema->size > DP_SCHEMA_BYTES_MAX)
		return -EMSGSIZE;
	buf = aligned_alloc(DP_DISK_ALIGN, 2 * copy);
	if (!buf)
		return -ENOMEM;
	h->magic = DP_SEGMENT_MAGIC;
	h->version = DP_SEGMENT_VERSION;
	h->endian = ENDIAN_MARK;
	h->copy_bytes = (uint32_t)copy;
	h->schema_bytes = (uint32_t)schema->size;
	h->schema_hash = schema->hash;
	memset(buf, 0, 2 * copy);
	memcpy(buf + HEAD_BYTES, schema->bytes, schema->size);
	memcpy(buf, h, HEAD_BYTES);
	h->hash = hash_without(buf, copy, offsetof(struct dp_segment_head, hash), 0);
	memcpy(buf, h, HEAD_BYTES);
	memcpy(buf + copy, buf, copy);
	*out = buf;
	*bytes = 2 * copy;
	return 0;
}

enum copy_verdict { COPY_GOOD, COPY_BAD, COPY_NEWER };

static enum copy_verdict judge_copy(const char *copy, size_t bytes, uint64_t serial)
{
	struct dp_segment_head h;

	memcpy(&h, copy, sizeof(h));
	if (hash_without(copy, bytes, offsetof(struct dp_segment_head, hash), 0) != h.hash)
		return COPY_BAD;
	if (h.version > DP_SEGMENT_VERSION)
		return COPY_NEWER;
	for (size_t i = 0; i < sizeof(h.reserved) / sizeof(h.reserved[0]); i++)
		if (h.reserved[i])
			return COPY_BAD;
	if (h.version != DP_SEGMENT_VERSION || h.schema_bytes > bytes - HEAD_BYTES ||
		h.serial == 0 || h.serial > UINT32_MAX || (serial && h.serial != serial))
		return COPY_BAD;
	return COPY_GOOD;
}

/*
 * Reads the copy at that offset, if there is one. 0 with *verdict; *out is the copy when it is
 * good; -EIO: the place cannot be read; other -errno.
 */
static int read_copy(const struct dp_segment *s, uint64_t offset, uint64_t serial,
	enum copy_verdict *verdict, char **out)
{
	struct dp_segment_head h;
	ssize_t n = read_tried(s, &h, sizeof(h), offset);
	char *copy;

	*verdict = COPY_BAD;
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(h) || h.magic != DP_SEGMENT_MAGIC || h.endian != ENDIAN_MARK ||
		h.copy_bytes < DP_DISK_ALIGN || h.copy_bytes % DP_DISK_ALIGN ||
		h.copy_bytes > COPY_MAX || (offset && offset != h.copy_bytes))
		return 0;
	copy = malloc(h.copy_bytes);
	if (!copy)
		return -ENOMEM;
	n = read_tried(s, copy, h.copy_bytes, offset);
	if (n == (ssize_t)h.copy_bytes)
		*verdict = judge_copy(copy, h.copy_bytes, serial);
	if (*verdict == COPY_GOOD)
		*out = copy;
	else
		free(copy);
	return n < 0 ? (int)n : 0;
}

/* Finds a good copy: the first at 0, the second at the page that it says itself. */
static int find_copy(struct dp_segment *s, uint64_t serial)
{
	bool newer = false, read = s->file_bytes == 0;

	for (uint64_t at = 0; at <= COPY_MAX && at < s->file_bytes; at += DP_DISK_ALIGN) {
		enum copy_verdict verdict;
		int rc = read_copy(s, at, serial, &verdict, &s->copy);

		if (rc && rc != -EIO)
			return rc;
		if (rc == 0 && verdict == COPY_GOOD)
			return 0;
		read |= rc == 0;
		newer |= verdict == COPY_NEWER;
	}
	if (!read)
		return -EIO;
	return newer ? -EPROTO : -EBADMSG;
}

int dp_segment_open(
	const struct dp_io *io, const char *name, uint64_t serial, struct dp_segment *out)
{
	int64_t size;
	int rc;

	*out = (struct dp_segment){.io = *io};
	out->handle = io->ops->open(io->ctx, name, DP_IO_READ);
	if (out->handle < 0)
		return out->handle;
	size = io->ops->size(io->ctx, out->handle);
	out->file_bytes = size < 0 ? 0 : (uint64_t)size;
	rc = size < 0 ? (int)size : find_copy(out, serial);
	if (rc) {
		io->ops->close(io->ctx, out->handle);
		return rc;
	}
	memcpy(&out->head, out->copy, sizeof(out->head));
	out->start = 2 * out->head.copy_bytes;
	return 0;
}

void dp_segment_close(struct dp_segment *s)
{
	s->io.ops->close(s->io.ctx, s->handle);
	free(s->copy);
	s->copy = NULL;
}

int dp_segment_peek(const struct dp_io *io, uint64_t serial, struct dp_segment_head *out)
{
	char name[DP_SEGMENT_NAME_BYTES];
	struct dp_segment s;
	int rc;

	dp_segment_name(name, serial);
	rc = dp_segment_open(io, name, serial, &s);
	if (rc)
		return rc;
	*out = s.head;
	dp_segment_close(&s);
	return 0;
}

int dp_segment_streams(const struct dp_segment *s, struct dp_stream_set **out)
{
	return dp_schema_read(s->copy + HEAD_BYTES, s->head.schema_bytes, out);
}

/* ---- footers ---- */

static size_t footer_bytes(uint32_t block_count)
{
	return sizeof(struct dp_footer) + sizeof(struct dp_footer_entry) * (size_t)block_count;
}

size_t dp_footer_disk_bytes(uint32_t block_count)
{
	return dp_rec_pad(footer_bytes(block_count), DP_DISK_ALIGN);
}

struct dp_footer_entry dp_footer_entry(const struct dp_block *b)
{
	return (struct dp_footer_entry){
		.epoch = b->epoch,
		.sequence = b->sequence,
		.event_min_ns = b->event_min_ns,
		.event_max_ns = b->event_max_ns,
		.offset_pages = (uint32_t)(b->segment_offset / DP_DISK_ALIGN),
		.bytes = b->bytes,
		.record_count = b->record_count,
		.worker = b->worker,
	};
}

void dp_footer_build(
	struct dp_footer *f, const struct dp_footer_entry *entries, uint64_t salt, void *buf)
{
	struct dp_footer *to = buf;

	f->magic = DP_FOOTER_MAGIC;
	f->version = DP_SEGMENT_VERSION;
	f->bytes = (uint32_t)footer_bytes(f->block_count);
	f->hash = 0;
	memset(buf, 0, dp_footer_disk_bytes(f->block_count));
	memcpy(to, f, sizeof(*f));
	if (f->block_count)
		memcpy(to->entries, entries, sizeof(*entries) * f->block_count);
	to->hash = f->hash = hash_without(buf, f->bytes, offsetof(struct dp_footer, hash), salt);
}

static bool entries_possible(const struct dp_footer *f, uint32_t start)
{
	uint64_t end = start;

	for (uint32_t i = 0; i < f->block_count; i++) {
		const struct dp_footer_entry *e = &f->entries[i];
		uint64_t at = (uint64_t)e->offset_pages * DP_DISK_ALIGN;

		if (at < end || e->bytes <= DP_BLOCK_HEAD_BYTES || e->record_count == 0)
			return false;
		end = at + dp_block_disk_bytes(e->bytes);
	}
	return end <= f->offset;
}

/* The footer at that offset, if a good one is there: 0 with *out or NULL. */
static int read_footer(const struct dp_segment *s, uint64_t at, struct dp_footer **out)
{
	struct dp_footer h, *f;
	ssize_t n = dp_segment_read(s, &h, sizeof(h), at);

	*out = NULL;
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(h) || h.magic != DP_FOOTER_MAGIC ||
		h.version != DP_SEGMENT_VERSION || h.flags & ~DP_FOOTER_FLAGS_KNOWN || h.reserved ||
		h.serial != s->head.serial || h.offset != at || h.bytes > s->file_bytes - at ||
		footer_bytes(0) > h.bytes ||
		(h.bytes - footer_bytes(0)) / sizeof(struct dp_footer_entry) < h.block_count)
		return 0;
	f = malloc(h.bytes);
	if (!f)
		return -ENOMEM;
	n = dp_segment_read(s, f, h.bytes, at);
	if (n == (ssize_t)h.bytes &&
		hash_without((const char *)f, h.bytes, offsetof(struct dp_footer, hash),
			s->head.salt) == h.hash &&
		entries_possible(f, s->start))
		*out = f;
	else
		free(f);
	return n < 0 ? (int)n : 0;
}

/*
 * Goes back through the pages of buf, which lie at `from` in the file, for a footer. 1: found; 0:
 * not here; -ENOENT: a block's begin says that there is none; -errno.
 */
static int search_back(const struct dp_segment *s, const char *buf, uint64_t from, uint64_t pages,
	struct dp_footer **out)
{
	while (pages-- > 0) {
		uint32_t magic;
		int rc;

		memcpy(&magic, buf + pages * DP_DISK_ALIGN, sizeof(magic));
		if (magic == DP_BLOCK_MAGIC)
			return -ENOENT;
		if (magic != DP_FOOTER_MAGIC)
			continue;
		rc = read_footer(s, from + pages * DP_DISK_ALIGN, out);
		if (rc || *out)
			return rc ? rc : 1;
	}
	return 0;
}

int dp_footer_load(const struct dp_segment *s, struct dp_footer **out)
{
	uint64_t end = dp_rec_pad(s->file_bytes, DP_DISK_ALIGN);
	char *buf = malloc(FOOTER_CHUNK);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && end > s->start) {
		uint64_t from = end - s->start > FOOTER_CHUNK ? end - FOOTER_CHUNK : s->start;
		ssize_t n;

		memset(buf, 0, FOOTER_CHUNK);
		n = dp_segment_read(s, buf, end - from, from);
		rc = n < 0 ? (int)n : search_back(s, buf, from, (end - from) / DP_DISK_ALIGN, out);
		end = from;
	}
	free(buf);
	return rc == 1 ? 0 : rc == 0 ? -ENOENT : rc;
}

uint32_t dp_footer_end(const struct dp_footer *f, uint32_t start)
{
	const struct dp_footer_entry *e;

	if (f->block_count == 0)
		return start;
	e = &f->entries[f->block_count - 1];
	return (uint32_t)(e->offset_pages * DP_DISK_ALIGN + dp_block_disk_bytes(e->bytes));
}
