/* JSON readings: each reason, and how ids, times, numbers, tags and values are taken. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/decode_world.h"

static struct world w;
static struct dp_json *parser;

static void setup(void)
{
	world_init(&w);
	parser = dp_json_new(&w.set);
	cr_assert_not_null(parser);
}

static void teardown(void)
{
	dp_json_free(parser);
	world_fini(&w);
}

TestSuite(json, .init = setup, .fini = teardown);

/* What lies beyond the datagram must not matter: it looks like more JSON. */
static int decode_bytes(const char *text, size_t len, uint16_t stream)
{
	uint8_t *padded = malloc(len + DP_JSON_PADDING);
	const char *fault;
	int rc;

	memcpy(padded, text, len);
	memset(padded + len, '1', DP_JSON_PADDING);
	world_note(&w);
	rc = dp_json_decode(
		parser, &w.target, stream, padded, padded + len, WORLD_ARRIVAL_NS, &w.counters);
	free(padded);
	fault = world_fault(&w, rc, stream);
	cr_assert_null(fault, "%s (result %d)", fault, rc);
	return rc;
}

static int decode(const char *text)
{
	return decode_bytes(text, strlen(text), 0);
}

static const char *name_of(int rc)
{
	return rc < 0 ? dp_counter_name((enum dp_counter) - rc) : "readings";
}

struct reject_case {
	const char *text;
	enum dp_counter reason;
};

