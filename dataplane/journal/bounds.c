/* How large a reading's records and a block of given streams can become: sizes of rings, buffers.
 */
#include <assert.h>

#include "dataplane/core/drop.h"
#include "dataplane/journal/block.h"
#include "dataplane/window/window.h"

/* A counter mark is a group of its own, with all counters that a later version may have added. */
static const size_t mark_bytes_max = sizeof(struct dp_rec_mark) + 8 * (size_t)DP_MARK_COUNTERS_MAX;

/* So is a raw payload, whether or not an input keeps any now: an earlier run may have. */
static const size_t raw_bytes_max =
	sizeof(struct dp_rec_raw) + DP_SENSOR_ID_MAX + DP_DATAGRAM_BYTES_MAX;

_Static_assert(DP_SENSOR_ID_MAX % 8 == 0 && DP_DATAGRAM_BYTES_MAX % 8 == 0, "no padding");
_Static_assert((int)DP_COUNTER_COUNT <= (int)DP_MARK_COUNTERS_MAX, "a mark holds every counter");

static size_t reading_bytes_max(const struct dp_stream *s)
{
	uint8_t tag_len[DP_TAGS_MAX];

	assert(s->tag_count <= DP_TAGS_MAX);
	for (uint16_t i = 0; i < s->tag_count; i++)
		tag_len[i] = DP_TAG_BYTES_MAX;
	return dp_rec_reading_bytes(s, DP_SENSOR_ID_MAX, tag_len);
}

static size_t window_bytes_max(const struct dp_stream *s, uint16_t i)
{
	size_t scores = 0;

	for (uint16_t k = 0; k < s->model_count; k++)
		scores += s->models[k].window == i;
	return dp_rec_window_bytes(
		s, s->windows[i].stats | DP_STAT_COUNT, scores, DP_SENSOR_ID_MAX);
}

size_t dp_rec_bytes_max(const struct dp_stream *s)
{
	size_t bytes = reading_bytes_max(s), alerts = 0;

	for (uint16_t i = 0; i < s->window_count; i++)
		bytes += dp_window_panes(s, i) * window_bytes_max(s, i);
	/* A clock reset or a retirement may clear, beside what a rule finds itself. */
	for (uint16_t i = 0; i < s->rule_count; i++) {
		int16_t window = s->rules[i].window;

		alerts += window < 0 ? 2 : 1 + (size_t)dp_window_panes(s, (uint16_t)window);
	}
	return bytes + alerts * dp_rec_alert_bytes(DP_SENSOR_ID_MAX);
}

size_t dp_block_bytes_max(const struct dp_stream_set *streams)
{
	size_t group = raw_bytes_max > mark_bytes_max ? raw_bytes_max : mark_bytes_max;

	for (uint32_t i = 0; i < streams->count; i++) {
		size_t n = DP_DATAGRAM_READINGS_MAX * dp_rec_bytes_max(&streams->streams[i]);

		group = n > group ? n : group;
	}
	return dp_rec_pad(DP_BLOCK_SEAL_BYTES + group, DP_DISK_ALIGN);
}
