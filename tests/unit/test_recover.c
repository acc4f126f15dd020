#include "dataplane/journal/recover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/unit/journal_world.h"

static struct fake_file *file_of(struct world *w, uint64_t serial)
{
	char name[DP_SEGMENT_NAME_BYTES];
	struct fake_file *f;

	dp_segment_name(name, serial);
	f = (struct fake_file *)fake_disk_file(&w->disk, name);
	cr_assert(f, "no %s", name);
	return f;
}

/* What lies in the cache is on the disk now too. */
static void settle(struct fake_file *f)
{
	f->durable = realloc(f->durable, f->bytes + 1);
	cr_assert(f->durable);
	memcpy(f->durable, f->data, f->bytes);
	f->durable_bytes = f->bytes;
}

static void put_and_run(struct world *w, uint32_t rounds, uint32_t blocks)
{
	for (uint32_t i = 0; i < rounds; i++) {
		world_put(w, i % WORLD_WORKERS, blocks);
		world_run(w, 10000);
	}
}

/* A life that recorded that much and was stopped (clean) or killed. */
static struct world *lived(enum dp_sync_mode mode, uint32_t rounds, uint32_t blocks, bool clean)
{
	struct world *w = world_new(mode);

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, rounds, blocks);
	if (clean)
		cr_assert_eq(world_stop(w), 0);
	else
		world_kill(w, false);
	return w;
}

static void start_again(struct world *w, const char *what)
{
	cr_assert_eq(world_start(w), 0, "%s: %s %d", what, w->report.what, w->report.error);
}

static bool exists(const struct world *w, const char *name)
{
	return fake_disk_file(&w->disk, name) != NULL;
}

Test(recover, empty_directory_is_a_first_start)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	start_again(w, "first");
	cr_expect_neq(w->recovery->appliance, 0);
	cr_expect_eq(w->recovery->epoch, SAMPLE_TIME_NS / DP_NS_PER_S);
	cr_expect_eq(w->recovery->last_epoch, 0);
	cr_expect_eq(w->recovery->next_serial, 1);
	cr_expect_eq(w->recovery->records, 0);
	cr_expect_eq(w->recovery->segment_count, 0);
	cr_expect(w->recovery->clean);
	cr_expect_eq(world_check(w, "first"), 0);
	world_free(w);
}

Test(recover, appliance_stays_and_epochs_grow)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	uint64_t appliance, epoch, serial;

	start_again(w, "first");
	appliance = w->recovery->appliance;
	epoch = w->recovery->epoch;
	serial = w->recovery->next_serial;
	world_kill(w, true);
	w->now.real_ns -= 1000 * DP_NS_PER_S; /* the clock was put back */
	start_again(w, "second");
	cr_expect_eq(w->recovery->appliance, appliance);
	cr_expect_eq(w->recovery->epoch, epoch + 1);
	cr_expect_gt(w->recovery->next_serial, serial);
	world_kill(w, true);
	cr_assert_eq(w->io.ops->unlink(w->io.ctx, "epoch"), 0);
	cr_assert_eq(w->io.ops->unlink(w->io.ctx, "appliance"), 0);
	start_again(w, "small files lost");
	cr_expect_eq(w->recovery->appliance, appliance, "the segments know");
	cr_expect_eq(w->recovery->epoch, epoch + 2);
	world_free(w);
}

/* An output may have stored a place in a segment that a start has removed since. */
Test(recover, serials_that_a_start_has_seen_are_not_given_again)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 1, 1, true);
	char name[DP_SEGMENT_NAME_BYTES];

	start_again(w, "sees serial 1");
	world_kill(w, true);
	for (uint64_t serial = 1; serial <= 2; serial++) {
		dp_segment_name(name, serial);
		cr_assert_eq(w->io.ops->unlink(w->io.ctx, name), 0);
	}
	w->lives[0][0].released = 0;
	start_again(w, "again");
	cr_expect_eq(w->recovery->next_serial, 2);
	world_free(w);
}

