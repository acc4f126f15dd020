/* Sums over workers, log and outputs.  Reads atomics only; owns nothing. */
#include "control/api/ledger.h"

#include <inttypes.h>
#include <string.h>

enum { READS = 3 };

size_t ctl_counter_class(enum dp_counter which, const char **name)
{
	const char *full = dp_counter_name(which), *dot = strchr(full, '.');

	*name = dot + 1;
	return (size_t)(dot - full);
}

static bool of_class(enum dp_counter which, const char *class)
{
	const char *name;
	size_t n = ctl_counter_class(which, &name);

	return strlen(class) == n && memcmp(dp_counter_name(which), class, n) == 0;
}

/* Acquire, so that whatever is read after it is at least as new: the order of reading holds. */
static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_acquire);
}

/* ---- reading, from the end of the path to its start ---- */

static void read_outputs(const struct ctl_view *view, struct ctl_ledger *l)
{
	l->output_count = view->output_count;
	for (uint32_t i = 0; i < view->output_count; i++) {
		const struct dp_output_stats *s = view->outputs[i].stats;

		l->outputs[i] = (struct ctl_ledger_output){.name = view->outputs[i].config->name,
			.delivered = load(&s->delivered),
			.dead_letter = load(&s->dead_letter),
			.filtered = load(&s->filtered),
			.expired = load(&s->expired),
			.quarantined = load(&s->quarantined)};
	}
	l->written = load(&view->writer->records);
	for (uint32_t i = 0; i < view->output_count; i++)
		l->outputs[i].written = l->written - load(&view->outputs[i].stats->baseline);
}

/* Where on the path a counter is: 2 received, 1 decoded, 0 all that follows. */
static int upstream(enum dp_counter which)
{
	return of_class(which, "received") ? 2 : of_class(which, "decoded") ? 1 : 0;
}

static void read_workers(const struct ctl_view *view, struct ctl_ledger *l)
{
	l->appended = view->start.records;
	for (uint32_t w = 0; w < view->worker_count; w++)
		l->appended += load(&view->workers[w].worker->log.records);
	for (int step = 0; step <= 2; step++) {
		/* all workers' part of one step first: a reading may cross from one to another */
		for (uint32_t w = 0; w < view->worker_count; w++)
			for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
				if (upstream((enum dp_counter)i) == step)
					l->counters[i] +=
						load(&view->workers[w].worker->counters.v[i]);
	}
}

/* ---- sums ---- */

static uint64_t sum_of(const struct ctl_ledger *l, const char *class)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		if (of_class((enum dp_counter)i, class))
			sum += l->counters[i];
	return sum;
}

static void add_up(struct ctl_ledger *l)
{
	const uint64_t *c = l->counters;

	l->rejected = sum_of(l, "rejected");
	l->dropped = sum_of(l, "dropped");
	l->records = sum_of(l, "records");
	l->datagrams_in_flight =
		(int64_t)(c[DP_C_RX_DATAGRAMS] - c[DP_C_DECODED_DATAGRAMS] - l->rejected);
	l->readings_in_flight = (int64_t)(c[DP_C_DECODED_READINGS] - c[DP_C_RECORDED] -
					  c[DP_C_DUPLICATE] - l->dropped);
	l->pending = (int64_t)(l->appended - l->written);
	l->settled = l->datagrams_in_flight == 0 && l->readings_in_flight == 0 && l->pending == 0;
	l->balanced = l->datagrams_in_flight >= 0 && l->readings_in_flight >= 0 && l->pending >= 0;
	/* two ways of counting the same; while readings are under way they may differ */
	if (l->settled && c[DP_C_RECORDED] != c[DP_C_RECORDS_READING])
		l->balanced = false;
	for (uint32_t i = 0; i < l->output_count; i++) {
		struct ctl_ledger_output *o = &l->outputs[i];

		o->spooled = (int64_t)(o->written - o->delivered - o->dead_letter - o->filtered -
				       o->expired - o->quarantined);
		l->balanced &= o->spooled >= 0;
	}
}

