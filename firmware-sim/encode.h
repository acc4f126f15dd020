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

/* Bytes written to out, or 0 when they are more than cap. */
size_t fws_encode(const struct fws_shape *s, const struct fws_message *m, uint8_t *out, size_t cap);

/* Sequence numbers that the message uses up. */
static inline uint32_t fws_message_numbers(const struct fws_shape *s, const struct fws_message *m)
{
	return s->format == FWS_JSON ? m->count : 1;
}
