/*
 * Records: what a block holds (docs/block.md).  Little endian, each at a multiple of 8 from the
 * block's start, its length a multiple of 8, padding zero.  A reader must accept only what
 * dp_rec_check() accepts.
 *
 *   struct dp_rec_<kind> | sensor id, padded to 4 | kind-specific tail | zeros to a multiple of 8
 *   tail of reading: f32 values[field_count] | f32 derived[derived_count] |
 *                    struct dp_rec_score[score_count] | tag_count times (u8 length, bytes)
 *   tail of window:  per field, per bit of stats from the lowest: u32 count or f32 |
 *                    struct dp_rec_score[score_count]
 *   tail of mark:    u64 counters[counter_count]; none in a mark of a sensor
 *   tail of raw:     payload[payload_bytes]
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/stream.h"

enum dp_rec_kind {
	DP_REC_READING = 1,
	DP_REC_WINDOW,
	DP_REC_ALERT,
	DP_REC_GAP,
	DP_REC_MARK,
	DP_REC_RAW,
	DP_REC_KINDS, /* one above the last: array bound */
};

enum {
	DP_REC_NO_STREAM = 0xffff,
	DP_MARK_COUNTERS_MAX = 256, /* room for counters that later versions add */
};

struct dp_rec {
	uint32_t bytes;	 /* whole record */
	uint8_t kind;	 /* enum dp_rec_kind */
	uint8_t id_len;	 /* sensor id; 0 where the record is of no sensor */
	uint16_t stream; /* index in the segment's schema; DP_REC_NO_STREAM where of none */
};

struct dp_rec_reading {
	struct dp_rec head;
	int64_t event_ns, arrival_ns;
	uint64_t life;
	uint64_t seq;  /* 0 unless DP_ROW_NUMBERED */
	uint64_t seen; /* duplicate bitmap of boot after this datagram: bit k = seq - k was recorded
			*/
	uint32_t boot;
	uint16_t flags; /* enum dp_row_flag */
	uint8_t index;	/* of the reading within its datagram */
	uint8_t tag_count;
	uint16_t field_count;
	uint8_t score_count;
	uint8_t group;		/* readings of its datagram on the first, 0 on the others */
	uint16_t derived_count; /* as many as the stream has; 0 where nothing was scored */
	uint16_t reserved;
};
_Static_assert(sizeof(struct dp_rec_reading) == 64, "reading record");

enum dp_score_flag {
	DP_SCORE_NONE = 1 << 0, /* none: an input was missing, or no finite number came out */
};

struct dp_rec_score {
	uint16_t model; /* index in the stream's models */
	uint8_t class_index;
	uint8_t flags; /* enum dp_score_flag */
	uint32_t version;
	float value, probability; /* NaN: the model has none */
};
_Static_assert(sizeof(struct dp_rec_score) == 16, "score");

enum dp_close_reason {
	DP_CLOSE_WATERMARK = 1,
	DP_CLOSE_IDLE,
	DP_CLOSE_CLOCK_RESET,
	DP_CLOSE_RETIRED
};

struct dp_rec_window {
	struct dp_rec head;
	int64_t start_ns, end_ns; /* event time, end exclusive */
	int64_t arrival_ns;	  /* when it closed */
	uint64_t life;
	uint32_t count; /* readings, whatever their values */
	uint8_t window; /* index in the stream's windows */
	uint8_t reason; /* enum dp_close_reason */
	uint8_t score_count;
	uint8_t reserved8;
	uint16_t field_count, stats; /* enum dp_stat bits that follow for each field */
	uint32_t reserved;
};
_Static_assert(sizeof(struct dp_rec_window) == 56, "window record");

struct dp_rec_alert {
	struct dp_rec head;
	int64_t event_ns, arrival_ns;
	uint64_t cause[2]; /* id of the raising record or, for missing data, of the last reading */
	uint64_t life;
	double value;	    /* what was compared; seconds of silence for missing data */
	int64_t raised_ns;  /* arrival time of the raise (equal to arrival_ns when raised) */
	uint32_t rule_hash; /* of the rule's definition: state survives only while it is the same */
	uint8_t rule;	    /* index in the stream's rules */
	uint8_t raised;	    /* 1 raise, 0 clear */
	uint8_t severity;   /* enum dp_severity */
	uint8_t reserved;
};
_Static_assert(sizeof(struct dp_rec_alert) == 72, "alert record");

enum dp_gap_reason {
	DP_GAP_CRASH = 1, /* upper bound of readings received but not accounted for by a mark */
	DP_GAP_DAMAGE,	  /* records in damaged blocks */
	DP_GAP_SCHEMA,	  /* per-sensor state dropped: the stream changed */
	DP_GAP_EXPIRED,	  /* freed by drop_oldest before an output had it */
};