void ctl_ledger_read(const struct ctl_view *view, struct ctl_ledger *out)
{
	/* Two counters of one event are two stores: a look in between is looked at again. */
	for (int i = 0; i < READS; i++) {
		memset(out, 0, sizeof(*out));
		read_outputs(view, out);
		read_workers(view, out);
		add_up(out);
		if (out->balanced)
			return;
	}
}

/* ---- as JSON and as a line ---- */

static json_t *integer(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* {"total": n, "utf8": n, ...} */
static json_t *class_json(const struct ctl_ledger *l, const char *class, bool total)
{
	json_t *map = json_object();

	if (total)
		json_object_set_new(map, "total", integer(sum_of(l, class)));
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		const char *name;

		ctl_counter_class((enum dp_counter)i, &name);
		if (of_class((enum dp_counter)i, class))
			json_object_set_new(map, name, integer(l->counters[i]));
	}
	return map;
}

static json_t *outputs_json(const struct ctl_ledger *l)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < l->output_count; i++) {
		const struct ctl_ledger_output *o = &l->outputs[i];

		json_array_append_new(list,
			json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", o->name,
				"written", (json_int_t)o->written, "delivered",
				(json_int_t)o->delivered, "dead_letter", (json_int_t)o->dead_letter,
				"filtered", (json_int_t)o->filtered, "spooled",
				(json_int_t)o->spooled, "expired", (json_int_t)o->expired,
				"quarantined", (json_int_t)o->quarantined));
	}
	return list;
}

json_t *ctl_ledger_json(const struct ctl_ledger *l)
{
	const uint64_t *c = l->counters;
	json_t *records = class_json(l, "records", true);

	json_object_set_new(records, "appended", integer(l->appended));
	json_object_set_new(records, "written", integer(l->written));
	json_object_set_new(records, "pending", json_integer(l->pending));
	return json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "balanced", l->balanced,
		"settled", l->settled, "datagrams",
		json_pack("{s:I, s:I, s:I, s:o, s:I}", "received", (json_int_t)c[DP_C_RX_DATAGRAMS],
			"bytes", (json_int_t)c[DP_C_RX_BYTES], "decoded",
			(json_int_t)c[DP_C_DECODED_DATAGRAMS], "rejected",
			class_json(l, "rejected", true), "in_flight",
			(json_int_t)l->datagrams_in_flight),
		"readings",
		json_pack("{s:I, s:I, s:I, s:o, s:I, s:I}", "decoded",
			(json_int_t)c[DP_C_DECODED_READINGS], "recorded",
			(json_int_t)c[DP_C_RECORDED], "duplicate", (json_int_t)c[DP_C_DUPLICATE],
			"dropped", class_json(l, "dropped", true), "in_flight",
			(json_int_t)l->readings_in_flight, "recovered",
			(json_int_t)c[DP_C_REC_RECOVERED]),
		"records", records, "outputs", outputs_json(l), "lost_before_us",
		class_json(l, "lost", false), "noted", class_json(l, "noted", false));
}

void ctl_ledger_line(const struct ctl_ledger *l, char *text, size_t size)
{
	const uint64_t *c = l->counters;
	int n = snprintf(text, size,
		"ledger %s: datagrams %" PRIu64 " = decoded %" PRIu64 " + rejected %" PRIu64
		" + in flight %" PRId64 "; readings %" PRIu64 " = recorded %" PRIu64
		" + duplicate %" PRIu64 " + dropped %" PRIu64 " + in flight %" PRId64
		"; records %" PRIu64 " = written %" PRIu64 " + pending %" PRId64,
		l->balanced && l->settled ? "closed" : "NOT CLOSED", c[DP_C_RX_DATAGRAMS],
		c[DP_C_DECODED_DATAGRAMS], l->rejected, l->datagrams_in_flight,
		c[DP_C_DECODED_READINGS], c[DP_C_RECORDED], c[DP_C_DUPLICATE], l->dropped,
		l->readings_in_flight, l->appended, l->written, l->pending);

	for (uint32_t i = 0; i < l->output_count && n > 0 && (size_t)n < size; i++)
		n += snprintf(text + n, size - (size_t)n,
			"; %s delivered %" PRIu64 ", spooled %" PRId64, l->outputs[i].name,
			l->outputs[i].delivered, l->outputs[i].spooled);
}
