/* The one place that knows OpenSSL. */
#pragma once

#include <stddef.h>

#include "models/bundle/bundle.h"

struct mdl_piece {
	const void *at;
	size_t bytes;
};

/* SHA-256 (FIPS 180-4) of the pieces, one behind the other. 0, or -ENOMEM. */
int mdl_sha256(const struct mdl_piece *pieces, size_t count, uint8_t out[MDL_SHA256_BYTES]);
