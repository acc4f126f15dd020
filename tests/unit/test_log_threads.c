/*
 * Worker and writer of one log ring on two threads.  A plain program: criterion's own memory does
 * not go together with ThreadSanitizer's.
 */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "tests/unit/sample.h"

enum { RECORDS = 300000, RECORD_BYTES = 80, GROUP_MAX = 100 };

struct pair {
	struct dp_log log;
	_Atomic bool full; /* the worker has found no room */
};

static void put_group(struct dp_log *log, uint32_t count, uint64_t *number)
{
	dp_log_group(log, GROUP_MAX * RECORD_BYTES, 0);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index;
		struct dp_rec_mark *m = dp_log_record(log, DP_REC_MARK, RECORD_BYTES, &index);

		m->arrival_ns = (int64_t)(*number)++;
	}
}

/* The writer: every record once and in order, none before it is counted. */
static void *take_all(void *arg)
{
	struct pair *pair = arg;
	struct dp_log *log = &pair->log;
	uint64_t got = 0, released = 0;

	/* However the two are scheduled, the worker meets a full ring. */
	while (!atomic_load(&pair->full))
		sched_yield();
	while (got < RECORDS) {
		struct dp_block *b = dp_log_take(log);
		const char *at;

		if (!b) {
			sched_yield();
			continue;
		}
		at = (const char *)(b + 1);
		b->records_before = got; /* as the writer does: a block taken is its own */
		for (uint32_t i = 0; i < b->record_count; i++, at += RECORD_BYTES)
			assert(((const struct dp_rec_mark *)at)->arrival_ns == (int64_t)got++);
		assert(atomic_load_explicit(&log->records, memory_order_relaxed) >= got);
		/* As after a group commit: late and many at once, so that the worker finds no room.
		 */
		if (log->taken - released > log->ring_bytes - 3 * log->block_max ||
			got >= RECORDS) {
			released = log->taken;
			dp_log_release(log, released);
		}
	}
	return NULL;
}

int main(void)
{
	struct dp_arena arena;
	struct pair pair = {.full = false};
	struct dp_log *log = &pair.log;
	pthread_t writer;
	uint64_t put = 0, full = 0;

	sample_log_init(log, &arena, 0);
	assert(pthread_create(&writer, NULL, take_all, &pair) == 0);
	while (put < RECORDS) {
		if (!dp_log_room(log, GROUP_MAX * RECORD_BYTES)) {
			full++;
			atomic_store(&pair.full, true);
			dp_log_seal(log, 0, true);
			sched_yield();
			continue;
		}
		put_group(log, 1 + (uint32_t)(put % (GROUP_MAX - 1)), &put);
		dp_log_seal(log, 0, put % 5 == 0);
	}
	dp_log_seal(log, 0, true);
	assert(pthread_join(writer, NULL) == 0);
	assert(atomic_load(&log->freed) == atomic_load(&log->sealed));
	printf("%lu records, ring full %lu times\n", put, full);
	dp_arena_fini(&arena);
	return 0;
}
