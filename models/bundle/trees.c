/*
 * Bins, forest, leaves: checked, and laid out for the walk.  A child is greater than its parent and
 * has one parent, so one pass in the order of the nodes sees every parent before its children, and
 * no walk can go round.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/bundle/parts.h"
#include "models/engine/rank.h"

/* ---- bins ---- */

static uint16_t missing_rank(const struct mdl_bundle *m, uint32_t i)
{
	switch (m->inputs[i].missing) {
	case MDL_MISSING_BRANCH:
		return MDL_RANK_MISSING;
	case MDL_MISSING_IMPUTED:
		return (uint16_t)mdl_rank_of(m, i, m->inputs[i].imputed);
	default:
		return 0; /* nobody looks at the row's outputs */
	}
}

static int check_bins(const struct mdl_load *l, uint32_t i)
{
	const float *bins = l->m->bins + l->m->bin_first[i];

	for (uint32_t k = 0; k < l->m->bin_count[i]; k++) {
		if (!isfinite(bins[k]))
			return mdl_refuse(l, MDL_SECTION_BINS,
				"threshold %u of input %u is not finite", k, i);
		if (k && bins[k] <= bins[k - 1])
			return mdl_refuse(l, MDL_SECTION_BINS,
				"threshold %u of input %u is not above the one before", k, i);
	}
	return 0;
}

/* Whole blocks of an input's thresholds, and their tops. */
static void lay_out_bins(const struct mdl_bundle *m, uint32_t i, const uint8_t *at)
{
	uint32_t count = m->bin_count[i], blocks = mdl_block_count(count);
	uint32_t tops = mdl_top_count(count);
	float *bins = m->bins + m->bin_first[i], *to = m->bin_tops + m->top_first[i];

	memcpy(bins, at, count * sizeof(*bins));
	for (uint32_t k = count; k < blocks * MDL_BIN_BLOCK; k++)
		bins[k] = INFINITY;
	for (uint32_t k = 0; k < tops; k++)
		to[k] = k < blocks ? bins[(k + 1) * MDL_BIN_BLOCK - 1] : INFINITY;
}

int mdl_load_bins(struct mdl_load *l)
{
	const uint8_t *at = l->sections[MDL_SECTION_BINS].at;
	struct mdl_bundle *m = l->m;
	uint32_t first = 0;

	if (m->kind == MDL_LINEAR)
		return 0;
	for (uint32_t i = 0; i < m->input_count; i++) {
		uint32_t count = mdl_file_input_at(l, i).bin_count;
		int rc;

		m->bin_count[i] = count;
		m->bin_first[i] = first;
		first += mdl_block_count(count) * MDL_BIN_BLOCK;
		m->top_first[i + 1] = m->top_first[i] + mdl_top_count(count);
		lay_out_bins(m, i, at);
		at += count * sizeof(*m->bins);
		rc = check_bins(l, i);
		if (rc)
			return rc;
		m->missing_rank[i] = missing_rank(m, i);
		if (m->inputs[i].missing == MDL_MISSING_BRANCH)
			m->slot_count = 2 * m->input_count;
	}
	return 0;
}

/* ---- forest ---- */

/* What the pass over the nodes keeps. */
struct pass {
	struct mdl_load *l;
	const uint8_t *nodes; /* struct mdl_file_node, at any address */
	uint8_t *level;	      /* [node_count]: steps from the root, plus 1; 0: no parent yet */
	uint8_t *used;	      /* [blocks of bins]: by some node */
	uint32_t tree, first, count;
};

static int refuse_node(const struct pass *p, uint32_t i, const char *why)
{
	return mdl_refuse(p->l, MDL_SECTION_FOREST, "node %u of tree %u: %s", i, p->tree, why);
}

static int check_leaf(const struct pass *p, uint32_t i, const struct mdl_file_node *n)
{
	if (n->input || n->child != i)
		return refuse_node(p, i, "a leaf with an input, or that leads on");
	return 0;
}

