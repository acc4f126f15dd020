#include "tests/unit/bundle_build.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/bundle/verify.h"

/* ---- random models ---- */

static uint32_t below(unsigned *seed, uint32_t n)
{
	return (uint32_t)rand_r(seed) % n;
}

static double within(unsigned *seed, double low, double high)
{
	return low + (high - low) * (double)rand_r(seed) / (double)RAND_MAX;
}

static void name_input(const struct build *b, uint32_t i, struct mdl_file_input *in)
{
	static const char *const of_windows[] = {"mean", "std", "min", "max", "last", "count"};
	static const char *const of_readings[] = {"f%u", "mean(f%u,5m)", "delta(f%u)",
		"ratio(f%u,g)", "zscore(f%u,90s)", "slope(f%u,1h)"};
	static const int64_t sizes[] = {0, 300, 0, 0, 90, 3600};
	const uint32_t form = i % 6;

	if (b->spec.rows == MDL_WINDOWS) {
		snprintf(in->text, sizeof(in->text), "%s(f%u,5m)", of_windows[form], i);
		in->size_ns = 300000000000ll;
	} else {
		snprintf(in->text, sizeof(in->text), of_readings[form], i);
		in->size_ns = sizes[form] * 1000000000ll;
	}
	in->slide_ns = in->size_ns / 5;
}

static void make_inputs(struct build *b, unsigned *seed)
{
	static const float corners[] = {0, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-42f, -1e-42f};
	uint32_t n = b->spec.inputs;

	b->inputs = calloc(n, sizeof(*b->inputs));
	b->pools = calloc(n, sizeof(*b->pools));
	for (uint32_t i = 0; i < n; i++) {
		struct mdl_file_input *in = &b->inputs[i];

		name_input(b, i, in);
		in->missing = b->spec.missing ? b->spec.missing : 1 + i % 3;
		if (b->spec.kind == MDL_LINEAR && in->missing == MDL_MISSING_BRANCH)
			in->missing = MDL_MISSING_REFUSED;
		if (in->missing == MDL_MISSING_IMPUTED)
			in->imputed = (float)within(seed, -20, 20);
		b->pools[i] = calloc(b->spec.pool, sizeof(float));
		for (uint32_t k = 0; k < b->spec.pool; k++)
			b->pools[i][k] = k >= 6 && k < 6 + sizeof(corners) / sizeof(corners[0])
						 ? corners[k - 6]
						 : (float)within(seed, -50, 50);
	}
}

static void make_leaf(const struct build *b, struct build_node *n, unsigned *seed)
{
	uint32_t width = b->spec.kind == MDL_FOREST ? b->spec.outputs : 1;
	double sum = 0;

	n->leaf = true;
	for (uint32_t k = 0; k < width; k++)
		sum += n->value[k] = b->spec.kind == MDL_FOREST && b->spec.task != MDL_REGRESSION
					     ? within(seed, 0, 1)
					     : within(seed, -3, 3);
	if (b->spec.kind == MDL_FOREST && b->spec.task == MDL_MULTICLASS)
		for (uint32_t k = 0; k < width; k++)
			n->value[k] /= sum;
}

static void split(const struct build *b, struct build_tree *t, uint32_t at, unsigned *seed)
{
	struct build_node *n = &t->nodes[at];

	n->leaf = false;
	memset(n->value, 0, sizeof(n->value));
	n->input = below(seed, b->spec.inputs);
	n->threshold = b->pools[n->input][below(seed, b->spec.pool)];
	n->missing_left = b->inputs[n->input].missing == MDL_MISSING_BRANCH && below(seed, 2);
	n->child = t->count;
	for (int side = 0; side < 2; side++) {
		struct build_node *child = &t->nodes[t->count++];

		child->depth = n->depth + 1;
		make_leaf(b, child, seed);
	}
}

static void make_trees(struct build *b, unsigned *seed)
{
	b->trees = calloc(b->spec.trees + 1, sizeof(*b->trees));
	for (uint32_t i = 0; i < b->spec.trees; i++) {
		struct build_tree *t = &b->trees[i];
		bool bare = b->spec.trees > 1 && i + 1 == b->spec.trees;

		t->nodes = calloc(2 * b->spec.splits + 1, sizeof(*t->nodes));
		t->output = b->spec.kind == MDL_BOOSTED ? i % b->spec.outputs : 0;
		make_leaf(b, &t->nodes[0], seed);
		t->count = 1;
		for (uint32_t k = 0; k < (bare ? 0 : b->spec.splits); k++) {
			uint32_t at = b->spec.chain ? t->count - 1 : below(seed, t->count);

			while (!t->nodes[at].leaf ||
				(!b->spec.chain && t->nodes[at].depth >= MDL_DEPTH_MAX))
				at = below(seed, t->count);
			split(b, t, at, seed);
		}
	}
}

