#include "dataplane/core/batch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/decode_world.h"

/* Row whose every member tells n. */
static void fill_row(struct dp_batch *b, uint32_t row, uint32_t n)
{
	b->id[row] = (struct dp_sensor_id){.len = 1, .bytes = {(char)('a' + n)}};
	b->key[row] = n + 1;
	b->event_ns[row] = n + 2;
	b->arrival_ns[row] = n + 3;
	b->seq[row] = n + 4;
	b->boot[row] = n + 5;
	b->slot[row] = n + 6;
	b->flags[row] = (uint16_t)(n + 7);
	b->index[row] = (uint8_t)(n + 8);
	b->group[row] = (uint8_t)(n + 9);
	for (uint32_t f = 0; f < b->stream->field_count; f++)
		dp_batch_row_values(b, row)[f] = (float)(n * 100 + f);
	for (uint32_t t = 0; t < b->stream->tag_count; t++) {
		b->tag_len[row * b->stream->tag_count + t] = 2;
		memcpy(b->tags[row * b->stream->tag_count + t], (char[]){(char)n, (char)t}, 2);
	}
}

static void assert_row(const struct dp_batch *b, uint32_t row, uint32_t n)
{
	cr_assert_eq(b->id[row].bytes[0], (char)('a' + n), "row %u holds another than %u", row, n);
	cr_assert_eq(b->key[row], n + 1);
	cr_assert_eq(b->event_ns[row], n + 2);
	cr_assert_eq(b->arrival_ns[row], n + 3);
	cr_assert_eq(b->seq[row], n + 4);
	cr_assert_eq(b->boot[row], n + 5);
	cr_assert_eq(b->slot[row], n + 6);
	cr_assert_eq(b->flags[row], n + 7);
	cr_assert_eq(b->index[row], n + 8);
	cr_assert_eq(b->group[row], n + 9);
	for (uint32_t f = 0; f < b->stream->field_count; f++)
		cr_assert_eq(dp_batch_row_values(b, row)[f], (float)(n * 100 + f));
	for (uint32_t t = 0; t < b->stream->tag_count; t++) {
		const char *tag = b->tags[row * b->stream->tag_count + t];

		cr_assert_eq(b->tag_len[row * b->stream->tag_count + t], 2);
		cr_assert(tag[0] == (char)n && tag[1] == (char)t);
	}
}

Test(batch, arrays_do_not_overlap)
{
	struct world w;

	world_init(&w);
	for (int s = 0; s < WORLD_STREAMS; s++) {
		for (uint32_t row = 0; row < DP_BATCH_MAX; row++)
			fill_row(&w.batches[s], row, row % 100);
		for (uint32_t row = 0; row < DP_BATCH_MAX; row++)
			assert_row(&w.batches[s], row, row % 100);
	}
	world_fini(&w);
}

Test(batch, bytes_are_what_init_takes_at_most)
{
	struct world w;
	struct dp_arena a;
	struct dp_batch b;
	size_t bytes;

	world_init(&w);
	bytes = dp_batch_bytes(&w.streams[0]);
	cr_assert_eq(dp_arena_init(&a, bytes), 0);
	cr_assert_not_null(dp_arena_take(&a, 1, 1)); /* the worst start: one byte behind a line */
	cr_assert_eq(dp_batch_init(&b, &w.streams[0], &a), 0);
	cr_assert_leq(a.used, bytes);
	cr_assert_eq(dp_batch_init(&b, &w.streams[0], &a), -ENOMEM);
	dp_arena_fini(&a);
	world_fini(&w);
}

Test(batch, rows_copy_and_move_whole)
{
	struct world w;
	struct dp_batch other;

	world_init(&w);
	cr_assert_eq(dp_batch_init(&other, &w.streams[0], &w.arena), 0);
	for (uint32_t row = 0; row < 10; row++)
		fill_row(&w.batches[0], row, row);
	for (uint32_t row = 1; row < 10; row += 2)
		dp_batch_copy_row(&other, &w.batches[0], row);
	cr_assert_eq(other.count, 5);
	for (uint32_t row = 0; row < 5; row++)
		assert_row(&other, row, 2 * row + 1);
	for (uint32_t row = 0; row < 5; row++)
		dp_batch_move_row(&w.batches[0], row, 2 * row);
	for (uint32_t row = 0; row < 5; row++)
		assert_row(&w.batches[0], row, 2 * row);
	world_fini(&w);
}