static const struct reject_case rejects[] = {
	/* not valid JSON, or not an object or array of objects */
	{"", DP_C_REJ_SYNTAX},
	{" ", DP_C_REJ_SYNTAX},
	{"{", DP_C_REJ_SYNTAX},
	{"}", DP_C_REJ_SYNTAX},
	{"[", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"}}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"} {\"id\":\"s\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"}x", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"},", DP_C_REJ_SYNTAX},
	{"[{\"id\":\"s\"},]", DP_C_REJ_SYNTAX},
	{"[{\"id\":\"s\"}", DP_C_REJ_SYNTAX},
	{"[{\"id\":\"s\"}}", DP_C_REJ_SYNTAX},
	{"{id:\"s\"}", DP_C_REJ_SYNTAX},
	{"{'id':'s'}", DP_C_REJ_SYNTAX},
	{"{\"id\" \"s\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\" \"light\":1}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\"} // note", DP_C_REJ_SYNTAX},
	{"{\"id\":\"a\nb\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"\\x\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"\\u12\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"\\ud800\"}", DP_C_REJ_SYNTAX}, /* half a surrogate pair */
	{"{\"id\":\"\\udc00\"}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":NaN}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":Infinity}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":-}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":+1}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":01}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":1.}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":.5}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":1e}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":0x10}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":1e400}", DP_C_REJ_SYNTAX}, /* beyond a double */
	{"{\"id\":\"s\",\"light\":123456789012345678901}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"light\":nul}", DP_C_REJ_SYNTAX},
	/* what no declared key asks for is validated all the same */
	{"{\"id\":\"s\",\"x\":[1,{\"y\":tru}]}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"x\":[1,{\"y\":01}]}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"x\":[1,{\"y\":\"\\q\"}]}", DP_C_REJ_SYNTAX},
	{"{\"id\":\"s\",\"x\":[1}}", DP_C_REJ_SYNTAX},
	{"1", DP_C_REJ_SYNTAX},
	{"null", DP_C_REJ_SYNTAX},
	{"\"id\"", DP_C_REJ_SYNTAX},
	{"true", DP_C_REJ_SYNTAX},
	{"[1]", DP_C_REJ_SYNTAX},
	{"[[]]", DP_C_REJ_SYNTAX},
	{"[null]", DP_C_REJ_SYNTAX},
	{"[{\"id\":\"s\"},1]", DP_C_REJ_SYNTAX},
	{"[[{\"id\":\"s\"}]]", DP_C_REJ_SYNTAX},
	{"\xef\xbb\xbf{\"id\":\"s\"}", DP_C_REJ_SYNTAX}, /* byte order mark */
	/* UTF-8: the classes of test_batch.c, in a value, a key, an unknown value */
	{"{\"id\":\"\x80\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xc0\x80\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xe0\x80\xaf\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xf0\x80\x80\xaf\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xed\xa0\x80\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xf4\x90\x80\x80\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xf8\x88\x80\x80\x80\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"\xff\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"a\xc3\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"a\xe6\xb8\"}", DP_C_REJ_UTF8},
	{"{\"id\":\"s\",\"\xff\":1}", DP_C_REJ_UTF8},
	{"{\"id\":\"s\",\"x\":[\"\xc3(\"]}", DP_C_REJ_UTF8},
	{"{\"id\":\"s\"}\xff", DP_C_REJ_UTF8},
	/* counts */
	{"[]", DP_C_REJ_COUNT},
	{" [ ] ", DP_C_REJ_COUNT},
	/* sensor id */
	{"{}", DP_C_REJ_SENSOR_ID},
	{"[{}]", DP_C_REJ_SENSOR_ID},
	{"{\"light\":1}", DP_C_REJ_SENSOR_ID},
	{"{\"Id\":\"s\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":null}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"0123456789abcdef0123456789abcdefX\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"a\\nb\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"a\\u0000\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"\\u007f\"}", DP_C_REJ_SENSOR_ID},
	{"{\"id\":\"\\u0085\"}", DP_C_REJ_SENSOR_ID},
	{"[{\"id\":\"s\"},{\"light\":1}]", DP_C_REJ_SENSOR_ID},
	/* types */
	{"{\"id\":1.5}", DP_C_REJ_TYPE},
	{"{\"id\":true}", DP_C_REJ_TYPE},
	{"{\"id\":[\"s\"]}", DP_C_REJ_TYPE},
	{"{\"id\":{}}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"light\":\"1\"}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"light\":\"\"}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"light\":true}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"light\":[1]}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"light\":{\"v\":1}}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"time\":true}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"time\":[1700000000]}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"lot\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"lot\":false}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"lot\":[]}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"seq\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":null,\"seq\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":4294967296,\"seq\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":-1,\"seq\":1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":1,\"seq\":-1}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":1,\"seq\":1.0}", DP_C_REJ_TYPE},
	{"{\"id\":\"s\",\"boot\":\"1\",\"seq\":1}", DP_C_REJ_TYPE},
	/* times; the spellings are in test_json_time.c */
	{"{\"id\":\"s\",\"time\":\"yesterday\"}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":\"\"}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":\"1700000000\"}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":-1}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":7289654400}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":18446744073709551615}", DP_C_REJ_TIME},
	{"{\"id\":\"s\",\"time\":1e300}", DP_C_REJ_TIME},
	/* a declared key twice, also when escaped or null */
	{"{\"id\":\"s\",\"id\":\"s\"}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"light\":1,\"light\":1}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"light\":1,\"l\\u0069ght\":2}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"light\":null,\"light\":1}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"time\":1700000000,\"time\":1700000000}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"lot\":\"a\",\"lot\":\"a\"}", DP_C_REJ_DUPLICATE_KEY},
	{"{\"id\":\"s\",\"boot\":1,\"seq\":1,\"seq\":2}", DP_C_REJ_DUPLICATE_KEY},
	/* tags */
	{"{\"id\":\"s\",\"lot\":"
	 "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefX\"}",
		DP_C_REJ_TAG},
};

Test(json, rejected_under_exactly_one_reason)
{
	for (size_t i = 0; i < sizeof(rejects) / sizeof(*rejects); i++) {
		int rc = decode(rejects[i].text);

		cr_assert_eq(rc, -(int)rejects[i].reason, "%s: got %s, want %s", rejects[i].text,
			name_of(rc), dp_counter_name(rejects[i].reason));
	}
}

Test(json, noted_counters_of_a_rejected_datagram_stay)
{
	/* decode() checks that only the reason counted */
	cr_assert_lt(decode("[{\"id\":\"s\",\"x\":1,\"light\":1e39,\"humidity\":900},{}]"), 0);
}

