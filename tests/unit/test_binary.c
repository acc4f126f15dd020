/* Datagram v1: each reason by its smallest offence, and values, times and tags as they arrive. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/decode/wire.h"
#include "tests/unit/decode_world.h"

#define BASE_NS 1699999999000000000ll

struct datagram {
	struct dp_wire_head head;
	uint8_t bytes[DP_DATAGRAM_BYTES_MAX + 64];
	size_t len;
};

static void put(struct datagram *d, const void *bytes, size_t len)
{
	cr_assert_leq(d->len + len, sizeof(d->bytes));
	memcpy(d->bytes + d->len, bytes, len);
	d->len += len;
}

static void put_u8(struct datagram *d, uint8_t v)
{
	put(d, &v, 1);
}

static void put_i32(struct datagram *d, int32_t v)
{
	put(d, &v, sizeof(v));
}

static void put_i16(struct datagram *d, int16_t v)
{
	put(d, &v, sizeof(v));
}

static void put_f32(struct datagram *d, float v)
{
	put(d, &v, sizeof(v));
}

/* Header and id; readings follow. */
static void start(struct datagram *d, uint8_t flags, uint8_t count, const char *id)
{
	memset(d, 0, sizeof(*d));
	d->head = (struct dp_wire_head){.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = flags,
		.stream = WORLD_ROOM,
		.id_len = (uint8_t)strlen(id),
		.count = count,
		.field_count = 4,
		.base_time_ns = flags & DP_WIRE_NO_TIME ? 0 : BASE_NS};
	if (flags & DP_WIRE_NUMBERED) {
		d->head.boot = 0xfeedbeef;
		d->head.sequence = 0x0123456789abcdefull;
	}
	d->len = sizeof(d->head);
	put(d, id, strlen(id));
}

static void put_reading(struct datagram *d, int32_t delta, float first)
{
	put_i32(d, delta);
	put_u8(d, 15);
	for (int i = 0; i < 4; i++)
		put_f32(d, first + (float)i);
}

/* One sound reading. */
static void start_whole(struct datagram *d)
{
	start(d, DP_WIRE_NUMBERED, 1, "s1");
	put_reading(d, 0, 20);
}

/* Decodes what lies in exactly d->len bytes, so that a sanitizer sees a read beyond. */
static int decode(struct world *w, struct datagram *d)
{
	uint8_t *exact = malloc(d->len ? d->len : 1);
	uint16_t stream = UINT16_MAX;
	const char *fault;
	int rc;

	memcpy(d->bytes, &d->head, sizeof(d->head));
	memcpy(exact, d->bytes, d->len);
	world_note(w);
	rc = dp_binary_decode(
		&w->target, exact, exact + d->len, WORLD_ARRIVAL_NS, &w->counters, &stream);
	free(exact);
	fault = world_fault(w, rc, stream);
	cr_assert_null(fault, "%s (result %d)", fault, rc);
	return rc;
}

#define EXPECT_REJECT(w, d, reason)                                                                \
	do {                                                                                       \
		int rc_ = decode(w, d);                                                            \
		cr_assert_eq(rc_, -(int)(reason), "got %s, want %s",                               \
			rc_ < 0 ? dp_counter_name((enum dp_counter) - rc_) : "readings",           \
			dp_counter_name(reason));                                                  \
	} while (0)

struct head_case {
	const char *what;
	size_t at; /* byte of the datagram that changes */
	uint8_t to;
	enum dp_counter reason;
};

#define AT(member) offsetof(struct dp_wire_head, member)

