#include "dataplane/journal/writer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_world.h"

static uint64_t stat_of(const _Atomic uint64_t *v)
{
	return atomic_load(v);
}

Test(writer, what_was_released_is_there_after_a_power_cut)
{
	static const enum dp_sync_mode modes[] = {DP_SYNC_ALWAYS, DP_SYNC_LAZY};

	for (size_t m = 0; m < 2; m++) {
		struct world *w = world_new(modes[m]);

		cr_assert_eq(world_start(w), 0);
		for (uint32_t i = 0; i < 50; i++) {
			world_put(w, i % 2, 10);
			world_run(w, 10000);
		}
		cr_expect_eq(w->lives[0][0].released, 250);
		cr_expect_gt(stat_of(&dp_writer_stats(w->writer)->segments_made), 1);
		world_kill(w, true);
		cr_assert_eq(world_start(w), 0);
		cr_expect_eq(world_check(w, "power cut"), 500);
		cr_expect_eq(w->recovery->records, 500 * SAMPLE_RECORDS);
		world_free(w);
	}
}

Test(writer, clean_stop_leaves_nothing_to_do)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	for (uint32_t life = 0; life < 4; life++) {
		cr_assert_eq(world_start(w), 0);
		cr_expect(w->recovery->clean);
		cr_expect_eq(w->recovery->rewritten_blocks, 0);
		cr_expect_eq(world_check(w, "clean"), 20 * life);
		world_put(w, 0, 10);
		world_put(w, 1, 10);
		world_run(w, 1000);
		cr_assert_eq(world_stop(w), 0);
	}
	world_free(w);
}

/* One outstanding failure anywhere on the way must cost nothing but time. */
Test(writer, each_failing_call_is_survived)
{
	static const enum dp_sync_mode modes[] = {DP_SYNC_ALWAYS, DP_SYNC_LAZY};

	for (uint32_t i = 0; i < 2 * (WORLD_OPS - 1) * 12 * 2; i++) {
		enum world_op op = 1 + (enum world_op)(i / 2 % (WORLD_OPS - 1));
		uint32_t at = 1 + i / 2 / (WORLD_OPS - 1) % 12;
		uint32_t count = 1 + i / 2 / (WORLD_OPS - 1) / 12 * 2;
		struct world *w = world_new(modes[i % 2]);
		char what[80];

		snprintf(what, sizeof(what), "mode %u op %d at %u times %u", i % 2, op, at, count);
		cr_assert_eq(world_start(w), 0, "%s", what);
		world_put(w, 0, 100);
		world_run(w, 10000);
		world_fail(w, op, at, count, -EIO);
		for (uint32_t k = 0; k < 12; k++) {
			world_put(w, k % 2, 17);
			world_run(w, 10000);
		}
		cr_assert(dp_writer_idle(w->writer), "%s: never done", what);
		cr_assert_eq(stat_of(&dp_writer_stats(w->writer)->state), DP_WRITER_OK, "%s", what);
		cr_assert_eq(stat_of(&dp_writer_stats(w->writer)->records), 304 * SAMPLE_RECORDS,
			"%s", what);
		world_kill(w, i % 3 == 0);
		cr_assert_eq(world_start(w), 0, "%s", what);
		cr_assert_eq(world_check(w, what), 304, "%s", what);
		world_free(w);
	}
}

/* A reader that follows must see each position once, in order, whatever fails meanwhile. */
static void follow(struct world *w, struct dp_reader *r, uint64_t seen[WORLD_WORKERS])
{
	uint64_t limit = stat_of(&dp_writer_stats(w->writer)->readable);
	struct dp_reader_block b;
	int rc;

	while ((rc = dp_reader_next(r, limit, &b)) == 1) {
		cr_assert_eq(b.block->sequence, seen[b.block->worker] + 1, "%lu after %lu",
			(unsigned long)b.block->sequence, (unsigned long)seen[b.block->worker]);
		seen[b.block->worker]++;
	}
	cr_assert_eq(rc, 0);
}

