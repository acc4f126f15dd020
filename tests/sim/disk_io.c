/* The fake disk's table of calls: each may fail, each may be the last thing that the process does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk_store.h"

static struct sim_file *file_of(struct sim_table *t, int h)
{
	struct sim_file *f = &t->disk->files[h];

	sim_check(
		t->disk->sim, h >= 0 && h < SIM_FILES_MAX && f->used, "call on a bad handle %d", h);
	return f;
}

/* A call: 0, or -EIO when it fails by chance or the process is dead; *dying: in this very call. */
static int call(struct sim_table *t, const char *what, uint32_t per_10000, bool *dying)
{
	struct sim *s = t->disk->sim;

	*dying = false;
	if (t->honest)
		return 0;
	if (s->dead)
		return -EIO;
	if (sim_step(s)) {
		*dying = true;
		sim_note(s, what, 0, s->steps);
		return -EIO;
	}
	if (!s->calm && per_10000 && sim_chance(s, per_10000)) {
		sim_note(s, what, 1, s->steps);
		return -EIO;
	}
	return 0;
}

static int free_file_index(struct sim_disk *d)
{
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < SIM_FILES_MAX; i++)
			if (!d->files[i].used)
				return i;
		sim_disk_collect(d);
	}
	sim_fail(d->sim, "more than %d files", SIM_FILES_MAX);
}

static int sim_open(void *ctx, const char *name, int flags)
{
	struct sim_table *t = ctx;
	struct sim_disk *d = t->disk;
	struct sim_entry *e = sim_dir_find(&d->dir, name);
	bool dying;
	int rc = call(t, "open", d->faults.directory, &dying), h;

	if (rc)
		return rc;
	if (!(flags & DP_IO_CREATE)) {
		if (!e)
			return -ENOENT;
		d->files[e->file].opens++;
		return e->file;
	}
	if (e)
		return -EEXIST;
	h = free_file_index(d);
	d->files[h].used = true;
	d->files[h].opens = 1;
	sim_note(d->sim, name, (uint64_t)h, 0);
	sim_dir_change(d, "", name, h);
	return h;
}

static void sim_close(void *ctx, int h)
{
	struct sim_file *f = file_of(ctx, h);
	struct sim_table *t = ctx;

	sim_check(t->disk->sim, f->opens > 0, "closed more often than opened");
	f->opens--;
}

static ssize_t sim_pread(void *ctx, int h, void *buf, size_t n, uint64_t offset)
{
	struct sim_table *t = ctx;
	struct sim_file *f = file_of(t, h);
	bool dying;
	int rc = call(t, "read", t->disk->faults.read, &dying);

	if (rc)
		return rc;
	if (offset >= f->size)
		return 0;
	if (n > f->size - offset)
		n = f->size - offset;
	sim_file_reserve(f, offset + n);
	sim_file_read(f, buf, n, offset);
	return (ssize_t)n;
}

/* Bytes that the file may still grow by. */
static bool has_room(struct sim_disk *d, const struct sim_file *f, uint64_t size)
{
	return size <= f->size || sim_disk_used(d) + (size - f->size) <= d->capacity;
}

static int sim_pwritev(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset)
{
	struct sim_table *t = ctx;
	struct sim_disk *d = t->disk;
	struct sim_file *f = file_of(t, h);
	uint64_t total = 0, at = offset, left;
	bool dying;
	int rc = call(t, "write", d->faults.write, &dying);

	if (rc && !dying && d->sim->dead)
		return rc;
	for (int i = 0; i < iov_count; i++)
		total += iov[i].iov_len;
	if (!rc && !has_room(d, f, offset + total))
		rc = -ENOSPC;
	/* A write that fails or is cut short by the end has done some part of its work. */
	left = rc ? (uint64_t)sim_between(d->sim, 0, (int64_t)total) : total;
	if (rc == -ENOSPC)
		left = f->size > offset ? f->size - offset : 0;
	sim_note(d->sim, "written", (uint64_t)h << 32 | offset, left);
	for (int i = 0; i < iov_count && left; i++) {
		size_t n = iov[i].iov_len < left ? iov[i].iov_len : left;

		sim_note_bytes(d->sim, "bytes", iov[i].iov_base, n);
		sim_file_write(f, iov[i].iov_base, n, at);
		at += n;
		left -= n;
	}
	return rc;
}

