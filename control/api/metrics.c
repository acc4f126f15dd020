/*
 * /metrics.  A class of counters is one family: penstock_<class>_<unit>_total, its members told
 * apart by a label; sums over the workers, since the journal brings back sums.
 */
#include "control/api/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "control/api/ledger.h"
#include "control/api/models.h"

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* `text` as a label's value: backslash, quote and line end escaped. */
static void put_label(FILE *out, const char *name, const char *text)
{
	fprintf(out, "%s=\"", name);
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", out);
		else if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- the counters of the ledger ---- */

/* label NULL: the members' names are part of the family's name. */
static const struct family {
	const char *class, *unit, *label, *help;
} families[] = {
	{"received", NULL, NULL, NULL},
	{"decoded", NULL, NULL, NULL},
	{"rejected", "datagrams", "reason", "datagrams rejected whole"},
	{"recorded", NULL, NULL, NULL},
	{"duplicate", NULL, NULL, NULL},
	{"dropped", "readings", "reason", "readings decoded and not recorded"},
	{"records", NULL, "kind", "records written into the log"},
	{"noted", NULL, "what", "what was noted of readings and sensors"},
	{"lost", NULL, "where", "lost before us: datagrams"},
	{"recovered", NULL, NULL, NULL},
};

static void write_family(const struct family *f, const struct ctl_ledger *l, FILE *out)
{
	char name[96];
	bool first = true;

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		const char *member;
		size_t n = ctl_counter_class((enum dp_counter)i, &member);

		if (strlen(f->class) != n || memcmp(dp_counter_name(i), f->class, n) != 0)
			continue;
		if (f->label)
			snprintf(name, sizeof(name), "penstock_%s%s%s_total", f->class,
				f->unit ? "_" : "", f->unit ? f->unit : "");
		else
			snprintf(name, sizeof(name), "penstock_%s_%s_total", f->class, member);
		if (first || !f->label)
			head(out, name, "counter",
				f->label ? f->help : dp_counter_help((enum dp_counter)i));
		first = false;
		fputs(name, out);
		if (f->label) {
			fputc('{', out);
			put_label(out, f->label, member);
			fputc('}', out);
		}
		fprintf(out, " %" PRIu64 "\n", l->counters[i]);
	}
}

static void write_ledger(const struct ctl_view *view, FILE *out)
{
	struct ctl_ledger l;

	ctl_ledger_read(view, &l);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		write_family(&families[i], &l, out);
	head(out, "penstock_in_flight", "gauge", "what is between two counters of the ledger");
	fprintf(out,
		"penstock_in_flight{what=\"datagrams\"} %" PRId64
		"\npenstock_in_flight{what=\"readings\"} %" PRId64
		"\npenstock_in_flight{what=\"records\"} %" PRId64 "\n",
		l.datagrams_in_flight, l.readings_in_flight, l.pending);
	head(out, "penstock_ledger_balanced", "gauge", "1: no sum is negative, all close");
	fprintf(out, "penstock_ledger_balanced %d\n", l.balanced);
	head(out, "penstock_output_spooled_records", "gauge", "records written, not yet delivered");
	for (uint32_t i = 0; i < l.output_count; i++) {
		fputs("penstock_output_spooled_records{", out);
		put_label(out, "output", l.outputs[i].name);
		fprintf(out, "} %" PRId64 "\n", l.outputs[i].spooled);
	}
}

/* ---- workers ---- */

static void write_workers(const struct ctl_view *view, FILE *out)
{
	static const struct {
		const char *name, *type, *help;
		size_t at;
	} values[] = {
		{"penstock_worker_turns_total", "counter", "turns of the worker's loop",
			offsetof(struct dp_worker, turns)},
		{"penstock_worker_sleeps_total", "counter", "times that the worker slept",
			offsetof(struct dp_worker, sleeps)},
		{"penstock_worker_sensors", "gauge", "sensors that the worker holds",
			offsetof(struct dp_worker, sensors)},
	};

	for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
		head(out, values[k].name, values[k].type, values[k].help);
		for (uint32_t i = 0; i < view->worker_count; i++)
			fprintf(out, "%s{worker=\"%u\"} %" PRIu64 "\n", values[k].name, i,
				load((const _Atomic uint64_t *)((const char *)view->workers[i]
									.worker +
								values[k].at)));
	}
	head(out, "penstock_worker_log_used_bytes", "gauge", "log ring in use");
	for (uint32_t i = 0; i < view->worker_count; i++) {
		const struct dp_log *log = &view->workers[i].worker->log;
		uint64_t freed = load(&log->freed);

		fprintf(out, "penstock_worker_log_used_bytes{worker=\"%u\"} %" PRIu64 "\n", i,
			load(&log->sealed) - freed);
	}
	head(out, "penstock_worker_batches_total", "counter",
		"batches processed, by the readings in them");
	for (uint32_t i = 0; i < view->worker_count; i++)
		for (int b = 0; b < DP_BATCH_BUCKETS; b++)
			fprintf(out,
				"penstock_worker_batches_total{worker=\"%u\",size=\"%d-%d\"} "
				"%" PRIu64 "\n",
				i, 1 << b, (2 << b) - 1,
				load(&view->workers[i].worker->batches[b]));
}

