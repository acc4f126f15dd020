#include "dataplane/journal/record.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/sample.h"

enum { RECORD_BYTES_MAX = 1024 };

struct fixture {
	struct dp_arena arena;
	struct dp_log log;
	struct sample_streams streams;
	const struct dp_block *block;
};

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	cr_assert(f);
	sample_log_init(&f->log, &f->arena, 0);
	sample_streams_init(&f->streams);
	sample_group(&f->log, &f->streams, 0);
	dp_log_seal(&f->log, 0, true);
	f->block = dp_log_take(&f->log);
	return f;
}

static void fixture_free(struct fixture *f)
{
	dp_arena_fini(&f->arena);
	free(f);
}

static const struct dp_rec *sample(const struct fixture *f, enum sample_index which)
{
	const struct dp_rec *rec = sample_record(f->block, &f->streams.set, which);

	cr_assert(rec, "sample %d is no good record", which);
	return rec;
}

/* A change to a good record that must turn it into a bad one. */
struct change {
	enum sample_index which;
	const char *what;
	size_t at, size;
	uint64_t value;
};

#define IN(which, type, field, value)                                                              \
	{                                                                                          \
		which, #field " = " #value, offsetof(struct type, field),                          \
			sizeof(((struct type *)0)->field), (uint64_t)(value)                       \
	}
#define AT(which, at, value)                                                                       \
	{                                                                                          \
		which, #at " = " #value, at, 1, value                                              \
	}

/* Tails, after the head and the padded id: see docs/block.md. */
enum {
	VALUES_AT = sizeof(struct dp_rec_reading) + 8,
	SCORES_AT = VALUES_AT + 3 * 4 + 2 * 4,
	TAGS_AT = SCORES_AT + 16,
	TAGS_END = TAGS_AT + 1 + 3 + 1 + 5,
};