static int check_split(const struct pass *p, uint32_t i, const struct mdl_file_node *n)
{
	const struct mdl_bundle *m = p->l->m;
	uint32_t input = n->input & ~MDL_FILE_MISSING_LEFT, bin;

	if (input >= m->input_count)
		return refuse_node(p, i, "no such input");
	if (n->rank >= m->bin_count[input])
		return refuse_node(p, i, "no such threshold");
	if ((n->input & MDL_FILE_MISSING_LEFT) && m->inputs[input].missing != MDL_MISSING_BRANCH)
		return refuse_node(p, i, "says where a missing value goes, and the input does not");
	if (n->child <= i)
		return refuse_node(p, i, "its child is not greater");
	if (n->child >= p->count - 1)
		return refuse_node(p, i, "its child is not in the tree");
	if (p->level[p->first + n->child] || p->level[p->first + n->child + 1])
		return refuse_node(p, i, "its child has another parent");
	if (p->level[p->first + i] > MDL_DEPTH_MAX)
		return refuse_node(p, i, "its path is longer than 64");
	bin = m->bin_first[input] + n->rank;
	p->used[bin] = 1;
	p->level[p->first + n->child] = p->level[p->first + i] + 1;
	p->level[p->first + n->child + 1] = p->level[p->first + i] + 1;
	return 0;
}

/* As the walk takes it. */
static struct mdl_node walk_node(const struct pass *p, const struct mdl_file_node *n)
{
	uint32_t slot = n->input & ~MDL_FILE_MISSING_LEFT;

	if (n->input & MDL_FILE_MISSING_LEFT)
		slot += p->l->m->input_count;
	return (struct mdl_node){(uint16_t)(slot * MDL_LANES), n->rank, p->first + n->child};
}

static int load_tree(const struct pass *p)
{
	struct mdl_bundle *m = p->l->m;
	uint8_t deepest = 1;
	int rc = 0;

	p->level[p->first] = 1;
	for (uint32_t i = 0; !rc && i < p->count; i++) {
		struct mdl_file_node n;

		memcpy(&n, p->nodes + (size_t)(p->first + i) * sizeof(n), sizeof(n));
		if (!p->level[p->first + i])
			return refuse_node(p, i, "has no parent");
		rc = n.rank == MDL_RANK_LEAF ? check_leaf(p, i, &n) : check_split(p, i, &n);
		if (p->level[p->first + i] > deepest)
			deepest = p->level[p->first + i];
		m->nodes[p->first + i] = walk_node(p, &n);
	}
	m->tree_depth[p->tree] = deepest - 1;
	return rc;
}

static int load_nodes(struct pass *p)
{
	const struct mdl_bundle *m = p->l->m;
	int rc = 0;

	for (uint32_t t = 0; !rc && t < m->tree_count; t++) {
		p->tree = t;
		p->first = m->tree_first[t];
		p->count = m->tree_first[t + 1] - p->first;
		rc = load_tree(p);
	}
	for (uint32_t i = 0; !rc && i < m->input_count; i++)
		for (uint32_t k = 0; !rc && k < m->bin_count[i]; k++)
			if (!p->used[m->bin_first[i] + k])
				rc = mdl_refuse(p->l, MDL_SECTION_BINS,
					"threshold %u of input %u is used by no node", k, i);
	return rc;
}

/* Trees of eight lanes each; behind the last tree a lane gets a leaf to stay at. */
static void fill_lanes(struct mdl_bundle *m)
{
	for (uint32_t t = 0; t < m->tree_count; t++) {
		uint8_t *depth = &m->lanes_depth[t / MDL_LANES];

		m->tree_root[t] = m->tree_first[t];
		*depth = m->tree_depth[t] > *depth ? m->tree_depth[t] : *depth;
	}
	for (uint32_t t = m->tree_count; t % MDL_LANES; t++)
		m->tree_root[t] = m->node_count - 1; /* no child is greater: a leaf */
}