static double *numbers(size_t count, double greatest, unsigned *seed)
{
	double *v = calloc(count + 1, sizeof(*v));

	for (size_t i = 0; i < count; i++)
		v[i] = within(seed, -greatest, greatest);
	return v;
}

/* Values around the thresholds, thresholds themselves, and what is not finite. */
static float random_value(const struct build *b, uint32_t input, unsigned *seed)
{
	static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 1e-45f, FLT_MAX};
	float t = b->pools[input][below(seed, b->spec.pool)];

	switch (below(seed, 12)) {
	case 0:
		return odd[below(seed, sizeof(odd) / sizeof(odd[0]))];
	case 1:
	case 2:
		return t;
	case 3:
		return nextafterf(t, -INFINITY);
	case 4:
		return nextafterf(t, INFINITY);
	default:
		return (float)within(seed, -55, 55);
	}
}

static void make_rows(struct build *b, unsigned *seed)
{
	b->rows = calloc((size_t)b->spec.random_rows * b->spec.inputs, sizeof(*b->rows));
	for (uint32_t row = 0; row < b->spec.random_rows; row++)
		for (uint32_t i = 0; i < b->spec.inputs; i++) {
			float *v = &b->rows[(size_t)row * b->spec.inputs + i];

			*v = random_value(b, i, seed);
			/* or most rows of many inputs would be refused */
			if (!isfinite(*v) && row % 4)
				*v = 1;
			if (isinf(*v) && row < b->spec.golden)
				*v = NAN;
		}
}

/* ---- what the model says ---- */

static void link_outputs(const struct build *b, double *out)
{
	double greatest = -INFINITY, sum = 0;

	if (b->spec.kind == MDL_FOREST || b->spec.task == MDL_REGRESSION)
		return;
	if (b->spec.task == MDL_BINARY) {
		out[0] = 1 / (1 + exp(-out[0]));
		return;
	}
	for (uint32_t k = 0; k < b->spec.outputs; k++)
		greatest = fmax(greatest, out[k]);
	for (uint32_t k = 0; k < b->spec.outputs; k++)
		sum += exp(out[k] - greatest);
	for (uint32_t k = 0; k < b->spec.outputs; k++)
		out[k] = exp(out[k] - greatest) / sum;
}

static float value_of(const struct build *b, const float *row, uint32_t i)
{
	if (isfinite(row[i]))
		return row[i];
	return b->inputs[i].missing == MDL_MISSING_IMPUTED ? b->inputs[i].imputed : NAN;
}

static uint32_t reach(const struct build *b, const struct build_tree *t, const float *row)
{
	uint32_t at = 0;

	while (!t->nodes[at].leaf) {
		const struct build_node *n = &t->nodes[at];
		double x = value_of(b, row, n->input);
		bool left = isnan(x) ? n->missing_left : x <= (double)n->threshold;

		at = n->child + !left;
	}
	return at;
}

static void sum_trees(const struct build *b, const float *row, double *out, uint32_t *leaves)
{
	for (uint32_t k = 0; k < b->spec.outputs; k++)
		out[k] = b->spec.kind == MDL_BOOSTED ? b->initial[k] : 0;
	for (uint32_t i = 0; i < b->spec.trees; i++) {
		const struct build_tree *t = &b->trees[i];

		leaves[i] = reach(b, t, row);
		if (b->spec.kind == MDL_BOOSTED)
			out[t->output] += t->nodes[leaves[i]].value[0];
		for (uint32_t k = 0; b->spec.kind == MDL_FOREST && k < b->spec.outputs; k++)
			out[k] += t->nodes[leaves[i]].value[k];
	}
	for (uint32_t k = 0; b->spec.kind == MDL_FOREST && k < b->spec.outputs; k++)
		out[k] /= b->spec.trees;
}

void build_naive(const struct build *b, const float *row, double *out, uint32_t *leaves)
{
	uint32_t n = b->spec.inputs;

	for (uint32_t i = 0; i < n; i++) {
		if (isfinite(row[i]) || b->inputs[i].missing != MDL_MISSING_REFUSED)
			continue;
		for (uint32_t k = 0; k < b->spec.outputs; k++)
			out[k] = NAN;
		for (uint32_t t = 0; t < b->spec.trees; t++)
			leaves[t] = UINT32_MAX;
		return;
	}
	if (b->spec.kind == MDL_LINEAR) {
		for (uint32_t k = 0; k < b->spec.outputs; k++) {
			out[k] = 0;
			for (uint32_t i = 0; i < n; i++)
				out[k] += b->weight[k * n + i] * (double)value_of(b, row, i);
			out[k] += b->bias[k];
		}
	} else {
		sum_trees(b, row, out, leaves);
	}
	link_outputs(b, out);
}

