/*
 * The Kafka output: messages into librdkafka, its delivery reports out.  Reports, errors, logs and
 * answers of the admin client all come over one queue, served without waiting; an eventfd says when
 * there is something on it.  In the packed form a block waits until the broker has its schema.
 */
#include "dataplane/egress/kafka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/egress/json.h"
#include "dataplane/egress/kafka_conf.h"
#include "dataplane/egress/kafka_headers.h"
#include "dataplane/egress/number.h"
#include "dataplane/egress/refusal.h"
#include "dataplane/egress/volley.h"
#include "dataplane/journal/schema.h"

enum {
	EVENTS_PER_SERVE = 64,
	REPORTS_PER_CALL = 256,
	SCHEMAS_MAX = 16,
	TOPIC_BYTES_MAX = 256,
	TROUBLE_BYTES = 256,
	ADMIN_TIMEOUT_MS = 2000,
	FLUSH_MS = 1,
	ASKS_MAX = 2, /* for the schema topic, once a broker is there */
};

#define COOKIE_OF_SCHEMA UINT64_MAX

enum schema_topic { TOPIC_UNASKED, TOPIC_ASKED, TOPIC_SETTLED };
enum schema_state { SCHEMA_ON_ITS_WAY = 1, SCHEMA_THERE };

struct schema {
	uint64_t hash;
	enum schema_state state;
};

struct dp_kafka {
	struct dp_kafka_config config;
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	rd_kafka_topic_t *topic[DP_REC_KINDS]; /* [0]: of blocks, and where no other is named */
	rd_kafka_topic_t *schemas;
	int wake;   /* eventfd */
	int broken; /* -errno that the next serve returns */
	enum schema_topic schema_topic;
	uint32_t asks;
	struct schema schema[SCHEMAS_MAX]; /* a ring: the oldest is forgotten and sent again */
	uint32_t schema_next;
	struct dp_volley volley;
	struct dp_refusal refusal;
	int64_t now_ns; /* steady; of the last serve */
	char schema_name[TOPIC_BYTES_MAX];
	char trouble[TROUBLE_BYTES]; /* "" after a delivery */
};

/* Cut where it is too long: it is for reading. */
static void note(struct dp_kafka *k, const char *what, const char *detail)
{
	int n = snprintf(k->trouble, sizeof(k->trouble), "%s", what);

	if (detail && n >= 0 && (size_t)n < sizeof(k->trouble))
		n = snprintf(k->trouble + n, sizeof(k->trouble) - (size_t)n, ": %s", detail);
	(void)n;
}

/* ---- the producer ---- */

static void destroy_producer(struct dp_kafka *k)
{
	for (int i = 0; i < DP_REC_KINDS; i++) {
		if (k->topic[i])
			rd_kafka_topic_destroy(k->topic[i]);
		k->topic[i] = NULL;
	}
	if (k->schemas)
		rd_kafka_topic_destroy(k->schemas);
	k->schemas = NULL;
	if (k->queue) {
		rd_kafka_queue_io_event_enable(k->queue, -1, NULL, 0);
		rd_kafka_queue_destroy(k->queue);
	}
	k->queue = NULL;
	if (k->rk)
		rd_kafka_destroy(k->rk);
	k->rk = NULL;
}

static bool open_topics(struct dp_kafka *k)
{
	k->topic[0] = rd_kafka_topic_new(k->rk, k->config.topic, NULL);
	if (!k->topic[0])
		return false;
	if (k->config.form == DP_FORM_PACKED) {
		k->schemas = rd_kafka_topic_new(k->rk, k->schema_name, NULL);
		return k->schemas != NULL;
	}
	for (int i = 1; i < DP_REC_KINDS; i++) {
		if (!k->config.kind_topic[i])
			continue;
		k->topic[i] = rd_kafka_topic_new(k->rk, k->config.kind_topic[i], NULL);
		if (!k->topic[i])
			return false;
	}
	return true;
}

