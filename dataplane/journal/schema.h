/* The stream set as bytes: what segments carry to explain themselves (docs/block.md). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/stream.h"

enum { DP_SCHEMA_BYTES_MAX = 1 << 20 };

/* Serialises; returns the bytes needed, writes at most `size`. Canonical: equal sets, equal bytes.
 */
size_t dp_schema_write(const struct dp_stream_set *set, void *buf, size_t size);

/* Hash of the serialised set: what dp_stream_set.hash and dp_block.schema_hash hold. */
uint64_t dp_schema_hash(const struct dp_stream_set *set);

/*
 * Parses bytes from outside. 0 with a set in one allocation (dp_schema_free), -EBADMSG when
 * anything is off (bounds, names, duplicates, trailing bytes), -ENOMEM.
 */
int dp_schema_read(const void *buf, size_t size, struct dp_stream_set **out);
void dp_schema_free(struct dp_stream_set *set);

/*
 * Hash of what per-sensor state depends on: dp_stream.state_hash.  Names, fields with units, tags,
 * windows and lateness; the other times are looked up when they are due, so changing one loses no
 * state.
 */
uint64_t dp_stream_state_hash(const struct dp_stream *s);

/* Hash of one rule's definition, for dp_rec_alert.rule_hash. */
uint32_t dp_rule_hash(const struct dp_stream *s, const struct dp_rule *r);