/* ---- sections ---- */

static void *section(struct build *b, enum mdl_section type, size_t bytes)
{
	b->sections[type].bytes = bytes;
	b->sections[type].at = calloc(1, bytes ? bytes : 1);
	return b->sections[type].at;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* The thresholds of an input that nodes use, rising; returns how many. */
static uint32_t used_thresholds(const struct build *b, uint32_t input, float *to)
{
	uint32_t all = 0, n = 0;

	for (uint32_t i = 0; i < b->spec.trees; i++)
		for (uint32_t k = 0; k < b->trees[i].count; k++)
			if (!b->trees[i].nodes[k].leaf && b->trees[i].nodes[k].input == input)
				to[all++] = b->trees[i].nodes[k].threshold;
	qsort(to, all, sizeof(*to), by_value);
	for (uint32_t k = 0; k < all; k++)
		if (!n || to[n - 1] != to[k])
			to[n++] = to[k];
	return n;
}

static uint16_t rank_in(const float *bins, float threshold)
{
	uint16_t rank = 0;

	while (bins[rank] != threshold)
		rank++;
	return rank;
}

struct nodes_out {
	uint32_t *first, *leaf, *origin;
	struct mdl_file_node *nodes;
	double *value;
	uint32_t node, leaves;
};

static void put_tree(const struct build *b, uint32_t tree, float *const *bins, struct nodes_out *to)
{
	const struct build_tree *t = &b->trees[tree];
	uint32_t width = b->spec.kind == MDL_FOREST ? b->spec.outputs : 1;

	to->first[tree] = to->node;
	for (uint32_t k = 0; k < t->count; k++, to->node++) {
		const struct build_node *n = &t->nodes[k];
		struct mdl_file_node *f = &to->nodes[to->node];

		to->leaf[to->node] = UINT32_MAX;
		if (!n->leaf) {
			f->input = (uint16_t)(n->input | (n->missing_left ? 0x8000 : 0));
			f->rank = rank_in(bins[n->input], n->threshold);
			f->child = n->child;
			continue;
		}
		*f = (struct mdl_file_node){0, 65535, k};
		to->leaf[to->node] = to->leaves;
		to->origin[to->leaves] = 1000 * (tree + 1) + k;
		memcpy(to->value + (size_t)to->leaves * width, n->value, width * sizeof(double));
		to->leaves++;
	}
}

static void put_trees(struct build *b)
{
	struct mdl_file_model *m = &b->model;
	uint32_t width = b->spec.kind == MDL_FOREST ? b->spec.outputs : 1, bin_count = 0;
	float **bins = calloc(b->spec.inputs, sizeof(*bins)), *to;
	struct nodes_out out = {0};
	uint8_t *forest, *leaves;
	size_t numbers_bytes;

	m->tree_count = b->spec.trees;
	for (uint32_t i = 0; i < b->spec.trees; i++)
		m->node_count += b->trees[i].count;
	m->leaf_count = (m->node_count + m->tree_count) / 2;
	for (uint32_t i = 0; i < b->spec.inputs; i++) {
		bins[i] = calloc(m->node_count, sizeof(float));
		b->inputs[i].bin_count = used_thresholds(b, i, bins[i]);
		bin_count += b->inputs[i].bin_count;
	}
	to = section(b, MDL_SECTION_BINS, bin_count * sizeof(float));
	for (uint32_t i = 0; i < b->spec.inputs; to += b->inputs[i++].bin_count)
		memcpy(to, bins[i], b->inputs[i].bin_count * sizeof(float));

	out.first = calloc(m->tree_count + 1, sizeof(uint32_t));
	out.nodes = calloc(m->node_count, sizeof(*out.nodes));
	out.leaf = calloc(m->node_count, sizeof(uint32_t));
	out.origin = calloc(m->leaf_count, sizeof(uint32_t));
	out.value = calloc((size_t)m->leaf_count * width, sizeof(double));
	for (uint32_t i = 0; i < b->spec.trees; i++)
		put_tree(b, i, bins, &out);
	out.first[m->tree_count] = out.node;

	forest = section(b, MDL_SECTION_FOREST,
		4 * (m->tree_count + 1) + (b->spec.kind == MDL_BOOSTED ? 4 * m->tree_count : 0) +
			8 * (size_t)m->node_count);
	memcpy(forest, out.first, 4 * (m->tree_count + 1));
	forest += 4 * (m->tree_count + 1);
	for (uint32_t i = 0; b->spec.kind == MDL_BOOSTED && i < m->tree_count; i++, forest += 4)
		memcpy(forest, &b->trees[i].output, 4);
	memcpy(forest, out.nodes, 8 * (size_t)m->node_count);

	numbers_bytes = 4 * ((size_t)m->node_count + m->leaf_count);
	leaves = section(b, MDL_SECTION_LEAVES,
		(numbers_bytes + 7) / 8 * 8 + 8 * (size_t)m->leaf_count * width);
	memcpy(leaves, out.leaf, 4 * (size_t)m->node_count);
	memcpy(leaves + 4 * (size_t)m->node_count, out.origin, 4 * (size_t)m->leaf_count);
	memcpy(leaves + (numbers_bytes + 7) / 8 * 8, out.value, 8 * (size_t)m->leaf_count * width);

	for (uint32_t i = 0; i < b->spec.inputs; i++)
		free(bins[i]);
	free(bins);
	free(out.first);
	free(out.nodes);
	free(out.leaf);
	free(out.origin);
	free(out.value);
}

static void put_linear(struct build *b)
{
	size_t weights = (size_t)b->spec.outputs * b->spec.inputs * sizeof(double);
	uint8_t *to = section(b, MDL_SECTION_LINEAR, weights + b->spec.outputs * sizeof(double));

	memcpy(to, b->weight, weights);
	memcpy(to + weights, b->bias, b->spec.outputs * sizeof(double));
}

static void put_output(struct build *b)
{
	static const char *const labels[] = {
		"normal", "d\xc3\xbcnn", "bearing", "imbalance", "leak", "valve", "pump", "other"};
	uint32_t classes = b->spec.task == MDL_REGRESSION ? 0
			   : b->spec.task == MDL_BINARY	  ? 2
							  : b->spec.outputs;
	struct mdl_file_output head = {.class_count = classes};
	uint8_t *to = section(
		b, MDL_SECTION_OUTPUT, sizeof(head) + 8 * b->spec.outputs + 32 * (size_t)classes);

	if (b->spec.kind != MDL_FOREST && classes)
		head.link = b->spec.task == MDL_BINARY ? MDL_SIGMOID : MDL_SOFTMAX;
	if (!classes)
		strcpy(head.unit, "degC");
	memcpy(to, &head, sizeof(head));
	if (b->spec.kind == MDL_BOOSTED)
		memcpy(to + sizeof(head), b->initial, 8 * b->spec.outputs);
	for (uint32_t i = 0; i < classes; i++)
		strcpy((char *)to + sizeof(head) + 8 * b->spec.outputs + 32 * i, labels[i]);
}

static void put_text(struct build *b, enum mdl_section type, const char *text)
{
	memcpy(section(b, type, strlen(text)), text, strlen(text));
}

static void put_golden(struct build *b)
{
	uint32_t rows = b->spec.golden, trees = b->spec.trees, outputs = b->spec.outputs;
	uint8_t *to = section(b, MDL_SECTION_GOLDEN,
		rows * (size_t)(4 * b->spec.inputs + 4 * trees + 8 * outputs));
	uint8_t *leaves = to + rows * (size_t)(4 * b->spec.inputs);
	uint8_t *outs = leaves + rows * (size_t)(4 * trees);
	uint32_t *leaf = calloc(trees + 1, sizeof(*leaf));
	double out[BUILD_OUTPUTS_MAX];

	memcpy(to, b->rows, rows * (size_t)(4 * b->spec.inputs));
	for (uint32_t row = 0; row < rows; row++) {
		build_naive(b, b->rows + (size_t)row * b->spec.inputs, out, leaf);
		memcpy(leaves + row * (size_t)(4 * trees), leaf, 4 * (size_t)trees);
		memcpy(outs + row * (size_t)(8 * outputs), out, 8 * (size_t)outputs);
	}
	free(leaf);
}

static void put_model(struct build *b)
{
	struct mdl_file_model *m = &b->model;

	strcpy(m->name, "built");
	m->version = 7;
	m->kind = b->spec.kind;
	m->task = b->spec.task;
	m->rows = b->spec.rows;
	m->input_count = b->spec.inputs;
	m->output_count = b->spec.outputs;
	m->golden_count = b->spec.golden;
	m->threshold = b->spec.task == MDL_BINARY ? 0.4 : 0;
	memcpy(section(b, MDL_SECTION_MODEL, sizeof(*m)), m, sizeof(*m));
}

void build_model(struct build *b, const struct build_spec *spec)
{
	unsigned seed = spec->seed;

	memset(b, 0, sizeof(*b));
	b->spec = *spec;
	b->spec.pool = spec->pool ? spec->pool : BUILD_POOL;
	if (b->spec.random_rows < b->spec.golden)
		b->spec.random_rows = b->spec.golden;
	make_inputs(b, &seed);
	b->weight = numbers((size_t)spec->outputs * spec->inputs, 0.03, &seed);
	b->bias = numbers(spec->outputs, 2, &seed);
	b->initial = numbers(spec->outputs, 2, &seed);
	if (spec->kind == MDL_LINEAR) {
		b->spec.trees = 0;
		put_linear(b);
	} else {
		make_trees(b, &seed);
		put_trees(b);
	}
	make_rows(b, &seed);
	put_model(b);
	memcpy(section(b, MDL_SECTION_SCHEMA, spec->inputs * sizeof(*b->inputs)), b->inputs,
		spec->inputs * sizeof(*b->inputs));
	put_output(b);
	put_text(b, MDL_SECTION_METRICS, "{\"data\": \"made up\", \"auc\": 0.5}");
	put_text(b, MDL_SECTION_PROVENANCE, " {\"library\": \"none\"}\n");
	put_golden(b);
}

void build_free(struct build *b)
{
	for (uint32_t i = 0; b->trees && i < b->spec.trees; i++)
		free(b->trees[i].nodes);
	for (uint32_t i = 0; i < b->spec.inputs; i++)
		free(b->pools[i]);
	for (int t = 0; t < MDL_SECTION_END; t++)
		free(b->sections[t].at);
	free(b->inputs);
	free(b->trees);
	free(b->weight);
	free(b->bias);
	free(b->initial);
	free(b->pools);
	free(b->rows);
}

/* ---- the file ---- */

static size_t align_up(size_t n)
{
	return (n + 63) / 64 * 64;
}

static void hash(const void *at, size_t bytes, uint8_t *to)
{
	if (mdl_sha256(&(struct mdl_piece){at, bytes}, 1, to))
		abort();
}

void build_rehash(uint8_t *bytes, size_t n)
{
	struct mdl_file_head head;
	struct mdl_piece pieces[2];
	struct mdl_file_entry e;

	if (n < sizeof(head))
		return;
	memcpy(&head, bytes, sizeof(head));
	if (head.section_count > (n - sizeof(head)) / sizeof(e))
		return;
	for (uint32_t i = 0; i < head.section_count; i++) {
		uint8_t *at = bytes + sizeof(head) + i * sizeof(e);

		memcpy(&e, at, sizeof(e));
		if (e.offset > n || e.bytes > n - e.offset)
			continue;
		hash(bytes + e.offset, e.bytes, e.sha256);
		memcpy(at, &e, sizeof(e));
	}
	pieces[0] = (struct mdl_piece){bytes, MDL_FILE_HASHED_BYTES};
	pieces[1] = (struct mdl_piece){bytes + sizeof(head), head.section_count * sizeof(e)};
	if (mdl_sha256(pieces, 2, head.sha256))
		abort();
	memcpy(bytes, &head, sizeof(head));
}

uint8_t *build_pack(const struct build *b, size_t *n)
{
	struct mdl_file_head head = {
		.magic = {'P', 'E', 'N', 'S', 'T', 'K', 'M', 'B'}, .version = 1};
	uint8_t *bytes;
	size_t at, entry = sizeof(head);

	*n = 0;
	for (int t = 1; t < MDL_SECTION_END; t++) {
		head.section_count += b->sections[t].bytes > 0;
		*n += align_up(b->sections[t].bytes);
	}
	at = sizeof(head) + head.section_count * sizeof(struct mdl_file_entry);
	*n += at;
	head.bytes = *n;
	bytes = calloc(1, *n);
	memcpy(bytes, &head, sizeof(head));
	for (uint32_t t = 1; t < MDL_SECTION_END; t++) {
		const struct build_section *s = &b->sections[t];
		struct mdl_file_entry e = {.type = t, .offset = at, .bytes = s->bytes};

		if (!s->bytes)
			continue;
		memcpy(bytes + entry, &e, sizeof(e));
		memcpy(bytes + at, s->at, s->bytes);
		entry += sizeof(e);
		at += align_up(s->bytes);
	}
	build_rehash(bytes, *n);
	return bytes;
}
