#include "dataplane/journal/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Both tables must do the same; what only a disk has is asked of the disk alone. */
struct table {
	struct dp_io io;
	struct dp_io_posix *posix;
	struct dp_io_memory *memory;
	char dir[64];
	_Atomic int woken;
};

static void wake(void *arg)
{
	struct table *t = arg;

	atomic_fetch_add(&t->woken, 1);
}

static struct table *table_new(bool posix)
{
	struct table *t = calloc(1, sizeof(*t));

	cr_assert(t);
	if (posix) {
		strcpy(t->dir, "/tmp/penstock-io-XXXXXX");
		cr_assert(mkdtemp(t->dir));
		cr_assert_eq(dp_io_posix_open(t->dir, wake, t, &t->posix, &t->io), 0);
	} else {
		cr_assert_eq(dp_io_memory_open(&t->memory, &t->io), 0);
	}
	return t;
}

static int remove_it(void *arg, const char *name)
{
	struct table *t = arg;

	return t->io.ops->unlink(t->io.ctx, name);
}

static void table_free(struct table *t)
{
	t->io.ops->list(t->io.ctx, remove_it, t);
	if (t->posix) {
		dp_io_posix_close(t->posix);
		cr_expect_eq(rmdir(t->dir), 0, "something was left");
	} else {
		dp_io_memory_close(t->memory);
	}
	free(t);
}

static int make(struct table *t, const char *name)
{
	int h = t->io.ops->open(t->io.ctx, name, DP_IO_READ | DP_IO_WRITE | DP_IO_CREATE);

	cr_assert_geq(h, 0);
	return h;
}

static int count_it(void *arg, const char *name)
{
	(void)name;
	(*(int *)arg)++;
	return 0;
}

Test(io, files_come_and_go)
{
	for (int posix = 0; posix < 2; posix++) {
		struct table *t = table_new(posix);
		const struct dp_io_ops *ops = t->io.ops;
		void *ctx = t->io.ctx;
		int h, count = 0;

		cr_expect_eq(ops->open(ctx, "a", DP_IO_READ), -ENOENT);
		h = make(t, "a");
		cr_expect_eq(ops->open(ctx, "a", DP_IO_WRITE | DP_IO_CREATE), -EEXIST);
		ops->close(ctx, h);
		ops->close(ctx, make(t, "b"));
		cr_expect_eq(ops->rename(ctx, "a", "b"), 0, "replaces");
		cr_expect_eq(ops->rename(ctx, "a", "c"), -ENOENT);
		cr_expect_eq(ops->list(ctx, count_it, &count), 0);
		cr_expect_eq(count, 1);
		cr_expect_eq(ops->unlink(ctx, "b"), 0);
		cr_expect_eq(ops->unlink(ctx, "b"), -ENOENT);
		cr_expect_eq(ops->sync_dir(ctx), 0);
		table_free(t);
	}
}

static int stop_at_first(void *arg, const char *name)
{
	(void)name;
	(*(int *)arg)++;
	return -EINTR;
}

Test(io, list_stops_when_told)
{
	for (int posix = 0; posix < 2; posix++) {
		struct table *t = table_new(posix);
		int count = 0;

		t->io.ops->close(t->io.ctx, make(t, "a"));
		t->io.ops->close(t->io.ctx, make(t, "b"));
		cr_expect_eq(t->io.ops->list(t->io.ctx, stop_at_first, &count), -EINTR);
		cr_expect_eq(count, 1);
		table_free(t);
	}
}

Test(io, bytes_are_where_they_were_put)
{
	for (int posix = 0; posix < 2; posix++) {
		struct table *t = table_new(posix);
		const struct dp_io_ops *ops = t->io.ops;
		int h = make(t, "a");
		struct iovec many[3000]; /* more than one call takes */
		char in[3000], out[4000];

		for (int i = 0; i < 3000; i++) {
			in[i] = (char)(i * 7);
			many[i] = (struct iovec){&in[i], 1};
		}
		cr_expect_eq(ops->pwritev(t->io.ctx, h, many, 3000, 500), 0);
		cr_expect_eq(ops->size(t->io.ctx, h), 3500);
		cr_expect_eq(ops->pread(t->io.ctx, h, out, sizeof(out), 500), 3000, "ends early");
		cr_expect_eq(memcmp(in, out, 3000), 0);
		cr_expect_eq(ops->pread(t->io.ctx, h, out, 10, 9000), 0);
		cr_expect_eq(ops->truncate(t->io.ctx, h, 600), 0);
		cr_expect_eq(ops->size(t->io.ctx, h), 600);
		cr_expect_eq(ops->sync(t->io.ctx, h), 0);
		ops->close(t->io.ctx, h);
		table_free(t);
	}
}

Test(io, open_file_outlives_its_name)
{
	for (int posix = 0; posix < 2; posix++) {
		struct table *t = table_new(posix);
		int h = make(t, "a");
		struct iovec iov = {"x", 1};
		char c = 0;

		cr_expect_eq(t->io.ops->unlink(t->io.ctx, "a"), 0);
		cr_expect_eq(t->io.ops->pwritev(t->io.ctx, h, &iov, 1, 0), 0);
		cr_expect_eq(t->io.ops->pread(t->io.ctx, h, &c, 1, 0), 1);
		cr_expect_eq(c, 'x');
		t->io.ops->close(t->io.ctx, h);
		table_free(t);
	}
}

