/* Kafka outputs: from the config's own keys to librdkafka's properties. */
#include "control/config/kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHY_BYTES = 256 };

static const char *compression_name(enum ctl_compression c)
{
	static const char *const names[] = {[CTL_COMPRESS_NONE] = "none",
		[CTL_COMPRESS_GZIP] = "gzip",
		[CTL_COMPRESS_SNAPPY] = "snappy",
		[CTL_COMPRESS_LZ4] = "lz4",
		[CTL_COMPRESS_ZSTD] = "zstd"};

	return names[c];
}

static int give_properties(const struct ctl_kafka *k, struct ctl_kafka_given *out)
{
	struct dp_kafka_property *p = calloc(k->property_count + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	for (uint32_t i = 0; i < k->property_count; i++)
		p[i] = (struct dp_kafka_property){k->properties[i].name, k->properties[i].value};
	out->properties = p;
	out->config.properties = p;
	out->config.property_count = k->property_count;
	return 0;
}

int ctl_kafka_give(const struct ctl_output *output, struct ctl_kafka_given *out)
{
	const struct ctl_kafka *k = &output->kafka;

	out->config = (struct dp_kafka_config){.brokers = k->brokers,
		.topic = k->topic,
		.form = k->format == CTL_KAFKA_PACKED ? DP_FORM_PACKED : DP_FORM_JSON,
		.partition = k->partition == CTL_PARTITION_BY_WORKER ? DP_KAFKA_BY_WORKER
								     : DP_KAFKA_BY_SENSOR,
		.headers = k->headers,
		.compression = k->compression ? compression_name(k->compression) : NULL,
		.message_max_bytes = k->message_max_bytes,
		.linger_ns = k->linger_ns};
	memcpy(out->config.kind_topic, k->topics.kind, sizeof(out->config.kind_topic));
	/* where each kind that is taken has its own, the topic of the others is never used */
	for (int kind = 1; kind < DP_REC_KINDS && !out->config.topic; kind++)
		out->config.topic = k->topics.kind[kind];
	return give_properties(k, out);
}

void ctl_kafka_free(struct ctl_kafka_given *given)
{
	free(given->properties);
	given->properties = NULL;
}

int ctl_kafka_check(const struct ctl_config *config, struct ctl_errors *errors)
{
	int rc = 0;

	for (uint32_t i = 0; i < config->output_count; i++) {
		struct ctl_kafka_given given = {0};
		char why[WHY_BYTES] = "", key[40];

		if (config->outputs[i].type != CTL_OUTPUT_KAFKA)
			continue;
		if (ctl_kafka_give(&config->outputs[i], &given) ||
			dp_kafka_check_properties(&given.config, why, sizeof(why))) {
			const struct ctl_place *at = &config->outputs[i].kafka.given;

			snprintf(key, sizeof(key), "outputs[%u]", i);
			ctl_errors_add(errors, config->file, at->line, at->column, key, "%s", why);
			rc = -EINVAL;
		}
		ctl_kafka_free(&given);
	}
	return rc;
}