/* The most that a request of it holds. */
static uint32_t request_bytes(const rd_kafka_conf_t *conf)
{
	static const char *const names[] = {"batch.size", "message.max.bytes"};
	uint32_t least = DP_BATCH_BYTES;

	for (size_t i = 0; i < 2; i++) {
		char text[32];
		size_t n = sizeof(text);

		if (rd_kafka_conf_get(conf, names[i], text, &n) == RD_KAFKA_CONF_OK &&
			strtoul(text, NULL, 10) < least)
			least = (uint32_t)strtoul(text, NULL, 10);
	}
	return least;
}

static int make_producer(struct dp_kafka *k, char *why, size_t size)
{
	static const uint64_t one = 1;
	rd_kafka_conf_t *conf = dp_kafka_conf(&k->config, &k->refusal, true, why, size);
	char text[256];

	if (!conf)
		return -EINVAL;
	k->refusal.request_bytes = request_bytes(conf);
	k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (!k->rk) {
		rd_kafka_conf_destroy(conf);
		snprintf(why, size, "kafka: %s", text);
		return -EINVAL;
	}
	k->queue = rd_kafka_queue_get_main(k->rk);
	rd_kafka_set_log_queue(k->rk, NULL); /* the main queue */
	rd_kafka_queue_io_event_enable(k->queue, k->wake, &one, sizeof(one));
	if (!open_topics(k)) {
		snprintf(why, size, "kafka: %s", rd_kafka_err2str(rd_kafka_last_error()));
		destroy_producer(k);
		return -EINVAL;
	}
	k->broken = 0;
	k->schema_topic = TOPIC_UNASKED;
	k->asks = 0;
	memset(k->schema, 0, sizeof(k->schema));
	/* One by one nothing waits for company. */
	k->volley = (struct dp_volley){.linger_ns = k->refusal.alone ? 0 : k->config.linger_ns};
	return 0;
}

/* ---- schemas ---- */

