/*
 * The fake network: sensors that send, and what happens to a datagram on its way.  Knows of every
 * reading that was ever sent; field 0 of a reading is its number here, so that it is known again
 * wherever it turns up.
 */
#pragma once

#include "tests/sim/config.h"

struct sim_reading {
	uint32_t unit;
	uint8_t index; /* within its unit */
	bool timed;    /* it said when; else arrival time stands in */
	int64_t event_ns;
	float values[SIM_FIELDS_MAX];
};

/* What is recorded whole or not at all: a binary datagram, or one object of a JSON array. */
struct sim_unit {
	uint32_t first, count; /* readings */
	uint32_t sensor;
	bool numbered;
	uint32_t boot;
	uint64_t seq;
	uint8_t tag_len[SIM_TAGS_MAX];
	char tags[SIM_TAGS_MAX][8];
};

struct sim_datagram {
	uint8_t *bytes;
	uint32_t length;
	uint32_t first, count; /* units */
	uint32_t flow;	       /* decides the socket that it comes to */
	uint16_t input;
	bool bad;
	int64_t sent_ns;
};

struct sim_sensor {
	char id[8];
	uint8_t id_len;
	uint16_t stream;
	bool json, numbered, timed;
	uint32_t boot, boot_before;
	int64_t booted_ns;
	uint64_t next_seq;
	int64_t clock_off_ns, period_ns, due_ns;
	float level;
};

struct sim_delivery { /* a unit given to a worker, in this life */
	uint32_t unit;
	uint32_t queue;
};

struct sim_air {
	int64_t due_ns;
	uint32_t datagram;
};

struct sim_queue {
	struct sim_net *net;
	uint32_t index;
	uint32_t *list; /* datagrams */
	uint32_t head, tail, max;
};

struct sim_net {
	struct sim *sim;
	const struct sim_config *config;
	struct sim_sensor *sensors;
	uint32_t sensor_count;
	struct sim_datagram *datagrams;
	struct sim_unit *units;
	struct sim_reading *readings;
	uint32_t datagram_count, unit_count, reading_count;
	uint32_t datagram_max, unit_max, reading_max;
	struct sim_air *air;
	uint32_t air_count, air_max;
	struct sim_queue queues[SIM_WORKERS_MAX];
	uint32_t workers;
	bool quiet; /* sensors send nothing new */
	/* of this life */
	struct sim_delivery *delivered;
	uint32_t delivered_count, delivered_max;
	uint64_t got_datagrams, got_bad, got_readings, got_units;
};

struct sim_net *sim_net_new(struct sim *s, const struct sim_config *c);
void sim_net_free(struct sim_net *n);

/* A process starts: its sockets are empty. */
void sim_net_start(struct sim_net *n, uint32_t workers);
struct dp_source sim_net_source(struct sim_net *n, uint32_t worker);

/* Sensors whose time has come send, what is in the air arrives. */
void sim_net_tick(struct sim_net *n);
bool sim_net_empty(const struct sim_net *n); /* nothing in the air or in a socket */

/* Every numbered datagram that its sender may still repeat (docs/wire.md), in order. */
void sim_net_resend(struct sim_net *n);
/* May its senders still repeat it, and will the appliance still know it? */
bool sim_net_repeatable(const struct sim_net *n, const struct sim_datagram *d);

/* Index in sensors of that id in that stream, or UINT32_MAX. */
uint32_t sim_net_sensor(const struct sim_net *n, uint16_t stream, const char *id, size_t len);

/* encode.c: the bytes of a datagram whose units and readings are there. */
void sim_encode(struct sim_net *n, struct sim_datagram *d);
