/* Chunks in a list; each take is a bump of the newest. Cold path only. */
#include "control/config/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 16 << 10, ALIGN = 16 };

struct ctl_pool_chunk {
	struct ctl_pool_chunk *next;
	size_t used, size;
	_Alignas(ALIGN) char bytes[];
};

void *ctl_pool_take(struct ctl_pool *pool, size_t size)
{
	struct ctl_pool_chunk *c = pool->chunks;
	void *p;

	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!c || c->size - c->used < size) {
		size_t bytes = size > CHUNK_BYTES ? size : CHUNK_BYTES;

		c = calloc(1, sizeof(*c) + bytes);
		if (!c)
			abort();
		c->size = bytes;
		c->next = pool->chunks;
		pool->chunks = c;
	}
	p = c->bytes + c->used;
	c->used += size;
	return p;
}

char *ctl_pool_text(struct ctl_pool *pool, const char *text, size_t len)
{
	char *copy = ctl_pool_take(pool, len + 1);

	if (len)
		memcpy(copy, text, len);
	return copy;
}

char *ctl_pool_printf(struct ctl_pool *pool, const char *format, ...)
{
	va_list args, again;
	char *text;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		abort();
	text = ctl_pool_take(pool, (size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	return text;
}

void ctl_pool_free(struct ctl_pool *pool)
{
	while (pool->chunks) {
		struct ctl_pool_chunk *next = pool->chunks->next;

		free(pool->chunks);
		pool->chunks = next;
	}
}
