/* Phases of load: threads, each with its devices, its share of the rate and its own sender. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "firmware-sim/device.h"
#include "firmware-sim/net.h"
#include "firmware-sim/options.h"
#include "firmware-sim/send.h"

struct fws_phase_result {
	double rate_asked;	     /* messages/s; 0 = flat out; < 0 = the devices' own */
	double seconds;		     /* from its begin until its last thread was done */
	uint64_t messages, readings; /* made by the devices */
};

struct fws_run_result {
	uint64_t messages, message_readings; /* made by the devices */
	struct fws_send_stats sent;
	struct fws_net_stats net;
	double seconds;	    /* from the first to the last datagram */
	double cpu_seconds; /* of the sending threads */
	uint32_t phase_count;
	struct fws_phase_result phases[FWS_PHASES_MAX]; /* those that were begun */
};

struct fws_run; /* senders and networks of the threads; they outlive a phase */

/* Opens the senders. 0 or -errno. The fleet's and the stop flag's memory stays the caller's. */
int fws_run_open(struct fws_run **out, const struct fws_options *o, struct fws_fleet *fleet,
	atomic_bool *stop);
void fws_run_close(struct fws_run *r);

/*
 * Runs all phases, one after the other, until each one's limit, *stop or the end of the data. Adds
 * to *result. 0; -EMSGSIZE when a message does not fit into a datagram; -ENOMEM; -errno of thread
 * creation.
 */
int fws_run_all(struct fws_run *r, struct fws_run_result *result);

int64_t fws_monotonic_ns(void);
int64_t fws_unix_ns(void);
