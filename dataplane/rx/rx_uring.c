/*
 * rx: the start of the path.  Owns the worker's ring and its receive buffers; the sockets are the
 * daemon's.  A buffer is the kernel's until its completion, ours until done() gives it back.
 *
 * UDP_GRO stays off: a dropped aggregate would count as one in SO_RXQ_OVFL, and every datagram has
 * to be accounted for.
 */
#include "dataplane/rx/rx_uring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	SQ_ENTRIES = 64,
	CQ_ENTRIES = 4096,
	CONTROL_BYTES = CMSG_SPACE(sizeof(uint32_t)), /* SO_RXQ_OVFL */
	BUFFER_BYTES = (sizeof(struct io_uring_recvmsg_out) + CONTROL_BYTES +
			       DP_DATAGRAM_BYTES_MAX + DP_JSON_PADDING + DP_CACHE_LINE - 1) /
		       DP_CACHE_LINE * DP_CACHE_LINE,
	BUFFER_GROUP = 0,
	TAG_WAKE = DP_INPUTS_MAX, /* user_data; below: the socket's place */
	RATE_WINDOW_NS = 10000000,
	COMPANY_LEAST = 3, /* packets expected within batch_wait_ns that make the wait worth it */
};

struct socket_state {
	int fd;
	uint16_t input;
	bool armed;
	uint32_t dropped; /* as the kernel last told; wraps */
};

struct dp_uring {
	struct io_uring ring;
	struct io_uring_buf_ring *buf_ring;
	char *buffers;
	uint32_t buffer_count;
	struct msghdr shape; /* what multishot recvmsg lays out in a buffer */
	struct socket_state sockets[DP_INPUTS_MAX];
	uint32_t socket_count;
	struct dp_parker *parker;
	bool wake_armed;
	bool disarmed; /* something is to be armed again */
	int64_t batch_wait_ns;

	/* arrival rate over the last window */
	int64_t window_began_ns;
	uint64_t window_packets;
	bool gather; /* packets wait for company */
};

static size_t buf_ring_bytes(uint32_t buffers)
{
	return buffers * sizeof(struct io_uring_buf);
}

size_t dp_uring_bytes(const struct dp_uring_config *c)
{
	return (size_t)c->buffers * BUFFER_BYTES + buf_ring_bytes(c->buffers) +
	       sizeof(struct dp_uring) + 3 * DP_DISK_ALIGN;
}

static void give_back(struct dp_uring *u, uint32_t id, int nth)
{
	io_uring_buf_ring_add(u->buf_ring, u->buffers + (size_t)id * BUFFER_BYTES,
		BUFFER_BYTES - DP_JSON_PADDING, (unsigned short)id,
		io_uring_buf_ring_mask(u->buffer_count), nth);
}

static int register_buffers(struct dp_uring *u)
{
	struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)u->buf_ring,
		.ring_entries = u->buffer_count,
		.bgid = BUFFER_GROUP};
	int err = io_uring_register_buf_ring(&u->ring, &reg, 0);

	if (err)
		return err;
	io_uring_buf_ring_init(u->buf_ring);
	for (uint32_t i = 0; i < u->buffer_count; i++)
		give_back(u, i, (int)i);
	io_uring_buf_ring_advance(u->buf_ring, (int)u->buffer_count);
	return 0;
}

int dp_uring_open(const struct dp_uring_config *c, struct dp_arena *arena, struct dp_uring **out)
{
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED |
						  IORING_SETUP_SINGLE_ISSUER |
						  IORING_SETUP_DEFER_TASKRUN |
						  IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES};
	struct dp_uring *u = dp_arena_take(arena, sizeof(*u), DP_CACHE_LINE);
	int err;

	assert(c->count <= DP_INPUTS_MAX && (c->buffers & (c->buffers - 1)) == 0);
	if (!u)
		return -ENOMEM;
	u->buf_ring = dp_arena_take(arena, buf_ring_bytes(c->buffers), DP_DISK_ALIGN);
	u->buffers = dp_arena_take(arena, (size_t)c->buffers * BUFFER_BYTES, DP_DISK_ALIGN);
	if (!u->buf_ring || !u->buffers)
		return -ENOMEM;
	u->buffer_count = c->buffers;
	u->batch_wait_ns = c->batch_wait_ns;
	u->shape.msg_controllen = CONTROL_BYTES;
	u->socket_count = c->count;
	for (uint32_t i = 0; i < c->count; i++)
		u->sockets[i] = (struct socket_state){.fd = c->fds[i], .input = c->inputs[i]};
	err = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
	if (err)
		return err;
	err = register_buffers(u);
	if (err) {
		io_uring_queue_exit(&u->ring);
		return err;
	}
	*out = u;
	return 0;
}

