#include <criterion/criterion.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "dataplane/egress/kafka.h"
#include "dataplane/journal/schema.h"
#include "tests/unit/sample.h"

enum { PARTITIONS = 4, REPORTS_MAX = 1000 };

/* librdkafka's own broker, in this process: real protocol, loopback alone. */
struct world {
	rd_kafka_t *host;
	rd_kafka_mock_cluster_t *cluster;
	struct dp_kafka_config config;
	struct dp_transport t;
	struct dp_now now;
	char why[256];
	uint64_t delivered[REPORTS_MAX];
	uint32_t delivered_count, refused_count;
	char refused_why[128];
	struct sample_streams s;
	struct dp_arena arena;
	struct dp_log log;
	struct dp_block *block;
	rd_kafka_t *consumer[2]; /* of what consume() returned */
	rd_kafka_message_t *consumed[2];
	uint32_t consumed_count;
};

static void open_world(struct world *w)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	memset(w, 0, sizeof(*w));
	w->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, w->why, sizeof(w->why));
	cr_assert(w->host, "%s", w->why);
	w->cluster = rd_kafka_mock_cluster_new(w->host, 1);
	cr_assert(w->cluster);
	cr_assert_eq(rd_kafka_mock_topic_create(w->cluster, "readings", PARTITIONS, 1), 0);
	cr_assert_eq(rd_kafka_mock_topic_create(w->cluster, "alerts", 1, 1), 0);
	cr_assert_eq(rd_kafka_mock_topic_create(w->cluster, "raw", 1, 1), 0);
	cr_assert_eq(rd_kafka_mock_topic_create(w->cluster, "readings-schemas", 1, 1), 0);
	w->config = (struct dp_kafka_config){
		.brokers = rd_kafka_mock_cluster_bootstraps(w->cluster),
		.topic = "readings",
		.form = DP_FORM_JSON,
		.partition = DP_KAFKA_BY_SENSOR,
	};
	w->config.kind_topic[DP_REC_ALERT] = "alerts";
	w->config.kind_topic[DP_REC_RAW] = "raw";
	sample_streams_init(&w->s);
	sample_log_init(&w->log, &w->arena, 5);
	sample_group(&w->log, &w->s, 0);
	dp_log_seal(&w->log, 0, true);
	w->block = dp_log_take(&w->log);
}

static void open_output(struct world *w)
{
	cr_assert_eq(dp_kafka_new(&w->config, &w->t, w->why, sizeof(w->why)), 0, "%s", w->why);
}

static void close_world(struct world *w)
{
	if (w->t.ops)
		w->t.ops->close(w->t.ctx);
	for (uint32_t i = 0; i < w->consumed_count; i++) {
		rd_kafka_message_destroy(w->consumed[i]);
		rd_kafka_destroy(w->consumer[i]);
	}
	rd_kafka_mock_cluster_destroy(w->cluster);
	rd_kafka_destroy(w->host);
	dp_arena_fini(&w->arena);
}

static void take_report(void *arg, uint64_t cookie, enum dp_report what, const char *why)
{
	struct world *w = arg;

	if (what == DP_REPORT_REFUSED) {
		w->refused_count++;
		snprintf(w->refused_why, sizeof(w->refused_why), "%s", why);
		return;
	}
	cr_assert_lt(w->delivered_count, REPORTS_MAX);
	w->delivered[w->delivered_count++] = cookie;
}

/* Waits for what the wake-up descriptor says, at most 10 s in all. */
static int serve_until(struct world *w, const uint32_t *count, uint32_t enough)
{
	const struct dp_report_sink sink = {take_report, w};
	struct pollfd p = {.fd = w->t.ops->wake_fd(w->t.ctx), .events = POLLIN};
	time_t end = time(NULL) + 10;
	int rc = 0;

	while (rc == 0 && *count < enough && time(NULL) < end) {
		rc = w->t.ops->serve(w->t.ctx, &w->now, &sink);
		if (rc == 0 && *count < enough)
			poll(&p, 1, 1000);
	}
	return rc;
}

static struct dp_message message(struct world *w, uint32_t index, const char *payload)
{
	const struct dp_rec *rec = sample_record(w->block, &w->s.set, index);

	return (struct dp_message){.payload = payload,
		.payload_bytes = (uint32_t)strlen(payload),
		.key = dp_rec_sensor(rec),
		.key_bytes = rec->id_len,
		.worker = 5,
		.timestamp_ns = SAMPLE_TIME_NS + 999999,
		.kind = rec->kind,
		.records = 1,
		.cookie = (1ull << 56) - 1 - index,
		.block = w->block,
		.record = rec,
		.streams = &w->s.set,
		.id = {0xabc, 0xdef}};
}

