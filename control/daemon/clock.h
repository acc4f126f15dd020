/* The daemon's clock: Unix time for stamps, a steady time that equals it at the start. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "dataplane/core/clock.h"
#include "dataplane/core/limits.h"

struct ctl_clock {
	int64_t offset_ns; /* Unix time less the monotonic clock when the daemon started */
};

static inline int64_t ctl_clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * DP_NS_PER_S + ts.tv_nsec;
}

static inline void ctl_clock_init(struct ctl_clock *c)
{
	c->offset_ns = ctl_clock_read(CLOCK_REALTIME) - ctl_clock_read(CLOCK_MONOTONIC);
}

static inline struct dp_now ctl_now(const struct ctl_clock *c)
{
	return (struct dp_now){.real_ns = ctl_clock_read(CLOCK_REALTIME),
		.steady_ns = ctl_clock_read(CLOCK_MONOTONIC) + c->offset_ns};
}