/* ---- arming ---- */

static bool arm_receive(struct dp_uring *u, uint32_t i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe)
		return false;
	io_uring_prep_recvmsg_multishot(sqe, u->sockets[i].fd, &u->shape, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data64(sqe, i);
	u->sockets[i].armed = true;
	return true;
}

static bool arm_wake(struct dp_uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, u->parker->fd, POLLIN);
	io_uring_sqe_set_data64(sqe, TAG_WAKE);
	u->wake_armed = true;
	return true;
}

/* What did not go in stays noted as disarmed: the next burst tries again. 0 or -errno. */
static int arm_all(struct dp_uring *u)
{
	int submitted;

	u->disarmed = false;
	for (uint32_t i = 0; i < u->socket_count; i++)
		if (!u->sockets[i].armed && !arm_receive(u, i))
			u->disarmed = true;
	if (!u->wake_armed && !arm_wake(u))
		u->disarmed = true;
	submitted = io_uring_sq_ready(&u->ring) ? io_uring_submit(&u->ring) : 0;
	u->disarmed |= submitted < 0;
	return submitted < 0 ? submitted : 0;
}

int dp_uring_start(struct dp_uring *u, struct dp_parker *parker)
{
	/* not io_uring_enable_rings(): liburing 2.3's shared library does not export it (its issue
	 * 773) */
	int err = io_uring_register(u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	if (err)
		return err;
	u->parker = parker;
	err = arm_all(u);
	return err < 0 ? err : 0;
}

/* ---- receiving ---- */

/*
 * A packet tells what had been dropped when it was queued, which may be less than what the socket
 * has told since: only what is ahead is new.
 */
static void note_dropped(struct socket_state *s, uint32_t dropped, struct dp_counters *c)
{
	uint32_t more = dropped - s->dropped; /* the kernel's count wraps */

	if (more == 0 || more > INT32_MAX)
		return;
	dp_count(c, DP_C_LOST_SOCKET, more);
	s->dropped = dropped;
}

static void read_control(struct dp_uring *u, struct socket_state *s,
	struct io_uring_recvmsg_out *out, struct dp_counters *c)
{
	for (struct cmsghdr *cmsg = io_uring_recvmsg_cmsg_firsthdr(out, &u->shape); cmsg;
		cmsg = io_uring_recvmsg_cmsg_nexthdr(out, &u->shape, cmsg)) {
		uint32_t dropped;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SO_RXQ_OVFL)
			continue;
		memcpy(&dropped, CMSG_DATA(cmsg), sizeof(dropped));
		note_dropped(s, dropped, c);
	}
}

/* A completed receive as a packet; false when it holds none. */
static bool take_packet(struct dp_uring *u, const struct io_uring_cqe *cqe, struct dp_packet *p,
	struct dp_counters *c)
{
	struct socket_state *s = &u->sockets[cqe->user_data];
	struct io_uring_recvmsg_out *out;
	uint32_t id;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		s->armed = false;
	if (!(cqe->flags & IORING_CQE_F_BUFFER)) {
		if (cqe->res == -ENOBUFS)
			dp_count(c, DP_C_RX_STALLS, 1);
		return false;
	}
	id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	out = io_uring_recvmsg_validate(
		u->buffers + (size_t)id * BUFFER_BYTES, cqe->res, &u->shape);
	if (!out) {
		give_back(u, id, 0);
		io_uring_buf_ring_advance(u->buf_ring, 1);
		return false;
	}
	if (out->controllen)
		read_control(u, s, out, c);
	p->data = io_uring_recvmsg_payload(out, &u->shape);
	p->bytes = io_uring_recvmsg_payload_length(out, cqe->res, &u->shape);
	p->truncated = out->flags & MSG_TRUNC;
	p->input = s->input;
	p->cookie = id;
	return true;
}

