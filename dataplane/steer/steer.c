/*
 * Steer: between decode and admit.  Owns nothing; puts whole datagrams of foreign sensors into the
 * ring to their owner, takes those of others out.
 */
#include "dataplane/steer/steer.h"

#include <assert.h>
#include <string.h>

/* One group on its way: this, then per row the row, its values, its tags. */
struct steer_group {
	uint16_t stream;
	uint8_t rows;
	struct dp_sensor_id id;
	uint32_t boot;
	uint64_t key, seq;
	int64_t arrival_ns;
};

struct steer_row {
	int64_t event_ns;
	uint16_t flags;
	uint8_t index;
};

static size_t row_bytes(const struct dp_stream *s)
{
	return sizeof(struct steer_row) + sizeof(float) * s->field_count +
	       (size_t)s->tag_count * (1 + DP_TAG_BYTES_MAX);
}

uint64_t dp_steer_ring_bytes(const struct dp_stream_set *streams)
{
	uint64_t widest = 0, size = 1u << 20;

	for (uint32_t i = 0; i < streams->count; i++) {
		uint64_t n = sizeof(struct steer_group) +
			     DP_DATAGRAM_READINGS_MAX * row_bytes(&streams->streams[i]);

		widest = n > widest ? n : widest;
	}
	while (size < 8 * widest)
		size *= 2;
	return size;
}

static char *pack_row(char *at, const struct dp_batch *b, uint32_t row)
{
	const struct dp_stream *s = b->stream;
	struct steer_row r = {
		.event_ns = b->event_ns[row], .flags = b->flags[row], .index = b->index[row]};

	memcpy(at, &r, sizeof(r));
	at += sizeof(r);
	memcpy(at, dp_batch_row_values(b, row), sizeof(float) * s->field_count);
	at += sizeof(float) * s->field_count;
	if (s->tag_count) {
		memcpy(at, b->tag_len + (size_t)row * s->tag_count, s->tag_count);
		at += s->tag_count;
		memcpy(at, b->tags + (size_t)row * s->tag_count,
			(size_t)s->tag_count * DP_TAG_BYTES_MAX);
		at += (size_t)s->tag_count * DP_TAG_BYTES_MAX;
	}
	return at;
}

static bool put_group(struct dp_ring *ring, const struct dp_batch *b, uint32_t row, uint32_t rows)
{
	struct steer_group g = {.stream = b->stream->index,
		.rows = (uint8_t)rows,
		.id = b->id[row],
		.boot = b->boot[row],
		.key = b->key[row],
		.seq = b->seq[row],
		.arrival_ns = b->arrival_ns[row]};
	char *at = dp_ring_put(ring, (uint32_t)(sizeof(g) + rows * row_bytes(b->stream)));

	if (!at)
		return false;
	memcpy(at, &g, sizeof(g));
	at += sizeof(g);
	for (uint32_t i = 0; i < rows; i++)
		at = pack_row(at, b, row + i);
	return true;
}

void dp_steer_out(struct dp_steer_peer *p, struct dp_batch *b, struct dp_counters *c)
{
	uint32_t kept = 0;

	if (p->workers == 1)
		return;
	for (uint32_t row = 0, rows; row < b->count; row += rows) {
		uint32_t owner = dp_owner(b->key[row], p->workers);

		rows = b->group[row];
		if (owner == p->self) {
			for (uint32_t i = 0; i < rows; i++)
				dp_batch_move_row(b, kept++, row + i);
		} else if (put_group(p->to[owner], b, row, rows)) {
			p->touched |= 1u << owner;
		} else {
			dp_count(c, DP_C_DROP_STEER_FULL, rows);
		}
	}
	b->count = kept;
}

uint32_t dp_steer_publish(struct dp_steer_peer *p)
{
	uint32_t woken = 0;

	while (p->touched) {
		uint32_t owner = (uint32_t)__builtin_ctz(p->touched);

		p->touched &= p->touched - 1;
		if (dp_ring_publish(p->to[owner]))
			woken |= 1u << owner;
	}
	return woken;
}

static const char *unpack_row(struct dp_batch *b, uint32_t row, const char *at)
{
	const struct dp_stream *s = b->stream;
	struct steer_row r;

	memcpy(&r, at, sizeof(r));
	at += sizeof(r);
	b->event_ns[row] = r.event_ns;
	b->flags[row] = r.flags;
	b->index[row] = r.index;
	memcpy(dp_batch_row_values(b, row), at, sizeof(float) * s->field_count);
	at += sizeof(float) * s->field_count;
	if (s->tag_count) {
		memcpy(b->tag_len + (size_t)row * s->tag_count, at, s->tag_count);
		at += s->tag_count;
		memcpy(b->tags + (size_t)row * s->tag_count, at,
			(size_t)s->tag_count * DP_TAG_BYTES_MAX);
		at += (size_t)s->tag_count * DP_TAG_BYTES_MAX;
	}
	return at;
}

static void append_group(struct dp_batch *b, const struct steer_group *g, const char *at)
{
	for (uint32_t i = 0; i < g->rows; i++) {
		uint32_t row = b->count++;

		b->id[row] = g->id;
		b->key[row] = g->key;
		b->boot[row] = g->boot;
		b->seq[row] = g->seq;
		b->arrival_ns[row] = g->arrival_ns;
		b->group[row] = i ? 0 : g->rows;
		at = unpack_row(b, row, at);
	}
}

uint32_t dp_steer_in(struct dp_ring *from, struct dp_batch *batches, int64_t steady_ns)
{
	uint32_t taken = 0, bytes;
	const char *at;

	while ((at = dp_ring_peek(from, &bytes))) {
		struct steer_group g;
		struct dp_batch *b;

		memcpy(&g, at, sizeof(g));
		b = &batches[g.stream];
		if (b->count >= DP_BATCH_FLUSH)
			break;
		if (!b->count)
			b->oldest_ns = b->came_ns = steady_ns;
		append_group(b, &g, at + sizeof(g));
		assert(b->count <= DP_BATCH_MAX);
		taken += g.rows;
		dp_ring_drop(from, bytes);
	}
	return taken;
}