/* A compacted topic keeps every schema for as long as there may be blocks of it. */
static void ask_for_schema_topic(struct dp_kafka *k)
{
	rd_kafka_NewTopic_t *t;
	rd_kafka_AdminOptions_t *options;
	char text[128];

	t = rd_kafka_NewTopic_new(k->schema_name, 1, -1, text, sizeof(text));
	options = rd_kafka_AdminOptions_new(k->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	if (t && options) {
		rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
		rd_kafka_AdminOptions_set_request_timeout(
			options, ADMIN_TIMEOUT_MS, text, sizeof(text));
		rd_kafka_CreateTopics(k->rk, &t, 1, options, k->queue);
		k->schema_topic = TOPIC_ASKED;
	} else {
		note(k, k->schema_name, "cannot be asked for");
		k->broken = -EINVAL;
	}
	if (options)
		rd_kafka_AdminOptions_destroy(options);
	if (t)
		rd_kafka_NewTopic_destroy(t);
}

static bool broker_seen(const struct dp_kafka *k)
{
	char *id = rd_kafka_clusterid(k->rk, 0);

	if (id)
		rd_kafka_mem_free(k->rk, id);
	return id != NULL;
}

/*
 * Whatever the answer, it is settled once there is one: the topic is there already, or we may not
 * make topics and somebody else does. Without an answer it is asked for again, but not for ever
 * when it is only the controller that cannot be reached.
 */
static void take_topic_answer(struct dp_kafka *k, rd_kafka_event_t *event)
{
	switch (rd_kafka_event_error(event)) {
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		note(k, k->schema_name, rd_kafka_event_error_string(event));
		k->asks += broker_seen(k);
		k->schema_topic = k->asks < ASKS_MAX ? TOPIC_UNASKED : TOPIC_SETTLED;
		break;
	default:
		k->schema_topic = TOPIC_SETTLED;
	}
}

static int produce(struct dp_kafka *k, const rd_kafka_vu_t *vus, size_t count)
{
	rd_kafka_error_t *error = rd_kafka_produceva(k->rk, vus, count);
	rd_kafka_resp_err_t code;

	if (!error)
		return 0;
	code = rd_kafka_error_code(error);
	note(k, "produce", rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	switch (code) {
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
		return -EAGAIN;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return -EMSGSIZE;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		return -ENXIO;
	default:
		return -EIO;
	}
}

#define VU(type, field, value)                                                                     \
	{                                                                                          \
		.vtype = RD_KAFKA_VTYPE_##type, .u.field = (value)                                 \
	}

static int send_schema(struct dp_kafka *k, uint64_t hash, const struct dp_stream_set *streams)
{
	size_t bytes = dp_schema_write(streams, NULL, 0);
	void *value = malloc(bytes);
	char key[16];
	int rc;

	if (!value)
		return -ENOMEM;
	dp_schema_write(streams, value, bytes);
	dp_number_hex(hash, key);
	{
		const rd_kafka_vu_t vus[] = {
			VU(RKT, rkt, k->schemas),
			VU(MSGFLAGS, i, RD_KAFKA_MSG_F_COPY),
			VU(OPAQUE, ptr, (void *)(uintptr_t)COOKIE_OF_SCHEMA),
			{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, bytes}},
			{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {key, sizeof(key)}},
		};

		rc = produce(k, vus, sizeof(vus) / sizeof(vus[0]));
	}
	free(value);
	return rc;
}

/* 0: the broker has it; -EAGAIN: on its way; other -errno. */
static int need_schema(struct dp_kafka *k, uint64_t hash, const struct dp_stream_set *streams)
{
	int rc;

	for (uint32_t i = 0; i < SCHEMAS_MAX; i++)
		if (k->schema[i].state && k->schema[i].hash == hash)
			return k->schema[i].state == SCHEMA_THERE ? 0 : -EAGAIN;
	if (k->schema_topic == TOPIC_UNASKED)
		ask_for_schema_topic(k);
	if (k->schema_topic != TOPIC_SETTLED)
		return -EAGAIN;
	rc = send_schema(k, hash, streams);
	if (rc)
		return rc == -EMSGSIZE ? -EIO : rc;
	k->schema[k->schema_next++ % SCHEMAS_MAX] = (struct schema){hash, SCHEMA_ON_ITS_WAY};
	return -EAGAIN;
}

static void take_schema_report(struct dp_kafka *k, const rd_kafka_message_t *m)
{
	char key[16];

	if (m->err) {
		note(k, k->schema_name, rd_kafka_err2str(m->err));
		k->broken = -ENXIO;
		return;
	}
	for (uint32_t i = 0; i < SCHEMAS_MAX; i++) {
		dp_number_hex(k->schema[i].hash, key);
		if (k->schema[i].state && m->key_len == sizeof(key) &&
			memcmp(key, m->key, sizeof(key)) == 0)
			k->schema[i].state = SCHEMA_THERE;
	}
}

/* ---- messages ---- */

/* 0 when messages may be taken again, -EAGAIN as long as some are on their way, -errno. */
static int back_to_batches(struct dp_kafka *k)
{
	char why[TROUBLE_BYTES];
	int rc;

	if (k->volley.messages) {
		k->volley.waited = false; /* only reports help */
		return -EAGAIN;
	}
	dp_refusal_end(&k->refusal);
	destroy_producer(k);
	rc = make_producer(k, why, sizeof(why));
	if (rc)
		note(k, why, NULL);
	return rc ? -EIO : 0;
}

static int kafka_send(void *ctx, const struct dp_message *m)
{
	struct dp_kafka *k = ctx;
	uint64_t opaque = m->cookie | (uint64_t)m->worker << DP_KAFKA_WORKER_SHIFT;
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_vu_t vus[7] = {
		VU(RKT, rkt, NULL),
		VU(MSGFLAGS, i, RD_KAFKA_MSG_F_COPY),
		VU(TIMESTAMP, i64, m->timestamp_ns / 1000000),
		VU(OPAQUE, ptr, (void *)(uintptr_t)opaque),
		{.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)m->payload, m->payload_bytes}},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)m->key, m->key_bytes}},
	};
	int rc = 0;

	if (!k->rk)
		return -EBADF;
	if (dp_refusal_over(&k->refusal))
		rc = back_to_batches(k);
	if (rc == 0 && k->config.form == DP_FORM_PACKED)
		rc = need_schema(k, m->block->schema_hash, m->streams);
	if (rc == 0 && k->refusal.alone && k->volley.messages >= DP_VOLLEY_MESSAGES)
		rc = -EAGAIN; /* each a request: no more of them may leave */
	if (rc == 0 && !dp_volley_take(&k->volley, k->now_ns))
		rc = -EAGAIN;
	if (rc)
		return rc;
	vus[0].u.rkt = k->topic[m->kind] ? k->topic[m->kind] : k->topic[0];
	if (k->config.headers) {
		headers = dp_kafka_headers(m);
		vus[6] = (rd_kafka_vu_t)VU(HEADERS, headers, headers);
	}
	rc = produce(k, vus, headers ? 7 : 6);
	if (rc && headers)
		rd_kafka_headers_destroy(headers);
	if (rc == 0)
		dp_volley_sent(&k->volley, m->payload_bytes);
	return rc;
}

