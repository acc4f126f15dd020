/*
 * Where bytes come from: io_uring, later DPDK and replay, in tests a fake network.  A source
 * belongs to one worker and is polled by its turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/drop.h"
#include "dataplane/decode/decode.h"

enum { DP_BURST_MAX = 64 };

struct dp_packet {
	const uint8_t *data; /* DP_JSON_PADDING readable bytes lie beyond data + bytes */
	uint32_t bytes;
	uint16_t input;	 /* index in the list of inputs */
	bool truncated;	 /* larger than the receive buffer */
	uint32_t cookie; /* the source's own: which buffer to give back */
};

/* What a worker must know of an input. */
struct dp_input {
	enum dp_format format;
	uint16_t stream; /* json: the stream; binary: unused, the datagram says */
	bool keep_raw;	 /* what was decoded is recorded as it came, too */
};

struct dp_source_ops {
	/* At most `max` packets that are there now; never waits. Losses go to c (DP_C_LOST_*). */
	uint32_t (*burst)(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c);
	/* The packets of the last burst are decoded: their buffers may be used again. */
	void (*done)(void *ctx, const struct dp_packet *packets, uint32_t count);
};

struct dp_source {
	const struct dp_source_ops *ops;
	void *ctx;
};
