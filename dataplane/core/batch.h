/*
 * The batch: what moves between the stages.  Up to DP_BATCH_MAX readings of one stream as arrays;
 * row i of each array is reading i.  Decoders append rows, steer splits them by owner, admit fills
 * `slot` and drops rows, window and alert read them, log writes them into a block.
 *
 * Rows of one datagram are adjacent: its first row has group = number of its rows, the others 0; of
 * a JSON array each object is a group of its own.  A numbered group (DP_ROW_NUMBERED) is one
 * sensor's and stays whole to its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/limits.h"
#include "dataplane/core/stream.h"

struct dp_arena;

/* dp_batch.flags and dp_rec_reading.flags: what is noted of a reading. */
enum dp_row_flag {
	DP_ROW_NUMBERED = 1 << 0,     /* sender numbers: boot and seq hold */
	DP_ROW_ARRIVAL_TIME = 1 << 1, /* no event time sent: arrival time stands in */
	DP_ROW_OUT_OF_RANGE = 1 << 2, /* at least one value outside its declared range */
	DP_ROW_LATE = 1 << 3,	      /* too old for at least one window */
	DP_ROW_FUTURE = 1 << 4,	      /* more than max_skew ahead of arrival */
	DP_ROW_CLOCK_RESET = 1 << 5,  /* this reading reset the sensor's watermark: a new life */
	DP_ROW_NEW_LIFE = 1 << 6,     /* first reading of a slot */
};

struct dp_sensor_id {
	uint8_t len;		      /* 1..32; 0 = none */
	char bytes[DP_SENSOR_ID_MAX]; /* not terminated; bytes past len are zero */
};

struct dp_batch {
	const struct dp_stream *stream;
	uint32_t count;
	int64_t oldest_ns; /* steady time the first row was appended; a batch waits DP_BATCH_WAIT_NS
			    */
	int64_t came_ns; /* steady time of no later than its packet came; the linger counts from it
			  */

	/* each [DP_BATCH_MAX] */
	struct dp_sensor_id *id;
	uint64_t *key;			/* dp_sensor_key(id): unseeded, decides the owner */
	int64_t *event_ns, *arrival_ns; /* Unix time */
	uint64_t *seq;
	uint64_t *seen; /* admit: the duplicate bitmap as of this row, bit k = seq - k */
	uint32_t *boot;
	uint32_t *slot;
	uint16_t *flags;
	uint8_t *index; /* of the reading within its group; a datagram, or one object of a JSON
			   array */
	uint8_t *group;

	float *values; /* [DP_BATCH_MAX][stream->field_count], NaN = missing */

	/* [DP_BATCH_MAX][stream->tag_count]; NULL for a stream without tags */
	uint8_t *tag_len;
	char (*tags)[DP_TAG_BYTES_MAX];
};

/* Bytes of arena that dp_batch_init takes for a batch of that stream. */
size_t dp_batch_bytes(const struct dp_stream *stream);

/* Empty batch on arena memory. 0 or -ENOMEM. */
int dp_batch_init(struct dp_batch *b, const struct dp_stream *stream, struct dp_arena *arena);

/* Copies row `from` of src behind the last row of dst (same stream, room left). */
void dp_batch_copy_row(struct dp_batch *dst, const struct dp_batch *src, uint32_t from);

/* Moves row `from` down to row `to` within one batch (to <= from): stages that drop rows compact.
 */
void dp_batch_move_row(struct dp_batch *b, uint32_t to, uint32_t from);

/* xxh3-64 of the id's bytes, unseeded. */
uint64_t dp_sensor_key(const struct dp_sensor_id *id);

/* Well-formed UTF-8 (Unicode 15, table 3-7); nothing at all is. */
bool dp_utf8_valid(const char *bytes, size_t len);

/* 1..32 bytes of valid UTF-8 without control characters (C0, DEL, C1). */
bool dp_sensor_id_valid(const char *bytes, size_t len);
/* The same of a text of any length, also none. */
bool dp_text_valid(const char *bytes, size_t len);

static inline float *dp_batch_row_values(const struct dp_batch *b, uint32_t row)
{
	return b->values + (size_t)row * b->stream->field_count;
}
