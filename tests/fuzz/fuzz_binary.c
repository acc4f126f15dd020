/* Any bytes as datagram v1: taken whole with sound rows, or rejected whole under one reason. */
#include <stdio.h>

#include "tests/unit/decode_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	static bool made;
	uint16_t stream = UINT16_MAX;
	const char *fault;
	int rc;

	if (!made) {
		world_init(&w);
		made = true;
	}
	for (int i = 0; i < WORLD_STREAMS; i++)
		w.batches[i].count = size % DP_BATCH_FLUSH; /* rows of others lie before */
	world_note(&w);
	rc = dp_binary_decode(&w.target, data, data + size, WORLD_ARRIVAL_NS, &w.counters, &stream);
	fault = world_fault(&w, rc, stream);
	if (fault) {
		fprintf(stderr, "%s (result %d)\n", fault, rc);
		abort();
	}
	return 0;
}