/* ---- journal ---- */

static void write_journal(const struct ctl_view *view, FILE *out)
{
	const struct dp_writer_stats *s = view->writer;
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} values[] = {
		{"state", "gauge", "0 ok, 1 degraded, 2 full", load(&s->state)},
		{"records", "gauge", "records in the log, over all time", load(&s->records)},
		{"groups_total", "counter", "groups written", load(&s->groups)},
		{"syncs_total", "counter", "groups synced", load(&s->syncs)},
		{"blocks_total", "counter", "blocks written", load(&s->blocks)},
		{"bytes_total", "counter", "bytes of blocks written", load(&s->bytes)},
		{"padding_bytes_total", "counter", "zeros written behind them",
			load(&s->padding_bytes)},
		{"segments_made_total", "counter", "segments made", load(&s->segments_made)},
		{"segments_freed_total", "counter", "segments freed", load(&s->segments_freed)},
		{"segments_freed_early_total", "counter",
			"segments freed for want of room though a start would need them",
			load(&s->segments_freed_early)},
		{"segment_bytes", "gauge", "bytes of all segments", load(&s->segment_bytes_total)},
		{"failures_total", "counter", "writes and syncs that failed", load(&s->failures)},
		{"expired_records_total", "counter", "records freed by drop_oldest",
			load(&s->expired_records)},
	};
	char name[64];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(name, sizeof(name), "penstock_journal_%s", values[i].name);
		head(out, name, values[i].type, values[i].help);
		fprintf(out, "%s %" PRIu64 "\n", name, values[i].value);
	}
	head(out, "penstock_journal_sync_seconds", "gauge", "how long syncs took");
	fprintf(out,
		"penstock_journal_sync_seconds{which=\"last\"} %.9f\n"
		"penstock_journal_sync_seconds{which=\"max\"} %.9f\n",
		(double)load(&s->sync_ns_last) / 1e9, (double)load(&s->sync_ns_max) / 1e9);
}

/* ---- outputs ---- */

static void write_outputs(const struct ctl_view *view, FILE *out)
{
#define AT(member) offsetof(struct dp_output_stats, member)
	static const struct {
		const char *name, *type, *help;
		size_t at;
	} values[] = {
		{"state", "gauge", "0 running, 1 broken, 2 disk refuses, 3 stopped", AT(state)},
		{"delivered_records_total", "counter", "records delivered", AT(delivered)},
		{"dead_letter_records_total", "counter", "records refused for good",
			AT(dead_letter)},
		{"filtered_records_total", "counter", "records of kinds not taken", AT(filtered)},
		{"expired_records_total", "counter", "records freed before their turn",
			AT(expired)},
		{"quarantined_records_total", "counter", "records in damaged blocks",
			AT(quarantined)},
		{"in_flight_records", "gauge", "records read and not yet delivered", AT(in_flight)},
		{"messages_total", "counter", "messages sent", AT(messages)},
		{"bytes_total", "counter", "bytes of messages sent", AT(bytes)},
		{"resends_total", "counter", "messages sent again", AT(resends)},
		{"reopens_total", "counter", "transports built anew", AT(reopens)},
		{"save_failures_total", "counter", "positions that could not be saved",
			AT(save_failures)},
	};
#undef AT
	char name[64];

	for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
		snprintf(name, sizeof(name), "penstock_output_%s", values[k].name);
		head(out, name, values[k].type, values[k].help);
		for (uint32_t i = 0; i < view->output_count; i++) {
			const char *stats = (const char *)view->outputs[i].stats;

			fprintf(out, "%s{", name);
			put_label(out, "output", view->outputs[i].config->name);
			fprintf(out, "} %" PRIu64 "\n",
				load((const _Atomic uint64_t *)(stats + values[k].at)));
		}
	}
}

