#include <criterion/criterion.h>

#include "dataplane/journal/block.h"
#include "dataplane/window/window.h"
#include "tests/unit/sample.h"

/* "light": one field, no tags, rules or models, one window of count and last. */
Test(bounds, reading_with_all_that_it_causes_adds_up)
{
	struct sample_streams s;
	const struct dp_stream *light;
	const size_t reading = 64 + 32 + 4 + 4, window = 56 + 32 + 2 * 4;

	sample_streams_init(&s);
	light = &s.streams[1];
	cr_expect_eq(dp_rec_bytes_max(light), reading + dp_window_closes_max(light) * window);
}

/* "climate" adds tags of any length, a score, alerts of its rules. */
Test(bounds, tags_scores_and_alerts_count)
{
	struct sample_streams s;
	struct dp_stream *climate;
	size_t all, less;

	sample_streams_init(&s);
	climate = &s.streams[0];
	all = dp_rec_bytes_max(climate);
	climate->tag_count = 1;
	less = dp_rec_bytes_max(climate);
	cr_expect_geq(all, less + 1 + DP_TAG_BYTES_MAX - 8);
	climate->model_count = climate->reading_models = climate->derived_count = 0;
	cr_expect_geq(less, dp_rec_bytes_max(climate) + sizeof(struct dp_rec_score));
	less = dp_rec_bytes_max(climate);
	climate->rule_count = 2; /* drops a rule on no window: a clear and a raise */
	cr_expect_eq(less, dp_rec_bytes_max(climate) + 2 * dp_rec_alert_bytes(DP_SENSOR_ID_MAX));
}

Test(bounds, block_takes_a_whole_datagram_on_top)
{
	struct sample_streams s;
	struct dp_stream_set none = {0};
	size_t block;

	sample_streams_init(&s);
	block = dp_block_bytes_max(&s.set);
	cr_expect_eq(block % DP_DISK_ALIGN, 0);
	for (uint32_t i = 0; i < s.set.count; i++)
		cr_expect_geq(block - DP_BLOCK_SEAL_BYTES,
			DP_DATAGRAM_READINGS_MAX * dp_rec_bytes_max(&s.streams[i]));
	cr_expect_geq(dp_block_bytes_max(&none) - DP_BLOCK_SEAL_BYTES,
		sizeof(struct dp_rec_mark) + 8 * DP_MARK_COUNTERS_MAX, "a mark fits always");
	cr_expect_geq(dp_block_bytes_max(&none) - DP_BLOCK_SEAL_BYTES,
		dp_rec_raw_bytes(DP_SENSOR_ID_MAX, DP_DATAGRAM_BYTES_MAX), "so does a payload");
}
