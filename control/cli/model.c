/* penstock model score, verify: bundles without a daemon. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"
#include "control/cli/csv.h"
#include "control/config/attributes_build.h"
#include "control/config/scalar.h"
#include "dataplane/egress/number.h"
#include "models/bundle/load.h"
#include "models/engine/engine.h"
#include "models/engine/score.h"

enum { BATCH_ROWS = 64, CSV_BYTES_MAX = 1 << 30, HASH_TEXT_BYTES = 2 * MDL_SHA256_BYTES + 1 };

/* ---- score ---- */

struct scoring {
	const struct cli *cli;
	const struct mdl_bundle *m;
	struct cli_csv csv;
	char *text; /* of the rows' file */
	size_t bytes;
	float *inputs; /* [BATCH_ROWS][input_count], as below */
	double *out;
	uint32_t *leaves;
	void *scratch;
	char *labels[MDL_OUTPUTS_MAX]; /* as JSON, or as a cell of CSV */
	uint64_t row;
};

static int csv_refused(const struct scoring *s)
{
	fprintf(stderr, "penstock: %s:%u:%u: %s\n", s->cli->rows, s->csv.error_line,
		s->csv.error_column, s->csv.error);
	return CLI_USAGE;
}

static int out_of_memory(void)
{
	fprintf(stderr, "penstock: %s\n", strerror(ENOMEM));
	return CLI_IO;
}

/* A label quoted where CSV needs it. */
static char *csv_cell(const char *label)
{
	char *cell = malloc(2 * strlen(label) + 3), *to = cell;

	if (!cell || !strpbrk(label, ",\""))
		return cell ? strcpy(cell, label) : NULL;
	*to++ = '"';
	for (; *label; label++) {
		if (*label == '"')
			*to++ = '"';
		*to++ = *label;
	}
	strcpy(to, "\"");
	return cell;
}

static char *json_text(const char *label)
{
	json_t *text = json_string(label);
	char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

	json_decref(text);
	return quoted;
}

static bool make_room(struct scoring *s)
{
	const struct mdl_bundle *m = s->m;
	bool all = true;

	s->inputs = malloc(BATCH_ROWS * m->input_count * sizeof(*s->inputs));
	s->out = malloc(BATCH_ROWS * m->output_count * sizeof(*s->out));
	s->leaves = malloc(BATCH_ROWS * m->tree_count * sizeof(*s->leaves) + 1);
	s->scratch = malloc(mdl_scratch_bytes(m, BATCH_ROWS));
	for (uint32_t i = 0; i < m->class_count; i++) {
		s->labels[i] = s->cli->json ? json_text(m->labels[i]) : csv_cell(m->labels[i]);
		all &= s->labels[i] != NULL;
	}
	return all && s->inputs && s->out && s->leaves && s->scratch;
}

static void put_number(double v)
{
	char text[DP_NUMBER_BYTES_MAX];

	fwrite(text, 1, dp_number_f64(v, text), stdout);
}

static void put_csv(const struct scoring *s, const struct mdl_verdict *v, const uint32_t *leaves)
{
	printf("%" PRIu64 ",", s->row);
	if (!v->none)
		put_number(v->value);
	putchar(',');
	if (!v->none && s->m->class_count)
		fputs(s->labels[v->class_index], stdout);
	for (uint32_t t = 0; t < s->m->tree_count; t++) {
		putchar(',');
		if (leaves[t] != MDL_LEAF_NONE)
			printf("%u", mdl_leaf_origin(s->m, t, leaves[t]));
	}
	putchar('\n');
}

static void put_json(const struct scoring *s, const struct mdl_verdict *v, const double *out,
	const uint32_t *leaves)
{
	printf("{\"row\": %" PRIu64 ", \"score\": ", s->row);
	if (v->none)
		fputs("null", stdout);
	else
		put_number(v->value);
	if (s->m->class_count)
		printf(", \"class\": %s", v->none ? "null" : s->labels[v->class_index]);
	fputs(", \"outputs\": [", stdout);
	for (uint32_t k = 0; k < s->m->output_count; k++) {
		fputs(k ? ", " : "", stdout);
		if (isfinite(out[k]))
			put_number(out[k]);
		else
			fputs("null", stdout);
	}
	fputs("]", stdout);
	for (uint32_t t = 0; t < s->m->tree_count; t++) {
		fputs(t ? ", " : ", \"leaves\": [", stdout);
		if (leaves[t] == MDL_LEAF_NONE)
			fputs("null", stdout);
		else
			printf("%u", mdl_leaf_origin(s->m, t, leaves[t]));
	}
	puts(s->m->tree_count ? "]}" : "}");
}

