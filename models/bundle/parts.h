/*
 * What the loader's files share.  Each part is called in the order of this header, looks at its own
 * sections, and returns 0 or what mdl_refuse() made of it.
 */
#pragma once

#include "models/bundle/bundle.h"
#include "models/bundle/format.h"

/* Bytes of the file; at NULL: not there. At any address, so taken by memcpy alone. */
struct mdl_span {
	const uint8_t *at;
	size_t bytes;
};

struct mdl_load {
	struct mdl_span file;
	struct mdl_span sections[MDL_SECTION_END];
	uint32_t section_count;
	struct mdl_file_model model;
	uint64_t bin_count, block_count, top_count; /* of all inputs; see struct mdl_bundle */
	struct mdl_bundle *m; /* NULL until the sizes of all sections are known to be right */
	char *why;
	size_t why_bytes;
};

/* Writes the reason; returns -EBADMSG. `section` 0 is the header and the table. */
__attribute__((format(printf, 3, 4))) int mdl_refuse(
	const struct mdl_load *l, enum mdl_section section, const char *format, ...);

/* -ENOMEM, with the reason. */
int mdl_no_memory(const struct mdl_load *l);

static inline struct mdl_file_input mdl_file_input_at(const struct mdl_load *l, uint32_t i)
{
	struct mdl_file_input in;

	__builtin_memcpy(&in, l->sections[MDL_SECTION_SCHEMA].at + i * sizeof(in), sizeof(in));
	return in;
}

/* Blocks of that many thresholds: the last has an infinity, above which no value is. */
static inline uint32_t mdl_block_count(uint32_t bins)
{
	return bins / MDL_BIN_BLOCK + 1;
}

static inline uint32_t mdl_top_count(uint32_t bins)
{
	return (mdl_block_count(bins) + MDL_BIN_TOPS - 1) / MDL_BIN_TOPS * MDL_BIN_TOPS;
}

static inline bool mdl_all_zero(const void *at, size_t bytes)
{
	const uint8_t *b = at;
	uint8_t any = 0;

	for (size_t i = 0; i < bytes; i++)
		any |= b[i];
	return !any;
}

/* container.c: header, table, hashes, gaps: fills `sections`. */
int mdl_load_container(struct mdl_load *l);

/* sections.c; before there is memory: the schema is looked at where it lies. */
int mdl_load_schema(struct mdl_load *l);

/* sections.c; the rest fills l->m. */
int mdl_load_inputs(struct mdl_load *l);
int mdl_load_output(struct mdl_load *l);
int mdl_load_texts(struct mdl_load *l);
int mdl_load_linear(struct mdl_load *l);

/* trees.c */
int mdl_load_bins(struct mdl_load *l);
int mdl_load_forest(struct mdl_load *l);
int mdl_load_leaves(struct mdl_load *l);

/* golden.c: the whole model by now. */
int mdl_load_golden(struct mdl_load *l);
