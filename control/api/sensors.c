/*
 * GET /sensors: the sensors with the most readings, or one.  The workers answer between turns, a
 * bounded number of slots at a time; this side waits, joins attributes, merges.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/api/routes.h"

enum { SENSORS = 10, WAIT_MS = 3000 };

struct request {
	struct dp_sensor_id id; /* len 0: top n */
	uint64_t n;
	int stream; /* -1: all */
};

/* ---- asking ---- */

static void sleep_ms(void)
{
	struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

/* False: a worker has not answered an earlier question yet. */
static bool post(struct ctl_api *api, const struct request *r)
{
	struct ctl_view *view = api->view;

	/* `done` is the last that a worker writes; until then the question is not ours (Q2) */
	for (uint32_t i = 0; i < view->worker_count; i++)
		if (api->asking.query[i].views &&
			!atomic_load_explicit(&api->asking.query[i].done, memory_order_acquire))
			return false;
	for (uint32_t i = 0; i < view->worker_count; i++) {
		struct dp_sensor_query *q = &api->asking.query[i];

		memset(q, 0, sizeof(*q));
		q->views = api->asking.views[i];
		q->max = (uint32_t)r->n;
		q->id = r->id;
		q->one_stream = r->stream >= 0;
		q->stream = r->stream >= 0 ? (uint16_t)r->stream : 0;
		/* Q1: the question's fields are written */
		atomic_store_explicit(&view->workers[i].worker->query, q, memory_order_release);
		view->wake_worker(view->arg, i);
	}
	return true;
}

/* Q2: what is done may be read, and the question used again. */
static bool answered(const struct ctl_api *api)
{
	for (uint32_t i = 0; i < api->view->worker_count; i++)
		if (!atomic_load_explicit(&api->asking.query[i].done, memory_order_acquire))
			return false;
	return true;
}

/* A question that is not answered in time stays the worker's; until it is, there is no other. */
static bool ask(struct ctl_api *api, const struct request *r)
{
	if (!post(api, r))
		return false;
	for (int ms = 0; ms < WAIT_MS; ms++) {
		if (answered(api))
			return true;
		if (atomic_load_explicit(&api->view->stopping, memory_order_relaxed))
			return false;
		sleep_ms();
	}
	return false;
}

/* ---- answering ---- */

static json_t *flags_json(uint16_t flags)
{
	static const struct {
		uint16_t flag;
		const char *name;
	} names[] = {{DP_ROW_NUMBERED, "numbered"}, {DP_ROW_ARRIVAL_TIME, "arrival_time"},
		{DP_ROW_OUT_OF_RANGE, "out_of_range"}, {DP_ROW_LATE, "late"},
		{DP_ROW_FUTURE, "future"}, {DP_ROW_CLOCK_RESET, "clock_reset"},
		{DP_ROW_NEW_LIFE, "new_life"}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (flags & names[i].flag)
			json_array_append_new(list, json_string(names[i].name));
	return list;
}

static json_t *alerts_json(const struct dp_stream *s, uint32_t raised)
{
	json_t *list = json_array();

	for (uint16_t i = 0; i < s->rule_count; i++)
		if (raised >> i & 1)
			json_array_append_new(list, json_string(s->rules[i].name));
	return list;
}

static json_t *attributes_json(
	const struct ctl_config *c, const char *stream, const struct dp_sensor_id *id)
{
	size_t bytes = 0;
	const char *text = c->attributes ? ctl_attributes_json(c->attributes, stream, id->bytes,
						   id->len, &bytes)
					 : NULL;
	json_t *json = text ? json_loadb(text, bytes, 0, NULL) : NULL;

	return json ? json : json_object();
}

static json_t *sensor_json(const struct ctl_view *view, const struct dp_sensor_view *v)
{
	const struct dp_stream *s = &view->config->streams.streams[v->stream];
	char last[CTL_TIME_BYTES], watermark[CTL_TIME_BYTES];

	ctl_time_text(v->last_arrival_ns, last);
	ctl_time_text(v->watermark, watermark);
	return json_pack("{s:s%, s:s, s:i, s:I, s:s, s:s, s:o, s:o, s:o}", "id", v->id.bytes,
		(size_t)v->id.len, "stream", s->name, "worker", (int)v->worker, "readings",
		(json_int_t)v->readings, "last_arrival", last, "watermark", watermark, "flags",
		flags_json(v->last_flags), "alerts", alerts_json(s, v->raised), "attributes",
		attributes_json(view->config, s->name, &v->id));
}

static int by_readings(const void *a, const void *b)
{
	const struct dp_sensor_view *x = *(const struct dp_sensor_view *const *)a;
	const struct dp_sensor_view *y = *(const struct dp_sensor_view *const *)b;
	size_t n = x->id.len < y->id.len ? x->id.len : y->id.len;
	int order;

	if (x->readings != y->readings)
		return x->readings < y->readings ? 1 : -1;
	order = memcmp(x->id.bytes, y->id.bytes, n);
	return order ? order : (int)x->id.len - (int)y->id.len;
}

static json_t *merged(struct ctl_api *api, const struct request *r)
{
	const struct dp_sensor_view *all[DP_WORKERS_MAX * CTL_SENSORS_MAX];
	json_t *list = json_array();
	uint64_t seen = 0;
	size_t count = 0;

	for (uint32_t i = 0; i < api->view->worker_count; i++) {
		const struct dp_sensor_query *q = &api->asking.query[i];

		seen += q->seen;
		for (uint32_t k = 0; k < q->count; k++)
			all[count++] = &q->views[k];
	}
	qsort(all, count, sizeof(all[0]), by_readings);
	for (size_t i = 0; i < count && i < r->n; i++)
		json_array_append_new(list, sensor_json(api->view, all[i]));
	return json_pack("{s:I, s:o}", "known", (json_int_t)seen, "sensors", list);
}

struct ctl_answer ctl_answer_sensors(struct ctl_api *api, struct MHD_Connection *c)
{
	struct request r = {.n = SENSORS, .stream = ctl_argument_stream(c, api->view)};
	const char *id = ctl_argument(c, "id");
	json_t *body = NULL;

	if (!ctl_argument_number(c, "n", CTL_SENSORS_MAX, &r.n) || r.n == 0)
		return ctl_answer_error(MHD_HTTP_BAD_REQUEST, "n is 1 to %d", (int)CTL_SENSORS_MAX);
	if (r.stream == -2)
		return ctl_answer_error(MHD_HTTP_NOT_FOUND, "no such stream");
	if (id && !dp_sensor_id_valid(id, strlen(id)))
		return ctl_answer_error(MHD_HTTP_BAD_REQUEST, "id is 1 to %d printable bytes",
			(int)DP_SENSOR_ID_MAX);
	if (id) {
		r.id.len = (uint8_t)strlen(id);
		memcpy(r.id.bytes, id, r.id.len);
	}
	pthread_mutex_lock(&api->asking.lock);
	if (ask(api, &r))
		body = merged(api, &r);
	pthread_mutex_unlock(&api->asking.lock);
	if (!body && atomic_load_explicit(&api->view->stopping, memory_order_relaxed))
		return ctl_answer_json(MHD_HTTP_SERVICE_UNAVAILABLE,
			json_pack("{s:s, s:b}", "error", "the daemon is stopping", "stopping", 1));
	if (!body)
		return ctl_answer_error(MHD_HTTP_SERVICE_UNAVAILABLE, "the workers are busy");
	return ctl_answer_json(MHD_HTTP_OK, body);
}
