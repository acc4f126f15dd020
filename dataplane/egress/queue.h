/* A growing ring of number pairs: what a transport still owes a report for, oldest first. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct dp_pair {
	uint64_t cookie, end;
};

struct dp_pair_queue {
	struct dp_pair *at;
	uint64_t head, tail; /* monotone */
	uint64_t size;	     /* power of two, or 0 */
};

static inline uint64_t dp_pair_queue_count(const struct dp_pair_queue *q)
{
	return q->tail - q->head;
}

static inline struct dp_pair *dp_pair_queue_first(const struct dp_pair_queue *q)
{
	return &q->at[q->head & (q->size - 1)];
}

/* 0 or -ENOMEM. */
static inline int dp_pair_queue_grow(struct dp_pair_queue *q)
{
	uint64_t size = q->size ? 2 * q->size : 1024;
	struct dp_pair *at = malloc(size * sizeof(*at));

	if (!at)
		return -ENOMEM;
	for (uint64_t i = q->head; i != q->tail; i++)
		at[i & (size - 1)] = q->at[i & (q->size - 1)];
	free(q->at);
	q->at = at;
	q->size = size;
	return 0;
}

/* 0 or -ENOMEM. */
static inline int dp_pair_queue_push(struct dp_pair_queue *q, uint64_t cookie, uint64_t end)
{
	if (q->tail - q->head == q->size) {
		int rc = dp_pair_queue_grow(q);

		if (rc)
			return rc;
	}
	q->at[q->tail++ & (q->size - 1)] = (struct dp_pair){cookie, end};
	return 0;
}
