/*
 * The small world that decoder tests and fuzz targets share: two streams, their batches, and what
 * must hold after any datagram whatever.
 */
#pragma once

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/core/mem.h"
#include "dataplane/decode/decode.h"

enum { WORLD_STREAMS = 2, WORLD_ROOM, WORLD_WIDE_NUMBER = 200, WORLD_WIDE_FIELDS = 19 };

#define WORLD_ARRIVAL_NS 1700000000123456789ll

struct world {
	struct dp_stream_set set;
	struct dp_stream streams[WORLD_STREAMS];
	struct dp_field room_fields[4], wide_fields[WORLD_WIDE_FIELDS];
	struct dp_tag tags[2];
	struct dp_batch batches[WORLD_STREAMS];
	struct dp_decode_target target;
	struct dp_arena arena;
	struct dp_counters counters, before;
	uint32_t count_before[WORLD_STREAMS];
};

static inline struct dp_field world_field(const char *name, float min, float max)
{
	struct dp_field f = {.min = min, .max = max, .scale = 0.5f, .offset = 10.0f};

	memcpy(f.name, name, strlen(name) + 1);
	return f;
}

/*
 * Stream 0 "room" (number 3): temperature [-40, 85], humidity [0, 100], voltage, light; tags lot
 * and line; id and time.  Stream 1 "wide" (number 200): 19 fields f00..f18 of any range, no tags,
 * no time.
 */
static inline void world_init(struct world *w)
{
	static const char *const names[4] = {"temperature", "humidity", "voltage", "light"};

	memset(w, 0, sizeof(*w));
	w->room_fields[0] = world_field(names[0], -40, 85);
	w->room_fields[1] = world_field(names[1], 0, 100);
	w->room_fields[2] = world_field(names[2], -INFINITY, INFINITY);
	w->room_fields[3] = world_field(names[3], -INFINITY, INFINITY);
	for (int i = 0; i < WORLD_WIDE_FIELDS; i++) {
		char name[] = {'f', (char)('0' + i / 10), (char)('0' + i % 10), 0};

		w->wide_fields[i] = world_field(name, -INFINITY, INFINITY);
	}
	memcpy(w->tags[0].name, "lot", 4);
	memcpy(w->tags[1].name, "line", 5);
	w->streams[0] = (struct dp_stream){.name = "room",
		.id_key = "id",
		.time_key = "time",
		.number = WORLD_ROOM,
		.field_count = 4,
		.tag_count = 2,
		.fields = w->room_fields,
		.tags = w->tags};
	w->streams[1] = (struct dp_stream){.name = "wide",
		.id_key = "sensor",
		.index = 1,
		.number = WORLD_WIDE_NUMBER,
		.field_count = WORLD_WIDE_FIELDS,
		.fields = w->wide_fields};
	w->set = (struct dp_stream_set){.count = WORLD_STREAMS, .streams = w->streams};
	if (dp_arena_init(&w->arena, 1 << 20))
		abort();
	for (int i = 0; i < WORLD_STREAMS; i++)
		if (dp_batch_init(&w->batches[i], &w->streams[i], &w->arena))
			abort();
	dp_decode_target_init(&w->target, &w->set, w->batches);
}

static inline void world_fini(struct world *w)
{
	dp_arena_fini(&w->arena);
}

/* Notes counters and rows, for world_check after the next datagram. */
static inline void world_note(struct world *w)
{
	w->before = w->counters;
	for (int i = 0; i < WORLD_STREAMS; i++)
		w->count_before[i] = w->batches[i].count;
}

static inline uint64_t world_counted(const struct world *w, enum dp_counter which)
{
	return dp_counted(&w->counters, which) - dp_counted(&w->before, which);
}