Test(batch, key_depends_on_the_bytes_of_the_id_alone)
{
	struct dp_sensor_id a = {.len = 2, .bytes = "s1"}, b = {.len = 2, .bytes = "s2"};
	struct dp_sensor_id longer = {.len = 3, .bytes = "s1"};

	/* XXH3_64bits("s1", 2), unseeded: the owner must be the same in every process */
	cr_assert_eq(dp_sensor_key(&a), 0x9a275e3f454930d1ull);
	cr_assert_neq(dp_sensor_key(&a), dp_sensor_key(&b));
	cr_assert_neq(dp_sensor_key(&a), dp_sensor_key(&longer));
}

struct text_case {
	const char *what, *bytes;
	bool utf8, id;
};

#define T(what, bytes, utf8, id)                                                                   \
	{                                                                                          \
		what, bytes, utf8, id                                                              \
	}

static const struct text_case texts[] = {
	T("ascii", "sensor-01", true, true),
	T("space and punctuation", "a b/c:d#~", true, true),
	T("two bytes", "f\xc3\xbcnf", true, true),
	T("three bytes", "\xe6\xb8\xa9\xe5\xba\xa6", true, true),
	T("four bytes", "\xf0\x9f\x8c\xa1", true, true),
	T("last code point", "\xf4\x8f\xbf\xbf", true, true),
	T("below the surrogates", "\xed\x9f\xbf", true, true),
	T("above the surrogates", "\xee\x80\x80", true, true),
	T("tab", "a\tb", true, false),
	T("newline", "a\n", true, false),
	T("escape", "\x1b[0m", true, false),
	T("DEL", "a\x7f", true, false),
	T("C1", "a\xc2\x80", true, false),
	T("last C1", "\xc2\x9f", true, false),
	T("no-break space", "\xc2\xa0", true, true),
	T("lone continuation", "a\x80", false, false),
	T("0xbf first", "\xbf", false, false),
	T("overlong NUL", "\xc0\x80", false, false),
	T("overlong slash", "\xc1\xaf", false, false),
	T("overlong in three", "\xe0\x80\xaf", false, false),
	T("overlong in three, last", "\xe0\x9f\xbf", false, false),
	T("overlong in four", "\xf0\x80\x80\xaf", false, false),
	T("overlong in four, last", "\xf0\x8f\xbf\xbf", false, false),
	T("high surrogate", "\xed\xa0\x80", false, false),
	T("low surrogate", "\xed\xbf\xbf", false, false),
	T("beyond U+10FFFF", "\xf4\x90\x80\x80", false, false),
	T("0xf5", "\xf5\x80\x80\x80", false, false),
	T("0xf8, five bytes", "\xf8\x88\x80\x80\x80", false, false),
	T("0xfe", "\xfe", false, false),
	T("0xff", "\xff", false, false),
	T("two bytes cut", "a\xc3", false, false),
	T("three bytes cut", "a\xe6\xb8", false, false),
	T("four bytes cut", "a\xf0\x9f\x8c", false, false),
	T("second of two wrong",
		"\xc3"
		"a",
		false, false),
	T("second of three wrong",
		"\xe6"
		"a\xa9",
		false, false),
	T("third of three wrong",
		"\xe6\xb8"
		"a",
		false, false),
	T("fourth of four wrong",
		"\xf0\x9f\x8c"
		"a",
		false, false),
};

Test(batch, text_is_judged_by_the_table)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const struct text_case *t = &texts[i];

		cr_assert_eq(dp_utf8_valid(t->bytes, strlen(t->bytes)), t->utf8, "%s", t->what);
		cr_assert_eq(dp_sensor_id_valid(t->bytes, strlen(t->bytes)), t->id, "%s", t->what);
	}
}

Test(batch, id_is_1_to_32_bytes)
{
	static const char x[] = "0123456789abcdef0123456789abcdefX";

	cr_assert_not(dp_sensor_id_valid(x, 0));
	cr_assert(dp_sensor_id_valid(x, 1));
	cr_assert(dp_sensor_id_valid(x, 32));
	cr_assert_not(dp_sensor_id_valid(x, 33));
	cr_assert_not(dp_sensor_id_valid("a\0b", 3));
	cr_assert(dp_utf8_valid("a\0b", 3), "NUL is well-formed UTF-8");
}

/* ASCII is looked at eight bytes at a time: each byte at each place. */
Test(text, each_byte_at_each_place)
{
	char id[DP_SENSOR_ID_MAX];

	for (size_t at = 0; at < sizeof(id); at++)
		for (int byte = 0; byte < 256; byte++) {
			memset(id, 'a', sizeof(id));
			id[at] = (char)byte;
			cr_assert_eq(dp_sensor_id_valid(id, sizeof(id)),
				byte >= 0x20 && byte < 0x7f, "%#x at %zu", byte, at);
			cr_assert_eq(
				dp_utf8_valid(id, sizeof(id)), byte < 0x80, "%#x at %zu", byte, at);
		}
}