static const struct head_case heads[] = {
	{"magic, first byte", AT(magic), 'Q', DP_C_REJ_MAGIC},
	{"magic, second byte", AT(magic) + 1, 'Q', DP_C_REJ_MAGIC},
	{"version 0", AT(version), 0, DP_C_REJ_VERSION},
	{"version 2", AT(version), 2, DP_C_REJ_VERSION},
	{"flag bit 5", AT(flags), 32 | DP_WIRE_NUMBERED, DP_C_REJ_FLAGS},
	{"flag bit 7", AT(flags), 128 | DP_WIRE_NUMBERED, DP_C_REJ_FLAGS},
	{"reserved, low", AT(reserved), 1, DP_C_REJ_FLAGS},
	{"reserved, high", AT(reserved) + 1, 1, DP_C_REJ_FLAGS},
	{"boot and sequence without the flag", AT(flags), 0, DP_C_REJ_FLAGS},
	{"no time, but a base", AT(flags), DP_WIRE_NO_TIME | DP_WIRE_NUMBERED, DP_C_REJ_FLAGS},
	{"stream of no number", AT(stream), 7, DP_C_REJ_STREAM},
	{"stream beyond the table", AT(stream) + 1, 255, DP_C_REJ_STREAM},
	{"no reading", AT(count), 0, DP_C_REJ_COUNT},
	{"65 readings", AT(count), 65, DP_C_REJ_COUNT},
	{"255 readings", AT(count), 255, DP_C_REJ_COUNT},
	{"2 readings, 1 there", AT(count), 2, DP_C_REJ_TRUNCATED},
	{"64 readings, 1 there", AT(count), 64, DP_C_REJ_TRUNCATED},
	{"no id", AT(id_len), 0, DP_C_REJ_SENSOR_ID},
	{"id of 33", AT(id_len), 33, DP_C_REJ_SENSOR_ID},
	{"id of 255", AT(id_len), 255, DP_C_REJ_SENSOR_ID},
	{"id beyond the end", AT(id_len), 32, DP_C_REJ_TRUNCATED},
	{"no field", AT(field_count), 0, DP_C_REJ_PRESENCE},
	{"a field more than the stream", AT(field_count), 5, DP_C_REJ_PRESENCE},
	{"65,284 fields", AT(field_count) + 1, 255, DP_C_REJ_PRESENCE},
	{"three fields, four present", AT(field_count), 3, DP_C_REJ_PRESENCE},
	{"time before 1970", AT(base_time_ns) + 7, 0x80, DP_C_REJ_TIME},
	{"time after 2200", AT(base_time_ns) + 7, 0x7f, DP_C_REJ_TIME},
	{"presence beyond the fields", 32 + 2 + 4, 0x1f, DP_C_REJ_PRESENCE},
	{"presence in the last bit", 32 + 2 + 4, 0x80, DP_C_REJ_PRESENCE},
	{"one value less than sent", 32 + 2 + 4, 7, DP_C_REJ_TRAILING},
	{"id with a control character", 32, '\n', DP_C_REJ_SENSOR_ID},
	{"id with NUL", 33, 0, DP_C_REJ_SENSOR_ID},
	{"id with DEL", 33, 0x7f, DP_C_REJ_SENSOR_ID},
	{"id with a lone continuation", 32, 0x80, DP_C_REJ_UTF8},
	{"id ending inside a character", 33, 0xe6, DP_C_REJ_UTF8},
};

Test(binary, one_wrong_byte_rejects_under_its_reason)
{
	struct world w;

	world_init(&w);
	for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		struct datagram d;
		int rc;

		start_whole(&d);
		memcpy(d.bytes, &d.head, sizeof(d.head));
		d.bytes[heads[i].at] = heads[i].to;
		memcpy(&d.head, d.bytes, sizeof(d.head));
		rc = decode(&w, &d);
		cr_assert_eq(rc, -(int)heads[i].reason, "%s: got %s", heads[i].what,
			rc < 0 ? dp_counter_name((enum dp_counter) - rc) : "readings");
	}
	world_fini(&w);
}

Test(binary, every_cut_is_truncated_and_every_extra_byte_trails)
{
	struct world w;
	struct datagram d;
	size_t whole;

	world_init(&w);
	start(&d, DP_WIRE_TAGS, 2, "sensor");
	put(&d, "\2\3abc\1z", 7);
	put_reading(&d, 0, 20);
	put_reading(&d, 1, 30);
	whole = d.len;
	for (d.len = 0; d.len < whole; d.len++)
		EXPECT_REJECT(&w, &d, DP_C_REJ_TRUNCATED);
	d.len = whole;
	cr_assert_eq(decode(&w, &d), 2);
	put_u8(&d, 0);
	EXPECT_REJECT(&w, &d, DP_C_REJ_TRAILING);
	d.len = DP_DATAGRAM_BYTES_MAX;
	EXPECT_REJECT(&w, &d, DP_C_REJ_TRAILING);
	d.len = DP_DATAGRAM_BYTES_MAX + 1;
	EXPECT_REJECT(&w, &d, DP_C_REJ_OVERSIZE);
	world_fini(&w);
}

