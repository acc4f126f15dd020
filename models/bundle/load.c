/*
 * A bundle from outside to a struct mdl_bundle.  Order: hashes, then the counts of the model
 * against the sizes of all sections, then one allocation, then what lies in the sections, then the
 * golden rows.  So memory is bounded by the bytes that are really there.
 */
#include "models/bundle/load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/bundle/parts.h"
#include "models/bundle/text.h"
#include "models/bundle/verify.h"

static const char *const section_names[MDL_SECTION_END] = {"header", "model", "schema", "bins",
	"forest", "leaves", "linear", "output", "metrics", "golden", "provenance"};

const char *mdl_section_name(enum mdl_section type)
{
	return type < MDL_SECTION_END ? section_names[type] : "?";
}

int mdl_refuse(const struct mdl_load *l, enum mdl_section section, const char *format, ...)
{
	va_list args;
	int n;

	if (!l->why_bytes)
		return -EBADMSG;
	n = snprintf(l->why, l->why_bytes, "%s: ", mdl_section_name(section));
	if ((size_t)n < l->why_bytes) {
		va_start(args, format);
		vsnprintf(l->why + n, l->why_bytes - (size_t)n, format, args);
		va_end(args);
	}
	return -EBADMSG;
}

int mdl_no_memory(const struct mdl_load *l)
{
	if (l->why_bytes)
		snprintf(l->why, l->why_bytes, "no memory");
	return -ENOMEM;
}

/* ---- the model ---- */

static bool name_valid(const char *name, size_t bytes)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = mdl_text_field(name, bytes);

	return n && n != SIZE_MAX && strspn(name, letters) && strspn(name, others) == n;
}

static int check_outputs(const struct mdl_load *l)
{
	const struct mdl_file_model *f = &l->model;
	bool multi = f->task == MDL_MULTICLASS;

	if (f->output_count < (multi ? 3 : 1) || f->output_count > (multi ? MDL_OUTPUTS_MAX : 1))
		return mdl_refuse(
			l, MDL_SECTION_MODEL, "%u outputs for this task", f->output_count);
	/* also false for NaN */
	if (f->task == MDL_BINARY && !(f->threshold >= 0 && f->threshold <= 1))
		return mdl_refuse(l, MDL_SECTION_MODEL, "the threshold is not 0 to 1");
	if (f->task != MDL_BINARY && f->threshold != 0)
		return mdl_refuse(l, MDL_SECTION_MODEL, "a threshold, and the task is not binary");
	return 0;
}

static int check_trees(const struct mdl_load *l)
{
	const struct mdl_file_model *f = &l->model;

	if (f->kind == MDL_LINEAR) {
		if (f->tree_count || f->node_count || f->leaf_count)
			return mdl_refuse(l, MDL_SECTION_MODEL, "a linear model with trees");
		return 0;
	}
	if (!f->tree_count || f->tree_count > MDL_TREES_MAX)
		return mdl_refuse(l, MDL_SECTION_MODEL, "%u trees", f->tree_count);
	if (f->node_count < f->tree_count || f->node_count > MDL_NODES_MAX)
		return mdl_refuse(l, MDL_SECTION_MODEL, "%u nodes", f->node_count);
	/* each node has two children or is a leaf */
	if (2ull * f->leaf_count != (uint64_t)f->node_count + f->tree_count)
		return mdl_refuse(l, MDL_SECTION_MODEL, "%u leaves of %u nodes", f->leaf_count,
			f->node_count);
	return 0;
}

