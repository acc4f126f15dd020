/* Named runs: a table of what the options would say. */
#pragma once

#include <stdint.h>

#include "firmware-sim/limits.h"

struct fws_phase {
	double rate; /* messages/s of all devices; 0 = flat out; < 0 = the devices' own periods */
	double seconds;	   /* 0 = no limit */
	uint64_t messages; /* 0 = no limit */
};

struct fws_scenario {
	const char *name, *what;
	uint32_t sensors, threads, phase_count;
	struct fws_phase phases[FWS_PHASES_MAX];
};

/* All have one JSON reading a datagram. The last entry has name NULL. */
extern const struct fws_scenario fws_scenarios[];

/* NULL when there is none of that name. */
const struct fws_scenario *fws_scenario_find(const char *name);
