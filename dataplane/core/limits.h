/*
 * Every bound of the data plane in one place.  A bound that a user may change is in the config and
 * only its ceiling is here.
 */
#pragma once

#include <stdint.h>

enum {
	DP_WORKERS_MAX = 16,
	DP_STREAMS_MAX = 64,
	DP_FIELDS_MAX = 1024, /* widest public sensor rows have some 600 */
	DP_TAGS_MAX = 8,
	DP_TAG_BYTES_MAX = 64,
	DP_WINDOWS_MAX = 8,   /* per stream */
	DP_PANES_MAX = 128,   /* per window: size / slide plus what lateness needs */
	DP_RULES_MAX = 32,    /* alert rules per stream; one bit each in a u32 */
	DP_MODELS_MAX = 16,   /* per stream */
	DP_DERIVED_MAX = 256, /* inputs of a stream's models that are kept in records */
	DP_LABELS_MAX = 256,  /* classes of a stream's models */
	DP_OUTPUTS_MAX = 8,
	DP_INPUTS_MAX = 8,

	DP_NAME_BYTES_MAX = 32, /* stream, field, tag, rule, output names */
	DP_UNIT_BYTES_MAX = 16,
	DP_EXPR_BYTES_MAX = 95,	 /* an input expression of a model */
	DP_CLASS_BYTES_MAX = 31, /* what a model calls a class */
	DP_SENSOR_ID_MAX = 32,

	DP_DATAGRAM_BYTES_MAX = 9216, /* a jumbo frame's payload fits */
	DP_DATAGRAM_READINGS_MAX = 64,
	DP_BATCH_FLUSH = 64, /* readings; a batch is processed once it holds these */
	DP_BATCH_MAX = DP_BATCH_FLUSH + DP_DATAGRAM_READINGS_MAX, /* so a datagram always fits */

	DP_CACHE_LINE = 64,
	DP_DISK_ALIGN = 4096, /* blocks and segment headers start at multiples of this */
};

#define DP_BATCH_WAIT_NS 50000ll /* oldest reading of a gathering batch waits at most this */
#define DP_NS_PER_S	 1000000000ll
#define DP_NS_PER_MS	 1000000ll
