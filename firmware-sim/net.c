/* What happens to datagrams on their way. */
#include "firmware-sim/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fws_held {
	int64_t due_ns;
	uint64_t order; /* equal due times leave as they came */
	struct fws_frame frame;
	uint8_t bytes[];
};

int fws_net_init(struct fws_net *n, const struct fws_net_config *c, struct fws_rng rng,
	uint32_t device_count)
{
	*n = (struct fws_net){.config = *c, .rng = rng, .device_count = device_count};
	n->behind = calloc((size_t)device_count + 1, sizeof(struct fws_held *));
	return n->behind ? 0 : -ENOMEM;
}

void fws_net_output(struct fws_net *n, fws_net_emit *emit, void *arg)
{
	n->emit = emit;
	n->arg = arg;
}

void fws_net_fini(struct fws_net *n)
{
	for (uint32_t i = 0; n->behind && i < n->device_count; i++)
		free(n->behind[i]);
	for (size_t i = 0; i < n->heap_count; i++)
		free(n->heap[i]);
	free(n->behind);
	free(n->heap);
	*n = (struct fws_net){0};
}

static struct fws_held *hold(const struct fws_frame *f)
{
	struct fws_held *h = malloc(sizeof(*h) + f->len);

	if (!h)
		return NULL;
	*h = (struct fws_held){.frame = *f};
	memcpy(h->bytes, f->bytes, f->len);
	h->frame.bytes = h->bytes;
	return h;
}

static bool sooner(const struct fws_held *a, const struct fws_held *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static int heap_push(struct fws_net *n, struct fws_held *h)
{
	if (n->heap_count == n->heap_room) {
		size_t room = n->heap_room ? n->heap_room * 2 : 64;
		struct fws_held **bigger = realloc(n->heap, room * sizeof(struct fws_held *));

		if (!bigger)
			return -ENOMEM;
		n->heap = bigger;
		n->heap_room = room;
	}

	size_t i = n->heap_count++;

	for (; i && sooner(h, n->heap[(i - 1) / 2]); i = (i - 1) / 2)
		n->heap[i] = n->heap[(i - 1) / 2];
	n->heap[i] = h;
	return 0;
}

static struct fws_held *heap_pop(struct fws_net *n)
{
	struct fws_held *top = n->heap[0], *last = n->heap[--n->heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < n->heap_count && sooner(n->heap[child + 1], n->heap[child]))
			child++;
		if (child >= n->heap_count || !sooner(n->heap[child], last))
			break;
		n->heap[i] = n->heap[child];
		i = child;
	}
	n->heap[i] = last;
	return top;
}

static int deliver(struct fws_net *n, int64_t now_ns, const struct fws_frame *f)
{
	const struct fws_net_config *c = &n->config;

	if (c->delay_ns <= 0 && c->delay_jitter_ns <= 0) {
		n->emit(n->arg, f);
		return 0;
	}

	struct fws_held *h = hold(f);

	if (!h)
		return -ENOMEM;
	h->order = n->order++;
	h->due_ns = now_ns + c->delay_ns +
		    (int64_t)(fws_rng_unit(&n->rng) * (double)c->delay_jitter_ns);
	n->stats.delayed++;

	int rc = heap_push(n, h);

	if (rc)
		free(h);
	return rc;
}

static int deliver_in_order(struct fws_net *n, int64_t now_ns, const struct fws_frame *f)
{
	struct fws_held *before = n->behind[f->device];

	if (!before && n->config.reorder > 0 && fws_rng_unit(&n->rng) < n->config.reorder) {
		n->stats.reordered++;
		n->behind[f->device] = hold(f);
		return n->behind[f->device] ? 0 : -ENOMEM;
	}

	int rc = deliver(n, now_ns, f);

	if (before) {
		n->behind[f->device] = NULL;
		rc = rc ? rc : deliver(n, now_ns, &before->frame);
		free(before);
	}
	return rc;
}

int fws_net_push(struct fws_net *n, int64_t now_ns, const struct fws_frame *f)
{
	if (n->config.loss > 0 && fws_rng_unit(&n->rng) < n->config.loss) {
		n->stats.lost++;
		n->stats.lost_readings += f->readings;
		return 0;
	}

	int rc = deliver_in_order(n, now_ns, f);

	if (!rc && n->config.dup > 0 && fws_rng_unit(&n->rng) < n->config.dup) {
		struct fws_frame copy = *f;

		copy.readings = 0;
		n->stats.duplicated++;
		rc = deliver(n, now_ns, &copy);
	}
	return rc;
}

void fws_net_release(struct fws_net *n, int64_t now_ns)
{
	while (n->heap_count && n->heap[0]->due_ns <= now_ns) {
		struct fws_held *h = heap_pop(n);

		n->emit(n->arg, &h->frame);
		free(h);
	}
	for (uint32_t i = 0; now_ns == INT64_MAX && i < n->device_count; i++) {
		if (!n->behind[i])
			continue;
		n->emit(n->arg, &n->behind[i]->frame);
		free(n->behind[i]);
		n->behind[i] = NULL;
	}
}

int64_t fws_net_due(const struct fws_net *n)
{
	return n->heap_count ? n->heap[0]->due_ns : INT64_MAX;
}
