/* GET /status: what runs, where, how full, how well. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "control/api/models.h"
#include "control/api/routes.h"
#include "control/config/scalar.h"

#define DAY_S 86400.0

static json_int_t load(const _Atomic uint64_t *v)
{
	return (json_int_t)atomic_load_explicit(v, memory_order_relaxed);
}

void ctl_time_text(int64_t unix_ns, char text[CTL_TIME_BYTES])
{
	time_t s = unix_ns / DP_NS_PER_S;
	struct tm tm;
	size_t n;

	*text = 0;
	if (unix_ns <= 0 || !gmtime_r(&s, &tm))
		return;
	n = strftime(text, CTL_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, CTL_TIME_BYTES - n, ".%03dZ",
		(int)(unix_ns % DP_NS_PER_S / DP_NS_PER_MS));
}

static json_t *time_json(int64_t unix_ns)
{
	char text[CTL_TIME_BYTES];

	ctl_time_text(unix_ns, text);
	return text[0] ? json_string(text) : json_null();
}

static const char *error_text(const _Atomic uint64_t *err)
{
	json_int_t n = load(err);

	return n ? strerror((int)n) : "";
}

/* ---- workers ---- */

static json_t *affinity_json(const cpu_set_t *set)
{
	json_t *list = json_array();

	for (int core = 0; core < CPU_SETSIZE; core++)
		if (CPU_ISSET(core, set))
			json_array_append_new(list, json_integer(core));
	return list;
}

/* [{"from": 1, "to": 1, "count": n}, {"from": 2, "to": 3, ...}, ...] */
static json_t *batches_json(const struct dp_worker *w)
{
	json_t *list = json_array();

	for (int i = 0; i < DP_BATCH_BUCKETS; i++)
		json_array_append_new(list, json_pack("{s:i, s:i, s:I}", "from", 1 << i, "to",
						    (2 << i) - 1, "count", load(&w->batches[i])));
	return list;
}

static json_t *worker_json(const struct ctl_worker_view *v)
{
	const struct dp_worker *w = v->worker;
	/* freed first, so that what is used is never negative */
	json_int_t freed = load(&w->log.freed), used = load(&w->log.sealed) - freed;

	return json_pack("{s:i, s:i, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I, s:f}}",
		"index", (int)w->index, "core", (int)v->core, "affinity",
		affinity_json(v->affinity), "turns", load(&w->turns), "sleeps", load(&w->sleeps),
		"sensors", load(&w->sensors), "received", load(&w->counters.v[DP_C_RX_DATAGRAMS]),
		"recorded", load(&w->counters.v[DP_C_RECORDED]), "batches", batches_json(w), "log",
		"bytes", (json_int_t)w->log.ring_bytes, "used", used, "fill",
		(double)used / (double)w->log.ring_bytes);
}

static json_t *workers_json(const struct ctl_view *view)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->worker_count; i++)
		json_array_append_new(list, worker_json(&view->workers[i]));
	return list;
}

/* ---- journal ---- */

/*
 * The limit is the operator's own: "No space left on device" would send him to a disk that has
 * room.
 */
const char *ctl_writer_trouble(const struct ctl_view *view, char text[CTL_WRITER_TROUBLE_BYTES])
{
	uint64_t limit = view->config->journal.writer.bytes_max;
	char size[CTL_SCALAR_TEXT_BYTES];

	if (!load(&view->writer->at_limit)) {
		snprintf(text, CTL_WRITER_TROUBLE_BYTES, "%s", error_text(&view->writer->error));
	} else if (limit) {
		ctl_write_bytes(limit, size);
		snprintf(text, CTL_WRITER_TROUBLE_BYTES, "journal.retention_bytes, %s, is reached",
			size);
	} else { /* sync: off has one of its own */
		snprintf(text, CTL_WRITER_TROUBLE_BYTES,
			"what is kept in memory without journal.retention_bytes is reached");
	}
	return text;
}

static json_t *journal_json(const struct ctl_view *view, double uptime_s)
{
	static const char *const states[] = {[DP_WRITER_OK] = "ok",
		[DP_WRITER_DEGRADED] = "degraded",
		[DP_WRITER_FULL] = "full"};
	static const char *const modes[] = {
		[DP_SYNC_ALWAYS] = "always", [DP_SYNC_LAZY] = "lazy", [DP_SYNC_OFF] = "off"};
	const struct ctl_config *c = view->config;
	const struct dp_writer_stats *s = view->writer;
	double bytes = (double)(load(&s->bytes) + load(&s->padding_bytes));
	char trouble[CTL_WRITER_TROUBLE_BYTES];

	return json_pack("{s:s, s:s, s:s, s:s?, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:f,"
			 " s:f, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}",
		"state", states[load(&s->state)], "error", ctl_writer_trouble(view, trouble),
		"sync", modes[c->journal.writer.sync], "dir", c->journal.dir, "records",
		load(&s->records), "synced", load(&s->durable) >= load(&s->readable), "blocks",
		load(&s->blocks), "groups", load(&s->groups), "syncs", load(&s->syncs), "bytes",
		load(&s->bytes), "padding_bytes", load(&s->padding_bytes), "bytes_per_day",
		uptime_s > 0 ? bytes / uptime_s * DAY_S : 0, "failures", load(&s->failures),
		"sync_us_last", (double)load(&s->sync_ns_last) / 1e3, "sync_us_max",
		(double)load(&s->sync_ns_max) / 1e3, "expired_records", load(&s->expired_records),
		"segments", "oldest", load(&s->oldest_serial), "newest", load(&s->newest_serial),
		"made", load(&s->segments_made), "freed", load(&s->segments_freed), "freed_early",
		load(&s->segments_freed_early), "bytes", load(&s->segment_bytes_total));
}

