/* The file output: buffered lines, one sync for many blocks, rotation, an exact cut at start. */
#include "dataplane/egress/file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/queue.h"

enum {
	BUFFER_BYTES = 256 << 10,
	SCAN_BYTES = 16 << 10,
	PATH_BYTES = DP_FILE_NAME_BYTES_MAX + 24,
};

/* What is saved: everything before `length` of that generation of the file was reported. */
struct file_state {
	uint64_t generation, length, place;
};

struct dp_file {
	struct dp_file_config config;
	struct dp_io io;
	int handle; /* -1: none */
	bool syncing, rotating;
	bool renamed; /* and not known to be durable: `before` is what to save */
	int failed;   /* -errno that the next serve returns */
	char *buffer;
	size_t used;		/* of the buffer */
	uint64_t length;	/* of the file, without the buffer */
	uint64_t synced_blocks; /* blocks.tail when the running sync began */
	uint64_t synced_length; /* up to which the running sync and those before cover */
	int64_t waiting_since;	/* steady; INT64_MAX: no whole block waits for a sync */
	struct file_state reported, before;
	uint64_t given, saved; /* generation of the state given last, and of the one on disk */
	struct dp_pair_queue cookies; /* end: unused */
	struct dp_pair_queue blocks;  /* cookie: cookies.tail at its end; end: length at its end */
};

static void numbered(const struct dp_file *f, uint64_t n, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s.%" PRIu64, f->config.name, n);
}

/* ---- opening and cutting ---- */

static int open_current(struct dp_file *f)
{
	const struct dp_io_ops *ops = f->io.ops;
	int h = ops->open(f->io.ctx, f->config.name, DP_IO_READ | DP_IO_WRITE);

	if (h == -ENOENT)
		h = ops->open(f->io.ctx, f->config.name, DP_IO_READ | DP_IO_WRITE | DP_IO_CREATE);
	if (h < 0)
		return h;
	f->handle = h;
	/* Also for a rename that came before: nothing is reported of a file that may vanish. */
	h = ops->sync_dir(f->io.ctx);
	if (h == 0)
		f->renamed = false;
	return h;
}

static void close_current(struct dp_file *f)
{
	if (f->handle >= 0)
		f->io.ops->close(f->io.ctx, f->handle);
	f->handle = -1;
}

/* Opens the file and cuts it to at most `length`; sets reported and length to what is there. */
static int open_at(struct dp_file *f, uint64_t length)
{
	int rc = open_current(f);
	int64_t size;

	if (rc)
		return rc;
	size = f->io.ops->size(f->io.ctx, f->handle);
	if (size < 0)
		return (int)size;
	if ((uint64_t)size < length)
		length = (uint64_t)size;
	if ((uint64_t)size > length) {
		rc = f->io.ops->truncate(f->io.ctx, f->handle, length);
		if (rc == 0)
			rc = f->io.ops->sync(f->io.ctx, f->handle);
		if (rc)
			return rc;
	}
	f->length = f->synced_length = f->reported.length = length;
	return 0;
}

/* Where the last whole line of the open file ends, or -errno. */
static int64_t lines_end(struct dp_file *f)
{
	int64_t at = f->io.ops->size(f->io.ctx, f->handle);
	char part[SCAN_BYTES];

	while (at > 0) {
		size_t want = at < SCAN_BYTES ? (size_t)at : SCAN_BYTES;
		ssize_t n = f->io.ops->pread(f->io.ctx, f->handle, part, want, (uint64_t)at - want);

		if (n < 0)
			return n;
		for (ssize_t i = n; i > 0; i--)
			if (part[i - 1] == '\n')
				return at - (int64_t)want + i;
		at -= (int64_t)want;
	}
	return at;
}

struct rotated { /* one pass over the directory */
	const struct dp_file *file;
	uint64_t below; /* only numbers below this are asked for */
	uint64_t count, lowest, highest;
};

static int note_rotated(void *arg, const char *name)
{
	struct rotated *r = arg;
	size_t n = strlen(r->file->config.name);
	char path[PATH_BYTES];
	uint64_t number;

	if (strncmp(name, r->file->config.name, n) != 0 || name[n] != '.')
		return 0;
	number = strtoull(name + n + 1, NULL, 10);
	numbered(r->file, number, path);
	if (strcmp(path, name) != 0 || number == 0 || number >= r->below)
		return 0;
	if (r->count++ == 0 || number < r->lowest)
		r->lowest = number;
	if (number > r->highest)
		r->highest = number;
	return 0;
}

static int find_rotated(struct dp_file *f, struct rotated *r, uint64_t below)
{
	*r = (struct rotated){.file = f, .below = below};
	return f->io.ops->list(f->io.ctx, note_rotated, r);
}

