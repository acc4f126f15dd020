#include "dataplane/core/mem.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

Test(mem, arena_gives_zeroed_aligned_memory_until_spent)
{
	static const size_t sizes[] = {
		1, 4096, 4097, 1 << 20, (2 << 20) - 1, 2 << 20, (6 << 20) + 5};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct dp_arena a;
		char *all;

		cr_assert_eq(dp_arena_init(&a, sizes[i]), 0);
		all = dp_arena_take(&a, sizes[i], 64);
		cr_assert_not_null(all, "arena of %zu", sizes[i]);
		for (size_t at = 0; at < sizes[i]; at += 511)
			cr_assert_eq(all[at], 0);
		memset(all, 1, sizes[i]);
		cr_assert_null(dp_arena_take(&a, 1, 1), "arena of %zu gave more", sizes[i]);
		dp_arena_fini(&a);
		cr_assert_null(a.base);
	}
}

Test(mem, takes_are_aligned_and_do_not_overlap)
{
	struct dp_arena a;
	char *last = NULL;

	cr_assert_eq(dp_arena_init(&a, 100000), 0);
	for (size_t align = 1; align <= 4096; align *= 2) {
		char *p = dp_arena_take(&a, 3, align);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % align, 0);
		cr_assert(!last || p >= last + 3);
		last = p;
	}
	cr_assert_null(dp_arena_take(&a, SIZE_MAX, 64), "a size that overflows");
	cr_assert_not_null(dp_arena_take(&a, 1, 1), "a refused take spends nothing");
	dp_arena_fini(&a);
}

Test(mem, impossible_sizes_are_refused)
{
	struct dp_arena a;

	cr_assert_lt(dp_arena_init(&a, 0), 0);
	cr_assert_lt(dp_arena_init(&a, SIZE_MAX), 0);
	cr_assert_lt(dp_arena_init(&a, (size_t)1 << 60), 0);
	dp_arena_fini(&a);
}

static void *volatile kept; /* or the compiler drops the pair of calls */

#if SANITIZED
Test(mem, sealed_thread_that_allocates_aborts, .disabled = true)
#else
Test(mem, sealed_thread_that_allocates_aborts, .signal = SIGABRT)
#endif
{
	kept = malloc(10);
	free(kept);
	cr_assert_not(dp_mem_sealed());
	dp_mem_seal();
	kept = malloc(10);
}

/* Else the path has a fault for each page until the log ring has gone round. */
Test(mem, populated_pages_are_there_before_their_first_use)
{
	const size_t page = 4096, bytes = 1 << 20;
	unsigned char there[257];
	struct dp_arena a;

	cr_assert_eq(dp_arena_init(&a, 2 * bytes), 0);
	if (madvise(a.base, page, MADV_POPULATE_WRITE))
		cr_skip_test("a kernel before 5.14");
	dp_mem_populate(a.base + page + 100, bytes);
	cr_assert_eq(mincore(a.base + page, bytes + page, there), 0);
	for (size_t i = 0; i < sizeof(there); i++)
		cr_assert(there[i] & 1, "page %zu", i);
	dp_arena_fini(&a);
}
