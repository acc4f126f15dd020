/*
 * Records from a file of JSON lines that grows and is rotated: PATH becomes PATH.N, N counting up
 * (docs/record.md).  The open file is followed to its end before the next one is opened.
 */
#include "firmware-sim/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18 };

struct file_source {
	struct fws_source base;
	char path[4000];
	int fd;		 /* -1: not there yet */
	int error;	 /* -errno of the last try to open it */
	uint64_t number; /* of the last file that was followed to its end */
	struct fws_lines lines;
};

/* The inode of a file, 0 when there is none. */
static ino_t inode_of(const char *name)
{
	struct stat st;

	return stat(name, &st) ? 0 : st.st_ino;
}

/* What a look at all PATH.N is for, and what it found. */
struct numbers {
	uint64_t above;
	ino_t inode;
	uint64_t of;   /* N of the file with that inode; unchanged when there is none */
	uint64_t next; /* lowest N above `above`; 0: none */
	uint64_t highest;
};

static void look_at_rotated(const struct file_source *f, struct numbers *n)
{
	const char *slash = strrchr(f->path, '/'), *base = slash ? slash + 1 : f->path;
	char folder[4096], name[4400];
	DIR *dir;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - f->path) + 1 : 2,
		slash ? f->path : "./");
	dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		char *end;

		if (strncmp(e->d_name, base, strlen(base)) || e->d_name[strlen(base)] != '.')
			continue;

		uint64_t number = strtoull(e->d_name + strlen(base) + 1, &end, 10);

		if (!number || *end)
			continue;
		snprintf(name, sizeof(name), "%s%s", folder, e->d_name);
		if (n->inode && inode_of(name) == n->inode)
			n->of = number;
		if (number > n->above && (!n->next || number < n->next))
			n->next = number;
		n->highest = number > n->highest ? number : n->highest;
	}
	if (dir)
		closedir(dir);
}

static int open_number(const struct file_source *f, uint64_t number)
{
	char name[4096];

	snprintf(name, sizeof(name), "%s.%" PRIu64, f->path, number);
	return open(name, O_RDONLY | O_CLOEXEC);
}

/* The file begun after the open one, once that is no longer PATH itself; -1 when it still is. */
static int open_successor(struct file_source *f)
{
	struct numbers n;
	struct stat ours;
	int fd;

	if (fstat(f->fd, &ours) || inode_of(f->path) == ours.st_ino)
		return -1;
	n = (struct numbers){.of = f->number, .inode = ours.st_ino};
	look_at_rotated(f, &n);
	f->number = n.of;
	n = (struct numbers){.above = f->number};
	look_at_rotated(f, &n);
	if (n.next)
		return open_number(f, n.next);
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	/* Was PATH rotated between the look and the open, then another file is the next. */
	n = (struct numbers){.above = f->number};
	look_at_rotated(f, &n);
	if (fd < 0 || !n.next)
		return fd;
	close(fd);
	return open_number(f, n.next);
}

/* A file that is shorter than what was read of it was cut back after a kill: on from its end. */
static void follow_cut(struct file_source *f)
{
	struct stat st;
	off_t at = lseek(f->fd, 0, SEEK_CUR);

	if (fstat(f->fd, &st) || st.st_size >= at)
		return;
	lseek(f->fd, st.st_size, SEEK_SET);
	f->lines.used = 0;
}

/* Reads what is there; returns whether there was something. -errno on trouble. */
static int read_some(struct file_source *f, fws_take_record *take, void *arg)
{
	char *to = fws_lines_room(&f->lines, READ_BYTES);
	ssize_t n = to ? read(f->fd, to, READ_BYTES) : -1;

	if (n < 0)
		return to ? -errno : -ENOMEM;
	fws_lines_take(&f->lines, (size_t)n, take, arg);
	return n > 0;
}

static int file_poll(struct fws_source *s, fws_take_record *take, void *arg)
{
	struct file_source *f = (struct file_source *)s;
	int rc = 0;

	if (f->fd < 0) {
		f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
		f->error = f->fd < 0 ? -errno : 0;
	}
	if (f->fd >= 0)
		rc = read_some(f, take, arg);
	if (rc)
		return rc < 0 ? rc : 0;
	if (f->fd >= 0) {
		int next = open_successor(f);

		if (next >= 0) {
			/* Something may have been written between our read and the rotation. */
			do
				rc = read_some(f, take, arg);
			while (rc > 0);
			close(f->fd);
			f->fd = next;
			f->lines.used = 0;
			return rc;
		}
	}
	if (f->fd >= 0)
		follow_cut(f);
	nanosleep(&(struct timespec){0, 500000}, NULL);
	return 0;
}

static int file_check(struct fws_source *s)
{
	return ((struct file_source *)s)->error;
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
	f->base = (struct fws_source){.poll = file_poll, .check = file_check, .close = file_close};
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 && errno != ENOENT) {
		int rc = -errno;

		free(f);
		return rc;
	}
	f->error = f->fd < 0 ? -ENOENT : 0;
	if (f->fd >= 0)
		lseek(f->fd, 0, SEEK_END);

	struct numbers n = {0};

	look_at_rotated(f, &n);
	f->number = n.highest;
	*out = &f->base;
	return 0;
}
