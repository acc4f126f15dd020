/*
 * A model as it is scored (docs/bundle.md): made by models/bundle/load.h, never changed afterwards,
 * so that any number of threads may read it.  Nothing points into the file that it came from.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/bundle/expression.h"

enum {
	MDL_FILE_BYTES_MAX = 64 << 20,
	MDL_INPUTS_MAX = 256,
	MDL_OUTPUTS_MAX = 64,
	MDL_TREES_MAX = 4096,
	MDL_NODES_MAX = 1 << 22,
	MDL_BINS_MAX = 65534, /* of an input */
	MDL_DEPTH_MAX = 64,   /* steps from a root to a leaf */
	MDL_GOLDEN_MAX = 4096,

	MDL_NAME_BYTES = 32, /* with the end, as those below */
	MDL_LABEL_BYTES = 32,
	MDL_UNIT_BYTES = 16,
	MDL_SHA256_BYTES = 32,
};

#define MDL_LEAF_NONE UINT32_MAX /* where a leaf would stand, of a row that has no score */

enum mdl_kind { MDL_FOREST = 1, MDL_BOOSTED, MDL_LINEAR };
enum mdl_task { MDL_REGRESSION = 1, MDL_BINARY, MDL_MULTICLASS };
enum mdl_rows_of { MDL_READINGS = 1, MDL_WINDOWS };
enum mdl_link { MDL_IDENTITY, MDL_SIGMOID, MDL_SOFTMAX };

enum mdl_missing {
	MDL_MISSING_REFUSED = 1, /* the row has no score */
	MDL_MISSING_IMPUTED,
	MDL_MISSING_BRANCH, /* each node says where; trees only */
};

enum mdl_section {
	MDL_SECTION_MODEL = 1,
	MDL_SECTION_SCHEMA,
	MDL_SECTION_BINS,
	MDL_SECTION_FOREST,
	MDL_SECTION_LEAVES,
	MDL_SECTION_LINEAR,
	MDL_SECTION_OUTPUT,
	MDL_SECTION_METRICS,
	MDL_SECTION_GOLDEN,
	MDL_SECTION_PROVENANCE,
	MDL_SECTION_END,
};

struct mdl_input {
	char expression[MDL_EXPRESSION_BYTES]; /* in its canonical form */
	struct mdl_expression parsed;
	int64_t size_ns, slide_ns; /* of its window; 0 where it has none */
	float imputed;		   /* where missing is MDL_MISSING_IMPUTED, else 0 */
	enum mdl_missing missing;
};

struct mdl_section_info {
	enum mdl_section type;
	uint64_t bytes;
	uint8_t sha256[MDL_SHA256_BYTES];
};

/* Ranks of eight rows lie side by side; node.slot counts in them. */
enum { MDL_LANES = 8 };

/* Thresholds that are looked at together. */
enum { MDL_BIN_BLOCK = 16, MDL_BIN_TOPS = 4 };

/*
 * A node for the walk.  Left where the rank at `slot` is not greater than `rank`, to `child`; else
 * to the one behind it. A leaf has slot 0, rank 65535 and itself as the child. `child` counts over
 * all trees.
 */
struct mdl_node {
	uint16_t slot; /* MDL_LANES * input, or MDL_LANES * (inputs + input): missing goes left */
	uint16_t rank;
	uint32_t child;
};

enum { MDL_RANK_MISSING = 65535, MDL_RANK_LEAF = 65535 };

struct mdl_bundle {
	char name[MDL_NAME_BYTES];
	uint32_t version;
	enum mdl_kind kind;
	enum mdl_task task;
	enum mdl_rows_of rows;
	enum mdl_link link;
	uint32_t input_count, output_count;
	uint32_t tree_count, node_count, leaf_count; /* 0 for linear */
	uint32_t class_count;			     /* 0 for a regression */
	uint32_t golden_count;			     /* rows that held */
	double threshold;			     /* of a binary model's probability */
	char unit[MDL_UNIT_BYTES];		     /* of a regression's value */
	uint8_t sha256[MDL_SHA256_BYTES];	     /* of the whole file */
	size_t bytes;				     /* of the whole file */

	struct mdl_input *inputs;	   /* [input_count] */
	char (*labels)[MDL_LABEL_BYTES];   /* [class_count] */
	char *metrics, *provenance;	   /* JSON, terminated */
	struct mdl_section_info *sections; /* [section_count], as in the file */
	uint32_t section_count;

	/* What the engines read; of the trees, or of the linear model. */
	double *initial;     /* [output_count]: what a sum begins with; 0 but for boosted */
	float *bins;	     /* thresholds, rising; of each input whole blocks, infinity behind */
	uint32_t *bin_first; /* [input_count]: of an input's, a multiple of MDL_BIN_BLOCK */
	uint32_t *bin_count; /* [input_count]: without the infinities */
	float *bin_tops;     /* the last of each block; of each input a multiple of four */
	uint32_t *top_first; /* [input_count + 1] */
	uint16_t *missing_rank; /* [input_count]: what a missing value has for a rank */
	uint32_t slot_count;	/* input_count, or twice that where some input has its own branch */
	struct mdl_node *nodes; /* [node_count] */
	uint32_t *tree_first;	/* [tree_count + 1]: root of each tree */
	uint32_t *tree_root;	/* [tree_count, rounded up to lanes]: the same, then a leaf */
	uint32_t *tree_output;	/* [tree_count]: the output that it adds to; 0 for a forest */
	uint8_t *tree_depth;	/* [tree_count]: steps to its deepest leaf */
	uint8_t *lanes_depth;	/* [tree_count / lanes, rounded up]: the greatest of each eight */
	uint32_t *leaf;		/* [node_count]: number of the leaf over all trees */
	uint32_t *leaf_origin;	/* [leaf_count]: number of the node in the library's tree */
	uint32_t leaf_width;	/* values of a leaf: output_count for a forest, 1 for boosted */
	double *value;		/* [leaf_count][leaf_width]; or, where that is 1, [node_count] */
	double *weight;		/* [output_count][input_count] */
	double *bias;		/* [output_count] */
};

/* The library's number of a leaf that mdl_score() names; `node` counts within the tree. */
static inline uint32_t mdl_leaf_origin(const struct mdl_bundle *m, uint32_t tree, uint32_t node)
{
	return m->leaf_origin[m->leaf[m->tree_first[tree] + node]];
}
