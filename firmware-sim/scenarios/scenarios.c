/*
 * The five scenarios of the reference load test, and the load of its seed data.  The reference
 * sends as fast as its broker answers; UDP has no answer to wait for, so the four without a rate of
 * their own get 20,000 messages/s, eight times the best reference figure.
 */
#include "firmware-sim/scenarios/scenarios.h"

#include <string.h>

const struct fws_scenario fws_scenarios[] = {
	{"burst", "1,000 messages from 4 threads", 100, 4, 1, {{20000, 0, 1000}}},
	{"high-volume", "10,000 messages from 8 threads", 100, 8, 1, {{20000, 0, 10000}}},
	{"stress", "50,000 messages from 16 threads", 100, 16, 1, {{20000, 0, 50000}}},
	{"sustained", "81 messages/s for 60 s", 81, 1, 1, {{81, 60, 0}}},
	{"custom", "99,990 messages from 18 threads", 100, 18, 1, {{20000, 0, 99990}}},
	{"seed000", "100 sensors at 1 message/s each for 60 s, then 700/s for 60 s", 100, 1, 2,
		{{100, 60, 0}, {700, 60, 0}}},
	{0},
};

const struct fws_scenario *fws_scenario_find(const char *name)
{
	for (const struct fws_scenario *s = fws_scenarios; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}
