/* core/ring.h: what breaks if it fails: readings on their way to their owner lost or torn. */
#include "dataplane/core/ring.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

enum { SIZE = 4096, MESSAGES = 200000 };

static struct dp_arena arena;
static struct dp_ring ring;

static void set_up(void)
{
	cr_assert_eq(dp_arena_init(&arena, 64 << 10), 0);
	cr_assert_eq(dp_ring_init(&ring, SIZE, &arena), 0);
}

static void tear_down(void)
{
	dp_arena_fini(&arena);
}

TestSuite(ring, .init = set_up, .fini = tear_down);

Test(ring, nothing_is_seen_before_publish)
{
	uint32_t bytes = 0;

	cr_assert_not_null(dp_ring_put(&ring, 10));
	cr_assert_null(dp_ring_peek(&ring, &bytes));
	cr_assert(dp_ring_publish(&ring));
	cr_assert_not(dp_ring_publish(&ring), "nothing new");
	cr_assert_not_null(dp_ring_peek(&ring, &bytes));
	cr_assert_eq(bytes, 10);
}

Test(ring, full_refuses_and_takes_again_after_drop)
{
	uint32_t bytes = 0, n = 0;

	while (dp_ring_put(&ring, 1000))
		n++;
	cr_assert_eq(n, 4);
	dp_ring_publish(&ring);
	dp_ring_peek(&ring, &bytes);
	dp_ring_drop(&ring, bytes);
	cr_assert_not_null(dp_ring_put(&ring, 1000));
}

static uint32_t size_of(uint32_t i)
{
	return 4 + (i * 2654435761u >> 16) % 1500;
}

static void *produce(void *arg)
{
	for (uint32_t i = 0; i < MESSAGES; i++) {
		char *at;

		while (!(at = dp_ring_put(&ring, size_of(i))))
			dp_ring_publish(&ring);
		memset(at, (int)(i & 0xff), size_of(i));
		memcpy(at, &i, sizeof(i));
		if (i % 3 == 0)
			dp_ring_publish(&ring);
	}
	dp_ring_publish(&ring);
	return arg;
}

Test(ring, two_threads_every_message_whole_and_in_order)
{
	pthread_t thread;

	pthread_create(&thread, NULL, produce, NULL);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		const unsigned char *at;
		uint32_t bytes = 0, got;

		while (!(at = dp_ring_peek(&ring, &bytes)))
			;
		cr_assert_eq(bytes, size_of(i));
		memcpy(&got, at, sizeof(got));
		cr_assert_eq(got, i);
		for (uint32_t k = sizeof(got); k < bytes; k++)
			if (at[k] != (i & 0xff))
				cr_assert_fail("message %u torn at byte %u", i, k);
		dp_ring_drop(&ring, bytes);
	}
	pthread_join(thread, NULL);
	cr_assert(dp_ring_empty(&ring));
}