static json_t *start_json(const struct ctl_view *view)
{
	const struct ctl_start_view *s = &view->start;

	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "first", s->first,
		"clean", s->clean, "records", (json_int_t)s->records, "replayed",
		(json_int_t)s->replayed.records, "sensors", (json_int_t)s->replayed.sensors,
		"readings_after_mark", (json_int_t)s->replayed.readings_after_mark,
		"rewritten_blocks", (json_int_t)s->rewritten_blocks, "damaged_regions",
		(json_int_t)s->damaged_regions, "quarantined_records",
		(json_int_t)s->quarantined_records, "dropped",
		(json_int_t)(s->replayed.dropped_schema + s->replayed.dropped_limit));
}

/* ---- outputs, inputs ---- */

static json_t *output_json(const struct ctl_view *view, const struct ctl_output_view *o)
{
	static const char *const types[] = {[CTL_OUTPUT_FILE] = "file",
		[CTL_OUTPUT_STDOUT] = "stdout",
		[CTL_OUTPUT_KAFKA] = "kafka"};
	static const char *const states[] = {"running", "broken", "disk", "stopped"};
	const struct dp_output_stats *s = o->stats;
	json_int_t done = load(&s->delivered) + load(&s->dead_letter) + load(&s->filtered) +
			  load(&s->expired) + load(&s->quarantined);
	json_int_t oldest = load(&s->oldest_ns);
	json_int_t backlog = load(&view->writer->records) - load(&s->baseline) - done;
	double age = oldest && backlog ? (double)(ctl_now(&view->clock).real_ns - oldest) / 1e9 : 0;
	char trouble[256];

	o->trouble(o->arg, trouble, sizeof(trouble));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I}",
		"name", o->config->name, "type", types[o->config->type], "state",
		states[load(&s->state) & 3], "error", error_text(&s->error), "trouble", trouble,
		"backlog", backlog, "oldest_age_s", age > 0 ? age : 0, "in_flight",
		load(&s->in_flight), "delivered", load(&s->delivered), "dead_letter",
		load(&s->dead_letter), "messages", load(&s->messages), "bytes", load(&s->bytes),
		"resends", load(&s->resends), "reopens", load(&s->reopens), "save_failures",
		load(&s->save_failures), "positions_lost", load(&s->positions_lost));
}

static json_t *outputs_json(const struct ctl_view *view)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->output_count; i++)
		json_array_append_new(list, output_json(view, &view->outputs[i]));
	return list;
}

static json_t *inputs_json(const struct ctl_view *view)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < view->input_count; i++) {
		const struct ctl_input_view *in = &view->inputs[i];
		const struct ctl_input *c = in->config;
		const char *stream =
			c->stream < 0 ? NULL : view->config->streams.streams[c->stream].name;

		json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:s, s:i, s:s?, s:I}", "name", c->name, "type",
				"udp", "format", c->format == DP_FORMAT_JSON ? "json" : "binary",
				"listen", c->listen.text, "port", (int)in->port, "stream", stream,
				"receive_buffer_bytes", (json_int_t)in->receive_bytes));
	}
	return list;
}

json_t *ctl_status_json(const struct ctl_view *view)
{
	double uptime = (double)(ctl_now(&view->clock).steady_ns - view->started_ns) / 1e9;
	bool stopping = atomic_load_explicit(&view->stopping, memory_order_relaxed);
	char appliance[17];

	snprintf(appliance, sizeof(appliance), "%016" PRIx64, view->appliance);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o}",
		"name", view->config->name, "version", PENSTOCK_VERSION, "state",
		stopping ? "stopping" : "running", "config", view->config->file, "appliance",
		appliance, "epoch", (json_int_t)view->epoch, "started", time_json(view->started_ns),
		"uptime_s", uptime, "start", start_json(view), "workers", workers_json(view),
		"journal", journal_json(view, uptime), "outputs", outputs_json(view), "inputs",
		inputs_json(view), "models", ctl_models_json(view));
}
