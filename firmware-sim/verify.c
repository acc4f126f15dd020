/* The tally of the records that come back. */
#include "firmware-sim/verify.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "firmware-sim/record.h"
#include "firmware-sim/run.h"

/* Open addressing over 128-bit ids; {0, 0} is free. */
struct id_set {
	uint64_t (*ids)[2];
	size_t count, room;
};

/* The newest reading of a sensor. */
struct newest {
	bool seen;
	uint32_t boot;
	uint64_t seq, index;
	int64_t event_ns;
};

struct fws_verify {
	struct fws_source *source;
	struct fws_verify_result result; /* reader's until joined */
	struct id_set ids;
	struct newest *newest; /* [fleet->count] */
	const struct fws_fleet *fleet;
	int64_t since_ns; /* records that arrived before are not of this run */
	double timeout_s;
	pthread_t thread;
	atomic_bool quit;
	atomic_uint_fast64_t received, distinct; /* for the one who waits */
};

/* 1: new; 0: was there; -ENOMEM. */
static int id_set_add(struct id_set *s, const uint64_t id[2])
{
	if (2 * (s->count + 1) > s->room) {
		struct id_set bigger = {.room = s->room ? s->room * 2 : 4096};

		bigger.ids = calloc(bigger.room, sizeof(*bigger.ids));
		if (!bigger.ids)
			return -ENOMEM;
		for (size_t i = 0; i < s->room; i++) {
			if (!s->ids[i][0] && !s->ids[i][1])
				continue;

			size_t at = s->ids[i][0] & (bigger.room - 1);

			while (bigger.ids[at][0] || bigger.ids[at][1])
				at = (at + 1) & (bigger.room - 1);
			memcpy(bigger.ids[at], s->ids[i], sizeof(*bigger.ids));
		}
		bigger.count = s->count;
		free(s->ids);
		*s = bigger;
	}

	size_t at = id[0] & (s->room - 1);

	for (; s->ids[at][0] || s->ids[at][1]; at = (at + 1) & (s->room - 1))
		if (s->ids[at][0] == id[0] && s->ids[at][1] == id[1])
			return 0;
	memcpy(s->ids[at], id, sizeof(*s->ids));
	s->count++;
	return 1;
}

/* Number of our sensor from 0, or -1. */
static int64_t sensor_number(const struct fws_verify *v, const struct fws_record *r)
{
	const char *id_prefix = v->fleet->config.id_prefix;
	size_t prefix = strlen(id_prefix);
	uint64_t n = 0;

	if (r->sensor_len <= prefix || r->sensor_len > prefix + 18 ||
		memcmp(r->sensor, id_prefix, prefix))
		return -1;
	for (size_t i = prefix; i < r->sensor_len; i++) {
		if (r->sensor[i] < '0' || r->sensor[i] > '9')
			return -1;
		n = n * 10 + (uint64_t)(r->sensor[i] - '0');
	}
	return n >= 1 && n <= v->fleet->count ? (int64_t)n - 1 : -1;
}

/*
 * Whether this run has made that reading, as far as its number tells: another sender that uses the
 * same ids must not stand in for what was lost.
 */
static bool was_sent(const struct fws_verify *v, uint32_t sensor, const struct fws_record *r)
{
	const struct fws_fleet_config *c = &v->fleet->config;
	uint64_t indices = c->shape->format == FWS_JSON ? 1 : c->readings;

	if (!c->shape->numbered)
		return !r->numbered;
	return r->numbered && r->index < indices &&
	       fws_fleet_sent(v->fleet, sensor, r->boot, r->seq);
}

static bool before(const struct fws_record *r, const struct newest *n)
{
	if (!r->numbered)
		return r->event_ns < n->event_ns;
	if (r->boot != n->boot)
		return false;
	return r->seq < n->seq || (r->seq == n->seq && r->index < n->index);
}