/* The process dies in each of its calls, with and without the machine. */
static uint32_t kill_at_each_call(enum dp_sync_mode mode, bool power_cut)
{
	uint32_t deaths = 0;

	for (long at = 1;; at++) {
		struct world *w = world_new(mode);
		char what[64];
		bool died;

		snprintf(what, sizeof(what), "mode %d call %ld power %d", mode, at, power_cut);
		cr_assert_eq(world_start(w), 0);
		world_put(w, 0, 220); /* near the segment's end */
		world_run(w, 10000);
		w->disk.die_at = w->disk.calls + at;
		for (uint32_t i = 0; i < 6 && !w->disk.dead; i++) {
			world_put(w, 0, 7);
			world_put(w, 1, 3);
			world_run(w, 3 + i * 4);
		}
		died = w->disk.dead;
		deaths += died;
		world_kill(w, power_cut);
		start_again(w, what);
		world_check(w, what);
		world_put(w, 1, 4);
		world_run(w, 1000);
		world_kill(w, power_cut);
		start_again(w, what);
		world_check(w, what);
		world_free(w);
		if (!died)
			return deaths;
	}
}

Test(recover, killed_in_any_call_loses_nothing_acknowledged)
{
	cr_expect_gt(kill_at_each_call(DP_SYNC_ALWAYS, false), 20);
	cr_expect_gt(kill_at_each_call(DP_SYNC_ALWAYS, true), 20);
	cr_expect_gt(kill_at_each_call(DP_SYNC_LAZY, false), 10);
	cr_expect_gt(kill_at_each_call(DP_SYNC_LAZY, true), 10);
}

static uint32_t segment_files(const struct world *w)
{
	uint32_t count = 0;
	uint64_t serial;

	for (int i = 0; i < FAKE_FILES_MAX; i++)
		count += dp_segment_serial(w->disk.files[i].name, &serial);
	return count;
}

/* The same for recovery itself, behind a run whose sync had failed. */
Test(recover, killed_in_recovery_starts_again)
{
	for (long at = 1;; at++) {
		struct world *w = world_new(at % 2 ? DP_SYNC_ALWAYS : DP_SYNC_LAZY);
		char what[64];
		uint32_t count;
		bool died;

		snprintf(what, sizeof(what), "call %ld", at);
		cr_assert_eq(world_start(w), 0);
		put_and_run(w, 4, 10);
		world_fail(w, WORLD_SYNC_POLL, 1, 1, -EIO);
		world_put(w, 0, 10);
		world_run(w, 12); /* into the segment that supersedes, not through */
		world_kill(w, false);
		w->disk.die_at = w->disk.calls + at;
		died = world_start(w) != 0 || w->disk.dead;
		world_kill(w, at % 3 == 0);
		start_again(w, what);
		count = world_check(w, what);
		cr_expect_geq(count, 40, "%s", what);
		cr_expect_eq(segment_files(w), w->recovery->segment_count + 1, "%s", what);
		world_free(w);
		if (!died)
			break;
	}
}

/* ---- damage ---- */

Test(recover, truncated_anywhere_loses_only_what_was_cut)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 4, 3, false);
	struct fake_file full = *file_of(w, 1);
	uint32_t before = 0;

	full.data = malloc(full.bytes);
	cr_assert(full.data);
	memcpy(full.data, file_of(w, 1)->data, full.bytes);
	world_free(w);
	for (size_t bytes = 0; bytes <= 16 * DP_DISK_ALIGN + 8192; bytes += 512) {
		struct fake_file *f;
		uint32_t count;
		char what[32];

		snprintf(what, sizeof(what), "cut to %zu", bytes);
		w = lived(DP_SYNC_ALWAYS, 4, 3, false);
		f = file_of(w, 1);
		cr_assert_eq(memcmp(f->data, full.data, full.bytes), 0, "same life, same bytes");
		f->bytes = bytes;
		settle(f);
		w->lives[0][0].released = w->lives[0][1].released = 0;
		start_again(w, what);
		count = world_count(w, NULL);
		cr_expect_geq(count, before, "%s", what);
		before = count;
		if (bytes < DP_DISK_ALIGN)
			cr_expect(exists(w, "quarantine-0000000000000001.bin"), "%s", what);
		world_free(w);
	}
	cr_expect_eq(before, 12);
	free(full.data);
}

