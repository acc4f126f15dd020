/*
 * The fake broker: a transport whose messages wait, are stored, and are reported some time later;
 * in order within a partition, anyhow across.  It is full, refuses, breaks, goes away; what was on
 * its way when it broke may have been stored or not.
 */
#pragma once

#include "dataplane/egress/egress.h"
#include "tests/sim/config.h"

struct oracle;

struct sim_message {
	uint64_t cookie, payload;
	uint32_t first, count; /* records, as the oracle numbers them */
	int64_t stored_due_ns, report_due_ns;
	bool stored, refused;
};

struct sim_partition {
	struct sim_message *list;
	uint32_t head, tail, max;
};

struct sim_broker {
	struct sim *sim;
	const struct sim_config *config;
	const struct sim_output_config *output;
	uint32_t index;
	struct oracle *oracle;
	struct sim_partition partitions[SIM_PARTITIONS];
	bool broken;
	int64_t outage_until_ns;
	uint32_t generation; /* of producers */
};

struct sim_broker *sim_broker_new(
	struct sim *s, const struct sim_config *c, uint32_t index, struct oracle *o);
void sim_broker_free(struct sim_broker *b);

struct dp_transport sim_broker_transport(struct sim_broker *b);

/* The producer's process has ended. */
void sim_broker_crash(struct sim_broker *b);

/* Is the message whose (first) record has that id one that is refused for good? */
bool sim_broker_refuses(const struct sim_output_config *o, const uint64_t id[2]);
