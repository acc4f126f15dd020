/* Of kafka.c alone: its config as librdkafka takes it. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "dataplane/egress/kafka.h"
#include "dataplane/egress/refusal.h"

/* Message opaques: the cookie, and above it the worker for the partitioner. */
enum { DP_KAFKA_WORKER_SHIFT = 56 };

/*
 * NULL with the reason in `why`. refusal: bounds what a request holds; NULL: the config alone does.
 * with_brokers: false leaves them out, so that nothing connects.
 */
rd_kafka_conf_t *dp_kafka_conf(const struct dp_kafka_config *config,
	const struct dp_refusal *refusal, bool with_brokers, char *why, size_t size);