Test(binary, readings_arrive_in_every_column)
{
	struct world w;
	struct datagram d;
	struct dp_batch *b = &w.batches[0];

	world_init(&w);
	start(&d, DP_WIRE_NUMBERED, 3, "f\xc3\xbcnf");
	put_reading(&d, -1000000, 20);
	put_reading(&d, 0, 21);
	put_reading(&d, 2000001, 22);
	cr_assert_eq(decode(&w, &d), 3);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(b->id[i].len, 5);
		cr_assert_eq(memcmp(b->id[i].bytes, "f\xc3\xbcnf", 5), 0);
		cr_assert_eq(b->boot[i], 0xfeedbeef);
		cr_assert_eq(b->seq[i], 0x0123456789abcdefull);
		cr_assert_eq(b->flags[i], DP_ROW_NUMBERED);
		cr_assert_eq(b->index[i], i);
		cr_assert_eq(b->group[i], i ? 0 : 3);
		for (uint32_t f = 0; f < 4; f++)
			cr_assert_eq(dp_batch_row_values(b, i)[f], 20.0f + (float)(i + f));
	}
	cr_assert_eq(b->event_ns[0], BASE_NS - DP_NS_PER_S);
	cr_assert_eq(b->event_ns[1], BASE_NS);
	cr_assert_eq(b->event_ns[2], BASE_NS + 2000001000ll);
	world_fini(&w);
}

Test(binary, example_of_the_documentation_decodes)
{
	static const uint8_t example[] = {0x50, 0x53, 0x01, 0x12, 0x03, 0x00, 0x09, 0x02, 0xef,
		0xbe, 0xed, 0xfe, 0x04, 0x00, 0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x2a, 0x36, 0xfe, 0x9c, 0x97, 0x17, 0x73, 0x65, 0x6e, 0x73, 0x6f,
		0x72, 0x2d, 0x31, 0x37, 0x02, 0x03, 0x4c, 0x2d, 0x37, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x0f, 0x00, 0x00, 0xac, 0x41, 0x00, 0x00, 0x20, 0x42, 0x00, 0x00, 0x30, 0x40, 0x00,
		0x00, 0x2c, 0x42, 0x40, 0x42, 0x0f, 0x00, 0x05, 0x00, 0x00, 0xae, 0x41, 0x00, 0x00,
		0x30, 0x40};
	struct world w;
	struct datagram d = {.len = sizeof(example)};
	struct dp_batch *b = &w.batches[0];

	world_init(&w);
	memcpy(d.bytes, example, sizeof(example));
	memcpy(&d.head, example, sizeof(d.head));
	cr_assert_eq(decode(&w, &d), 2);
	cr_assert_eq(memcmp(b->id[1].bytes, "sensor-17", 9), 0);
	cr_assert(b->boot[0] == 0xfeedbeef && b->seq[0] == 41);
	cr_assert_eq(b->event_ns[0], 1700000000000000000);
	cr_assert_eq(b->event_ns[1], 1700000001000000000);
	cr_assert(b->tag_len[0] == 3 && b->tag_len[1] == 0);
	cr_assert(b->values[0] == 21.5f && b->values[1] == 40 && b->values[2] == 2.75f);
	cr_assert(b->values[3] == 43 && b->values[4] == 21.75f && isnan(b->values[5]));
	cr_assert(b->values[6] == 2.75f && isnan(b->values[7]));
	world_fini(&w);
}

Test(binary, full_datagrams_fill_a_batch)
{
	struct world w;
	struct datagram d;

	world_init(&w);
	for (int n = 0; n < 2; n++) {
		start(&d, 0, 64, "0123456789abcdef0123456789abcdef");
		for (int i = 0; i < 64; i++)
			put_reading(&d, i, (float)i);
		cr_assert_eq(decode(&w, &d), 64);
	}
	cr_assert_eq(w.batches[0].count, DP_BATCH_MAX);
	world_fini(&w);
}

