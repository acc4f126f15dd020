/* Boot: the state directory, the workers with what they knew, the writer. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

/* ---- lock, recover ---- */

static void wake_writer(void *arg)
{
	ctl_wake_writer(arg);
}

static const char *storage_advice(int err)
{
	switch (err) {
	case EROFS:
		return "the file system is mounted read-only";
	case EACCES:
	case EPERM:
		return "give the user that runs penstockd write access to it";
	case ENOSPC:
	case EDQUOT:
		return "the disk is full: free space, or name another journal.dir";
	case EOVERFLOW:
		return "move the directory away; a new one is begun";
	case ENOENT:
	case ENOTDIR:
		return "journal.dir must be a directory, or one that can be made";
	default:
		return "see the kernel's log";
	}
}

static int open_disk(struct ctl_daemon *d)
{
	const char *dir = d->config->journal.dir;
	int err;

	if (d->config->journal.writer.sync == DP_SYNC_OFF) {
		err = dp_io_memory_open(&d->memory, &d->io);
	} else {
		err = ctl_make_folder(dir);
		err = err ? err : dp_io_posix_open(dir, wake_writer, d, &d->posix, &d->io);
		if (!err && d->config->journal.writer.sync == DP_SYNC_LAZY)
			dp_io_posix_sync_seldom(d->posix);
	}
	if (err) {
		ctl_log(CTL_ERROR, "journal: %s: %s; %s", dir ? dir : "in memory", strerror(-err),
			storage_advice(-err));
		return CTL_EXIT_STORAGE;
	}
	return CTL_EXIT_OK;
}

static bool asked_to_stop(void *arg)
{
	return ctl_stop_asked(arg, 0);
}

static int recover_failed(const struct ctl_daemon *d, const struct dp_recover_report *r)
{
	const char *dir = d->config->journal.dir ? d->config->journal.dir : "in memory";

	switch (r->kind) {
	case DP_RECOVER_STOPPED:
		return CTL_BOOT_BROKEN_OFF;
	case DP_RECOVER_LOCKED:
		ctl_log(CTL_ERROR,
			"journal: %s is in use by another penstockd (%s); stop that one, or give "
			"this one a journal.dir of its own",
			dir, r->what);
		return CTL_EXIT_LOCKED;
	case DP_RECOVER_FOREIGN:
		ctl_log(CTL_ERROR,
			"journal: %s holds segments of another appliance (%s); nothing was "
			"touched. Name an empty journal.dir, or move the foreign segments away",
			dir, r->what);
		return CTL_EXIT_FOREIGN;
	case DP_RECOVER_NEWER:
		ctl_log(CTL_ERROR,
			"journal: %s was written by a newer penstockd (%s); nothing was touched. "
			"Run that version or a later one",
			dir, r->what);
		return CTL_EXIT_NEWER;
	default:
		ctl_log(CTL_ERROR, "journal: %s: %s: %s; %s", dir, r->what, strerror(r->error),
			storage_advice(r->error));
		return CTL_EXIT_STORAGE;
	}
}

static void say_recovered(const struct dp_recovery *r)
{
	if (r->last_epoch == 0) {
		ctl_log(CTL_INFO, "journal: new, appliance %016" PRIx64, r->appliance);
		return;
	}
	ctl_log(CTL_INFO,
		"journal: appliance %016" PRIx64 ", %" PRIu64 " records in %u segments, last run "
		"ended %s",
		r->appliance, r->records, r->segment_count, r->clean ? "in order" : "abruptly");
	if (r->damaged_regions)
		ctl_log(CTL_WARNING,
			"journal: %" PRIu64 " damaged places, %" PRIu64
			" records lost in them; their bytes are kept in quarantine files",
			r->damaged_regions, r->quarantined_records);
	if (r->rewritten_blocks)
		ctl_log(CTL_WARNING, "journal: %" PRIu64 " blocks were not synced, written again",
			r->rewritten_blocks);
}