/*
 * While rd_kafka_flush() waits, librdkafka lingers for nothing: all of the volley leaves in one
 * request. It takes no less than FLUSH_MS, in which the answer can hardly be there.
 */
static void kafka_end_burst(void *ctx)
{
	struct dp_kafka *k = ctx;

	if (!k->rk || !k->volley.open)
		return;
	if (k->config.form == DP_FORM_PACKED || k->refusal.alone)
		k->volley.open = false; /* librdkafka waits for no more */
	else if (dp_volley_end(&k->volley, k->now_ns))
		rd_kafka_flush(k->rk, FLUSH_MS);
}

/* The broker says that it will never take this one; anything else may go away. */
static bool refused_for_good(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
	       err == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
	       err == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ||
	       err == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

static void take_report(
	struct dp_kafka *k, const rd_kafka_message_t *m, const struct dp_report_sink *sink)
{
	uint64_t opaque = (uint64_t)(uintptr_t)m->_private;
	uint64_t cookie = opaque & ((1ull << DP_KAFKA_WORKER_SHIFT) - 1);

	if (opaque == COOKIE_OF_SCHEMA) {
		take_schema_report(k, m);
		return;
	}
	dp_volley_reported(&k->volley, m->len);
	dp_refusal_answered(&k->refusal, refused_for_good(m->err));
	if (!m->err) {
		k->trouble[0] = 0;
		sink->report(sink->arg, cookie, DP_REPORT_DELIVERED, NULL);
	} else if (refused_for_good(m->err) && k->refusal.alone && !k->broken) {
		sink->report(sink->arg, cookie, DP_REPORT_REFUSED, rd_kafka_err2str(m->err));
	} else if (refused_for_good(m->err) && !k->broken) {
		note(k, rd_kafka_err2str(m->err), "a whole request; sent again one by one");
		dp_refusal_begin(&k->refusal);
		k->broken = -EMSGSIZE;
	} else if (!k->broken) {
		/* A topic or a right that is missing: only sending all again keeps the order. */
		note(k, rd_kafka_topic_name(m->rkt), rd_kafka_err2str(m->err));
		k->broken = -ENXIO;
	}
}

static void take_reports(
	struct dp_kafka *k, rd_kafka_event_t *event, const struct dp_report_sink *sink)
{
	const rd_kafka_message_t *messages[REPORTS_PER_CALL];
	size_t n;

	while ((n = rd_kafka_event_message_array(event, messages, REPORTS_PER_CALL)) > 0)
		for (size_t i = 0; i < n; i++)
			take_report(k, messages[i], sink);
}

static void take_log(struct dp_kafka *k, rd_kafka_event_t *event)
{
	const char *facility, *text;
	int level;

	/* Errors come as events of their own; a log line says more, if it comes first. */
	if (rd_kafka_event_log(event, &facility, &text, &level) == 0 && level <= 3 &&
		!k->trouble[0])
		note(k, facility, text);
}

static void take_event(
	struct dp_kafka *k, rd_kafka_event_t *event, const struct dp_report_sink *sink)
{
	switch (rd_kafka_event_type(event)) {
	case RD_KAFKA_EVENT_DR:
		take_reports(k, event, sink);
		break;
	case RD_KAFKA_EVENT_ERROR:
		note(k, rd_kafka_err2name(rd_kafka_event_error(event)),
			rd_kafka_event_error_string(event));
		if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__FATAL)
			k->broken = -EIO;
		break;
	case RD_KAFKA_EVENT_LOG:
		take_log(k, event);
		break;
	case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
		take_topic_answer(k, event);
		break;
	default:
		break;
	}
}

