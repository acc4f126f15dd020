/*
 * A way out for datagrams, one per thread.  Frames are written straight into the sender's buffers;
 * a lane is a source (a socket with its own port): a device always uses the same one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fws_send_stats {
	uint64_t datagrams, readings, bytes; /* that the kernel took */
	uint64_t failed, failed_readings;    /* that it did not */
	uint64_t refused; /* notices that nobody listens (ECONNREFUSED); for datagrams counted as
			     sent */
	uint64_t calls;
};

struct fws_sender;

struct fws_sender_ops {
	/* Room for a datagram of up to `max` bytes on a lane; valid until commit. */
	uint8_t *(*reserve)(struct fws_sender *s, uint32_t lane, uint32_t max);
	/* The reserved datagram has `len` bytes and holds `readings` readings. */
	void (*commit)(struct fws_sender *s, uint32_t lane, uint32_t len, uint32_t readings);
	/* Hands over everything committed. Never fails: what the kernel refuses is counted. */
	void (*flush)(struct fws_sender *s);
	void (*close)(struct fws_sender *s);
};

struct fws_sender {
	const struct fws_sender_ops *ops;
	uint32_t lanes;
	struct fws_send_stats stats;
};

struct fws_udp_config {
	const char *host, *port;
	uint32_t lanes; /* 1..FWS_PORTS_MAX */
	bool gso;	/* one call and one pass through the stack for datagrams of equal size */
};

/* 0 and *out, or -errno; -ENXIO when the host name does not resolve. */
int fws_udp_open(struct fws_sender **out, const struct fws_udp_config *c);