static int check_model(struct mdl_load *l)
{
	struct mdl_file_model *f = &l->model;
	const struct mdl_span *s = &l->sections[MDL_SECTION_MODEL];
	int rc;

	if (!s->at)
		return mdl_refuse(l, MDL_SECTION_MODEL, "is missing");
	if (s->bytes != sizeof(*f))
		return mdl_refuse(l, MDL_SECTION_MODEL, "has %zu bytes, not 128", s->bytes);
	memcpy(f, s->at, sizeof(*f));
	if (!name_valid(f->name, sizeof(f->name)))
		return mdl_refuse(l, MDL_SECTION_MODEL,
			"the name is not a letter, then letters, digits, _ and -, at most 31");
	if (!f->version)
		return mdl_refuse(l, MDL_SECTION_MODEL, "version 0");
	if (f->kind < MDL_FOREST || f->kind > MDL_LINEAR)
		return mdl_refuse(l, MDL_SECTION_MODEL, "kind %u is not known", f->kind);
	if (f->task < MDL_REGRESSION || f->task > MDL_MULTICLASS)
		return mdl_refuse(l, MDL_SECTION_MODEL, "task %u is not known", f->task);
	if (f->rows < MDL_READINGS || f->rows > MDL_WINDOWS)
		return mdl_refuse(l, MDL_SECTION_MODEL, "rows %u are not known", f->rows);
	if (!f->input_count || f->input_count > MDL_INPUTS_MAX)
		return mdl_refuse(l, MDL_SECTION_MODEL, "%u inputs", f->input_count);
	if (!f->golden_count || f->golden_count > MDL_GOLDEN_MAX)
		return mdl_refuse(l, MDL_SECTION_MODEL, "%u golden rows", f->golden_count);
	rc = check_outputs(l);
	rc = rc ? rc : check_trees(l);
	if (!rc && (f->zero || !mdl_all_zero(f->zero2, sizeof(f->zero2))))
		rc = mdl_refuse(l, MDL_SECTION_MODEL, "reserved bytes are not zero");
	return rc;
}

/* ---- sizes ---- */

static uint32_t class_count(const struct mdl_file_model *f)
{
	return f->task == MDL_REGRESSION ? 0 : f->task == MDL_BINARY ? 2 : f->output_count;
}

static uint32_t leaf_width(const struct mdl_file_model *f)
{
	return f->kind == MDL_FOREST ? f->output_count : 1;
}

/* Are there exactly the sections that the kind has, the schema among them? */
static int check_presence(const struct mdl_load *l)
{
	for (enum mdl_section t = MDL_SECTION_MODEL; t < MDL_SECTION_END; t++) {
		bool of_trees = t >= MDL_SECTION_BINS && t <= MDL_SECTION_LEAVES;
		bool linear = l->model.kind == MDL_LINEAR;
		bool wanted = of_trees ? !linear : t == MDL_SECTION_LINEAR ? linear : true;

		if (wanted && !l->sections[t].at)
			return mdl_refuse(l, t, "is missing");
		if (!wanted && l->sections[t].at)
			return mdl_refuse(l, t, "a model of this kind has none");
	}
	return 0;
}

static int check_size(const struct mdl_load *l, enum mdl_section type, uint64_t bytes)
{
	if (!l->sections[type].at || l->sections[type].bytes == bytes)
		return 0;
	return mdl_refuse(
		l, type, "has %zu bytes, its counts make %" PRIu64, l->sections[type].bytes, bytes);
}

/* No product overflows: the counts have their bounds by now. */
static int check_sizes(const struct mdl_load *l)
{
	const struct mdl_file_model *f = &l->model;
	uint64_t inputs = f->input_count, outputs = f->output_count, trees = f->tree_count;
	uint64_t nodes = f->node_count, leaves = f->leaf_count;
	int rc = check_size(l, MDL_SECTION_BINS, 4 * l->bin_count);

	if (!rc)
		rc = check_size(l, MDL_SECTION_FOREST,
			4 * (trees + 1) + (f->kind == MDL_BOOSTED ? 4 * trees : 0) +
				sizeof(struct mdl_file_node) * nodes);
	if (!rc)
		rc = check_size(l, MDL_SECTION_LEAVES,
			(4 * (nodes + leaves) + 7) / 8 * 8 + 8 * leaves * leaf_width(f));
	if (!rc)
		rc = check_size(l, MDL_SECTION_LINEAR, 8 * outputs * (inputs + 1));
	if (!rc)
		rc = check_size(l, MDL_SECTION_OUTPUT,
			sizeof(struct mdl_file_output) + 8 * outputs +
				MDL_LABEL_BYTES * (uint64_t)class_count(f));
	if (!rc)
		rc = check_size(l, MDL_SECTION_GOLDEN,
			f->golden_count * (4 * inputs + 4 * trees + 8 * outputs));
	return rc;
}

