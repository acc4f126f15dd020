/* Datagrams as sensors make them: binary v1 and JSON (docs/wire.md). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/decode/wire.h"
#include "tests/sim/net.h"

enum { BYTES_MAX = 8192 };

static uint8_t *put(uint8_t *at, const void *from, size_t n)
{
	memcpy(at, from, n);
	return at + n;
}

static uint8_t *put_reading(
	uint8_t *at, const struct sim_reading *r, const struct dp_stream *st, int32_t delta)
{
	uint8_t presence = 0;

	for (uint32_t f = 0; f < st->field_count; f++)
		presence |= (uint8_t)(!isnan(r->values[f]) << f);
	at = put(at, &delta, sizeof(delta));
	at = put(at, &presence, 1);
	for (uint32_t f = 0; f < st->field_count; f++)
		if (presence >> f & 1)
			at = put(at, &r->values[f], sizeof(float));
	return at;
}

static size_t encode_binary(const struct sim_net *n, const struct sim_unit *u, uint8_t *bytes)
{
	const struct sim_sensor *s = &n->sensors[u->sensor];
	const struct dp_stream *st = &n->config->streams[s->stream];
	const struct sim_reading *r = &n->readings[u->first];
	uint8_t *at = bytes + sizeof(struct dp_wire_head), tags = (uint8_t)st->tag_count;
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.stream = st->number,
		.id_len = s->id_len,
		.count = (uint8_t)u->count,
		.field_count = st->field_count};

	if (u->numbered) {
		head.flags |= DP_WIRE_NUMBERED;
		head.boot = u->boot;
		head.sequence = u->seq;
	}
	if (r->timed)
		head.base_time_ns = r->event_ns;
	else
		head.flags |= DP_WIRE_NO_TIME;
	at = put(at, s->id, s->id_len);
	if (tags) {
		head.flags |= DP_WIRE_TAGS;
		at = put(at, &tags, 1);
		for (uint32_t i = 0; i < tags; i++) {
			at = put(at, &u->tag_len[i], 1);
			at = put(at, u->tags[i], u->tag_len[i]);
		}
	}
	memcpy(bytes, &head, sizeof(head));
	for (uint32_t i = 0; i < u->count; i++)
		at = put_reading(at, &r[i], st,
			r->timed ? (int32_t)((r[i].event_ns - r->event_ns) / 1000) : 0);
	return (size_t)(at - bytes);
}

static size_t encode_object(
	const struct sim_net *n, const struct sim_unit *u, char *text, size_t size)
{
	const struct sim_sensor *s = &n->sensors[u->sensor];
	const struct dp_stream *st = &n->config->streams[s->stream];
	const struct sim_reading *r = &n->readings[u->first];
	size_t at = (size_t)snprintf(text, size, "{\"id\":\"%s\"", s->id);

	if (r->timed)
		at += (size_t)snprintf(text + at, size - at, ",\"t\":%" PRId64, r->event_ns);
	if (u->numbered)
		at += (size_t)snprintf(text + at, size - at,
			",\"boot\":%" PRIu32 ",\"seq\":%" PRIu64, u->boot, u->seq);
	for (uint32_t f = 0; f < st->field_count; f++)
		if (!isnan(r->values[f]))
			at += (size_t)snprintf(text + at, size - at, ",\"%s\":%.2f",
				st->fields[f].name, (double)r->values[f]);
	for (uint32_t i = 0; i < st->tag_count; i++)
		at += (size_t)snprintf(text + at, size - at, ",\"%s\":\"%.*s\"", st->tags[i].name,
			u->tag_len[i], u->tags[i]);
	text[at++] = '}';
	return at;
}

static size_t encode_json(const struct sim_net *n, const struct sim_datagram *d, char *text)
{
	size_t at = 0;

	if (d->count > 1)
		text[at++] = '[';
	for (uint32_t i = 0; i < d->count; i++) {
		if (i)
			text[at++] = ',';
		at += encode_object(n, &n->units[d->first + i], text + at, BYTES_MAX - at);
	}
	if (d->count > 1)
		text[at++] = ']';
	return at;
}

void sim_encode(struct sim_net *n, struct sim_datagram *d)
{
	uint8_t bytes[BYTES_MAX];
	size_t length;

	if (d->input == 0)
		length = encode_binary(n, &n->units[d->first], bytes);
	else
		length = encode_json(n, d, (char *)bytes);
	if (d->bad) /* ends too early in either form */
		length--;
	d->bytes = calloc(1, length + DP_JSON_PADDING);
	if (!d->bytes)
		abort();
	memcpy(d->bytes, bytes, length);
	d->length = (uint32_t)length;
}