Test(writer, followers_go_on_in_the_segment_that_supersedes)
{
	for (uint32_t i = 0; i < 2 * 30; i++) {
		struct world *w = world_new(i % 2 ? DP_SYNC_LAZY : DP_SYNC_ALWAYS);
		uint64_t seen[WORLD_WORKERS] = {0}, at = 0;
		struct dp_reader *r;

		cr_assert_eq(world_start(w), 0);
		cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, 0, &r), 0);
		world_fail(w, WORLD_SYNC_POLL, 1 + i / 2, 1 + i % 3, -EIO);
		for (uint32_t k = 0; k < 40; k++) {
			world_put(w, k % 2, 9);
			for (uint32_t step = 0; step < 5; step++) {
				world_run(w, 1);
				follow(w, r, seen);
			}
			if (k == 20) { /* one that comes back where it was */
				at = dp_reader_at(r);
				dp_reader_close(r);
				dp_reader_open(&w->io, w->recovery->appliance, at, &r);
			}
		}
		world_run(w, 10000);
		follow(w, r, seen);
		cr_assert_eq(seen[0], 180, "seed %u", i);
		cr_assert_eq(seen[1], 180, "seed %u", i);
		dp_reader_close(r);
		world_free(w);
	}
}

Test(writer, nothing_is_readable_before_it_is_durable)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	uint64_t before;

	cr_assert_eq(world_start(w), 0);
	before = stat_of(&dp_writer_stats(w->writer)->readable);
	w->disk.polls = 5;
	world_put(w, 0, 1);
	dp_writer_step(w->writer, &w->now);
	dp_writer_step(w->writer, &w->now);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->readable), before);
	cr_expect_eq(atomic_load(&w->logs[0].freed), 0);
	world_run(w, 100);
	cr_expect_gt(stat_of(&dp_writer_stats(w->writer)->readable), before);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->readable),
		stat_of(&dp_writer_stats(w->writer)->durable));
	world_free(w);
}

Test(writer, lazy_is_readable_at_once_and_released_with_the_sync)
{
	struct world *w = world_new(DP_SYNC_LAZY);
	const struct dp_writer_stats *s;

	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	world_put(w, 0, 3);
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect_gt(stat_of(&s->readable), stat_of(&s->durable));
	cr_expect_eq(stat_of(&s->records), 3 * SAMPLE_RECORDS);
	cr_expect_eq(atomic_load(&w->logs[0].freed), 0);
	cr_expect_eq(dp_writer_deadline(w->writer), w->now.steady_ns + w->config.sync_interval_ns);
	world_put(w, 0, 140); /* of 256 pages: more than half of the ring */
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect_eq(atomic_load(&w->logs[0].freed), w->logs[0].taken);
	world_free(w);
}

/* A stop has ten seconds: it must not wait for an interval of a minute. */
Test(writer, drain_does_not_wait_for_the_lazy_sync)
{
	struct world *w = world_new(DP_SYNC_LAZY);

	w->config.sync_interval_ns = 60 * DP_NS_PER_S;
	cr_assert_eq(world_start(w), 0);
	world_put(w, 0, 3);
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect(!dp_writer_idle(w->writer));
	dp_writer_drain(w->writer);
	cr_expect_leq(dp_writer_deadline(w->writer), w->now.steady_ns);
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect(dp_writer_idle(w->writer));
	cr_expect_eq(world_stop(w), 0);
	cr_assert_eq(world_start(w), 0);
	cr_expect(w->recovery->clean);
	cr_expect_eq(world_check(w, "drained"), 3);
	world_free(w);
}

Test(writer, full_blocks_until_outputs_have_gone_on)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	const struct dp_writer_stats *s;

	w->config.bytes_max = 3 * DP_SEGMENT_BYTES_MIN;
	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	dp_writer_need(w->writer, 0, 1);
	for (uint32_t i = 0; i < 16; i++) {
		if (dp_log_room(&w->logs[0], 60 * (SAMPLE_GROUP_BYTES + DP_DISK_ALIGN)))
			world_put(w, 0, 60);
		world_run(w, 200);
	}
	cr_expect_eq(stat_of(&s->state), DP_WRITER_FULL);
	cr_expect_eq(stat_of(&s->error), ENOSPC);
	cr_expect_eq(stat_of(&s->at_limit), 1);
	cr_expect_leq(stat_of(&s->segment_bytes_total), w->config.bytes_max);
	cr_expect_lt(w->lives[0][0].released, w->lives[0][0].count);
	dp_writer_need(w->writer, 0, 3);
	world_run(w, 10000);
	cr_expect_eq(stat_of(&s->state), DP_WRITER_OK);
	cr_expect_eq(w->lives[0][0].released, w->lives[0][0].count);
	cr_expect_eq(stat_of(&s->expired_records), 0);
	world_free(w);
}

