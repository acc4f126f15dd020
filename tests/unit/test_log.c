#include "dataplane/journal/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/sample.h"

struct fixture {
	struct dp_arena arena;
	struct dp_log log;
	struct sample_streams streams;
};

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	cr_assert(f);
	sample_log_init(&f->log, &f->arena, 3);
	sample_streams_init(&f->streams);
	return f;
}

static void fixture_free(struct fixture *f)
{
	dp_arena_fini(&f->arena);
	free(f);
}

/* One group of `count` marks of `bytes` each, filled with the running number. */
static void put_group(struct dp_log *log, uint32_t count, size_t bytes, uint64_t *number)
{
	dp_log_group(log, count * bytes, 0);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index;
		struct dp_rec_mark *m = dp_log_record(log, DP_REC_MARK, bytes, &index);

		m->arrival_ns = (int64_t)(*number)++;
		dp_log_arrival_time(log, m->arrival_ns);
	}
}

/* Checks that the block's marks go on from *number. */
static void expect_numbers(const struct dp_block *b, uint64_t *number)
{
	const char *at = (const char *)(b + 1), *end = (const char *)b + b->bytes;

	for (uint32_t i = 0; i < b->record_count; i++) {
		const struct dp_rec_mark *m = (const struct dp_rec_mark *)at;

		cr_assert_lt(at, end);
		cr_assert_eq(m->arrival_ns, (int64_t)*number, "record lost or doubled");
		(*number)++;
		at += m->head.bytes;
	}
	cr_assert_eq(at, end);
}

Test(log, refuses_sizes_that_do_not_go_together)
{
	struct dp_arena arena;
	struct dp_log log;
	struct dp_log_config c = {.ring_bytes = 1 << 20, .block_max = 128 << 10};

	cr_assert_eq(dp_arena_init(&arena, 1 << 20), 0);
	c.ring_bytes = (1 << 20) - DP_DISK_ALIGN;
	cr_expect_eq(dp_log_init(&log, &c, &arena), -EINVAL, "no power of two");
	c.ring_bytes = 1 << 20;
	c.block_max = (256 << 10) + 1;
	cr_expect_eq(dp_log_init(&log, &c, &arena), -EINVAL, "block above a quarter");
	c.block_max = DP_BLOCK_SEAL_BYTES;
	cr_expect_eq(dp_log_init(&log, &c, &arena), -EINVAL, "no room for a group");
	c.block_max = 128 << 10;
	cr_expect_eq(dp_log_init(&log, &c, &arena), 0);
	cr_expect_eq(dp_log_init(&log, &c, &arena), -ENOMEM, "the arena is spent");
	dp_arena_fini(&arena);
}

Test(log, block_header_says_what_it_holds)
{
	struct fixture *f = fixture_new();
	const struct dp_block *b;

	sample_group(&f->log, &f->streams, 0);
	sample_group(&f->log, &f->streams, 7);
	cr_expect_null(dp_log_take(&f->log), "an open block is the worker's");
	cr_assert(dp_log_seal(&f->log, 0, true));
	b = dp_log_take(&f->log);
	cr_assert(b);
	cr_expect_eq(b->magic, DP_BLOCK_MAGIC);
	cr_expect_eq(b->version, DP_BLOCK_VERSION);
	cr_expect_eq(b->appliance, SAMPLE_APPLIANCE);
	cr_expect_eq(b->epoch, SAMPLE_EPOCH);
	cr_expect_eq(b->worker, 3);
	cr_expect_eq(b->sequence, 1);
	cr_expect_eq(b->schema_hash, f->streams.set.hash);
	cr_expect_eq(b->record_count, 2 * SAMPLE_RECORDS);
	cr_expect_eq(b->reading_count, 4);
	cr_expect_eq(b->event_min_ns, SAMPLE_TIME_NS - 250 * DP_NS_PER_MS);
	cr_expect_eq(b->event_max_ns, SAMPLE_TIME_NS + 7 * DP_NS_PER_S);
	cr_expect_eq(b->arrival_min_ns, SAMPLE_TIME_NS);
	cr_expect_eq(b->arrival_max_ns, SAMPLE_TIME_NS + 7 * DP_NS_PER_S);
	cr_expect_eq(atomic_load(&f->log.records), 2 * SAMPLE_RECORDS);
	cr_expect_null(dp_log_take(&f->log));
	fixture_free(f);
}

