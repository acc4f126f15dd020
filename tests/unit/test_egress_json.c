#include <criterion/criterion.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/json.h"
#include "tests/unit/sample.h"

struct world {
	struct sample_streams s;
	struct dp_log log;
	struct dp_arena arena;
	struct dp_block *block;
	struct dp_json_form *form;
	char text[1 << 16];
};

static const char *find(void *arg, const char *stream, const char *id, size_t id_len, size_t *bytes)
{
	static const char json[] = "{\"name\":\"Pump 7\"}";

	(void)arg;
	if (strcmp(stream, "climate") != 0 || id_len != 6 || memcmp(id, "pump-7", 6) != 0)
		return NULL;
	*bytes = sizeof(json) - 1;
	return json;
}

static void open_world(struct world *w)
{
	static const struct dp_attribute_lookup lookup = {find, NULL};

	sample_streams_init(&w->s);
	sample_log_init(&w->log, &w->arena, 0);
	sample_group(&w->log, &w->s, 0);
	dp_log_seal(&w->log, 0, true);
	w->block = dp_log_take(&w->log);
	cr_assert_eq(dp_json_form_new("gate \"1\"", &lookup, &w->form), 0);
}

static void close_world(struct world *w)
{
	dp_json_form_free(w->form);
	dp_arena_fini(&w->arena);
}

static const char *render(struct world *w, const struct dp_rec *rec)
{
	static const uint64_t id[2] = {0x1111222233334444, 0x00000000000000ab};
	size_t bytes;
	const char *text = dp_json_form_record(w->form, rec, &w->s.set, id, &bytes);

	cr_assert(text && bytes < sizeof(w->text));
	memcpy(w->text, text, bytes);
	w->text[bytes] = 0;
	return w->text;
}

#define HEAD(time, kind)                                                                           \
	"{\"@timestamp\":\"2023-11-14T22:13:" time "Z\","                                          \
	"\"id\":\"00000000000000ab1111222233334444\",\"kind\":\"" kind "\","                       \
	"\"appliance\":\"gate \\\"1\\\"\""
#define CLIMATE ",\"stream\":\"climate\",\"sensor\":\"pump-7\""
#define ARRIVAL ",\"arrival\":\"2023-11-14T22:13:20.000Z\""
#define PUMP	",\"attributes\":{\"name\":\"Pump 7\"}"

