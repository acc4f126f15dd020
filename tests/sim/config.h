/* What a seed's appliance is like: streams, journal, outputs, how often what fails. */
#pragma once

#include "dataplane/core/stream.h"
#include "dataplane/egress/egress.h"
#include "dataplane/journal/writer.h"
#include "dataplane/rx/rx.h"
#include "dataplane/score/plan.h"
#include "tests/sim/disk.h"
#include "tests/unit/linear_model.h"

enum {
	SIM_STREAMS_MAX = 3,
	SIM_FIELDS_MAX = 4,
	SIM_TAGS_MAX = 2,
	SIM_WINDOWS_MAX = 3,
	SIM_RULES_MAX = 5,
	SIM_SENSORS_MAX = 64, /* per stream */
	SIM_OUTPUTS_MAX = 3,
	SIM_WORKERS_MAX = 4,
	SIM_PARTITIONS = 3,
};

enum sim_output_kind { SIM_FILE, SIM_BROKER_JSON, SIM_BROKER_PACKED };

struct sim_output_config {
	enum sim_output_kind kind;
	struct dp_output_config config;
	uint64_t rotate_bytes;
	bool refuses; /* the broker refuses some records for good */
};

struct sim_config {
	struct dp_stream_set set;
	struct dp_stream streams[SIM_STREAMS_MAX];
	struct dp_field fields[SIM_STREAMS_MAX][SIM_FIELDS_MAX];
	struct dp_tag tags[SIM_STREAMS_MAX][SIM_TAGS_MAX];
	struct dp_window_def windows[SIM_STREAMS_MAX][SIM_WINDOWS_MAX];
	struct dp_rule rules[SIM_STREAMS_MAX][SIM_RULES_MAX];
	struct linear_stream linear[SIM_STREAMS_MAX]; /* a model of that stream, or none */
	struct dp_plan *plans[SIM_STREAMS_MAX];
	struct dp_input inputs[1 + SIM_STREAMS_MAX]; /* binary, then JSON of each stream */
	struct dp_journal_config journal;
	struct sim_faults faults;
	uint64_t capacity;
	int64_t linger_ns;
	uint64_t ring_bytes;
	uint32_t new_sensors_per_s;
	uint32_t sensors; /* per stream */
	bool flood;	  /* they send much more than usual */
	bool frees;	  /* old segments may go */
	uint32_t lives;
	uint32_t power_cuts; /* per 10,000 ends */
	struct sim_output_config outputs[SIM_OUTPUTS_MAX];
	uint32_t output_count;
	/* network, per 10,000 */
	uint32_t loss, duplicate, delay, bad;
	/* broker, per 10,000 */
	uint32_t broker_full, broker_break, outage;
};

/* What is older than this, no sensor of a seed that frees needs any more. */
#define SIM_FLOOR_NS (75 * DP_NS_PER_S)

void sim_config_make(struct sim_config *c, struct sim *s);
void sim_config_free(struct sim_config *c);

/* What a stream's model sums up: the first field, and how the second went. */
enum sim_model_input { SIM_MODEL_V, SIM_MODEL_DELTA, SIM_MODEL_COUNT, SIM_MODEL_INPUTS };
