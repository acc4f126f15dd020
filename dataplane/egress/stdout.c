/*
 * The stdout output: lines to a descriptor.  Its flags stay as they are (they are shared with
 * whoever started us); instead at most PIPE_BUF bytes go out after poll() said that there is room,
 * which a pipe then takes without waiting (POSIX, write(2), pipe(7)).
 */
#include "dataplane/egress/file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/egress/queue.h"

enum { BUFFER_BYTES = 256 << 10, CHUNKS_PER_SERVE = 64 };
#define RETRY_NS (5 * DP_NS_PER_MS)

struct dp_stdout {
	int fd;
	char *buffer;
	size_t begin, end, size;    /* what waits is buffer[begin, end) */
	uint64_t whole;		    /* written and reported: lines before this */
	uint64_t unowned;	    /* up to here no report is asked for any more */
	uint64_t taken, written;    /* bytes, ever */
	int64_t tried_ns;	    /* steady */
	struct dp_pair_queue lines; /* end: in bytes taken */
};

static int make_room(struct dp_stdout *s, size_t need)
{
	char *bigger;

	if (s->begin) {
		memmove(s->buffer, s->buffer + s->begin, s->end - s->begin);
		s->end -= s->begin;
		s->begin = 0;
	}
	if (need <= s->size - s->end)
		return 0;
	if (s->end)
		return -EAGAIN;
	bigger = realloc(s->buffer, need);
	if (!bigger)
		return -ENOMEM;
	s->buffer = bigger;
	s->size = need;
	return 0;
}

static int stdout_send(void *ctx, const struct dp_message *m)
{
	struct dp_stdout *s = ctx;
	size_t need = (size_t)m->payload_bytes + 1;
	int rc = 0;

	if (need > s->size - s->end)
		rc = make_room(s, need);
	if (rc == 0)
		rc = dp_pair_queue_push(&s->lines, m->cookie, s->taken + need);
	if (rc)
		return rc;
	memcpy(s->buffer + s->end, m->payload, m->payload_bytes);
	s->buffer[s->end + m->payload_bytes] = '\n';
	s->end += need;
	s->taken += need;
	return 0;
}

/* 1: wrote something, 0: no room now, or -errno. */
static int write_some(struct dp_stdout *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};
	size_t n = s->end - s->begin < PIPE_BUF ? s->end - s->begin : PIPE_BUF;
	ssize_t wrote;

	if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR | POLLHUP | POLLNVAL)))
		return 0;
	wrote = write(s->fd, s->buffer + s->begin, n);
	if (wrote < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	s->begin += (size_t)wrote;
	s->written += (uint64_t)wrote;
	if (s->begin == s->end)
		s->begin = s->end = 0;
	return 1;
}

static int stdout_serve(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink)
{
	struct dp_stdout *s = ctx;
	int rc = 1;

	s->tried_ns = now->steady_ns;
	for (int i = 0; i < CHUNKS_PER_SERVE && rc > 0 && s->begin != s->end; i++)
		rc = write_some(s);
	while (dp_pair_queue_count(&s->lines) &&
		dp_pair_queue_first(&s->lines)->end <= s->written) {
		struct dp_pair line = *dp_pair_queue_first(&s->lines);

		s->lines.head++;
		s->whole = line.end;
		sink->report(sink->arg, line.cookie, DP_REPORT_DELIVERED, NULL);
	}
	return rc < 0 ? rc : 0;
}

/* A line that is half out is finished first: its reader sees a whole line, and then again. */
static int stdout_reopen(void *ctx, const struct dp_now *now, uint64_t again)
{
	struct dp_stdout *s = ctx;
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};
	uint64_t keep = s->written;

	(void)now;
	(void)again;
	if (poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLNVAL))
		return -EPIPE;
	if (s->unowned > s->written)
		keep = s->unowned;
	else if (dp_pair_queue_count(&s->lines) && s->written > s->whole &&
		 dp_pair_queue_first(&s->lines)->end > s->written && s->written > s->unowned)
		keep = dp_pair_queue_first(&s->lines)->end;
	s->end = s->begin + (size_t)(keep - s->written);
	s->taken = s->unowned = s->whole = keep;
	s->lines.head = s->lines.tail;
	return 0;
}

static int64_t stdout_deadline(void *ctx)
{
	struct dp_stdout *s = ctx;

	return s->begin == s->end ? INT64_MAX : s->tried_ns + RETRY_NS;
}

static void stdout_close(void *ctx)
{
	struct dp_stdout *s = ctx;

	free(s->lines.at);
	free(s->buffer);
	free(s);
}

int dp_stdout_new(int fd, struct dp_transport *out)
{
	static const struct dp_transport_ops ops = {
		.send = stdout_send,
		.serve = stdout_serve,
		.reopen = stdout_reopen,
		.deadline = stdout_deadline,
		.close = stdout_close,
	};
	struct dp_stdout *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->buffer = malloc(BUFFER_BYTES);
	if (!s->buffer) {
		free(s);
		return -ENOMEM;
	}
	s->fd = fd;
	s->size = BUFFER_BYTES;
	*out = (struct dp_transport){&ops, s};
	return 0;
}
