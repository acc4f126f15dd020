/*
 * Down the trees.  A step is a load that waits for the one before it, and a branch on its outcome
 * would be guessed wrong every other time; so each step is arithmetic, every path takes as many
 * steps as its tree's deepest (a leaf leads to itself), and eight paths are on their way at once:
 * the waiting of one is the work of the others.
 *
 * Many rows go eight rows down one tree, then the next eight: the tree stays in the cache and its
 * own depth counts.  What is left of a batch, and a single reading, goes down eight trees at once.
 * To look every few steps whether all eight have arrived gains less than a tenth, on forests grown
 * to the end, whose leaves lie at half the depth.
 */
#include "models/engine/engine.h"

struct paths {
	uint32_t at[MDL_LANES];
};

/* `ranks` is those of the row: slot s at [s]. */
static inline uint32_t step(const struct mdl_node *nodes, const uint16_t *ranks, uint32_t at)
{
	const struct mdl_node *n = &nodes[at];

	return n->child + (ranks[n->slot] > n->rank);
}

/* Eight rows, whose ranks lie side by side, from one root. Locals: they stay in registers. */
static inline struct paths down_one_tree(
	const struct mdl_node *nodes, const uint16_t *ranks, uint32_t root, uint32_t depth)
{
	uint32_t a = root, b = root, c = root, d = root, e = root, f = root, g = root, h = root;

	for (; depth; depth--) {
		a = step(nodes, ranks + 0, a);
		b = step(nodes, ranks + 1, b);
		c = step(nodes, ranks + 2, c);
		d = step(nodes, ranks + 3, d);
		e = step(nodes, ranks + 4, e);
		f = step(nodes, ranks + 5, f);
		g = step(nodes, ranks + 6, g);
		h = step(nodes, ranks + 7, h);
	}
	return (struct paths){{a, b, c, d, e, f, g, h}};
}

/* One row from eight roots. */
static inline struct paths down_eight_trees(
	const struct mdl_node *nodes, const uint16_t *ranks, const uint32_t *roots, uint32_t depth)
{
	uint32_t a = roots[0], b = roots[1], c = roots[2], d = roots[3];
	uint32_t e = roots[4], f = roots[5], g = roots[6], h = roots[7];

	for (; depth; depth--) {
		a = step(nodes, ranks, a);
		b = step(nodes, ranks, b);
		c = step(nodes, ranks, c);
		d = step(nodes, ranks, d);
		e = step(nodes, ranks, e);
		f = step(nodes, ranks, f);
		g = step(nodes, ranks, g);
		h = step(nodes, ranks, h);
	}
	return (struct paths){{a, b, c, d, e, f, g, h}};
}

/* Values of a leaf with one for each output. */
static inline void add_wide(const struct mdl_bundle *m, double *restrict out, uint32_t node)
{
	const double *restrict value = m->value + (size_t)m->leaf[node] * m->leaf_width;

	for (uint32_t k = 0; k < m->leaf_width; k++)
		out[k] += value[k];
}

/* What the leaves of tree t say to eight rows. */
static void take_rows(const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t row,
	uint32_t t, const struct paths *p)
{
	const uint32_t outputs = m->output_count, root = m->tree_first[t], trees = m->tree_count;
	double *restrict out = rows->out + (size_t)row * outputs;
	const double *restrict value = m->value;

	if (m->leaf_width == 1) {
		out += m->tree_output[t];
		for (uint32_t i = 0; i < MDL_LANES; i++)
			out[(size_t)i * outputs] += value[p->at[i]];
	} else {
		for (uint32_t i = 0; i < MDL_LANES; i++)
			add_wide(m, out + (size_t)i * outputs, p->at[i]);
	}
	if (rows->leaves)
		for (uint32_t i = 0; i < MDL_LANES; i++)
			rows->leaves[(size_t)(row + i) * trees + t] = p->at[i] - root;
}

/* What the leaves of up to eight trees from t say to one row. */
static void take_trees(const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t row,
	uint32_t t, const struct paths *p)
{
	const uint32_t left = m->tree_count - t, n = left < MDL_LANES ? left : MDL_LANES;
	double *restrict out = rows->out + (size_t)row * m->output_count;
	const double *restrict value = m->value;

	if (m->leaf_width > 1) {
		for (uint32_t i = 0; i < n; i++)
			add_wide(m, out, p->at[i]);
	} else if (m->output_count > 1) {
		for (uint32_t i = 0; i < n; i++)
			out[m->tree_output[t + i]] += value[p->at[i]];
	} else {
		double sum = *out;

		for (uint32_t i = 0; i < n; i++)
			sum += value[p->at[i]];
		*out = sum;
	}
	if (rows->leaves)
		for (uint32_t i = 0; i < n; i++)
			rows->leaves[(size_t)row * m->tree_count + t + i] =
				p->at[i] - m->tree_first[t + i];
}

void mdl_walk_by_rows(
	const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t first, uint32_t end)
{
	for (uint32_t t = 0; t < m->tree_count; t++) {
		for (uint32_t row = first; row < end; row += MDL_LANES) {
			const uint16_t *ranks = rows->ranks + (size_t)row * m->slot_count;
			const struct paths p =
				down_one_tree(m->nodes, ranks, m->tree_first[t], m->tree_depth[t]);

			take_rows(m, rows, row, t, &p);
		}
	}
}

void mdl_walk_by_trees(
	const struct mdl_bundle *m, const struct mdl_rows *rows, uint32_t first, uint32_t end)
{
	for (uint32_t row = first; row < end; row++) {
		const uint32_t lane = row % MDL_LANES;
		const uint16_t *ranks = rows->ranks + (size_t)(row - lane) * m->slot_count + lane;

		for (uint32_t t = 0; t < m->tree_count; t += MDL_LANES) {
			const struct paths p = down_eight_trees(
				m->nodes, ranks, m->tree_root + t, m->lanes_depth[t / MDL_LANES]);

			take_trees(m, rows, row, t, &p);
		}
	}
}
