/*
 * penstock-ktool: what the system tests ask of a broker, without a Java start for each question.
 *
 *   penstock-ktool BROKERS ready SECONDS
 *   penstock-ktool BROKERS create TOPIC PARTITIONS [name=value ...]
 *   penstock-ktool BROKERS delete TOPIC
 *   penstock-ktool BROKERS ends TOPIC                       "partition offset" lines
 *   penstock-ktool BROKERS write TOPIC PARTITION KEY        one message, its value from stdin
 *   penstock-ktool BROKERS read TOPIC committed|uncommitted frames to stdout
 *
 * A frame is safe for any bytes, little endian, -1 for an absent key, value or header value:
 *   i32 partition | i64 offset | i64 time in ms | i32 key | i32 value | u32 headers | key | value |
 *   per header: i32 name | i32 value | name | value        (i32: lengths in bytes)
 *
 * Exit status 0, or 1 with a line on stderr.
 */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 15000, VALUE_BYTES_MAX = 900000 };

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "penstock-ktool: %s: %s\n", what, why);
	return 1;
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char error[256];

	if (rd_kafka_conf_set(conf, key, value, error, sizeof(error)) != RD_KAFKA_CONF_OK) {
		fail(key, error);
		exit(1);
	}
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers, const char *isolation)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char error[256];
	rd_kafka_t *rk;

	set(conf, "bootstrap.servers", brokers);
	set(conf, "log_level", "0");
	set(conf, "reconnect.backoff.ms", "50");
	if (type == RD_KAFKA_CONSUMER) {
		set(conf, "group.id", "penstock-ktool");
		set(conf, "enable.auto.commit", "false");
		set(conf, "enable.partition.eof", "true");
		set(conf, "isolation.level", isolation);
		set(conf, "fetch.wait.max.ms", "10");
	}
	rk = rd_kafka_new(type, conf, error, sizeof(error));
	if (!rk) {
		fail("client", error);
		exit(1);
	}
	return rk;
}

static int ready(rd_kafka_t *rk, int timeout_ms)
{
	const struct rd_kafka_metadata *meta;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, NULL, &meta, timeout_ms);

	if (err)
		return fail("metadata", rd_kafka_err2str(err));
	rd_kafka_metadata_destroy(meta);
	return 0;
}

static int create_result(rd_kafka_queue_t *queue, const char *topic)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
	const rd_kafka_topic_result_t **results;
	size_t count = 0;
	int rc = 0;

	if (!event)
		return fail(topic, "no answer");
	if (rd_kafka_event_error(event)) {
		rc = fail(topic, rd_kafka_event_error_string(event));
	} else {
		results = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &count);
		if (count != 1 || rd_kafka_topic_result_error(results[0]))
			rc = fail(topic, count ? rd_kafka_topic_result_error_string(results[0])
					       : "empty answer");
	}
	rd_kafka_event_destroy(event);
	return rc;
}

static int create(rd_kafka_t *rk, const char *topic, int partitions, char **settings)
{
	rd_kafka_NewTopic_t *wanted;
	rd_kafka_AdminOptions_t *options;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	char error[256], *value;
	int rc;

	wanted = rd_kafka_NewTopic_new(topic, partitions, 1, error, sizeof(error));
	if (!wanted) {
		rd_kafka_queue_destroy(queue);
		return fail(topic, error);
	}
	for (; *settings; settings++) {
		value = strchr(*settings, '=');
		if (!value)
			continue;
		*value++ = '\0';
		rd_kafka_NewTopic_set_config(wanted, *settings, value);
	}
	options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_AdminOptions_set_operation_timeout(options, TIMEOUT_MS, error, sizeof(error));
	rd_kafka_CreateTopics(rk, &wanted, 1, options, queue);
	rc = create_result(queue, topic);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(wanted);
	rd_kafka_queue_destroy(queue);
	return rc;
}

static int remove_topic(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_DeleteTopic_t *wanted = rd_kafka_DeleteTopic_new(topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	const rd_kafka_topic_result_t **results;
	rd_kafka_event_t *event;
	size_t count = 0;
	int rc = 0;

	rd_kafka_DeleteTopics(rk, &wanted, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
	if (!event || rd_kafka_event_error(event)) {
		rc = fail(topic, event ? rd_kafka_event_error_string(event) : "no answer");
	} else {
		results = rd_kafka_DeleteTopics_result_topics(
			rd_kafka_event_DeleteTopics_result(event), &count);
		if (count != 1 || rd_kafka_topic_result_error(results[0]))
			rc = fail(topic, count ? rd_kafka_topic_result_error_string(results[0])
					       : "empty answer");
	}
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(wanted);
	rd_kafka_queue_destroy(queue);
	return rc;
}

/* Partitions of a topic, or -1 with a message. */
static int partition_count(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *meta;
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, handle, &meta, TIMEOUT_MS);
	int count = -1;

	if (!err) {
		err = meta->topics[0].err;
		count = err ? -1 : meta->topics[0].partition_cnt;
		rd_kafka_metadata_destroy(meta);
	}
	if (err)
		fail(topic, rd_kafka_err2str(err));
	rd_kafka_topic_destroy(handle);
	return count;
}

static int ends(rd_kafka_t *rk, const char *topic)
{
	int count = partition_count(rk, topic);
	int64_t low, high;
	rd_kafka_resp_err_t err;

	for (int i = 0; i < count; i++) {
		err = rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high, TIMEOUT_MS);
		if (err)
			return fail(topic, rd_kafka_err2str(err));
		printf("%d %lld\n", i, (long long)high);
	}
	return count < 0;
}