/* Whoever reads the topic or the file relies on these letter by letter (docs/record.md). */
Test(egress_json, every_kind_has_its_form)
{
	static const char *const lines[SAMPLE_RECORDS] = {
		[SAMPLE_START] = HEAD(
			"20.000", "mark") ",\"mark\":{\"what\":\"start\",\"counters\":{"
					  "\"received.datagrams\":1000,\"received.bytes\":2000,"
					  "\"decoded.datagrams\":3000}}" ARRIVAL "}",
		[SAMPLE_WINDOW] = HEAD("20.000", "window") CLIMATE
		",\"window\":{\"name\":\"30s/10s\",\"start\":\"2023-11-14T22:12:50.000Z\","
		"\"end\":\"2023-11-14T22:13:20.000Z\",\"count\":30,\"reason\":\"watermark\","
		"\"stats\":{\"temperature\":{\"count\":30,\"mean\":10.0,\"std\":20.0,"
		"\"min\":30.0,\"max\":40.0,\"last\":50.0},"
		"\"humidity\":{\"count\":29,\"mean\":110.0,\"std\":120.0,\"min\":130.0,"
		"\"max\":140.0,\"last\":150.0},"
		"\"voltage\":{\"count\":28,\"mean\":210.0,\"std\":220.0,\"min\":230.0,"
		"\"max\":240.0,\"last\":250.0}}}" ARRIVAL PUMP "}",
		[SAMPLE_NUMBERED] = HEAD("19.750", "reading") CLIMATE
		",\"values\":{\"temperature\":20.5,\"voltage\":3.3},"
		"\"tags\":{\"lot\":\"L42\",\"line\":\"north\"},"
		"\"inputs\":{\"mean_temperature_30s\":21.25},"
		"\"scores\":{\"anomaly\":{\"version\":4,"
		"\"probability\":0.75,\"class\":0,\"label\":\"ordinary\"}},\"flags\":[\"out_of_"
		"range\"]" ARRIVAL ",\"boot\":2953293831,\"seq\":100,\"index\":0" PUMP "}",
		[SAMPLE_ALERT] = HEAD("19.750", "alert") CLIMATE
		",\"alert\":{\"rule\":\"hot\",\"severity\":\"warning\",\"state\":\"raise\","
		"\"value\":61.5,\"threshold\":60.0,"
		"\"raised_at\":\"2023-11-14T22:13:20.000Z\","
		"\"cause\":\"22222222222222221111111111111111\"}" ARRIVAL PUMP "}",
		[SAMPLE_UNNUMBERED] = HEAD(
			"20.000", "reading") ",\"stream\":\"light\",\"sensor\":\"\xc3\x96l-3\","
					     "\"values\":{\"lux\":400.0},\"flags\":[\"arrival_"
					     "time\",\"new_life\"]" ARRIVAL "}",
		[SAMPLE_GAP] = HEAD("20.000",
			"gap") ",\"gap\":{\"reason\":\"crash\",\"count\":12,\"epoch\":1699999999,"
			       "\"worker\":1,\"sequence\":9}" ARRIVAL "}",
		[SAMPLE_RETIRED] = HEAD("20.000", "mark") CLIMATE
		",\"mark\":{\"what\":\"retired\"}" ARRIVAL PUMP "}",
		[SAMPLE_LIGHT_WINDOW] = HEAD("00.000",
			"window") ",\"stream\":\"light\",\"sensor\":\"l-1\",\"window\":{\"name\":"
				  "\"1m\","
				  "\"start\":\"2023-11-14T22:12:00.000Z\","
				  "\"end\":\"2023-11-14T22:13:00.000Z\",\"count\":30,\"reason\":"
				  "\"idle\","
				  "\"stats\":{\"lux\":{\"count\":30,\"last\":10.0}}}" ARRIVAL "}",
	};
	struct world w;

	open_world(&w);
	for (uint32_t i = 0; i < SAMPLE_RECORDS; i++)
		cr_expect_str_eq(render(&w, sample_record(w.block, &w.s.set, i)), lines[i]);
	close_world(&w);
}

/* Of stream 0 and "pump-7", with these bytes; to be freed. */
static struct dp_rec *raw_of(const void *payload, uint32_t n)
{
	size_t bytes = dp_rec_raw_bytes(6, n);
	struct dp_rec_raw *r = calloc(1, bytes);

	r->head = (struct dp_rec){.bytes = (uint32_t)bytes, .kind = DP_REC_RAW, .id_len = 6};
	r->arrival_ns = SAMPLE_TIME_NS;
	r->payload_bytes = n;
	memcpy((char *)dp_rec_sensor(&r->head), "pump-7", 6);
	memcpy((char *)dp_rec_payload(r), payload, n);
	return &r->head;
}

/* The vectors of RFC 4648, section 10, and bytes that no text may hold. */
Test(egress_json, payloads_are_base64)
{
	static const struct {
		const char *payload;
		uint32_t bytes;
		const char *text;
	} table[] = {{"f", 1, "Zg=="}, {"fo", 2, "Zm8="}, {"foo", 3, "Zm9v"},
		{"foob", 4, "Zm9vYg=="}, {"fooba", 5, "Zm9vYmE="}, {"foobar", 6, "Zm9vYmFy"},
		{"\0\xff\xfb\xef\"", 5, "AP/77yI="}};
	struct world w;
	char line[512];

	open_world(&w);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct dp_rec *rec = raw_of(table[i].payload, table[i].bytes);

		snprintf(line, sizeof(line),
			HEAD("20.000", "raw") CLIMATE ",\"payload\":\"%s\"" ARRIVAL PUMP "}",
			table[i].text);
		cr_assert(dp_rec_check(rec, rec->bytes, &w.s.set));
		cr_expect_str_eq(render(&w, rec), line);
		free(rec);
	}
	close_world(&w);
}

Test(egress_json, largest_payload_fits)
{
	static uint8_t payload[DP_DATAGRAM_BYTES_MAX];
	struct world w;
	struct dp_rec *rec;
	json_t *root;

	open_world(&w);
	memset(payload, 0xff, sizeof(payload));
	rec = raw_of(payload, sizeof(payload));
	root = json_loads(render(&w, rec), JSON_REJECT_DUPLICATES, NULL);
	cr_assert(root);
	cr_expect_eq(json_string_length(json_object_get(root, "payload")), 12288);
	json_decref(root);
	free(rec);
	close_world(&w);
}

