/* Of kafka.c alone: its config as librdkafka takes it. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "dataplane/egress/kafka.h"

/* Message opaques: the cookie, and above it the worker for the partitioner. */
enum { DP_KAFKA_WORKER_SHIFT = 56 };

/* NULL with the reason in `why`. with_brokers: false leaves them out, so that nothing connects. */
rd_kafka_conf_t *dp_kafka_conf(
	const struct dp_kafka_config *config, bool with_brokers, char *why, size_t size);
