/*
 * Memory of the data plane: arenas taken at start, on huge pages where there are any; after
 * dp_mem_seal() a worker thread must not allocate (tests define the allocator and abort).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dp_arena {
	char *base;
	size_t size, used;
	bool huge; /* backed by explicit huge pages; else transparent ones are advised */
};

/* Maps `size` bytes, zeroed. 0 or -errno. */
int dp_arena_init(struct dp_arena *a, size_t size);
void dp_arena_fini(struct dp_arena *a);

/* `size` zeroed bytes at a multiple of `align` (a power of two), or NULL when the arena is spent.
 */
void *dp_arena_take(struct dp_arena *a, size_t size, size_t align);

/*
 * Gives the bytes their pages now, near this thread's core; without it each first use of a page is
 * a fault on the path (measured here: 0.2 us a reading until the log ring has gone round once).
 */
void dp_mem_populate(void *at, size_t bytes);

/* From now on this thread may not allocate; only test builds enforce it. */
void dp_mem_seal(void);
bool dp_mem_sealed(void);
