/*
 * Arenas: memory of the data plane, mapped once at start and never given back before the end.
 * A worker populates its log ring and its buffers itself, so that the kernel places them on its
 * node; its tables are touched first by the replay.
 */
#include "dataplane/core/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

static const size_t huge_bytes = (size_t)2 << 20;
static const size_t page_bytes = 4096;

static _Thread_local bool sealed;

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* What the mapping behind an arena of `size` bytes takes: whole pages of its kind. */
static size_t mapped_bytes(size_t size, bool huge)
{
	return round_up(size, huge ? huge_bytes : page_bytes);
}

static char *map(size_t size, int flags)
{
	void *p = mmap(
		NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Ordinary pages that start at a multiple of 2 MiB, so that transparent huge pages can cover them
 * from the first byte on: maps too much and gives back both ends.
 */
static char *map_aligned(size_t size)
{
	char *raw = map(size + huge_bytes, 0);
	size_t before, after;

	if (!raw)
		return NULL;
	before = round_up((uintptr_t)raw, huge_bytes) - (uintptr_t)raw;
	after = huge_bytes - before;
	if (before)
		munmap(raw, before);
	if (after)
		munmap(raw + before + size, after);
	return raw + before;
}

int dp_arena_init(struct dp_arena *a, size_t size)
{
	*a = (struct dp_arena){.size = size};
	if (size == 0)
		return -EINVAL;
	if (size > SIZE_MAX / 2)
		return -ENOMEM;

	/* A small arena would waste most of a reserved page, and gains nothing from it. */
	if (size >= huge_bytes) {
		/* Fails at once unless enough free pages are there to be reserved: no fault later.
		 */
		a->base = map(mapped_bytes(size, true), MAP_HUGETLB);
		a->huge = a->base != NULL;
	}
	if (!a->base && size >= huge_bytes) {
		a->base = map_aligned(mapped_bytes(size, false));
		if (a->base) /* advice: a kernel without transparent huge pages may refuse it */
			(void)madvise(a->base, mapped_bytes(size, false), MADV_HUGEPAGE);
	}
	if (!a->base)
		a->base = map(mapped_bytes(size, false), 0);
	return a->base ? 0 : -ENOMEM;
}

void dp_arena_fini(struct dp_arena *a)
{
	if (a->base)
		munmap(a->base, mapped_bytes(a->size, a->huge));
	*a = (struct dp_arena){0};
}

void *dp_arena_take(struct dp_arena *a, size_t size, size_t align)
{
	size_t at;

	assert(align && (align & (align - 1)) == 0 && align <= page_bytes);
	at = round_up(a->used, align);
	if (at > a->size || size > a->size - at)
		return NULL;
	a->used = at + size;
	return a->base + at; /* anonymous memory, handed out once: zero */
}

void dp_mem_populate(void *at, size_t bytes)
{
	size_t before = (uintptr_t)at & (page_bytes - 1);

	/* An older kernel refuses: then each page comes with its first use. */
	(void)madvise((char *)at - before, bytes + before, MADV_POPULATE_WRITE);
}

void dp_mem_seal(void)
{
	sealed = true;
}

bool dp_mem_sealed(void)
{
	return sealed;
}