/* In a segment that was sealed, a bit costs its block; the rest stays, and is counted. */
Test(recover, flipped_bits_cost_their_block)
{
	for (uint32_t i = 0; i < 60; i++) {
		bool clean = i % 2;
		struct world *w = lived(DP_SYNC_ALWAYS, 6, 1, clean);
		struct fake_file *f = file_of(w, 1);
		size_t start = f->bytes > 0 ? 2 * (size_t)DP_DISK_ALIGN : 0;
		uint32_t block = i / 2 % 5; /* not the last group of a run that was killed */
		size_t at = start + block * DP_DISK_ALIGN + i * 17 % 700;
		struct dp_reader_counts c;

		f->data[at] ^= (char)(1 << i % 8);
		settle(f);
		w->lives[0][0].damaged = w->lives[0][1].damaged = 1;
		start_again(w, "flip");
		cr_expect_eq(world_count(w, &c), 5, "flip at %zu", at);
		cr_expect_eq(w->recovery->records, 6 * SAMPLE_RECORDS);
		cr_expect_eq(c.quarantined_records, SAMPLE_RECORDS, "flip at %zu", at);
		if (!clean) {
			char name[64];

			snprintf(name, sizeof(name), "quarantine-%016x-%08zx.bin", 1,
				start + block * (size_t)DP_DISK_ALIGN);
			cr_expect(exists(w, name), "%s", name);
			cr_expect_eq(w->recovery->damaged_regions, 1);
			cr_expect_eq(w->recovery->quarantined_records, SAMPLE_RECORDS);
		}
		world_kill(w, true);
		start_again(w, "again");
		cr_expect_eq(world_count(w, NULL), 5);
		cr_expect_eq(w->recovery->damaged_regions, 0, "counted once");
		world_free(w);
	}
}

static void make_unreadable(struct world *w, const char *name, size_t from, size_t bytes)
{
	strcpy(w->disk.bad_name, name);
	w->disk.bad_from = from;
	w->disk.bad_bytes = bytes;
}

/* A sector that the disk refuses to read costs what a flipped bit costs, and prevents no start. */
Test(recover, unreadable_sectors_cost_what_lies_in_them)
{
	static const struct {
		uint32_t page, pages;
		uint32_t blocks; /* that are left of 6 */
		uint64_t lost;	 /* as recovery counts them when the segment had no footer */
		bool aside;
	} table[] = {
		{0, 1, 6, 0, false}, /* a header copy */
		{1, 1, 6, 0, false}, /* the other */
		{0, 2, 0, 0, true},  /* both */
		{2, 1, 5, 1, false}, /* a block */
		{4, 2, 4, 2, false}, /* two */
		{8, 1, 6, 0, false}, /* the footer; room when there is none */
		{9, 3, 6, 0, false},
	};

	for (size_t i = 0; i < 2 * sizeof(table) / sizeof(table[0]); i++) {
		bool clean = i % 2;
		struct world *w = lived(DP_SYNC_ALWAYS, 6, 1, clean);
		char what[32];

		snprintf(what, sizeof(what), "row %zu, clean %d", i / 2, clean);
		make_unreadable(w, "0000000000000001.seg", table[i / 2].page * DP_DISK_ALIGN + 512,
			(table[i / 2].pages - 1) * DP_DISK_ALIGN + 512);
		w->lives[0][0].damaged = w->lives[0][1].damaged = 1;
		start_again(w, what);
		cr_expect_eq(world_count(w, NULL), table[i / 2].blocks, "%s", what);
		cr_expect_eq(exists(w, "quarantine-0000000000000001.bin"), table[i / 2].aside, "%s",
			what);
		if (!clean)
			cr_expect_eq(w->recovery->quarantined_records,
				table[i / 2].lost * SAMPLE_RECORDS, "%s", what);
		world_kill(w, true);
		start_again(w, what);
		cr_expect_eq(world_count(w, NULL), table[i / 2].blocks, "%s, again", what);
		world_free(w);
	}
}

/* A start that went no further than recovery: an address in use, say. */
static void break_off(struct world *w)
{
	struct dp_recovery *r;

	w->now.real_ns += DP_NS_PER_S;
	cr_assert_eq(dp_recover(&w->io, &w->config, &w->now, &r, &w->report), 0);
	dp_recovery_free(r);
}