static void score_batch(struct scoring *s, uint32_t rows)
{
	const struct mdl_bundle *m = s->m;

	mdl_score(m, s->inputs, rows, s->scratch, s->out, s->leaves);
	for (uint32_t i = 0; i < rows; i++) {
		const double *out = s->out + (size_t)i * m->output_count;
		const uint32_t *leaves = s->leaves + (size_t)i * m->tree_count;
		struct mdl_verdict v;

		s->row++;
		mdl_judge(m, out, &v);
		if (s->cli->json)
			put_json(s, &v, out, leaves);
		else
			put_csv(s, &v, leaves);
	}
}

/* All rows; `print` false: only whether they can be read, so that nothing is printed of a bad file.
 */
static int pass(struct scoring *s, bool print)
{
	uint32_t rows = 0;
	int rc;

	if (!cli_csv_open(&s->csv, s->text, s->bytes, s->m->inputs, s->m->input_count))
		return csv_refused(s);
	while ((rc = cli_csv_row(&s->csv, s->inputs + (size_t)rows * s->m->input_count)) > 0) {
		if (!print || ++rows < BATCH_ROWS)
			continue;
		score_batch(s, rows);
		rows = 0;
	}
	if (rc < 0)
		return csv_refused(s);
	if (print)
		score_batch(s, rows);
	return CLI_OK;
}

static int score_file(struct scoring *s)
{
	int err = ctl_file_read(s->cli->rows, CSV_BYTES_MAX, &s->text, &s->bytes), rc;

	if (err) {
		fprintf(stderr, "penstock: %s: %s\n", s->cli->rows, strerror(-err));
		return CLI_IO;
	}
	if (!make_room(s))
		return out_of_memory();
	rc = pass(s, false);
	if (rc)
		return rc;
	if (!s->cli->json) {
		fputs("row,score,class", stdout);
		for (uint32_t t = 0; t < s->m->tree_count; t++)
			printf(",leaf_%u", t);
		putchar('\n');
	}
	return pass(s, true);
}

/* What loading says, as an exit status. */
static int load_status(int err)
{
	return !err ? CLI_OK : err == -EBADMSG || err == -EPROTO ? CLI_NO : CLI_IO;
}

int cli_model_score(const struct cli *cli)
{
	struct scoring *s = calloc(1, sizeof(*s));
	char why[MDL_WHY_BYTES];
	struct mdl_bundle *m;
	int rc;

	if (!s)
		return out_of_memory();
	rc = load_status(mdl_bundle_load(cli->file, &m, why, sizeof(why)));
	if (rc) {
		fprintf(stderr, "penstock: %s\n", why);
	} else {
		s->cli = cli;
		s->m = m;
		rc = score_file(s);
		for (uint32_t i = 0; i < m->class_count; i++)
			free(s->labels[i]);
	}
	free(s->text);
	free(s->inputs);
	free(s->out);
	free(s->leaves);
	free(s->scratch);
	free(s);
	mdl_bundle_free(m);
	return rc;
}

/* ---- verify ---- */

static const char *const kinds[] = {"", "forest", "boosted", "linear"};
static const char *const tasks[] = {"", "regression", "binary", "multiclass"};
static const char *const rows_of[] = {"", "readings", "windows"};
static const char *const missings[] = {"", "refused", "imputed", "branch"};

