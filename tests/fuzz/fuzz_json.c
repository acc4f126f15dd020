/* Any bytes as JSON readings; the first byte chooses the stream. */
#include <stdio.h>

#include "tests/unit/decode_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t text[DP_DATAGRAM_BYTES_MAX + 1 + DP_JSON_PADDING];
	static struct world w;
	static struct dp_json *parser;
	const char *fault;
	uint16_t stream;
	int rc;

	if (!parser) {
		world_init(&w);
		parser = dp_json_new(&w.set);
	}
	if (size < 1 || size - 1 > DP_DATAGRAM_BYTES_MAX + 1)
		return 0;
	stream = data[0] == 'w';
	memcpy(text, data + 1, size - 1);
	memset(text + size - 1, '"', DP_JSON_PADDING); /* beyond the end must not matter */
	for (int i = 0; i < WORLD_STREAMS; i++)
		w.batches[i].count = size % DP_BATCH_FLUSH;
	world_note(&w);
	rc = dp_json_decode(
		parser, &w.target, stream, text, text + size - 1, WORLD_ARRIVAL_NS, &w.counters);
	fault = world_fault(&w, rc, stream);
	if (fault) {
		fprintf(stderr, "%s (result %d)\n", fault, rc);
		abort();
	}
	return 0;
}
