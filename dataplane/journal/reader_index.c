/* The reader's index of segments. Grows with the writer; what is behind the reader is forgotten. */
#include "dataplane/journal/reader_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare_known(const void *a, const void *b)
{
	uint64_t x = ((const struct dp_known *)a)->serial, y = ((const struct dp_known *)b)->serial;

	return x < y ? -1 : x > y;
}

struct listing {
	struct dp_reader_index *x;
	const struct dp_reader_index_range *range;
	uint64_t oldest;
};

static int add_known(void *arg, const char *name)
{
	struct listing *l = arg;
	struct dp_reader_index *x = l->x;
	uint64_t serial;

	if (!dp_segment_serial(name, &serial))
		return 0;
	if (l->oldest == 0 || serial < l->oldest)
		l->oldest = serial;
	/* Up to x->upto all are known; what the writer has only begun is beyond. */
	if (serial > l->range->upto || serial <= x->upto || serial < l->range->from)
		return 0;
	if (x->count == x->max) {
		uint32_t max = x->max ? 2 * x->max : 16;
		struct dp_known *known = realloc(x->known, max * sizeof(*known));

		if (!known)
			return -ENOMEM;
		x->known = known;
		x->max = max;
	}
	x->known[x->count++] = (struct dp_known){.serial = serial};
	return 0;
}

/* Reads the header of every entry from `first` on. */
static int read_heads(
	struct dp_reader_index *x, const struct dp_io *io, uint64_t appliance, uint32_t first)
{
	uint32_t kept = first;

	for (uint32_t i = first; i < x->count; i++) {
		struct dp_known k = x->known[i];
		struct dp_segment_head h;
		int rc = dp_segment_peek(io, k.serial, &h);

		if (rc == -ENOENT) /* freed since */
			continue;
		if (rc && rc != -EBADMSG && rc != -EPROTO)
			return rc;
		k.bad = rc || h.appliance != appliance;
		if (!k.bad) {
			k.supersedes = h.supersedes;
			k.records_before = h.records_before;
		}
		x->known[kept++] = k;
	}
	x->count = kept;
	return 0;
}

static void forget_before(struct dp_reader_index *x, uint64_t serial)
{
	uint32_t passed = 0;

	while (passed < x->count && x->known[passed].serial < serial)
		passed++;
	x->count -= passed;
	if (passed)
		memmove(x->known, x->known + passed, x->count * sizeof(*x->known));
}

int dp_reader_index_grow(struct dp_reader_index *x, const struct dp_io *io,
	const struct dp_reader_index_range *range)
{
	struct listing l = {.x = x, .range = range};
	uint32_t before = x->count;
	int rc = io->ops->list(io->ctx, add_known, &l);

	if (rc == 0)
		rc = read_heads(x, io, range->appliance, before);
	if (rc) {
		x->count = before;
		return rc;
	}
	if (x->count)
		qsort(x->known, x->count, sizeof(*x->known), compare_known);
	forget_before(x, range->from);
	x->oldest = l.oldest;
	x->upto = range->upto;
	return 0;
}

void dp_reader_index_fini(struct dp_reader_index *x)
{
	free(x->known);
}

const struct dp_known *dp_reader_index_from(const struct dp_reader_index *x, uint64_t serial)
{
	for (uint32_t i = 0; i < x->count; i++)
		if (x->known[i].serial >= serial)
			return &x->known[i];
	return NULL;
}

const struct dp_known *dp_reader_superseding(const struct dp_reader_index *x, uint64_t lp)
{
	for (uint32_t i = x->count; i > 0; i--) {
		const struct dp_known *k = &x->known[i - 1];

		if (k->serial > DP_LP_SERIAL(lp) && k->supersedes && k->supersedes <= lp)
			return k;
	}
	return NULL;
}

uint64_t dp_reader_cut(const struct dp_reader_index *x, uint64_t serial)
{
	uint64_t cut = 0;

	for (uint32_t i = 0; i < x->count; i++) {
		const struct dp_known *k = &x->known[i];

		if (k->serial > serial && k->supersedes && DP_LP_SERIAL(k->supersedes) == serial &&
			(cut == 0 || k->supersedes < cut))
			cut = k->supersedes;
	}
	return cut;
}