/* Its last segment is sealed, and yet what was in memory is lost. */
Test(writer, a_run_killed_while_full_did_not_end_in_order)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	w->config.bytes_max = 3 * DP_SEGMENT_BYTES_MIN;
	cr_assert_eq(world_start(w), 0);
	dp_writer_need(w->writer, 0, 1);
	for (uint32_t i = 0; i < 16; i++) {
		if (dp_log_room(&w->logs[0], 60 * (SAMPLE_GROUP_BYTES + DP_DISK_ALIGN)))
			world_put(w, 0, 60);
		world_run(w, 200);
	}
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->state), DP_WRITER_FULL);
	world_kill(w, false);
	cr_assert_eq(world_start(w), 0);
	cr_expect_not(w->recovery->clean);
	world_free(w);
}

Test(writer, drop_oldest_frees_what_outputs_need_and_says_so)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	const struct dp_writer_stats *s;
	struct dp_reader_counts counts;
	struct dp_reader_block b;
	struct dp_reader *r;

	w->config.bytes_max = 3 * DP_SEGMENT_BYTES_MIN;
	w->config.on_full = DP_FULL_DROP_OLDEST;
	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	dp_writer_need(w->writer, 0, 1);
	world_put(w, 0, 10);
	world_run(w, 1000);
	cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, 0, &r), 0);
	cr_assert_eq(dp_reader_next(r, stat_of(&s->readable), &b), 1);
	for (uint32_t i = 0; i < 20; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	cr_expect_eq(w->lives[0][0].released, 2010);
	cr_expect_gt(stat_of(&s->expired_records), 0);
	cr_expect_eq(atomic_load(&w->logs[0].expired), stat_of(&s->expired_records));
	cr_expect_leq(stat_of(&s->segment_bytes_total), w->config.bytes_max);
	while (dp_reader_next(r, stat_of(&s->readable), &b) == 1)
		;
	counts = *dp_reader_counts(r);
	/* The open handle may still have shown the rest of a freed segment. */
	cr_expect_eq(counts.expired_records + counts.records, 2010 * SAMPLE_RECORDS);
	cr_expect_gt(counts.expired_records, 0);
	cr_expect_eq(counts.quarantined_records, 0);
	dp_reader_close(r);
	world_free(w);
}

