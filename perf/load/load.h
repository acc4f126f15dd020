/*
 * The load of the benches: datagrams of known bytes at a known pace, cheap enough to share two
 * cores with what is measured.  The same readings in each form, so that programs that want
 * different forms do the same job.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { PF_FIELDS = 4, PF_READINGS_MAX = 16, PF_DATAGRAM_MAX = 4096 };

enum pf_form {
	PF_BINARY = 1, /* datagram v1: one reading is 100 bytes */
	PF_JSON,       /* one object, or an array of them */
	PF_INFLUX,     /* line protocol, one line a reading */
};

struct pf_load {
	enum pf_form form;
	uint32_t sensors, readings; /* readings a datagram */
	uint32_t boot;
	uint16_t streams; /* binary: sensors belong in turn to stream 1 to this one */
};

/*
 * Datagram number n of a run; its readings end at time_ns (Unix time), 1 ms apart. Sensors take
 * turns, so n / sensors is the sequence. out has PF_DATAGRAM_MAX bytes. Bytes written.
 */
size_t pf_encode(const struct pf_load *l, uint64_t n, int64_t time_ns, char *out);