Test(json, readings_arrive_in_every_column)
{
	struct dp_batch *b = &w.batches[0];
	const float *row = dp_batch_row_values(b, 0);

	cr_assert_eq(decode("{\"id\":\"f\xc3\xbcnf\",\"time\":1700000000123,\"temperature\":21.5,"
			    "\"humidity\":40,\"voltage\":-0.0,\"lot\":\"L-7\",\"seq\":"
			    "18446744073709551615,\"boot\":4294967295}"),
		1);
	cr_assert_eq(b->id[0].len, 5);
	cr_assert_eq(memcmp(b->id[0].bytes, "f\xc3\xbcnf", 5), 0);
	cr_assert_eq(b->event_ns[0], 1700000000123000000);
	cr_assert_eq(b->boot[0], UINT32_MAX);
	cr_assert_eq(b->seq[0], UINT64_MAX);
	cr_assert_eq(b->flags[0], DP_ROW_NUMBERED);
	cr_assert_eq(b->index[0], 0);
	cr_assert_eq(b->group[0], 1);
	cr_assert_eq(row[0], 21.5f);
	cr_assert_eq(row[1], 40.0f);
	cr_assert(row[2] == 0 && signbit(row[2]));
	cr_assert(isnan(row[3]), "absent is missing");
	cr_assert_eq(b->tag_len[0], 3);
	cr_assert_eq(memcmp(b->tags[0], "L-7", 3), 0);
	cr_assert_eq(b->tag_len[1], 0);
}

Test(json, nothing_of_an_earlier_row_shows_through)
{
	struct dp_batch *b = &w.batches[0];

	cr_assert_eq(decode("{\"id\":\"longer-name\",\"time\":1,\"temperature\":1,\"light\":1,"
			    "\"lot\":\"a\",\"line\":\"b\",\"boot\":1,\"seq\":1,\"humidity\":500}"),
		1);
	b->count = 0;
	cr_assert_eq(decode("{\"id\":\"s\",\"light\":null,\"lot\":null,\"time\":null,"
			    "\"boot\":null,\"seq\":null}"),
		1);
	cr_assert_eq(b->id[0].len, 1);
	cr_assert_eq(b->flags[0], DP_ROW_ARRIVAL_TIME);
	cr_assert_eq(b->event_ns[0], WORLD_ARRIVAL_NS);
	cr_assert(b->boot[0] == 0 && b->seq[0] == 0);
	cr_assert(b->tag_len[0] == 0 && b->tag_len[1] == 0);
	for (int f = 0; f < 4; f++)
		cr_assert(isnan(dp_batch_row_values(b, 0)[f]));
}

Test(json, array_makes_a_group_per_object)
{
	struct dp_batch *b = &w.batches[0];

	cr_assert_eq(decode(" [ {\"id\":\"a\",\"light\":1} ,\n{\"id\":\"b\",\"light\":2,\"boot\":1,"
			    "\"seq\":7}, {\"light\":3,\"id\":\"a\"}]\n"),
		3);
	for (uint32_t row = 0; row < 3; row++) {
		cr_assert_eq(b->id[row].bytes[0], row == 1 ? 'b' : 'a');
		cr_assert_eq(b->group[row], 1);
		cr_assert_eq(b->index[row], 0);
		cr_assert_eq(!!(b->flags[row] & DP_ROW_NUMBERED), row == 1);
		cr_assert_eq(dp_batch_row_values(b, row)[3], (float)(row + 1));
	}
}

Test(json, sixty_four_objects_and_no_more)
{
	char text[2048] = "[";

	for (int i = 0; i < 64; i++)
		sprintf(text + strlen(text), "%s{\"id\":%d}", i ? "," : "", i);
	strcat(text, "]");
	cr_assert_eq(decode(text), 64);
	strcpy(text + strlen(text) - 1, ",{\"id\":64}]");
	cr_assert_eq(decode(text), -DP_C_REJ_COUNT);
}

