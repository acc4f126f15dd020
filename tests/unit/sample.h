/*
 * Streams and records that the journal's tests share: two streams, one record of every kind.  The
 * fixture segment-v1.seg holds them too, so nothing here may change as long as format v1 is read.
 */
#pragma once

#include "dataplane/journal/log.h"

enum {
	SAMPLE_RECORDS = 8,
	SAMPLE_LOG_BYTES = 1 << 20,
	SAMPLE_BLOCK_MAX = 128 << 10,
	SAMPLE_GROUP_BYTES = 2048, /* more than a sample_group() takes */
};

#define SAMPLE_APPLIANCE 0x1122334455667788ull
#define SAMPLE_EPOCH	 1700000000ull
#define SAMPLE_TIME_NS	 1700000000000000000ll

struct sample_streams {
	struct dp_stream_set set;
	struct dp_stream streams[2];
	struct dp_field fields[4];
	struct dp_tag tags[2];
	struct dp_window_def windows[3];
	struct dp_rule rules[3];
	struct dp_model models[1];
	struct dp_label labels[2];
	struct dp_derived derived[2];
};

/* Which record of a group is which. */
enum sample_index {
	SAMPLE_START,
	SAMPLE_WINDOW,
	SAMPLE_NUMBERED,
	SAMPLE_ALERT,
	SAMPLE_UNNUMBERED,
	SAMPLE_GAP,
	SAMPLE_RETIRED,
	SAMPLE_LIGHT_WINDOW,
};

void sample_streams_init(struct sample_streams *s);

/* A log of that worker in its own arena. Aborts when there is no memory. */
void sample_log_init(struct dp_log *log, struct dp_arena *arena, uint32_t worker);

/* Writes SAMPLE_RECORDS records, in enum sample_index order, as one group; `round` varies them. */
void sample_group(struct dp_log *log, const struct sample_streams *s, uint32_t round);

/* Record number `index` of a block; NULL when there is no such good record. */
const struct dp_rec *sample_record(
	const struct dp_block *b, const struct dp_stream_set *streams, uint32_t index);
