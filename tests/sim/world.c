/* Builds the appliance from its real parts, as control/daemon does, and looks over its shoulder. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/file.h"

enum { FLOOR_SLOT = DP_OUTPUTS_MAX - 1 }; /* of an output that there is not */

_Static_assert(SIM_OUTPUTS_MAX <= (int)FLOOR_SLOT, "a slot of its own");

static const char file_name[] = "out.jsonl";

void world_init(struct world *w, struct sim *s, struct sim_totals *totals)
{
	memset(w, 0, sizeof(*w));
	w->sim = s;
	w->totals = totals;
	sim_config_make(&w->config, s);
	w->journal = sim_disk_new(s, w->config.capacity);
	w->files = sim_disk_new(s, 1ull << 30);
	w->journal->faults = w->files->faults = w->config.faults;
	w->net = sim_net_new(s, &w->config);
	w->oracle = oracle_new(s, &w->config, w->net);
	for (uint32_t i = 0; i < w->config.output_count; i++)
		w->brokers[i] = sim_broker_new(s, &w->config, i, w->oracle);
}

void world_fini(struct world *w)
{
	world_end(w, false);
	for (uint32_t i = 0; i < w->config.output_count; i++)
		sim_broker_free(w->brokers[i]);
	oracle_free(w->oracle);
	sim_net_free(w->net);
	sim_disk_free(w->journal);
	sim_disk_free(w->files);
	sim_config_free(&w->config);
}

/* ---- start ---- */

static void no_wake(void *arg, uint32_t worker)
{
	(void)arg;
	(void)worker;
}

static void no_wake_writer(void *arg)
{
	(void)arg;
}

static int start_workers(struct world *w)
{
	uint32_t slots[SIM_STREAMS_MAX] = {SIM_SENSORS_MAX, SIM_SENSORS_MAX, SIM_SENSORS_MAX};
	struct dp_worker_config configs[SIM_WORKERS_MAX];
	const struct sim_config *c = &w->config;
	int rc;

	for (uint32_t i = 0; i < w->worker_count; i++)
		configs[i] = (struct dp_worker_config){.index = i,
			.workers = w->worker_count,
			.streams = &c->set,
			.plans = (const struct dp_plan *const *)c->plans,
			.inputs = c->inputs,
			.slots_max = slots,
			.sensors_max = slots,
			.new_sensors_per_s = w->sim->calm ? 0 : c->new_sensors_per_s,
			.seed = sim_random(w->sim),
			.log = {.ring_bytes = c->ring_bytes,
				.block_max = (uint32_t)dp_block_bytes_max(&c->set),
				.worker = i,
				.appliance = w->recovery->appliance,
				.epoch = w->recovery->epoch,
				.schema_hash = c->set.hash,
				.linger_ns = c->linger_ns},
			.hooks = {.wake_worker = no_wake, .wake_writer = no_wake_writer}};
	w->workers = aligned_alloc(DP_CACHE_LINE, w->worker_count * sizeof(*w->workers));
	if (!w->workers)
		abort();
	rc = dp_workers_init(w->workers, w->worker_count, configs, &w->sim->now);
	for (uint32_t i = 0; i < w->worker_count && rc == 0; i++) {
		w->logs[i] = &w->workers[i].log;
		w->taken[i] = w->workers[i].log;
		w->workers[i].source = sim_net_source(w->net, i);
	}
	return rc;
}

/* At that time the log was at that segment. */
static void sample(struct world *w, int64_t real_ns, uint64_t serial)
{
	if (w->sample_count == WORLD_SAMPLES)
		return;
	w->samples[w->sample_count].real_ns = real_ns;
	w->samples[w->sample_count++].serial = serial;
}

/*
 * Without checkpoints the journal alone restores what sensors were: it stays as far back as a
 * sensor that is not forgotten may reach. The workers see to marks and open alerts themselves.
 */
