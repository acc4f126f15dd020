#include "dataplane/journal/schema.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/sample.h"

enum { BYTES_MAX = 4096 };

static size_t written(const struct sample_streams *s, char *buf)
{
	size_t n = dp_schema_write(&s->set, buf, BYTES_MAX);

	cr_assert_leq(n, BYTES_MAX);
	return n;
}

/* What reading exactly these bytes says; in their own allocation, so that ASan sees more. */
static int verdict(const char *bytes, size_t n)
{
	struct dp_stream_set *set;
	char *copy = malloc(n ? n : 1);
	int rc;

	memcpy(copy, bytes, n);
	rc = dp_schema_read(copy, n, &set);
	cr_expect_eq(rc == 0, set != NULL);
	dp_schema_free(set);
	free(copy);
	return rc;
}

Test(schema, comes_back_as_it_was)
{
	struct sample_streams s;
	struct dp_stream_set *back;
	const struct dp_stream *climate, *light;
	char buf[BYTES_MAX];
	size_t n;

	sample_streams_init(&s);
	n = written(&s, buf);
	cr_assert_eq(dp_schema_read(buf, n, &back), 0);
	memset(buf, 0xee, sizeof(buf)); /* nothing of the set may lie in the buffer */
	cr_expect_eq(back->count, 2);
	cr_expect_eq(back->hash, s.set.hash);
	climate = &back->streams[0];
	light = &back->streams[1];
	cr_expect_str_eq(climate->name, "climate");
	cr_expect_str_eq(climate->id_key, "sensor");
	cr_expect_str_eq(climate->time_key, "time");
	cr_expect_str_eq(light->time_key, "");
	cr_expect_eq(light->index, 1);
	cr_expect_eq(light->number, 7);
	cr_expect_eq(climate->lateness_ns, s.streams[0].lateness_ns);
	cr_expect_eq(climate->max_skew_ns, s.streams[0].max_skew_ns);
	cr_expect_eq(climate->idle_ns, s.streams[0].idle_ns);
	cr_expect_eq(climate->forget_ns, s.streams[0].forget_ns);
	cr_expect_eq(climate->state_hash, s.streams[0].state_hash);
	cr_assert_eq(climate->field_count, 3);
	cr_expect_arr_eq(climate->fields, s.fields, 3 * sizeof(s.fields[0]));
	cr_assert_eq(light->field_count, 1);
	cr_expect_arr_eq(light->fields, s.fields + 3, sizeof(s.fields[0]));
	cr_assert_eq(climate->tag_count, 2);
	cr_expect_arr_eq(climate->tags, s.tags, sizeof(s.tags));
	cr_assert_eq(climate->window_count, 2);
	cr_expect_str_eq(climate->windows[1].name, "5m/1m");
	cr_expect_eq(climate->windows[1].size_ns, s.windows[1].size_ns);
	cr_expect_eq(climate->windows[1].slide_ns, s.windows[1].slide_ns);
	cr_expect_eq(climate->windows[1].stats, s.windows[1].stats);
	cr_assert_eq(climate->rule_count, 3);
	cr_expect_eq(climate->rules[2].kind, DP_RULE_MISSING);
	cr_expect_eq(climate->rules[2].period_ns, s.rules[2].period_ns);
	cr_expect_eq(climate->rules[2].field, -1);
	cr_expect_eq(climate->rules[1].window, 0);
	cr_expect_eq(climate->rules[0].hysteresis, 2.0);
	cr_assert_eq(climate->model_count, 1);
	cr_expect_str_eq(climate->models[0].name, "anomaly");
	dp_schema_free(back);
}

Test(schema, bytes_are_canonical)
{
	struct sample_streams a, b;
	struct dp_stream_set *back;
	char buf[BYTES_MAX], again[BYTES_MAX];
	size_t n;

	memset(&b, 0xee, sizeof(b)); /* what lies between members must not show */
	sample_streams_init(&a);
	sample_streams_init(&b);
	memset(b.fields[0].name + 12, 'x', sizeof(b.fields[0].name) - 13);
	n = written(&a, buf);
	cr_assert_eq(written(&b, again), n);
	cr_expect_arr_eq(buf, again, n, "bytes behind a name's end show");
	cr_assert_eq(dp_schema_read(buf, n, &back), 0);
	cr_assert_eq(dp_schema_write(back, again, BYTES_MAX), n);
	cr_expect_arr_eq(buf, again, n);
	cr_expect_eq(dp_schema_hash(back), a.set.hash);
	dp_schema_free(back);
}

/* Segments of other versions name these hashes. */
Test(schema, hashes_are_golden)
{
	struct sample_streams s;

	sample_streams_init(&s);
	cr_expect_eq(s.set.hash, 0x2edf5f805b78702d, "%#lx", s.set.hash);
	cr_expect_eq(s.streams[0].state_hash, 0x596289c926a6294e, "%#lx", s.streams[0].state_hash);
	cr_expect_eq(dp_rule_hash(&s.streams[0], &s.rules[1]), 0xfe11da6e, "%#x",
		dp_rule_hash(&s.streams[0], &s.rules[1]));
}

