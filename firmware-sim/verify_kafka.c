/*
 * Records from a Kafka topic: all partitions from the ends that they have at the start, by
 * assignment, without a consumer group.
 */
#include "firmware-sim/verify.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 50, ASK_MS = 10000, MESSAGES = 1000 };

struct kafka_source {
	struct fws_source base;
	rd_kafka_t *consumer;
	rd_kafka_queue_t *queue;
	rd_kafka_message_t *messages[MESSAGES];
};

static int set_all(rd_kafka_conf_t *conf, const char *brokers)
{
	const char *const settings[][2] = {
		{"bootstrap.servers", brokers},
		{"group.id", "penstock-sim"}, /* never joined; assign() wants one */
		{"enable.auto.commit", "false"},
		{"isolation.level", "read_committed"},
		{"fetch.wait.max.ms", "5"}, /* else up to 500 ms of our own show as latency */
		{"auto.offset.reset", "earliest"},
		{"enable.partition.eof", "true"}, /* says that fetching has begun */
		{"log_level", "3"},
	};
	char why[256];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)))
			return -EINVAL;
	return 0;
}

/*
 * Until each of `left` partitions has told its end: a consumer that is still connecting would show
 * as latency of the first second.
 */
static int wait_for_fetching(rd_kafka_t *consumer, int left)
{
	for (int waited_ms = 0; left > 0 && waited_ms < ASK_MS; waited_ms += POLL_MS) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, POLL_MS);

		if (!m)
			continue;
		left -= m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
		rd_kafka_message_destroy(m);
	}
	return left > 0 ? -ETIMEDOUT : 0;
}

/* Every partition of the topic at its end. */
static int assign_ends(rd_kafka_t *consumer, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
	const struct rd_kafka_metadata *meta = NULL;
	rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(8);
	int rc = topic && !rd_kafka_metadata(consumer, 0, topic, &meta, ASK_MS) ? 0 : -ENOENT;

	if (!rc && (meta->topic_cnt != 1 || meta->topics[0].partition_cnt < 1))
		rc = -ENOENT;
	for (int i = 0; !rc && i < meta->topics[0].partition_cnt; i++) {
		int32_t id = meta->topics[0].partitions[i].id;
		int64_t low, high;

		if (rd_kafka_query_watermark_offsets(consumer, name, id, &low, &high, ASK_MS))
			rc = -ENOENT;
		else
			rd_kafka_topic_partition_list_add(parts, name, id)->offset = high;
	}
	if (!rc && rd_kafka_assign(consumer, parts))
		rc = -EIO;
	if (!rc)
		rc = wait_for_fetching(consumer, parts->cnt);
	rd_kafka_topic_partition_list_destroy(parts);
	if (meta)
		rd_kafka_metadata_destroy(meta);
	if (topic)
		rd_kafka_topic_destroy(topic);
	return rc;
}

/* When the broker took it: known to the millisecond where the topic stamps it so. */
static int64_t append_ns(const rd_kafka_message_t *m)
{
	rd_kafka_timestamp_type_t type;
	int64_t ms = rd_kafka_message_timestamp(m, &type);

	return type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && ms > 0 ? ms * FWS_NS_PER_MS : 0;
}

static int kafka_poll(struct fws_source *s, fws_take_record *take, void *arg)
{
	struct kafka_source *k = (struct kafka_source *)s;
	ssize_t n = rd_kafka_consume_batch_queue(k->queue, POLL_MS, k->messages, 1);

	/* A batch call waits until the batch is full: first one, then what else is there. */
	if (n == 1) {
		ssize_t more =
			rd_kafka_consume_batch_queue(k->queue, 0, k->messages + 1, MESSAGES - 1);

		n += more > 0 ? more : 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		const rd_kafka_message_t *m = k->messages[i];

		if (!m->err)
			take(arg, m->payload, m->len, append_ns(m));
		rd_kafka_message_destroy(k->messages[i]);
	}
	return 0;
}

static void kafka_close(struct fws_source *s)
{
	struct kafka_source *k = (struct kafka_source *)s;

	if (k->queue)
		rd_kafka_queue_destroy(k->queue);
	if (k->consumer) {
		rd_kafka_consumer_close(k->consumer);
		rd_kafka_destroy(k->consumer);
	}
	free(k);
}

int fws_source_kafka(struct fws_source **out, const char *where)
{
	const char *slash = strrchr(where, '/');
	struct kafka_source *k = calloc(1, sizeof(*k));
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char brokers[1024], why[256];
	int rc = k ? 0 : -ENOMEM;

	if (!rc && (!slash || slash == where || (size_t)(slash - where) >= sizeof(brokers)))
		rc = -EINVAL;
	if (!rc) {
		snprintf(brokers, sizeof(brokers), "%.*s", (int)(slash - where), where);
		rc = set_all(conf, brokers);
	}
	if (!rc)
		k->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	if (rc || !k->consumer) {
		rd_kafka_conf_destroy(conf);
		free(k);
		return rc ? rc : -EINVAL;
	}
	k->base = (struct fws_source){.poll = kafka_poll, .close = kafka_close};
	rd_kafka_poll_set_consumer(k->consumer);
	k->queue = rd_kafka_queue_get_consumer(k->consumer);
	rc = k->queue ? assign_ends(k->consumer, slash + 1) : -EIO;
	if (rc)
		kafka_close(&k->base);
	else
		*out = &k->base;
	return rc;
}