static void set_floor(struct world *w)
{
	int64_t old_ns = w->sim->now.real_ns - SIM_FLOOR_NS;

	while (w->config.frees && w->sample_from < w->sample_count &&
		w->samples[w->sample_from].real_ns < old_ns)
		w->floor = w->samples[w->sample_from++].serial;
	dp_writer_need(w->writer, FLOOR_SLOT, w->floor);
}

static int start_writer(struct world *w)
{
	struct dp_writer_setup setup = {.config = w->config.journal,
		.io = sim_disk_io(w->journal, false),
		.streams = &w->config.set,
		.logs = w->logs,
		.log_count = w->worker_count,
		.recovery = w->recovery};
	int rc = dp_writer_new(&setup, &w->sim->now, &w->writer);

	if (rc)
		return rc;
	for (uint32_t i = w->config.output_count; i < FLOOR_SLOT; i++)
		dp_writer_need(w->writer, i, UINT64_MAX);
	w->sample_count = w->sample_from = 0;
	w->floor = 0;
	for (uint32_t i = 0; i < w->recovery->segment_count; i++)
		sample(w, w->recovery->segments[i].last_ns, w->recovery->segments[i].serial + 1);
	set_floor(w);
	return 0;
}

static int make_transport(struct world *w, uint32_t i, struct dp_transport *out)
{
	struct dp_file_config file = {.rotate_bytes = w->config.outputs[i].rotate_bytes,
		.keep = 100000,
		.sync_interval_ns = 5 * DP_NS_PER_MS,
		.sync_bytes = 20000};
	struct dp_io io;

	if (w->config.outputs[i].kind != SIM_FILE) {
		*out = sim_broker_transport(w->brokers[i]);
		return 0;
	}
	strcpy(file.name, file_name);
	io = sim_disk_io(w->files, false);
	return dp_file_new(&file, &io, out);
}

static int start_outputs(struct world *w)
{
	for (uint32_t i = 0; i < w->config.output_count; i++) {
		struct dp_output_setup setup = {.config = w->config.outputs[i].config,
			.io = sim_disk_io(w->journal, false),
			.writer = w->writer,
			.recovery = w->recovery};
		int rc = make_transport(w, i, &setup.transport);

		setup.dead_io = setup.io;
		if (rc == 0)
			rc = dp_output_new(&setup, &w->sim->now, &w->outputs[i]);
		if (rc)
			return rc;
	}
	return 0;
}

static int each_found(void *arg, const struct dp_reader_block *b)
{
	struct world *w = arg;

	oracle_found(w->oracle, b);
	return 0;
}

/* What a start has made of the log, read by eyes that see everything. */
static void check_found(struct world *w)
{
	struct dp_io io = sim_disk_io(w->journal, true);
	uint64_t oldest = w->recovery->segment_count ? DP_LP(w->recovery->segments[0].serial, 0)
						     : w->recovery->end_lp;
	struct dp_reader_counts counts;
	int rc;

	if (oldest < DP_LP(w->freed_below, 0))
		oldest = DP_LP(w->freed_below, 0);
	oracle_start(w->oracle);
	rc = dp_replay(&io, w->recovery, each_found, w, &counts);
	sim_check(w->sim, rc == 0, "the log cannot be read after a start: %d", rc);
	oracle_started(w->oracle, w->recovery->epoch, w->power_cut, oldest);
	oracle_outputs_start(w->oracle, w->power_cut);
	w->power_cut = false;
	rc = dp_reader_open(&io, w->recovery->appliance, w->recovery->end_lp, &w->probe);
	sim_check(w->sim, rc == 0, "the end of the log cannot be read after a start: %d", rc);
}

static bool recover(struct world *w)
{
	struct dp_recover_report report;
	struct dp_io io = sim_disk_io(w->journal, false);
	int rc = dp_recover(&io, &w->config.journal, &w->sim->now, &w->recovery, &report);

	if (rc == 0)
		return true;
	sim_check(w->sim, w->sim->dead || !w->sim->calm, "no start: %d, %s", report.kind,
		report.what);
	sim_check(
		w->sim, report.kind == DP_RECOVER_IO, "no start: %d, %s", report.kind, report.what);
	w->recovery = NULL;
	return false;
}

