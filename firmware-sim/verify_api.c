/*
 * Records from the daemon's API: GET /tail over its Unix socket answers with JSON lines without
 * end.  The body may be chunked (RFC 9112, 7.1) or run until the connection closes.
 */
#include "firmware-sim/verify.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16 };

enum body { BODY_PLAIN, CHUNK_SIZE, CHUNK_DATA, CHUNK_END };

struct api_source {
	struct fws_source base;
	int fd;
	enum body state;
	size_t left; /* of the chunk; while CHUNK_SIZE: its size so far */
	bool in_extension;
	struct fws_lines lines;
};

static int send_request(int fd)
{
	static const char request[] = "GET /tail?kind=reading&from=now HTTP/1.1\r\nHost: "
				      "localhost\r\nAccept: */*\r\n\r\n";
	ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);

	return n == sizeof(request) - 1 ? 0 : n < 0 ? -errno : -EIO;
}

/* Reads the header byte by byte, so that the body begins with the next read. */
static int read_header(struct api_source *a)
{
	char head[8192];
	size_t n = 0;

	while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4)) {
		struct pollfd ready = {a->fd, POLLIN, 0};

		if (n + 1 == sizeof(head) || poll(&ready, 1, 5000) != 1)
			return -EPROTO;
		if (recv(a->fd, head + n, 1, 0) != 1)
			return -EPROTO;
		n++;
	}
	head[n] = '\0';
	if (strncmp(head, "HTTP/1.", 7) || strncmp(head + 8, " 200", 4))
		return -EPROTO;
	a->state = strcasestr(head, "\ntransfer-encoding: chunked") ? CHUNK_SIZE : BODY_PLAIN;
	return 0;
}

static void take_size_digit(struct api_source *a, char c)
{
	int digit = c >= '0' && c <= '9'		 ? c - '0'
		    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
							 : -1;

	a->in_extension |= c == ';';
	if (digit >= 0 && !a->in_extension)
		a->left = a->left * 16 + (size_t)digit;
	if (c == '\n') {
		a->state = CHUNK_DATA;
		a->in_extension = false;
	}
}

/* Takes the framing out of [in, in + n), in place; returns the bytes of body. */
static size_t unchunk(struct api_source *a, char *in, size_t n)
{
	size_t out = 0;

	if (a->state == BODY_PLAIN)
		return n;
	for (size_t i = 0; i < n;) {
		if (a->state == CHUNK_SIZE) {
			take_size_digit(a, in[i++]);
		} else if (a->state == CHUNK_END) {
			if (in[i++] == '\n')
				a->state = CHUNK_SIZE;
		} else {
			size_t part = n - i < a->left ? n - i : a->left;

			memmove(in + out, in + i, part);
			out += part;
			i += part;
			a->left -= part;
			if (!a->left)
				a->state = CHUNK_END;
		}
	}
	return out;
}

static int api_poll(struct fws_source *s, fws_take_record *take, void *arg)
{
	struct api_source *a = (struct api_source *)s;
	struct pollfd ready = {a->fd, POLLIN, 0};
	char *to;
	ssize_t n;

	if (poll(&ready, 1, 50) <= 0)
		return 0;
	to = fws_lines_room(&a->lines, READ_BYTES);
	if (!to)
		return -ENOMEM;
	n = recv(a->fd, to, READ_BYTES, 0);
	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	fws_lines_take(&a->lines, unchunk(a, to, (size_t)n), take, arg);
	return 0;
}

static void api_close(struct fws_source *s)
{
	struct api_source *a = (struct api_source *)s;

	if (a->fd >= 0)
		close(a->fd);
	free(a->lines.bytes);
	free(a);
}

int fws_source_api(struct fws_source **out, const char *socket_path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct api_source *a;
	int rc = 0;

	if (strlen(socket_path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	strcpy(to.sun_path, socket_path);
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->base = (struct fws_source){.poll = api_poll, .close = api_close};
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&to, sizeof(to)))
		rc = -errno;
	rc = rc ? rc : send_request(a->fd);
	rc = rc ? rc : read_header(a);
	if (rc)
		api_close(&a->base);
	else
		*out = &a->base;
	return rc;
}
