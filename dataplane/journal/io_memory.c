/* The journal in memory: memfd files under names, so that `off` runs the same code as the disk. */
#include "dataplane/journal/io.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 256 };

struct named {
	char name[NAME_MAX_BYTES];
	int fd;
};

struct dp_io_memory {
	pthread_mutex_t mutex; /* outputs open segments while the writer makes and frees them */
	struct named *files;   /* [count] */
	uint32_t count, max;
	bool locked;
};

static struct named *find(struct dp_io_memory *m, const char *name)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (strcmp(m->files[i].name, name) == 0)
			return &m->files[i];
	return NULL;
}

static int make_file(struct dp_io_memory *m, const char *name)
{
	struct named *f;

	if (strlen(name) >= NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	if (m->count == m->max) {
		uint32_t max = m->max ? 2 * m->max : 16;

		f = realloc(m->files, max * sizeof(*f));
		if (!f)
			return -ENOMEM;
		m->files = f;
		m->max = max;
	}
	f = &m->files[m->count];
	f->fd = memfd_create(name, MFD_CLOEXEC);
	if (f->fd < 0)
		return -errno;
	strcpy(f->name, name);
	m->count++;
	return 0;
}

/* A handle is a duplicate, so that it outlives the name. */
static int open_locked(struct dp_io_memory *m, const char *name, int flags)
{
	const struct named *f = find(m, name);
	int rc;

	if (f && flags & DP_IO_CREATE)
		return -EEXIST;
	if (!f && !(flags & DP_IO_CREATE))
		return -ENOENT;
	if (!f) {
		rc = make_file(m, name);
		if (rc)
			return rc;
		f = &m->files[m->count - 1];
	}
	rc = dup(f->fd);
	return rc < 0 ? -errno : rc;
}

static int memory_open(void *ctx, const char *name, int flags)
{
	struct dp_io_memory *m = ctx;
	int rc;

	pthread_mutex_lock(&m->mutex);
	rc = open_locked(m, name, flags);
	pthread_mutex_unlock(&m->mutex);
	return rc;
}

static void memory_close(void *ctx, int h)
{
	(void)ctx;
	close(h);
}

static ssize_t memory_pread(void *ctx, int h, void *buf, size_t n, uint64_t offset)
{
	ssize_t got = pread(h, buf, n, (off_t)offset);

	(void)ctx;
	return got < 0 ? -errno : got;
}

static int memory_pwritev(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset)
{
	(void)ctx;
	for (int i = 0; i < iov_count; i++) {
		ssize_t n = pwrite(h, iov[i].iov_base, iov[i].iov_len, (off_t)offset);

		if (n < 0)
			return -errno;
		if ((size_t)n != iov[i].iov_len)
			return -ENOSPC;
		offset += iov[i].iov_len;
	}
	return 0;
}

static int64_t memory_size(void *ctx, int h)
{
	struct stat st;

	(void)ctx;
	return fstat(h, &st) ? -errno : st.st_size;
}

static int memory_truncate(void *ctx, int h, uint64_t size)
{
	(void)ctx;
	return ftruncate(h, (off_t)size) ? -errno : 0;
}

/* A hole reads as zeros, and takes memory only as it is filled. */
static int memory_zero(void *ctx, int h, uint64_t size)
{
	int64_t now = memory_size(ctx, h);

	if (now < 0)
		return (int)now;
	return (uint64_t)now < size ? memory_truncate(ctx, h, size) : 0;
}

static int memory_sync(void *ctx, int h)
{
	(void)ctx;
	(void)h;
	return 0;
}

static int memory_poll(void *ctx)
{
	(void)ctx;
	return 0;
}

static void remove_file(struct dp_io_memory *m, struct named *f)
{
	close(f->fd);
	*f = m->files[--m->count];
}

static int memory_unlink(void *ctx, const char *name)
{
	struct dp_io_memory *m = ctx;
	struct named *f;

	pthread_mutex_lock(&m->mutex);
	f = find(m, name);
	if (f)
		remove_file(m, f);
	pthread_mutex_unlock(&m->mutex);
	return f ? 0 : -ENOENT;
}

static int memory_rename(void *ctx, const char *from, const char *to)
{
	struct dp_io_memory *m = ctx;
	struct named *f, *old;

	if (strlen(to) >= NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	pthread_mutex_lock(&m->mutex);
	old = strcmp(from, to) == 0 ? NULL : find(m, to);
	f = find(m, from);
	if (f && old)
		remove_file(m, old);
	f = find(m, from); /* the last one has moved */
	if (f)
		strcpy(f->name, to);
	pthread_mutex_unlock(&m->mutex);
	return f ? 0 : -ENOENT;
}

static int memory_list(void *ctx, int (*each)(void *arg, const char *name), void *arg)
{
	struct dp_io_memory *m = ctx;
	char(*names)[NAME_MAX_BYTES];
	uint32_t count;
	int rc = 0;

	/* Copied: `each` may call back. */
	pthread_mutex_lock(&m->mutex);
	count = m->count;
	names = malloc((count + 1) * sizeof(*names));
	for (uint32_t i = 0; names && i < count; i++)
		memcpy(names[i], m->files[i].name, NAME_MAX_BYTES);
	pthread_mutex_unlock(&m->mutex);
	if (!names)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && rc == 0; i++)
		rc = each(arg, names[i]);
	free(names);
	return rc;
}

static int memory_lock(void *ctx, const char *name)
{
	struct dp_io_memory *m = ctx;
	int rc;

	(void)name;
	pthread_mutex_lock(&m->mutex);
	rc = m->locked ? -EWOULDBLOCK : 0;
	m->locked = true;
	pthread_mutex_unlock(&m->mutex);
	return rc;
}

static const struct dp_io_ops memory_ops = {
	.open = memory_open,
	.close = memory_close,
	.pread = memory_pread,
	.pwritev = memory_pwritev,
	.zero = memory_zero,
	.truncate = memory_truncate,
	.sync = memory_sync,
	.sync_start = memory_sync,
	.sync_poll = memory_poll,
	.sync_dir = memory_poll,
	.size = memory_size,
	.rename = memory_rename,
	.unlink = memory_unlink,
	.list = memory_list,
	.lock = memory_lock,
};

int dp_io_memory_open(struct dp_io_memory **out, struct dp_io *io)
{
	struct dp_io_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	pthread_mutex_init(&m->mutex, NULL);
	*out = m;
	*io = (struct dp_io){&memory_ops, m};
	return 0;
}

void dp_io_memory_close(struct dp_io_memory *m)
{
	for (uint32_t i = 0; i < m->count; i++)
		close(m->files[i].fd);
	pthread_mutex_destroy(&m->mutex);
	free(m->files);
	free(m);
}
