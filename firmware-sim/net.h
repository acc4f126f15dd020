/*
 * A bad network between the devices and the sender, seeded: loss, duplicates, reorder (a datagram
 * comes after the next one of its device), delay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware-sim/rng.h"

struct fws_net_config {
	double loss, dup, reorder;	   /* probabilities, 0..1 */
	int64_t delay_ns, delay_jitter_ns; /* delay + uniform 0..jitter */
};

struct fws_frame {
	uint32_t device; /* of the thread's, from 0 */
	uint32_t len;
	uint32_t readings; /* 0 for the second copy of a datagram */
	const uint8_t *bytes;
};

typedef void fws_net_emit(void *arg, const struct fws_frame *f);

struct fws_net_stats {
	uint64_t lost, lost_readings, duplicated, reordered, delayed;
};

struct fws_held; /* a copy of a frame */

struct fws_net {
	struct fws_net_config config;
	struct fws_rng rng;
	struct fws_net_stats stats;
	fws_net_emit *emit;
	void *arg;
	uint32_t device_count;
	struct fws_held **behind; /* [device_count], NULL = none */
	struct fws_held **heap;	  /* by due time */
	size_t heap_count, heap_room;
	uint64_t order;
};

static inline bool fws_net_is_bad(const struct fws_net_config *c)
{
	return c->loss > 0 || c->dup > 0 || c->reorder > 0 || c->delay_ns > 0 ||
	       c->delay_jitter_ns > 0;
}

/* emit(arg, frame) is called with what comes out. 0 or -ENOMEM. */
int fws_net_init(struct fws_net *n, const struct fws_net_config *c, struct fws_rng rng,
	uint32_t device_count);
void fws_net_output(struct fws_net *n, fws_net_emit *emit, void *arg);
void fws_net_fini(struct fws_net *n);

/* A datagram goes in at now_ns; 0 or -ENOMEM. */
int fws_net_push(struct fws_net *n, int64_t now_ns, const struct fws_frame *f);

/* Lets out what is due; with INT64_MAX everything, also what waits for a successor. */
void fws_net_release(struct fws_net *n, int64_t now_ns);

/* When the next delayed datagram is due; INT64_MAX when none is. */
int64_t fws_net_due(const struct fws_net *n);
