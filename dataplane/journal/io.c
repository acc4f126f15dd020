/* What every table of disk calls shares: small files written whole, random bits. */
#include "dataplane/journal/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char temp_end[] = ".tmp";

bool dp_io_is_temp(const char *name)
{
	size_t n = strlen(name);

	return n >= sizeof(temp_end) && strcmp(name + n - (sizeof(temp_end) - 1), temp_end) == 0;
}

static int write_temp(const struct dp_io *io, const char *temp, const void *buf, size_t n)
{
	struct iovec iov = {(void *)buf, n};
	int h, rc = io->ops->unlink(io->ctx, temp);

	if (rc && rc != -ENOENT)
		return rc;
	h = io->ops->open(io->ctx, temp, DP_IO_WRITE | DP_IO_CREATE);
	if (h < 0)
		return h;
	rc = n ? io->ops->pwritev(io->ctx, h, &iov, 1, 0) : 0;
	if (rc == 0)
		rc = io->ops->sync(io->ctx, h);
	io->ops->close(io->ctx, h);
	return rc;
}

int dp_io_save(const struct dp_io *io, const char *name, const void *buf, size_t n)
{
	char temp[256];
	int rc;

	if ((size_t)snprintf(temp, sizeof(temp), "%s%s", name, temp_end) >= sizeof(temp))
		return -ENAMETOOLONG;
	rc = write_temp(io, temp, buf, n);
	if (rc == 0)
		rc = io->ops->rename(io->ctx, temp, name);
	if (rc == 0)
		return io->ops->sync_dir(io->ctx);
	io->ops->unlink(io->ctx, temp);
	return rc;
}

ssize_t dp_io_load(const struct dp_io *io, const char *name, void *buf, size_t size)
{
	int h = io->ops->open(io->ctx, name, DP_IO_READ);
	ssize_t n;

	if (h < 0)
		return h;
	n = io->ops->size(io->ctx, h);
	if (n > 0 && (size_t)n > size)
		n = -EFBIG;
	else if (n > 0)
		n = io->ops->pread(io->ctx, h, buf, (size_t)n, 0);
	io->ops->close(io->ctx, h);
	return n;
}

uint64_t dp_io_random(const struct dp_io *io)
{
	uint64_t v;

	if (io->ops->random)
		return io->ops->random(io->ctx);
	/* 8 bytes are never cut short, and the pool is filled before a daemon starts. */
	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		abort();
	return v;
}
