/* The batch: its layout in memory, rows copied and moved, and what a sensor id may look like. */
#include "dataplane/core/batch.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/core/mem.h"

/* Hands out one array after the other, each on its own cache lines; base NULL only adds up. */
struct carve {
	char *base;
	size_t used;
};

static void *carve(struct carve *c, size_t count, size_t each)
{
	size_t at = c->used;

	c->used += (count * each + DP_CACHE_LINE - 1) / DP_CACHE_LINE * DP_CACHE_LINE;
	return c->base ? c->base + at : NULL;
}

static void lay_out(struct dp_batch *b, const struct dp_stream *s, struct carve *c)
{
	const size_t rows = DP_BATCH_MAX;

	b->id = carve(c, rows, sizeof(*b->id));
	b->key = carve(c, rows, sizeof(*b->key));
	b->event_ns = carve(c, rows, sizeof(*b->event_ns));
	b->arrival_ns = carve(c, rows, sizeof(*b->arrival_ns));
	b->seq = carve(c, rows, sizeof(*b->seq));
	b->seen = carve(c, rows, sizeof(*b->seen));
	b->boot = carve(c, rows, sizeof(*b->boot));
	b->slot = carve(c, rows, sizeof(*b->slot));
	b->flags = carve(c, rows, sizeof(*b->flags));
	b->index = carve(c, rows, sizeof(*b->index));
	b->group = carve(c, rows, sizeof(*b->group));
	b->values = carve(c, rows * s->field_count, sizeof(*b->values));
	if (s->tag_count) {
		b->tag_len = carve(c, rows * s->tag_count, sizeof(*b->tag_len));
		b->tags = carve(c, rows * s->tag_count, sizeof(*b->tags));
	}
}

size_t dp_batch_bytes(const struct dp_stream *stream)
{
	struct dp_batch b = {0};
	struct carve c = {0};

	lay_out(&b, stream, &c);
	return c.used + DP_CACHE_LINE; /* the arena may first have to reach a cache line */
}

int dp_batch_init(struct dp_batch *b, const struct dp_stream *stream, struct dp_arena *arena)
{
	size_t bytes = dp_batch_bytes(stream) - DP_CACHE_LINE;
	struct carve c = {.base = dp_arena_take(arena, bytes, DP_CACHE_LINE)};

	*b = (struct dp_batch){.stream = stream};
	if (!c.base)
		return -ENOMEM;
	lay_out(b, stream, &c);
	return 0;
}

static void copy_row(struct dp_batch *dst, uint32_t to, const struct dp_batch *src, uint32_t from)
{
	const size_t fields = src->stream->field_count, tags = src->stream->tag_count;

	dst->id[to] = src->id[from];
	dst->key[to] = src->key[from];
	dst->event_ns[to] = src->event_ns[from];
	dst->arrival_ns[to] = src->arrival_ns[from];
	dst->seq[to] = src->seq[from];
	dst->seen[to] = src->seen[from];
	dst->boot[to] = src->boot[from];
	dst->slot[to] = src->slot[from];
	dst->flags[to] = src->flags[from];
	dst->index[to] = src->index[from];
	dst->group[to] = src->group[from];
	memcpy(dst->values + to * fields, src->values + from * fields, fields * sizeof(float));
	for (size_t t = 0; t < tags; t++) {
		uint8_t len = src->tag_len[from * tags + t];

		dst->tag_len[to * tags + t] = len;
		memcpy(dst->tags[to * tags + t], src->tags[from * tags + t], len);
	}
}

void dp_batch_copy_row(struct dp_batch *dst, const struct dp_batch *src, uint32_t from)
{
	assert(dst->stream == src->stream && dst->count < DP_BATCH_MAX);
	copy_row(dst, dst->count++, src, from);
}

void dp_batch_move_row(struct dp_batch *b, uint32_t to, uint32_t from)
{
	assert(to <= from && from < DP_BATCH_MAX);
	if (to != from)
		copy_row(b, to, b, from);
}

uint64_t dp_sensor_key(const struct dp_sensor_id *id)
{
	return XXH3_64bits(id->bytes, id->len);
}

/*
 * Code point at src (Unicode 15, table 3-7: no overlong form, no surrogate, at most U+10FFFF), its
 * bytes in *size; -1 when malformed or cut off by end.
 */
static int32_t code_point(const uint8_t *src, const uint8_t *end, size_t *size)
{
	static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first = *src;
	size_t n = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	int32_t point = n == 1 ? first : first & (0x7f >> n);

	if (n == 0 || first > 0xf4 || (size_t)(end - src) < n)
		return -1;
	for (size_t i = 1; i < n; i++) {
		if ((src[i] & 0xc0) != 0x80)
			return -1;
		point = point << 6 | (src[i] & 0x3f);
	}
	if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return -1;
	*size = n;
	return point;
}

/*
 * Bytes at src that are printable ASCII, which nearly all are; eight at a time. A borrow between
 * bytes can only come from one that is not.
 */
static size_t printable_ascii(const uint8_t *src, size_t len)
{
	const uint64_t each = 0x0101010101010101u;
	size_t n = 0;

	for (uint64_t x; len - n >= sizeof(x); n += sizeof(x)) {
		memcpy(&x, src + n, sizeof(x));
		if ((x | (x - 0x20 * each) | ((x ^ 0x7f * each) - each)) & 0x80 * each)
			break;
	}
	while (n < len && src[n] >= 0x20 && src[n] < 0x7f)
		n++;
	return n;
}

bool dp_utf8_valid(const char *bytes, size_t len)
{
	const uint8_t *src = (const uint8_t *)bytes, *end = src + len;

	src += printable_ascii(src, len);
	for (size_t n; src < end; src += n)
		if (code_point(src, end, &n) < 0)
			return false;
	return true;
}

bool dp_sensor_id_valid(const char *bytes, size_t len)
{
	return len >= 1 && len <= DP_SENSOR_ID_MAX && dp_text_valid(bytes, len);
}

bool dp_text_valid(const char *bytes, size_t len)
{
	const uint8_t *src = (const uint8_t *)bytes, *end = src + len;

	src += printable_ascii(src, len);
	while (src < end) {
		size_t n = 1;
		int32_t point = code_point(src, end, &n);

		if (point < 0x20 || (point >= 0x7f && point < 0xa0)) /* malformed, C0, DEL or C1 */
			return false;
		src += n;
	}
	return true;
}