Test(schema, writes_no_more_than_size)
{
	struct sample_streams s;
	char whole[BYTES_MAX], part[BYTES_MAX];
	size_t n;

	sample_streams_init(&s);
	n = written(&s, whole);
	for (size_t size = 0; size < n; size++) {
		memset(part, 0xee, n);
		cr_assert_eq(dp_schema_write(&s.set, part, size), n);
		cr_assert_arr_eq(part, whole, size);
		for (size_t i = size; i < n; i++)
			cr_assert_eq(part[i], (char)0xee);
	}
	cr_expect_eq(dp_schema_write(&s.set, NULL, 0), n);
}

Test(schema, every_truncation_and_extension_is_refused)
{
	struct sample_streams s;
	char buf[BYTES_MAX] = {0};
	size_t n;

	sample_streams_init(&s);
	n = written(&s, buf);
	cr_assert_eq(verdict(buf, n), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(verdict(buf, i), -EBADMSG, "%zu of %zu bytes", i, n);
	for (size_t i = 1; i < 16; i++)
		cr_assert_eq(verdict(buf, n + i), -EBADMSG, "%zu bytes more", i);
}

static void twice_a_stream(struct sample_streams *s)
{
	strcpy(s->streams[1].name, "climate");
}

static void twice_a_number(struct sample_streams *s)
{
	s->streams[1].number = 1;
}

static void twice_a_field(struct sample_streams *s)
{
	strcpy(s->fields[2].name, "temperature");
}

static void twice_a_tag(struct sample_streams *s)
{
	strcpy(s->tags[1].name, "lot");
}

static void twice_a_window(struct sample_streams *s)
{
	strcpy(s->windows[1].name, "30s/10s");
}

static void twice_a_rule(struct sample_streams *s)
{
	strcpy(s->rules[2].name, "hot");
}

static void no_name(struct sample_streams *s)
{
	s->fields[1].name[0] = '\0';
}

static void control_character(struct sample_streams *s)
{
	s->fields[1].name[0] = '\n';
}

static void bad_utf8(struct sample_streams *s)
{
	s->fields[0].unit[0] = (char)0xff;
}

static void range_upside_down(struct sample_streams *s)
{
	s->fields[0].min = 100;
}

static void range_not_a_number(struct sample_streams *s)
{
	s->fields[0].min = __builtin_nanf("");
}

static void endless_scale(struct sample_streams *s)
{
	s->fields[0].scale = __builtin_inff();
}

static void negative_time(struct sample_streams *s)
{
	s->streams[0].lateness_ns = -1;
}

static void no_slide(struct sample_streams *s)
{
	s->windows[0].slide_ns = 0;
}

static void uneven_slide(struct sample_streams *s)
{
	s->windows[0].slide_ns = 7 * DP_NS_PER_S;
}

static void too_many_panes(struct sample_streams *s)
{
	s->windows[0].size_ns = (DP_PANES_MAX + 1) * s->windows[0].slide_ns;
}

static void unknown_stat(struct sample_streams *s)
{
	s->windows[0].stats = DP_STAT_ALL + 1;
}

static void unknown_rule(struct sample_streams *s)
{
	s->rules[0].kind = (enum dp_rule_kind)(DP_RULE_MISSING + 1);
}

static void no_severity(struct sample_streams *s)
{
	s->rules[0].severity = (enum dp_severity)0;
}

static void rule_on_no_field(struct sample_streams *s)
{
	s->rules[0].field = 3;
}

static void rule_on_no_window(struct sample_streams *s)
{
	s->rules[1].window = 2;
}

static void rule_on_minus_two(struct sample_streams *s)
{
	s->rules[1].window = -2;
}

static void rule_on_two_stats(struct sample_streams *s)
{
	s->rules[1].stat = DP_STAT_MEAN | DP_STAT_MAX;
}

static void threshold_not_a_number(struct sample_streams *s)
{
	s->rules[0].threshold = __builtin_nan("");
}

Test(schema, malformed_is_refused)
{
#define ROW(f)                                                                                     \
	{                                                                                          \
#f, f                                                                              \
	}
	static const struct {
		const char *what;
		void (*spoil)(struct sample_streams *s);
	} table[] = {ROW(twice_a_stream), ROW(twice_a_number), ROW(twice_a_field), ROW(twice_a_tag),
		ROW(twice_a_window), ROW(twice_a_rule), ROW(no_name), ROW(control_character),
		ROW(bad_utf8), ROW(range_upside_down), ROW(range_not_a_number), ROW(endless_scale),
		ROW(negative_time), ROW(no_slide), ROW(uneven_slide), ROW(too_many_panes),
		ROW(unknown_stat), ROW(unknown_rule), ROW(no_severity), ROW(rule_on_no_field),
		ROW(rule_on_no_window), ROW(rule_on_minus_two), ROW(rule_on_two_stats),
		ROW(threshold_not_a_number)};
#undef ROW
	struct sample_streams s;
	char buf[BYTES_MAX];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		sample_streams_init(&s);
		table[i].spoil(&s);
		cr_expect_eq(verdict(buf, written(&s, buf)), -EBADMSG, "%s", table[i].what);
	}
	cr_expect_eq(verdict("PSCH\x02\0\0\0", 8), -EBADMSG, "another version");
	cr_expect_eq(verdict("PSCX\x01\0\0\0", 8), -EBADMSG, "another magic");
	cr_expect_eq(verdict("PSCH\x01\0\xff\xff", 8), -EBADMSG, "more streams than bytes");
	cr_expect_eq(verdict("PSCH\x01\0\0\0", 8), 0, "no stream at all");
}

