/*
 * What must be true.  Sees every block as the worker seals it, every block that outputs may read,
 * every block that a start finds again, everything that reaches an output, and knows what was sent.
 *
 *   oracle.c         blocks and records: nothing durable lost, doubled, reordered or changed
 *   oracle_sensor.c  per sensor: order of arrival, windows against a naive recomputation, alerts
 *   oracle_output.c  what brokers and files hold; the ledger
 */
#pragma once

#include "dataplane/journal/reader.h"
#include "tests/sim/map.h"
#include "tests/sim/net.h"

enum oracle_state {
	ORACLE_SEALED,	 /* by a worker; no more is known */
	ORACLE_READABLE, /* in the log, outputs may have it */
	ORACLE_FOUND,	 /* a start has found it in the log */
	ORACLE_FREED,	 /* was in the log; its segment has gone */
	ORACLE_LOST,	 /* a start has not found it: it must never come back */
};

struct oracle_block {
	uint64_t epoch, sequence, lp;
	uint32_t worker, bytes;
	uint64_t hash; /* of its records */
	uint32_t first, count, readings;
	enum oracle_state state;
	bool promised;	/* was durable: no end of a process may take it */
	uint32_t start; /* the latest start that found it */
	uint8_t *copy;	/* for the models of the sensors after a start */
};

struct oracle_record {
	uint64_t id[2];
	uint64_t hash;
	uint32_t block, index;
	uint32_t sensor;  /* index in the network's list; UINT32_MAX: of none */
	uint32_t reading; /* its number; UINT32_MAX: not a reading */
	uint8_t kind;
	bool again; /* one of the same id was there before, and is lost or freed */
};

struct oracle_kept { /* a reading of a sensor's present life */
	uint32_t reading;
	int64_t event_ns;
	int64_t from[SIM_WINDOWS_MAX]; /* first window that it is in; INT64_MAX: late for all */
	bool unjudged;		       /* what was closed before it is freed */
};

struct oracle_closed {
	uint8_t window;
	int64_t start_ns;
};

struct oracle_sensor {
	bool known; /* it has a slot */
	bool cut;   /* how its life began is freed */
	uint64_t life;
	float before; /* second field of the reading before */
	int64_t event_max;
	int64_t next[SIM_WINDOWS_MAX]; /* first window not closed */
	struct oracle_kept *kept;
	uint32_t kept_count, kept_max, prune_at;
	struct oracle_closed *closed;
	uint32_t closed_count, closed_max;
	uint32_t raised; /* bit per rule */
	uint32_t run;	 /* of scores that violate the rule on them */
	struct {
		bool due, raised; /* an alert of that rule is to come next */
		uint64_t cause[2];
		double value;
	} alert;
	bool retiring; /* an alert was cleared without a value: a mark is to come with it */
	uint64_t cause[SIM_RULES_MAX][2];
	/* deliveries of this life, and per socket how far they have been recorded */
	struct sim_delivery *due;
	uint32_t due_count, due_max, due_from; /* all before due_from is settled */
	uint32_t due_at[SIM_WORKERS_MAX];
};

struct oracle_got { /* per record and output */
	uint16_t times;
	uint32_t generation; /* of the producer that brought it last */
	uint64_t payload;    /* hash */
};

struct oracle_output {
	const struct sim_output_config *config;
	struct oracle_got *got; /* by record */
	uint32_t got_max;
	uint32_t *list; /* records in the order in which they were stored first */
	uint32_t list_count, list_max, checked;
	struct {
		uint64_t epoch, sequence;
		uint32_t index;
	} * last; /* [sensor * partitions + partition] */
};

struct oracle {
	struct sim *sim;
	const struct sim_config *config;
	struct sim_net *net;
	struct oracle_block *blocks;
	uint32_t block_count, block_max;
	struct oracle_record *records;
	uint32_t record_count, record_max;
	struct sim_map positions, ids;
	struct oracle_sensor *sensors;
	struct oracle_output outputs[SIM_OUTPUTS_MAX];
	uint32_t *log; /* blocks in log order: found by the last start, then as they became readable
			*/
	uint32_t log_count, log_max, log_found;
	uint32_t *unit_record; /* by unit: the record of its first reading, + 1 */
	uint32_t unit_record_max;
	uint32_t starts;
	uint64_t records_before; /* what the next readable block must say; UINT64_MAX: not known */
	uint64_t epoch;		 /* of this life */
	uint64_t sealed[SIM_WORKERS_MAX]; /* highest sequence of this life */
	uint64_t sealed_readings, sealed_records;
	uint32_t alerts_due; /* of sensors */
	uint32_t retiring;   /* sensors */
	uint64_t score_alerts;
	uint32_t seen_deliveries;
	uint64_t in_log[DP_REC_KINDS]; /* records of the log, freed ones included */
};

struct oracle *oracle_new(struct sim *s, const struct sim_config *c, struct sim_net *n);
void oracle_free(struct oracle *o);

/* A worker has sealed that block. */
void oracle_sealed(struct oracle *o, const struct dp_block *b);
/* Outputs may read that block now. */
void oracle_readable(struct oracle *o, const struct dp_reader_block *b);
/* What was synced before `lp` is promised. */
void oracle_durable(struct oracle *o, uint64_t lp);
/* A start: each block that it hands to replay, in order; then the end of the list. */
void oracle_start(struct oracle *o);
void oracle_found(struct oracle *o, const struct dp_reader_block *b);
/* Everything that was readable must be there after a kill, only what was promised after a power
 * cut. `oldest`: lp of the oldest segment there is. */
void oracle_started(struct oracle *o, uint64_t epoch, bool power_cut, uint64_t oldest);

uint32_t oracle_find(const struct oracle *o, const uint64_t id[2]);
uint32_t oracle_block_at(const struct oracle *o, const struct dp_block *b);
uint64_t oracle_records_hash(const struct dp_block *b);

/* oracle_sensor.c */
void oracle_sensor_record(struct oracle *o, const struct oracle_record *r, const struct dp_rec *rec,
	const struct dp_block *b, bool live);
void oracle_sensors_forget(struct oracle *o);
/* All time has passed: every window that ought to be closed is. */
void oracle_sensors_end(struct oracle *o);
/* That unit is in the log. */
bool oracle_has_unit(const struct oracle *o, uint32_t unit);

/* oracle_output.c */
struct oracle_stored {
	uint32_t first, count; /* records */
	uint32_t partition, generation;
	uint64_t payload;
};
void oracle_stored(struct oracle *o, uint32_t output, const struct oracle_stored *m);
void oracle_outputs_start(struct oracle *o, bool power_cut);
void oracle_outputs_end(struct oracle *o);
/* All files of the file output, oldest first, as one text. */
void oracle_file_end(struct oracle *o, uint32_t output, const char *text, size_t bytes);
bool oracle_takes(const struct oracle *o, uint32_t output, uint32_t record);
