/* A Kafka output's part of the config, as its transport takes it. */
#pragma once

#include "control/config/config.h"
#include "dataplane/egress/kafka.h"

struct ctl_kafka_given {
	struct dp_kafka_config config; /* points into the rest, and into the ctl_config */
	struct dp_kafka_property *properties;
};

/* Zero-initialised may be freed. 0 or -ENOMEM. *out stays where it is while `config` is used. */
int ctl_kafka_give(const struct ctl_output *output, struct ctl_kafka_given *out);
void ctl_kafka_free(struct ctl_kafka_given *given);

/*
 * Asks librdkafka what only it knows: whether it takes the properties of all Kafka outputs. 0, or
 * -EINVAL with an error for each output added. Opens no connection.
 */
int ctl_kafka_check(const struct ctl_config *config, struct ctl_errors *errors);
