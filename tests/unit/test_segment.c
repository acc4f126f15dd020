#include "dataplane/journal/segment.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/journal_world.h"

Test(segment, names_are_serials)
{
	static const struct {
		const char *name;
		bool good;
		uint64_t serial;
	} table[] = {
		{"0000000000000001.seg", true, 1},
		{"00000000ffffffff.seg", true, UINT32_MAX},
		{"0000000100000000.seg", false, 0}, /* no log position holds it */
		{"0000000000000000.seg", false, 0},
		{"000000000000000A.seg", false, 0},
		{"000000000000001.seg", false, 0},
		{"0000000000000001.seg.tmp", false, 0},
		{"0000000000000001.tmp", false, 0},
		{"LOCK", false, 0},
		{"", false, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char name[DP_SEGMENT_NAME_BYTES];
		uint64_t serial = 0;

		cr_expect_eq(dp_segment_serial(table[i].name, &serial), table[i].good, "%s",
			table[i].name);
		if (!table[i].good)
			continue;
		cr_expect_eq(serial, table[i].serial);
		dp_segment_name(name, serial);
		cr_expect_str_eq(name, table[i].name);
	}
}

struct shown {
	uint32_t heads, blocks, faults, footers;
	uint64_t end; /* items lie one behind the other */
	enum dp_block_fault fault;
	int stop_at; /* block to stop at; 0: none */
};

static int show(void *arg, const struct dp_segment_item *item)
{
	struct shown *s = arg;

	cr_expect_geq(item->offset, s->end);
	s->end = item->offset + item->bytes;
	s->heads += item->kind == DP_SEGMENT_HEAD;
	s->blocks += item->kind == DP_SEGMENT_BLOCK;
	s->faults += item->kind == DP_SEGMENT_FAULT;
	s->footers += item->kind == DP_SEGMENT_FOOTER;
	if (item->kind == DP_SEGMENT_FAULT)
		s->fault = item->fault;
	return s->stop_at && s->stop_at == (int)s->blocks ? 7 : 0;
}

static struct world *with_blocks(bool clean)
{
	struct world *w = world_new(DP_SYNC_ALWAYS);

	cr_assert_eq(world_start(w), 0);
	world_put(w, 0, 6);
	world_run(w, 1000);
	if (clean)
		cr_assert_eq(world_stop(w), 0);
	else
		world_kill(w, false);
	return w;
}

Test(segment, walk_shows_all_there_is)
{
	for (uint32_t clean = 0; clean < 2; clean++) {
		struct world *w = with_blocks(clean);
		struct shown s = {0};

		cr_expect_eq(dp_segment_walk(&w->io, "0000000000000001.seg", show, &s), 0);
		cr_expect_eq(s.heads, 1);
		cr_expect_eq(s.blocks, 6);
		cr_expect_eq(s.faults, 0, "room behind the last block is none");
		cr_expect_eq(s.footers, clean);
		s = (struct shown){.stop_at = 3};
		cr_expect_eq(dp_segment_walk(&w->io, "0000000000000001.seg", show, &s), 7);
		world_free(w);
	}
}

Test(segment, walk_shows_faults)
{
	static const struct {
		uint32_t page; /* where, behind the header */
		uint32_t offset, bytes;
		uint32_t blocks, faults;
		enum dp_block_fault fault;
	} table[] = {
		{0, 0, 4, 5, 1, DP_BLOCK_MAGIC_BAD},
		{2, 130, 1, 5, 1, DP_BLOCK_HASH_BAD},
		{2, 0, 2 * DP_DISK_ALIGN, 4, 1, DP_BLOCK_MAGIC_BAD},
		{5, 104, 1, 5, 1, DP_BLOCK_PLACE_BAD},
		{9, 0, 4, 6, 1, DP_BLOCK_MAGIC_BAD},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world *w = with_blocks(false);
		struct fake_file *f =
			(struct fake_file *)fake_disk_file(&w->disk, "0000000000000001.seg");
		struct shown s = {0};

		memset(f->data + (2 + table[i].page) * DP_DISK_ALIGN + table[i].offset, 0xee,
			table[i].bytes);
		cr_expect_eq(dp_segment_walk(&w->io, "0000000000000001.seg", show, &s), 0);
		cr_expect_eq(s.blocks, table[i].blocks, "row %zu", i);
		cr_expect_eq(s.faults, table[i].faults, "row %zu", i);
		cr_expect_eq(s.fault, table[i].fault, "row %zu", i);
		world_free(w);
	}
}

Test(segment, what_is_no_segment_is_refused)
{
	struct world *w = with_blocks(true);
	struct dp_segment_head h;
	struct shown s = {0};

	cr_expect_eq(dp_segment_walk(&w->io, "0000000000000002.seg", show, &s), -ENOENT);
	cr_expect_eq(dp_segment_walk(&w->io, "appliance", show, &s), -EBADMSG);
	cr_expect_eq(dp_segment_peek(&w->io, 2, &h), -ENOENT);
	cr_expect_eq(dp_segment_peek(&w->io, 1, &h), 0);
	cr_expect_eq(h.serial, 1);
	cr_expect_eq(h.records_before, 0);
	cr_expect_eq(s.heads, 0);
	world_free(w);
}

/* A footer found by its magic alone, in a file that was not cut, or with its bytes touched. */
Test(segment, footer_must_hold)
{
	struct world *w = with_blocks(true);
	struct fake_file *f = (struct fake_file *)fake_disk_file(&w->disk, "0000000000000001.seg");
	size_t at = f->bytes - DP_DISK_ALIGN;

	for (size_t i = 0; i < sizeof(struct dp_footer) + 6 * sizeof(struct dp_footer_entry); i++) {
		struct dp_segment s;
		struct dp_footer *footer;

		cr_assert_eq(dp_segment_open(&w->io, "0000000000000001.seg", 1, &s), 0);
		f->data[at + i] ^= 0x10;
		cr_assert_eq(dp_footer_load(&s, &footer), -ENOENT, "byte %zu", i);
		f->data[at + i] ^= 0x10;
		cr_assert_eq(dp_footer_load(&s, &footer), 0);
		cr_assert_eq(footer->block_count, 6);
		cr_assert_eq(footer->records_after, 6 * SAMPLE_RECORDS);
		cr_assert_eq(dp_footer_end(footer, s.start), 8 * DP_DISK_ALIGN);
		free(footer);
		dp_segment_close(&s);
	}
	world_free(w);
}