static const struct change changes[] = {
	/* what every record has */
	IN(SAMPLE_NUMBERED, dp_rec, bytes, 0),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, 8),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, 64),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, 117),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, 120 + 8),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, UINT32_MAX),
	IN(SAMPLE_NUMBERED, dp_rec, bytes, UINT32_MAX - 7),
	IN(SAMPLE_NUMBERED, dp_rec, kind, 0),
	IN(SAMPLE_NUMBERED, dp_rec, kind, DP_REC_KINDS),
	IN(SAMPLE_NUMBERED, dp_rec, kind, 255),
	IN(SAMPLE_NUMBERED, dp_rec, kind, DP_REC_WINDOW),
	IN(SAMPLE_NUMBERED, dp_rec, id_len, 0),
	IN(SAMPLE_NUMBERED, dp_rec, id_len, 5),
	IN(SAMPLE_NUMBERED, dp_rec, id_len, 7),
	IN(SAMPLE_NUMBERED, dp_rec, id_len, 33),
	IN(SAMPLE_NUMBERED, dp_rec, id_len, 255),
	IN(SAMPLE_NUMBERED, dp_rec, stream, 1),
	IN(SAMPLE_NUMBERED, dp_rec, stream, 2),
	IN(SAMPLE_NUMBERED, dp_rec, stream, DP_REC_NO_STREAM),
	IN(SAMPLE_GAP, dp_rec, stream, 2),
	AT(SAMPLE_NUMBERED, sizeof(struct dp_rec_reading), '\n'),
	AT(SAMPLE_NUMBERED, sizeof(struct dp_rec_reading), 0xff),
	AT(SAMPLE_NUMBERED, sizeof(struct dp_rec_reading) + 6, 1),
	/* reading */
	IN(SAMPLE_NUMBERED, dp_rec_reading, field_count, 2),
	IN(SAMPLE_NUMBERED, dp_rec_reading, field_count, 4),
	IN(SAMPLE_NUMBERED, dp_rec_reading, field_count, 0xffff),
	IN(SAMPLE_NUMBERED, dp_rec_reading, tag_count, 1),
	IN(SAMPLE_NUMBERED, dp_rec_reading, tag_count, 255),
	IN(SAMPLE_NUMBERED, dp_rec_reading, score_count, 0),
	IN(SAMPLE_NUMBERED, dp_rec_reading, score_count, 2),
	IN(SAMPLE_NUMBERED, dp_rec_reading, flags, 0x80),
	IN(SAMPLE_NUMBERED, dp_rec_reading, flags, 0),
	IN(SAMPLE_NUMBERED, dp_rec_reading, index, 64),
	IN(SAMPLE_NUMBERED, dp_rec_reading, group, 65),
	IN(SAMPLE_NUMBERED, dp_rec_reading, reserved, 1),
	IN(SAMPLE_NUMBERED, dp_rec_reading, derived_count, 0),
	IN(SAMPLE_NUMBERED, dp_rec_reading, derived_count, 1),
	IN(SAMPLE_NUMBERED, dp_rec_reading, derived_count, 0xffff),
	AT(SAMPLE_NUMBERED, SCORES_AT, 1),
	AT(SAMPLE_NUMBERED, SCORES_AT + offsetof(struct dp_rec_score, flags), 2),
	AT(SAMPLE_NUMBERED, TAGS_AT, 2),
	AT(SAMPLE_NUMBERED, TAGS_AT, 65),
	AT(SAMPLE_NUMBERED, TAGS_AT, 255),
	AT(SAMPLE_NUMBERED, TAGS_AT + 4, 8),
	AT(SAMPLE_NUMBERED, TAGS_AT + 1, 0xc0),
	AT(SAMPLE_NUMBERED, TAGS_END, 1),
	IN(SAMPLE_UNNUMBERED, dp_rec_reading, seq, 1),
	IN(SAMPLE_UNNUMBERED, dp_rec_reading, score_count, 1),
	/* window */
	IN(SAMPLE_WINDOW, dp_rec_window, window, 2),
	IN(SAMPLE_WINDOW, dp_rec_window, window, 1),
	IN(SAMPLE_WINDOW, dp_rec_window, count, 0),
	IN(SAMPLE_WINDOW, dp_rec_window, reason, 0),
	IN(SAMPLE_WINDOW, dp_rec_window, reason, DP_CLOSE_RETIRED + 1),
	IN(SAMPLE_WINDOW, dp_rec_window, score_count, 1),
	IN(SAMPLE_WINDOW, dp_rec_window, score_count, 255),
	IN(SAMPLE_WINDOW, dp_rec_window, stats, DP_STAT_MEAN),
	IN(SAMPLE_WINDOW, dp_rec_window, stats, 0x7f),
	IN(SAMPLE_WINDOW, dp_rec_window, field_count, 2),
	IN(SAMPLE_WINDOW, dp_rec_window, start_ns, 0),
	IN(SAMPLE_WINDOW, dp_rec_window, start_ns, INT64_MAX),
	IN(SAMPLE_WINDOW, dp_rec_window, reserved8, 1),
	IN(SAMPLE_WINDOW, dp_rec_window, reserved, 1),
	IN(SAMPLE_LIGHT_WINDOW, dp_rec_window, stats, DP_STAT_ALL),
	/* alert */
	IN(SAMPLE_ALERT, dp_rec_alert, rule, 3),
	IN(SAMPLE_ALERT, dp_rec_alert, raised, 2),
	IN(SAMPLE_ALERT, dp_rec_alert, severity, 0),
	IN(SAMPLE_ALERT, dp_rec_alert, severity, 4),
	IN(SAMPLE_ALERT, dp_rec_alert, reserved, 1),
	AT(SAMPLE_ALERT, sizeof(struct dp_rec_alert) + 7, 1),
	/* gap */
	IN(SAMPLE_GAP, dp_rec_gap, reason, 0),
	IN(SAMPLE_GAP, dp_rec_gap, reason, DP_GAP_EXPIRED + 1),
	IN(SAMPLE_GAP, dp_rec_gap, reserved8, 1),
	IN(SAMPLE_GAP, dp_rec_gap, reserved, 1),
	/* mark */
	IN(SAMPLE_START, dp_rec_mark, what, 0),
	IN(SAMPLE_START, dp_rec_mark, what, DP_MARK_RETIRED),
	IN(SAMPLE_START, dp_rec_mark, what, DP_MARK_RETIRED + 1),
	IN(SAMPLE_START, dp_rec_mark, counter_count, 2),
	IN(SAMPLE_START, dp_rec_mark, counter_count, 4),
	IN(SAMPLE_START, dp_rec_mark, counter_count, UINT32_MAX),
	AT(SAMPLE_START, offsetof(struct dp_rec_mark, reserved8), 1),
	IN(SAMPLE_START, dp_rec, stream, 0),
	IN(SAMPLE_RETIRED, dp_rec_mark, counter_count, 1),
	IN(SAMPLE_RETIRED, dp_rec_mark, what, DP_MARK_START),
	IN(SAMPLE_RETIRED, dp_rec, stream, DP_REC_NO_STREAM),
};

