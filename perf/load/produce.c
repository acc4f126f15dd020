/*
 * penstock-produce BROKERS TOPIC key=value...: the readings of penstock-load put into a Kafka topic
 * by themselves, one message each, for programs that read from there. Prints one line of JSON.
 *
 *   sensors=1000  partitions=1  rate=0 (messages/s, 0: as fast as it goes)  count=100000
 *   linger=0 (ms, of paced messages)
 *
 * Paced messages have the time at which they are produced; the others wait 20 ms at most and have
 * times 1/60,000 s apart, so that event time goes on as it does under the load of the bench.
 */
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "perf/load/load.h"

#define NS_PER_S  1000000000ll
#define FILL_RATE 60000
enum { TIMEOUT_MS = 60000 };

struct producer {
	struct pf_load load;
	rd_kafka_t *rk;
	rd_kafka_topic_t *topic;
	uint64_t count, delivered;
	uint32_t partitions;
	const char *linger_ms;
	double rate;
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "penstock-produce: %s: %s\n", what, why);
	exit(2);
}

static void option(struct producer *p, const char *key, const char *value)
{
	if (!strcmp(key, "sensors") && atoi(value) > 0)
		p->load.sensors = (uint32_t)atoi(value);
	else if (!strcmp(key, "partitions") && atoi(value) > 0)
		p->partitions = (uint32_t)atoi(value);
	else if (!strcmp(key, "rate"))
		p->rate = atof(value);
	else if (!strcmp(key, "linger"))
		p->linger_ms = value;
	else if (!strcmp(key, "count"))
		p->count = strtoull(value, NULL, 10);
	else
		die(key, "no such option, or not with this value");
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char error[256];

	if (rd_kafka_conf_set(conf, key, value, error, sizeof(error)) != RD_KAFKA_CONF_OK)
		die(key, error);
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct producer *p = opaque;

	(void)rk;
	p->delivered += !m->err;
}

static void open_producer(struct producer *p, const char *brokers, const char *topic)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char error[256];

	set(conf, "bootstrap.servers", brokers);
	set(conf, "linger.ms", p->rate > 0 ? p->linger_ms : "20");
	set(conf, "queue.buffering.max.messages", "1000000");
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rd_kafka_conf_set_opaque(conf, p);
	p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (!p->rk)
		die("producer", error);
	p->topic = rd_kafka_topic_new(p->rk, topic, NULL);
}

/* Message number n, into its sensor's partition. */
static void produce(struct producer *p, uint64_t n, int64_t time_ns)
{
	char text[PF_DATAGRAM_MAX];
	size_t bytes = pf_encode(&p->load, n, time_ns, text);
	int32_t to = (int32_t)(n % p->load.sensors % p->partitions);

	while (rd_kafka_produce(p->topic, to, RD_KAFKA_MSG_F_COPY, text, bytes, NULL, 0, NULL)) {
		if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			die("produce", rd_kafka_err2str(rd_kafka_last_error()));
		rd_kafka_poll(p->rk, 10);
	}
	rd_kafka_poll(p->rk, 0);
}

static void sleep_until(int64_t t)
{
	struct timespec ts = {.tv_sec = t / NS_PER_S, .tv_nsec = t % NS_PER_S};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

int main(int argc, char **argv)
{
	struct producer p = {
		.load = {.form = PF_JSON, .sensors = 1000, .readings = 1, .streams = 1},
		.count = 100000,
		.partitions = 1,
		.linger_ms = "0"};
	int64_t start, now;
	double took;

	if (argc < 3)
		die("usage", "BROKERS TOPIC [key=value ...]");
	for (int i = 3; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			die(argv[i], "not key=value");
		*value = '\0';
		option(&p, argv[i], value + 1);
	}
	open_producer(&p, argv[1], argv[2]);
	start = clock_ns(CLOCK_MONOTONIC);
	now = clock_ns(CLOCK_REALTIME);
	for (uint64_t n = 0; n < p.count; n++) {
		if (p.rate > 0)
			sleep_until(start + (int64_t)((double)n * 1e9 / p.rate));
		produce(&p, n,
			p.rate > 0 ? clock_ns(CLOCK_REALTIME)
				   : now + (int64_t)n * NS_PER_S / FILL_RATE);
	}
	took = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
	rd_kafka_flush(p.rk, TIMEOUT_MS);
	printf("{\"sent\":%llu,\"delivered\":%llu,\"seconds\":%.6f,\"cpu_s\":%.6f}\n",
		(unsigned long long)p.count, (unsigned long long)p.delivered, took,
		(double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
	rd_kafka_topic_destroy(p.topic);
	rd_kafka_destroy(p.rk);
	return p.delivered != p.count;
}
