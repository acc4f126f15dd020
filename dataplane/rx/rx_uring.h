/*
 * UDP by io_uring: one ring per worker, multishot recvmsg into provided buffers, DEFER_TASKRUN, so
 * that the kernel receives only when the worker enters it; a wait for a batch instead of a packet
 * when packets come often enough; sleeps without polling when they do not.
 */
#pragma once

#include <stdint.h>

#include "dataplane/core/mem.h"
#include "dataplane/core/sleep.h"
#include "dataplane/rx/rx.h"

struct dp_uring_config {
	const int *fds;		/* UDP sockets of this worker, one per input; stay the caller's */
	const uint16_t *inputs; /* index of the input of each */
	uint32_t count;		/* at most DP_INPUTS_MAX */
	uint32_t buffers;	/* provided buffers, power of two */
	int64_t batch_wait_ns;	/* most that a packet waits in the socket for company; 0: never */
};

struct dp_uring;

/* Makes the ring, disabled; 0 or -errno (-ENOSYS, -EPERM: io_uring is not to be had here). */
int dp_uring_open(
	const struct dp_uring_config *config, struct dp_arena *arena, struct dp_uring **out);
size_t dp_uring_bytes(const struct dp_uring_config *config); /* of the arena */

/* From the worker's own thread, once, before the first burst: enables the ring, arms receives. */
int dp_uring_start(struct dp_uring *u, struct dp_parker *parker);

struct dp_source dp_uring_source(struct dp_uring *u);

/*
 * Sleeps until packets came, the parker is woken, or timeout_ns passed. The caller has armed the
 * parker and looked again; it is disarmed on return. Returns how long packets may have waited for
 * company, ns; 0: not on purpose.
 */
int64_t dp_uring_wait(struct dp_uring *u, int64_t timeout_ns);

/* What the kernel dropped at the sockets and no packet has told yet; on stop and when idle. */
void dp_uring_losses(struct dp_uring *u, struct dp_counters *c);

void dp_uring_close(struct dp_uring *u);

/*
 * A UDP socket of that family (AF_INET or AF_INET6) with SO_REUSEPORT, SO_RXQ_OVFL and the receive
 * buffer asked for (as far as allowed; *rcvbuf_bytes says what it became), not bound. fd or -errno.
 */
int dp_udp_open(uint16_t family, uint32_t *rcvbuf_bytes);
/* From now on packets queue in it. 0 or -errno. */
struct sockaddr_storage;
int dp_udp_bind(int fd, const struct sockaddr_storage *addr);
