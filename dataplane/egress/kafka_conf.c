/* What the Kafka output asks of librdkafka, and what it lets the operator change. */
#include "dataplane/egress/kafka_conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/egress/volley.h"

/* A config that sets one is refused. Without a key: delivery depends on it. */
static const struct {
	const char *property, *key;
} reserved[] = {
	{"acks", NULL},
	{"bootstrap.servers", "brokers"},
	{"compression.codec", "compression"},
	{"compression.type", "compression"},
	{"delivery.report.only.error", NULL},
	{"delivery.timeout.ms", NULL},
	{"enable.gapless.guarantee", NULL},
	{"enable.idempotence", NULL},
	{"linger.ms", "linger"},
	{"log.queue", NULL},
	{"max.in.flight", NULL},
	{"max.in.flight.requests.per.connection", NULL},
	{"message.max.bytes", "message_max"},
	{"message.send.max.retries", NULL},
	{"message.timeout.ms", NULL},
	{"metadata.broker.list", "brokers"},
	{"partitioner", "partition"},
	{"queue.buffering.max.kbytes", NULL},
	{"queue.buffering.max.messages", NULL},
	{"queue.buffering.max.ms", "linger"},
	{"queuing.strategy", NULL},
	{"request.required.acks", NULL},
	{"retries", NULL},
	{"transactional.id", NULL},
};

bool dp_kafka_reserved(const char *property, const char **key)
{
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(property, reserved[i].property) != 0)
			continue;
		*key = reserved[i].key;
		return true;
	}
	return false;
}

static int32_t by_worker(const rd_kafka_topic_t *topic, const void *key, size_t key_bytes,
	int32_t partitions, void *topic_opaque, void *opaque)
{
	(void)topic;
	(void)key;
	(void)key_bytes;
	(void)topic_opaque;
	return (int32_t)((uint64_t)(uintptr_t)opaque >> DP_KAFKA_WORKER_SHIFT) % partitions;
}

static bool set(rd_kafka_conf_t *conf, const struct dp_kafka_property *p, char *why, size_t size)
{
	char text[256];

	if (rd_kafka_conf_set(conf, p->key, p->value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
		return true;
	snprintf(why, size, "kafka property %s: %s", p->key, text);
	return false;
}

static bool set_all(rd_kafka_conf_t *conf, const struct dp_kafka_property *p, size_t count,
	char *why, size_t size)
{
	for (size_t i = 0; i < count; i++)
		if (!set(conf, &p[i], why, size))
			return false;
	return true;
}

static bool set_users(
	rd_kafka_conf_t *conf, const struct dp_kafka_config *config, char *why, size_t size)
{
	for (uint32_t i = 0; i < config->property_count; i++) {
		const char *property = config->properties[i].key, *key;

		if (!dp_kafka_reserved(property, &key))
			continue;
		snprintf(why, size, "kafka property %s: set by penstock, delivery depends on it",
			property);
		return false;
	}
	return set_all(conf, config->properties, config->property_count, why, size);
}

static bool set_batches(
	rd_kafka_conf_t *conf, const struct dp_refusal *refusal, char *why, size_t size)
{
	char bytes[32];
	const struct dp_kafka_property one = {"batch.num.messages", "1"};
	const struct dp_kafka_property smaller = {"batch.size", bytes};

	snprintf(bytes, sizeof(bytes), "%" PRIu32, refusal->batch_bytes);
	return (!refusal->alone || set(conf, &one, why, size)) &&
	       (!refusal->batch_bytes || set(conf, &smaller, why, size));
}

rd_kafka_conf_t *dp_kafka_conf(const struct dp_kafka_config *config,
	const struct dp_refusal *refusal, bool with_brokers, char *why, size_t size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *linger = config->form == DP_FORM_PACKED ? "0" : DP_VOLLEY_LINGER_MS;
	char message_max[32];
	const struct dp_kafka_property defaults[] = {
		{"client.id", "penstock"},
		{"partitioner", "murmur2_random"},
		/* A missing topic is told after 5 s, not 30; one that appears is still found. */
		{"topic.metadata.propagation.max.ms", "5000"},
	};
	/* The output's own window bounds what is on its way; librdkafka's limits must not. */
	const struct dp_kafka_property ours[] = {
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"message.timeout.ms", "0"},
		{"queue.buffering.max.messages", "10000000"},
		{"queue.buffering.max.kbytes", "2097151"},
		{"linger.ms", linger},
		{"log.queue", "true"},
	};
	const struct dp_kafka_property brokers = {"bootstrap.servers", config->brokers};
	const struct dp_kafka_property max = {"message.max.bytes", message_max};
	const struct dp_kafka_property compression = {"compression.type", config->compression};

	snprintf(message_max, sizeof(message_max), "%" PRIu64, config->message_max_bytes);
	if (!set_all(conf, defaults, sizeof(defaults) / sizeof(defaults[0]), why, size) ||
		!set_users(conf, config, why, size) ||
		!set_all(conf, ours, sizeof(ours) / sizeof(ours[0]), why, size) ||
		(config->message_max_bytes && !set(conf, &max, why, size)) ||
		(refusal && !set_batches(conf, refusal, why, size)) ||
		(config->compression && !set(conf, &compression, why, size)) ||
		(with_brokers && !set(conf, &brokers, why, size))) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	/* There is one by now: "acks" is a property of topics. */
	if (config->form == DP_FORM_PACKED || config->partition == DP_KAFKA_BY_WORKER)
		rd_kafka_topic_conf_set_partitioner_cb(
			rd_kafka_conf_get_default_topic_conf(conf), by_worker);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
					       RD_KAFKA_EVENT_LOG |
					       RD_KAFKA_EVENT_CREATETOPICS_RESULT);
	return conf;
}

int dp_kafka_check_properties(const struct dp_kafka_config *config, char *why, size_t size)
{
	rd_kafka_conf_t *conf = dp_kafka_conf(config, NULL, false, why, size);
	char text[256];
	rd_kafka_t *rk;

	if (!conf)
		return -EINVAL;
	/* What only fails in combination comes out here. */
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!rk) {
		snprintf(why, size, "kafka: %s", text);
		rd_kafka_conf_destroy(conf);
		return -EINVAL;
	}
	rd_kafka_destroy(rk);
	return 0;
}
