/*
 * The Kafka output by librdkafka: idempotent, acks=all, messages never expire; one producer at a
 * time, thrown away and built anew after a fatal error.  A broker that is down is no error, only a
 * producer that reports nothing yet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/egress/egress.h"

/* Both keep the order within a partition; what they promise is an order per sensor, or per worker.
 */
enum dp_kafka_partition {
	DP_KAFKA_BY_SENSOR = 1, /* murmur2 of the key, as Java clients do; JSON only */
	DP_KAFKA_BY_WORKER,	/* worker modulo partitions */
};

struct dp_kafka_property {
	const char *key, *value; /* as in librdkafka's CONFIGURATION.md */
};

/* All strings stay the caller's and outlive the transport. */
struct dp_kafka_config {
	const char *brokers; /* host:port, comma separated */
	const char *topic;
	const char *kind_topic[DP_REC_KINDS]; /* JSON: by kind; NULL: topic */
	enum dp_output_form form;
	enum dp_kafka_partition partition; /* packed: always by worker */
	bool headers;			   /* identity as message headers too: docs/record.md */
	int64_t linger_ns;
	const char *compression;		    /* NULL: librdkafka's default */
	uint64_t message_max_bytes;		    /* 0: librdkafka's default */
	const struct dp_kafka_property *properties; /* of the operator */
	uint32_t property_count;
};

/*
 * True: Penstock sets this property itself, or delivery depends on it; *key: the config key that
 * sets it, NULL when none does.
 */
bool dp_kafka_reserved(const char *property, const char **key);

/*
 * Says whether a producer can be made of this, without any traffic. 0, or -EINVAL with the reason,
 * which names the property, in `why`.
 */
int dp_kafka_check_properties(const struct dp_kafka_config *config, char *why, size_t size);

/* Called on a thread that is not pinned: librdkafka's threads inherit its mask. As above. */
int dp_kafka_new(
	const struct dp_kafka_config *config, struct dp_transport *out, char *why, size_t size);
