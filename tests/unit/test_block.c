#include "dataplane/journal/block.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/sample.h"

static const struct dp_block_spot spot = {.serial = 7, .offset = 8192, .salt = 0x5a17};

struct fixture {
	struct dp_arena arena;
	struct dp_log log;
	struct sample_streams streams;
	struct dp_block *block;
};

/* A finished block of three groups. */
static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	cr_assert(f);
	sample_log_init(&f->log, &f->arena, 0);
	sample_streams_init(&f->streams);
	for (uint32_t round = 0; round < 3; round++)
		sample_group(&f->log, &f->streams, round);
	dp_log_seal(&f->log, 0, true);
	f->block = dp_log_take(&f->log);
	f->block->records_before = 99;
	dp_block_finish(f->block, &spot);
	return f;
}

static void fixture_free(struct fixture *f)
{
	dp_arena_fini(&f->arena);
	free(f);
}

Test(block, finished_is_good_at_its_spot)
{
	struct fixture *f = fixture_new();

	cr_expect_eq(dp_block_check(f->block, f->block->bytes, &spot), DP_BLOCK_OK);
	cr_expect_eq(f->block->segment_serial, 7);
	cr_expect_eq(f->block->segment_offset, 8192);
	dp_block_finish(f->block, &spot);
	cr_expect_eq(dp_block_check(f->block, f->block->bytes, &spot), DP_BLOCK_OK,
		"a second finish, after a failed write, makes the same block");
	fixture_free(f);
}

Test(block, another_place_or_salt_is_refused)
{
	struct fixture *f = fixture_new();
	const struct {
		struct dp_block_spot spot;
		enum dp_block_fault fault;
	} table[] = {
		{{.serial = 8, .offset = 8192, .salt = 0x5a17}, DP_BLOCK_PLACE_BAD},
		{{.serial = 7, .offset = 4096, .salt = 0x5a17}, DP_BLOCK_PLACE_BAD},
		{{.serial = 7, .offset = 8192, .salt = 0x5a18}, DP_BLOCK_HASH_BAD},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_expect_eq(dp_block_check(f->block, f->block->bytes, &table[i].spot),
			table[i].fault, "row %zu", i);
	fixture_free(f);
}

Test(block, impossible_headers_have_a_name)
{
	struct fixture *f = fixture_new();
	const struct dp_block good = *f->block;
	const uint32_t most = (good.bytes - DP_BLOCK_HEAD_BYTES) / sizeof(struct dp_rec_mark);

#define ROW(field, value, fault)                                                                   \
	{                                                                                          \
#field " = " #value, offsetof(struct dp_block, field), sizeof(good.field), value,  \
			fault                                                                      \
	}
	const struct {
		const char *what;
		size_t at, size;
		uint64_t value;
		enum dp_block_fault fault;
	} table[] = {
		ROW(magic, 0, DP_BLOCK_MAGIC_BAD),
		ROW(version, 2, DP_BLOCK_VERSION_NEW),
		ROW(version, 0, DP_BLOCK_HEADER_BAD),
		ROW(flags, 1, DP_BLOCK_HEADER_BAD),
		ROW(durable_lp, 1, DP_BLOCK_HASH_BAD),
		ROW(sequence, 0, DP_BLOCK_HEADER_BAD),
		ROW(worker, DP_WORKERS_MAX, DP_BLOCK_HEADER_BAD),
		ROW(bytes, 0, DP_BLOCK_HEADER_BAD),
		ROW(bytes, DP_BLOCK_HEAD_BYTES, DP_BLOCK_HEADER_BAD),
		ROW(bytes, good.bytes + 4, DP_BLOCK_HEADER_BAD),
		ROW(bytes, good.bytes + 8, DP_BLOCK_SHORT),
		ROW(bytes, UINT32_MAX - 7, DP_BLOCK_SHORT),
		ROW(bytes, good.bytes - 8, DP_BLOCK_HASH_BAD),
		ROW(record_count, 0, DP_BLOCK_HEADER_BAD),
		ROW(record_count, most + 1, DP_BLOCK_HEADER_BAD),
		ROW(reading_count, good.record_count + 1, DP_BLOCK_HEADER_BAD),
		ROW(epoch, 3, DP_BLOCK_HASH_BAD),
		ROW(hash, 3, DP_BLOCK_HASH_BAD),
	};
#undef ROW

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		enum dp_block_fault fault;

		*f->block = good;
		memcpy((char *)f->block + table[i].at, &table[i].value, table[i].size);
		fault = dp_block_check(f->block, good.bytes, &spot);
		cr_expect_eq(
			fault, table[i].fault, "%s: %s", table[i].what, dp_block_fault_name(fault));
	}
	fixture_free(f);
}

Test(block, every_flipped_bit_and_every_cut_is_noticed)
{
	struct fixture *f = fixture_new();
	char *bytes = (char *)f->block;
	uint32_t n = f->block->bytes;

	for (uint32_t i = 0; i < n; i++) {
		bytes[i] ^= (char)(1 << i % 8);
		cr_assert_neq(dp_block_check(f->block, n, &spot), DP_BLOCK_OK, "byte %u", i);
		bytes[i] ^= (char)(1 << i % 8);
	}
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(dp_block_check(f->block, i, &spot), DP_BLOCK_SHORT, "%u bytes", i);
	cr_expect_eq(dp_block_check(f->block, n, &spot), DP_BLOCK_OK);
	fixture_free(f);
}

Test(block, walk_visits_every_record_once)
{
	static const uint8_t kinds[SAMPLE_RECORDS] = {DP_REC_MARK, DP_REC_WINDOW, DP_REC_READING,
		DP_REC_ALERT, DP_REC_READING, DP_REC_GAP, DP_REC_MARK, DP_REC_WINDOW};
	struct fixture *f = fixture_new();
	const struct dp_rec *rec;
	size_t cursor = 0;
	uint32_t n = 0;
	bool bad;

	while ((rec = dp_block_next(f->block, &f->streams.set, &cursor, &bad))) {
		cr_assert_lt(n, f->block->record_count);
		cr_expect_eq(rec->kind, kinds[n++ % SAMPLE_RECORDS]);
	}
	cr_expect_not(bad);
	cr_expect_eq(n, 3 * SAMPLE_RECORDS);
	fixture_free(f);
}

Test(block, walk_stops_at_a_bad_record)
{
	struct fixture *f = fixture_new();
	size_t cursor = 0;
	bool bad = false;
	struct dp_rec *rec;

	rec = (struct dp_rec *)sample_record(f->block, &f->streams.set, 2);
	rec->bytes += 8;
	cr_expect(dp_block_next(f->block, &f->streams.set, &cursor, &bad));
	cr_expect(dp_block_next(f->block, &f->streams.set, &cursor, &bad));
	cr_expect_null(dp_block_next(f->block, &f->streams.set, &cursor, &bad));
	cr_expect(bad);
	cr_expect_null(dp_block_next(f->block, &f->streams.set, &cursor, &bad), "and stays there");
	cr_expect(bad);
	fixture_free(f);
}

Test(block, faults_have_names)
{
	for (int f = DP_BLOCK_OK; f <= DP_BLOCK_HASH_BAD; f++)
		for (int g = DP_BLOCK_OK; g < f; g++)
			cr_expect_str_neq(dp_block_fault_name((enum dp_block_fault)f),
				dp_block_fault_name((enum dp_block_fault)g));
	cr_expect_str_eq(dp_block_fault_name((enum dp_block_fault)99), "unknown");
}