/* A byte that is not escaped breaks every reader behind it; one escaped wrongly changes a tag. */
Test(egress_json, strings_survive_a_parser)
{
	struct world w;
	struct dp_rec_reading *r;
	char sensor[7] = "\"\\pu/7";
	char tag[6] = "\x01\t\n\x7f"
		      "n";
	json_t *root, *tags;
	json_error_t error;

	open_world(&w);
	r = (struct dp_rec_reading *)sample_record(w.block, &w.s.set, SAMPLE_NUMBERED);
	memcpy((char *)dp_rec_sensor(&r->head), sensor, 6);
	memcpy((char *)dp_rec_tags(r) + 5, tag, 5); /* behind "L42" and its own length */
	root = json_loads(render(&w, &r->head), JSON_REJECT_DUPLICATES, &error);
	cr_assert(root, "%s in %s", error.text, w.text);
	cr_expect_str_eq(json_string_value(json_object_get(root, "sensor")), sensor);
	tags = json_object_get(root, "tags");
	cr_expect_str_eq(json_string_value(json_object_get(tags, "line")), tag);
	cr_expect_str_eq(json_string_value(json_object_get(root, "appliance")), "gate \"1\"");
	json_decref(root);
	close_world(&w);
}

Test(egress_json, a_silence_has_its_threshold_in_seconds)
{
	struct world w;
	struct dp_rec_alert *a;

	open_world(&w);
	a = (struct dp_rec_alert *)sample_record(w.block, &w.s.set, SAMPLE_ALERT);
	a->rule = 2; /* 3 periods of 30 s */
	a->value = 90.5;
	cr_expect(strstr(render(&w, &a->head), "\"value\":90.5,\"threshold\":90.0,"), "%s", w.text);
	close_world(&w);
}

/* Plain text goes eight bytes at a time: a byte at any place comes out as it does alone. */
Test(egress_json, escapes_alike_at_every_place)
{
	char text[19], want[6 * sizeof(text)], got[6 * sizeof(text)];

	for (size_t at = 0; at < sizeof(text); at++)
		for (int byte = 0; byte < 256; byte++) {
			char *end = want;

			memset(text, 'a', sizeof(text));
			text[at] = (char)byte;
			for (size_t i = 0; i < sizeof(text); i++)
				end = dp_json_escape(end, text + i, 1);
			cr_assert_eq(dp_json_escape(got, text, sizeof(text)) - got, end - want);
			cr_assert_arr_eq(got, want, end - want, "%#x at %zu", byte, at);
		}
}

/* An index takes "seq" for a long by the first record it sees and refuses what does not fit. */
Test(egress_json, huge_sequences_are_text)
{
	struct world w;
	struct dp_rec_reading *r;

	open_world(&w);
	r = (struct dp_rec_reading *)sample_record(w.block, &w.s.set, SAMPLE_NUMBERED);
	r->seq = INT64_MAX;
	cr_expect(strstr(render(&w, &r->head), ",\"seq\":9223372036854775807,"));
	r->seq = UINT64_MAX;
	cr_expect(strstr(render(&w, &r->head), ",\"seq_text\":\"18446744073709551615\","));
	cr_expect_not(strstr(w.text, "\"seq\":"));
	close_world(&w);
}

Test(egress_json, what_is_missing_is_left_out)
{
	struct world w;
	struct dp_rec_reading *r;
	float *values;

	open_world(&w);
	r = (struct dp_rec_reading *)sample_record(w.block, &w.s.set, SAMPLE_NUMBERED);
	values = (float *)dp_rec_values(r);
	values[0] = NAN;
	values[1] = INFINITY;
	values[2] = -INFINITY;
	cr_expect(strstr(render(&w, &r->head), ",\"values\":{},\"tags\""));
	close_world(&w);
}