Test(recover, an_abrupt_end_is_known_until_a_run_has_said_so)
{
	for (uint32_t i = 0; i < 6; i++) {
		bool clean = i % 2;
		struct world *w = lived(i / 2 ? DP_SYNC_ALWAYS : DP_SYNC_LAZY, 2, 3, clean);

		for (uint32_t k = 0; k < i / 2; k++)
			break_off(w);
		start_again(w, "after starts that were broken off");
		cr_expect_eq(w->recovery->clean, clean, "row %u", i);
		put_and_run(w, 2, 3);
		cr_assert_eq(world_stop(w), 0);
		break_off(w);
		start_again(w, "after a run that ended well");
		cr_expect(w->recovery->clean, "row %u", i);
		world_free(w);
	}
}

Test(recover, unreadable_small_files_are_lost_ones)
{
	static const char *const names[] = {"appliance", "epoch"};

	for (size_t i = 0; i < 2; i++) {
		struct world *w = lived(DP_SYNC_ALWAYS, 2, 2, true);

		make_unreadable(w, names[i], 0, 1);
		start_again(w, names[i]);
		cr_expect_eq(world_check(w, names[i]), 4);
		world_free(w);
	}
}

Test(recover, one_header_copy_is_enough)
{
	for (uint32_t copy = 0; copy < 2; copy++) {
		struct world *w = lived(DP_SYNC_ALWAYS, 4, 2, true);

		memset(file_of(w, 1)->data + copy * DP_DISK_ALIGN, 0xff, 100);
		start_again(w, "one copy");
		cr_expect_eq(world_check(w, "one copy"), 8);
		cr_expect_eq(w->recovery->damaged_regions, 0);
		world_free(w);
	}
}

static struct world *three_segments(void)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	for (uint32_t i = 0; i < 3; i++) {
		start_again(w, "segment");
		put_and_run(w, 2, 5);
		cr_assert_eq(world_stop(w), 0);
	}
	return w;
}

Test(recover, both_headers_bad_sets_the_segment_aside)
{
	struct world *w = three_segments();
	struct dp_reader_counts c;

	memset(file_of(w, 2)->data, 0xff, 2 * DP_DISK_ALIGN);
	start_again(w, "headers");
	cr_expect_eq(w->recovery->damaged_regions, 1);
	cr_expect_eq(w->recovery->quarantined_records, 10 * SAMPLE_RECORDS);
	cr_expect_eq(w->recovery->records, 30 * SAMPLE_RECORDS);
	cr_expect(exists(w, "quarantine-0000000000000002.bin"));
	cr_expect_eq(world_count(w, &c), 20);
	cr_expect_eq(c.quarantined_records, 10 * SAMPLE_RECORDS);
	world_free(w);
}

Test(recover, missing_segment_is_counted_and_passed)
{
	struct world *w = three_segments();
	struct dp_reader_counts c;
	char name[DP_SEGMENT_NAME_BYTES];

	dp_segment_name(name, 2);
	cr_assert_eq(w->io.ops->unlink(w->io.ctx, name), 0);
	start_again(w, "missing");
	cr_expect_eq(world_count(w, &c), 20);
	cr_expect_eq(c.missing_segments, 1);
	cr_expect_eq(c.quarantined_records, 10 * SAMPLE_RECORDS);
	cr_expect_eq(w->recovery->records, 30 * SAMPLE_RECORDS);
	world_free(w);
}

/* A copy under another name says a serial that is not its name: it is no segment. */
Test(recover, copied_segment_doubles_nothing)
{
	struct world *w = three_segments();
	const struct fake_file *from = file_of(w, 2);
	struct iovec iov = {from->data, from->bytes};
	char name[DP_SEGMENT_NAME_BYTES];
	int h;

	dp_segment_name(name, 9);
	h = w->io.ops->open(w->io.ctx, name, DP_IO_WRITE | DP_IO_CREATE);
	cr_assert_geq(h, 0);
	cr_assert_eq(w->io.ops->pwritev(w->io.ctx, h, &iov, 1, 0), 0);
	start_again(w, "copy");
	cr_expect_eq(world_check(w, "copy"), 30);
	cr_expect(exists(w, "quarantine-0000000000000009.bin"));
	cr_expect_eq(w->recovery->next_serial, 10);
	world_free(w);
}