/* Made in steps; on a disk the space is there, so that a later write finds it. */
Test(io, zeros_are_there_and_nothing_else_changes)
{
	for (int kind = 0; kind < 3; kind++) {
		bool posix = kind > 0;
		struct table *t = table_new(posix);
		const struct dp_io_ops *ops = t->io.ops;
		int h = make(t, "a");
		struct iovec iov = {"head", 4};
		char buf[8] = {0};
		struct stat st;

		if (kind == 2)
			dp_io_posix_sync_seldom(t->posix);
		cr_expect_eq(ops->zero(t->io.ctx, h, 3 << 20), 0);
		cr_expect_eq(ops->pwritev(t->io.ctx, h, &iov, 1, 0), 0);
		cr_expect_eq(ops->zero(t->io.ctx, h, 5 << 20), 0);
		cr_expect_eq(ops->zero(t->io.ctx, h, 1 << 20), 0, "nothing to do");
		cr_expect_eq(ops->size(t->io.ctx, h), 5 << 20);
		cr_expect_eq(ops->pread(t->io.ctx, h, buf, 8, 0), 8);
		cr_expect_eq(memcmp(buf, "head\0\0\0\0", 8), 0);
		if (posix && fstat(h, &st) == 0)
			cr_expect_geq((long)st.st_blocks * 512, 5 << 20, "holes");
		ops->close(t->io.ctx, h);
		table_free(t);
	}
}

Test(io, started_sync_ends_and_wakes)
{
	struct table *t = table_new(true);
	const struct dp_io_ops *ops = t->io.ops;
	int h = make(t, "a");

	cr_expect_eq(ops->sync_poll(t->io.ctx), 0, "none under way");
	for (int i = 0; i < 50; i++) {
		int rc;

		cr_assert_eq(ops->sync_start(t->io.ctx, h), 0);
		cr_assert_eq(ops->sync_start(t->io.ctx, h), -EBUSY, "one at a time");
		while ((rc = ops->sync_poll(t->io.ctx)) == -EAGAIN)
			usleep(50);
		cr_assert_eq(rc, 0);
	}
	/* A sync of what is no file fails, and says so once. */
	cr_assert_eq(ops->sync_start(t->io.ctx, 9999), 0);
	for (int rc = -EAGAIN; rc == -EAGAIN; usleep(50)) {
		rc = ops->sync_poll(t->io.ctx);
		cr_assert(rc == -EAGAIN || rc == -EBADF);
	}
	cr_expect_eq(ops->sync_poll(t->io.ctx), 0);
	ops->close(t->io.ctx, h);
	for (int i = 0; atomic_load(&t->woken) < 51 && i < 20000; i++)
		usleep(50); /* the last wake comes behind the result */
	cr_expect_eq(atomic_load(&t->woken), 51);
	table_free(t);
}

Test(io, directory_is_locked_once)
{
	struct table *t = table_new(true);
	struct dp_io_posix *second;
	struct dp_io io;

	cr_expect_eq(t->io.ops->lock(t->io.ctx, "LOCK"), 0);
	cr_assert_eq(dp_io_posix_open(t->dir, NULL, NULL, &second, &io), 0);
	cr_expect_eq(io.ops->lock(io.ctx, "LOCK"), -EWOULDBLOCK);
	dp_io_posix_close(second);
	table_free(t);
}

Test(io, directory_must_exist)
{
	struct dp_io_posix *p;
	struct dp_io io;

	cr_expect_eq(dp_io_posix_open("/nonexistent", NULL, NULL, &p, &io), -ENOENT);
	cr_expect_eq(dp_io_posix_open("/dev/null", NULL, NULL, &p, &io), -ENOTDIR);
}

Test(io, small_files_are_saved_whole)
{
	for (int posix = 0; posix < 2; posix++) {
		struct table *t = table_new(posix);
		char buf[8];
		int count = 0;

		cr_expect_eq(dp_io_load(&t->io, "p", buf, sizeof(buf)), -ENOENT);
		cr_expect_eq(dp_io_save(&t->io, "p", "first", 5), 0);
		t->io.ops->close(t->io.ctx, make(t, "p.tmp")); /* left by a crash */
		cr_expect_eq(dp_io_save(&t->io, "p", "2nd", 3), 0);
		cr_expect_eq(dp_io_load(&t->io, "p", buf, sizeof(buf)), 3);
		cr_expect_eq(memcmp(buf, "2nd", 3), 0);
		cr_expect_eq(dp_io_load(&t->io, "p", buf, 2), -EFBIG);
		cr_expect_eq(dp_io_save(&t->io, "p", "", 0), 0);
		cr_expect_eq(dp_io_load(&t->io, "p", buf, sizeof(buf)), 0);
		cr_expect_eq(t->io.ops->list(t->io.ctx, count_it, &count), 0);
		cr_expect_eq(count, 1, "no temporary is left");
		table_free(t);
	}
}

Test(io, temporaries_are_known_by_name)
{
	cr_expect(dp_io_is_temp("next.tmp"));
	cr_expect(dp_io_is_temp("a.tmp"));
	cr_expect_not(dp_io_is_temp(".tmp"));
	cr_expect_not(dp_io_is_temp("tmp"));
	cr_expect_not(dp_io_is_temp("a.tmp.seg"));
}