struct time_case {
	uint8_t flags;
	int64_t base_ns;
	int32_t delta;
	int64_t want; /* -1: rejected */
};

Test(binary, times_at_their_bounds)
{
	static const struct time_case cases[] = {
		{0, 0, 0, 0},
		{0, 0, -1, -1},
		{0, 999, -1, -1},
		{0, 1000, -1, 0},
		{0, DP_EVENT_NS_END - 1, 0, DP_EVENT_NS_END - 1},
		{0, DP_EVENT_NS_END, 0, -1},
		{0, DP_EVENT_NS_END, -1000, -1}, /* the base must be sound by itself */
		{0, DP_EVENT_NS_END - 1000, 1, -1},
		{0, INT64_MAX, INT32_MAX, -1},
		{0, INT64_MIN, INT32_MIN, -1},
		{0, BASE_NS, INT32_MAX, BASE_NS + INT32_MAX * 1000ll},
		{0, BASE_NS, INT32_MIN, BASE_NS + INT32_MIN * 1000ll},
		{DP_WIRE_DELTA_MS, BASE_NS, INT32_MAX, BASE_NS + INT32_MAX * 1000000ll},
		{DP_WIRE_DELTA_MS, BASE_NS, INT32_MIN, BASE_NS + INT32_MIN * 1000000ll},
		{DP_WIRE_DELTA_MS, DP_EVENT_NS_END - 1, INT32_MAX, -1},
		{DP_WIRE_DELTA_MS, 1, INT32_MIN, -1},
	};
	struct world w;

	world_init(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct datagram d;
		uint32_t row = w.batches[0].count;

		start(&d, cases[i].flags, 1, "s");
		d.head.base_time_ns = cases[i].base_ns;
		put_reading(&d, cases[i].delta, 1);
		if (cases[i].want < 0) {
			EXPECT_REJECT(&w, &d, DP_C_REJ_TIME);
			continue;
		}
		cr_assert_eq(decode(&w, &d), 1, "case %zu", i);
		cr_assert_eq(w.batches[0].event_ns[row], cases[i].want, "case %zu", i);
	}
	world_fini(&w);
}

Test(binary, sender_without_a_clock_gets_arrival_time)
{
	struct world w;
	struct datagram d;

	world_init(&w);
	start(&d, DP_WIRE_NO_TIME, 1, "s");
	put_reading(&d, 0, 1);
	cr_assert_eq(decode(&w, &d), 1);
	cr_assert_eq(w.batches[0].event_ns[0], WORLD_ARRIVAL_NS);
	cr_assert_eq(w.batches[0].flags[0], DP_ROW_ARRIVAL_TIME);
	start(&d, DP_WIRE_NO_TIME, 1, "s");
	put_reading(&d, 1, 1);
	EXPECT_REJECT(&w, &d, DP_C_REJ_FLAGS);
	world_fini(&w);
}

Test(binary, absent_fields_are_missing)
{
	struct world w;
	struct datagram d;
	const float *row;

	world_init(&w);
	start(&d, 0, 1, "s");
	d.head.field_count = 3; /* firmware older than the fourth field */
	put_i32(&d, 0);
	put_u8(&d, 5);
	put_f32(&d, 1.5f);
	put_f32(&d, 2.5f);
	dp_batch_row_values(&w.batches[0], 0)[3] = 99; /* of an earlier batch */
	cr_assert_eq(decode(&w, &d), 1);
	row = dp_batch_row_values(&w.batches[0], 0);
	cr_assert_eq(row[0], 1.5f);
	cr_assert(isnan(row[1]));
	cr_assert_eq(row[2], 2.5f);
	cr_assert(isnan(row[3]));
	world_fini(&w);
}