Test(json, ids)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"{\"id\":\"0123456789abcdef0123456789abcdef\"}",
			"0123456789abcdef0123456789abcdef"},
		{"{\"id\":0}", "0"},
		{"{\"id\":17}", "17"},
		{"{\"id\":-5}", "-5"},
		{"{\"id\":-9223372036854775808}", "-9223372036854775808"},
		{"{\"id\":9223372036854775807}", "9223372036854775807"},
		{"{\"id\":18446744073709551615}", "18446744073709551615"},
		{"{\"id\":\"\\u6e29\\ud83c\\udf21\"}", "\xe6\xb8\xa9\xf0\x9f\x8c\xa1"},
		{"{\"\\u0069d\":\"a\\\"\\/b\"}", "a\"/b"},
	};

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct dp_sensor_id *id = &w.batches[0].id[i];

		cr_assert_eq(decode(cases[i].text), 1, "%s", cases[i].text);
		cr_assert_eq(id->len, strlen(cases[i].want), "%s", cases[i].text);
		cr_assert_eq(memcmp(id->bytes, cases[i].want, id->len), 0, "%s", cases[i].text);
	}
}

Test(json, values)
{
	static const struct {
		const char *literal;
		float want; /* NaN: missing and counted */
		bool outside;
	} cases[] = {
		{"0", 0, false},
		{"-0.0", -0.0f, false},
		{"85", 85, false},
		{"85.0001", 85.0001f, true},
		{"-40", -40, false},
		{"-41", -41, true},
		{"2.15e1", 21.5f, false},
		{"215E-1", 21.5f, false},
		{"0.1", 0.1f, false},
		{"1e-45", 1e-45f, false},
		{"1e-400", 0, false},
		{"18446744073709551615", 18446744073709551615.0f, true},
		{"-9223372036854775808", -9223372036854775808.0f, true},
		{"3.4028234e38", 3.4028234e38f, true},
		{"3.5e38", NAN, false},
		{"-1e39", NAN, false},
		{"1e308", NAN, false},
	};

	for (uint32_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[128];
		float got;

		snprintf(text, sizeof(text), "{\"id\":1,\"temperature\":%s}", cases[i].literal);
		cr_assert_eq(decode(text), 1, "%s", text);
		got = dp_batch_row_values(&w.batches[0], i)[0];
		cr_assert_eq(world_counted(&w, DP_C_NOT_FINITE) == 1, !!isnan(cases[i].want), "%s",
			text);
		cr_assert_eq(world_counted(&w, DP_C_OUT_OF_RANGE), cases[i].outside, "%s", text);
		cr_assert(isnan(cases[i].want) ? isnan(got)
					       : memcmp(&got, &cases[i].want, sizeof(got)) == 0,
			"%s: got %.9g", text, got);
	}
}

Test(json, unknown_keys_are_counted_whatever_they_hold)
{
	cr_assert_eq(
		decode("{\"a\":1,\"id\":\"s\",\"b\":{\"id\":\"x\",\"light\":[[[{}]]]},\"light\":1,"
		       "\"c\":null,\"c\":\"again\",\"Light\":2,\"\":0,\"id\\u0000\":3,"
		       "\"a-key-that-is-longer-than-any-name-may-be\":true}"),
		1);
	cr_assert_eq(world_counted(&w, DP_C_UNKNOWN_KEY), 8);
	cr_assert_eq(dp_batch_row_values(&w.batches[0], 0)[3], 1.0f);
}

Test(json, deep_nesting_is_bounded)
{
	char text[8192];
	size_t len;

	for (int depth = 900; depth <= 2000; depth += 1100) {
		len = (size_t)sprintf(text, "{\"id\":\"s\",\"x\":");
		memset(text + len, '[', (size_t)depth);
		memset(text + len + depth, ']', (size_t)depth);
		strcpy(text + len + 2 * depth, "}");
		cr_assert_eq(decode(text), depth < 1000 ? 1 : -DP_C_REJ_SYNTAX, "depth %d", depth);
	}
}

Test(json, keys_are_found_in_any_order)
{
	static const char *const orders[] = {
		"{\"light\":4,\"voltage\":3,\"humidity\":2,\"temperature\":1,\"id\":\"s\"}",
		"{\"id\":\"s\",\"temperature\":1,\"humidity\":2,\"voltage\":3,\"light\":4}",
		"{\"humidity\":2,\"x\":0,\"light\":4,\"id\":1,\"temperature\":1,\"voltage\":3}",
	};

	for (uint32_t i = 0; i < 30; i++) {
		cr_assert_eq(decode(orders[i * 7 % 3]), 1);
		for (int f = 0; f < 4; f++)
			cr_assert_eq(dp_batch_row_values(&w.batches[0], i)[f], (float)(f + 1));
	}
}