/* The oldest go, until as many stay as `keep` says. */
static int remove_oldest(struct dp_file *f)
{
	struct rotated r;
	char path[PATH_BYTES];
	int rc;

	for (;;) {
		rc = find_rotated(f, &r, f->reported.generation);
		if (rc || r.count <= f->config.keep)
			return rc;
		numbered(f, r.lowest, path);
		rc = f->io.ops->unlink(f->io.ctx, path);
		if (rc)
			return rc;
	}
}

/* Size of a file beside ours; -ENOENT, -errno. */
static int64_t size_of(struct dp_file *f, const char *name)
{
	int h = f->io.ops->open(f->io.ctx, name, DP_IO_READ);
	int64_t size;

	if (h < 0)
		return h;
	size = f->io.ops->size(f->io.ctx, h);
	f->io.ops->close(f->io.ctx, h);
	return size;
}

/*
 * If the file of the state was renamed since, it becomes the current one again; what has been begun
 * after it goes: nothing of that is saved. A shorter one of that name was never ours: -ESTALE.
 */
static int undo_rotation(struct dp_file *f, const struct file_state *s)
{
	char path[PATH_BYTES];
	int64_t size;

	numbered(f, s->generation, path);
	size = size_of(f, path);
	if (size < 0)
		return size == -ENOENT ? 0 : (int)size;
	if ((uint64_t)size < s->length)
		return -ESTALE;
	return f->io.ops->rename(f->io.ctx, path, f->config.name);
}

/* What is there stays, but for half a line at its end. */
static int restore_without(struct dp_file *f)
{
	struct rotated r;
	int64_t end;
	int rc = find_rotated(f, &r, UINT64_MAX);

	if (rc == 0)
		rc = open_current(f);
	if (rc)
		return rc;
	end = lines_end(f);
	close_current(f);
	f->reported.generation = r.highest + 1;
	return end < 0 ? (int)end : open_at(f, (uint64_t)end);
}

static int file_restore(void *ctx, const uint8_t *state, size_t bytes)
{
	struct dp_file *f = ctx;
	struct file_state s;
	int rc;

	if (bytes != sizeof(s))
		return restore_without(f);
	memcpy(&s, state, sizeof(s));
	if (s.place != f->config.place)
		return restore_without(f);
	rc = undo_rotation(f, &s);
	if (rc == -ESTALE)
		return restore_without(f);
	f->reported.generation = f->saved = s.generation;
	return rc ? rc : open_at(f, s.length);
}

/* ---- writing ---- */

static int flush(struct dp_file *f)
{
	struct iovec iov = {f->buffer, f->used};
	int rc;

	if (f->used == 0)
		return 0;
	rc = f->io.ops->pwritev(f->io.ctx, f->handle, &iov, 1, f->length);
	if (rc)
		return rc;
	f->length += f->used;
	f->used = 0;
	return 0;
}

static int write_through(struct dp_file *f, const struct dp_message *m)
{
	char newline = '\n';
	struct iovec iov[2] = {{(void *)m->payload, m->payload_bytes}, {&newline, 1}};
	int rc = f->io.ops->pwritev(f->io.ctx, f->handle, iov, 2, f->length);

	if (rc == 0)
		f->length += m->payload_bytes + 1;
	return rc;
}

/* None of those that egress takes for something else. */
static int broken(int rc)
{
	return rc == -EAGAIN || rc == -EMSGSIZE || rc == -EINVAL ? -EIO : rc;
}

static int file_send(void *ctx, const struct dp_message *m)
{
	struct dp_file *f = ctx;
	size_t need = (size_t)m->payload_bytes + 1;
	int rc = 0;

	if (f->handle < 0)
		return -EBADF;
	if (f->rotating)
		return -EAGAIN;
	if (need > BUFFER_BYTES - f->used)
		rc = flush(f);
	if (rc)
		return broken(rc);
	if (need > BUFFER_BYTES) {
		rc = write_through(f, m);
		if (rc)
			return broken(rc);
	} else {
		memcpy(f->buffer + f->used, m->payload, m->payload_bytes);
		f->buffer[f->used + m->payload_bytes] = '\n';
		f->used += need;
	}
	return dp_pair_queue_push(&f->cookies, m->cookie, 0);
}

static void file_end_block(void *ctx)
{
	struct dp_file *f = ctx;
	uint64_t length = f->length + f->used;

	f->failed = dp_pair_queue_push(&f->blocks, f->cookies.tail, length);
	if (f->config.rotate_bytes && length >= f->config.rotate_bytes)
		f->rotating = true;
}

static void report_synced(struct dp_file *f, const struct dp_report_sink *sink)
{
	while (f->blocks.head != f->synced_blocks) {
		struct dp_pair block = *dp_pair_queue_first(&f->blocks);

		while (f->cookies.head != block.cookie) {
			uint64_t cookie = dp_pair_queue_first(&f->cookies)->cookie;

			f->cookies.head++;
			sink->report(sink->arg, cookie, DP_REPORT_DELIVERED, NULL);
		}
		f->reported.length = block.end;
		f->blocks.head++;
	}
}