static int sim_zero(void *ctx, int h, uint64_t size)
{
	struct sim_table *t = ctx;
	struct sim_disk *d = t->disk;
	struct sim_file *f = file_of(t, h);
	bool dying;
	int rc = call(t, "zero", d->faults.write, &dying);

	if (rc && !dying && d->sim->dead)
		return rc;
	if (!rc && !has_room(d, f, size))
		rc = -ENOSPC;
	if (rc == 0) {
		sim_file_cut(f, size > f->size ? size : f->size);
	} else if (rc != -ENOSPC && size > f->size) {
		sim_file_cut(f, (uint64_t)sim_between(d->sim, (int64_t)f->size, (int64_t)size));
	}
	return rc;
}

static int sim_truncate(void *ctx, int h, uint64_t size)
{
	struct sim_table *t = ctx;
	struct sim_file *f = file_of(t, h);
	bool dying;
	int rc = call(t, "truncate", t->disk->faults.write, &dying);

	if (rc && !(dying && sim_chance(t->disk->sim, 5000)))
		return rc;
	sim_note(t->disk->sim, "cut", (uint64_t)h << 32 | size, 0);
	sim_file_cut(f, size);
	return rc;
}

static int sim_sync(void *ctx, int h)
{
	struct sim_table *t = ctx;
	struct sim_file *f = file_of(t, h);
	struct sim *s = t->disk->sim;
	bool dying;
	int rc = call(t, "sync", t->disk->faults.sync, &dying);

	if (dying)
		sim_file_write_back(s, f, sim_below(s, 10001));
	else if (rc && !s->dead)
		sim_file_lose(s, f);
	else if (!rc)
		sim_file_flush(f);
	t->disk->failed_syncs += rc != 0;
	return rc;
}

static void save_sector(struct sim_table *t, uint32_t page, uint32_t sector, const uint8_t *cached)
{
	struct sim_saved_sector *to;

	if (t->saved_count == t->saved_max) {
		t->saved_max = t->saved_max ? 2 * t->saved_max : 64;
		t->saved = realloc(t->saved, t->saved_max * sizeof(*t->saved));
		if (!t->saved)
			abort();
	}
	to = &t->saved[t->saved_count++];
	to->page = page;
	to->sector = sector;
	if (cached)
		memcpy(to->bytes, cached + (size_t)sector * SIM_SECTOR, SIM_SECTOR);
	else
		memset(to->bytes, 0, SIM_SECTOR);
}

static int sim_sync_start(void *ctx, int h)
{
	struct sim_table *t = ctx;
	struct sim_file *f = file_of(t, h);
	struct sim *s = t->disk->sim;
	bool dying;
	int rc;

	if (t->syncing >= 0)
		return -EAGAIN;
	rc = call(t, "sync start", 0, &dying);
	if (rc)
		return rc;
	t->saved_count = 0;
	for (uint32_t i = 0; i < f->page_count; i++)
		for (uint32_t k = 0; f->pages[i].dirty >> k; k++)
			if (f->pages[i].dirty >> k & 1)
				save_sector(t, i, k, f->pages[i].cached);
	t->saved_size = f->size;
	t->syncing = h;
	t->sync_due_ns = s->now.steady_ns;
	if (t->disk->faults.sync_ns_max && !s->calm)
		t->sync_due_ns += sim_between(s, 0, t->disk->faults.sync_ns_max);
	t->sync_rc = !s->calm && sim_chance(s, t->disk->faults.sync) ? -EIO : 0;
	return 0;
}

/* Sectors written again since are still dirty; what the sync took is durable. */
static void finish_sync(struct sim_table *t)
{
	struct sim_file *f = &t->disk->files[t->syncing];

	for (uint32_t i = 0; i < t->saved_count; i++) {
		const struct sim_saved_sector *s = &t->saved[i];
		struct sim_page *p = &f->pages[s->page];
		size_t at = (size_t)s->sector * SIM_SECTOR;

		if (!p->durable)
			p->durable = calloc(1, SIM_PAGE);
		if (!p->durable)
			abort();
		memcpy(p->durable + at, s->bytes, SIM_SECTOR);
		if (p->cached && memcmp(p->cached + at, s->bytes, SIM_SECTOR) == 0)
			p->dirty &= (uint8_t) ~(1u << s->sector);
	}
	f->durable_size = t->saved_size;
}