static int write_one(rd_kafka_t *rk, const char *topic, int partition, const char *key)
{
	char *value = malloc(VALUE_BYTES_MAX);
	rd_kafka_resp_err_t err;
	size_t len;

	if (!value)
		return fail(topic, "out of memory");
	len = fread(value, 1, VALUE_BYTES_MAX, stdin);
	err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
		RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(value, len), RD_KAFKA_V_END);
	if (!err)
		err = rd_kafka_flush(rk, TIMEOUT_MS);
	free(value);
	return err ? fail(topic, rd_kafka_err2str(err)) : 0;
}

static void put(const void *bytes, size_t len)
{
	if (len && fwrite(bytes, 1, len, stdout) != len) {
		fail("stdout", "write failed");
		exit(1);
	}
}

static void put_i32(int32_t v)
{
	put(&v, sizeof(v));
}

static void put_message(const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_timestamp_type_t type;
	int64_t time_ms = rd_kafka_message_timestamp(m, &type), offset = m->offset;
	const char *name;
	const void *value;
	size_t len;

	rd_kafka_message_headers(m, &headers);
	put_i32(m->partition);
	put(&offset, sizeof(offset));
	put(&time_ms, sizeof(time_ms));
	put_i32(m->key ? (int32_t)m->key_len : -1);
	put_i32(m->payload ? (int32_t)m->len : -1);
	put_i32(headers ? (int32_t)rd_kafka_header_cnt(headers) : 0);
	put(m->key, m->key_len);
	put(m->payload, m->len);
	for (size_t i = 0; headers && !rd_kafka_header_get_all(headers, i, &name, &value, &len);
		i++) {
		put_i32((int32_t)strlen(name));
		put_i32(value ? (int32_t)len : -1);
		put(name, strlen(name));
		put(value, len);
	}
}

/* Polls until each partition has told its end once. */
static int read_to_ends(rd_kafka_t *rk, const char *topic, int partitions)
{
	bool *ended = calloc((size_t)partitions, sizeof(*ended));
	int left = partitions, rc = 0;
	rd_kafka_message_t *m;

	if (!ended)
		return fail(topic, "out of memory");
	while (left > 0 && !rc) {
		m = rd_kafka_consumer_poll(rk, TIMEOUT_MS);
		if (!m) {
			rc = fail(topic, "no answer");
			break;
		}
		if (!m->err && !ended[m->partition]) {
			put_message(m);
		} else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			left -= !ended[m->partition];
			ended[m->partition] = true;
		} else if (m->err) {
			rc = fail(topic, rd_kafka_message_errstr(m));
		}
		rd_kafka_message_destroy(m);
	}
	free(ended);
	return rc;
}

static int read_all(rd_kafka_t *rk, const char *topic)
{
	int count = partition_count(rk, topic), rc;
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t err;

	if (count < 0)
		return 1;
	list = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_poll_set_consumer(rk);
	err = rd_kafka_assign(rk, list);
	rc = err ? fail(topic, rd_kafka_err2str(err)) : read_to_ends(rk, topic, count);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_consumer_close(rk);
	return rc;
}

static int run(int argc, char **argv)
{
	const char *verb = argv[2];
	bool reads = !strcmp(verb, "read");
	const char *isolation = reads && argc > 4 && !strcmp(argv[4], "committed")
					? "read_committed"
					: "read_uncommitted";
	rd_kafka_t *rk = client(reads ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, argv[1], isolation);
	int rc;

	if (!strcmp(verb, "ready"))
		rc = ready(rk, (int)(atof(argv[3]) * 1000));
	else if (!strcmp(verb, "create") && argc > 4)
		rc = create(rk, argv[3], atoi(argv[4]), argv + 5);
	else if (!strcmp(verb, "delete"))
		rc = remove_topic(rk, argv[3]);
	else if (!strcmp(verb, "ends"))
		rc = ends(rk, argv[3]);
	else if (!strcmp(verb, "write") && argc > 5)
		rc = write_one(rk, argv[3], atoi(argv[4]), argv[5]);
	else if (reads)
		rc = read_all(rk, argv[3]);
	else
		rc = fail(verb, "unknown verb");
	rd_kafka_destroy(rk);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return fail("usage", "BROKERS ready|create|delete|ends|write|read ...");
	if (run(argc, argv) != 0 || fflush(stdout) != 0)
		return 1;
	return 0;
}
