/* Parking of threads: writer, outputs, workers (whose ring polls the same eventfd). */
#include "dataplane/core/sleep.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int dp_parker_init(struct dp_parker *p)
{
	atomic_init(&p->sleeping, 0);
	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return p->fd < 0 ? -errno : 0;
}

void dp_parker_fini(struct dp_parker *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void dp_parker_wake(struct dp_parker *p)
{
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst); /* S2: pairs with S1 in dp_parker_arm */
	if (!atomic_load_explicit(&p->sleeping, memory_order_relaxed))
		return;
	if (!atomic_exchange_explicit(&p->sleeping, 0, memory_order_relaxed))
		return; /* somebody else wakes it */
	while (write(p->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void dp_parker_wait(struct dp_parker *p, int also_fd, int64_t timeout_ns)
{
	struct pollfd fds[2] = {{.fd = p->fd, .events = POLLIN}, {.fd = also_fd, .events = POLLIN}};
	const int64_t day = 86400 * DP_NS_PER_S;
	int64_t ns = timeout_ns < 0 || timeout_ns > day ? day : timeout_ns;
	struct timespec ts = {.tv_sec = ns / DP_NS_PER_S, .tv_nsec = ns % DP_NS_PER_S};
	uint64_t count;

	if (ppoll(fds, also_fd < 0 ? 1 : 2, &ts, NULL) > 0 && (fds[0].revents & POLLIN))
		while (read(p->fd, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	dp_parker_disarm(p);
}