Test(record, malformed_is_refused)
{
	struct fixture *f = fixture_new();

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct change *c = &changes[i];
		const struct dp_rec *good = sample(f, c->which);
		uint32_t bytes = good->bytes;
		/* Its own allocation, so that ASan sees a read beyond what is there. */
		char *copy = malloc(bytes);

		memcpy(copy, good, bytes);
		memcpy(copy + c->at, &c->value, c->size);
		cr_expect(memcmp(copy, good, bytes), "row %zu changes nothing: %s", i, c->what);
		cr_expect_not(dp_rec_check((struct dp_rec *)copy, bytes, &f->streams.set),
			"sample %d with %s was taken", c->which, c->what);
		free(copy);
	}
	fixture_free(f);
}

/* Who reads a record finds a score by its model: a second one would contradict the first. */
Test(record, a_model_says_one_thing_of_a_record)
{
	static const struct {
		uint16_t models[2];
		bool good;
	} t[] = {{{0, 1}, true}, {{0, 0}, false}, {{1, 1}, false}, {{1, 0}, false}};
	struct fixture *f = fixture_new();
	const struct dp_rec *one = sample(f, SAMPLE_NUMBERED);
	const size_t behind = SCORES_AT + sizeof(struct dp_rec_score);
	uint32_t bytes = one->bytes + (uint32_t)sizeof(struct dp_rec_score);
	struct dp_rec_reading *two = malloc(bytes);
	struct dp_rec_score *scores;

	f->streams.streams[0].model_count = 2;
	memcpy(two, one, behind);
	memcpy((char *)two + behind, (const char *)one + SCORES_AT, one->bytes - SCORES_AT);
	two->head.bytes = bytes;
	two->score_count = 2;
	scores = (struct dp_rec_score *)dp_rec_scores(two);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		scores[0].model = t[i].models[0];
		scores[1].model = t[i].models[1];
		cr_expect_eq(dp_rec_check(&two->head, bytes, &f->streams.set), t[i].good,
			"models %u and %u", t[i].models[0], t[i].models[1]);
	}
	free(two);
	fixture_free(f);
}

Test(record, cut_short_is_refused)
{
	struct fixture *f = fixture_new();

	for (uint32_t i = 0; i < SAMPLE_RECORDS; i++) {
		const struct dp_rec *good = sample(f, i);

		for (uint32_t left = 0; left < good->bytes; left++) {
			char *copy = malloc(left + 1);

			memcpy(copy, good, left);
			cr_assert_not(dp_rec_check((struct dp_rec *)copy, left, &f->streams.set),
				"record %u of %u bytes cut at %u", i, good->bytes, left);
			free(copy);
		}
	}
	fixture_free(f);
}

