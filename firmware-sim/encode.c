/* Readings to bytes. */
#include "firmware-sim/encode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/decode/wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "datagram v1 is copied as it lies");

struct out {
	uint8_t *at, *end; /* at > end: did not fit */
};

static void put(struct out *o, const void *bytes, size_t len)
{
	if ((size_t)(o->end - o->at) < len) {
		o->at = o->end; /* stays full */
		o->end = o->at - 1;
		return;
	}
	memcpy(o->at, bytes, len);
	o->at += len;
}

static bool overflowed(const struct out *o)
{
	return o->at > o->end;
}

static void put_u8(struct out *o, uint8_t v)
{
	if (!overflowed(o))
		put(o, &v, 1);
}

static void put_bytes(struct out *o, const void *bytes, size_t len)
{
	if (!overflowed(o))
		put(o, bytes, len);
}

static void put_text(struct out *o, const char *text)
{
	put_bytes(o, text, strlen(text));
}

static void put_binary_reading(
	struct out *o, const struct fws_shape *s, int32_t delta, const float *values)
{
	uint8_t present[(FWS_FIELDS_MAX + 7) / 8] = {0};

	put_bytes(o, &delta, sizeof(delta));
	for (uint32_t f = 0; f < s->field_count; f++)
		present[f / 8] |= (uint8_t)(!isnan(values[f]) << f % 8);
	put_bytes(o, present, (size_t)(s->field_count + 7) / 8);
	for (uint32_t f = 0; f < s->field_count; f++)
		if (!isnan(values[f]))
			put_bytes(o, &values[f], sizeof(float));
}

int64_t fws_time_unit_ns(const struct fws_shape *s, int64_t span_ns)
{
	if (s->format == FWS_JSON)
		return 1;
	return span_ns <= INT32_MAX * 1000ll ? 1000 : FWS_NS_PER_MS;
}

/* How far the readings lie from the newest. */
static int64_t span_of(const struct fws_message *m)
{
	int64_t span = 0;

	for (uint32_t i = 0; i + 1 < m->count; i++) {
		int64_t apart = llabs(m->time_ns[i] - m->time_ns[m->count - 1]);

		span = apart > span ? apart : span;
	}
	return span;
}

static void encode_binary(struct out *o, const struct fws_shape *s, const struct fws_message *m)
{
	/* The newest reading is the base: it keeps its nanoseconds, by which latency is measured.
	 */
	int64_t base_ns = m->time_ns[m->count - 1], span_ns = span_of(m);
	int64_t unit_ns = fws_time_unit_ns(s, span_ns);
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = (uint8_t)((s->numbered ? DP_WIRE_NUMBERED : 0) |
				   (s->tag_count ? DP_WIRE_TAGS : 0) |
				   (unit_ns == FWS_NS_PER_MS ? DP_WIRE_DELTA_MS : 0)),
		.stream = s->stream,
		.id_len = m->id_len,
		.count = m->count,
		.boot = s->numbered ? m->boot : 0,
		.field_count = s->field_count,
		.sequence = s->numbered ? m->sequence : 0,
		.base_time_ns = base_ns};

	assert(span_ns <= FWS_SPAN_NS_MAX);
	put_bytes(o, &head, sizeof(head));
	put_bytes(o, m->id, m->id_len);
	if (s->tag_count)
		put_u8(o, (uint8_t)s->tag_count);
	for (uint32_t i = 0; i < s->tag_count; i++) {
		put_u8(o, (uint8_t)strlen(s->tags[i]));
		put_text(o, s->tags[i]);
	}
	for (uint32_t i = 0; i < m->count; i++)
		put_binary_reading(o, s, (int32_t)fws_time_units(m->time_ns[i] - base_ns, unit_ns),
			m->values + (size_t)i * s->field_count);
}

static void put_uint(struct out *o, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put_bytes(o, digits + at, sizeof(digits) - at);
}

/* Three decimals, trailing zeros cut: what a device's firmware prints. Finite, |v| < 10^15. */
static void put_decimal(struct out *o, float v)
{
	int64_t milli = llround((double)v * 1000);
	uint64_t size = milli < 0 ? (uint64_t)-milli : (uint64_t)milli;
	uint32_t rest = (uint32_t)(size % 1000);
	char digits[4] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10),
		(char)('0' + rest % 10)};
	size_t len = !rest ? 0 : rest % 10 ? 4 : rest % 100 ? 3 : 2;

	if (milli < 0)
		put_u8(o, '-');
	put_uint(o, size / 1000);
	put_bytes(o, digits, len);
}

size_t fws_decimal(char out[FWS_DECIMAL_BYTES], float v)
{
	struct out o = {(uint8_t *)out, (uint8_t *)out + FWS_DECIMAL_BYTES};

	put_decimal(&o, v);
	return (size_t)(o.at - (uint8_t *)out);
}

static void put_string(struct out *o, const char *bytes, size_t len)
{
	put_u8(o, '"');
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\')
			put_u8(o, '\\');
		put_u8(o, (uint8_t)bytes[i]);
	}
	put_u8(o, '"');
}

static void put_key(struct out *o, const char *key)
{
	put_u8(o, ',');
	put_string(o, key, strlen(key));
	put_u8(o, ':');
}

static void put_json_reading(
	struct out *o, const struct fws_shape *s, const struct fws_message *m, uint32_t i)
{
	const float *values = m->values + (size_t)i * s->field_count;

	put_u8(o, '{');
	put_string(o, s->id_key, strlen(s->id_key));
	put_u8(o, ':');
	put_string(o, m->id, m->id_len);
	if (s->time_key[0]) {
		put_key(o, s->time_key);
		put_uint(o, (uint64_t)m->time_ns[i]);
	}
	if (s->numbered) {
		put_key(o, "boot");
		put_uint(o, m->boot);
		put_key(o, "seq");
		put_uint(o, m->sequence + i);
	}
	for (uint32_t f = 0; f < s->field_count; f++) {
		if (!isfinite(values[f]))
			continue;
		put_key(o, s->fields[f]);
		put_decimal(o, values[f]);
	}
	for (uint32_t t = 0; t < s->tag_count; t++) {
		put_key(o, s->tag_names[t]);
		put_string(o, s->tags[t], strlen(s->tags[t]));
	}
	put_u8(o, '}');
}

static void encode_json(struct out *o, const struct fws_shape *s, const struct fws_message *m)
{
	if (m->count > 1)
		put_u8(o, '[');
	for (uint32_t i = 0; i < m->count; i++) {
		if (i)
			put_u8(o, ',');
		put_json_reading(o, s, m, i);
	}
	if (m->count > 1)
		put_u8(o, ']');
}

size_t fws_encode(const struct fws_shape *s, const struct fws_message *m, uint8_t *out, size_t cap)
{
	struct out o = {out, out + cap};

	assert(m->count >= 1 && m->count <= FWS_READINGS_MAX && m->id_len >= 1);
	if (s->format == FWS_BINARY)
		encode_binary(&o, s, m);
	else
		encode_json(&o, s, m);
	return overflowed(&o) ? 0 : (size_t)(o.at - out);
}