static const char *hash_text(const uint8_t *hash, char text[HASH_TEXT_BYTES])
{
	for (size_t i = 0; i < MDL_SHA256_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", hash[i]);
	return text;
}

static json_t *inputs_json(const struct mdl_bundle *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->input_count; i++) {
		const struct mdl_input *in = &m->inputs[i];
		json_t *o = json_pack("{s:s, s:s}", "expression", in->expression, "missing",
			missings[in->missing]);

		if (in->missing == MDL_MISSING_IMPUTED)
			json_object_set_new(o, "imputed", json_real((double)in->imputed));
		if (in->size_ns) {
			json_object_set_new(o, "size_ns", json_integer(in->size_ns));
			json_object_set_new(o, "slide_ns", json_integer(in->slide_ns));
		}
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *sections_json(const struct mdl_bundle *m)
{
	json_t *list = json_array();
	char hash[HASH_TEXT_BYTES];

	for (uint32_t i = 0; i < m->section_count; i++)
		json_array_append_new(list,
			json_pack("{s:s, s:I, s:s}", "name", mdl_section_name(m->sections[i].type),
				"bytes", (json_int_t)m->sections[i].bytes, "sha256",
				hash_text(m->sections[i].sha256, hash)));
	return list;
}

static json_t *golden_json(const struct mdl_bundle *m)
{
	json_t *engines = json_array();

	for (unsigned e = 1; e < MDL_ENGINE_END; e <<= 1)
		if (mdl_engines_of(m) & e)
			json_array_append_new(engines, json_string(mdl_engine_name(e)));
	return json_pack("{s:i, s:o}", "rows", (int)m->golden_count, "engines", engines);
}

static json_t *output_json(const struct mdl_bundle *m)
{
	json_t *labels = json_array();

	if (!m->class_count) {
		json_decref(labels);
		return json_pack("{s:s}", "unit", m->unit);
	}
	for (uint32_t i = 0; i < m->class_count; i++)
		json_array_append_new(labels, json_string(m->labels[i]));
	if (m->task == MDL_BINARY)
		return json_pack("{s:o, s:f}", "classes", labels, "threshold", m->threshold);
	return json_pack("{s:o}", "classes", labels);
}

static uint32_t deepest(const struct mdl_bundle *m)
{
	uint32_t depth = 0;

	for (uint32_t t = 0; t < m->tree_count; t++)
		depth = m->tree_depth[t] > depth ? m->tree_depth[t] : depth;
	return depth;
}

/* Takes the two texts' references. */
static json_t *bundle_json(const struct mdl_bundle *m, json_t *metrics, json_t *provenance)
{
	char hash[HASH_TEXT_BYTES];
	json_t *all = json_pack("{s:b, s:s, s:I, s:s, s:s, s:s, s:I, s:s}", "ok", 1, "name",
		m->name, "version", (json_int_t)m->version, "kind", kinds[m->kind], "task",
		tasks[m->task], "rows", rows_of[m->rows], "bytes", (json_int_t)m->bytes, "sha256",
		hash_text(m->sha256, hash));

	json_object_set_new(all, "inputs", inputs_json(m));
	json_object_set_new(all, "output", output_json(m));
	if (m->tree_count)
		json_object_set_new(all, "trees",
			json_pack("{s:I, s:I, s:I, s:I}", "count", (json_int_t)m->tree_count,
				"nodes", (json_int_t)m->node_count, "leaves",
				(json_int_t)m->leaf_count, "depth", (json_int_t)deepest(m)));
	json_object_set_new(all, "golden", golden_json(m));
	json_object_set_new(all, "sections", sections_json(m));
	json_object_set_new(all, "metrics", metrics);
	json_object_set_new(all, "provenance", provenance);
	return all;
}

static void show_inputs(const struct mdl_bundle *m)
{
	char slide[CTL_SCALAR_TEXT_BYTES];

	for (uint32_t i = 0; i < m->input_count; i++) {
		const struct mdl_input *in = &m->inputs[i];

		printf("  %-32s missing: %s", in->expression, missings[in->missing]);
		if (in->missing == MDL_MISSING_IMPUTED)
			printf(" as %.9g", (double)in->imputed);
		if (in->size_ns) {
			ctl_write_duration(in->slide_ns, slide);
			printf(", panes of %s", slide);
		}
		putchar('\n');
	}
}

static void show_output(const struct mdl_bundle *m)
{
	if (!m->class_count)
		printf("a value%s%s\n", *m->unit ? " in " : "", m->unit);
	for (uint32_t i = 0; i < m->class_count; i++)
		printf("%s%s", i ? ", " : "one of: ", m->labels[i]);
	if (m->task == MDL_BINARY)
		printf("; the second where its probability is above %.9g", m->threshold);
	if (m->class_count)
		putchar('\n');
}

static void show_bundle(const struct mdl_bundle *m, const char *file)
{
	char a[CLI_NUMBER_BYTES], b[CLI_NUMBER_BYTES], hash[HASH_TEXT_BYTES];

	printf("%s version %u: %s, %s, scores %s\n", m->name, m->version, kinds[m->kind],
		tasks[m->task], rows_of[m->rows]);
	printf("%s, %s bytes, SHA-256 %s\n\ninputs\n", file, cli_number((int64_t)m->bytes, a),
		hash_text(m->sha256, hash));
	show_inputs(m);
	fputs("\noutput      ", stdout);
	show_output(m);
	if (m->tree_count)
		printf("trees       %s with %s nodes, at most %u steps deep\n",
			cli_number(m->tree_count, a), cli_number(m->node_count, b), deepest(m));
	printf("golden rows %s hold on the engines", cli_number(m->golden_count, a));
	for (unsigned e = 1; e < MDL_ENGINE_END; e <<= 1)
		if (mdl_engines_of(m) & e)
			printf(" %s", mdl_engine_name(e));
	printf("\n\n%-10s %12s  %s\n", "section", "bytes", "SHA-256");
	for (uint32_t i = 0; i < m->section_count; i++)
		printf("%-10s %12s  %s\n", mdl_section_name(m->sections[i].type),
			cli_number((int64_t)m->sections[i].bytes, a),
			hash_text(m->sections[i].sha256, hash));
	printf("\nmetrics     %s\nprovenance  %s\n", m->metrics, m->provenance);
}

static int refused(const struct cli *cli, const char *why)
{
	json_t *answer;

	if (!cli->json) {
		fprintf(stderr, "penstock: %s\n", why);
		return CLI_NO;
	}
	answer = json_pack("{s:b, s:s}", "ok", 0, "error", why);
	if (!answer) /* a path that is no UTF-8 */
		fprintf(stderr, "penstock: %s\n", why);
	else if (cli_print_json(answer))
		fprintf(stderr, "penstock: %s\n", why);
	json_decref(answer);
	return CLI_NO;
}

/* The loader, which has no JSON library, has seen to it that these are texts in braces. */
static int verify_texts(const struct cli *cli, const struct mdl_bundle *m)
{
	json_error_t error;
	char why[MDL_WHY_BYTES];
	json_t *metrics = json_loads(m->metrics, JSON_REJECT_DUPLICATES, &error), *provenance;
	const char *bad = metrics ? NULL : "metrics";
	int rc = CLI_OK;

	provenance = bad ? NULL : json_loads(m->provenance, JSON_REJECT_DUPLICATES, &error);
	if (!bad && !provenance)
		bad = "provenance";
	if (bad) {
		snprintf(why, sizeof(why), "%s: %s: not JSON: line %d: %s", cli->file, bad,
			error.line, error.text);
		json_decref(metrics);
		return refused(cli, why);
	}
	if (cli->json) {
		json_t *all = bundle_json(m, metrics, provenance);

		rc = cli_print_json(all);
		json_decref(all);
	} else {
		show_bundle(m, cli->file);
		json_decref(metrics);
		json_decref(provenance);
	}
	return rc;
}

int cli_model_verify(const struct cli *cli)
{
	char why[MDL_WHY_BYTES];
	struct mdl_bundle *m;
	int rc = load_status(mdl_bundle_load(cli->file, &m, why, sizeof(why)));

	if (rc == CLI_OK)
		rc = verify_texts(cli, m);
	else if (rc == CLI_NO)
		refused(cli, why);
	else
		fprintf(stderr, "penstock: %s\n", why);
	mdl_bundle_free(m);
	return rc;
}
