#include "dataplane/journal/reader.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/journal_world.h"

static uint64_t readable(const struct world *w)
{
	return atomic_load(&dp_writer_stats(w->writer)->readable);
}

static void put_and_run(struct world *w, uint32_t rounds, uint32_t blocks)
{
	for (uint32_t i = 0; i < rounds; i++) {
		world_put(w, i % WORLD_WORKERS, blocks);
		world_run(w, 10000);
	}
}

static struct dp_reader *open_at(struct world *w, uint64_t lp)
{
	struct dp_reader *r;

	cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, lp, &r), 0);
	return r;
}

Test(reader, every_block_has_a_place_to_come_back_to)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_block a, b;
	struct dp_reader *all, *one;
	uint32_t count = 0;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 6, 90); /* over three segments */
	all = open_at(w, 0);
	while (dp_reader_next(all, readable(w), &a) == 1) {
		cr_assert_eq(dp_reader_at(all), a.lp_next);
		one = open_at(w, a.lp);
		cr_assert_eq(dp_reader_next(one, a.lp_next, &b), 1);
		cr_assert_eq(b.lp, a.lp);
		cr_assert_eq(b.block->sequence, a.block->sequence);
		cr_assert_eq(b.block->worker, a.block->worker);
		cr_assert_eq(dp_reader_next(one, a.lp_next, &b), 0, "reads beyond the limit");
		dp_reader_close(one);
		count++;
	}
	cr_expect_eq(count, 540);
	cr_expect_eq(dp_reader_counts(all)->records, 540 * SAMPLE_RECORDS);
	cr_expect_eq(dp_reader_counts(all)->repeated, 0);
	cr_expect_eq(dp_reader_counts(all)->damaged_regions, 0);
	dp_reader_close(all);
	world_free(w);
}

Test(reader, limit_is_never_passed)
{
	struct world *w = world_new(DP_SYNC_LAZY);
	struct dp_reader_block b;
	struct dp_reader *r;

	cr_assert_eq(world_start(w), 0);
	r = open_at(w, 0);
	for (uint32_t i = 0; i < 300; i++) {
		uint64_t limit;

		world_put(w, 0, 1);
		world_put(w, 1, 1);
		limit = readable(w);
		cr_assert_eq(dp_reader_next(r, limit, &b), 0);
		while (dp_writer_step(w->writer, &w->now))
			;
		limit = readable(w);
		for (uint32_t k = 0; k < 2; k++) {
			cr_assert_eq(dp_reader_next(r, limit, &b), 1);
			cr_assert_leq(b.lp_next, limit);
		}
		cr_assert_eq(dp_reader_next(r, limit, &b), 0);
	}
	dp_reader_close(r);
	world_free(w);
}

/* Old bytes of the segment in use: what may yet be written again is not skipped. */
Test(reader, waits_at_damage_that_was_not_synced)
{
	struct world *w = world_new(DP_SYNC_LAZY);
	struct fake_file *f;
	struct dp_reader_block b;
	struct dp_reader *r;

	cr_assert_eq(world_start(w), 0);
	world_put(w, 0, 3);
	while (dp_writer_step(w->writer, &w->now))
		;
	f = (struct fake_file *)fake_disk_file(&w->disk, "0000000000000001.seg");
	cr_assert(f);
	f->data[3 * DP_DISK_ALIGN + 200] ^= 1; /* the second block */
	r = open_at(w, 0);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), 1);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), -EAGAIN);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), -EAGAIN);
	/* Synced meanwhile, as a later block tells: so it is damage. */
	world_run(w, 1000);
	world_put(w, 0, 1);
	world_run(w, 1000);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), 1);
	cr_expect_eq(b.block->sequence, 3);
	cr_expect_eq(dp_reader_counts(r)->damaged_regions, 1);
	cr_expect_eq(dp_reader_counts(r)->quarantined_records, SAMPLE_RECORDS);
	dp_reader_close(r);
	world_free(w);
}