bool world_start(struct world *w, uint32_t workers)
{
	struct dp_replayed replayed;
	struct dp_io io;
	int rc;

	w->worker_count = workers;
	w->stopped = false;
	sim_net_start(w->net, workers);
	sim_note(w->sim, "start", workers, w->power_cut);
	if (!recover(w) || w->sim->dead)
		return false;
	check_found(w);
	rc = start_workers(w);
	sim_check(w->sim, rc == 0, "no workers: %d", rc);
	rc = start_writer(w);
	io = sim_disk_io(w->journal, false);
	if (rc == 0)
		rc = dp_workers_replay(
			w->workers, w->worker_count, &io, w->recovery, &w->sim->now, &replayed);
	if (rc == 0)
		world_check_restored(w);
	if (rc == 0)
		world_check_places(w);
	if (rc == 0)
		sim_check(w->sim, replayed.damaged_records == 0,
			"%" PRIu64 " records are taken for damaged after a start",
			replayed.damaged_records);
	if (rc == 0)
		rc = start_outputs(w);
	sim_check(w->sim, rc == 0 || w->sim->dead || !w->sim->calm, "no start: %d", rc);
	return rc == 0 && !w->sim->dead;
}

void world_end(struct world *w, bool power_cut)
{
	world_add_totals(w);
	for (uint32_t i = 0; i < w->config.output_count; i++)
		dp_output_free(w->outputs[i]);
	if (w->probe)
		dp_reader_close(w->probe);
	if (w->writer)
		dp_writer_free(w->writer);
	if (w->workers)
		dp_workers_fini(w->workers, w->worker_count);
	if (w->recovery)
		dp_recovery_free(w->recovery);
	free(w->workers);
	memset(w->outputs, 0, sizeof(w->outputs));
	w->probe = NULL;
	w->writer = NULL;
	w->workers = NULL;
	w->recovery = NULL;
	/* a failed sync takes as much from the cache as a power cut may */
	w->power_cut |= power_cut || w->journal->failed_syncs;
	w->journal->failed_syncs = 0;
	for (uint32_t i = 0; i < w->config.output_count; i++)
		sim_broker_crash(w->brokers[i]);
	sim_disk_crash(w->journal, power_cut);
	sim_disk_crash(w->files, power_cut);
}

/* ---- steps ---- */

/* The oracle sees what the worker has sealed before the writer can do anything with it. */
static void hear_worker(struct world *w, uint32_t i)
{
	struct dp_log *second = &w->taken[i];
	const struct dp_block *b;

	atomic_store(&second->sealed, atomic_load(&w->workers[i].log.sealed));
	while ((b = dp_log_take(second)))
		oracle_sealed(w->oracle, b);
}

void world_turn(struct world *w, uint32_t worker)
{
	if (sim_step(w->sim))
		return;
	dp_worker_turn(&w->workers[worker], &w->sim->now);
	world_check_places(w);
	hear_worker(w, worker);
}

/* Reads what has become readable. */
static void probe(struct world *w)
{
	const struct dp_writer_stats *stats = dp_writer_stats(w->writer);
	uint64_t readable = atomic_load(&stats->readable), durable = atomic_load(&stats->durable);
	struct dp_reader_block b;
	int rc = 0;

	if (readable == w->readable && durable == w->durable)
		return;
	sim_check(w->sim, w->config.journal.sync != DP_SYNC_ALWAYS || readable <= durable,
		"always: outputs may read what is not durable");
	while (readable != w->readable && (rc = dp_reader_next(w->probe, readable, &b)) == 1) {
		oracle_readable(w->oracle, &b);
	}
	sim_check(w->sim, rc == 0, "what is readable cannot be read: %d", rc);
	oracle_durable(w->oracle, durable);
	w->readable = readable;
	w->durable = durable;
}

