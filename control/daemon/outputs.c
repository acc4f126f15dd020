/* Boot: each output with its transport, its own tables of disk calls, its place behind the writer.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/daemon/daemon.h"
#include "control/daemon/log.h"
#include "dataplane/egress/file.h"
#include "dataplane/egress/position.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
	WINDOW_BLOCKS = 4096, /* `always` commits thousands of small blocks a second */
	WINDOW_BYTES = 8 << 20,
	FILE_SYNC_BYTES = 4 << 20,
	WHY_BYTES = 200,
};
#define SAVE_NS	     (500 * DP_NS_PER_MS)
#define FILE_SYNC_NS (100 * DP_NS_PER_MS)

static void wake_output(void *arg)
{
	struct ctl_output_thread *t = arg;

	dp_parker_wake(&t->parker);
}

/* ---- transports; 0, or -errno with the reason in `why` ---- */

static int make_file(struct ctl_output_thread *t, struct dp_transport *out, char *why)
{
	const struct ctl_output *c = t->config;
	struct dp_file_config config = {.place = XXH3_64bits(c->path, strlen(c->path)),
		.rotate_bytes = c->rotate_bytes,
		.keep = c->keep,
		.sync_interval_ns = FILE_SYNC_NS,
		.sync_bytes = FILE_SYNC_BYTES};
	char folder[PATH_MAX], path[PATH_MAX], lock[DP_FILE_NAME_BYTES_MAX + 8];
	struct dp_io io;
	int err;

	if (strlen(c->path) >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(path, sizeof(path), "%s", c->path);
	snprintf(folder, sizeof(folder), "%s", dirname(path));
	snprintf(path, sizeof(path), "%s", c->path);
	if (strlen(basename(path)) > DP_FILE_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	snprintf(config.name, sizeof(config.name), "%.*s", DP_FILE_NAME_BYTES_MAX, basename(path));
	snprintf(why, WHY_BYTES, "%.*s: ", WHY_BYTES - 3, c->path);
	err = ctl_make_folder(folder);
	err = err ? err : dp_io_posix_open(folder, wake_output, t, &t->folder, &io);
	if (err)
		return err;
	snprintf(lock, sizeof(lock), "%s.lock", config.name);
	err = io.ops->lock(io.ctx, lock);
	if (err == -EWOULDBLOCK) {
		snprintf(why, WHY_BYTES, "another output or penstockd writes to %.*s",
			WHY_BYTES - 48, c->path);
		return -EINVAL;
	}
	return err ? err : dp_file_new(&config, &io, out);
}

static int make_kafka(struct ctl_output_thread *t, struct dp_transport *out, char *why)
{
	int err = ctl_kafka_give(t->config, &t->kafka);

	return err ? err : dp_kafka_new(&t->kafka.config, out, why, WHY_BYTES);
}

static int make_transport(struct ctl_output_thread *t, struct dp_transport *out, char *why)
{
	switch (t->config->type) {
	case CTL_OUTPUT_FILE:
		return make_file(t, out, why);
	case CTL_OUTPUT_KAFKA:
		return make_kafka(t, out, why);
	default:
		return dp_stdout_new(STDOUT_FILENO, out);
	}
}

/* ---- the output around it ---- */

/*
 * A table of its own on the state directory: the writer's waits for syncs of the writer.  With
 * `sync: off` dead letters alone go there; without a directory there is no place for them, and in
 * memory they would only grow.
 */
static int open_journal(
	struct ctl_daemon *d, struct ctl_output_thread *t, struct dp_output_setup *setup, char *why)
{
	const char *dir = d->config->journal.dir;
	int err = d->memory && dir ? ctl_make_folder(dir) : 0;

	setup->dead_io = (struct dp_io){0};
	if (dir)
		err = err ? err
			  : dp_io_posix_open(dir, wake_output, t, &t->journal, &setup->dead_io);
	if (err)
		snprintf(why, WHY_BYTES, "%.*s: ", WHY_BYTES - 3, dir);
	setup->io = d->memory ? d->io : setup->dead_io;
	return err;
}

static int make_output(struct ctl_daemon *d, struct ctl_output_thread *t, uint32_t slot, char *why)
{
	const struct ctl_output *c = t->config;
	bool packed = c->type == CTL_OUTPUT_KAFKA && c->kafka.format == CTL_KAFKA_PACKED;
	struct dp_now now = ctl_now(&d->clock);
	struct dp_output_setup setup = {.config = {.form = packed ? DP_FORM_PACKED : DP_FORM_JSON,
						.from_oldest = c->from == CTL_FROM_OLDEST,
						.kinds = c->kinds,
						.raw_as_it_came = c->type == CTL_OUTPUT_KAFKA &&
								  c->kafka.topics.kind[DP_REC_RAW],
						.window_blocks = WINDOW_BLOCKS,
						.window_bytes = WINDOW_BYTES,
						.save_interval_ns = SAVE_NS,
						.slot = slot},
		.writer = d->writer.writer,
		.recovery = d->recovery,
		.attributes = {
			d->config->attributes ? ctl_attributes_json : NULL, d->config->attributes}};
	int err;

	snprintf(setup.config.name, sizeof(setup.config.name), "%s", c->name);
	snprintf(setup.config.label, sizeof(setup.config.label), "%s", d->config->name);
	err = dp_parker_init(&t->parker);
	if (err) {
		t->parker.fd = -1;
		return err;
	}
	err = open_journal(d, t, &setup, why);
	err = err ? err : make_transport(t, &setup.transport, why);
	return err ? err : dp_output_new(&setup, &now, &t->output);
}

static void close_output(struct ctl_output_thread *t)
{
	dp_output_free(t->output);
	t->output = NULL;
	ctl_kafka_free(&t->kafka);
	if (t->folder)
		dp_io_posix_close(t->folder);
	if (t->journal)
		dp_io_posix_close(t->journal);
	dp_parker_fini(&t->parker);
	pthread_mutex_destroy(&t->lock);
}

static bool is_named(void *arg, const char *output)
{
	const struct ctl_config *c = arg;

	for (uint32_t i = 0; i < c->output_count; i++)
		if (strcmp(c->outputs[i].name, output) == 0)
			return true;
	return false;
}

int ctl_open_outputs(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->config->output_count; i++) {
		struct ctl_output_thread *t = &d->outputs[d->output_count];
		char why[WHY_BYTES] = "";
		int err;

		if (!d->config->outputs[i].enabled)
			continue;
		t->config = &d->config->outputs[i];
		t->clock = &d->clock;
		pthread_mutex_init(&t->lock, NULL);
		err = make_output(d, t, d->output_count++, why);
		if (err) {
			ctl_log(CTL_ERROR, "output %s: %s%s", t->config->name, why,
				why[0] && err == -EINVAL ? "" : strerror(-err));
			ctl_close_outputs(d);
			return CTL_EXIT_OUTPUT;
		}
	}
	return CTL_EXIT_OK;
}

/* An output that leaves the config and comes back is a new one. A disabled one is still there. */
void ctl_drop_positions(struct ctl_daemon *d)
{
	char output[DP_NAME_BYTES_MAX + 1];
	int rc;

	while ((rc = dp_position_drop(&d->io, is_named, d->config, output)) == 1)
		ctl_log(CTL_INFO, "output %s: not in the config any more, position dropped",
			output);
	if (rc)
		ctl_log(CTL_WARNING, "outputs: positions of those no longer there: %s",
			strerror(-rc));
}

void ctl_close_outputs(struct ctl_daemon *d)
{
	while (d->output_count)
		close_output(&d->outputs[--d->output_count]);
}