static int kafka_serve(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink)
{
	struct dp_kafka *k = ctx;
	rd_kafka_event_t *event;
	uint64_t wakes;
	int i;

	if (!k->rk)
		return -EBADF;
	k->now_ns = now->steady_ns;
	/* Before the queue is emptied: it is only written when something comes to an empty one. */
	(void)!read(k->wake, &wakes, sizeof(wakes));
	for (i = 0; i < EVENTS_PER_SERVE; i++) {
		event = rd_kafka_queue_poll(k->queue, 0);
		if (!event)
			break;
		take_event(k, event, sink);
		rd_kafka_event_destroy(event);
	}
	if (i == EVENTS_PER_SERVE) {
		wakes = 1;
		(void)!write(k->wake, &wakes, sizeof(wakes));
	}
	if (dp_volley_nudge(&k->volley, k->now_ns))
		rd_kafka_flush(k->rk, FLUSH_MS);
	return k->broken;
}

static int kafka_reopen(void *ctx, const struct dp_now *now, uint64_t again)
{
	struct dp_kafka *k = ctx;
	char why[TROUBLE_BYTES];
	int rc;

	(void)now;
	destroy_producer(k);
	rc = make_producer(k, why, sizeof(why));
	if (rc)
		note(k, why, NULL);
	else
		dp_refusal_again(&k->refusal, again);
	return rc;
}

static bool kafka_needs_reports(void *ctx)
{
	return dp_volley_full(&((struct dp_kafka *)ctx)->volley);
}

static int64_t kafka_deadline(void *ctx)
{
	return dp_volley_deadline(&((struct dp_kafka *)ctx)->volley);
}

static int kafka_wake_fd(void *ctx)
{
	return ((struct dp_kafka *)ctx)->wake;
}

static size_t kafka_trouble(void *ctx, char *text, size_t size)
{
	struct dp_kafka *k = ctx;

	return (size_t)snprintf(text, size, "%s", k->trouble);
}

static void kafka_close(void *ctx)
{
	struct dp_kafka *k = ctx;

	destroy_producer(k);
	close(k->wake);
	free(k);
}

int dp_kafka_new(
	const struct dp_kafka_config *config, struct dp_transport *out, char *why, size_t size)
{
	static const struct dp_transport_ops ops = {
		.send = kafka_send,
		.end_burst = kafka_end_burst,
		.serve = kafka_serve,
		.reopen = kafka_reopen,
		.deadline = kafka_deadline,
		.needs_reports = kafka_needs_reports,
		.wake_fd = kafka_wake_fd,
		.trouble = kafka_trouble,
		.close = kafka_close,
	};
	struct dp_kafka *k = calloc(1, sizeof(*k));
	int rc = -ENOMEM;

	if (!k) {
		snprintf(why, size, "kafka: no memory");
		return rc;
	}
	k->config = *config;
	snprintf(k->schema_name, sizeof(k->schema_name), "%s-schemas", config->topic);
	k->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (k->wake < 0) {
		rc = -errno;
		snprintf(why, size, "kafka: eventfd: %s", strerror(-rc));
		goto fail;
	}
	rc = make_producer(k, why, size);
	if (rc)
		goto fail_wake;
	*out = (struct dp_transport){&ops, k};
	return 0;
fail_wake:
	close(k->wake);
fail:
	free(k);
	return rc;
}
