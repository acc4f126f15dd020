/* Set-up and end of both peers; nothing here runs per datagram but the delivery callback. */
#include "perf/peers/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/decode/wire.h"

volatile sig_atomic_t pf_stop;
static volatile sig_atomic_t forget;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		forget = 1;
	else
		pf_stop = 1;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(2);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct pf_peer *p = opaque;

	(void)rk;
	atomic_fetch_add_explicit(m->err ? &p->failed : &p->delivered, 1, memory_order_relaxed);
}

static int open_socket(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval wait = {.tv_usec = 100000}; /* so that a signal is noticed */
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 4 << 20; /* doubled */

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)))
		die("socket", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("bind", strerror(errno));
	return fd;
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char err[256];

	if (rd_kafka_conf_set(conf, key, value, err, sizeof(err)) != RD_KAFKA_CONF_OK)
		die(key, err);
}

static int32_t count_partitions(struct pf_peer *p)
{
	const struct rd_kafka_metadata *meta;
	int32_t n;

	if (rd_kafka_metadata(p->producer, 0, p->topic, &meta, 10000) || meta->topic_cnt != 1 ||
		meta->topics[0].partition_cnt < 1)
		die("topic", "no metadata; make the topic first");
	n = meta->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(meta);
	return n;
}

void pf_peer_init(struct pf_peer *p, int argc, char **argv, const char *const (*defaults)[2])
{
	struct sigaction action = {.sa_handler = on_signal};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char err[256];

	if (argc < 4)
		die("usage", "PORT BROKERS TOPIC [KEY=VALUE ...]");
	memset(p, 0, sizeof(*p));
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	set(conf, "bootstrap.servers", argv[2]);
	for (; (*defaults)[0]; defaults++)
		set(conf, (*defaults)[0], (*defaults)[1]);
	p->timed = argc > 4 && !strcmp(argv[4], "timed");
	for (int i = p->timed ? 5 : 4; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die(argv[i], "not KEY=VALUE");
		*value++ = '\0';
		set(conf, argv[i], value);
	}
	rd_kafka_conf_set_opaque(conf, p);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	p->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof(err));
	if (!p->producer)
		die("producer", err);
	p->topic = rd_kafka_topic_new(p->producer, argv[3], NULL);
	p->partitions = count_partitions(p);
	p->fd = open_socket((uint16_t)atoi(argv[1]));
	printf("ready\n");
	fflush(stdout);
}

void pf_peer_waited(struct pf_peer *p, const char *datagram, size_t bytes)
{
	struct dp_wire_head head;
	struct timespec ts;

	if (forget)
		p->waited.count = 0, forget = 0;
	if (bytes < sizeof(head))
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	memcpy(&head, datagram, sizeof(head));
	pf_sample(&p->waited, ts.tv_sec * 1000000000ll + ts.tv_nsec - head.base_time_ns);
}

int pf_peer_end(struct pf_peer *p)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(info);
	struct rusage use;

	rd_kafka_flush(p->producer, 30000);
	getsockopt(p->fd, SOL_SOCKET, SO_MEMINFO, info, &size);
	p->dropped = info[SK_MEMINFO_DROPS];
	getrusage(RUSAGE_SELF, &use);
	printf("{\"received\":%llu,\"produced\":%llu,\"delivered\":%llu,\"failed\":%llu,"
	       "\"queue_full\":%llu,\"dropped\":%u,\"cpu_s\":%.6f,",
		(unsigned long long)p->received, (unsigned long long)p->produced,
		(unsigned long long)atomic_load(&p->delivered),
		(unsigned long long)atomic_load(&p->failed), (unsigned long long)p->queue_full,
		p->dropped,
		(double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
			(double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
	pf_samples_print("waited", &p->waited);
	printf("}\n");
	rd_kafka_topic_destroy(p->topic);
	rd_kafka_destroy(p->producer);
	close(p->fd);
	return 0;
}