static void take_record(void *arg, const char *at, size_t len, int64_t broker_ns)
{
	struct fws_verify *v = arg;
	struct fws_record r;
	int64_t now = fws_unix_ns();

	if (!len)
		return;
	if (!fws_record_parse(&r, at, len)) {
		v->result.unparsed++;
		return;
	}

	int64_t sensor = sensor_number(v, &r);

	if (!r.is_reading || sensor < 0 || r.arrival_ns < v->since_ns) {
		v->result.other++;
		return;
	}

	if (!was_sent(v, (uint32_t)sensor, &r)) {
		v->result.unsent++;
		return;
	}

	int added = id_set_add(&v->ids, r.id);

	v->result.received++;
	if (added < 0) {
		v->result.error = added;
	} else if (!added) {
		v->result.duplicates++;
	} else {
		struct newest *n = &v->newest[sensor];

		v->result.distinct++;
		fws_hist_add(&v->result.arrival, r.arrival_ns - r.event_ns);
		if (broker_ns)
			fws_hist_add(&v->result.broker, broker_ns - r.event_ns);
		fws_hist_add(&v->result.read, now - r.event_ns);
		if (n->seen && before(&r, n))
			v->result.out_of_order++;
		else
			*n = (struct newest){true, r.boot, r.seq, r.index, r.event_ns};
	}
	atomic_store_explicit(&v->received, v->result.received, memory_order_relaxed);
	atomic_store_explicit(&v->distinct, v->result.distinct, memory_order_relaxed);
}

static void *read_back(void *arg)
{
	struct fws_verify *v = arg;

	while (!atomic_load(&v->quit) && !v->result.error) {
		int rc = v->source->poll(v->source, take_record, v);

		v->result.error = v->result.error ? v->result.error : rc;
	}
	return NULL;
}

static int open_source(struct fws_source **out, const struct fws_options *o)
{
	switch (o->verify) {
	case FWS_VERIFY_API:
		return fws_source_api(out, o->verify_where);
	case FWS_VERIFY_FILE:
		return fws_source_file(out, o->verify_where);
	case FWS_VERIFY_KAFKA:
		return fws_source_kafka(out, o->verify_where);
	case FWS_VERIFY_NONE:
		break;
	}
	return -EINVAL;
}

static void free_verify(struct fws_verify *v)
{
	if (v->source)
		v->source->close(v->source);
	free(v->ids.ids);
	free(v->newest);
	free(v);
}

int fws_verify_start(
	struct fws_verify **out, const struct fws_options *o, const struct fws_fleet *fleet)
{
	struct fws_verify *v = calloc(1, sizeof(*v));
	int rc = v ? 0 : -ENOMEM;

	if (rc)
		return rc;
	v->fleet = fleet;
	v->timeout_s = o->verify_timeout_s;
	v->newest = calloc(fleet->count, sizeof(*v->newest));
	rc = v->newest ? open_source(&v->source, o) : -ENOMEM;
	v->since_ns = fws_unix_ns();
	if (!rc)
		rc = -pthread_create(&v->thread, NULL, read_back, v);
	if (rc)
		free_verify(v);
	else
		*out = v;
	return rc;
}

void fws_verify_finish(struct fws_verify *v, uint64_t expected, const atomic_bool *stop,
	struct fws_verify_result *result)
{
	int64_t patience = (int64_t)(v->timeout_s * 1e9), last_change = fws_monotonic_ns();
	uint64_t received = 0, now_received;

	for (;;) {
		int64_t now = fws_monotonic_ns();

		now_received = atomic_load(&v->received);
		last_change = now_received != received ? now : last_change;
		received = now_received;
		/* Once all are there: a moment more, for duplicates. */
		if (atomic_load(&v->distinct) >= expected)
			patience = 300 * FWS_NS_PER_MS;
		if (now - last_change > patience || atomic_load(stop))
			break;
		nanosleep(&(struct timespec){0, 10 * FWS_NS_PER_MS}, NULL);
	}
	atomic_store(&v->quit, true);
	pthread_join(v->thread, NULL);
	if (!v->result.error && v->source->check)
		v->result.error = v->source->check(v->source);
	*result = v->result;
	free_verify(v);
}

char *fws_lines_room(struct fws_lines *l, size_t want)
{
	if (l->room - l->used < want) {
		size_t room = l->room * 2 > l->used + want ? l->room * 2 : l->used + want;
		char *bigger = realloc(l->bytes, room);

		if (!bigger)
			return NULL;
		l->bytes = bigger;
		l->room = room;
	}
	return l->bytes + l->used;
}

void fws_lines_take(struct fws_lines *l, size_t n, fws_take_record *take, void *arg)
{
	char *at = l->bytes, *end = at + l->used + n, *eol;

	while (at < end && (eol = memchr(at, '\n', (size_t)(end - at)))) {
		take(arg, at, (size_t)(eol - at), 0);
		at = eol + 1;
	}
	l->used = (size_t)(end - at);
	memmove(l->bytes, at, l->used);
}
