/* Time as the workers see it: an argument, taken once a turn. */
#pragma once

#include <stdint.h>

struct dp_now {
	int64_t real_ns;   /* Unix time; may step. Arrival stamps. */
	int64_t steady_ns; /* never steps; equals Unix time when the daemon started. All timers. */
};
