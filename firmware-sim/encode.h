/*
 * Readings of one device as the bytes of one datagram: binary v1 (dataplane/decode/wire.h) or JSON.
 * Written from the documents, not from the appliance's decoders, whose mistakes it must not share.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware-sim/limits.h"

enum fws_format { FWS_BINARY = 1, FWS_JSON };

/* What all messages of a run share. */
struct fws_shape {
	enum fws_format format;
	uint16_t stream; /* its number; binary only */
	bool numbered;
	uint16_t field_count, tag_count;
	char fields[FWS_FIELDS_MAX][FWS_NAME_MAX + 1];
	char tag_names[FWS_TAGS_MAX][FWS_NAME_MAX + 1];
	char tags[FWS_TAGS_MAX][FWS_TAG_BYTES_MAX + 1];
	char id_key[FWS_NAME_MAX + 1], time_key[FWS_NAME_MAX + 1]; /* JSON only */
};

struct fws_message {
	const char *id;
	uint8_t id_len;
	uint8_t count; /* readings, 1..FWS_READINGS_MAX */
	uint32_t boot;
	uint64_t sequence; /* binary: of the datagram; JSON: of the first reading, each has its own
			    */
	int64_t time_ns[FWS_READINGS_MAX];
	float *values; /* [count][field_count]; NaN = missing */
};

/* Most that the readings of a binary message may lie apart: a delta is an i32. */
#define FWS_SPAN_NS_MAX (INT32_MAX * FWS_NS_PER_MS)

/*
 * What event times of a message whose readings lie span_ns apart are sent in: nanoseconds in JSON;
 * in binary microseconds before its newest reading, or milliseconds where those would not fit.
 */
int64_t fws_time_unit_ns(const struct fws_shape *s, int64_t span_ns);

/* Whole units, towards zero, without the division by a variable that costs up to 90 cycles. */
static inline int64_t fws_time_units(int64_t ns, int64_t unit_ns)
{
	return unit_ns == 1 ? ns : unit_ns == 1000 ? ns / 1000 : ns / FWS_NS_PER_MS;
}

enum { FWS_DECIMAL_BYTES = 24 };

/* A value as JSON has it, not terminated; returns its length. Finite, |v| < 10^15. */
size_t fws_decimal(char out[FWS_DECIMAL_BYTES], float v);

/* Bytes written to out, or 0 when they are more than cap. */
size_t fws_encode(const struct fws_shape *s, const struct fws_message *m, uint8_t *out, size_t cap);

/* Sequence numbers that the message uses up. */
static inline uint32_t fws_message_numbers(const struct fws_shape *s, const struct fws_message *m)
{
	return s->format == FWS_JSON ? m->count : 1;
}
