/*
 * Datagram v1, the binary form of readings (docs/wire.md).  Little endian, no padding; one sensor's
 * readings.  Shared with firmware-sim; the only data plane header that others may include.
 *
 *   header (32 bytes) | sensor id | [tags] | reading 0 | reading 1 | ...
 *   tags:     u8 count, then per tag u8 length and that many bytes; in the stream's order
 *   reading:  i32 time delta | presence bitmap, (field_count + 7) / 8 bytes, bit 0 of byte 0 first
 * | one f32 (or i16 with DP_WIRE_SCALED) per bit set, in field order
 *
 * A datagram holds no byte beyond its last reading.
 */
#pragma once

#include <stdint.h>

#define DP_WIRE_MAGIC	0x5350u /* "PS" */
#define DP_WIRE_VERSION 1u

enum dp_wire_flag {
	DP_WIRE_SCALED = 1 << 0,   /* values are i16; the stream's scale and offset apply */
	DP_WIRE_NUMBERED = 1 << 1, /* boot and sequence hold; else both must be 0 */
	DP_WIRE_NO_TIME =
		1 << 2, /* no clock: base time and deltas must be 0, arrival time stands in */
	DP_WIRE_DELTA_MS = 1 << 3, /* deltas in milliseconds instead of microseconds */
	DP_WIRE_TAGS = 1 << 4,	   /* the tags section is there */
	DP_WIRE_FLAGS_KNOWN = 31,
};

struct dp_wire_head {
	uint16_t magic;
	uint8_t version;
	uint8_t flags;
	uint16_t stream;      /* dp_stream.number */
	uint8_t id_len;	      /* 1..32 */
	uint8_t count;	      /* readings, 1..64 */
	uint32_t boot;	      /* random or stored, new at each device start */
	uint16_t field_count; /* 1..the stream's; fields beyond are missing */
	uint16_t reserved;    /* 0 */
	uint64_t sequence;    /* counts the datagrams of (stream, sensor, boot) from 0 */
	int64_t base_time_ns; /* Unix time */
};

_Static_assert(sizeof(struct dp_wire_head) == 32, "datagram v1 header");

enum {
	DP_WIRE_MISSING_I16 = -32768, /* a scaled value that is missing although its bit is set */
};
