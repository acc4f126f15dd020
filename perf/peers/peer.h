/*
 * What the peers share: a UDP socket, a producer, a clean end with one line of JSON.  The peers are
 * the programs that an engineer writes first (naive.c) and second (good.c) for this job; penstockd
 * is measured beside them, never alone.
 */
#pragma once

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "perf/samples.h"

struct pf_peer {
	int fd;
	rd_kafka_t *producer;
	rd_kafka_topic_t *topic;
	int32_t partitions;
	uint64_t received, produced, queue_full; /* receiving thread */
	_Atomic uint64_t delivered, failed;	 /* delivery callback */
	uint32_t dropped;			 /* SO_RXQ_OVFL at the end */
	bool timed;				 /* notes how long each datagram waited */
	struct pf_samples waited;
};

extern volatile sig_atomic_t pf_stop; /* set by SIGTERM and SIGINT */

/*
 * usage: NAME PORT BROKERS TOPIC [timed] [KEY=VALUE ...] (librdkafka properties); exits on error.
 * SIGUSR1: what waited so far is forgotten.
 */
void pf_peer_init(struct pf_peer *p, int argc, char **argv, const char *const (*defaults)[2]);

/* When timed: from the base time in a binary datagram, which the load sets, to now. */
void pf_peer_waited(struct pf_peer *p, const char *datagram, size_t bytes);

/* Flushes, prints {"received":..,"delivered":..,"dropped":..,"cpu_s":..}. Exit code. */
int pf_peer_end(struct pf_peer *p);