Test(record, streams_that_do_not_fit_refuse)
{
	struct fixture *f = fixture_new();
	struct dp_stream_set none = {0};

	cr_expect_not(dp_rec_check(sample(f, SAMPLE_NUMBERED), 1 << 20, &none));
	cr_expect(dp_rec_check(sample(f, SAMPLE_GAP), 1 << 20, &none), "is of no stream");
	f->streams.fields[0].name[0] = 'x'; /* names are the schema's own business */
	cr_expect(dp_rec_check(sample(f, SAMPLE_NUMBERED), 1 << 20, &f->streams.set));
	f->streams.streams[0].field_count--;
	cr_expect_not(sample_record(f->block, &f->streams.set, SAMPLE_NUMBERED));
	fixture_free(f);
}

Test(record, accessors_find_what_was_written)
{
	struct fixture *f = fixture_new();
	const struct dp_rec_reading *r = (const void *)sample(f, SAMPLE_NUMBERED);
	const struct dp_rec_window *w = (const void *)sample(f, SAMPLE_WINDOW);
	const struct dp_rec_mark *m = (const void *)sample(f, SAMPLE_START);
	float last;

	cr_expect_arr_eq(dp_rec_sensor(&r->head), "pump-7", 6);
	cr_expect_eq((const char *)dp_rec_values(r) - (const char *)r, VALUES_AT);
	cr_expect_eq(dp_rec_values(r)[0], 20.5f);
	cr_expect_eq(dp_rec_values(r)[2], 3.3f);
	cr_expect_eq(dp_rec_scores(r)->version, 4);
	cr_expect_eq(dp_rec_scores(r)->probability, 0.75f);
	cr_expect_arr_eq(dp_rec_tags(r), "\x03L42\x05north", 10);
	cr_expect_eq(dp_rec_stats(w)[0], 30);
	memcpy(&last, &dp_rec_stats(w)[17], sizeof(last));
	cr_expect_eq(last, 250.0f);
	cr_expect_eq(dp_rec_counters(m)[2], 3000);
	fixture_free(f);
}

/* ---- ids ---- */

static const struct dp_rec_place place = {.appliance = SAMPLE_APPLIANCE,
	.epoch = SAMPLE_EPOCH,
	.sequence = 5,
	.worker = 2,
	.index = 9};

static void id_of(const struct fixture *f, enum sample_index which, const struct dp_rec_place *at,
	char hex[33])
{
	uint64_t id[2];

	dp_rec_id(sample(f, which), &f->streams.set, at, id);
	snprintf(hex, 33, "%016lx%016lx", id[1], id[0]);
}

/* START and RETIRED are marks of one place here, hence equal. Ids are document ids in other
 * people's stores: these may never change (docs/block.md). */
Test(record, ids_are_golden)
{
	static const char *const golden[SAMPLE_RECORDS] = {
		[SAMPLE_START] = "eb4301d363632dbcc83a03a751c95311",
		[SAMPLE_WINDOW] = "ebdfc1cfc3e883472556daacd0a975b4",
		[SAMPLE_NUMBERED] = "c76a27b5bb17cc0d06de6a24dd5bab99",
		[SAMPLE_ALERT] = "3be0bd7fc06fb153e960596ea53df57c",
		[SAMPLE_UNNUMBERED] = "87ee024a91faa22afafd690cb6c02451",
		[SAMPLE_GAP] = "d12e710a1af9c7afa8cb45a8c3c20417",
		[SAMPLE_RETIRED] = "eb4301d363632dbcc83a03a751c95311",
		[SAMPLE_LIGHT_WINDOW] = "2b8c272ec1cd2b71c82c1deeba771ab5",
	};
	struct fixture *f = fixture_new();
	char hex[33];

	for (uint32_t i = 0; i < SAMPLE_RECORDS; i++) {
		id_of(f, i, &place, hex);
		cr_expect_str_eq(hex, golden[i], "sample %u is %s", i, hex);
	}
	fixture_free(f);
}

