/* Records from a file of JSON lines that grows and is rotated: PATH to PATH.1, PATH.1 to PATH.2,
 * ... */
#include "firmware-sim/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, ROTATED_MAX = 1000 };

struct file_source {
	struct fws_source base;
	char path[4000];
	int fd; /* -1: not there yet */
	struct fws_lines lines;
};

static void rotated_name(const struct file_source *f, uint32_t n, char out[4096])
{
	if (n)
		snprintf(out, 4096, "%s.%u", f->path, n);
	else
		snprintf(out, 4096, "%s", f->path);
}

/*
 * The file to read after the end of the open one: the one that was begun next, PATH itself or a
 * rotated one. -1 when the open one is still the newest (or is not found, as when it was removed:
 * then PATH).
 */
static int open_successor(const struct file_source *f)
{
	char name[4096];
	struct stat ours, other;

	if (fstat(f->fd, &ours))
		return -1;
	for (uint32_t n = 0; n < ROTATED_MAX; n++) {
		rotated_name(f, n, name);
		if (stat(name, &other))
			break;
		if (other.st_ino == ours.st_ino && other.st_dev == ours.st_dev) {
			if (!n)
				return -1;
			rotated_name(f, n - 1, name);
			return open(name, O_RDONLY | O_CLOEXEC);
		}
	}
	return open(f->path, O_RDONLY | O_CLOEXEC);
}

/* Reads what is there; returns whether there was something. -errno on trouble. */
static int read_some(
	struct file_source *f, void (*line)(void *arg, const char *at, size_t len), void *arg)
{
	char *to = fws_lines_room(&f->lines, READ_BYTES);
	ssize_t n = to ? read(f->fd, to, READ_BYTES) : -1;

	if (n < 0)
		return to ? -errno : -ENOMEM;
	fws_lines_take(&f->lines, (size_t)n, line, arg);
	return n > 0;
}

static int file_poll(
	struct fws_source *s, void (*line)(void *arg, const char *at, size_t len), void *arg)
{
	struct file_source *f = (struct file_source *)s;
	int rc = 0;

	if (f->fd < 0)
		f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
	if (f->fd >= 0)
		rc = read_some(f, line, arg);
	if (rc)
		return rc < 0 ? rc : 0;
	if (f->fd >= 0) {
		int next = open_successor(f);

		if (next >= 0) {
			/* Something may have been written between our read and the rotation. */
			do
				rc = read_some(f, line, arg);
			while (rc > 0);
			close(f->fd);
			f->fd = next;
			f->lines.used = 0;
			return rc;
		}
	}
	nanosleep(&(struct timespec){0, 500000}, NULL);
	return 0;
}

static void file_close(struct fws_source *s)
{
	struct file_source *f = (struct file_source *)s;

	if (f->fd >= 0)
		close(f->fd);
	free(f->lines.bytes);
	free(f);
}

int fws_source_file(struct fws_source **out, const char *path)
{
	struct file_source *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	if (strlen(path) >= sizeof(f->path)) {
		free(f);
		return -ENAMETOOLONG;
	}
	strcpy(f->path, path);
	f->base = (struct fws_source){file_poll, file_close};
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 && errno != ENOENT) {
		int rc = -errno;

		free(f);
		return rc;
	}
	if (f->fd >= 0)
		lseek(f->fd, 0, SEEK_END);
	*out = &f->base;
	return 0;
}
