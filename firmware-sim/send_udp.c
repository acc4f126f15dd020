/*
 * UDP: connected sockets (no route look-up a datagram, errors come back), sendmmsg, and where the
 * kernel has it segmentation offload (UDP_SEGMENT): a run of datagrams of equal size costs one pass
 * through the stack (--no-gso shows what that saves).
 */
#include "firmware-sim/send.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "firmware-sim/limits.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	LANE_BYTES = 65536,
	RUN_BYTES_MAX = 65000, /* of one offloaded run: with headers below an IP packet's 65,535 */
	RETRIES = 8,
};

union segment_control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(uint16_t))];
};

struct lane {
	int fd;
	uint32_t count, used;
	uint32_t len[FWS_BURST];
	uint32_t readings[FWS_BURST];
	uint8_t bytes[LANE_BYTES];
};

/* sendmmsg's arguments; message i holds frames [first[i], first[i + 1]). */
struct burst {
	struct mmsghdr messages[FWS_BURST];
	struct iovec parts[FWS_BURST];
	union segment_control control[FWS_BURST];
	uint32_t first[FWS_BURST + 1];
	uint32_t count;
};

struct udp {
	struct fws_sender base;
	bool gso;
	struct burst burst;
	struct lane lanes[];
};

/* Frames [i, end) that may leave as one run: equal sizes, the last may be shorter. */
static uint32_t run_end(const struct lane *l, uint32_t i)
{
	uint32_t end = i + 1, bytes = l->len[i];

	while (end < l->count && l->len[end] <= l->len[i] && bytes + l->len[end] <= RUN_BYTES_MAX) {
		bytes += l->len[end++];
		if (l->len[end - 1] < l->len[i])
			break;
	}
	return end;
}

static void add_segment_size(struct msghdr *m, union segment_control *c, uint32_t size)
{
	uint16_t segment = (uint16_t)size;

	m->msg_control = c->bytes;
	m->msg_controllen = sizeof(c->bytes);

	struct cmsghdr *head = CMSG_FIRSTHDR(m);

	head->cmsg_level = IPPROTO_UDP;
	head->cmsg_type = UDP_SEGMENT;
	head->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(head), &segment, sizeof(segment));
}

/* Messages for the lane's frames from `frame` on, which begin at byte `at`. */
static void build_burst(struct udp *u, struct lane *l, uint32_t frame, uint32_t at)
{
	struct burst *b = &u->burst;

	b->count = 0;
	while (frame < l->count) {
		uint32_t end = u->gso ? run_end(l, frame) : frame + 1, n = b->count++, bytes = 0;

		for (uint32_t i = frame; i < end; i++)
			bytes += l->len[i];
		b->parts[n] = (struct iovec){l->bytes + at, bytes};
		b->messages[n] =
			(struct mmsghdr){.msg_hdr = {.msg_iov = &b->parts[n], .msg_iovlen = 1}};
		if (end - frame > 1)
			add_segment_size(&b->messages[n].msg_hdr, &b->control[n], l->len[frame]);
		b->first[n] = frame;
		b->first[n + 1] = end;
		frame = end;
		at += bytes;
	}
}

static void count_message(struct udp *u, const struct lane *l, uint32_t message, bool sent)
{
	struct fws_send_stats *s = &u->base.stats;

	for (uint32_t i = u->burst.first[message]; i < u->burst.first[message + 1]; i++) {
		s->datagrams += sent;
		s->readings += sent ? l->readings[i] : 0;
		s->bytes += sent ? l->len[i] : 0;
		s->failed += !sent;
		s->failed_readings += sent ? 0 : l->readings[i];
	}
}

static bool gso_trouble(const struct udp *u, uint32_t message, int error)
{
	return u->burst.messages[message].msg_hdr.msg_control &&
	       (error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP);
}

static void flush_lane(struct udp *u, struct lane *l)
{
	struct burst *b = &u->burst;
	uint32_t done = 0, retries = 0;

	build_burst(u, l, 0, 0);
	while (done < b->count) {
		int n = sendmmsg(l->fd, b->messages + done, b->count - done, 0);

		u->base.stats.calls++;
		if (n > 0) {
			for (; n > 0; n--)
				count_message(u, l, done++, true);
			continue;
		}
		/* An ICMP answer to an earlier datagram; this one was not sent yet. */
		u->base.stats.refused += errno == ECONNREFUSED;
		if (gso_trouble(u, done, errno)) {
			uint32_t at = (uint32_t)((uint8_t *)b->parts[done].iov_base - l->bytes);

			u->gso = false;
			build_burst(u, l, b->first[done], at);
			done = 0;
		} else if ((errno != ECONNREFUSED && errno != EINTR) || ++retries > RETRIES) {
			count_message(u, l, done++, false);
			retries = 0;
		}
	}
	l->count = l->used = 0;
}

static uint8_t *udp_reserve(struct fws_sender *s, uint32_t lane, uint32_t max)
{
	struct udp *u = (struct udp *)s;
	struct lane *l = &u->lanes[lane];

	if (l->count == FWS_BURST || LANE_BYTES - l->used < max)
		flush_lane(u, l);
	return l->bytes + l->used;
}

static void udp_commit(struct fws_sender *s, uint32_t lane, uint32_t len, uint32_t readings)
{
	struct lane *l = &((struct udp *)s)->lanes[lane];

	l->len[l->count] = len;
	l->readings[l->count++] = readings;
	l->used += len;
}

static void udp_flush(struct fws_sender *s)
{
	struct udp *u = (struct udp *)s;

	for (uint32_t i = 0; i < s->lanes; i++)
		if (u->lanes[i].count)
			flush_lane(u, &u->lanes[i]);
}

static void udp_close(struct fws_sender *s)
{
	struct udp *u = (struct udp *)s;

	for (uint32_t i = 0; i < s->lanes; i++)
		if (u->lanes[i].fd >= 0)
			close(u->lanes[i].fd);
	free(u);
}

static const struct fws_sender_ops udp_ops = {udp_reserve, udp_commit, udp_flush, udp_close};

static int open_lane(struct lane *l, const struct addrinfo *to)
{
	int bytes = 4 << 20, rc = 0;

	l->fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)); /* a wish */
	if (connect(l->fd, to->ai_addr, to->ai_addrlen))
		rc = -errno;
	return rc;
}

int fws_udp_open(struct fws_sender **out, const struct fws_udp_config *c)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *to;
	struct udp *u = calloc(1, sizeof(*u) + c->lanes * sizeof(struct lane));
	int rc = 0;

	if (!u)
		return -ENOMEM;
	u->base.ops = &udp_ops;
	u->base.lanes = c->lanes;
	u->gso = c->gso;
	for (uint32_t i = 0; i < c->lanes; i++)
		u->lanes[i].fd = -1;
	if (getaddrinfo(c->host, c->port, &hints, &to)) {
		udp_close(&u->base);
		return -ENXIO;
	}
	for (uint32_t i = 0; !rc && i < c->lanes; i++)
		rc = open_lane(&u->lanes[i], to);
	freeaddrinfo(to);
	if (rc)
		udp_close(&u->base);
	else
		*out = &u->base;
	return rc;
}