/* State and open alerts survive what they do not depend on, and only that. */
Test(schema, hashes_depend_on_what_they_guard)
{
	struct sample_streams s, plain;
	uint32_t hot;

	sample_streams_init(&plain);
	hot = dp_rule_hash(&plain.streams[0], &plain.rules[0]);
	sample_streams_init(&s);
	s.streams[0].forget_ns *= 2;
	s.rules[0].threshold = 1;
	strcpy(s.streams[0].id_key, "device");
	cr_expect_eq(dp_stream_state_hash(&s.streams[0]), plain.streams[0].state_hash);
	cr_expect_neq(dp_schema_hash(&s.set), plain.set.hash);
	cr_expect_neq(dp_rule_hash(&s.streams[0], &s.rules[0]), hot);

	sample_streams_init(&s);
	s.streams[0].lateness_ns++;
	cr_expect_neq(dp_stream_state_hash(&s.streams[0]), plain.streams[0].state_hash);
	sample_streams_init(&s);
	strcpy(s.fields[0].unit, "K");
	cr_expect_neq(dp_stream_state_hash(&s.streams[0]), plain.streams[0].state_hash);
	cr_expect_eq(dp_rule_hash(&s.streams[0], &s.rules[0]), hot);

	sample_streams_init(&s);
	s.fields[1] = plain.fields[0];
	s.fields[0] = plain.fields[1];
	s.rules[0].field = 1;
	cr_expect_eq(dp_rule_hash(&s.streams[0], &s.rules[0]), hot, "the field only moved");
	s.rules[0].field = 0;
	cr_expect_neq(dp_rule_hash(&s.streams[0], &s.rules[0]), hot, "another field");
}

/* What is written must come back, or every segment of it would be taken for damaged. */
Test(schema, texts_of_full_length_come_back)
{
	struct sample_streams s;
	struct dp_stream_set *back;
	char buf[BYTES_MAX];
	size_t n;

	sample_streams_init(&s);
	memset(s.derived[0].text, 'd', DP_EXPR_BYTES_MAX);
	memset(s.labels[0].text, 'l', DP_CLASS_BYTES_MAX);
	memset(s.models[0].name, 'm', DP_NAME_BYTES_MAX);
	memset(s.fields[0].unit, 'u', DP_UNIT_BYTES_MAX);
	s.rules[0].of_score = true;
	s.rules[0].field = -1;
	s.rules[0].model = 0;
	s.rules[0].label = 1;
	n = written(&s, buf);
	cr_assert_eq(dp_schema_read(buf, n, &back), 0);
	cr_expect_str_eq(back->streams[0].derived[0].text, s.derived[0].text);
	cr_expect_str_eq(back->streams[0].derived[1].text, "delta(voltage)");
	cr_expect_str_eq(back->streams[0].labels[0].text, s.labels[0].text);
	cr_expect_eq(back->streams[0].models[0].window, -1);
	cr_expect_eq(back->streams[0].models[0].label_count, 2);
	cr_expect_eq(back->streams[0].reading_models, 1);
	cr_expect(back->streams[0].rules[0].of_score && !back->streams[0].rules[1].of_score);
	cr_expect_eq(back->streams[0].rules[0].label, 1);
	dp_schema_free(back);
	s.rules[0].label = 2;
	n = written(&s, buf);
	cr_expect_eq(dp_schema_read(buf, n, &back), -EBADMSG, "there are two labels");
	s.rules[0].label = 1;
	s.models[0].label_at = 1;
	n = written(&s, buf);
	cr_expect_eq(dp_schema_read(buf, n, &back), -EBADMSG, "labels 1 and 2 of two");
	s.models[0].label_at = 0;
	s.models[0].window = 2;
	n = written(&s, buf);
	cr_expect_eq(dp_schema_read(buf, n, &back), -EBADMSG, "there is no third window");
}
