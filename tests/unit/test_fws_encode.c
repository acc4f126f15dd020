/* What devices send is what the appliance's decoders, written apart from it, take for the same. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "firmware-sim/encode.h"
#include "tests/unit/decode_world.h"

#define TIME_NS 1699999999123456789ll

static struct world w;

static struct fws_shape shape_of(enum fws_format format, bool numbered, bool tagged)
{
	struct fws_shape s = {.format = format,
		.stream = WORLD_ROOM,
		.numbered = numbered,
		.field_count = 4,
		.tag_count = tagged ? 2 : 0,
		.fields = {"temperature", "humidity", "voltage", "light"},
		.tag_names = {"lot", "line"},
		.tags = {"L-42", "\"quoted\\\""},
		.id_key = "id",
		.time_key = "time"};

	return s;
}

static int decode(const struct fws_shape *s, const uint8_t *bytes, size_t len)
{
	struct dp_json *parser = dp_json_new(&w.set);
	uint16_t stream = 0;
	int rc;

	if (s->format == FWS_BINARY)
		rc = dp_binary_decode(
			&w.target, bytes, bytes + len, WORLD_ARRIVAL_NS, &w.counters, &stream);
	else
		rc = dp_json_decode(
			parser, &w.target, 0, bytes, bytes + len, WORLD_ARRIVAL_NS, &w.counters);
	dp_json_free(parser);
	return rc;
}

static void check_row(const struct fws_shape *s, const struct fws_message *m, uint32_t i)
{
	const struct dp_batch *b = &w.batches[0];
	const float *sent = m->values + (size_t)i * 4, *got = dp_batch_row_values(b, i);
	bool json = s->format == FWS_JSON;
	int64_t slack = json ? 0 : fws_time_unit_ns(s, m->time_ns[m->count - 1] - m->time_ns[0]);

	cr_expect_eq(b->id[i].len, m->id_len);
	cr_expect(!memcmp(b->id[i].bytes, m->id, m->id_len));
	/* The newest reading keeps its nanoseconds, deltas have a unit. */
	if (i + 1 == m->count)
		cr_expect_eq(b->event_ns[i], m->time_ns[i]);
	else
		cr_expect_leq(llabs(b->event_ns[i] - m->time_ns[i]), slack);
	cr_expect_eq(!!(b->flags[i] & DP_ROW_NUMBERED), s->numbered);
	if (s->numbered) {
		cr_expect_eq(b->boot[i], m->boot);
		cr_expect_eq(b->seq[i], m->sequence + (json ? i : 0));
	}
	for (uint32_t f = 0; f < 4; f++)
		cr_expect(isnan(sent[f]) ? isnan(got[f]) : fabsf(sent[f] - got[f]) < 0.0006f,
			"row %u field %u: sent %g, got %g", i, f, (double)sent[f], (double)got[f]);
	for (uint32_t t = 0; t < s->tag_count; t++) {
		cr_expect_eq(b->tag_len[i * 2 + t], strlen(s->tags[t]));
		cr_expect(!memcmp(b->tags[i * 2 + t], s->tags[t], strlen(s->tags[t])));
	}
}

Test(fws_encode, decoders_take_every_shape)
{
	for (int bits = 0; bits < 16; bits++) {
		struct fws_shape s = shape_of(bits & 1 ? FWS_JSON : FWS_BINARY, bits & 2, bits & 4);
		float values[3 * 4] = {
			20.125f, -0.001f, 3, 0, -40, NAN, 2.75f, 1234, NAN, 99.99f, -12.5f, NAN};
		struct fws_message m = {.id = "sensor-7",
			.id_len = 8,
			.count = bits & 8 ? 3 : 1,
			.boot = 0xfeedbeef,
			.sequence = 0x0123456789abcdefull,
			.time_ns = {TIME_NS, TIME_NS + 1000000001, TIME_NS + 2000000003},
			.values = values};
		uint8_t bytes[2048] = {0};
		size_t len = fws_encode(&s, &m, bytes, sizeof(bytes) - DP_JSON_PADDING);

		world_init(&w);
		world_note(&w);
		cr_assert_gt(len, 0);
		cr_assert_eq(decode(&s, bytes, len), m.count, "shape %d: %s", bits, bytes);
		cr_expect_null(world_fault(&w, m.count, 0));
		for (uint32_t i = 0; i < m.count; i++)
			check_row(&s, &m, i);
		world_fini(&w);
	}
}

