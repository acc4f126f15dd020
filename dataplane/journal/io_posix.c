/*
 * The journal's directory on a real disk.  pwritev and fdatasync: measured here, neither io_uring
 * nor O_DIRECT|O_DSYNC commits more often.  A thread of its own waits for the writer's syncs.
 */
#include "dataplane/journal/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ZERO_CHUNK = 1 << 20, LOCKS_MAX = 4 };

enum sync_state { SYNC_NONE, SYNC_ASKED, SYNC_RUNS, SYNC_ENDED };

struct dp_io_posix {
	int dir;
	int locks[LOCKS_MAX], lock_count;
	void (*wake)(void *arg);
	void *wake_arg;
	char *zeros; /* [ZERO_CHUNK] */
	bool sync_seldom;

	pthread_t thread;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t asked;
	enum sync_state state;
	int file, result;
	bool stop;
};

/* ---- the thread that waits for syncs ---- */

static int sync_file(int fd)
{
	/* After a failure the kernel may have dropped the pages: never try the same sync again. */
	return fdatasync(fd) ? -errno : 0;
}

static void *syncer(void *arg)
{
	struct dp_io_posix *p = arg;

	pthread_mutex_lock(&p->mutex);
	while (!p->stop) {
		int rc;

		if (p->state != SYNC_ASKED) {
			pthread_cond_wait(&p->asked, &p->mutex);
			continue;
		}
		p->state = SYNC_RUNS;
		pthread_mutex_unlock(&p->mutex);
		rc = sync_file(p->file);
		pthread_mutex_lock(&p->mutex);
		p->result = rc;
		p->state = SYNC_ENDED;
		if (p->wake) {
			pthread_mutex_unlock(&p->mutex);
			p->wake(p->wake_arg);
			pthread_mutex_lock(&p->mutex);
		}
	}
	pthread_mutex_unlock(&p->mutex);
	return NULL;
}

static int posix_sync_start(void *ctx, int h)
{
	struct dp_io_posix *p = ctx;
	int rc = -EBUSY;

	pthread_mutex_lock(&p->mutex);
	if (p->state == SYNC_NONE) {
		p->file = h;
		p->state = SYNC_ASKED;
		pthread_cond_signal(&p->asked);
		rc = 0;
	}
	pthread_mutex_unlock(&p->mutex);
	return rc;
}

static int posix_sync_poll(void *ctx)
{
	struct dp_io_posix *p = ctx;
	int rc = 0;

	pthread_mutex_lock(&p->mutex);
	if (p->state == SYNC_ENDED) {
		p->state = SYNC_NONE;
		rc = p->result;
	} else if (p->state != SYNC_NONE) {
		rc = -EAGAIN;
	}
	pthread_mutex_unlock(&p->mutex);
	return rc;
}

/* ---- files ---- */

static int posix_open(void *ctx, const char *name, int flags)
{
	struct dp_io_posix *p = ctx;
	int how = O_CLOEXEC, fd;

	if (flags & DP_IO_WRITE)
		how |= O_RDWR;
	else
		how |= O_RDONLY;
	if (flags & DP_IO_CREATE)
		how |= O_CREAT | O_EXCL;
	fd = openat(p->dir, name, how, 0640);
	return fd < 0 ? -errno : fd;
}

static void posix_close(void *ctx, int h)
{
	(void)ctx;
	close(h);
}

