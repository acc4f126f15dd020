/*
 * Decoders: bytes of one datagram to rows of a batch.  Sans I/O, no clock, no allocation, strict: a
 * datagram is taken whole or rejected whole under exactly one reason.
 */
#pragma once

#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/drop.h"

/* Event times that are believed: 1970-01-01 up to, not including, 2201-01-01 UTC. */
#define DP_EVENT_NS_END (7289654400 * DP_NS_PER_S)

enum dp_format { DP_FORMAT_BINARY = 1, DP_FORMAT_JSON };

/* What a decoder may know of the world: the streams, and a batch per stream to append to. */
struct dp_decode_target {
	const struct dp_stream_set *streams;
	struct dp_batch *batches; /* [streams->count] */
	/* binary: stream number -> index, -1 unknown; built by dp_decode_target_init */
	int16_t by_number[DP_STREAMS_MAX * 4];
};

/*
 * Decodes datagram [src, end) that arrived at arrival_ns.
 *
 * Returns the number of readings, 1..64, appended to the batch of the datagram's stream (index in
 * *stream), counted as decoded; or -(int)reason, reason one of DP_C_REJ_*, with no batch changed
 * and that reason counted.  Noted counters (out of range, not finite, unknown key) go to c as well.
 * The caller makes room first: every batch holds less than DP_BATCH_FLUSH rows.
 */
int dp_binary_decode(const struct dp_decode_target *t, const uint8_t *src, const uint8_t *end,
	int64_t arrival_ns, struct dp_counters *c, uint16_t *stream);

/*
 * JSON: one object or an array of 1..64 objects of one stream, the one that the input names.  Each
 * object is a group (batch.h) of one row.  Counts and returns as dp_binary_decode does.  A parser
 * comes from dp_json_new, holds no datagram between calls, and is for one thread at a time.
 * Padding: at least DP_JSON_PADDING readable bytes must lie beyond end.
 */
struct dp_json;
enum { DP_JSON_PADDING = 64 };

/* NULL when out of memory. Takes all that decoding will need; the set must outlive the parser. */
struct dp_json *dp_json_new(const struct dp_stream_set *streams);
void dp_json_free(struct dp_json *p);
int dp_json_decode(struct dp_json *p, const struct dp_decode_target *t, uint16_t stream,
	const uint8_t *src, const uint8_t *end, int64_t arrival_ns, struct dp_counters *c);

/* Fills by_number. Stream numbers are below DP_STREAMS_MAX * 4 (checked by the config). */
void dp_decode_target_init(
	struct dp_decode_target *t, const struct dp_stream_set *streams, struct dp_batch *batches);
