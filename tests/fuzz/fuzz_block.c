/*
 * Any bytes as a block: first as they are, then with a header that holds, so that the walk over the
 * records is reached; what the walk yields must be safe to read and to name.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/block.h"
#include "tests/unit/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t sum; /* what was read must go somewhere */

static void add(const void *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		sum += ((const uint8_t *)at)[i];
}

/* Everything that the accessors promise. */
static void read_all(const struct dp_rec *rec, const struct dp_stream_set *streams)
{
	const struct dp_rec_reading *r = (const struct dp_rec_reading *)rec;
	const struct dp_rec_window *w = (const struct dp_rec_window *)rec;
	const struct dp_rec_mark *m = (const struct dp_rec_mark *)rec;
	const struct dp_rec_raw *raw = (const struct dp_rec_raw *)rec;

	add(dp_rec_sensor(rec), rec->id_len);
	if (rec->kind == DP_REC_READING) {
		const uint8_t *tags = dp_rec_tags(r);

		add(dp_rec_values(r), sizeof(float) * streams->streams[rec->stream].field_count);
		add(dp_rec_derived(r), sizeof(float) * r->derived_count);
		add(dp_rec_scores(r), sizeof(struct dp_rec_score) * r->score_count);
		for (uint8_t i = 0; i < r->tag_count; i++, tags += 1 + tags[0])
			add(tags + 1, tags[0]);
	} else if (rec->kind == DP_REC_WINDOW) {
		add(dp_rec_stats(w),
			sizeof(float) * w->field_count * (size_t)__builtin_popcount(w->stats));
		add(dp_rec_window_scores(w), sizeof(struct dp_rec_score) * w->score_count);
	} else if (rec->kind == DP_REC_MARK) {
		add(dp_rec_counters(m), sizeof(uint64_t) * m->counter_count);
	} else if (rec->kind == DP_REC_RAW) {
		add(dp_rec_payload(raw), raw->payload_bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dp_block_spot spot = {.serial = 1, .offset = 8192, .salt = 3};
	struct dp_rec_place place = {.appliance = 1, .epoch = 2, .sequence = 3};
	struct sample_streams streams;
	struct dp_block *b;
	const struct dp_rec *rec;
	size_t cursor = 0;
	uint64_t id[2];
	bool bad;

	b = malloc(size ? size : 1); /* exactly, so that a read beyond the end is seen */
	memcpy(b, data, size);
	assert(dp_block_check(b, size, &spot) != DP_BLOCK_OK || size >= DP_BLOCK_HEAD_BYTES);
	if (size > DP_BLOCK_HEAD_BYTES && size % 8 == 0) {
		sample_streams_init(&streams);
		b->magic = DP_BLOCK_MAGIC;
		b->version = DP_BLOCK_VERSION;
		b->flags = 0;
		b->durable_lp = 0;
		b->worker %= DP_WORKERS_MAX;
		b->sequence |= 1;
		b->bytes = (uint32_t)size;
		b->record_count = 1;
		b->reading_count = 0;
		dp_block_finish(b, &spot);
		assert(dp_block_check(b, size, &spot) ==
			(size < DP_BLOCK_HEAD_BYTES + sizeof(struct dp_rec_mark)
					? DP_BLOCK_HEADER_BAD
					: DP_BLOCK_OK));
		while ((rec = dp_block_next(b, &streams.set, &cursor, &bad))) {
			read_all(rec, &streams.set);
			dp_rec_id(rec, &streams.set, &place, id);
			sum += id[0];
			place.index++;
		}
		assert(bad == (cursor != size - DP_BLOCK_HEAD_BYTES));
	}
	free(b);
	return 0;
}
