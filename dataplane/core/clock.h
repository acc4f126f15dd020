/* Time as the workers see it: an argument, taken once a turn. */
#pragma once

#include <stdint.h>

struct dp_now {
	int64_t real_ns;   /* Unix time; may step. Arrival stamps. */
	int64_t steady_ns; /* never steps; equals Unix time when the daemon started. All timers. */
};

/* For measuring a stage, 10 ns a call; 0 where there is no such counter. */
static inline uint64_t dp_cycles(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return 0;
#endif
}