/* Widest stream, longest names, all quotes: nothing is written past what was reserved. */
Test(egress_json, widest_record_fits)
{
	static struct dp_field fields[DP_FIELDS_MAX];
	static struct dp_tag tags[DP_TAGS_MAX];
	struct dp_stream stream = {.name = "wide",
		.field_count = DP_FIELDS_MAX,
		.tag_count = DP_TAGS_MAX,
		.fields = fields,
		.tags = tags};
	struct dp_stream_set set = {.count = 1, .hash = 99, .streams = &stream};
	struct dp_rec_reading *r;
	uint8_t tag_len[DP_TAGS_MAX];
	uint64_t id[2] = {0};
	struct world w;
	size_t bytes;
	const char *text;
	uint8_t *tag;
	json_t *root;
	json_error_t error;

	open_world(&w);
	for (int i = 0; i < DP_FIELDS_MAX; i++) {
		memset(fields[i].name, '"', DP_NAME_BYTES_MAX);
		memcpy(fields[i].name, &(char[]){(char)('a' + i % 26), (char)('a' + i / 26)}, 2);
		if (i / 26 >= 26)
			fields[i].name[2] = 'x', fields[i].name[1] = (char)('a' + i / 26 - 26);
	}
	for (int i = 0; i < DP_TAGS_MAX; i++) {
		snprintf(tags[i].name, sizeof(tags[i].name), "t%d", i);
		tag_len[i] = DP_TAG_BYTES_MAX;
	}
	r = calloc(1, dp_rec_reading_bytes(&stream, DP_SENSOR_ID_MAX, tag_len));
	r->head = (struct dp_rec){.kind = DP_REC_READING,
		.id_len = DP_SENSOR_ID_MAX,
		.bytes = (uint32_t)dp_rec_reading_bytes(&stream, DP_SENSOR_ID_MAX, tag_len)};
	r->event_ns = r->arrival_ns = INT64_MAX;
	r->field_count = DP_FIELDS_MAX;
	r->tag_count = DP_TAGS_MAX;
	r->flags = 0x7f;
	r->seq = UINT64_MAX;
	memset((char *)dp_rec_sensor(&r->head), '"', DP_SENSOR_ID_MAX);
	for (int i = 0; i < DP_FIELDS_MAX; i++)
		((float *)dp_rec_values(r))[i] = -1.17549435e-38f;
	tag = (uint8_t *)dp_rec_tags(r);
	for (int i = 0; i < DP_TAGS_MAX; i++, tag += 1 + DP_TAG_BYTES_MAX) {
		*tag = DP_TAG_BYTES_MAX;
		memset(tag + 1, 1, DP_TAG_BYTES_MAX);
	}
	cr_assert(dp_rec_check(&r->head, r->head.bytes, &set));
	text = dp_json_form_record(w.form, &r->head, &set, id, &bytes);
	root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	cr_assert(root, "%s", error.text);
	cr_expect_eq(json_object_size(json_object_get(root, "values")), DP_FIELDS_MAX);
	json_decref(root);
	free(r);
	close_world(&w);
}

/* Old segments bring old schemas: names of one must not appear in records of another. */
Test(egress_json, names_follow_the_schema)
{
	struct world w;
	struct dp_field fields[2][4];
	struct dp_stream streams[6][2];
	struct dp_stream_set sets[6];
	const struct dp_rec *rec;
	uint64_t id[2] = {0};

	open_world(&w);
	rec = sample_record(w.block, &w.s.set, SAMPLE_NUMBERED);
	for (int i = 0; i < 2; i++) {
		memcpy(fields[i], w.s.fields, sizeof(fields[i]));
		snprintf(fields[i][0].name, sizeof(fields[i][0].name), "renamed%d", i);
	}
	for (int i = 0; i < 6; i++) {
		memcpy(streams[i], w.s.streams, sizeof(streams[i]));
		streams[i][0].fields = fields[i % 2];
		sets[i] = (struct dp_stream_set){.count = 2, .hash = 1u + i, .streams = streams[i]};
	}
	for (int i = 0; i < 60; i++) {
		int k = i * 7 % 6;
		size_t bytes;
		const char *text = dp_json_form_record(w.form, rec, &sets[k], id, &bytes);
		const char *name = k % 2 ? "\"renamed1\":20.5" : "\"renamed0\":20.5";

		cr_assert(
			text && memmem(text, bytes, name, strlen(name)), "%.*s", (int)bytes, text);
	}
	close_world(&w);
}

Test(egress_json, label_must_be_utf8)
{
	static const struct dp_attribute_lookup none;
	struct dp_json_form *f;

	cr_expect_eq(dp_json_form_new("\xff", &none, &f), -EINVAL);
}
