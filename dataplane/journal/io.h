/*
 * The table of disk calls.  Everything that the journal and the file output do to a disk goes
 * through it, so that tests/sim can put a disk there that tears, reorders, loses and fails.
 * All names are relative to the one directory that the table was opened on. Returns are 0 / count
 * or -errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum dp_io_flag {
	DP_IO_READ = 1,
	DP_IO_WRITE = 2,
	DP_IO_CREATE = 4, /* must not exist */
};

struct dp_io {
	const struct dp_io_ops *ops;
	void *ctx;
};

struct dp_io_ops {
	int (*open)(void *ctx, const char *name, int flags); /* handle >= 0 */
	void (*close)(void *ctx, int h);
	/* Exactly n bytes, or fewer at end of file, or -errno. */
	ssize_t (*pread)(void *ctx, int h, void *buf, size_t n, uint64_t offset);
	/* All of it or -errno; what a failed write left is not known. */
	int (*pwritev)(void *ctx, int h, const struct iovec *iov, int iov_count, uint64_t offset);
	/* Allocates and writes zeros from the file's end up to `size`, so that later writes need no
	 * metadata (but see dp_io_posix_sync_seldom). */
	int (*zero)(void *ctx, int h, uint64_t size);
	int (*truncate)(void *ctx, int h, uint64_t size);
	int (*sync)(void *ctx, int h); /* fdatasync, waits */
	/*
	 * fdatasync that does not wait: at most one at a time per table, its file stays open; poll
	 * says -EAGAIN while it runs, then once 0 or -errno.
	 */
	int (*sync_start)(void *ctx, int h);
	int (*sync_poll)(void *ctx);
	int (*sync_dir)(void *ctx);
	int64_t (*size)(void *ctx, int h);
	int (*rename)(void *ctx, const char *from, const char *to);
	int (*unlink)(void *ctx, const char *name);
	/* Calls each for every name in the directory, in no order; stops at its first non-zero. */
	int (*list)(void *ctx, int (*each)(void *arg, const char *name), void *arg);
	int (*lock)(void *ctx, const char *name); /* held until the process ends; -EWOULDBLOCK */
	uint64_t (*random)(void *ctx); /* salts and the appliance id; NULL: the kernel's */
};

/* A directory of the host. dir must exist. wake(arg) is called when a started sync has ended. */
struct dp_io_posix;
int dp_io_posix_open(const char *dir, void (*wake)(void *arg), void *arg, struct dp_io_posix **out,
	struct dp_io *io);
void dp_io_posix_close(struct dp_io_posix *p);

/*
 * From now on `zero` takes the space and writes nothing: half the copying, but a later write needs
 * metadata and the sync after it commits that too. For syncs that are rare.
 */
void dp_io_posix_sync_seldom(struct dp_io_posix *p);

/* Files in memory (memfd), for `journal.sync: off`: the same code path, nothing on disk. */
struct dp_io_memory;
int dp_io_memory_open(struct dp_io_memory **out, struct dp_io *io);
void dp_io_memory_close(struct dp_io_memory *m);

/* Small files, whole: written as NAME.tmp, fdatasync, rename, fsync(dir). */
int dp_io_save(const struct dp_io *io, const char *name, const void *buf, size_t n);
/* Bytes read, at most `size`; -EFBIG when there is more. */
ssize_t dp_io_load(const struct dp_io *io, const char *name, void *buf, size_t size);
bool dp_io_is_temp(const char *name);

/* 64 random bits: of the table where it has a source, else the kernel's. */
uint64_t dp_io_random(const struct dp_io *io);
