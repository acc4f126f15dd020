/* A disk in memory that dies on demand. */
#include "tests/unit/fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_file *find(struct fake_disk *d, const char *name)
{
	for (int i = 0; i < FAKE_FILES_MAX; i++)
		if (strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	return NULL;
}

const struct fake_file *fake_disk_file(const struct fake_disk *d, const char *name)
{
	return find((struct fake_disk *)d, name);
}

static void drop(struct fake_file *f)
{
	free(f->data);
	free(f->durable);
	memset(f, 0, sizeof(*f));
}

/* One more call; -errno when it must not succeed. */
static int call(struct fake_disk *d)
{
	if (d->dead)
		return -EIO;
	d->calls++;
	if (d->calls == d->die_at)
		d->dead = true;
	return d->dead ? -EIO : d->fail;
}

static int fake_open(void *ctx, const char *name, int flags)
{
	struct fake_disk *d = ctx;
	struct fake_file *f = find(d, name);
	int rc = call(d);

	if (rc)
		return rc;
	if (flags & DP_IO_CREATE) {
		if (f)
			return -EEXIST;
		f = find(d, "");
		if (!f)
			return -ENFILE;
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	return f ? (int)(f - d->files) : -ENOENT;
}

static void fake_close(void *ctx, int h)
{
	(void)ctx;
	(void)h;
}

static ssize_t fake_pread(void *ctx, int h, void *buf, size_t n, uint64_t offset)
{
	struct fake_disk *d = ctx;
	const struct fake_file *f = &d->files[h];
	int rc = call(d);

	if (rc)
		return rc;
	if (offset >= f->bytes)
		return 0;
	if (n > f->bytes - offset)
		n = f->bytes - offset;
	if (f->name[0] && strcmp(f->name, d->bad_name) == 0 &&
		offset < d->bad_from + d->bad_bytes && d->bad_from < offset + n)
		return -EIO;
	memcpy(buf, f->data + offset, n);
	return (ssize_t)n;
}

static void resize(struct fake_file *f, size_t bytes)
{
	f->data = realloc(f->data, bytes + 1);
	if (!f->data)
		abort();
	if (bytes > f->bytes)
		memset(f->data + f->bytes, 0, bytes - f->bytes);
	f->bytes = bytes;
}

static void write_part(struct fake_file *f, const void *from, size_t n, uint64_t offset)
{
	if (offset + n > f->bytes)
		resize(f, offset + n);
	if (n)
		memcpy(f->data + offset, from, n);
}

static int fake_pwritev(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset)
{
	struct fake_disk *d = ctx;
	bool was_dead = d->dead;
	int rc = call(d);

	for (int i = 0; i < iov_count && !was_dead; i++) {
		size_t n = rc ? iov[i].iov_len / 2 : iov[i].iov_len;

		write_part(&d->files[h], iov[i].iov_base, n, offset);
		offset += n;
		if (rc)
			break;
	}
	return rc;
}

static int fake_zero(void *ctx, int h, uint64_t size)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	if (rc == 0 && size > d->files[h].bytes)
		resize(&d->files[h], size);
	return rc;
}

static int fake_truncate(void *ctx, int h, uint64_t size)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	if (rc == 0)
		resize(&d->files[h], size);
	return rc;
}

static void make_durable(struct fake_file *f)
{
	f->durable = realloc(f->durable, f->bytes + 1);
	if (!f->durable)
		abort();
	memcpy(f->durable, f->data ? f->data : "", f->bytes);
	f->durable_bytes = f->bytes;
}

static int fake_sync(void *ctx, int h)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	if (rc == 0)
		make_durable(&d->files[h]);
	return rc;
}

static int fake_sync_start(void *ctx, int h)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	if (d->syncing)
		abort(); /* one at a time: dp_io_ops */
	if (rc)
		return rc;
	make_durable(&d->files[h]);
	d->syncing = h + 1;
	return 0;
}

static int fake_sync_poll(void *ctx)
{
	struct fake_disk *d = ctx;
	int rc;

	if (d->polls > 0) {
		d->polls--;
		return -EAGAIN;
	}
	rc = call(d);
	d->syncing = 0;
	return rc;
}

static int fake_sync_dir(void *ctx)
{
	return call(ctx);
}

static int64_t fake_size(void *ctx, int h)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	return rc ? rc : (int64_t)d->files[h].bytes;
}

static int fake_rename(void *ctx, const char *from, const char *to)
{
	struct fake_disk *d = ctx;
	struct fake_file *f = find(d, from), *old = find(d, to);
	int rc = call(d);

	if (rc)
		return rc;
	if (!f)
		return -ENOENT;
	if (old)
		drop(old);
	snprintf(f->name, sizeof(f->name), "%s", to);
	return 0;
}

static int fake_unlink(void *ctx, const char *name)
{
	struct fake_disk *d = ctx;
	struct fake_file *f = find(d, name);
	int rc = call(d);

	if (rc)
		return rc;
	if (!f)
		return -ENOENT;
	drop(f);
	return 0;
}

static int fake_list(void *ctx, int (*each)(void *arg, const char *name), void *arg)
{
	struct fake_disk *d = ctx;
	int rc = call(d);

	for (int i = 0; i < FAKE_FILES_MAX && rc == 0; i++)
		if (d->files[i].name[0])
			rc = each(arg, d->files[i].name);
	return rc;
}

static int fake_lock(void *ctx, const char *name)
{
	(void)name;
	return call(ctx);
}

void fake_disk_io(struct fake_disk *d, struct dp_io *io)
{
	static const struct dp_io_ops ops = {
		.open = fake_open,
		.close = fake_close,
		.pread = fake_pread,
		.pwritev = fake_pwritev,
		.zero = fake_zero,
		.truncate = fake_truncate,
		.sync = fake_sync,
		.sync_start = fake_sync_start,
		.sync_poll = fake_sync_poll,
		.sync_dir = fake_sync_dir,
		.size = fake_size,
		.rename = fake_rename,
		.unlink = fake_unlink,
		.list = fake_list,
		.lock = fake_lock,
	};

	*io = (struct dp_io){&ops, d};
}

void fake_disk_fini(struct fake_disk *d)
{
	for (int i = 0; i < FAKE_FILES_MAX; i++)
		drop(&d->files[i]);
}

void fake_disk_revive(struct fake_disk *d, bool power_cut)
{
	d->dead = false;
	d->syncing = 0;
	d->polls = 0;
	d->die_at = 0;
	for (int i = 0; i < FAKE_FILES_MAX && power_cut; i++) {
		struct fake_file *f = &d->files[i];

		resize(f, f->durable_bytes);
		if (f->durable_bytes)
			memcpy(f->data, f->durable, f->durable_bytes);
	}
}