static int sim_sync_poll(void *ctx)
{
	struct sim_table *t = ctx;
	struct sim *s = t->disk->sim;
	bool dying;
	int rc;

	if (t->syncing < 0)
		return 0;
	if (!s->dead && s->now.steady_ns < t->sync_due_ns)
		return -EAGAIN;
	rc = call(t, "sync end", 0, &dying);
	if (rc == 0)
		rc = t->sync_rc;
	if (rc == 0)
		finish_sync(t);
	else if (!dying && !s->dead)
		sim_file_lose(s, &t->disk->files[t->syncing]);
	sim_note(s, "synced", (uint64_t)t->syncing, (uint64_t)-rc);
	t->disk->failed_syncs += rc != 0;
	if (!dying && !s->dead)
		t->syncing = -1;
	return rc;
}

static int sim_sync_dir(void *ctx)
{
	struct sim_table *t = ctx;
	bool dying;
	int rc = call(t, "sync dir", t->disk->faults.directory, &dying);

	if (rc == 0)
		sim_dir_sync(t->disk);
	return rc;
}

static int64_t sim_size(void *ctx, int h)
{
	struct sim_table *t = ctx;
	struct sim_file *f = file_of(t, h);
	bool dying;
	int rc = call(t, "size", 0, &dying);

	return rc ? rc : (int64_t)f->size;
}

static int sim_rename(void *ctx, const char *from, const char *to)
{
	struct sim_table *t = ctx;
	struct sim_entry *e = sim_dir_find(&t->disk->dir, from);
	bool dying;
	int rc = call(t, "rename", t->disk->faults.directory, &dying);

	if (rc && !(dying && sim_chance(t->disk->sim, 5000)))
		return rc;
	if (!e)
		return -ENOENT;
	sim_note(t->disk->sim, to, (uint64_t)e->file, 1);
	sim_dir_change(t->disk, from, to, e->file);
	return rc;
}

static int sim_unlink(void *ctx, const char *name)
{
	struct sim_table *t = ctx;
	struct sim_entry *e = sim_dir_find(&t->disk->dir, name);
	bool dying;
	int rc = call(t, "unlink", t->disk->faults.directory, &dying);

	if (rc && !(dying && sim_chance(t->disk->sim, 5000)))
		return rc;
	if (!e)
		return -ENOENT;
	sim_dir_change(t->disk, name, "", e->file);
	return rc;
}

static int sim_list(void *ctx, int (*each)(void *arg, const char *name), void *arg)
{
	struct sim_table *t = ctx;
	struct sim_dir now = t->disk->dir; /* each may change it */
	uint32_t from = now.count && !t->honest ? sim_below(t->disk->sim, now.count) : 0;
	bool dying;
	int rc = call(t, "list", t->disk->faults.directory, &dying);

	for (uint32_t i = 0; i < now.count && rc == 0; i++)
		rc = each(arg, now.entries[(from + i) % now.count].name);
	return rc;
}

static int sim_lock(void *ctx, const char *name)
{
	struct sim_table *t = ctx;
	bool dying;
	int rc = call(t, "lock", 0, &dying);

	(void)name;
	if (rc)
		return rc;
	if (t->disk->locked)
		return -EWOULDBLOCK;
	t->disk->locked = true;
	return 0;
}

static uint64_t sim_random_word(void *ctx)
{
	struct sim_table *t = ctx;

	return sim_random(t->disk->sim);
}

struct dp_io sim_disk_io(struct sim_disk *d, bool honest)
{
	static const struct dp_io_ops ops = {.open = sim_open,
		.close = sim_close,
		.pread = sim_pread,
		.pwritev = sim_pwritev,
		.zero = sim_zero,
		.truncate = sim_truncate,
		.sync = sim_sync,
		.sync_start = sim_sync_start,
		.sync_poll = sim_sync_poll,
		.sync_dir = sim_sync_dir,
		.size = sim_size,
		.rename = sim_rename,
		.unlink = sim_unlink,
		.list = sim_list,
		.lock = sim_lock,
		.random = sim_random_word};
	struct sim_table *t = &d->tables[d->table_count++];

	if (d->table_count > SIM_TABLES_MAX)
		abort();
	*t = (struct sim_table){.disk = d, .honest = honest, .syncing = -1};
	return (struct dp_io){&ops, t};
}