/* ---- memory ---- */

/* The next array of the one allocation; NULL in the run that only measures. */
static void *carve(char *base, size_t *used, size_t count, size_t each)
{
	size_t at = *used;

	*used += (count * each + 7) / 8 * 8;
	return base ? base + at : NULL;
}

/* Every array behind the struct; returns the bytes of all. */
static size_t lay_out(struct mdl_bundle *m, const struct mdl_load *l, char *base)
{
	size_t used = 0, lanes = (m->tree_count + MDL_LANES - 1) / MDL_LANES;

	carve(base, &used, 1, sizeof(*m));
	m->inputs = carve(base, &used, m->input_count, sizeof(*m->inputs));
	m->labels = carve(base, &used, m->class_count, sizeof(*m->labels));
	m->metrics = carve(base, &used, l->sections[MDL_SECTION_METRICS].bytes + 1, 1);
	m->provenance = carve(base, &used, l->sections[MDL_SECTION_PROVENANCE].bytes + 1, 1);
	m->sections = carve(base, &used, m->section_count, sizeof(*m->sections));
	m->initial = carve(base, &used, m->output_count, sizeof(*m->initial));
	if (m->kind == MDL_LINEAR) {
		m->weight = carve(
			base, &used, (size_t)m->output_count * m->input_count, sizeof(*m->weight));
		m->bias = carve(base, &used, m->output_count, sizeof(*m->bias));
		return used;
	}
	m->bins = carve(base, &used, l->block_count * MDL_BIN_BLOCK, sizeof(*m->bins));
	m->bin_first = carve(base, &used, m->input_count, sizeof(*m->bin_first));
	m->bin_count = carve(base, &used, m->input_count, sizeof(*m->bin_count));
	m->bin_tops = carve(base, &used, l->top_count, sizeof(*m->bin_tops));
	m->top_first = carve(base, &used, m->input_count + 1, sizeof(*m->top_first));
	m->missing_rank = carve(base, &used, m->input_count, sizeof(*m->missing_rank));
	m->nodes = carve(base, &used, m->node_count, sizeof(*m->nodes));
	m->tree_first = carve(base, &used, m->tree_count + 1, sizeof(*m->tree_first));
	m->tree_root = carve(base, &used, lanes * MDL_LANES, sizeof(*m->tree_root));
	m->tree_output = carve(base, &used, m->tree_count, sizeof(*m->tree_output));
	m->tree_depth = carve(base, &used, m->tree_count, sizeof(*m->tree_depth));
	m->lanes_depth = carve(base, &used, lanes, sizeof(*m->lanes_depth));
	m->leaf = carve(base, &used, m->node_count, sizeof(*m->leaf));
	m->leaf_origin = carve(base, &used, m->leaf_count, sizeof(*m->leaf_origin));
	m->value = carve(base, &used,
		m->leaf_width == 1 ? m->node_count : (size_t)m->leaf_count * m->leaf_width,
		sizeof(*m->value));
	return used;
}

static void describe(struct mdl_bundle *m, const struct mdl_load *l)
{
	const struct mdl_file_model *f = &l->model;

	memcpy(m->name, f->name, sizeof(m->name));
	m->version = f->version;
	m->kind = f->kind;
	m->task = f->task;
	m->rows = f->rows;
	m->input_count = f->input_count;
	m->output_count = f->output_count;
	m->tree_count = f->tree_count;
	m->node_count = f->node_count;
	m->leaf_count = f->leaf_count;
	m->class_count = class_count(f);
	m->golden_count = f->golden_count;
	m->threshold = f->threshold;
	m->leaf_width = leaf_width(f);
	m->slot_count = f->input_count;
	m->section_count = l->section_count;
	m->bytes = l->file.bytes;
}

