/* Names and help of the counters, from the one list in drop.h. */
#include "dataplane/core/drop.h"

#include <assert.h>

static const char *const names[] = {
#define X(symbol, name, help) name,
	DP_COUNTERS(X)
#undef X
};

static const char *const helps[] = {
#define X(symbol, name, help) help,
	DP_COUNTERS(X)
#undef X
};

const char *dp_counter_name(enum dp_counter which)
{
	assert((unsigned)which < DP_COUNTER_COUNT);
	return names[which];
}

const char *dp_counter_help(enum dp_counter which)
{
	assert((unsigned)which < DP_COUNTER_COUNT);
	return helps[which];
}
