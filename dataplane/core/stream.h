/*
 * What a stream is: data of the config, not code.  control/config fills these; the data plane only
 * reads them; journal/schema.c writes them into every segment so that segments explain themselves.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/limits.h"

struct dp_field {
	char name[DP_NAME_BYTES_MAX + 1];
	char unit[DP_UNIT_BYTES_MAX + 1];
	float min, max;	     /* valid range, inclusive; -INFINITY / INFINITY when not given */
	float scale, offset; /* value = raw * scale + offset for the scaled i16 of datagram v1 */
};

struct dp_tag {
	char name[DP_NAME_BYTES_MAX + 1];
};

/* Statistics that a window keeps; bits of dp_window_def.stats. Count is always kept. */
enum dp_stat {
	DP_STAT_COUNT = 1 << 0,
	DP_STAT_MEAN = 1 << 1,
	DP_STAT_STD = 1 << 2, /* sample: n - 1; missing for fewer than two values */
	DP_STAT_MIN = 1 << 3,
	DP_STAT_MAX = 1 << 4,
	DP_STAT_LAST = 1 << 5, /* value with the greatest event time; the later arrival on a tie */
	DP_STAT_ALL = 63,
};

struct dp_window_def {
	char name[DP_NAME_BYTES_MAX + 1]; /* "30s/10s" unless the config names it */
	int64_t size_ns, slide_ns;	  /* size is a multiple of slide; equal when tumbling */
	uint32_t stats;			  /* enum dp_stat bits, for every field: told in records */
	uint32_t kept;			  /* more of them, which models use */
};

enum dp_rule_kind {
	DP_RULE_ABOVE = 1, /* value > threshold raises; value <= threshold - hysteresis clears */
	DP_RULE_BELOW,	   /* value < threshold raises; value >= threshold + hysteresis clears */
	DP_RULE_RATE,	   /* |change| per second of event time > threshold */
	DP_RULE_MISSING,   /* silent for period_ns * count of arrival time */
};

enum dp_severity { DP_SEVERITY_INFO = 1, DP_SEVERITY_WARNING, DP_SEVERITY_CRITICAL };

struct dp_rule {
	char name[DP_NAME_BYTES_MAX + 1];
	enum dp_rule_kind kind;
	enum dp_severity severity;
	int16_t field;	/* index; -1 for DP_RULE_MISSING and for a score */
	int16_t window; /* index when a closed window is what it sees, else -1 */
	uint32_t stat;	/* one enum dp_stat bit when it is on a statistic, else 0 */
	double threshold, hysteresis;
	/* Consecutive readings (or windows) that must violate; periods for MISSING; 0 = only
	 * duration_ns. */
	uint32_t count;
	int64_t duration_ns; /* or: violated without a break for this long in event time; 0 = off */
	int64_t period_ns;   /* expected period, for DP_RULE_MISSING */
	bool of_score;	     /* it is on what a model says: */
	int16_t model;	     /* index */
	int16_t label;	     /* of that class; index in the stream's labels; -1: none */
	char class_name[DP_CLASS_BYTES_MAX + 1]; /* what `label` was found by; "": none */
};

/* What an input of a model is made of (docs/bundle.md, "Inputs"). */
enum dp_expr_op {
	DP_EXPR_VALUE = 1,
	DP_EXPR_STAT, /* of a window's panes, as are the next two */
	DP_EXPR_ZSCORE,
	DP_EXPR_SLOPE,
	DP_EXPR_DELTA,
	DP_EXPR_RATIO,
	DP_EXPR_HOUR,
	DP_EXPR_WEEKDAY,
};

struct dp_expr {
	enum dp_expr_op op;
	uint16_t field, other; /* indices; other: the divisor of a ratio */
	uint16_t window;       /* index */
	uint32_t stat;	       /* one enum dp_stat bit */
};

/* An input that needs more than its reading. Records hold it, so that a score can be made again. */
struct dp_derived {
	char text[DP_EXPR_BYTES_MAX + 1]; /* canonical */
	struct dp_expr expr; /* not in the schema: what reads records needs only text */
};

struct dp_label {
	char text[DP_CLASS_BYTES_MAX + 1];
};

struct dp_model {
	char name[DP_NAME_BYTES_MAX + 1];
	const char *file;		/* its bundle; control's alone */
	int16_t window;			/* index: scores its closes; -1: scores readings */
	uint16_t label_at, label_count; /* classes: of the stream's labels; none for a regression */
};

struct dp_stream {
	char name[DP_NAME_BYTES_MAX + 1];
	char id_key[DP_NAME_BYTES_MAX + 1];   /* JSON key that holds the sensor id */
	char time_key[DP_NAME_BYTES_MAX + 1]; /* JSON key of the event time; "" = arrival time */
	uint16_t index;	 /* in the config's list; what records and batches carry */
	uint16_t number; /* what datagram v1 carries; unique within the set */
	uint16_t field_count, tag_count, window_count, rule_count, model_count;
	uint16_t label_count, derived_count;
	uint16_t reading_models; /* of the models: those that score readings */
	int64_t lateness_ns, max_skew_ns, idle_ns, forget_ns;
	uint64_t state_hash; /* dp_stream_state_hash(): what per-sensor state depends on */
	struct dp_field *fields;
	struct dp_tag *tags;
	struct dp_window_def *windows;
	struct dp_rule *rules;
	struct dp_model *models;    /* [model_count]; scores in records name them by index */
	struct dp_label *labels;    /* [label_count] */
	struct dp_derived *derived; /* [derived_count]; what reading records carry, in this order */
};

struct dp_stream_set {
	uint32_t count;
	uint64_t hash;		   /* xxh3 of the serialised set: dp_schema_write() */
	struct dp_stream *streams; /* [count], streams[i].index == i */
};
