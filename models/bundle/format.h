/* A bundle's bytes (docs/bundle.md).  Little endian; every `zero` is, and a reader looks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "models/bundle/bundle.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is the memory's layout");

#define MDL_FILE_MAGIC "PENSTKMB"

enum {
	MDL_FILE_VERSION = 1,
	MDL_FILE_ALIGN = 64,
	MDL_FILE_SECTIONS_MAX = 32,
	MDL_FILE_HASHED_BYTES = 24, /* of the header */
};

struct mdl_file_head {
	char magic[8];
	uint32_t version, section_count;
	uint64_t bytes;
	uint8_t sha256[MDL_SHA256_BYTES]; /* of what lies before it, and of the table */
	uint64_t zero;
};
_Static_assert(sizeof(struct mdl_file_head) == 64, "header");
_Static_assert(offsetof(struct mdl_file_head, sha256) == MDL_FILE_HASHED_BYTES, "header");

struct mdl_file_entry {
	uint32_t type, zero;
	uint64_t offset, bytes;
	uint8_t sha256[MDL_SHA256_BYTES];
	uint64_t zero2;
};
_Static_assert(sizeof(struct mdl_file_entry) == 64, "entry of the table");
_Static_assert(offsetof(struct mdl_file_entry, sha256) == 24, "entry of the table");

struct mdl_file_model {
	char name[MDL_NAME_BYTES];
	uint32_t version;
	uint8_t kind, task, rows, zero;
	uint32_t input_count, output_count, tree_count, node_count, leaf_count, golden_count;
	double threshold;
	uint8_t zero2[56];
};
_Static_assert(sizeof(struct mdl_file_model) == 128, "model");
_Static_assert(offsetof(struct mdl_file_model, input_count) == 40, "model");
_Static_assert(offsetof(struct mdl_file_model, threshold) == 64, "model");

struct mdl_file_input {
	char text[MDL_EXPRESSION_BYTES];
	int64_t size_ns, slide_ns;
	float imputed;
	uint32_t missing, bin_count, zero;
};
_Static_assert(sizeof(struct mdl_file_input) == 128, "input");
_Static_assert(offsetof(struct mdl_file_input, imputed) == 112, "input");

/* Of forest; before the nodes u32 first[trees + 1] and, for boosted, u32 output[trees]. */
struct mdl_file_node {
	uint16_t input; /* bit 15: MDL_FILE_MISSING_LEFT */
	uint16_t rank;
	uint32_t child; /* counted from the tree's first node */
};
_Static_assert(sizeof(struct mdl_file_node) == 8, "node");

enum { MDL_FILE_MISSING_LEFT = 0x8000 };

/* Of output; behind it f64 initial[outputs] and char label[classes][32]. */
struct mdl_file_output {
	uint8_t link, zero[3];
	uint32_t class_count;
	char unit[MDL_UNIT_BYTES];
};
_Static_assert(sizeof(struct mdl_file_output) == 24, "output");