static int send_message(struct world *w, const struct dp_message *m)
{
	const struct dp_report_sink sink = {take_report, w};
	int rc;

	for (int i = 0; i < 200; i++) {
		rc = w->t.ops->send(w->t.ctx, m);
		if (rc != -EAGAIN)
			return rc;
		poll(&(struct pollfd){.fd = w->t.ops->wake_fd(w->t.ctx), .events = POLLIN}, 1, 50);
		rc = w->t.ops->serve(w->t.ctx, &w->now, &sink);
		if (rc)
			return rc;
	}
	return -EAGAIN;
}

/* The next message of a topic, from its partition's begin; NULL after 10 s. */
static rd_kafka_message_t *consume(struct world *w, const char *topic, int32_t partition)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_message_t *m;
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", w->config.brokers, NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "test", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
	cr_assert(rk);
	rd_kafka_topic_partition_list_add(list, topic, partition)->offset =
		RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	m = rd_kafka_consumer_poll(rk, 10000);
	cr_assert(m && !m->err, "%s: %s", topic, m ? rd_kafka_message_errstr(m) : "nothing");
	w->consumed[w->consumed_count] = m;
	w->consumer[w->consumed_count++] = rk;
	return m;
}

static void expect_header(const rd_kafka_message_t *m, const char *name, const char *value)
{
	rd_kafka_headers_t *h;
	const void *got;
	size_t bytes;

	cr_assert_eq(rd_kafka_message_headers(m, &h), 0);
	cr_assert_eq(rd_kafka_header_get_last(h, name, &got, &bytes), 0, "%s", name);
	cr_expect_eq(bytes, strlen(value));
	cr_expect_eq(memcmp(got, value, bytes), 0, "%s: %.*s", name, (int)bytes, (char *)got);
}

Test(kafka, json_message_carries_key_time_and_headers, .timeout = 60)
{
	struct world w;
	struct dp_message m;
	rd_kafka_message_t *got;

	open_world(&w);
	w.config.headers = true;
	open_output(&w);
	m = message(&w, SAMPLE_NUMBERED, "{\"a\":1}");
	m.kind = DP_REC_ALERT; /* the topic with one partition; the record is a reading's */
	m.record = sample_record(w.block, &w.s.set, SAMPLE_ALERT);
	cr_assert_eq(send_message(&w, &m), 0);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), 0);
	cr_assert_eq(w.delivered_count, 1);
	cr_expect_eq(w.delivered[0], m.cookie, "what came in comes back");
	got = consume(&w, "alerts", 0);
	cr_expect_eq(got->len, 7);
	cr_expect_eq(memcmp(got->payload, "{\"a\":1}", 7), 0);
	cr_expect_eq(got->key_len, 6);
	cr_expect_eq(memcmp(got->key, "pump-7", 6), 0);
	cr_expect_eq(rd_kafka_message_timestamp(got, NULL), SAMPLE_TIME_NS / 1000000);
	expect_header(got, "id", "0000000000000def0000000000000abc");
	expect_header(got, "kind", "alert");
	close_world(&w);
}

/* Bytes that are no text, in a topic of their own, under the key of the sensor's readings. */
Test(kafka, payload_goes_out_as_it_came, .timeout = 60)
{
	static const char payload[] = "PS\0\xff\n\"";
	struct dp_rec head = {.kind = DP_REC_RAW, .id_len = 6};
	struct world w;
	struct dp_message m;
	rd_kafka_message_t *got;

	open_world(&w);
	w.config.headers = true;
	open_output(&w);
	m = message(&w, SAMPLE_NUMBERED, "");
	m.payload = payload;
	m.payload_bytes = sizeof(payload);
	m.kind = DP_REC_RAW;
	m.record = &head;
	cr_assert_eq(send_message(&w, &m), 0);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), 0);
	got = consume(&w, "raw", 0);
	cr_assert_eq(got->len, sizeof(payload));
	cr_expect_eq(memcmp(got->payload, payload, sizeof(payload)), 0);
	cr_assert_eq(got->key_len, 6);
	cr_expect_eq(memcmp(got->key, "pump-7", 6), 0);
	cr_expect_eq(rd_kafka_message_timestamp(got, NULL), SAMPLE_TIME_NS / 1000000);
	expect_header(got, "kind", "raw");
	expect_header(got, "id", "0000000000000def0000000000000abc");
	close_world(&w);
}