void world_write(struct world *w)
{
	if (sim_step(w->sim))
		return;
	dp_writer_step(w->writer, &w->sim->now);
	probe(w);
	w->freed_early |= atomic_load(&dp_writer_stats(w->writer)->segments_freed_early) > 0;
	w->freed_below = atomic_load(&dp_writer_stats(w->writer)->oldest_serial);
	if (w->sample_count == 0 ||
		w->sim->now.real_ns - w->samples[w->sample_count - 1].real_ns > DP_NS_PER_S)
		sample(w, w->sim->now.real_ns,
			atomic_load(&dp_writer_stats(w->writer)->newest_serial));
	set_floor(w);
}

void world_output(struct world *w, uint32_t output)
{
	if (sim_step(w->sim))
		return;
	dp_output_step(w->outputs[output], &w->sim->now);
}

/* ---- stop ---- */

bool world_drained(struct world *w)
{
	for (uint32_t i = 0; i < w->config.output_count; i++)
		if (!dp_output_drained(w->outputs[i]))
			return false;
	return dp_writer_idle(w->writer);
}

static bool reached(const struct world *w, uint32_t phase)
{
	for (uint32_t i = 0; i < w->worker_count; i++)
		if (atomic_load(&w->workers[i].phase_reached) < phase)
			return false;
	return true;
}

static void ask(struct world *w, uint32_t phase)
{
	for (uint32_t i = 0; i < w->worker_count; i++)
		atomic_store(&w->workers[i].phase, phase);
}

bool world_stop(struct world *w)
{
	int rc = 0;

	if (!reached(w, DP_WORKER_DRAIN)) {
		ask(w, DP_WORKER_DRAIN);
		return false;
	}
	if (!reached(w, DP_WORKER_FINISH)) {
		ask(w, DP_WORKER_FINISH);
		return false;
	}
	dp_writer_drain(w->writer);
	if (!dp_writer_idle(w->writer) || (w->sim->calm && !world_drained(w)))
		return false;
	world_check_settled(w);
	if (w->sim->calm)
		world_check_outputs_ledger(w);
	for (uint32_t i = 0; i < w->config.output_count && rc == 0; i++)
		rc = dp_output_stop(w->outputs[i], &w->sim->now);
	if (rc == 0)
		rc = dp_writer_close(w->writer, &w->sim->now);
	sim_check(w->sim, rc == 0 || !w->sim->calm || w->sim->dead, "no stop: %d", rc);
	w->stopped = rc == 0 && !w->sim->dead;
	return true;
}

/* ---- the files ---- */

static size_t append_file(const struct dp_io *io, const char *name, char **text, size_t used)
{
	int h = io->ops->open(io->ctx, name, DP_IO_READ);
	int64_t size;

	if (h < 0)
		return used;
	size = io->ops->size(io->ctx, h);
	*text = realloc(*text, used + (size_t)size + 1);
	if (!*text)
		abort();
	io->ops->pread(io->ctx, h, *text + used, (size_t)size, 0);
	io->ops->close(io->ctx, h);
	return used + (size_t)size;
}

void world_check_files(struct world *w)
{
	struct dp_io io = sim_disk_io(w->files, true);
	char name[SIM_NAME_BYTES], *text = NULL;
	size_t used = 0;

	for (uint32_t i = 0; i < w->config.output_count; i++) {
		if (w->config.outputs[i].kind != SIM_FILE)
			continue;
		for (uint32_t n = 1; n <= w->files->dir.count; n++) {
			snprintf(name, sizeof(name), "%s.%u", file_name, n);
			used = append_file(&io, name, &text, used);
		}
		used = append_file(&io, file_name, &text, used);
		oracle_file_end(w->oracle, i, text ? text : "", used);
	}
	free(text);
}
