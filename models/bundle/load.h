/* From a file to a struct mdl_bundle, or to the reason why not. */
#pragma once

#include "models/bundle/bundle.h"

enum { MDL_WHY_BYTES = 512 }; /* enough for any reason, cut where there is less */

/*
 * Reads and checks a file, everything that docs/bundle.md says, the golden rows on every engine
 * last. 0 with *out, in one allocation; else *out is NULL and `why` says "FILE: SECTION: reason" in
 * one line of ASCII, but for the path: -EBADMSG: not a bundle that may be used; -EPROTO: of a newer
 * version; -ENOMEM; what open() and read() say.
 */
int mdl_bundle_load(const char *path, struct mdl_bundle **out, char *why, size_t why_bytes);

/* The same of bytes in memory, at any address; `why` is "SECTION: reason". */
int mdl_bundle_parse(
	const void *bytes, size_t n, struct mdl_bundle **out, char *why, size_t why_bytes);

void mdl_bundle_free(struct mdl_bundle *m); /* NULL is fine */

/* "schema"; "header" for 0. */
const char *mdl_section_name(enum mdl_section type);