Test(kafka, many_messages_are_all_reported, .timeout = 60)
{
	struct world w;
	bool seen[500] = {0};

	open_world(&w);
	open_output(&w);
	for (uint32_t i = 0; i < 500; i++) {
		struct dp_message m = message(&w, SAMPLE_NUMBERED, "{}");

		m.cookie = i;
		cr_assert_eq(send_message(&w, &m), 0);
	}
	cr_assert_eq(serve_until(&w, &w.delivered_count, 500), 0);
	cr_assert_eq(w.delivered_count, 500);
	for (uint32_t i = 0; i < 500; i++) {
		cr_assert_lt(w.delivered[i], 500);
		cr_assert_not(seen[w.delivered[i]]);
		seen[w.delivered[i]] = true;
	}
	close_world(&w);
}

/* A reader of blocks that meets one before its schema cannot read it. */
Test(kafka, packed_block_follows_its_schema, .timeout = 60)
{
	struct world w;
	struct dp_message m = {0};
	rd_kafka_message_t *got;
	struct dp_stream_set *set;
	char key[17];

	open_world(&w);
	w.config.form = DP_FORM_PACKED;
	w.config.headers = true;
	open_output(&w);
	m.payload = w.block;
	m.payload_bytes = w.block->bytes;
	m.key = "twelve bytes";
	m.key_bytes = 12;
	m.worker = 5;
	m.timestamp_ns = SAMPLE_TIME_NS;
	m.block = w.block;
	m.streams = &w.s.set;
	m.cookie = 77;
	cr_assert_eq(w.t.ops->send(w.t.ctx, &m), -EAGAIN, "the schema is not there yet");
	cr_assert_eq(send_message(&w, &m), 0);
	got = consume(&w, "readings-schemas", 0);
	snprintf(key, sizeof(key), "%016llx", (unsigned long long)w.block->schema_hash);
	cr_expect_eq(got->key_len, 16);
	cr_expect_eq(memcmp(got->key, key, 16), 0);
	cr_assert_eq(dp_schema_read(got->payload, got->len, &set), 0);
	cr_expect_eq(set->hash, w.block->schema_hash);
	dp_schema_free(set);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), 0);
	cr_expect_eq(w.delivered[0], 77);
	got = consume(&w, "readings", 5 % PARTITIONS); /* worker modulo partitions */
	cr_expect_eq(got->len, w.block->bytes);
	cr_expect_eq(memcmp(got->payload, w.block, got->len), 0);
	expect_header(got, "schema", key);
	expect_header(got, "worker", "5");
	close_world(&w);
}

Test(kafka, too_large_is_refused_for_good, .timeout = 60)
{
	char payload[2001];
	struct world w;
	struct dp_message m;

	open_world(&w);
	w.config.message_max_bytes = 1000;
	open_output(&w);
	memset(payload, 'x', 2000);
	payload[2000] = 0;
	m = message(&w, SAMPLE_NUMBERED, payload);
	cr_expect_eq(w.t.ops->send(w.t.ctx, &m), -EMSGSIZE);
	close_world(&w);
}

static void send_three(struct world *w)
{
	struct dp_message m = message(w, SAMPLE_NUMBERED, "{}");

	for (int i = 0; i < 3; i++)
		cr_assert_eq(send_message(w, &m), 0);
}

static void refuse_next(struct world *w)
{
	rd_kafka_mock_push_request_errors(
		w->cluster, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP);
}

/* A broker answers for a whole request: only a message that was alone in it is meant. */
Test(kafka, what_is_refused_by_itself_is_reported, .timeout = 60)
{
	struct world w;

	open_world(&w);
	open_output(&w);
	refuse_next(&w);
	send_three(&w);
	cr_assert_eq(serve_until(&w, &w.refused_count, 1), -EMSGSIZE);
	cr_expect_eq(w.refused_count, 0);
	cr_assert_eq(w.t.ops->reopen(w.t.ctx, &w.now, 3), 0);
	w.delivered_count = 0; /* what was delivered is sent again as well */
	refuse_next(&w);
	send_three(&w);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 2), 0);
	cr_assert_eq(serve_until(&w, &w.refused_count, 1), 0);
	cr_expect_eq(w.delivered_count, 2);
	cr_expect_eq(w.refused_count, 1);
	cr_expect(strstr(w.refused_why, "timestamp"), "%s", w.refused_why);
	close_world(&w);
}