/* ---- models ---- */

/* `name` and what tells one model from another; a brace is to follow, or one more label. */
static void put_model(FILE *out, const char *name, const struct dp_stream *s, uint32_t model)
{
	fprintf(out, "%s{", name);
	put_label(out, "stream", s->name);
	fputc(',', out);
	put_label(out, "model", s->models[model].name);
}

static void write_model_metric(const struct ctl_view *view, FILE *out, const char *name, int which)
{
	for (uint32_t i = 0; i < view->config->streams.count; i++) {
		const struct dp_stream *s = &view->config->streams.streams[i];

		for (uint32_t k = 0; k < s->model_count; k++) {
			struct ctl_model_sums sums = ctl_model_sums(view, i, k);
			const uint64_t values[] = {sums.rows, sums.missing};

			put_model(out, name, s, k);
			fprintf(out, "} %" PRIu64 "\n", values[which]);
		}
	}
}

enum { CYCLES_FROM = 7 }; /* no batch takes less than 2^7 cycles */

/* Of one model. In cycles, since the bounds of a histogram may not move from scrape to scrape. */
static void write_model_batches(
	FILE *out, const struct dp_stream *s, uint32_t model, const struct ctl_model_sums *sums)
{
	uint64_t seen = 0;

	for (uint32_t i = 0; i < DP_CYCLE_BUCKETS; i++) {
		seen += sums->batches[i];
		if (i < CYCLES_FROM || i == DP_CYCLE_BUCKETS - 1)
			continue;
		put_model(out, "penstock_model_batch_cycles_bucket", s, model);
		fprintf(out, ",le=\"%" PRIu64 "\"} %" PRIu64 "\n", ((uint64_t)2 << i) - 1, seen);
	}
	put_model(out, "penstock_model_batch_cycles_bucket", s, model);
	fprintf(out, ",le=\"+Inf\"} %" PRIu64 "\n", seen);
	put_model(out, "penstock_model_batch_cycles_sum", s, model);
	fprintf(out, "} %" PRIu64 "\n", sums->cycles);
	put_model(out, "penstock_model_batch_cycles_count", s, model);
	fprintf(out, "} %" PRIu64 "\n", seen);
}

static void write_model_latency(const struct ctl_view *view, FILE *out)
{
	double cycle_ns = 0;

	head(out, "penstock_model_batch_cycles", "histogram",
		"cycles of the time-stamp counter that a batch of readings, or a window, took");
	for (uint32_t i = 0; i < view->config->streams.count; i++) {
		const struct dp_stream *s = &view->config->streams.streams[i];

		for (uint32_t k = 0; k < s->model_count; k++) {
			struct ctl_model_sums sums = ctl_model_sums(view, i, k);

			write_model_batches(out, s, k, &sums);
			cycle_ns = sums.cycle_ns;
		}
	}
	head(out, "penstock_cycle_seconds", "gauge", "how long one of these cycles is");
	fprintf(out, "penstock_cycle_seconds %.6g\n", cycle_ns / 1e9);
}

static void write_models(const struct ctl_view *view, FILE *out)
{
	static const struct {
		const char *name, *help;
	} values[] = {
		{"penstock_model_rows_total", "readings or windows scored"},
		{"penstock_model_missing_total",
			"of them those without a score: an input was missing"},
	};

	if (!view->config->models || !view->config->models->bundle_count)
		return; /* a family without a sample is none */
	for (int i = 0; i < 2; i++) {
		head(out, values[i].name, "counter", values[i].help);
		write_model_metric(view, out, values[i].name, i);
	}
	write_model_latency(view, out);
}

void ctl_metrics_write(const struct ctl_view *view, FILE *out)
{
	head(out, "penstock_info", "gauge", "1; what runs is in the labels");
	fputs("penstock_info{", out);
	put_label(out, "version", PENSTOCK_VERSION);
	fputc(',', out);
	put_label(out, "appliance", view->config->name);
	fputs("} 1\n", out);
	head(out, "penstock_epoch", "gauge", "epoch of this run");
	fprintf(out, "penstock_epoch %" PRIu64 "\n", view->epoch);
	head(out, "penstock_start_time_seconds", "gauge", "Unix time of the start");
	fprintf(out, "penstock_start_time_seconds %.3f\n", (double)view->started_ns / 1e9);
	write_ledger(view, out);
	write_workers(view, out);
	write_journal(view, out);
	write_outputs(view, out);
	write_models(view, out);
}