int ctl_open_journal(struct ctl_daemon *d)
{
	struct dp_now now = ctl_now(&d->clock);
	struct dp_journal_config config = d->config->journal.writer;
	struct dp_recover_report report = {0};
	int status, err = dp_parker_init(&d->writer.parker);

	if (err) {
		ctl_log(CTL_ERROR, "journal: %s", strerror(-err));
		return CTL_EXIT_FAILED;
	}
	config.stop = asked_to_stop;
	config.stop_arg = d;
	status = open_disk(d);
	if (status == CTL_EXIT_OK && dp_recover(&d->io, &config, &now, &d->recovery, &report))
		status = recover_failed(d, &report);
	if (status) {
		ctl_close_journal(d);
		return status;
	}
	say_recovered(d->recovery);
	return CTL_EXIT_OK;
}

void ctl_close_journal(struct ctl_daemon *d)
{
	if (d->recovery)
		dp_recovery_free(d->recovery);
	if (d->posix)
		dp_io_posix_close(d->posix);
	if (d->memory)
		dp_io_memory_close(d->memory);
	d->recovery = NULL;
	d->posix = NULL;
	d->memory = NULL;
	dp_parker_fini(&d->writer.parker);
}

/* ---- workers ---- */

/*
 * Sensors that one worker may hold: hashing spreads them unevenly, so an even share would be spent
 * on some workers while others have room. Together they hold no more than limits.sensors_max.
 */
static void share_slots(const struct ctl_config *c, uint32_t slots[DP_STREAMS_MAX])
{
	for (uint32_t i = 0; i < c->streams.count; i++) {
		uint64_t most = c->limits.sensors_max[i];
		uint64_t even = (most + c->workers.count - 1) / c->workers.count;
		uint64_t room = even + even / 8 + 64;

		slots[i] = (uint32_t)(room < most ? room : most);
	}
}

static void describe_inputs(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->config->input_count; i++) {
		const struct ctl_input *in = &d->config->inputs[i];

		d->inputs[i] = (struct dp_input){.format = in->format,
			.stream = in->stream < 0 ? 0 : (uint16_t)in->stream,
			.keep_raw = in->keep_raw};
	}
}

static int init_workers(struct ctl_daemon *d, const struct dp_now *now)
{
	const struct ctl_config *c = d->config;
	struct dp_worker_config configs[DP_WORKERS_MAX];
	uint32_t slots[DP_STREAMS_MAX], count = c->workers.count;
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -errno;
	share_slots(c, slots);
	describe_inputs(d);
	for (uint32_t i = 0; i < count; i++) {
		configs[i] = (struct dp_worker_config){.index = i,
			.workers = count,
			.streams = &c->streams,
			.plans = c->models ? (const struct dp_plan *const *)c->models->plans : NULL,
			.inputs = d->inputs,
			.slots_max = slots,
			.sensors_max = c->limits.sensors_max,
			.new_sensors_per_s = (c->limits.new_sensors_per_s + count - 1) / count,
			.seed = seed,
			.log = {.ring_bytes = c->journal.ring_bytes,
				.block_max = (uint32_t)c->block_bytes_max,
				.worker = i,
				.appliance = d->recovery->appliance,
				.epoch = d->recovery->epoch,
				.schema_hash = c->streams.hash,
				.linger_ns = c->journal.linger_ns},
			.hooks = {ctl_wake_worker, ctl_wake_writer, d}};
	}
	return dp_workers_init(d->workers, count, configs, now);
}

static int replay(struct ctl_daemon *d, const struct dp_now *now)
{
	struct dp_replayed *r = &d->replayed;
	int err = dp_workers_replay(
		d->workers, d->config->workers.count, &d->io, d->recovery, now, r);

	if (err)
		return err;
	if (d->recovery->last_epoch)
		ctl_log(CTL_INFO,
			"replay: %" PRIu64 " records, %" PRIu64 " sensors back, %" PRIu64
			" readings after the last mark",
			r->records, r->sensors, r->readings_after_mark);
	if (r->dropped_schema || r->dropped_limit)
		ctl_log(CTL_WARNING,
			"replay: state of %" PRIu64
			" readings not brought back because their stream has changed, of %" PRIu64
			" for want of room (limits.memory)",
			r->dropped_schema, r->dropped_limit);
	if (r->damaged_records || r->damaged_regions)
		ctl_log(CTL_WARNING,
			"replay: %" PRIu64 " records of the log are damaged, in %" PRIu64
			" places; %" PRIu64 " of them were not known before",
			r->damaged_records, r->damaged_regions, r->damage_new);
	if (r->unreadable_blocks)
		ctl_log(CTL_WARNING, "replay: %" PRIu64 " blocks with records that make no sense",
			r->unreadable_blocks);
	return 0;
}