Test(record, place_names_only_what_has_no_name_of_its_own)
{
	static const bool by_place[SAMPLE_RECORDS] = {[SAMPLE_START] = true,
		[SAMPLE_UNNUMBERED] = true,
		[SAMPLE_GAP] = true,
		[SAMPLE_RETIRED] = true};
	struct fixture *f = fixture_new();
	struct dp_rec_place others[5] = {place, place, place, place, place};
	char hex[33], other[33];

	others[0].appliance++;
	others[1].epoch++;
	others[2].sequence++;
	others[3].worker++;
	others[4].index++;
	for (uint32_t i = 0; i < SAMPLE_RECORDS; i++)
		for (uint32_t k = 0; k < 5; k++) {
			id_of(f, i, &place, hex);
			id_of(f, i, &others[k], other);
			cr_expect_eq(strcmp(hex, other) != 0, by_place[i],
				"sample %u, place %u: %s, %s", i, k, hex, other);
		}
	fixture_free(f);
}

/* Every part of a tuple counts, and nothing else does. */
Test(record, id_depends_on_its_tuple_alone)
{
	static const struct {
		struct change change;
		bool counts;
	} table[] = {
		{IN(SAMPLE_NUMBERED, dp_rec_reading, boot, 1), true},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, seq, 1), true},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, index, 1), true},
		{AT(SAMPLE_NUMBERED, sizeof(struct dp_rec_reading), 'P'), true},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, event_ns, 1), false},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, arrival_ns, 1), false},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, seen, 1), false},
		{IN(SAMPLE_NUMBERED, dp_rec_reading, life, 1), false},
		{AT(SAMPLE_NUMBERED, VALUES_AT, 1), false},
		{IN(SAMPLE_WINDOW, dp_rec_window, life, 1), true},
		{IN(SAMPLE_WINDOW, dp_rec_window, start_ns, 1), true},
		{IN(SAMPLE_WINDOW, dp_rec_window, window, 1), true},
		{IN(SAMPLE_WINDOW, dp_rec_window, count, 1), false},
		{IN(SAMPLE_WINDOW, dp_rec_window, arrival_ns, 1), false},
		{IN(SAMPLE_ALERT, dp_rec_alert, rule, 1), true},
		{IN(SAMPLE_ALERT, dp_rec_alert, raised, 0), true},
		{AT(SAMPLE_ALERT, offsetof(struct dp_rec_alert, cause) + 8, 1), true},
		{IN(SAMPLE_ALERT, dp_rec_alert, arrival_ns, 1), false},
		{IN(SAMPLE_ALERT, dp_rec_alert, value, 1), false},
	};
	struct fixture *f = fixture_new();

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct change *c = &table[i].change;
		const struct dp_rec *rec = sample(f, c->which);
		uint64_t copy[RECORD_BYTES_MAX / 8], before[2], after[2];

		cr_assert_leq(rec->bytes, sizeof(copy));
		memcpy(copy, rec, rec->bytes);
		memcpy((char *)copy + c->at, &c->value, c->size);
		dp_rec_id(rec, &f->streams.set, &place, before);
		dp_rec_id((struct dp_rec *)copy, &f->streams.set, &place, after);
		cr_expect_eq(memcmp(before, after, sizeof(before)) != 0, table[i].counts,
			"sample %d, %s", c->which, c->what);
	}
	fixture_free(f);
}

/* ---- raw ---- */

/* A payload of `n` bytes of that sensor of stream 0, at the end of its own allocation. */
static struct dp_rec_raw *raw_of(const char *id, uint32_t n)
{
	uint8_t id_len = (uint8_t)strlen(id);
	size_t bytes = dp_rec_raw_bytes(id_len, n);
	struct dp_rec_raw *r = calloc(1, bytes);
	char *at = (char *)(r + 1);

	cr_assert(r);
	r->head = (struct dp_rec){
		.bytes = (uint32_t)bytes, .kind = DP_REC_RAW, .id_len = id_len, .stream = 0};
	r->arrival_ns = SAMPLE_TIME_NS;
	r->payload_bytes = n;
	memcpy(at, id, id_len);
	at += dp_rec_pad(id_len, 4);
	for (uint32_t i = 0; i < n; i++)
		at[i] = (char)(i * 7 + 1);
	return r;
}

