/* Boot: one socket per worker and input, and the worker's ring over its sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

enum { RECEIVE_BUFFERS = 1024 /* of DP_DATAGRAM_BYTES_MAX, a worker */ };
#define BATCH_WAIT_NS 1000000ll /* most that a packet waits for company when many come */

/*
 * SO_REUSEPORT shares a port with any other process of this user that asked for the same: two
 * daemons would each get a part of the sensors. A bind without it finds out whether it is taken.
 */
static int probe(const struct sockaddr_storage *addr, socklen_t bytes)
{
	int fd = socket(addr->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), off = 0, err = 0;

	if (fd < 0)
		return -errno;
	if (addr->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)addr, bytes))
		err = -errno;
	close(fd);
	return err;
}

/* The port that a socket got; the others of its input are bound to the same. */
static int take_port(int fd, struct sockaddr_storage *addr, uint16_t *port)
{
	socklen_t bytes = sizeof(*addr);

	if (getsockname(fd, (struct sockaddr *)addr, &bytes))
		return -errno;
	*port = ntohs(addr->ss_family == AF_INET6 ? ((struct sockaddr_in6 *)addr)->sin6_port
						  : ((struct sockaddr_in *)addr)->sin_port);
	return 0;
}

/* A socket for each worker; where the input comes in d->listening is its place in their `fds`. */
static int open_input(struct ctl_daemon *d, uint16_t index)
{
	const struct ctl_input *in = &d->config->inputs[index];
	struct ctl_input_view *view = &d->listening[d->listening_count];

	*view = (struct ctl_input_view){.config = in};
	for (uint32_t w = 0; w < d->config->workers.count; w++) {
		struct ctl_worker_thread *t = &d->worker_threads[w];
		uint32_t receive = (uint32_t)in->receive_buffer_bytes;
		int fd = dp_udp_open(in->listen.address.any.sa_family, &receive);

		if (fd < 0)
			return fd;
		t->inputs[t->fd_count] = index;
		t->fds[t->fd_count++] = fd;
		view->receive_bytes = receive;
	}
	d->listening_count++;
	if (view->receive_bytes < in->receive_buffer_bytes)
		ctl_log(CTL_WARNING,
			"input %s: receive buffer of %u KiB instead of %llu KiB: raise "
			"net.core.rmem_max",
			in->name, view->receive_bytes >> 10,
			(unsigned long long)in->receive_buffer_bytes >> 10);
	return 0;
}

static int bind_input(struct ctl_daemon *d, uint32_t place)
{
	struct ctl_input_view *view = &d->listening[place];
	const struct ctl_input *in = view->config;
	struct sockaddr_storage addr = {0};
	int err;

	memcpy(&addr, &in->listen.address, in->listen.length);
	err = probe(&addr, in->listen.length);
	for (uint32_t w = 0; w < d->config->workers.count && !err; w++) {
		int fd = d->worker_threads[w].fds[place];

		err = dp_udp_bind(fd, &addr);
		if (!err && w == 0)
			err = take_port(fd, &addr, &view->port);
	}
	return err;
}

static int input_failed(const struct ctl_input *in, int err)
{
	const char *advice = err == -EADDRINUSE ? "; another process has that port"
			     : err == -EACCES	? "; ports below 1024 need CAP_NET_BIND_SERVICE"
			     : err == -EADDRNOTAVAIL ? "; no interface here has that address"
						     : "";

	ctl_log(CTL_ERROR, "input %s: %s: %s%s", in->name, in->listen.text, strerror(-err), advice);
	return CTL_EXIT_INPUT;
}

/* What a packet waits for company its record does not wait for its block to fill. */
static int open_ring(struct ctl_worker_thread *t, int64_t linger_ns)
{
	const struct dp_uring_config config = {.fds = t->fds,
		.inputs = t->inputs,
		.count = t->fd_count,
		.buffers = RECEIVE_BUFFERS,
		.batch_wait_ns = linger_ns < BATCH_WAIT_NS ? linger_ns : BATCH_WAIT_NS};
	int err = dp_parker_init(&t->parker);

	if (err) {
		t->parker.fd = -1;
		return err;
	}
	err = dp_arena_init(&t->arena, dp_uring_bytes(&config));
	err = err ? err : dp_uring_open(&config, &t->arena, &t->uring);
	if (err)
		return err;
	t->worker->source = dp_uring_source(t->uring);
	return 0;
}

static int ring_failed(int err)
{
	switch (err) {
	case -ENOSYS:
	case -EPERM:
	case -EACCES:
		ctl_log(CTL_ERROR,
			"inputs: no io_uring here: %s. Allow it: sysctl "
			"kernel.io_uring_disabled=0; "
			"in a container, a seccomp profile with the io_uring_* calls",
			strerror(-err));
		return CTL_EXIT_NO_URING;
	case -EINVAL:
		ctl_log(CTL_ERROR, "inputs: this kernel's io_uring is too old; Linux 6.1 or later "
				   "is needed");
		return CTL_EXIT_NO_URING;
	case -ENOMEM:
		ctl_log(CTL_ERROR,
			"inputs: io_uring: %s; raise the limit of locked memory "
			"(ulimit -l, LimitMEMLOCK)",
			strerror(-err));
		return CTL_EXIT_FAILED;
	default:
		ctl_log(CTL_ERROR, "inputs: io_uring: %s", strerror(-err));
		return CTL_EXIT_FAILED;
	}
}

int ctl_open_inputs(struct ctl_daemon *d)
{
	const struct ctl_config *c = d->config;
	int status = CTL_EXIT_OK, err;

	for (uint32_t w = 0; w < c->workers.count; w++) {
		d->worker_threads[w].worker = &d->workers[w];
		d->worker_threads[w].clock = &d->clock;
		d->worker_threads[w].core = c->workers.core[w];
		d->worker_threads[w].parker.fd = -1;
	}
	for (uint16_t i = 0; i < c->input_count && !status; i++) {
		err = c->inputs[i].enabled ? open_input(d, i) : 0;
		status = err ? input_failed(&c->inputs[i], err) : CTL_EXIT_OK;
	}
	for (uint32_t w = 0; w < c->workers.count && !status; w++) {
		err = open_ring(&d->worker_threads[w], c->journal.linger_ns);
		status = err ? ring_failed(err) : CTL_EXIT_OK;
	}
	if (status)
		ctl_close_inputs(d);
	return status;
}

int ctl_bind_inputs(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->listening_count; i++) {
		int err = bind_input(d, i);

		if (err)
			return input_failed(d->listening[i].config, err);
	}
	return CTL_EXIT_OK;
}

void ctl_close_inputs(struct ctl_daemon *d)
{
	for (uint32_t w = d->config->workers.count; w-- > 0;) {
		struct ctl_worker_thread *t = &d->worker_threads[w];

		if (t->uring)
			dp_uring_close(t->uring);
		t->uring = NULL;
		dp_arena_fini(&t->arena);
		dp_parker_fini(&t->parker);
		while (t->fd_count)
			close(t->fds[--t->fd_count]);
	}
	d->listening_count = 0;
}