static void make_file(struct world *w, const char *name, const char *text)
{
	struct iovec iov = {(void *)text, strlen(text)};
	int h;

	w->io.ops->unlink(w->io.ctx, name);
	h = w->io.ops->open(w->io.ctx, name, DP_IO_WRITE | DP_IO_CREATE);
	cr_assert_geq(h, 0);
	cr_assert_eq(w->io.ops->pwritev(w->io.ctx, h, &iov, 1, 0), 0);
}

/* The next segment would be 2^32, which no position in the log can name. */
Test(recover, a_serial_at_the_end_of_its_range_is_not_followed)
{
	struct world *w = three_segments();

	make_file(w, "00000000ffffffff.seg", "");
	start_again(w, "empty file");
	cr_expect_eq(w->recovery->next_serial, 4);
	cr_expect_eq(world_check(w, "empty file"), 30);
	cr_expect(exists(w, "quarantine-00000000ffffffff.bin"));
	world_put(w, 0, 3);
	world_run(w, 1000);
	cr_assert_eq(world_stop(w), 0);
	start_again(w, "again");
	cr_expect_eq(world_check(w, "again"), 33);
	cr_assert_eq(world_stop(w), 0);

	make_file(w, "epoch", "0000000065530000 00000000ffffffff\n");
	cr_expect_neq(world_start(w), 0);
	cr_expect_eq(w->report.kind, DP_RECOVER_IO);
	cr_expect_eq(w->report.error, EOVERFLOW);
	cr_expect(strstr(w->report.what, "00000000ffffffff.seg"), "%s", w->report.what);
	world_free(w);
}

Test(recover, damaged_footer_is_made_again)
{
	struct world *w = three_segments();
	struct fake_file *f = file_of(w, 2);

	f->data[f->bytes - DP_DISK_ALIGN + 70] ^= 1;
	settle(f);
	start_again(w, "footer");
	cr_expect_eq(world_check(w, "footer"), 30);
	world_kill(w, true);
	start_again(w, "again");
	cr_expect_eq(world_check(w, "again"), 30);
	cr_expect_eq(w->recovery->damaged_regions, 0);
	world_free(w);
}

/*
 * Behind the last sync a block is lost and later ones are not: they must not count, for they may
 * say of what was lost that it was recorded.
 */
Test(recover, tail_counts_up_to_its_first_hole)
{
	for (uint32_t hole = 0; hole < 6; hole++) {
		struct world *w = world_new(DP_SYNC_ALWAYS);
		struct fake_file *f;

		cr_assert_eq(world_start(w), 0);
		put_and_run(w, 2, 2);
		world_put(w, 0, 3);
		world_put(w, 1, 3);
		dp_writer_step(w->writer, &w->now); /* written, not synced */
		f = file_of(w, 1);
		memset(f->data + (2 + 4 + hole) * DP_DISK_ALIGN, 0, DP_DISK_ALIGN);
		settle(f);
		world_kill(w, false);
		start_again(w, "hole");
		cr_expect_eq(world_check(w, "hole"), 4 + hole);
		cr_expect_eq(w->recovery->rewritten_blocks, hole ? hole : 0);
		cr_expect_eq(w->recovery->torn_blocks, 5 - hole);
		cr_expect_eq(
			w->recovery->quarantined_records, 0, "what never counted is not missed");
		world_free(w);
	}
}

/* The segment whose sync failed is lost: the one that superseded it says where its blocks begin. */
Test(recover, tail_behind_a_lost_segment_counts)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);
	struct dp_reader_counts c;

	cr_assert_eq(world_start(w), 0);
	put_and_run(w, 4, 10);
	world_fail(w, WORLD_SYNC_POLL, 1, 1, -EIO);
	world_put(w, 0, 10);
	w->disk.polls = 0;
	for (uint32_t i = 0; i < 1000 && !exists(w, "0000000000000002.seg"); i++)
		world_run(w, 1);
	dp_writer_step(w->writer, &w->now); /* the blocks, written and not synced */
	cr_assert_lt(w->lives[0][0].released, w->lives[0][0].count);
	world_kill(w, false);
	memset(file_of(w, 1)->data, 0xff, 2 * DP_DISK_ALIGN);
	w->lives[0][0].released = w->lives[0][1].released = 0;
	start_again(w, "lost segment");
	cr_expect_eq(w->recovery->rewritten_blocks, 10);
	cr_expect_eq(w->recovery->torn_blocks, 0);
	cr_expect_eq(w->recovery->records, 50 * SAMPLE_RECORDS);
	cr_expect_eq(w->recovery->quarantined_records, 0, "nobody knows since when");
	cr_expect_eq(world_count(w, &c), 10);
	world_free(w);
}