Test(record, a_payload_is_read_as_it_was_written)
{
	static const char *const ids[] = {
		"p", "pump", "pump-7", "abcdefghijklmnopqrstuvwxyz012345"};
	static const uint32_t sizes[] = {1, 2, 7, 8, 9, 100, 1472, 9215, DP_DATAGRAM_BYTES_MAX};
	struct sample_streams s;

	sample_streams_init(&s);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			struct dp_rec_raw *r = raw_of(ids[i], sizes[k]);
			const uint8_t *payload = dp_rec_payload(r);

			cr_expect_eq(r->head.bytes % 8, 0);
			cr_expect(dp_rec_check(&r->head, r->head.bytes, &s.set));
			cr_expect_eq(payload[0], 1);
			cr_expect_eq(payload[sizes[k] - 1], (uint8_t)((sizes[k] - 1) * 7 + 1));
			cr_expect_arr_eq(dp_rec_sensor(&r->head), ids[i], r->head.id_len);
			free(r);
		}
}

static const struct change raw_changes[] = {
	IN(0, dp_rec_raw, payload_bytes, 0),
	IN(0, dp_rec_raw, payload_bytes, 9),
	IN(0, dp_rec_raw, payload_bytes, 17),
	IN(0, dp_rec_raw, payload_bytes, UINT32_MAX),
	IN(0, dp_rec_raw, payload_bytes, UINT32_MAX - 7),
	IN(0, dp_rec_raw, reserved, 1),
	IN(0, dp_rec, id_len, 0),
	IN(0, dp_rec, id_len, 33),
	IN(0, dp_rec, stream, 2),
	IN(0, dp_rec, stream, DP_REC_NO_STREAM),
	IN(0, dp_rec, bytes, 40),
	IN(0, dp_rec, bytes, 56),
	IN(0, dp_rec, kind, DP_REC_MARK),
	AT(0, sizeof(struct dp_rec_raw), '\n'),
	AT(0, sizeof(struct dp_rec_raw) + 6, 1),
	AT(0, sizeof(struct dp_rec_raw) + 8 + 10, 1),
};

Test(record, malformed_payload_is_refused)
{
	struct sample_streams s;

	sample_streams_init(&s);
	for (size_t i = 0; i < sizeof(raw_changes) / sizeof(raw_changes[0]); i++) {
		const struct change *c = &raw_changes[i];
		struct dp_rec_raw *r = raw_of("pump-7", 10);
		uint32_t bytes = r->head.bytes;

		cr_assert_eq(bytes, 48);
		cr_assert(dp_rec_check(&r->head, bytes, &s.set));
		memcpy((char *)r + c->at, &c->value, c->size);
		cr_expect_not(dp_rec_check(&r->head, bytes, &s.set), "taken with %s", c->what);
		free(r);
	}
}

Test(record, payload_cut_short_or_too_long_is_refused)
{
	struct dp_rec_raw *r = raw_of("pump-7", 10);
	struct sample_streams s;

	sample_streams_init(&s);
	for (uint32_t left = 0; left < r->head.bytes; left++) {
		char *copy = malloc(left + 1);

		memcpy(copy, r, left);
		cr_expect_not(dp_rec_check((struct dp_rec *)copy, left, &s.set), "%u", left);
		free(copy);
	}
	free(r);
	r = raw_of("pump-7", DP_DATAGRAM_BYTES_MAX + 8);
	cr_expect_not(dp_rec_check(&r->head, r->head.bytes, &s.set));
	free(r);
}

/* By its place, like gaps and marks; the same text is in the test of the Python reader. */
Test(record, id_of_a_payload_is_golden)
{
	struct dp_rec_raw *r = raw_of("pump-7", 10);
	struct sample_streams s;
	uint64_t id[2];
	char hex[33];

	sample_streams_init(&s);
	dp_rec_id(&r->head, &s.set, &place, id);
	snprintf(hex, sizeof(hex), "%016lx%016lx", id[1], id[0]);
	cr_expect_str_eq(hex, "aedd1572ec094e8533caf7b7bde00fc3");
	free(r);
}