Test(kafka, a_refused_request_is_sent_again_one_by_one, .timeout = 60)
{
	struct world w;
	char text[256];

	open_world(&w);
	open_output(&w);
	refuse_next(&w);
	send_three(&w);
	cr_assert_eq(serve_until(&w, &w.refused_count, 1), -EMSGSIZE);
	cr_expect_gt(w.t.ops->trouble(w.t.ctx, text, sizeof(text)), 0);
	cr_expect(strstr(text, "one by one"), "%s", text);
	cr_assert_eq(w.t.ops->reopen(w.t.ctx, &w.now, 3), 0);
	w.delivered_count = 0;
	for (uint32_t i = 1; i <= 3; i++) { /* the last ones by a producer that batches again */
		send_three(&w);
		cr_assert_eq(serve_until(&w, &w.delivered_count, 3 * i), 0);
	}
	cr_expect_eq(w.delivered_count, 9);
	cr_expect_eq(w.refused_count, 0);
	close_world(&w);
}

/* No such topic, no right to it: all of it again later, so that the order holds. */
Test(kafka, other_failures_break_and_reopen_mends, .timeout = 60)
{
	struct world w;
	struct dp_message m;
	char text[256];

	open_world(&w);
	open_output(&w);
	rd_kafka_mock_push_request_errors(
		w.cluster, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	m = message(&w, SAMPLE_NUMBERED, "{}");
	cr_assert_eq(send_message(&w, &m), 0);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), -ENXIO);
	cr_expect_eq(w.delivered_count, 0);
	cr_expect_gt(w.t.ops->trouble(w.t.ctx, text, sizeof(text)), 0);
	cr_expect(strstr(text, "readings"), "%s", text);
	cr_assert_eq(w.t.ops->reopen(w.t.ctx, &w.now, 3), 0);
	cr_assert_eq(send_message(&w, &m), 0);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), 0);
	cr_expect_eq(w.delivered_count, 1);
	w.t.ops->trouble(w.t.ctx, text, sizeof(text));
	cr_expect_str_eq(text, "");
	close_world(&w);
}

Test(kafka, broker_down_at_start_is_no_error, .timeout = 60)
{
	struct world w;
	struct dp_message m;
	char text[256] = "";

	open_world(&w);
	rd_kafka_mock_broker_set_down(w.cluster, 1);
	open_output(&w);
	m = message(&w, SAMPLE_NUMBERED, "{}");
	cr_assert_eq(send_message(&w, &m), 0);
	for (int i = 0; i < 100 && !text[0]; i++) {
		const struct dp_report_sink sink = {take_report, &w};

		cr_assert_eq(w.t.ops->serve(w.t.ctx, &w.now, &sink), 0);
		w.t.ops->trouble(w.t.ctx, text, sizeof(text));
		poll(NULL, 0, 50);
	}
	cr_expect_neq(text[0], 0, "the operator sees why nothing moves");
	rd_kafka_mock_broker_set_up(w.cluster, 1);
	cr_assert_eq(serve_until(&w, &w.delivered_count, 1), 0);
	cr_expect_eq(w.delivered_count, 1);
	close_world(&w);
}

Test(kafka, properties_are_checked)
{
	static const struct {
		struct dp_kafka_property p;
		const char *why;
	} t[] = {{{"no.such.thing", "1"}, "no.such.thing"},
		{{"batch.num.messages", "rar"}, "batch.num.messages"},
		{{"acks", "1"}, "delivery depends on it"},
		{{"compression.type", "lz4"}, "set by penstock"},
		{{"enable.idempotence", "false"}, "delivery depends on it"},
		{{"max.in.flight", "100"}, "max.in.flight"}};
	struct dp_kafka_property good = {"batch.num.messages", "100"};
	struct dp_kafka_config config = {.brokers = "localhost:1",
		.topic = "t",
		.form = DP_FORM_JSON,
		.partition = DP_KAFKA_BY_SENSOR,
		.linger_ns = 1500000,
		.compression = "lz4",
		.message_max_bytes = 1000,
		.properties = &good,
		.property_count = 1};
	char why[256] = "";

	cr_expect_eq(dp_kafka_check_properties(&config, why, sizeof(why)), 0, "%s", why);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		config.properties = &t[i].p;
		cr_expect_eq(dp_kafka_check_properties(&config, why, sizeof(why)), -EINVAL, "%s",
			t[i].p.key);
		cr_expect(strstr(why, t[i].why), "%s", why);
	}
}
