/*
 * Datagram v1 (wire.h, docs/wire.md) to rows of a batch.  Runs right after receive, on every
 * datagram: the header is judged before anything is copied, cheapest test first.  Rows are written
 * behind the batch's last row and only counted in once the whole datagram has proved sound, so a
 * rejected one leaves no trace but its counter.
 */
#include "dataplane/decode/decode.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "dataplane/decode/wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "datagram v1 is read in place");

struct body {
	const uint8_t *src, *end;
	const struct dp_wire_head *head;
	struct dp_batch *batch;
	uint32_t not_finite, out_of_range;
};

void dp_decode_target_init(
	struct dp_decode_target *t, const struct dp_stream_set *streams, struct dp_batch *batches)
{
	t->streams = streams;
	t->batches = batches;
	for (size_t i = 0; i < sizeof(t->by_number) / sizeof(*t->by_number); i++)
		t->by_number[i] = -1;
	for (uint32_t i = 0; i < streams->count; i++) {
		assert(streams->streams[i].number < DP_STREAMS_MAX * 4);
		t->by_number[streams->streams[i].number] = (int16_t)i;
	}
}

/* What the 32 bytes alone can tell; 0 or the reason. */
static enum dp_counter judge_head(const struct dp_wire_head *h)
{
	if (h->magic != DP_WIRE_MAGIC)
		return DP_C_REJ_MAGIC;
	if (h->version != DP_WIRE_VERSION)
		return DP_C_REJ_VERSION;
	if ((h->flags & ~DP_WIRE_FLAGS_KNOWN) || h->reserved)
		return DP_C_REJ_FLAGS;
	if (!(h->flags & DP_WIRE_NUMBERED) && (h->boot || h->sequence))
		return DP_C_REJ_FLAGS;
	if ((h->flags & DP_WIRE_NO_TIME) && h->base_time_ns)
		return DP_C_REJ_FLAGS;
	if (h->count < 1 || h->count > DP_DATAGRAM_READINGS_MAX)
		return DP_C_REJ_COUNT;
	if (h->id_len < 1 || h->id_len > DP_SENSOR_ID_MAX)
		return DP_C_REJ_SENSOR_ID;
	if (h->base_time_ns < 0 || h->base_time_ns >= DP_EVENT_NS_END)
		return DP_C_REJ_TIME;
	return 0;
}

static enum dp_counter take_id(struct body *d, struct dp_sensor_id *id)
{
	const char *bytes = (const char *)d->src;
	uint8_t len = d->head->id_len;

	if (d->end - d->src < len)
		return DP_C_REJ_TRUNCATED;
	if (!dp_sensor_id_valid(bytes, len))
		return dp_utf8_valid(bytes, len) ? DP_C_REJ_SENSOR_ID : DP_C_REJ_UTF8;
	*id = (struct dp_sensor_id){.len = len};
	memcpy(id->bytes, bytes, len);
	d->src += len;
	return 0;
}

/* Into the first row; tags that the datagram does not carry are empty. */
static enum dp_counter take_tags(struct body *d)
{
	struct dp_batch *b = d->batch;
	const size_t declared = b->stream->tag_count, base = b->count * declared;
	size_t count = 0;

	if (d->head->flags & DP_WIRE_TAGS) {
		if (d->src == d->end)
			return DP_C_REJ_TRUNCATED;
		count = *d->src++;
		if (count > declared)
			return DP_C_REJ_TAG;
	}
	for (size_t i = 0; i < count; i++) {
		uint8_t len;

		if (d->src == d->end)
			return DP_C_REJ_TRUNCATED;
		len = *d->src++;
		if (len > DP_TAG_BYTES_MAX)
			return DP_C_REJ_TAG;
		if (d->end - d->src < len)
			return DP_C_REJ_TRUNCATED;
		if (!dp_utf8_valid((const char *)d->src, len))
			return DP_C_REJ_UTF8;
		b->tag_len[base + i] = len;
		memcpy(b->tags[base + i], d->src, len);
		d->src += len;
	}
	for (size_t i = count; i < declared; i++)
		b->tag_len[base + i] = 0;
	return 0;
}

static enum dp_counter take_time(struct body *d, int64_t arrival_ns, int64_t *event_ns)
{
	const struct dp_wire_head *h = d->head;
	int32_t delta;

	if (d->end - d->src < (ptrdiff_t)sizeof(delta))
		return DP_C_REJ_TRUNCATED;
	memcpy(&delta, d->src, sizeof(delta));
	d->src += sizeof(delta);
	if (h->flags & DP_WIRE_NO_TIME) {
		*event_ns = arrival_ns;
		return delta ? DP_C_REJ_FLAGS : 0;
	}
	/* no overflow: the base is at most 2200, the delta at most 25 days */
	*event_ns = h->base_time_ns + delta * (h->flags & DP_WIRE_DELTA_MS ? 1000000ll : 1000ll);
	return *event_ns < 0 || *event_ns >= DP_EVENT_NS_END ? DP_C_REJ_TIME : 0;
}

/*
 * Values of one reading into `row`, field_count floats, missing ones NaN.  `scaled` is a constant
 * where this is inlined.
 */
static inline enum dp_counter take_values(
	struct body *d, float *row, uint16_t *flags, const bool scaled)
{
	const struct dp_stream *s = d->batch->stream;
	const uint32_t fields = d->head->field_count, bitmap_bytes = (fields + 7) / 8;
	const ptrdiff_t value_bytes = scaled ? 2 : 4;
	const uint8_t *bitmap = d->src;