static ssize_t posix_pread(void *ctx, int h, void *buf, size_t n, uint64_t offset)
{
	size_t done = 0;

	(void)ctx;
	while (done < n) {
		ssize_t got = pread(h, (char *)buf + done, n - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/* The rest of a write that the kernel cut short, in plain steps: it is rare. */
static int write_rest(int fd, const struct iovec *iov, int iov_count, size_t skip, uint64_t offset)
{
	for (int i = 0; i < iov_count; i++) {
		while (skip < iov[i].iov_len) {
			ssize_t n = pwrite(fd, (const char *)iov[i].iov_base + skip,
				iov[i].iov_len - skip, (off_t)(offset + skip));

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0)
				return -EIO;
			skip += (size_t)n;
		}
		skip -= iov[i].iov_len;
		offset += iov[i].iov_len;
	}
	return 0;
}

static int write_some(int fd, const struct iovec *iov, int iov_count, uint64_t offset)
{
	size_t total = 0;
	ssize_t n;

	for (int i = 0; i < iov_count; i++)
		total += iov[i].iov_len;
	do
		n = pwritev(fd, iov, iov_count, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == total ? 0 : write_rest(fd, iov, iov_count, (size_t)n, offset);
}

static int posix_pwritev(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset)
{
	(void)ctx;
	while (iov_count > 0) {
		int count = iov_count < IOV_MAX ? iov_count : IOV_MAX;
		int rc = write_some(h, iov, count, offset);

		if (rc)
			return rc;
		for (int i = 0; i < count; i++)
			offset += iov[i].iov_len;
		iov += count;
		iov_count -= count;
	}
	return 0;
}

static int posix_zero(void *ctx, int h, uint64_t size)
{
	struct dp_io_posix *p = ctx;
	struct stat st;
	uint64_t at;

	if (fstat(h, &st))
		return -errno;
	at = (uint64_t)st.st_size;
	if (at >= size)
		return 0;
	if (p->sync_seldom && fallocate(h, 0, (off_t)at, (off_t)(size - at)) == 0)
		return 0;
	/* The size stays: it says how far the zeros are written. */
	if (fallocate(h, FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)(size - at)) && errno != EOPNOTSUPP)
		return -errno;
	while (at < size) {
		uint64_t n = size - at < ZERO_CHUNK ? size - at : ZERO_CHUNK;
		struct iovec iov = {p->zeros, n};
		int rc = write_some(h, &iov, 1, at);

		if (rc)
			return rc;
		/* So that the sync of the segment's header finds them written; a failure shows
		 * there. */
		sync_file_range(h, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
		at += n;
	}
	return 0;
}

static int posix_truncate(void *ctx, int h, uint64_t size)
{
	(void)ctx;
	return ftruncate(h, (off_t)size) ? -errno : 0;
}

static int posix_sync(void *ctx, int h)
{
	(void)ctx;
	return sync_file(h);
}

static int64_t posix_size(void *ctx, int h)
{
	struct stat st;

	(void)ctx;
	return fstat(h, &st) ? -errno : st.st_size;
}

/* ---- the directory ---- */

static int posix_sync_dir(void *ctx)
{
	struct dp_io_posix *p = ctx;

	return fsync(p->dir) ? -errno : 0;
}

static int posix_rename(void *ctx, const char *from, const char *to)
{
	struct dp_io_posix *p = ctx;

	return renameat(p->dir, from, p->dir, to) ? -errno : 0;
}

static int posix_unlink(void *ctx, const char *name)
{
	struct dp_io_posix *p = ctx;

	return unlinkat(p->dir, name, 0) ? -errno : 0;
}

static int posix_list(void *ctx, int (*each)(void *arg, const char *name), void *arg)
{
	struct dp_io_posix *p = ctx;
	/* Opened anew: a duplicate would share its place in the directory with other threads. */
	int fd = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0) {
		const struct dirent *e;

		errno = 0;
		e = readdir(dir);
		if (!e) {
			rc = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = each(arg, e->d_name);
	}
	closedir(dir);
	return rc;
}

static int posix_lock(void *ctx, const char *name)
{
	struct dp_io_posix *p = ctx;
	int fd, rc;

	if (p->lock_count == LOCKS_MAX)
		return -ENOLCK;
	fd = openat(p->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	p->locks[p->lock_count++] = fd;
	return 0;
}

static const struct dp_io_ops posix_ops = {
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwritev = posix_pwritev,
	.zero = posix_zero,
	.truncate = posix_truncate,
	.sync = posix_sync,
	.sync_start = posix_sync_start,
	.sync_poll = posix_sync_poll,
	.sync_dir = posix_sync_dir,
	.size = posix_size,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.list = posix_list,
	.lock = posix_lock,
};

static int start_syncer(struct dp_io_posix *p)
{
	int err;

	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->asked, NULL);
	err = pthread_create(&p->thread, NULL, syncer, p);
	if (err) {
		pthread_cond_destroy(&p->asked);
		pthread_mutex_destroy(&p->mutex);
	}
	return -err;
}

int dp_io_posix_open(const char *dir, void (*wake)(void *arg), void *arg, struct dp_io_posix **out,
	struct dp_io *io)
{
	struct dp_io_posix *p = calloc(1, sizeof(*p));
	int rc = -ENOMEM;

	if (!p)
		return rc;
	p->wake = wake;
	p->wake_arg = arg;
	p->zeros = calloc(1, ZERO_CHUNK);
	if (!p->zeros)
		goto free_p;
	p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0) {
		rc = -errno;
		goto free_zeros;
	}
	rc = start_syncer(p);
	if (rc)
		goto close_dir;
	*out = p;
	*io = (struct dp_io){&posix_ops, p};
	return 0;
close_dir:
	close(p->dir);
free_zeros:
	free(p->zeros);
free_p:
	free(p);
	return rc;
}

void dp_io_posix_sync_seldom(struct dp_io_posix *p)
{
	p->sync_seldom = true;
}

void dp_io_posix_close(struct dp_io_posix *p)
{
	pthread_mutex_lock(&p->mutex);
	p->stop = true;
	pthread_cond_signal(&p->asked);
	pthread_mutex_unlock(&p->mutex);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->asked);
	pthread_mutex_destroy(&p->mutex);
	for (int i = 0; i < p->lock_count; i++)
		close(p->locks[i]);
	close(p->dir);
	free(p->zeros);
	free(p);
}
