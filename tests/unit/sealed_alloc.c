/*
 * The allocator of the test programs: libc's, but a thread that called dp_mem_seal() aborts in it.
 * Defined in the executable, so that calls from shared libraries and operator new end up here too.
 * Sanitizers bring their own allocator; under one this file is empty.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/core/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_ALLOCATOR 0
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_ALLOCATOR 0
#endif
#ifndef OWN_ALLOCATOR
#define OWN_ALLOCATOR 1
#endif

#if OWN_ALLOCATOR
/* glibc's own entry points, which it declares nowhere */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static void check(const char *message, size_t len)
{
	if (!dp_mem_sealed())
		return;
	(void)!write(STDERR_FILENO, message, len); /* stdio would allocate */
	abort();
}

#define CHECK(name) check("sealed thread called " name "\n", sizeof("sealed thread called " name))

void *malloc(size_t size)
{
	CHECK("malloc");
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	CHECK("calloc");
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	CHECK("realloc");
	return __libc_realloc(old, size);
}

void free(void *p)
{
	if (p)
		CHECK("free");
	__libc_free(p);
}

int posix_memalign(void **out, size_t align, size_t size)
{
	void *p;

	CHECK("posix_memalign");
	if (align < sizeof(void *) || (align & (align - 1)))
		return EINVAL;
	p = __libc_memalign(align, size);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

void *aligned_alloc(size_t align, size_t size)
{
	CHECK("aligned_alloc");
	return __libc_memalign(align, size);
}
#endif
