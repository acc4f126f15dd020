/*
 * penstock-load PORT key=value...: sends to 127.0.0.1:PORT, then prints one line of JSON.
 *
 *   form=binary|json|influx  readings=1  sensors=1000  streams=1
 *   rate=60000 (datagrams/s, 0: as fast as it goes)  seconds=10
 *   tick_us=0 (0: each datagram when its time has come; else bursts of what has come due)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "perf/load/load.h"

enum { BURST = 64 };
#define NS_PER_S 1000000000ll

struct sender {
	struct pf_load load;
	double rate, seconds;
	int64_t tick_ns;
	int fd;
	uint64_t sent, bytes, refused;
	int64_t late_max_ns; /* furthest behind the pace when about to send */
	struct mmsghdr headers[BURST];
	struct iovec iov[BURST];
	char data[BURST][PF_DATAGRAM_MAX];
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "penstock-load: %s: %s\n", what, why);
	exit(2);
}

static enum pf_form form_of(const char *name)
{
	static const char *const names[] = {
		[PF_BINARY] = "binary", [PF_JSON] = "json", [PF_INFLUX] = "influx"};

	for (int i = PF_BINARY; i <= PF_INFLUX; i++)
		if (!strcmp(name, names[i]))
			return (enum pf_form)i;
	die(name, "unknown form");
}

static void option(struct sender *s, const char *key, const char *value)
{
	if (!strcmp(key, "form"))
		s->load.form = form_of(value);
	else if (!strcmp(key, "readings"))
		s->load.readings = (uint32_t)atoi(value);
	else if (!strcmp(key, "sensors"))
		s->load.sensors = (uint32_t)atoi(value);
	else if (!strcmp(key, "streams"))
		s->load.streams = (uint16_t)atoi(value);
	else if (!strcmp(key, "rate"))
		s->rate = atof(value);
	else if (!strcmp(key, "seconds"))
		s->seconds = atof(value);
	else if (!strcmp(key, "tick_us"))
		s->tick_ns = atoi(value) * 1000ll;
	else
		die(key, "unknown option");
}

static void parse(struct sender *s, int argc, char **argv)
{
	*s = (struct sender){
		.load = {.form = PF_BINARY, .sensors = 1000, .readings = 1, .streams = 1},
		.rate = 60000,
		.seconds = 10};
	if (argc < 2)
		die("usage", "PORT [key=value ...]");
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die(argv[i], "not key=value");
		*value = '\0';
		option(s, argv[i], value + 1);
	}
	if (s->load.readings < 1 || s->load.readings > PF_READINGS_MAX || s->load.sensors < 1 ||
		s->load.streams < 1)
		die("usage", "1 to 16 readings, at least one sensor and stream");
	if (getrandom(&s->load.boot, sizeof(s->load.boot), 0) != sizeof(s->load.boot))
		die("getrandom", strerror(errno));
}

static void open_socket(struct sender *s, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof(to)))
		die("socket", strerror(errno));
	for (int i = 0; i < BURST; i++) {
		s->iov[i].iov_base = s->data[i];
		s->headers[i].msg_hdr = (struct msghdr){.msg_iov = &s->iov[i], .msg_iovlen = 1};
	}
}

/* `count` datagrams; refused ones (nobody listens any more) are not sent again. */
static void send_burst(struct sender *s, unsigned count)
{
	int64_t now = clock_ns(CLOCK_REALTIME);
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++) {
		s->iov[i].iov_len = pf_encode(&s->load, s->sent + i, now, s->data[i]);
		s->bytes += s->iov[i].iov_len;
	}
	while (done < count) {
		int n = sendmmsg(s->fd, s->headers + done, count - done, 0);

		if (n < 0 && errno != EINTR) {
			s->refused++;
			n = 1;
		}
		done += n > 0 ? (unsigned)n : 0;
	}
	s->sent += count;
}

static void sleep_until(int64_t t)
{
	struct timespec ts = {.tv_sec = t / NS_PER_S, .tv_nsec = t % NS_PER_S};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* Datagrams due by `now`, of which none is sent before its time. */
static uint64_t due(const struct sender *s, int64_t elapsed_ns)
{
	return (uint64_t)((double)elapsed_ns * s->rate / 1e9) + 1;
}

static void pace(struct sender *s, int64_t start, uint64_t total)
{
	while (s->sent < total) {
		int64_t now = clock_ns(CLOCK_MONOTONIC), next;
		uint64_t owed = due(s, now - start);
		int64_t late;

		if (owed > total)
			owed = total;
		if (owed > s->sent) {
			late = now - start - (int64_t)((double)s->sent * 1e9 / s->rate);
			s->late_max_ns = late > s->late_max_ns ? late : s->late_max_ns;
			send_burst(s, owed - s->sent < BURST ? (unsigned)(owed - s->sent) : BURST);
			continue;
		}
		next = start + (int64_t)((double)s->sent * 1e9 / s->rate) + 1;
		sleep_until(next > now + s->tick_ns ? next : now + s->tick_ns);
	}
}

static void flood(struct sender *s, int64_t start)
{
	int64_t end = start + (int64_t)(s->seconds * 1e9);

	while (clock_ns(CLOCK_MONOTONIC) < end)
		send_burst(s, BURST);
}

int main(int argc, char **argv)
{
	static struct sender s;
	int64_t start, cpu;
	double took;

	parse(&s, argc, argv);
	open_socket(&s, (uint16_t)atoi(argv[1]));
	prctl(PR_SET_TIMERSLACK, 1ul); /* ns; the default of 50 us would make bursts */
	start = clock_ns(CLOCK_MONOTONIC);
	if (s.rate > 0)
		pace(&s, start, (uint64_t)(s.rate * s.seconds));
	else
		flood(&s, start);
	took = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	printf("{\"sent\":%llu,\"readings\":%llu,\"bytes\":%llu,\"refused\":%llu,\"seconds\":%.6f,"
	       "\"cpu_s\":%.6f,\"late_max_ms\":%.3f}\n",
		(unsigned long long)s.sent, (unsigned long long)(s.sent * s.load.readings),
		(unsigned long long)s.bytes, (unsigned long long)s.refused, took, (double)cpu / 1e9,
		(double)s.late_max_ns / 1e6);
	close(s.fd);
	return 0;
}