static int make_room(struct mdl_load *l)
{
	struct mdl_bundle plan = {0};

	describe(&plan, l);
	l->m = calloc(1, lay_out(&plan, l, NULL));
	if (!l->m)
		return mdl_no_memory(l);
	describe(l->m, l);
	lay_out(l->m, l, (char *)l->m);
	return 0;
}

/* ---- the whole ---- */

static int parse(struct mdl_load *l)
{
	static int (*const parts[])(struct mdl_load *) = {
		mdl_load_inputs,
		mdl_load_output,
		mdl_load_texts,
		mdl_load_linear,
		mdl_load_bins,
		mdl_load_forest,
		mdl_load_leaves,
		mdl_load_golden,
	};
	const struct mdl_piece whole = {l->file.at, l->file.bytes};
	int rc = mdl_load_container(l);

	rc = rc ? rc : check_model(l);
	rc = rc ? rc : check_presence(l);
	rc = rc ? rc : mdl_load_schema(l);
	rc = rc ? rc : check_sizes(l);
	rc = rc ? rc : make_room(l);
	if (rc)
		return rc;
	if (mdl_sha256(&whole, 1, l->m->sha256))
		return mdl_no_memory(l);
	for (size_t i = 0; !rc && i < sizeof(parts) / sizeof(parts[0]); i++)
		rc = parts[i](l);
	return rc;
}

int mdl_bundle_parse(
	const void *bytes, size_t n, struct mdl_bundle **out, char *why, size_t why_bytes)
{
	struct mdl_load l = {.file = {bytes, n}, .why = why, .why_bytes = why_bytes};
	int rc = parse(&l);

	if (rc) {
		mdl_bundle_free(l.m);
		l.m = NULL;
	} else if (why_bytes) {
		why[0] = '\0';
	}
	*out = l.m;
	return rc;
}

/* ---- files ---- */

/* The file's bytes; free() them. Read, not mapped: it may be cut short while we look. */
static int read_file(const char *path, uint8_t **bytes, size_t *n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	struct stat st;
	ssize_t got;

	*bytes = NULL;
	*n = 0;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else if (st.st_size > MDL_FILE_BYTES_MAX)
		rc = -EFBIG;
	else if (!(*bytes = malloc((size_t)st.st_size + 1)))
		rc = -ENOMEM;
	while (!rc && *n < (size_t)st.st_size) {
		got = read(fd, *bytes + *n, (size_t)st.st_size - *n);
		if (got == 0)
			break;
		if (got > 0)
			*n += (size_t)got;
		else if (errno != EINTR)
			rc = -errno;
	}
	close(fd);
	return rc;
}

int mdl_bundle_load(const char *path, struct mdl_bundle **out, char *why, size_t why_bytes)
{
	uint8_t *bytes;
	size_t n, used = 0;
	int rc = read_file(path, &bytes, &n);

	*out = NULL;
	if (why_bytes) {
		int wanted = snprintf(why, why_bytes, "%s: ", path);

		used = wanted > 0 && (size_t)wanted < why_bytes ? (size_t)wanted : why_bytes - 1;
	}
	if (rc == -EFBIG) {
		snprintf(why + used, why_bytes - used, "header: the file has more than 64 MiB");
		rc = -EBADMSG;
	} else if (rc) {
		snprintf(why + used, why_bytes - used, "%s", strerror(-rc));
	} else {
		rc = mdl_bundle_parse(bytes, n, out, why + used, why_bytes - used);
		if (!rc && why_bytes)
			why[0] = '\0';
	}
	free(bytes);
	return rc;
}

void mdl_bundle_free(struct mdl_bundle *m)
{
	free(m);
}