int ctl_open_workers(struct ctl_daemon *d)
{
	struct dp_now now = ctl_now(&d->clock);
	uint32_t count = d->config->workers.count;
	int err;

	d->workers = ctl_zeroed(count * sizeof(*d->workers));
	d->worker_threads = ctl_zeroed(count * sizeof(*d->worker_threads));
	err = d->workers && d->worker_threads ? init_workers(d, &now) : -ENOMEM;
	if (err) {
		ctl_log(CTL_ERROR,
			"workers: %s; limits.memory and journal.ring say how much is taken",
			strerror(-err));
		free(d->worker_threads);
		free(d->workers);
		return CTL_EXIT_FAILED;
	}
	err = replay(d, &now);
	if (err == -ECANCELED) {
		ctl_close_workers(d);
		return CTL_BOOT_BROKEN_OFF;
	}
	if (err) {
		ctl_log(CTL_ERROR, "replay: %s: %s; %s", d->config->journal.dir, strerror(-err),
			storage_advice(-err));
		ctl_close_workers(d);
		return CTL_EXIT_STORAGE;
	}
	return CTL_EXIT_OK;
}

void ctl_close_workers(struct ctl_daemon *d)
{
	dp_workers_fini(d->workers, d->config->workers.count);
	free(d->worker_threads);
	free(d->workers);
	d->worker_threads = NULL;
	d->workers = NULL;
}

/* ---- writer ---- */

/*
 * Without checkpoints a start knows of a sensor what its records say: they stay as long as the
 * sensor is known, unless room is short.
 */
static int64_t retention(const struct ctl_config *c)
{
	int64_t keep = c->journal.writer.retention_ns;

	if (c->journal.writer.sync == DP_SYNC_OFF)
		return keep;
	for (uint32_t i = 0; i < c->streams.count; i++)
		if (c->streams.streams[i].forget_ns > keep)
			keep = c->streams.streams[i].forget_ns;
	return keep;
}

int ctl_open_writer(struct ctl_daemon *d)
{
	struct dp_now now = ctl_now(&d->clock);
	struct dp_writer_setup setup = {.config = d->config->journal.writer,
		.io = d->io,
		.streams = &d->config->streams,
		.logs = d->writer.logs,
		.log_count = d->config->workers.count,
		.recovery = d->recovery};
	int err;

	setup.config.retention_ns = retention(d->config);
	for (uint32_t i = 0; i < setup.log_count; i++)
		d->writer.logs[i] = &d->workers[i].log;
	err = dp_writer_new(&setup, &now, &d->writer.writer);
	if (err) {
		ctl_log(CTL_ERROR, "journal: first segment: %s; %s", strerror(-err),
			storage_advice(-err));
		return CTL_EXIT_STORAGE;
	}
	d->writer.clock = &d->clock;
	d->writer.daemon = d;
	return CTL_EXIT_OK;
}

/* A boot broken off has recorded nothing, unless replay had something to say: no run, no crash. */
void ctl_close_writer(struct ctl_daemon *d)
{
	struct dp_now now = ctl_now(&d->clock);
	bool open = false;

	for (uint32_t i = 0; i < d->config->workers.count; i++)
		open |= d->workers[i].log.open != NULL;
	if (!open && dp_writer_idle(d->writer.writer))
		(void)dp_writer_close(d->writer.writer, &now);
	dp_writer_free(d->writer.writer);
	d->writer.writer = NULL;
}