struct dp_rec_gap {
	struct dp_rec head;
	int64_t arrival_ns;
	uint64_t count;		  /* of what the reason says */
	uint64_t epoch, sequence; /* position it concerns; 0 where none */
	uint16_t worker;
	uint8_t reason; /* enum dp_gap_reason */
	uint8_t reserved8;
	uint32_t reserved;
};
_Static_assert(sizeof(struct dp_rec_gap) == 48, "gap record");

enum dp_mark_what { DP_MARK_START = 1, DP_MARK_COUNTERS, DP_MARK_RETIRED };

struct dp_rec_mark {
	struct dp_rec head;
	int64_t arrival_ns;
	uint8_t what; /* enum dp_mark_what */
	uint8_t reserved8[3];
	uint32_t counter_count; /* cumulative, by enum dp_counter; readers take a short one as zeros
				 */
};
_Static_assert(sizeof(struct dp_rec_mark) == 24, "mark record");

/* A datagram as it came; stream and sensor are those of its first reading. */
struct dp_rec_raw {
	struct dp_rec head;
	int64_t arrival_ns;
	uint32_t payload_bytes; /* 1 to DP_DATAGRAM_BYTES_MAX */
	uint32_t reserved;
};
_Static_assert(sizeof(struct dp_rec_raw) == 24, "raw record");

static inline size_t dp_rec_pad(size_t bytes, size_t to)
{
	return (bytes + to - 1) & ~(to - 1);
}

/* Exact bytes of records of that stream with an id of id_len bytes. */
static inline size_t dp_rec_reading_bytes(
	const struct dp_stream *s, size_t id_len, const uint8_t *tag_len)
{
	size_t n = sizeof(struct dp_rec_reading) + dp_rec_pad(id_len, 4) + 4u * s->field_count +
		   sizeof(float) * s->derived_count +
		   sizeof(struct dp_rec_score) * s->reading_models;

	for (uint16_t i = 0; i < s->tag_count; i++)
		n += 1u + tag_len[i];
	return dp_rec_pad(n, 8);
}

static inline size_t dp_rec_window_bytes(
	const struct dp_stream *s, uint32_t stats, size_t scores, size_t id_len)
{
	return dp_rec_pad(sizeof(struct dp_rec_window) + dp_rec_pad(id_len, 4) +
				  4u * (size_t)s->field_count * (size_t)__builtin_popcount(stats) +
				  sizeof(struct dp_rec_score) * scores,
		8);
}

static inline size_t dp_rec_alert_bytes(size_t id_len)
{
	return dp_rec_pad(sizeof(struct dp_rec_alert) + id_len, 8);
}

static inline size_t dp_rec_raw_bytes(size_t id_len, size_t payload_bytes)
{
	return dp_rec_pad(sizeof(struct dp_rec_raw) + dp_rec_pad(id_len, 4) + payload_bytes, 8);
}

/* Most bytes that one reading with all the windows and alerts it may cause can take. */
size_t dp_rec_bytes_max(const struct dp_stream *s);

/*
 * Is `rec`, with `left` bytes up to the end of the payload, a record that a writer of this schema
 * can have made?  Every length, index and enum is checked; after true all accessors are safe.
 */
bool dp_rec_check(const struct dp_rec *rec, size_t left, const struct dp_stream_set *streams);

/* Accessors; only after dp_rec_check. */
const char *dp_rec_sensor(const struct dp_rec *rec);
const float *dp_rec_values(const struct dp_rec_reading *r);
const float *dp_rec_derived(const struct dp_rec_reading *r);
const struct dp_rec_score *dp_rec_scores(const struct dp_rec_reading *r);
const uint8_t *dp_rec_tags(const struct dp_rec_reading *r);  /* tag_count times (length, bytes) */
const uint32_t *dp_rec_stats(const struct dp_rec_window *w); /* u32 or f32 bits */
const struct dp_rec_score *dp_rec_window_scores(const struct dp_rec_window *w);
const uint64_t *dp_rec_counters(const struct dp_rec_mark *m);
const uint8_t *dp_rec_payload(const struct dp_rec_raw *r); /* [payload_bytes] */

/* Where a record stands: needed for the ids of records whose sender does not number. */
struct dp_rec_place {
	uint64_t appliance, epoch, sequence;
	uint32_t worker, index;
};

/*
 * The record's id (docs/block.md), 128 bits of xxh3 over the canonical tuple of its kind, the low
 * half in id[0]; stable across restarts, resends and a change of the number of workers.
 * The `life` of a record is id[0] of the reading that made the slot or last reset its watermark.
 */
void dp_rec_id(const struct dp_rec *rec, const struct dp_stream_set *streams,
	const struct dp_rec_place *place, uint64_t id[2]);