Test(writer, off_keeps_what_outputs_need_in_memory)
{
	struct dp_io_memory *memory;
	struct world *w = world_new(DP_SYNC_OFF);
	const struct dp_writer_stats *s;

	cr_assert_eq(dp_io_memory_open(&memory, &w->io), 0);
	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	dp_writer_need(w->writer, 0, 2);
	for (uint32_t i = 0; i < 10; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	cr_expect_eq(w->lives[0][0].released, 1000);
	cr_expect_eq(stat_of(&s->oldest_serial), 2, "freed as soon as outputs are past");
	dp_writer_need(w->writer, 0, UINT64_MAX);
	world_run(w, 10);
	dp_writer_step(w->writer, &w->now);
	cr_expect_eq(stat_of(&s->oldest_serial), stat_of(&s->newest_serial));
	world_free(w);
	dp_io_memory_close(memory);
}

/* Two segments of this size are more than what `off` takes by default. */
Test(writer, off_has_room_for_large_segments)
{
	struct dp_io_memory *memory;
	struct world *w = world_new(DP_SYNC_OFF);
	const struct dp_writer_stats *s;

	w->config.segment_bytes = 129 << 20;
	cr_assert_eq(dp_io_memory_open(&memory, &w->io), 0);
	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	dp_writer_need(w->writer, 0, 1);
	for (uint32_t i = 0; i < 2000 && stat_of(&s->segments_made) < 2; i++) {
		for (uint32_t k = 0; k < 100; k++) {
			cr_assert(dp_log_room(&w->logs[0], SAMPLE_GROUP_BYTES));
			sample_group(&w->logs[0], &w->streams, k);
			dp_log_seal(&w->logs[0], 0, true);
		}
		for (uint32_t k = 0; k < 1000 && !dp_writer_idle(w->writer); k++)
			dp_writer_step(w->writer, &w->now);
	}
	cr_expect_eq(stat_of(&s->segments_made), 2);
	cr_expect_eq(stat_of(&s->state), DP_WRITER_OK);
	world_free(w);
	dp_io_memory_close(memory);
}

/* Marks of counters and raises of open alerts stay, whichever worker they are of; not at any price.
 */
Test(writer, keeps_what_a_start_would_need)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	const struct dp_writer_stats *s;

	w->config.retention_ns = 0;
	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	world_replay_needs(w, 1, 2, INT64_MAX);
	for (uint32_t i = 0; i < 20; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	cr_expect_eq(stat_of(&s->oldest_serial), 2);
	cr_expect_gt(stat_of(&s->newest_serial), 4);
	cr_expect_eq(atomic_load(&w->logs[1].serial), stat_of(&s->newest_serial));
	cr_expect_eq(stat_of(&s->segments_freed_early), 0);
	world_replay_needs(w, 1, UINT64_MAX, 0);
	dp_writer_step(w->writer, &w->now);
	cr_expect_eq(stat_of(&s->oldest_serial), 2);
	world_replay_needs(w, 1, UINT64_MAX, w->now.real_ns + 1);
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect_eq(stat_of(&s->oldest_serial), stat_of(&s->newest_serial));
	world_free(w);

	w = world_new(DP_SYNC_ALWAYS);
	w->config.bytes_max = 3 * DP_SEGMENT_BYTES_MIN;
	cr_assert_eq(world_start(w), 0);
	world_replay_needs(w, 0, 0, 0);
	for (uint32_t i = 0; i < 20; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	s = dp_writer_stats(w->writer);
	cr_expect_eq(stat_of(&s->state), DP_WRITER_OK, "it goes before anything is refused");
	cr_expect_gt(stat_of(&s->segments_freed_early), 0);
	cr_expect_leq(stat_of(&s->segment_bytes_total), w->config.bytes_max);
	world_free(w);
}

Test(writer, retention_keeps_what_nobody_needs)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	const struct dp_writer_stats *s;

	cr_assert_eq(world_start(w), 0);
	s = dp_writer_stats(w->writer);
	for (uint32_t i = 0; i < 6; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	cr_expect_eq(stat_of(&s->oldest_serial), 1);
	w->now.real_ns += w->config.retention_ns;
	w->now.steady_ns += w->config.retention_ns;
	while (dp_writer_step(w->writer, &w->now))
		;
	cr_expect_eq(stat_of(&s->oldest_serial), stat_of(&s->newest_serial));
	world_free(w);
}

Test(writer, refuses_segments_that_blocks_do_not_fit)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	w->config.segment_bytes = DP_SEGMENT_BYTES_MIN / 2;
	cr_expect_eq(world_start(w), -EINVAL);
	world_free(w);
}

/* A full disk at start: outputs may be about to make room. */
Test(writer, starts_on_a_full_disk)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	world_fail(w, WORLD_ZERO, 1, 1, -ENOSPC);
	cr_assert_eq(world_start(w), 0);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->state), DP_WRITER_FULL);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->at_limit), 0);
	world_put(w, 0, 5);
	world_run(w, 1000);
	cr_expect_eq(w->lives[0][0].released, 5);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->state), DP_WRITER_OK);
	world_free(w);
}

/* Outputs say what they need only once the writer is there. */
Test(writer, start_on_a_full_disk_frees_nothing)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	cr_assert_eq(world_start(w), 0);
	for (uint32_t i = 0; i < 6; i++) {
		world_put(w, 0, 100);
		world_run(w, 10000);
	}
	cr_assert_eq(world_stop(w), 0);
	w->config.bytes_max = 2 * DP_SEGMENT_BYTES_MIN;
	w->config.on_full = DP_FULL_DROP_OLDEST;
	cr_assert_eq(world_start(w), 0);
	cr_expect_eq(stat_of(&dp_writer_stats(w->writer)->state), DP_WRITER_FULL);
	cr_expect_eq(world_check(w, "full"), 600);
	world_free(w);
}

static void wake(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

/* The same code on a real directory, with its own thread for the syncs. */
Test(writer, works_on_a_real_disk)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_io_posix *posix;
	_Atomic int woken = 0;
	char dir[] = "/tmp/penstock-writer-XXXXXX", command[64];

	cr_assert(mkdtemp(dir));
	w->config.retention_ns = INT64_MAX; /* time flies while a real sync is waited for */
	for (uint32_t life = 0; life < 2; life++) {
		cr_assert_eq(dp_io_posix_open(dir, wake, (void *)&woken, &posix, &w->io), 0);
		cr_assert_eq(world_start(w), 0);
		cr_expect_eq(world_check(w, "real"), life * 400);
		for (uint32_t i = 0; i < 4; i++) {
			world_put(w, i % 2, 100);
			while (!dp_writer_idle(w->writer)) {
				world_run(w, 100);
				usleep(100);
			}
		}
		cr_assert_eq(world_stop(w), 0);
		dp_io_posix_close(posix);
	}
	cr_expect_gt(atomic_load(&woken), 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_expect_eq(system(command), 0);
	world_free(w);
}
