/*
 * Any bytes as a bundle: first as they are, then with hashes that hold, so that what lies in the
 * sections is reached, the engines with the golden rows among it.  What loads must score any row.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/bundle/load.h"
#include "models/engine/score.h"
#include "tests/unit/bundle_build.h"

enum { ROWS = 9 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Rows of the fuzzer's own bytes: sums are the same alone and in a batch. */
static void score(const struct mdl_bundle *m, const uint8_t *data, size_t size)
{
	float *inputs = malloc(ROWS * m->input_count * sizeof(*inputs));
	double *out = malloc(2 * ROWS * m->output_count * sizeof(*out));
	uint32_t *leaves = malloc(2 * ROWS * m->tree_count * sizeof(*leaves) + 1);
	double *one_out = out + ROWS * m->output_count;
	uint32_t *one_leaves = leaves + ROWS * m->tree_count;
	void *scratch = malloc(mdl_scratch_bytes(m, ROWS));
	struct mdl_verdict v;

	for (size_t i = 0; i < ROWS * m->input_count; i++)
		memcpy(&inputs[i], data + (i * 4) % (size - 3), sizeof(inputs[i]));
	mdl_score(m, inputs, ROWS, scratch, out, leaves);
	for (uint32_t row = 0; row < ROWS; row++) {
		mdl_score(m, inputs + row * m->input_count, 1, scratch,
			one_out + row * m->output_count, one_leaves + row * m->tree_count);
		mdl_judge(m, out + row * m->output_count, &v);
		assert(v.none || m->task == MDL_REGRESSION || v.class_index < m->class_count);
	}
	for (uint32_t i = 0; i < ROWS * m->output_count; i++)
		assert(!memcmp(&out[i], &one_out[i], sizeof(out[i])) ||
			(isnan(out[i]) && isnan(one_out[i])));
	assert(!memcmp(leaves, one_leaves, ROWS * m->tree_count * sizeof(*leaves)));
	free(inputs);
	free(out);
	free(leaves);
	free(scratch);
}

static void load(const uint8_t *bytes, size_t size)
{
	char why[MDL_WHY_BYTES];
	struct mdl_bundle *m;
	int rc = mdl_bundle_parse(bytes, size, &m, why, sizeof(why));

	assert((rc == 0) == (m != NULL) && (rc == 0) == !why[0]);
	if (m)
		score(m, bytes, size);
	mdl_bundle_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mdl_file_head head;
	uint8_t *bytes = malloc(size ? size : 1); /* exactly, so that a read beyond it is seen */

	memcpy(bytes, data, size);
	load(bytes, size);
	size -= size % MDL_FILE_ALIGN;
	if (size) {
		memcpy(&head, bytes, sizeof(head));
		memcpy(head.magic, MDL_FILE_MAGIC, sizeof(head.magic));
		head.version = MDL_FILE_VERSION;
		head.bytes = size;
		memcpy(bytes, &head, sizeof(head));
		build_rehash(bytes, size);
		load(bytes, size);
	}
	free(bytes);
	return 0;
}