static int load_firsts(const struct mdl_load *l)
{
	const struct mdl_bundle *m = l->m;
	const uint8_t *at = l->sections[MDL_SECTION_FOREST].at;
	size_t bytes = (m->tree_count + 1) * sizeof(*m->tree_first);

	memcpy(m->tree_first, at, bytes);
	if (m->tree_first[0])
		return mdl_refuse(l, MDL_SECTION_FOREST, "tree 0 does not begin at node 0");
	for (uint32_t t = 0; t < m->tree_count; t++)
		if (m->tree_first[t + 1] <= m->tree_first[t])
			return mdl_refuse(l, MDL_SECTION_FOREST, "tree %u has no nodes", t);
	if (m->tree_first[m->tree_count] != m->node_count)
		return mdl_refuse(l, MDL_SECTION_FOREST, "its trees have %u nodes, the model %u",
			m->tree_first[m->tree_count], m->node_count);
	if (m->kind != MDL_BOOSTED)
		return 0;
	memcpy(m->tree_output, at + bytes, m->tree_count * sizeof(*m->tree_output));
	for (uint32_t t = 0; t < m->tree_count; t++)
		if (m->tree_output[t] >= m->output_count)
			return mdl_refuse(l, MDL_SECTION_FOREST, "tree %u adds to output %u", t,
				m->tree_output[t]);
	return 0;
}

int mdl_load_forest(struct mdl_load *l)
{
	const struct mdl_span *s = &l->sections[MDL_SECTION_FOREST];
	struct mdl_bundle *m = l->m;
	struct pass p = {.l = l};
	int rc;

	if (m->kind == MDL_LINEAR)
		return 0;
	rc = load_firsts(l);
	if (rc)
		return rc;
	p.nodes = s->at + s->bytes - m->node_count * sizeof(struct mdl_file_node);
	p.level = calloc(1, m->node_count + l->block_count * MDL_BIN_BLOCK);
	if (!p.level)
		return mdl_no_memory(l);
	p.used = p.level + m->node_count;
	rc = load_nodes(&p);
	free(p.level);
	if (!rc)
		fill_lanes(m);
	return rc;
}

/* ---- leaves ---- */

static int check_leaf_numbers(const struct mdl_load *l)
{
	const struct mdl_bundle *m = l->m;
	uint32_t leaves = 0;

	for (uint32_t i = 0; i < m->node_count; i++) {
		uint32_t want = m->nodes[i].rank == MDL_RANK_LEAF ? leaves++ : MDL_LEAF_NONE;

		if (m->leaf[i] != want)
			return mdl_refuse(l, MDL_SECTION_LEAVES, "node %u is leaf %u, not %u", i,
				want, m->leaf[i]);
	}
	return 0; /* as many as the model says: so have all trees, whose nodes have two children */
}

/* Where the value of a leaf is one number it stands at its node, where the walk ends. */
static void place_values(struct mdl_bundle *m, const uint8_t *at)
{
	if (m->leaf_width > 1) {
		memcpy(m->value, at, (size_t)m->leaf_count * m->leaf_width * sizeof(*m->value));
		return;
	}
	for (uint32_t i = 0; i < m->node_count; i++)
		if (m->leaf[i] != MDL_LEAF_NONE)
			memcpy(&m->value[i], at + (size_t)m->leaf[i] * sizeof(*m->value),
				sizeof(*m->value));
}

static int check_values(const struct mdl_load *l, const uint8_t *at)
{
	const uint32_t width = l->m->leaf_width;

	for (size_t i = 0; i < (size_t)l->m->leaf_count * width; i++) {
		double v;

		memcpy(&v, at + i * sizeof(v), sizeof(v));
		if (!isfinite(v))
			return mdl_refuse(l, MDL_SECTION_LEAVES,
				"value %zu of leaf %zu is not finite", i % width, i / width);
	}
	return 0;
}

int mdl_load_leaves(struct mdl_load *l)
{
	const uint8_t *at = l->sections[MDL_SECTION_LEAVES].at;
	struct mdl_bundle *m = l->m;
	size_t numbers = m->node_count * sizeof(*m->leaf);
	size_t origins = m->leaf_count * sizeof(*m->leaf_origin);
	size_t padding = (8 - (numbers + origins) % 8) % 8;
	int rc;

	if (m->kind == MDL_LINEAR)
		return 0;
	memcpy(m->leaf, at, numbers);
	memcpy(m->leaf_origin, at + numbers, origins);
	at += numbers + origins;
	rc = check_leaf_numbers(l);
	if (rc)
		return rc;
	if (!mdl_all_zero(at, padding))
		return mdl_refuse(l, MDL_SECTION_LEAVES, "its padding is not zero");
	rc = check_values(l, at + padding);
	if (!rc)
		place_values(m, at + padding);
	return rc;
}
