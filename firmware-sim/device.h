/*
 * The simulated devices: each with its clock (offset and drift), sampling period, jitter, boot and
 * sequence numbers, sleep, restarts, signal and faults.  Time is an argument and every device has
 * its own generator: same seed and times, same messages, however many threads there are.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "firmware-sim/encode.h"
#include "firmware-sim/fault.h"
#include "firmware-sim/rng.h"
#include "firmware-sim/signal.h"

struct fws_fleet_config {
	const struct fws_shape *shape;
	const struct fws_signal_set *signals;
	const char *id_prefix;
	uint32_t id_width; /* zeros are put before the number up to this width */
	uint32_t sensors;
	uint32_t readings; /* in a datagram, 1..FWS_READINGS_MAX */
	uint32_t batch;	   /* datagrams that a device sends when it wakes, >= 1 */
	uint64_t seed;
	int64_t period_ns;	       /* between the readings of a device; > 0 */
	double jitter;		       /* deviation of the period, as a share of it */
	double drift_ppm;	       /* deviation of the devices' clock drifts */
	double offset_s;	       /* deviation of the devices' clock offsets */
	double lapse;		       /* seconds that pass on the devices' clocks in one, >= 1 */
	int64_t lapse_ends_ns;	       /* elapsed time at which such a clock is right */
	double restart_s;	       /* mean time between restarts; 0 = never */
	double sleep_every_s, sleep_s; /* silent for sleep_s in each sleep_every_s; 0 = never */
	const struct fws_fault *faults;
	uint32_t fault_count;
	FILE *labels; /* CSV of what is false or anomalous; may be NULL */
};

/*
 * A boot of a device and how many of its sequence numbers were used up, for whoever asks what was
 * sent.  The device's thread makes and counts, others may read.
 */
struct fws_boot {
	struct fws_boot *before;
	uint32_t number;
	atomic_uint_fast64_t used; /* B1: released before the message leaves */
};

struct fws_device {
	char id[FWS_ID_MAX + 1];
	uint8_t id_len;
	bool ended;
	uint32_t index, boot;
	uint64_t sequence;
	int64_t offset_ns;
	double drift;		    /* ns per ns */
	int64_t last_ns;	    /* elapsed time of the newest reading; < 0 before the first */
	int64_t restart_ns;	    /* elapsed time of the next restart */
	int64_t nominal_ns, due_ns; /* elapsed time of the next wake, without and with jitter */
	int64_t sleep_phase_ns;
	struct fws_rng rng;
	struct fws_signal_state signal;
	struct fws_fault_state *faults; /* [fault_count] */
	struct fws_boot first;
	_Atomic(struct fws_boot *) newest; /* B2: released once it is filled in */
};

struct fws_fleet {
	struct fws_fleet_config config;
	int64_t start_ns; /* Unix time at elapsed 0 */
	uint32_t count;
	struct fws_device *devices;
	float *slab;
	struct fws_fault_state *fault_slab;
};

enum fws_wake { FWS_READY, FWS_ASLEEP, FWS_ENDED };

/* 0; -ENAMETOOLONG when an id does not fit into 32 bytes; -ENOMEM. */
int fws_fleet_init(struct fws_fleet *fl, const struct fws_fleet_config *c, int64_t start_ns);
void fws_fleet_fini(struct fws_fleet *fl);

/*
 * Datagram `nth` (0..batch-1) of what the device sends at elapsed_ns: fills *m, whose `values` has
 * room for config.readings rows. FWS_ASLEEP: sends nothing now; FWS_ENDED: its data is used up.
 */
enum fws_wake fws_device_message(struct fws_fleet *fl, struct fws_device *d, int64_t elapsed_ns,
	uint32_t nth, struct fws_message *m);

/*
 * Whether device `index` has made a message of that boot and sequence number. From any thread; a
 * message that has come back is known.
 */
bool fws_fleet_sent(const struct fws_fleet *fl, uint32_t index, uint32_t boot, uint64_t sequence);

/* Sets due_ns to the wake after this one. */
void fws_device_reschedule(const struct fws_fleet *fl, struct fws_device *d);

/* The header line of the label file. */
void fws_labels_begin(FILE *labels);
