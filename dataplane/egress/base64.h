/* Bytes as text in JSON: RFC 4648, section 4, with padding. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static inline size_t dp_base64_bytes(size_t bytes)
{
	return (bytes + 2) / 3 * 4;
}

/* Writes dp_base64_bytes(bytes) characters, no terminator; returns the end. */
char *dp_base64_put(char *out, const uint8_t *from, size_t bytes);
