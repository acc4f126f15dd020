/*
 * penstock-latency BROKERS TOPIC: how old readings are when a consumer has them.
 *
 * Reads the topic from its present end, prints "ready", and at SIGTERM one line of JSON:
 * percentiles in microseconds of now - time of the reading, which the load sets when it sends; and,
 * where the record tells its arrival, of arrival - time: what it waited before anybody looked at
 * it.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "perf/samples.h"

enum { TIMEOUT_MS = 10000 };
#define NS_PER_S 1000000000ll

static volatile sig_atomic_t stop, forget;

static void on_signal(int number)
{
	if (number == SIGTERM)
		stop = 1;
	else
		forget = 1;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "penstock-latency: %s: %s\n", what, why);
	exit(2);
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char error[256];

	if (rd_kafka_conf_set(conf, key, value, error, sizeof(error)) != RD_KAFKA_CONF_OK)
		die(key, error);
}

static rd_kafka_t *open_consumer(const char *brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char error[256];
	rd_kafka_t *rk;

	set(conf, "bootstrap.servers", brokers);
	set(conf, "group.id", "penstock-latency");
	set(conf, "enable.auto.commit", "false");
	set(conf, "enable.partition.eof", "true");
	set(conf, "fetch.wait.max.ms",
		"100"); /* of an empty fetch; one with data returns at once */
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
	if (!rk)
		die("consumer", error);
	rd_kafka_poll_set_consumer(rk);
	return rk;
}

/* Returns the number of partitions. */
static int assign_all(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *meta;
	rd_kafka_topic_partition_list_t *list;
	int count;

	if (rd_kafka_metadata(rk, 0, handle, &meta, TIMEOUT_MS) || meta->topics[0].err)
		die(topic, "no metadata");
	count = meta->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(meta);
	rd_kafka_topic_destroy(handle);
	list = rd_kafka_topic_partition_list_new(count);
	for (int i = 0; i < count; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_END;
	if (rd_kafka_assign(rk, list))
		die(topic, "cannot be assigned");
	rd_kafka_topic_partition_list_destroy(list);
	return count;
}

/* ---- times in a message ---- */

static bool digits(const char *p, int count, int64_t *out)
{
	*out = 0;
	for (int i = 0; i < count; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*out = *out * 10 + (p[i] - '0');
	}
	return true;
}

/* "2026-01-31T23:59:59[.fraction]Z" as Unix time in nanoseconds; -1 when it is something else. */
static int64_t iso_ns(const char *p)
{
	int64_t year, month, day, hour, minute, second, fraction = 0, unit = NS_PER_S / 10;
	struct tm tm;

	if (!digits(p, 4, &year) || !digits(p + 5, 2, &month) || !digits(p + 8, 2, &day) ||
		!digits(p + 11, 2, &hour) || !digits(p + 14, 2, &minute) ||
		!digits(p + 17, 2, &second))
		return -1;
	p += 19;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			fraction += (*p - '0') * unit;
	tm = (struct tm){.tm_year = (int)year - 1900,
		.tm_mon = (int)month - 1,
		.tm_mday = (int)day,
		.tm_hour = (int)hour,
		.tm_min = (int)minute,
		.tm_sec = (int)second};
	return (int64_t)timegm(&tm) * NS_PER_S + fraction;
}

/* The time behind `key` ("\"time\":"), a number of nanoseconds or ISO 8601; -1: none. */
static int64_t time_behind(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	if (!p)
		return -1;
	p += strlen(key);
	return *p == '"' ? iso_ns(p + 1) : strtoll(p, NULL, 10);
}

static void take(const rd_kafka_message_t *m, struct pf_samples *total, struct pf_samples *waited)
{
	char text[4096];
	size_t n = m->len < sizeof(text) - 1 ? m->len : sizeof(text) - 1;
	struct timespec ts;
	int64_t sent, arrival;

	clock_gettime(CLOCK_REALTIME, &ts);
	memcpy(text, m->payload, n);
	text[n] = '\0';
	sent = time_behind(text, "\"@timestamp\":");
	if (sent < 0)
		sent = time_behind(text, "\"time\":");
	if (sent < 0)
		return;
	pf_sample(total, ts.tv_sec * NS_PER_S + ts.tv_nsec - sent);
	arrival = time_behind(text, "\"arrival\":");
	if (arrival >= 0)
		pf_sample(waited, arrival - sent);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct pf_samples total = {0}, waited = {0};
	rd_kafka_message_t *m;
	rd_kafka_t *rk;
	int at_end = 0, partitions;

	if (argc != 3)
		die("usage", "BROKERS TOPIC");
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	rk = open_consumer(argv[1]);
	partitions = assign_all(rk, argv[2]);
	while (!stop) {
		m = rd_kafka_consumer_poll(rk, 100);
		if (forget)
			total.count = waited.count = 0, forget = 0;
		if (!m)
			continue;
		if (!m->err)
			take(m, &total, &waited);
		else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && ++at_end == partitions)
			puts("ready"), fflush(stdout);
		rd_kafka_message_destroy(m);
	}
	printf("{");
	pf_samples_print("total", &total);
	printf(",");
	pf_samples_print("waited", &waited);
	printf("}\n");
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return 0;
}