Test(binary, presence_spans_bytes)
{
	struct world w;
	struct datagram d;
	const float *row;

	world_init(&w);
	start(&d, 0, 1, "s");
	d.head.stream = WORLD_WIDE_NUMBER;
	d.head.field_count = WORLD_WIDE_FIELDS;
	put_i32(&d, 0);
	put(&d, "\x81\x00\x05", 3);
	for (int i = 0; i < 4; i++)
		put_f32(&d, (float)i + 1);
	cr_assert_eq(decode(&w, &d), 1);
	row = dp_batch_row_values(&w.batches[1], 0);
	for (int f = 0; f < WORLD_WIDE_FIELDS; f++) {
		float want = f == 0 ? 1 : f == 7 ? 2 : f == 16 ? 3 : f == 18 ? 4 : NAN;

		cr_assert(row[f] == want || (isnan(row[f]) && isnan(want)), "field %d", f);
	}
	start(&d, 0, 1, "s");
	d.head.stream = WORLD_WIDE_NUMBER;
	d.head.field_count = WORLD_WIDE_FIELDS;
	put_i32(&d, 0);
	put(&d, "\0\0\x08", 3); /* the twentieth of nineteen */
	put_f32(&d, 1);
	EXPECT_REJECT(&w, &d, DP_C_REJ_PRESENCE);
	world_fini(&w);
}

Test(binary, values_that_are_no_number_or_out_of_range)
{
	static const struct {
		float sent;
		bool missing, outside;
	} cases[] = {
		{NAN, true, false}, {-NAN, true, false}, {INFINITY, true, false},
		{-INFINITY, true, false}, {85, false, false}, {-40, false, false},
		{85.00001f, false, true}, {-40.00001f, false, true},
		{3.4028234664e38f, false, true}, {-0.0f, false, false},
		{1e-45f, false, false}, /* denormal */
	};
	struct world w;

	world_init(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct dp_batch *b = &w.batches[0];
		uint32_t row = b->count;
		float got;
		struct datagram d;

		start(&d, 0, 1, "s");
		put_i32(&d, 0);
		put_u8(&d, 1);
		put_f32(&d, cases[i].sent);
		cr_assert_eq(decode(&w, &d), 1);
		got = dp_batch_row_values(b, row)[0];
		cr_assert_eq(world_counted(&w, DP_C_NOT_FINITE), cases[i].missing, "case %zu", i);
		cr_assert_eq(world_counted(&w, DP_C_OUT_OF_RANGE), cases[i].outside, "case %zu", i);
		if (cases[i].missing)
			cr_assert(isnan(got), "case %zu", i);
		else
			cr_assert_eq(memcmp(&got, &cases[i].sent, sizeof(got)), 0, "case %zu", i);
	}
	world_fini(&w);
}

Test(binary, each_value_out_of_range_counts_once)
{
	struct world w;
	struct datagram d;

	world_init(&w);
	start(&d, 0, 2, "s");
	put_reading(&d, 0, 100); /* 100, 101: both outside */
	put_reading(&d, 0, 50);
	cr_assert_eq(decode(&w, &d), 2);
	cr_assert_eq(world_counted(&w, DP_C_OUT_OF_RANGE), 2);
	cr_assert_eq(w.batches[0].flags[0], DP_ROW_OUT_OF_RANGE);
	cr_assert_eq(w.batches[0].flags[1], 0);
	world_fini(&w);
}

Test(binary, noted_counters_of_a_rejected_datagram_stay)
{
	struct world w;
	struct datagram d;

	world_init(&w);
	start(&d, 0, 2, "s");
	put_reading(&d, 0, NAN);
	put_reading(&d, 0, 1000);
	d.len--;
	EXPECT_REJECT(&w, &d, DP_C_REJ_TRUNCATED); /* decode() checks that nothing else counted */
	world_fini(&w);
}

Test(binary, scaled_values)
{
	struct world w;
	struct datagram d;
	const float *row;

	world_init(&w);
	start(&d, DP_WIRE_SCALED, 1, "s");
	put_i32(&d, 0);
	put_u8(&d, 15);
	put_i16(&d, -1);
	put_i16(&d, DP_WIRE_MISSING_I16);
	put_i16(&d, 32767);
	put_i16(&d, -32767);
	cr_assert_eq(decode(&w, &d), 1);
	row = dp_batch_row_values(&w.batches[0], 0);
	cr_assert_eq(row[0], 9.5f); /* scale 0.5, offset 10 */
	cr_assert(isnan(row[1]));
	cr_assert_eq(row[2], 16393.5f);
	cr_assert_eq(row[3], -16373.5f);
	cr_assert_eq(
		world_counted(&w, DP_C_NOT_FINITE), 0, "declared missing is not a broken value");

	w.room_fields[0].scale = 3e38f;
	start(&d, DP_WIRE_SCALED, 1, "s");
	put_i32(&d, 0);
	put_u8(&d, 1);
	put_i16(&d, 1000);
	cr_assert_eq(decode(&w, &d), 1);
	cr_assert_eq(world_counted(&w, DP_C_NOT_FINITE), 1, "beyond f32 after scaling");
	start(&d, DP_WIRE_SCALED, 1, "s");
	put_reading(&d, 0, 1); /* f32 where i16 is announced */
	EXPECT_REJECT(&w, &d, DP_C_REJ_TRAILING);
	world_fini(&w);
}

