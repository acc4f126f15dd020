/* Boot: the stages in order, and back.  A stage that fails has undone its own part. */
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

static void ask_stop(void *arg)
{
	struct ctl_daemon *d = arg;
	uint64_t one = 1;

	while (write(d->stop_asked, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

bool ctl_stop_asked(struct ctl_daemon *d, int wait_ms)
{
	struct pollfd fds[] = {
		{.fd = d->signals, .events = POLLIN}, {.fd = d->stop_asked, .events = POLLIN}};
	struct signalfd_siginfo info;
	uint64_t count;

	if (poll(fds, 2, wait_ms) <= 0)
		return false;
	if (fds[0].revents & POLLIN && read(d->signals, &info, sizeof(info)) == sizeof(info)) {
		ctl_log(CTL_INFO, "stop: signal %s from process %u",
			info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM", info.ssi_pid);
		return true;
	}
	if (fds[1].revents & POLLIN && read(d->stop_asked, &count, sizeof(count)) > 0) {
		ctl_log(CTL_INFO, "stop: asked for by the API");
		return true;
	}
	return false;
}

/* ---- the config ---- */

static void close_config(struct ctl_daemon *d)
{
	ctl_config_free(d->config);
	d->config = NULL;
}

static void log_models(const struct ctl_config *c)
{
	uint32_t bundle = 0;

	for (uint32_t i = 0; c->models && i < c->streams.count; i++) {
		const struct dp_stream *s = &c->streams.streams[i];

		for (uint32_t k = 0; k < s->model_count; k++, bundle++)
			ctl_log(CTL_INFO, "model %s of %s: %s, version %u", s->models[k].name,
				s->name, s->models[k].file, c->models->bundles[bundle]->version);
	}
}

static int open_config(struct ctl_daemon *d)
{
	struct ctl_errors errors = {0};

	if (ctl_config_load(d->options.config_path, &d->config, &errors) ||
		ctl_kafka_check(d->config, &errors)) {
		ctl_errors_print(&errors, stderr);
		ctl_log(CTL_ERROR, "config: %u error%s in %s", errors.count + errors.left_out,
			errors.count + errors.left_out == 1 ? "" : "s", d->options.config_path);
		ctl_errors_free(&errors);
		close_config(d);
		return CTL_EXIT_CONFIG;
	}
	ctl_errors_free(&errors);
	ctl_log(CTL_INFO, "config: %s, appliance %s, %u worker%s, %u stream%s",
		d->options.config_path, d->config->name, d->config->workers.count,
		d->config->workers.count == 1 ? "" : "s", d->config->streams.count,
		d->config->streams.count == 1 ? "" : "s");
	log_models(d->config);
	return CTL_EXIT_OK;
}

/* ---- the API ---- */

static void read_trouble(void *arg, char *text, size_t size)
{
	struct ctl_output_thread *t = arg;

	pthread_mutex_lock(&t->lock);
	strncpy(text, t->trouble, size - 1);
	text[size - 1] = 0;
	pthread_mutex_unlock(&t->lock);
}

static void fill_start(struct ctl_view *v, const struct ctl_daemon *d)
{
	const struct dp_recovery *r = d->recovery;

	v->appliance = r->appliance;
	v->epoch = r->epoch;
	v->start = (struct ctl_start_view){.first = r->last_epoch == 0,
		.clean = r->clean,
		.records = r->records,
		.rewritten_blocks = r->rewritten_blocks,
		.damaged_regions = r->damaged_regions,
		.quarantined_records = r->quarantined_records,
		.replayed = d->replayed};
}

static int open_view(struct ctl_daemon *d)
{
	struct ctl_view *v = &d->view;

	v->config = d->config;
	v->clock = d->clock;
	v->started_ns = ctl_now(&d->clock).steady_ns;
	fill_start(v, d);
	v->worker_count = d->config->workers.count;
	for (uint32_t i = 0; i < v->worker_count; i++)
		v->workers[i] = (struct ctl_worker_view){.worker = &d->workers[i],
			.core = d->worker_threads[i].core,
			.affinity = &d->worker_threads[i].affinity};
	v->writer = dp_writer_stats(d->writer.writer);
	v->output_count = d->output_count;
	for (uint32_t i = 0; i < d->output_count; i++)
		v->outputs[i] = (struct ctl_output_view){.config = d->outputs[i].config,
			.stats = dp_output_stats(d->outputs[i].output),
			.trouble = read_trouble,
			.arg = &d->outputs[i]};
	v->input_count = d->listening_count;
	memcpy(v->inputs, d->listening, sizeof(v->inputs));
	if (d->memory)
		v->memory = d->io;
	v->stop = ask_stop;
	v->wake_worker = ctl_wake_worker;
	v->arg = d;
	/* the counters hold what was replayed, and nobody counts yet: all from here on is told */
	ctl_health_begin(&d->health, v);
	return CTL_EXIT_OK;
}

static const char *advice(int err)
{
	return err == -EACCES ? "; give the user that runs penstockd access to its folder" : "";
}

static int open_api(struct ctl_daemon *d)
{
	const char *path = d->config->api_socket;
	char folder[PATH_MAX], why[256];
	int err;

	if (!path)
		return CTL_EXIT_OK;
	snprintf(folder, sizeof(folder), "%s", path);
	err = ctl_make_folder(dirname(folder));
	if (err) {
		ctl_log(CTL_ERROR, "api: folder of %s: %s%s", path, strerror(-err), advice(err));
		return CTL_EXIT_API;
	}
	err = ctl_api_open(&d->view, path, &d->api, why, sizeof(why));
	if (err) {
		ctl_log(CTL_ERROR, "api: %s: %s%s", path, why, advice(err));
		return CTL_EXIT_API;
	}
	return CTL_EXIT_OK;
}

static void close_api(struct ctl_daemon *d)
{
	ctl_api_close(d->api);
	d->api = NULL;
}

static void close_nothing(struct ctl_daemon *d)
{
	(void)d;
}

/* ---- all of it ---- */

static const struct stage {
	/* an enum ctl_exit, told the log why, or CTL_BOOT_BROKEN_OFF */
	int (*open)(struct ctl_daemon *d);
	void (*close)(struct ctl_daemon *d);
} stages[] = {
	{open_config, close_config},
	{ctl_open_journal, ctl_close_journal},
	{ctl_open_workers, ctl_close_workers},
	{ctl_open_writer, ctl_close_writer},
	{ctl_open_outputs, ctl_close_outputs},
	{ctl_open_inputs, ctl_close_inputs},
	{ctl_open_worker_threads, ctl_close_worker_threads},
	{ctl_bind_inputs, close_nothing},
	{open_view, close_nothing},
	{ctl_open_threads, ctl_close_threads},
	{open_api, close_api},
};

static void say_ready(const struct ctl_daemon *d)
{
	static const char *const formats[] = {
		[DP_FORMAT_BINARY] = "binary", [DP_FORMAT_JSON] = "json"};

	for (uint32_t i = 0; i < d->listening_count; i++) {
		const struct ctl_input_view *in = &d->listening[i];
		const char *text = in->config->listen.text, *colon = strrchr(text, ':');

		ctl_log(CTL_INFO, "ready: input %s on udp %.*s:%u, %s, receive buffer %u KiB",
			in->config->name, (int)(colon - text), text, in->port,
			formats[in->config->format], in->receive_bytes >> 10);
	}
	for (uint32_t i = 0; i < d->output_count; i++)
		ctl_log(CTL_INFO, "ready: output %s", d->outputs[i].config->name);
	if (d->api)
		ctl_log(CTL_INFO, "ready: api on unix %s", d->config->api_socket);
	ctl_log(CTL_INFO, "ready");
}

int ctl_boot(struct ctl_daemon *d)
{
	ctl_clock_init(&d->clock);
	for (d->opened = 0; d->opened < sizeof(stages) / sizeof(stages[0]); d->opened++) {
		int status;

		/* recovery and replay ask by themselves; once there are threads, the stop is theirs
		 */
		if (stages[d->opened].open != open_api && ctl_stop_asked(d, 0)) {
			ctl_unwind(d);
			return CTL_BOOT_BROKEN_OFF;
		}
		status = stages[d->opened].open(d);
		if (status) {
			ctl_unwind(d);
			return status;
		}
	}
	ctl_drop_positions(d);
	say_ready(d);
	return CTL_EXIT_OK;
}

void ctl_unwind(struct ctl_daemon *d)
{
	while (d->opened)
		stages[--d->opened].close(d);
}
