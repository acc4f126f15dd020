/*
 * Bundles made in memory, of random models, and a naive reading of the same models: thresholds as
 * floats, no ranks, no code shared with what is tested.  The sections lie open between
 * build_model() and build_pack(), so that a test can make them lie.
 */
#pragma once

#include "models/bundle/format.h"

enum { BUILD_POOL = 14, BUILD_OUTPUTS_MAX = 8 };

struct build_spec {
	enum mdl_kind kind;
	enum mdl_task task;
	enum mdl_rows_of rows;
	enum mdl_missing missing; /* of every input; 0: each in turn */
	uint32_t inputs, outputs, trees;
	uint32_t splits;      /* of each tree at most; the last tree of several has none */
	uint32_t pool;	      /* thresholds an input is split at; 0: BUILD_POOL */
	bool chain;	      /* each tree one long path */
	uint32_t golden;      /* rows */
	uint32_t random_rows; /* of these the first are golden */
	unsigned seed;
};

struct build_node {
	bool leaf, missing_left;
	uint32_t input, child, depth;
	float threshold;
	double value[BUILD_OUTPUTS_MAX];
};

struct build_tree {
	struct build_node *nodes;
	uint32_t count, output;
};

struct build_section {
	uint8_t *at;
	size_t bytes; /* 0: not in the file */
};

struct build {
	struct build_spec spec;
	struct mdl_file_model model;
	struct mdl_file_input *inputs;
	struct build_tree *trees;
	double *weight, *bias, *initial;
	float **pools; /* [inputs][spec.pool]: what thresholds are chosen from */
	float *rows;   /* [random_rows][inputs] */
	struct build_section sections[MDL_SECTION_END];
};

void build_model(struct build *b, const struct build_spec *spec);
void build_free(struct build *b);

/* The file, hashes and all; free() it. */
uint8_t *build_pack(const struct build *b, size_t *n);

/* Makes the hashes of a packed file right again, as far as its table makes sense. */
void build_rehash(uint8_t *bytes, size_t n);

/* What the model says of a row: outputs behind the link, leaves by their node. */
void build_naive(const struct build *b, const float *row, double *out, uint32_t *leaves);
