/* The command line as one constant struct. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "firmware-sim/device.h"
#include "firmware-sim/net.h"
#include "firmware-sim/scenarios/scenarios.h"

enum fws_verify_mode { FWS_VERIFY_NONE, FWS_VERIFY_API, FWS_VERIFY_FILE, FWS_VERIFY_KAFKA };

struct fws_options {
	char host[256], port[32];
	const char *scenario; /* "" when none is named */
	struct fws_shape shape;
	struct fws_fleet_config fleet; /* signals and labels are left to the caller */
	struct fws_net_config net;
	struct fws_fault faults[FWS_FAULTS_MAX];
	struct fws_phase phases[FWS_PHASES_MAX];
	uint32_t phase_count, threads, ports;
	uint64_t burst; /* 0 = 5 ms' worth */
	bool repeat, no_gso, json, quiet;
	const char *data, *labels;
	enum fws_verify_mode verify;
	const char *verify_where; /* socket; path; brokers/topic */
	double verify_timeout_s;
	int pid; /* whose CPU is measured; 0 = nobody's */
};

/*
 * Parses argv. 0: go on; 1: help or the list was printed; -EINVAL: the reason is on stderr.
 */
int fws_options_parse(struct fws_options *o, int argc, char **argv);