static void take_wake(struct dp_uring *u, const struct io_uring_cqe *cqe)
{
	uint64_t count;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		u->wake_armed = false;
	while (read(u->parker->fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

/* One look at the ring; whatever ended is armed again. */
static uint32_t look(struct dp_uring *u, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct io_uring_cqe *cqes[DP_BURST_MAX];
	uint32_t packets = 0;
	uint32_t n =
		io_uring_peek_batch_cqe(&u->ring, cqes, max < DP_BURST_MAX ? max : DP_BURST_MAX);

	for (uint32_t i = 0; i < n; i++) {
		if (cqes[i]->user_data == TAG_WAKE)
			take_wake(u, cqes[i]);
		else
			packets += take_packet(u, cqes[i], &out[packets], c);
		u->disarmed |= !(cqes[i]->flags & IORING_CQE_F_MORE);
	}
	io_uring_cq_advance(&u->ring, n);
	return packets;
}

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct dp_uring *u = ctx;
	uint32_t packets = look(u, out, max, c);

	if (u->disarmed) {
		(void)arm_all(u);
		/* no packet must mean an empty socket: a stop ends receiving on it */
		if (!packets)
			packets = look(u, out, max, c);
	}
	u->window_packets += packets;
	return packets;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	struct dp_uring *u = ctx;

	for (uint32_t i = 0; i < count; i++)
		give_back(u, packets[i].cookie, (int)i);
	io_uring_buf_ring_advance(u->buf_ring, (int)count);
}

static const struct dp_source_ops ops = {.burst = burst, .done = done};

struct dp_source dp_uring_source(struct dp_uring *u)
{
	return (struct dp_source){.ops = &ops, .ctx = u};
}

/* ---- waiting ---- */

/*
 * When some packets would arrive within batch_wait_ns, one wake-up for all of them is worth that
 * wait: by a timer it costs about three by a packet. Below that each is taken at once. Measured
 * over windows of 10 ms.
 */
static void judge_rate(struct dp_uring *u)
{
	struct timespec ts;
	int64_t now, elapsed;
	uint64_t expected;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * DP_NS_PER_S + ts.tv_nsec;
	elapsed = now - u->window_began_ns;
	if (elapsed < RATE_WINDOW_NS)
		return;
	expected = u->window_packets * (uint64_t)u->batch_wait_ns / (uint64_t)elapsed;
	u->gather = expected >= COMPANY_LEAST;
	u->window_began_ns = now;
	u->window_packets = 0;
}

int64_t dp_uring_wait(struct dp_uring *u, int64_t timeout_ns)
{
	const int64_t day = 86400 * DP_NS_PER_S;
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;

	judge_rate(u);
	if (timeout_ns < 0 || timeout_ns > day)
		timeout_ns = day;
	if (u->gather && timeout_ns > u->batch_wait_ns)
		timeout_ns = u->batch_wait_ns;
	ts.tv_sec = timeout_ns / DP_NS_PER_S;
	ts.tv_nsec = timeout_ns % DP_NS_PER_S;
	/*
	 * A socket that has packets is one thing to wake for, however many they are: with more
	 * asked for than there are sockets only the time ends the wait.
	 */
	io_uring_submit_and_wait_timeout(
		&u->ring, &cqe, u->gather ? u->socket_count + 2 : 1, &ts, NULL);
	dp_parker_disarm(u->parker);
	return u->gather ? timeout_ns : 0;
}

void dp_uring_losses(struct dp_uring *u, struct dp_counters *c)
{
	for (uint32_t i = 0; i < u->socket_count; i++) {
		uint32_t info[SK_MEMINFO_VARS] = {0};
		socklen_t size = sizeof(info);

		if (getsockopt(u->sockets[i].fd, SOL_SOCKET, SO_MEMINFO, info, &size) == 0)
			note_dropped(&u->sockets[i], info[SK_MEMINFO_DROPS], c);
	}
}

void dp_uring_close(struct dp_uring *u)
{
	io_uring_queue_exit(&u->ring);
}

/* ---- sockets ---- */

static int set_options(int fd, sa_family_t family, uint32_t *rcvbuf_bytes)
{
	int on = 1, off = 0, want = (int)(*rcvbuf_bytes / 2), got = 0; /* the kernel doubles it */
	socklen_t size = sizeof(got);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
		setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on)))
		return -errno;
	/* [::] takes IPv4 too, whatever the system's default */
	if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)))
		return -errno;
	/* with CAP_NET_ADMIN beyond rmem_max, else up to it */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof(want)) &&
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want)))
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &size))
		return -errno;
	*rcvbuf_bytes = (uint32_t)got;
	return 0;
}

int dp_udp_open(uint16_t family, uint32_t *rcvbuf_bytes)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_options(fd, family, rcvbuf_bytes);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int dp_udp_bind(int fd, const struct sockaddr_storage *addr)
{
	socklen_t bytes = addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						      : sizeof(struct sockaddr_in);

	return bind(fd, (const struct sockaddr *)addr, bytes) ? -errno : 0;
}