/* The same, but the sync fails: the block comes from the segment that supersedes, in its place. */
Test(reader, takes_what_was_damaged_from_the_segment_that_supersedes)
{
	struct world *w = world_new(DP_SYNC_LAZY);
	struct fake_file *f;
	struct dp_reader_block b;
	struct dp_reader *r;

	cr_assert_eq(world_start(w), 0);
	world_put(w, 0, 3);
	while (dp_writer_step(w->writer, &w->now))
		;
	f = (struct fake_file *)fake_disk_file(&w->disk, "0000000000000001.seg");
	cr_assert(f);
	f->data[3 * DP_DISK_ALIGN + 200] ^= 1;
	r = open_at(w, 0);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), 1);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), -EAGAIN);
	world_fail(w, WORLD_SYNC_POLL, 1, 1, -EIO);
	world_run(w, 1000);
	for (uint64_t sequence = 2; sequence <= 3; sequence++) {
		cr_assert_eq(dp_reader_next(r, readable(w), &b), 1);
		cr_expect_eq(b.block->sequence, sequence);
		cr_expect_eq(b.block->segment_serial, 2);
	}
	cr_expect_eq(dp_reader_counts(r)->damaged_regions, 0);
	cr_expect_eq(dp_reader_counts(r)->quarantined_records, 0);
	cr_expect_eq(dp_reader_counts(r)->repeated, 1);
	dp_reader_close(r);
	world_free(w);
}

Test(reader, disk_that_refuses_skips_nothing)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_block b;
	struct dp_reader *r;
	uint64_t limit;
	uint32_t count = 0, refused = 0;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 6, 90);
	r = open_at(w, 0);
	limit = readable(w);
	while (count < 540) {
		int rc;

		w->disk.fail = refused % 3 == 2 ? 0 : -EIO;
		rc = dp_reader_next(r, limit, &b);
		cr_assert(rc == 1 || rc == -EIO);
		count += rc == 1;
		refused++;
	}
	w->disk.fail = 0;
	cr_expect_eq(dp_reader_next(r, limit, &b), 0);
	cr_expect_eq(dp_reader_counts(r)->damaged_regions, 0);
	cr_expect_eq(dp_reader_counts(r)->blocks, 540);
	cr_expect_gt(refused, 540);
	dp_reader_close(r);
	world_free(w);
}

/* The same for a single sector would be for ever: it is damage. */
Test(reader, unreadable_sector_is_skipped)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_block b;
	struct dp_reader *r;
	uint32_t count = 0;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 6, 90);
	strcpy(w->disk.bad_name, "0000000000000001.seg");
	w->disk.bad_from = 20 * DP_DISK_ALIGN;
	w->disk.bad_bytes = 2 * DP_DISK_ALIGN;
	r = open_at(w, 0);
	while (dp_reader_next(r, readable(w), &b) == 1)
		count++;
	cr_expect_eq(count, 538);
	cr_expect_eq(dp_reader_counts(r)->damaged_regions, 1);
	cr_expect_eq(dp_reader_counts(r)->quarantined_records, 2 * SAMPLE_RECORDS);
	dp_reader_close(r);
	world_free(w);
}

Test(reader, place_in_a_freed_segment_goes_on_in_the_oldest)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_block b;
	struct dp_reader *r;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 6, 90);
	cr_assert_eq(w->io.ops->unlink(w->io.ctx, "0000000000000001.seg"), 0);
	r = open_at(w, DP_LP(1, 5 * DP_DISK_ALIGN));
	cr_assert_eq(dp_reader_next(r, readable(w), &b), 1);
	cr_expect_eq(b.block->segment_serial, 2);
	cr_expect_eq(dp_reader_counts(r)->quarantined_records, 0);
	dp_reader_close(r);
	world_free(w);
}

/* Blocks of another appliance's segment, or of a recycled one, are none of ours. */
Test(reader, other_appliance_is_not_read)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_block b;
	struct dp_reader *r;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 2, 5);
	cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance + 1, 0, &r), 0);
	cr_expect_eq(dp_reader_next(r, readable(w), &b), 0);
	cr_expect_eq(dp_reader_counts(r)->damaged_regions, 1);
	dp_reader_close(r);
	world_free(w);
}