/* All of the file is reported: rename it, begin the next, let go what `keep` does not hold. */
static int rotate(struct dp_file *f)
{
	char path[PATH_BYTES];
	int rc;

	assert(f->used == 0 && f->reported.length == f->length);
	close_current(f);
	numbered(f, f->reported.generation, path);
	rc = f->io.ops->rename(f->io.ctx, f->config.name, path);
	if (rc)
		return rc;
	f->before = f->reported;
	f->renamed = true;
	f->reported.generation++;
	f->reported.length = f->length = f->synced_length = 0;
	f->rotating = false;
	rc = open_current(f);
	return rc ? rc : remove_oldest(f);
}

static bool may_rotate(const struct dp_file *f)
{
	return f->rotating && !f->syncing && f->blocks.tail == f->blocks.head &&
	       f->saved == f->reported.generation;
}

static int start_sync(struct dp_file *f)
{
	int rc = flush(f);

	if (rc == 0)
		rc = f->io.ops->sync_start(f->io.ctx, f->handle);
	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	f->syncing = true;
	f->synced_blocks = f->blocks.tail;
	f->synced_length = f->length;
	f->waiting_since = INT64_MAX;
	return 0;
}

static int poll_sync(struct dp_file *f, const struct dp_report_sink *sink)
{
	int rc = f->io.ops->sync_poll(f->io.ctx);

	if (rc == -EAGAIN)
		return 0;
	f->syncing = false;
	if (rc)
		return rc;
	report_synced(f, sink);
	return 0;
}

static bool sync_due(struct dp_file *f, const struct dp_now *now)
{
	if (f->syncing || f->blocks.tail == f->blocks.head)
		return false;
	if (f->waiting_since == INT64_MAX)
		f->waiting_since = now->steady_ns;
	return f->rotating || f->length + f->used - f->synced_length >= f->config.sync_bytes ||
	       now->steady_ns - f->waiting_since >= f->config.sync_interval_ns;
}

static int file_serve(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink)
{
	struct dp_file *f = ctx;
	int rc = f->failed;

	if (f->handle < 0)
		return -EBADF;
	if (rc == 0 && f->syncing)
		rc = poll_sync(f, sink);
	if (rc == 0 && sync_due(f, now))
		rc = start_sync(f);
	else if (rc == 0)
		rc = flush(f); /* who follows the file need not wait for the sync */
	if (rc == 0 && may_rotate(f))
		rc = rotate(f);
	return rc ? broken(rc) : 0;
}

static int file_reopen(void *ctx, const struct dp_now *now, uint64_t again)
{
	struct dp_file *f = ctx;

	(void)now;
	(void)again;
	if (f->syncing && f->io.ops->sync_poll(f->io.ctx) == -EAGAIN)
		return -EBUSY;
	f->syncing = f->rotating = false;
	f->failed = 0;
	close_current(f);
	f->used = 0;
	f->cookies.head = f->cookies.tail;
	f->blocks.head = f->synced_blocks = f->blocks.tail;
	f->waiting_since = INT64_MAX;
	return open_at(f, f->reported.length);
}

static size_t file_save_state(void *ctx, uint8_t *state, size_t size)
{
	struct dp_file *f = ctx;
	const struct file_state *s = f->renamed ? &f->before : &f->reported;

	assert(size >= sizeof(*s));
	memcpy(state, s, sizeof(*s));
	f->given = s->generation;
	return sizeof(*s);
}

static bool file_wants_save(void *ctx)
{
	const struct dp_file *f = ctx;

	return f->saved != f->reported.generation && !f->renamed;
}

static void file_saved(void *ctx)
{
	struct dp_file *f = ctx;

	f->saved = f->given;
}

static int64_t file_deadline(void *ctx)
{
	struct dp_file *f = ctx;

	if (may_rotate(f))
		return 0;
	if (f->syncing || f->waiting_since == INT64_MAX)
		return INT64_MAX;
	return f->waiting_since + f->config.sync_interval_ns;
}

static void file_close(void *ctx)
{
	struct dp_file *f = ctx;

	close_current(f);
	free(f->cookies.at);
	free(f->blocks.at);
	free(f->buffer);
	free(f);
}

int dp_file_new(
	const struct dp_file_config *config, const struct dp_io *io, struct dp_transport *out)
{
	static const struct dp_transport_ops ops = {
		.send = file_send,
		.end_block = file_end_block,
		.serve = file_serve,
		.reopen = file_reopen,
		.restore = file_restore,
		.state = file_save_state,
		.wants_save = file_wants_save,
		.saved = file_saved,
		.deadline = file_deadline,
		.close = file_close,
	};
	struct dp_file *f;

	if (!config->name[0] || config->keep == 0)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->buffer = malloc(BUFFER_BYTES);
	if (!f->buffer) {
		free(f);
		return -ENOMEM;
	}
	f->config = *config;
	f->io = *io;
	f->reported.place = config->place;
	f->handle = -1;
	f->waiting_since = INT64_MAX;
	*out = (struct dp_transport){&ops, f};
	return 0;
}
