/* Dead letters: gathered for one block, written and synced before its position passes. */
#include "dataplane/egress/dead.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/base64.h"

enum { HEAD_BYTES_MAX = 1024 };

static int open_file(struct dp_dead *d, bool make)
{
	const struct dp_io_ops *ops = d->io.ops;
	int h = ops->open(d->io.ctx, d->name, DP_IO_READ | DP_IO_WRITE);

	if (h == -ENOENT && make) {
		h = ops->open(d->io.ctx, d->name, DP_IO_READ | DP_IO_WRITE | DP_IO_CREATE);
		if (h >= 0) {
			int rc = ops->sync_dir(d->io.ctx);

			if (rc) {
				ops->close(d->io.ctx, h);
				return rc;
			}
		}
	}
	if (h < 0)
		return h;
	d->handle = h;
	return 0;
}

int dp_dead_init(struct dp_dead *d, const struct dp_io *io, const char *output, uint64_t length)
{
	int64_t size;
	int rc;

	memset(d, 0, sizeof(*d));
	d->io = *io;
	d->handle = -1;
	snprintf(d->output, sizeof(d->output), "%s", output);
	snprintf(d->name, sizeof(d->name), "dead-%s.jsonl", output);
	if (!io->ops)
		return 0;
	rc = open_file(d, false);
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	size = io->ops->size(io->ctx, d->handle);
	if (size < 0)
		return (int)size;
	d->length = (uint64_t)size < length ? (uint64_t)size : length;
	return d->length < (uint64_t)size ? io->ops->truncate(io->ctx, d->handle, length) : 0;
}

void dp_dead_fini(struct dp_dead *d)
{
	if (d->handle >= 0)
		d->io.ops->close(d->io.ctx, d->handle);
	free(d->lines);
}

static int reserve(struct dp_dead *d, size_t more)
{
	size_t need = d->used + more;
	char *bigger;

	if (need <= d->size)
		return 0;
	need += need / 2;
	bigger = realloc(d->lines, need);
	if (!bigger)
		return -ENOMEM;
	d->lines = bigger;
	d->size = need;
	return 0;
}

int dp_dead_add(
	struct dp_dead *d, const struct dp_dead_place *place, const char *text, size_t bytes)
{
	const struct dp_block *b = place->block;
	size_t why_bytes = strnlen(place->why, 64);
	size_t payload = place->gone ? 0 : text ? bytes : dp_base64_bytes(b->bytes);
	int rc = d->io.ops ? reserve(d, HEAD_BYTES_MAX + payload) : 0;
	char *p;

	if (rc || !d->io.ops)
		return rc;
	p = d->lines + d->used;
	p += sprintf(p, "{\"output\":\"");
	p = dp_json_escape(p, d->output, strlen(d->output));
	p += sprintf(p, "\",\"reason\":\"");
	p = dp_json_escape(p, place->why, why_bytes);
	p += sprintf(p,
		"\",\"epoch\":%" PRIu64 ",\"worker\":%" PRIu32 ",\"sequence\":%" PRIu64
		",\"index\":%" PRIu32 "%s",
		b->epoch, b->worker, b->sequence, place->index,
		place->gone ? ""
		: text	    ? ",\"record\":"
			    : ",\"block\":\"");
	if (text) {
		memcpy(p, text, bytes);
		p += bytes;
	} else if (!place->gone) {
		p = dp_base64_put(p, (const uint8_t *)b, b->bytes);
		*p++ = '"';
	}
	*p++ = '}';
	*p++ = '\n';
	d->used = (size_t)(p - d->lines);
	return 0;
}

void dp_dead_forget(struct dp_dead *d)
{
	d->used = 0;
}

int dp_dead_commit(struct dp_dead *d)
{
	struct iovec iov = {d->lines, d->used};
	int rc;

	if (!d->io.ops)
		return 0;
	rc = d->handle < 0 ? open_file(d, true) : 0;
	if (rc == 0)
		rc = d->io.ops->pwritev(d->io.ctx, d->handle, &iov, 1, d->length);
	if (rc == 0)
		rc = d->io.ops->sync(d->io.ctx, d->handle);
	if (rc)
		return rc;
	d->length += d->used;
	d->used = 0;
	return 0;
}
