/* Memory that is freed as a whole: a config, an attribute table, a YAML tree. */
#pragma once

#include <stddef.h>

struct ctl_pool_chunk;

struct ctl_pool {
	struct ctl_pool_chunk *chunks; /* NULL when empty */
};

/*
 * `size` zeroed bytes, aligned for any type, valid until ctl_pool_free. Never NULL: what is taken
 * is bounded by the limits on input files, and a machine without that much cannot run the daemon.
 */
void *ctl_pool_take(struct ctl_pool *pool, size_t size);

/* A terminated copy of `len` bytes. */
char *ctl_pool_text(struct ctl_pool *pool, const char *text, size_t len);

__attribute__((format(printf, 2, 3))) char *ctl_pool_printf(
	struct ctl_pool *pool, const char *format, ...);

void ctl_pool_free(struct ctl_pool *pool);