/* NULL, or what is wrong with a row that a decoder has taken over. */
static inline const char *world_row_fault(const struct dp_batch *b, uint32_t row)
{
	const struct dp_sensor_id *id = &b->id[row];
	bool outside = false;

	if (!dp_sensor_id_valid(id->bytes, id->len))
		return "sensor id not valid";
	for (uint32_t i = id->len; i < sizeof(id->bytes); i++)
		if (id->bytes[i])
			return "sensor id not padded with zeroes";
	if (b->key[row] != dp_sensor_key(id))
		return "key is not of the id";
	if (b->event_ns[row] < 0 || b->event_ns[row] >= DP_EVENT_NS_END)
		return "event time beyond belief";
	if (b->arrival_ns[row] != WORLD_ARRIVAL_NS)
		return "arrival time lost";
	if ((b->flags[row] & DP_ROW_ARRIVAL_TIME) && b->event_ns[row] != WORLD_ARRIVAL_NS)
		return "arrival time does not stand in";
	if (!(b->flags[row] & DP_ROW_NUMBERED) && (b->boot[row] || b->seq[row]))
		return "number on a reading that is not numbered";
	if (b->flags[row] & ~(DP_ROW_NUMBERED | DP_ROW_ARRIVAL_TIME | DP_ROW_OUT_OF_RANGE))
		return "flag that is not a decoder's";
	for (uint32_t f = 0; f < b->stream->field_count; f++) {
		const float v = dp_batch_row_values(b, row)[f];

		if (isinf(v))
			return "infinite value";
		outside |= v < b->stream->fields[f].min || v > b->stream->fields[f].max;
	}
	if (outside != !!(b->flags[row] & DP_ROW_OUT_OF_RANGE))
		return "out-of-range flag does not match the values";
	for (uint32_t t = 0; t < b->stream->tag_count; t++) {
		const size_t at = (size_t)row * b->stream->tag_count + t;

		if (b->tag_len[at] > DP_TAG_BYTES_MAX ||
			!dp_utf8_valid(b->tags[at], b->tag_len[at]))
			return "tag too long or not UTF-8";
	}
	return NULL;
}

/* NULL, or what is wrong after a decoder returned rc for a datagram of stream `index`. */
static inline const char *world_fault(const struct world *w, int rc, uint16_t index)
{
	uint64_t changed = 0, rejected = 0;

	for (int i = 0; i < DP_COUNTER_COUNT; i++) {
		changed += world_counted(w, (enum dp_counter)i);
		if (i >= DP_C_REJ_TRUNCATED && i <= DP_C_REJ_TAG)
			rejected += world_counted(w, (enum dp_counter)i);
	}
	if (rc < 0) {
		for (int i = 0; i < WORLD_STREAMS; i++)
			if (w->batches[i].count != w->count_before[i])
				return "a rejected datagram changed a batch";
		if (changed != 1 || rejected != 1 || world_counted(w, (enum dp_counter) - rc) != 1)
			return "a rejected datagram is not counted under exactly its reason";
		return NULL;
	}
	if (rc < 1 || rc > DP_DATAGRAM_READINGS_MAX || index >= WORLD_STREAMS)
		return "impossible result";
	if (rejected || world_counted(w, DP_C_DECODED_DATAGRAMS) != 1 ||
		world_counted(w, DP_C_DECODED_READINGS) != (uint64_t)rc)
		return "an accepted datagram is not counted as decoded";
	for (int i = 0; i < WORLD_STREAMS; i++)
		if (w->batches[i].count != w->count_before[i] + (i == index ? (uint32_t)rc : 0))
			return "rows are not in the batch of their stream";
	for (uint32_t row = w->count_before[index], left = 0; row < w->batches[index].count;
		row++) {
		const struct dp_batch *b = &w->batches[index];
		const char *fault = world_row_fault(b, row);

		if (fault)
			return fault;
		if (!left != !!b->group[row])
			return "groups do not cover the rows";
		left = (left ? left : b->group[row]) - 1;
		if (left && row + 1 == b->count)
			return "last group goes beyond the rows";
	}
	return NULL;
}
