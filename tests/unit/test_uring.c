/*
 * rx/rx_uring.c on real sockets of the loopback: what breaks if it fails: datagrams that are lost
 * without being counted, losses counted that were none, a worker that sleeps on.
 */
#include "dataplane/rx/rx_uring.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 2 };

static struct dp_uring *uring;
static struct dp_arena arena;
static struct dp_parker parker;
static struct dp_source source;
static struct dp_counters counters;
static struct sockaddr_in address[SOCKETS];
static int fds[SOCKETS];
static const uint16_t inputs[SOCKETS] = {4, 2};
static int sender;

static int64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * DP_NS_PER_S + ts.tv_nsec;
}

static void open_socket(uint32_t i, uint32_t receive_bytes)
{
	struct sockaddr_storage any = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&any;
	socklen_t size = sizeof(address[i]);

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[i] = dp_udp_open(AF_INET, &receive_bytes);
	cr_assert_geq(fds[i], 0);
	cr_assert_eq(dp_udp_bind(fds[i], &any), 0);
	cr_assert_eq(getsockname(fds[i], (struct sockaddr *)&address[i], &size), 0);
}

static void make_all(uint32_t buffers, uint32_t receive_bytes)
{
	struct dp_uring_config config = {.fds = fds,
		.inputs = inputs,
		.count = SOCKETS,
		.buffers = buffers,
		.batch_wait_ns = 200000};
	int err;

	for (uint32_t i = 0; i < SOCKETS; i++)
		open_socket(i, receive_bytes);
	sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(sender, 0);
	cr_assert_eq(dp_arena_init(&arena, dp_uring_bytes(&config)), 0);
	err = dp_uring_open(&config, &arena, &uring);
	if (err == -ENOSYS || err == -EPERM)
		cr_skip_test("no io_uring here");
	cr_assert_eq(err, 0);
	cr_assert_eq(dp_parker_init(&parker), 0);
	source = dp_uring_source(uring);
}

static void open_all(uint32_t buffers, uint32_t receive_bytes)
{
	make_all(buffers, receive_bytes);
	cr_assert_eq(dp_uring_start(uring, &parker), 0);
}

static void close_all(void)
{
	dp_uring_close(uring);
	dp_parker_fini(&parker);
	dp_arena_fini(&arena);
	for (uint32_t i = 0; i < SOCKETS; i++)
		close(fds[i]);
	close(sender);
}

static void send_to(uint32_t i, const void *bytes, size_t count)
{
	cr_assert_eq(
		sendto(sender, bytes, count, 0, (struct sockaddr *)&address[i], sizeof(address[i])),
		(ssize_t)count);
}

static uint32_t burst(struct dp_packet *packets)
{
	return source.ops->burst(source.ctx, packets, DP_BURST_MAX, &counters);
}

/* Reads until `want` packets came or nothing has come for a while; their number. */
static uint32_t drain(uint32_t want)
{
	struct dp_packet packets[DP_BURST_MAX];
	uint32_t got = 0;

	for (int idle = 0; got < want && idle < 20;) {
		uint32_t n = burst(packets);

		source.ops->done(source.ctx, packets, n);
		got += n;
		if (n) {
			idle = 0;
			continue;
		}
		dp_parker_arm(&parker);
		dp_uring_wait(uring, 5 * DP_NS_PER_MS);
		idle++;
	}
	return got;
}

Test(uring, a_datagram_comes_whole_and_with_its_input)
{
	struct dp_packet packets[DP_BURST_MAX];
	uint32_t n = 0;

	open_all(64, 1 << 20);
	send_to(1, "water", 5);
	while (!n)
		n = burst(packets);
	cr_assert_eq(n, 1);
	cr_assert_eq(packets[0].input, 2);
	cr_assert_eq(packets[0].bytes, 5);
	cr_assert_not(packets[0].truncated);
	cr_assert_eq(memcmp(packets[0].data, "water", 5), 0);
	source.ops->done(source.ctx, packets, n);
	close_all();
}

Test(uring, what_is_larger_than_the_buffer_is_flagged_the_largest_is_not)
{
	static char big[DP_DATAGRAM_BYTES_MAX + 1000];
	struct dp_packet packets[DP_BURST_MAX];
	uint32_t n = 0;

	open_all(64, 1 << 20);
	memset(big, 7, sizeof(big));
	send_to(0, big, DP_DATAGRAM_BYTES_MAX);
	send_to(0, big, sizeof(big));
	while (n < 2)
		n += burst(packets + n);
	cr_assert_eq(packets[0].bytes, DP_DATAGRAM_BYTES_MAX);
	cr_assert_not(packets[0].truncated);
	cr_assert_eq(memcmp(packets[0].data, big, DP_DATAGRAM_BYTES_MAX), 0);
	cr_assert(packets[1].truncated);
	close_all();
}