Test(binary, tags_go_to_every_row)
{
	struct world w;
	struct datagram d;
	struct dp_batch *b = &w.batches[0];

	world_init(&w);
	start(&d, DP_WIRE_TAGS, 2, "s");
	put(&d, "\2\3lot\5l\xc3\xafne", 11);
	put_reading(&d, 0, 1);
	put_reading(&d, 0, 2);
	cr_assert_eq(decode(&w, &d), 2);
	for (uint32_t row = 0; row < 2; row++) {
		cr_assert_eq(b->tag_len[row * 2], 3);
		cr_assert_eq(b->tag_len[row * 2 + 1], 5);
		cr_assert_eq(memcmp(b->tags[row * 2], "lot", 3), 0);
		cr_assert_eq(memcmp(b->tags[row * 2 + 1], "l\xc3\xafne", 5), 0);
	}
	b->count = 0;
	start(&d, 0, 1, "s"); /* none sent: those of the earlier rows must not show through */
	put_reading(&d, 0, 1);
	cr_assert_eq(decode(&w, &d), 1);
	cr_assert(b->tag_len[0] == 0 && b->tag_len[1] == 0);
	world_fini(&w);
}

Test(binary, tags_that_are_refused)
{
	char longest[67] = {1, 64}, longer[68] = {1, 65};
	const struct {
		const char *what, *section;
		size_t len;
		uint16_t stream;
		enum dp_counter reason; /* 0: taken */
	} cases[] = {
		{"no tag in the section", "\0", 1, WORLD_ROOM, 0},
		{"one of two", "\1\1a", 3, WORLD_ROOM, 0},
		{"64 bytes", longest, 66, WORLD_ROOM, 0},
		{"65 bytes", longer, 67, WORLD_ROOM, DP_C_REJ_TAG},
		{"three of two", "\3\0\0\0", 4, WORLD_ROOM, DP_C_REJ_TAG},
		{"one of none", "\1\0", 2, WORLD_WIDE_NUMBER, DP_C_REJ_TAG},
		{"255 tags", "\xff", 1, WORLD_ROOM, DP_C_REJ_TAG},
		{"not UTF-8", "\1\2\xc0\x80", 4, WORLD_ROOM, DP_C_REJ_UTF8},
		{"surrogate", "\1\3\xed\xa0\x80", 5, WORLD_ROOM, DP_C_REJ_UTF8},
	};
	struct world w;

	memset(longest + 2, 'x', 64);
	memset(longer + 2, 'x', 65);
	world_init(&w);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct datagram d;
		int rc;

		start(&d, DP_WIRE_TAGS, 1, "s");
		d.head.stream = cases[i].stream;
		put(&d, cases[i].section, cases[i].len);
		put_reading(&d, 0, 1);
		rc = decode(&w, &d);
		cr_assert_eq(rc, cases[i].reason ? -(int)cases[i].reason : 1, "%s: got %d",
			cases[i].what, rc);
	}
	world_fini(&w);
}

Test(binary, sealed_thread_decodes)
{
	struct world w;
	struct datagram d;
	int status;
	pid_t child;

	world_init(&w);
	start_whole(&d);
	memcpy(d.bytes, &d.head, sizeof(d.head));
	child = fork(); /* a sealed thread cannot return into the test framework */
	if (child == 0) {
		uint16_t stream;
		int rc;

		dp_mem_seal();
		rc = dp_binary_decode(&w.target, d.bytes, d.bytes + d.len, WORLD_ARRIVAL_NS,
			&w.counters, &stream);
		_exit(rc == 1 ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "decoding allocated, or failed");
	world_fini(&w);
}