	if (d->end - d->src < (ptrdiff_t)bitmap_bytes)
		return DP_C_REJ_TRUNCATED;
	if (fields % 8 && bitmap[bitmap_bytes - 1] >> fields % 8)
		return DP_C_REJ_PRESENCE;
	d->src += bitmap_bytes;
	for (uint32_t f = 0; f < s->field_count; f++)
		row[f] = NAN;

	for (uint32_t byte = 0; byte < bitmap_bytes; byte++) {
		for (uint32_t bits = bitmap[byte]; bits; bits &= bits - 1) {
			const uint32_t f = byte * 8 + (uint32_t)__builtin_ctz(bits);
			const struct dp_field *field = &s->fields[f];
			float value;

			if (d->end - d->src < value_bytes)
				return DP_C_REJ_TRUNCATED;
			if (scaled) {
				int16_t raw;

				memcpy(&raw, d->src, sizeof(raw));
				d->src += sizeof(raw);
				if (raw == DP_WIRE_MISSING_I16)
					continue;
				/* double: the product is exact, so the sum alone rounds */
				value = (float)((double)raw * field->scale + field->offset);
			} else {
				memcpy(&value, d->src, sizeof(value));
				d->src += sizeof(value);
			}
			if (!isfinite(value)) {
				d->not_finite++;
				continue;
			}
			if (value < field->min || value > field->max) {
				d->out_of_range++;
				*flags |= DP_ROW_OUT_OF_RANGE;
			}
			row[f] = value;
		}
	}
	return 0;
}

static enum dp_counter take_readings(
	struct body *d, const struct dp_sensor_id *id, int64_t arrival_ns)
{
	const struct dp_wire_head *h = d->head;
	struct dp_batch *b = d->batch;
	const uint64_t key = dp_sensor_key(id);
	const size_t tags = b->stream->tag_count;
	const bool scaled = h->flags & DP_WIRE_SCALED;
	const uint16_t flags = (uint16_t)((h->flags & DP_WIRE_NUMBERED ? DP_ROW_NUMBERED : 0) |
					  (h->flags & DP_WIRE_NO_TIME ? DP_ROW_ARRIVAL_TIME : 0));

	for (uint32_t i = 0; i < h->count; i++) {
		const uint32_t row = b->count + i;
		float *values = dp_batch_row_values(b, row);
		enum dp_counter reason = take_time(d, arrival_ns, &b->event_ns[row]);

		if (reason)
			return reason;
		b->flags[row] = flags;
		reason = scaled ? take_values(d, values, &b->flags[row], true)
				: take_values(d, values, &b->flags[row], false);
		if (reason)
			return reason;
		b->id[row] = *id;
		b->key[row] = key;
		b->arrival_ns[row] = arrival_ns;
		b->seq[row] = h->sequence;
		b->boot[row] = h->boot;
		b->index[row] = (uint8_t)i;
		b->group[row] = i ? 0 : h->count;
		for (size_t t = 0; i && t < tags; t++) {
			uint8_t len = b->tag_len[b->count * tags + t];

			b->tag_len[row * tags + t] = len;
			memcpy(b->tags[row * tags + t], b->tags[b->count * tags + t], len);
		}
	}
	return d->src == d->end ? 0 : DP_C_REJ_TRAILING;
}

static int reject(struct dp_counters *c, enum dp_counter reason)
{
	dp_count(c, reason, 1);
	return -(int)reason;
}

int dp_binary_decode(const struct dp_decode_target *t, const uint8_t *src, const uint8_t *end,
	int64_t arrival_ns, struct dp_counters *c, uint16_t *stream)
{
	struct dp_wire_head head;
	struct dp_sensor_id id;
	struct body d = {.src = src + sizeof(head), .end = end, .head = &head};
	enum dp_counter reason;
	int index;

	if (end - src < (ptrdiff_t)sizeof(head))
		return reject(c, DP_C_REJ_TRUNCATED);
	if (end - src > DP_DATAGRAM_BYTES_MAX)
		return reject(c, DP_C_REJ_OVERSIZE);
	memcpy(&head, src, sizeof(head));
	reason = judge_head(&head);
	if (reason)
		return reject(c, reason);

	index = head.stream < DP_STREAMS_MAX * 4 ? t->by_number[head.stream] : -1;
	if (index < 0)
		return reject(c, DP_C_REJ_STREAM);
	d.batch = &t->batches[index];
	assert(d.batch->count + head.count <= DP_BATCH_MAX);
	if (head.field_count < 1 || head.field_count > d.batch->stream->field_count)
		return reject(c, DP_C_REJ_PRESENCE);

	reason = take_id(&d, &id);
	if (!reason)
		reason = take_tags(&d);
	if (!reason)
		reason = take_readings(&d, &id, arrival_ns);
	if (reason)
		return reject(c, reason);

	d.batch->count += head.count;
	dp_count(c, DP_C_DECODED_DATAGRAMS, 1);
	dp_count(c, DP_C_DECODED_READINGS, head.count);
	if (d.not_finite)
		dp_count(c, DP_C_NOT_FINITE, d.not_finite);
	if (d.out_of_range)
		dp_count(c, DP_C_OUT_OF_RANGE, d.out_of_range);
	*stream = (uint16_t)index;
	return head.count;
}