/* One datagram that is empty is one datagram: it is rejected by name later, not lost here. */
Test(uring, an_empty_datagram_is_a_packet)
{
	open_all(64, 1 << 20);
	send_to(0, "", 0);
	cr_assert_eq(drain(1), 1);
	close_all();
}

static void *wake_later(void *arg)
{
	struct timespec ts = {.tv_nsec = 20 * DP_NS_PER_MS};

	(void)arg;
	nanosleep(&ts, NULL);
	dp_parker_wake(&parker);
	return NULL;
}

Test(uring, the_parker_wakes_a_wait_again_and_again)
{
	struct dp_packet packets[DP_BURST_MAX];

	open_all(64, 1 << 20);
	for (int i = 0; i < 5; i++) {
		int64_t began = monotonic();
		pthread_t thread;

		dp_parker_arm(&parker);
		cr_assert_eq(pthread_create(&thread, NULL, wake_later, NULL), 0);
		dp_uring_wait(uring, 20 * DP_NS_PER_S);
		cr_assert_eq(pthread_join(thread, NULL), 0);
		cr_assert_lt(monotonic() - began, 10 * DP_NS_PER_S, "wake %d was lost", i);
		cr_assert_eq(burst(packets), 0);
		cr_assert_eq(atomic_load(&parker.sleeping), 0);
	}
	close_all();
}

Test(uring, a_wait_ends_with_its_time)
{
	int64_t began = monotonic();

	open_all(64, 1 << 20);
	dp_parker_arm(&parker);
	dp_uring_wait(uring, 10 * DP_NS_PER_MS);
	cr_assert_lt(monotonic() - began, 10 * DP_NS_PER_S);
	close_all();
}

/* All buffers taken, the receive ends: it must begin again, and nothing that waits is lost. */
Test(uring, receiving_goes_on_after_the_buffers_ran_out)
{
	uint32_t sent = 400;

	open_all(8, 8 << 20);
	for (uint32_t i = 0; i < sent; i++)
		send_to(i % SOCKETS, &i, sizeof(i));
	cr_assert_eq(drain(sent), sent);
	cr_assert_gt(dp_counted(&counters, DP_C_RX_STALLS), 0);
	send_to(0, "x", 1);
	cr_assert_eq(drain(1), 1);
	dp_uring_losses(uring, &counters);
	cr_assert_eq(dp_counted(&counters, DP_C_LOST_SOCKET), 0);
	close_all();
}

static void *receive_sealed(void *arg)
{
	uint32_t *got = arg;

	/* the ring belongs to the thread that starts it */
	if (dp_uring_start(uring, &parker))
		return NULL;
	dp_mem_seal();
	*got = drain(400);
	dp_uring_losses(uring, &counters);
	return NULL;
}

Test(uring, receiving_waiting_and_arming_again_allocate_nothing)
{
	pthread_t thread;
	uint32_t got = 0;

	make_all(8, 8 << 20);
	for (uint32_t i = 0; i < 400; i++)
		send_to(i % SOCKETS, &i, sizeof(i));
	cr_assert_eq(pthread_create(&thread, NULL, receive_sealed, &got), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(got, 400);
	close_all();
}

/* A stop ends receiving at the first burst without a packet: it must mean an empty socket. */
Test(uring, a_burst_without_packets_means_that_none_waits)
{
	struct dp_packet packets[DP_BURST_MAX];
	uint32_t sent = 400, got = 0, n;

	open_all(8, 8 << 20);
	for (uint32_t i = 0; i < sent; i++)
		send_to(0, &i, sizeof(i));
	while ((n = burst(packets))) {
		source.ops->done(source.ctx, packets, n);
		got += n;
	}
	cr_assert_eq(got, sent);
	close_all();
}

/*
 * The socket tells its drops when asked, a packet tells those until it was queued: whatever the
 * order in which we hear of them, each counts once.
 */
Test(uring, losses_are_counted_once_whoever_tells_first)
{
	char bytes[1000] = {0};
	uint32_t sent = 0, got = 0;

	open_all(64, 16 << 10);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 300; i++, sent++)
			send_to(0, bytes, sizeof(bytes));
		if (round % 2) /* before the packets in the queue are heard */
			dp_uring_losses(uring, &counters);
		got += drain(round % 2 ? 10 : UINT32_MAX);
		for (int i = 0; i < 3; i++, sent++)
			send_to(0, bytes, sizeof(bytes));
	}
	got += drain(UINT32_MAX);
	dp_uring_losses(uring, &counters);
	cr_assert_lt(got, sent, "nothing was dropped: the test shows nothing");
	cr_assert_eq(got + dp_counted(&counters, DP_C_LOST_SOCKET), sent);
	close_all();
}
