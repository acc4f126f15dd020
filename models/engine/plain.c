/*
 * The same in the most obvious way: values are compared with thresholds, one row, one tree, one
 * node at a time. What the other engines are held to; never on the packet path.
 */
#include <math.h>

#include "models/engine/engine.h"

static bool is_refused(const struct mdl_bundle *m, const float *in)
{
	for (uint32_t i = 0; i < m->input_count; i++)
		if (!isfinite(in[i]) && m->inputs[i].missing == MDL_MISSING_REFUSED)
			return true;
	return false;
}

static float value_of(const struct mdl_bundle *m, const float *in, uint32_t i)
{
	if (!isfinite(in[i]) && m->inputs[i].missing == MDL_MISSING_IMPUTED)
		return m->inputs[i].imputed;
	return in[i];
}

/* The leaf that the row reaches, counted over all trees. */
static uint32_t leaf_of(const struct mdl_bundle *m, const float *in, uint32_t root)
{
	uint32_t at = root;

	while (m->nodes[at].rank != MDL_RANK_LEAF) {
		const struct mdl_node *n = &m->nodes[at];
		uint32_t slot = n->slot / MDL_LANES, i = slot % m->input_count;
		float x = value_of(m, in, i);

		if (!isfinite(x))
			at = n->child + (slot < m->input_count);
		else if (x <= m->bins[m->bin_first[i] + n->rank])
			at = n->child;
		else
			at = n->child + 1;
	}
	return at;
}

static void trees(const struct mdl_bundle *m, const float *in, double *out, uint32_t *leaves)
{
	for (uint32_t k = 0; k < m->output_count; k++)
		out[k] = m->initial[k];
	for (uint32_t t = 0; t < m->tree_count; t++) {
		uint32_t node = leaf_of(m, in, m->tree_first[t]);
		const double *value = m->leaf_width == 1
					      ? &m->value[node]
					      : &m->value[(size_t)m->leaf[node] * m->leaf_width];

		if (leaves)
			leaves[t] = node - m->tree_first[t];
		if (m->kind == MDL_BOOSTED)
			out[m->tree_output[t]] += value[0];
		for (uint32_t k = 0; m->kind == MDL_FOREST && k < m->output_count; k++)
			out[k] += value[k];
	}
	for (uint32_t k = 0; m->kind == MDL_FOREST && k < m->output_count; k++)
		out[k] /= m->tree_count;
}

static void linear(const struct mdl_bundle *m, const float *in, double *out)
{
	for (uint32_t k = 0; k < m->output_count; k++) {
		out[k] = 0;
		for (uint32_t i = 0; i < m->input_count; i++)
			out[k] += m->weight[(size_t)k * m->input_count + i] *
				  (double)value_of(m, in, i);
		out[k] += m->bias[k];
	}
}

void mdl_plain_rows(const struct mdl_bundle *m, const struct mdl_rows *rows)
{
	for (uint32_t row = 0; row < rows->count; row++) {
		const float *in = rows->inputs + (size_t)row * m->input_count;
		double *out = rows->out + (size_t)row * m->output_count;
		uint32_t *leaves = rows->leaves ? rows->leaves + (size_t)row * m->tree_count : NULL;

		if (is_refused(m, in)) {
			for (uint32_t k = 0; k < m->output_count; k++)
				out[k] = NAN;
			for (uint32_t t = 0; leaves && t < m->tree_count; t++)
				leaves[t] = MDL_LEAF_NONE;
		} else if (m->kind == MDL_LINEAR) {
			linear(m, in, out);
		} else {
			trees(m, in, out, leaves);
		}
	}
}