Test(log, place_is_that_of_the_block_the_record_lies_in)
{
	struct fixture *f = fixture_new();

	for (uint64_t n = 1; n <= 3; n++) {
		struct dp_rec_place place;
		uint32_t index;

		dp_log_group(&f->log, 64, 0);
		dp_log_record(&f->log, DP_REC_MARK, 24, &index);
		dp_log_record(&f->log, DP_REC_MARK, 24, &index);
		place = dp_log_place(&f->log, index);
		cr_expect_eq(place.appliance, SAMPLE_APPLIANCE);
		cr_expect_eq(place.epoch, SAMPLE_EPOCH);
		cr_expect_eq(place.worker, 3);
		cr_expect_eq(place.sequence, n);
		cr_expect_eq(place.index, 1);
		cr_assert(dp_log_seal(&f->log, 0, true));
		cr_expect_eq(dp_log_take(&f->log)->sequence, n);
	}
	fixture_free(f);
}

Test(log, seals_by_size_linger_or_force_and_never_an_empty_block)
{
	struct fixture *f = fixture_new();
	uint64_t n = 0;

	cr_expect_not(dp_log_seal(&f->log, 0, true), "nothing is open");
	dp_log_group(&f->log, 24, 5);
	cr_expect_not(dp_log_seal(&f->log, 1 << 30, true), "a group without records");
	put_group(&f->log, 1, 24, &n); /* opened at 0 */
	cr_expect_not(dp_log_seal(&f->log, DP_NS_PER_MS - 1, false), "before the linger");
	cr_expect(dp_log_seal(&f->log, DP_NS_PER_MS, false), "at the linger");
	put_group(&f->log, 1, DP_BLOCK_SEAL_BYTES - DP_BLOCK_HEAD_BYTES - 8, &n);
	cr_expect_not(dp_log_seal(&f->log, 0, false), "8 bytes short of the size");
	put_group(&f->log, 1, 24, &n);
	cr_expect(dp_log_seal(&f->log, 0, false), "at the size");
	fixture_free(f);
}

Test(log, linger_counts_from_the_first_record)
{
	struct fixture *f = fixture_new();
	uint32_t index;

	dp_log_group(&f->log, 24, 100); /* found nothing to record */
	dp_log_group(&f->log, 24, 500);
	dp_log_record(&f->log, DP_REC_MARK, 24, &index);
	dp_log_group(&f->log, 24, 700);
	dp_log_record(&f->log, DP_REC_MARK, 24, &index);
	cr_expect_not(dp_log_seal(&f->log, 500 + DP_NS_PER_MS - 1, false));
	cr_expect(dp_log_seal(&f->log, 500 + DP_NS_PER_MS, false));
	fixture_free(f);
}

Test(log, linger_counts_from_when_the_packets_may_have_come)
{
	struct fixture *f = fixture_new();
	uint32_t index;

	dp_log_group(&f->log, 24, 500);
	dp_log_record(&f->log, DP_REC_MARK, 24, &index);
	dp_log_waits_since(&f->log, 300);
	dp_log_waits_since(&f->log, 400);
	cr_expect_not(dp_log_seal(&f->log, 300 + DP_NS_PER_MS - 1, false));
	cr_expect(dp_log_seal(&f->log, 300 + DP_NS_PER_MS, false));
	fixture_free(f);
}

Test(log, sealed_tail_is_zero_up_to_the_next_page)
{
	struct fixture *f = fixture_new();
	const struct dp_block *b;
	size_t disk;
	uint32_t index;

	memset(f->log.ring, 0xee, f->log.ring_bytes); /* what an earlier lap left */
	dp_log_group(&f->log, 24, 0);
	dp_log_record(&f->log, DP_REC_MARK, 24, &index);
	dp_log_seal(&f->log, 0, true);
	b = dp_log_take(&f->log);
	disk = dp_block_disk_bytes(b->bytes);
	cr_expect_eq(disk, DP_DISK_ALIGN);
	for (size_t i = b->bytes; i < disk; i++)
		cr_assert_eq(((const char *)b)[i], 0, "byte %zu leaks", i);
	cr_expect_eq(((const char *)b)[disk], (char)0xee);
	fixture_free(f);
}