/* An output of `lazy` had read into what recovery has written again. */
Test(recover, place_in_the_tail_goes_on_in_its_copy)
{
	for (uint32_t had = 0; had <= 8; had++) {
		struct world *w = world_new(DP_SYNC_LAZY);
		struct dp_reader_block b;
		struct dp_reader *r;
		uint64_t at, next;

		cr_assert_eq(world_start(w), 0);
		put_and_run(w, 1, 3);
		world_put(w, 0, 5);
		while (dp_writer_step(w->writer, &w->now))
			;
		cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, 0, &r), 0);
		for (uint32_t i = 0; i < had; i++)
			cr_assert_eq(
				dp_reader_next(
					r, atomic_load(&dp_writer_stats(w->writer)->readable), &b),
				1);
		at = dp_reader_at(r);
		dp_reader_close(r);
		world_kill(w, false);
		start_again(w, "tail");
		cr_assert_eq(dp_reader_open(&w->io, w->recovery->appliance, at, &r), 0);
		for (next = had + 1; dp_reader_next(r, w->recovery->end_lp, &b) == 1; next++)
			cr_assert_eq(b.block->sequence, next, "behind %u: %lu", had,
				(unsigned long)b.block->sequence);
		cr_expect_eq(next, 9);
		dp_reader_close(r);
		world_free(w);
	}
}

/* ---- refusals ---- */

/* Every file as it was; the lock is the only one that may be new. */
static void expect_untouched(struct world *w, const struct fake_disk *before)
{
	for (int i = 0; i < FAKE_FILES_MAX; i++) {
		const struct fake_file *a = &before->files[i], *b = &w->disk.files[i];

		cr_expect_str_eq(a->name, b->name);
		cr_expect_eq(a->bytes, b->bytes);
	}
}

static void rehash(struct fake_file *f, size_t at)
{
	struct dp_segment_head *h = (struct dp_segment_head *)(f->data + at);

	h->hash = 0;
	h->hash = XXH3_64bits(h, h->copy_bytes);
}

Test(recover, newer_format_is_refused_untouched)
{
	struct world *w = three_segments();
	struct fake_disk before;

	for (uint32_t copy = 0; copy < 2; copy++) {
		((struct dp_segment_head *)(file_of(w, 3)->data + copy * DP_DISK_ALIGN))->version =
			2;
		rehash(file_of(w, 3), copy * DP_DISK_ALIGN);
	}
	before = w->disk;
	cr_expect_neq(world_start(w), 0);
	cr_expect_eq(w->report.kind, DP_RECOVER_NEWER);
	cr_expect(strstr(w->report.what, "0000000000000003.seg"), "%s", w->report.what);
	expect_untouched(w, &before);
	world_free(w);
}

Test(recover, foreign_appliance_is_refused_untouched)
{
	struct world *w = three_segments();
	struct fake_disk before;

	for (uint32_t copy = 0; copy < 2; copy++) {
		((struct dp_segment_head *)(file_of(w, 2)->data + copy * DP_DISK_ALIGN))
			->appliance ^= 1;
		rehash(file_of(w, 2), copy * DP_DISK_ALIGN);
	}
	before = w->disk;
	cr_expect_neq(world_start(w), 0);
	cr_expect_eq(w->report.kind, DP_RECOVER_FOREIGN);
	expect_untouched(w, &before);
	world_free(w);
}

Test(recover, failing_disk_is_reported)
{
	struct world *w = three_segments();

	w->disk.fail = -EIO;
	cr_expect_neq(world_start(w), 0);
	cr_expect_eq(w->report.kind, DP_RECOVER_IO);
	cr_expect_eq(w->report.error, EIO);
	world_free(w);
}