/* A delta of microseconds ends at 35 minutes: it must not come back as another time. */
Test(fws_encode, readings_far_apart_keep_their_times)
{
	static const int64_t steps_ns[] = {1000, INT32_MAX / 63 * 1000ll, 60 * FWS_NS_PER_S,
		FWS_SPAN_NS_MAX / 63 / FWS_NS_PER_MS * FWS_NS_PER_MS};
	struct fws_shape s = shape_of(FWS_BINARY, true, false);

	for (size_t k = 0; k < sizeof(steps_ns) / sizeof(steps_ns[0]); k++) {
		float values[FWS_READINGS_MAX * 4] = {0};
		struct fws_message m = {.id = "s1",
			.id_len = 2,
			.count = FWS_READINGS_MAX,
			.sequence = 1,
			.values = values};
		uint8_t bytes[4096];

		for (int i = 0; i < FWS_READINGS_MAX; i++)
			m.time_ns[i] = TIME_NS - (FWS_READINGS_MAX - 1 - i) * steps_ns[k];

		size_t len = fws_encode(&s, &m, bytes, sizeof(bytes));

		world_init(&w);
		world_note(&w);
		cr_assert_eq(decode(&s, bytes, len), m.count);
		for (uint32_t i = 0; i < m.count; i++)
			cr_expect_eq(
				w.batches[0].event_ns[i], m.time_ns[i], "step %zu row %u", k, i);
		world_fini(&w);
	}
}

Test(fws_encode, json_is_as_firmware_prints_it)
{
	struct fws_shape s = shape_of(FWS_JSON, true, false);
	float values[4] = {21.5f, 45, -0.25f, NAN};
	struct fws_message m = {.id = "s\"1",
		.id_len = 3,
		.count = 1,
		.boot = 7,
		.sequence = 8,
		.time_ns = {1700000000000000001ll},
		.values = values};
	uint8_t bytes[256];
	size_t len = fws_encode(&s, &m, bytes, sizeof(bytes));
	static const char want[] =
		"{\"id\":\"s\\\"1\",\"time\":1700000000000000001,\"boot\":7,\"seq\":8,"
		"\"temperature\":21.5,\"humidity\":45,\"voltage\":-0.25}";

	cr_assert_eq(len, sizeof(want) - 1);
	cr_assert(!memcmp(bytes, want, len));
}

Test(fws_encode, what_does_not_fit_is_no_datagram)
{
	for (int format = FWS_BINARY; format <= FWS_JSON; format++) {
		struct fws_shape s = shape_of((enum fws_format)format, true, true);
		float values[4] = {1, 2, 3, 4};
		struct fws_message m = {.id = "s1",
			.id_len = 2,
			.count = 1,
			.time_ns = {TIME_NS},
			.values = values};
		uint8_t bytes[512];
		size_t whole = fws_encode(&s, &m, bytes, sizeof(bytes));

		for (size_t cap = 0; cap < whole; cap++) {
			memset(bytes, 0x5a, sizeof(bytes));
			cr_assert_eq(fws_encode(&s, &m, bytes, cap), 0);
			for (size_t i = cap; i < sizeof(bytes); i++)
				cr_assert_eq(bytes[i], 0x5a, "wrote beyond %zu", cap);
		}
		cr_assert_eq(fws_encode(&s, &m, bytes, whole), whole);
	}
}
