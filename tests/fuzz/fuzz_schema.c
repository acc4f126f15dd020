/* Any bytes as a stream set: refused, or a set that writes the same bytes again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dp_stream_set *set;
	char *again;

	if (dp_schema_read(data, size, &set)) {
		assert(!set);
		return 0;
	}
	again = malloc(size);
	assert(dp_schema_write(set, again, size) == size);
	assert(memcmp(again, data, size) == 0);
	assert(dp_schema_hash(set) == set->hash);
	for (uint32_t i = 0; i < set->count; i++)
		for (uint16_t r = 0; r < set->streams[i].rule_count; r++)
			dp_rule_hash(&set->streams[i], &set->streams[i].rules[r]);
	free(again);
	dp_schema_free(set);
	return 0;
}
