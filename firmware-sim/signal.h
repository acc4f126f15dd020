/*
 * What a sensor would measure: rows of real data, replayed one row a reading, or synthetic curves
 * from a seed.  Fields that the data lacks (voltage and light of the shipped data) are always
 * synthetic: a battery that ages and sags in the cold, and daylight.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "firmware-sim/encode.h"
#include "firmware-sim/rng.h"

/* The rows of one mote, in order of time. */
struct fws_trace {
	uint32_t file, mote;
	uint32_t count, room;
	float *values;		     /* [count][field_count]; NaN = not in the data or missing */
	uint8_t *label;		     /* [count]; 1 = anomaly, says the data's author */
	float sigma[FWS_FIELDS_MAX]; /* noise: 1.4826 MAD of the steps / sqrt(2); NaN = not there */
};

struct fws_signal_set {
	uint32_t field_count;
	char fields[FWS_FIELDS_MAX][FWS_NAME_MAX + 1];
	uint8_t curve[FWS_FIELDS_MAX];	  /* which synthetic curve; signal.c */
	float sigma[FWS_FIELDS_MAX];	  /* of the synthetic curves */
	float resolution[FWS_FIELDS_MAX]; /* steps of the analogue-digital converter */
	bool repeat;
	uint32_t trace_count;
	struct fws_trace *traces; /* none: all synthetic */
};

/* Of one device. The arrays are [field_count], owned by whoever made the state. */
struct fws_signal_state {
	const struct fws_trace *trace; /* NULL: synthetic */
	uint32_t row, rows_read;
	struct fws_rng rng;
	float phase;	 /* 0..1, of the day */
	float age;	 /* 0..1, of the battery */
	int64_t slow_ns; /* when `slow` was computed */
	float *slow;	 /* curves without their noise */
	float *offset;	 /* of this device against its trace or curve */
	float *sigma;
};

/* Fields from the shape, no data yet. */
void fws_signal_init(struct fws_signal_set *s, const struct fws_shape *shape, bool repeat);

/*
 * Adds the traces of every file in `dir` that has a known form (firmware-sim/data/README.md). 0,
 * -ENOENT when none has, or another -errno.
 */
int fws_signal_load(struct fws_signal_set *s, const char *dir);
void fws_signal_fini(struct fws_signal_set *s);

/* Device `index` begins. */
void fws_signal_start(const struct fws_signal_set *s, struct fws_signal_state *st, uint32_t index,
	struct fws_rng rng);

/*
 * The values at Unix time t_ns; *label = 1 when the data's author calls the row an anomaly. False
 * at the end of the data without `repeat`.
 */
bool fws_signal_read(const struct fws_signal_set *s, struct fws_signal_state *st, int64_t t_ns,
	float *values, uint8_t *label);

/* For loaders: the trace of (file, mote), made when new, and a row for it. NULL, -ENOMEM. */
struct fws_trace *fws_signal_trace(struct fws_signal_set *s, uint32_t file, uint32_t mote);
int fws_trace_add(struct fws_trace *t, const float *values, uint32_t field_count, uint8_t label);