/* ---- room ---- */

Test(recover, full_disk_does_not_prevent_a_start)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 4, 3, false);

	/* appliance stays; epoch is written, the tail's new segment is not. */
	world_fail(w, WORLD_WRITE, 2, 1, -ENOSPC);
	start_again(w, "full");
	cr_expect_eq(world_check(w, "full"), 12);
	cr_expect_eq(w->recovery->rewritten_blocks, 0);
	cr_expect_eq(w->recovery->segment_count, 1);
	world_kill(w, true);
	start_again(w, "again");
	cr_expect_eq(world_check(w, "again"), 12);
	world_free(w);
}

static bool stop_after(void *arg)
{
	long *left = arg;

	return (*left)-- <= 0;
}

static int count_block(void *arg, const struct dp_reader_block *b)
{
	(void)b;
	++*(long *)arg;
	return 0;
}

/* A stop during a long start is not to wait for its end, and leaves the directory as it was. */
Test(recover, stop_is_obeyed_at_each_block)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 6, 3, false);
	long left = 0, n = 0, blocks = 0;
	struct dp_reader_counts counts;

	w->config.stop = stop_after;
	w->config.stop_arg = &left;
	while (world_start(w)) {
		cr_assert_eq(w->report.kind, DP_RECOVER_STOPPED, "%ld: %s", n, w->report.what);
		cr_assert_not(exists(w, "epoch.tmp"));
		left = ++n;
	}
	cr_expect_geq(n, 18, "once a block");
	left = 7;
	cr_expect_eq(dp_replay(&w->io, w->recovery, count_block, &blocks, &counts), -ECANCELED);
	cr_expect_eq(blocks, 7);
	w->recovery->stop = NULL;
	world_check(w, "stopped");
	world_free(w);
}

/* What is kept for whoever wants to look takes no room from the end of the log. */
Test(recover, quarantine_comes_last_on_a_full_disk)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 4, 3, false);
	struct fake_file *f = file_of(w, 1);

	f->data[3 * DP_DISK_ALIGN + 200] ^= 1;
	settle(f);
	w->lives[0][0].damaged = 1;
	/* epoch; the tail's header, its 3 blocks, its footer; the footer of the damaged segment */
	world_fail(w, WORLD_WRITE, 8, 1, -ENOSPC);
	start_again(w, "full");
	cr_expect_eq(w->recovery->rewritten_blocks, 3);
	cr_expect_eq(w->recovery->damaged_regions, 1);
	cr_expect_eq(world_count(w, NULL), 11);
	cr_expect(!exists(w, "quarantine-0000000000000001-00003000.bin"));
	world_free(w);
}

Test(recover, leftover_temporaries_go)
{
	struct world *w = lived(DP_SYNC_ALWAYS, 2, 2, true);

	cr_assert_geq(w->io.ops->open(w->io.ctx, "next.tmp", DP_IO_WRITE | DP_IO_CREATE), 0);
	start_again(w, "temp");
	cr_expect(!exists(w, "next.tmp"));
	world_free(w);
}

/* The journal grows by the tails of crashes; each start must still find the whole of it. */
Test(recover, many_crashes_keep_the_log_whole)
{
	for (uint32_t seed = 0; seed < 6; seed++) {
		struct world *w = world_new(seed % 2 ? DP_SYNC_LAZY : DP_SYNC_ALWAYS);
		uint32_t total = 0;

		for (uint32_t life = 0; life < WORLD_LIVES_MAX - 1; life++) {
			start_again(w, "life");
			cr_assert_geq(world_check(w, "life"), total);
			world_fail(w, life % 3 ? WORLD_SYNC_POLL : WORLD_WRITE, 3 + seed, 1, -EIO);
			put_and_run(w, 6, 8);
			total = 48 * (life + 1);
			world_put(w, 0, 5); /* on its way when the process dies */
			world_run(w, seed);
			world_kill(w, (seed + life) % 2);
		}
		start_again(w, "last");
		cr_expect_geq(world_check(w, "last"), total);
		world_free(w);
	}
}