Test(log, group_is_never_split)
{
	struct fixture *f = fixture_new();
	const uint32_t group_max = SAMPLE_BLOCK_MAX - DP_BLOCK_SEAL_BYTES;
	const struct dp_block *b;
	uint64_t put = 0, got = 0;
	uint32_t blocks = 0;

	srand(1);
	for (int i = 0; i < 2000; i++) {
		uint32_t bytes = 24 + 8 * (uint32_t)(rand() % 20);
		uint32_t count = 1 + (uint32_t)rand() % (group_max / bytes);
		uint64_t first = put;

		cr_assert(dp_log_room(&f->log, group_max));
		put_group(&f->log, count, bytes, &put);
		/* The whole group is the end of the open block. */
		cr_assert_geq(f->log.open->record_count, put - first);
		cr_assert_leq(f->log.open->bytes, SAMPLE_BLOCK_MAX);
		while ((b = dp_log_take(&f->log))) {
			cr_assert_geq(b->bytes, DP_BLOCK_SEAL_BYTES, "sealed before its size");
			cr_assert_eq(b->sequence, ++blocks);
			expect_numbers(b, &got);
			dp_log_release(&f->log, dp_log_taken(&f->log));
		}
	}
	cr_expect_gt(f->log.taken, 4 * f->log.ring_bytes, "the ring did not wrap");
	fixture_free(f);
}

Test(log, no_block_wraps)
{
	struct fixture *f = fixture_new();
	uint64_t put = 0, got = 0;

	for (int i = 0; i < 3000; i++) {
		struct dp_block *b;
		uint64_t at;

		cr_assert(dp_log_room(&f->log, 8192));
		put_group(&f->log, 1 + (uint32_t)i % 200, 40, &put);
		dp_log_seal(&f->log, 0, true);
		at = f->log.taken & (f->log.ring_bytes - 1);
		b = dp_log_take(&f->log);
		cr_assert_eq((char *)b, f->log.ring + at);
		cr_assert_eq(at % DP_DISK_ALIGN, 0);
		cr_assert_leq(at + f->log.block_max, f->log.ring_bytes);
		expect_numbers(b, &got);
		dp_log_release(&f->log, dp_log_taken(&f->log));
	}
	cr_expect_eq(put, got);
	fixture_free(f);
}

/* What room promises must hold for any sizes: dp_log_record asserts that it overwrites nothing. */
Test(log, room_is_backpressure_that_release_lifts)
{
	struct fixture *f = fixture_new();
	const size_t want = 3 * 8000;
	uint64_t put = 0, got = 0, refused = 0;

	srand(2);
	for (int i = 0; i < 20000; i++) {
		if (dp_log_room(&f->log, want)) {
			for (int g = 0; g < 3; g++)
				put_group(&f->log, 1 + (uint32_t)rand() % 100, 80, &put);
			dp_log_seal(&f->log, 0, rand() % 4 == 0);
			continue;
		}
		refused++;
		cr_assert_gt(f->log.sealed, f->log.freed, "refused although all was free");
		for (int blocks = rand() % 20; blocks >= 0; blocks--) {
			const struct dp_block *b = dp_log_take(&f->log);

			if (b)
				expect_numbers(b, &got);
		}
		dp_log_release(&f->log, dp_log_taken(&f->log));
	}
	cr_expect_gt(refused, 100, "never full");
	cr_expect_gt(got, 10000);
	fixture_free(f);
}

Test(log, three_quarters_of_the_smallest_ring_are_usable)
{
	struct dp_log_config c = {.ring_bytes = 512 << 10, .block_max = 128 << 10};
	struct dp_arena arena;
	struct dp_log log;
	uint64_t put = 0;

	cr_assert_eq(dp_arena_init(&arena, 512 << 10), 0);
	cr_assert_eq(dp_log_init(&log, &c, &arena), 0);
	while (dp_log_room(&log, 8000))
		put_group(&log, 100, 80, &put);
	cr_expect_geq(put * 80, (384u << 10) - 32000, "only %lu bytes used", put * 80);
	dp_arena_fini(&arena);
}