Test(json, each_stream_has_its_keys)
{
	static const char text[] = "{\"sensor\":\"s\",\"f18\":1,\"f00\":2,\"time\":5,\"id\":\"x\"}";

	cr_assert_eq(decode_bytes(text, strlen(text), 1), 1);
	cr_assert_eq(world_counted(&w, DP_C_UNKNOWN_KEY), 2, "time and id are room's");
	cr_assert_eq(w.batches[1].flags[0], DP_ROW_ARRIVAL_TIME);
	cr_assert_eq(dp_batch_row_values(&w.batches[1], 0)[18], 1.0f);
	cr_assert_eq(dp_batch_row_values(&w.batches[1], 0)[0], 2.0f);
}

Test(json, stream_that_declares_seq_takes_it_as_its_own)
{
	static const char text[] = "{\"sensor\":1,\"seq\":1.5,\"boot\":2}";

	memcpy(w.wide_fields[0].name, "seq", 4);
	dp_json_free(parser);
	parser = dp_json_new(&w.set);
	cr_assert_eq(decode_bytes(text, strlen(text), 1), 1);
	cr_assert_eq(w.batches[1].flags[0], DP_ROW_ARRIVAL_TIME, "not numbered");
	cr_assert_eq(dp_batch_row_values(&w.batches[1], 0)[0], 1.5f);
	cr_assert_eq(world_counted(&w, DP_C_UNKNOWN_KEY), 1);
}

Test(json, longest_datagram)
{
	static char text[DP_DATAGRAM_BYTES_MAX + 1];
	size_t len;

	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"id\":1}", 8);
	cr_assert_eq(decode_bytes(text, DP_DATAGRAM_BYTES_MAX, 0), 1);
	cr_assert_eq(decode_bytes(text, DP_DATAGRAM_BYTES_MAX + 1, 0), -DP_C_REJ_OVERSIZE);

	/* as many members as fit: the list of them must hold them all */
	len = (size_t)sprintf(text, "{\"id\":1");
	while (len + 6 < DP_DATAGRAM_BYTES_MAX) {
		memcpy(text + len, ",\"\":1", 5);
		len += 5;
	}
	text[len++] = '}';
	cr_assert_eq(decode_bytes(text, len, 0), 1);
	cr_assert_eq(world_counted(&w, DP_C_UNKNOWN_KEY), (len - 8) / 5);
}

Test(json, every_cut_is_refused)
{
	static const char text[] = "[{\"id\":\"f\xc3\xbcnf\",\"time\":\"2023-11-14T22:13:20Z\","
				   "\"light\":1.5e3,\"x\":[true,null]}]";

	for (size_t len = 0; len < strlen(text); len++)
		cr_assert_lt(decode_bytes(text, len, 0), 0, "%zu bytes", len);
	cr_assert_eq(decode(text), 1);
}

/* The parser was just made: the very first datagram must find all memory there, the longest too. */
Test(json, sealed_thread_decodes)
{
	static const char head[] =
		"[{\"id\":\"\\u00e9\",\"light\":1.25e1,\"x\":[[{\"y\":\"z\"}]]},";
	static char text[DP_DATAGRAM_BYTES_MAX + DP_JSON_PADDING];
	int status;
	pid_t child;

	memset(text, ' ', sizeof(text));
	memcpy(text, head, strlen(head));
	child = fork();
	if (child == 0) {
		int bad = 0;

		dp_mem_seal();
		for (int n = 0; n < 50; n++) {
			static const char *const tails[] = {"{\"id\":2}]", "{\"id\":\"\xff\"}]",
				"{}]", "[", "{\"id\":3,\"light\":1e999}]"};
			const char *tail = tails[n % 5];
			int rc;

			memset(text + 9000, ' ', 200);
			memcpy(text + 9000, tail, strlen(tail));
			rc = dp_json_decode(parser, &w.target, 0, (uint8_t *)text,
				(uint8_t *)text + DP_DATAGRAM_BYTES_MAX, WORLD_ARRIVAL_NS,
				&w.counters);
			bad += n % 5 ? rc >= 0 : rc != 2;
		}
		_exit(bad ? 1 : 0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0, "decoding allocated, or failed");
}
