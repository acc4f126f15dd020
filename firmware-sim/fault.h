/*
 * Faults of a device, in multiples of the noise of its own signal, with the truth beside them.
 *
 *   KIND[,field=NAME][,size=K][,after=S][,for=S][,every=S][,sensors=A-B]
 *
 *   stuck    the value at the beginning of the episode is repeated
 *   drift    the value walks away, by K sigma at the end of the episode
 *   spike    the first reading of the episode is off by K sigma, up or down
 *   noise    normal noise of K sigma is added
 *   battery  the voltage sags, by K sigma at the end of the episode
 *
 * An episode begins `after` seconds into the run, lasts `for` (30) and comes again `every` seconds
 * (0: once).  Sensors are counted from 1; without `sensors` all have it.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "firmware-sim/encode.h"
#include "firmware-sim/rng.h"

enum fws_fault_kind { FWS_STUCK = 1, FWS_DRIFT, FWS_SPIKE, FWS_NOISE, FWS_BATTERY };

struct fws_fault {
	enum fws_fault_kind kind;
	uint16_t field;
	float size; /* sigma */
	int64_t after_ns, for_ns, every_ns;
	uint32_t first, last; /* device indices, inclusive */
};

/* Of one device and one fault; zero at the start. */
struct fws_fault_state {
	uint32_t episode; /* 1 for the first, 0 before it */
	float onset;
};

struct fws_fault_hit {
	uint8_t fault;
	uint16_t field;
	float truth;
	float off; /* by how many sigma the fault was meant to be off here; stuck: infinite, 0 at
		      first */
};

/*
 * Parses `spec`; fields are looked up in `shape`. 0, or -EINVAL with a reason for people in
 * *why (static text).
 */
int fws_fault_parse(
	struct fws_fault *f, const char *spec, const struct fws_shape *shape, const char **why);

const char *fws_fault_name(enum fws_fault_kind kind);

/* What the faults act on: one reading of one device. */
struct fws_fault_reading {
	uint32_t device;
	int64_t elapsed_ns; /* since the run began */
	const float *sigma; /* [field_count] */
	float *values;	    /* [field_count], changed in place */
	struct fws_rng *rng;
};

/* Applies faults[count] in order; notes what was hit in hits[count]; returns how many. */
uint32_t fws_fault_apply(const struct fws_fault *faults, uint32_t count,
	struct fws_fault_state *state, const struct fws_fault_reading *r,
	struct fws_fault_hit *hits);
