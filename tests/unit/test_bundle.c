/*
 * What is not as docs/bundle.md says is refused, in the section that it is in.  What would break: a
 * damaged or forged file that scores readings, or takes the daemon down.
 */
#include "models/bundle/load.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/bundle/text.h"
#include "tests/unit/bundle_build.h"

/* Chains, so that every node's place is known: even nodes split, odd ones are leaves. */
enum base { FOREST, BOOSTED, LINEAR, WINDOWS, BASES };

static const struct build_spec bases[BASES] = {
	{.kind = MDL_FOREST,
		.task = MDL_BINARY,
		.rows = MDL_READINGS,
		.inputs = 3,
		.outputs = 1,
		.trees = 4,
		.splits = 13,
		.pool = 5,
		.chain = true,
		.golden = 6,
		.seed = 1},
	{.kind = MDL_BOOSTED,
		.task = MDL_MULTICLASS,
		.rows = MDL_READINGS,
		.inputs = 3,
		.outputs = 3,
		.trees = 4,
		.splits = 13,
		.pool = 5,
		.chain = true,
		.golden = 6,
		.seed = 2},
	{.kind = MDL_LINEAR,
		.task = MDL_BINARY,
		.rows = MDL_READINGS,
		.inputs = 3,
		.outputs = 1,
		.golden = 6,
		.seed = 3},
	{.kind = MDL_FOREST,
		.task = MDL_REGRESSION,
		.rows = MDL_WINDOWS,
		.inputs = 4,
		.outputs = 1,
		.trees = 2,
		.splits = 4,
		.pool = 5,
		.chain = true,
		.golden = 6,
		.seed = 4},
};

/* The verdict on exactly these bytes; in their own allocation, so that ASan sees more. */
static int verdict(const uint8_t *bytes, size_t n, char why[MDL_WHY_BYTES])
{
	uint8_t *copy = malloc(n ? n : 1);
	struct mdl_bundle *m;
	int rc;

	memcpy(copy, bytes, n);
	rc = mdl_bundle_parse(copy, n, &m, why, MDL_WHY_BYTES);
	cr_expect_eq(rc == 0, m != NULL);
	cr_expect_eq(rc == 0, !why[0]);
	mdl_bundle_free(m);
	free(copy);
	return rc;
}

static int packed_verdict(const struct build *b, char why[MDL_WHY_BYTES])
{
	size_t n;
	uint8_t *bytes = build_pack(b, &n);
	int rc = verdict(bytes, n, why);

	free(bytes);
	return rc;
}

/* ---- what is good ---- */

Test(bundle, says_what_was_built)
{
	struct mdl_bundle *m;
	char why[MDL_WHY_BYTES];
	struct build b;
	uint8_t *bytes;
	size_t n;

	build_model(&b, &bases[FOREST]);
	bytes = build_pack(&b, &n);
	cr_assert_eq(mdl_bundle_parse(bytes, n, &m, why, sizeof(why)), 0, "%s", why);
	memset(bytes, 0xee, n); /* nothing of it may lie in the file's bytes */
	free(bytes);
	cr_expect_str_eq(m->name, "built");
	cr_expect_eq(m->version, 7);
	cr_expect_eq(m->kind, MDL_FOREST);
	cr_expect_eq(m->task, MDL_BINARY);
	cr_expect_eq(m->rows, MDL_READINGS);
	cr_expect_eq(m->bytes, n);
	cr_expect_eq(m->golden_count, 6);
	cr_expect_eq(m->tree_count, 4);
	cr_expect_eq(m->node_count, 82);
	cr_expect_eq(m->leaf_count, 43);
	cr_expect_eq(m->threshold, 0.4);
	cr_assert_eq(m->input_count, 3);
	cr_expect_str_eq(m->inputs[1].expression, "mean(f1,5m)");
	cr_expect_eq(m->inputs[1].parsed.function, MDL_MEAN);
	cr_expect_str_eq(m->inputs[1].parsed.x, "f1");
	cr_expect_eq(m->inputs[1].size_ns, 300000000000);
	cr_expect_eq(m->inputs[1].slide_ns, 60000000000);
	cr_expect_eq(m->inputs[0].missing, MDL_MISSING_REFUSED);
	cr_expect_eq(m->inputs[1].missing, MDL_MISSING_IMPUTED);
	cr_expect_eq(m->inputs[1].imputed, b.inputs[1].imputed);
	cr_assert_eq(m->class_count, 2);
	cr_expect_str_eq(m->labels[1], "d\xc3\xbcnn");
	cr_expect_str_eq(m->unit, "");
	cr_expect_str_eq(m->metrics, "{\"data\": \"made up\", \"auc\": 0.5}");
	cr_assert_eq(m->section_count, 9);
	cr_expect_eq(m->sections[5].type, MDL_SECTION_OUTPUT);
	cr_expect_str_eq(mdl_section_name(m->sections[5].type), "output");
	cr_expect_eq(m->tree_depth[0], 13);
	cr_expect_eq(m->tree_depth[3], 0);
	mdl_bundle_free(m);
	build_free(&b);
}

Test(bundle, any_address_will_do)
{
	for (int base = 0; base < BASES; base++) {
		char why[MDL_WHY_BYTES];
		struct build b;
		uint8_t *bytes, *room;
		size_t n;

		build_model(&b, &bases[base]);
		bytes = build_pack(&b, &n);
		room = malloc(n + 8);
		for (size_t off = 0; off < 8; off++) {
			struct mdl_bundle *m;

			memcpy(room + off, bytes, n);
			cr_expect_eq(mdl_bundle_parse(room + off, n, &m, why, sizeof(why)), 0);
			mdl_bundle_free(m);
		}
		free(room);
		free(bytes);
		build_free(&b);
	}
}

/* What the fuzzer starts from, kept for as long as v1 is read. */
Test(bundle, the_corpus_loads)
{
	char path[PATH_MAX], file[2 * PATH_MAX], why[MDL_WHY_BYTES];
	const struct dirent *entry;
	struct mdl_bundle *m;
	int seen = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/../fuzz/corpus/bundle", getenv("PENSTOCK_FIXTURES"));
	dir = opendir(path);
	cr_assert_not_null(dir, "%s", path);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".psm"))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		cr_expect_eq(mdl_bundle_load(file, &m, why, sizeof(why)), 0, "%s", why);
		mdl_bundle_free(m);
		seen++;
	}
	closedir(dir);
	cr_expect_geq(seen, 4);
}

/* Another libm may differ in the last bit of exp(), a library in the order of a linear sum. */
Test(bundle, golden_outputs_behind_a_link_may_differ_a_little)
{
	static const struct {
		enum base base;
		double by;
		int rc;
	} t[] = {{BOOSTED, 5e-13, 0}, {BOOSTED, 1e-11, -EBADMSG}, {LINEAR, 5e-10, 0},
		{LINEAR, 2e-9, -EBADMSG}, {FOREST, 1e-16, -EBADMSG}};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char why[MDL_WHY_BYTES];
		struct build b;
		double out;
		uint8_t *at;

		build_model(&b, &bases[t[i].base]);
		at = b.sections[MDL_SECTION_GOLDEN].at + b.sections[MDL_SECTION_GOLDEN].bytes -
		     sizeof(out);
		memcpy(&out, at, sizeof(out));
		cr_assert(isfinite(out));
		out += t[i].base == FOREST ? nextafter(out, 2) - out : t[i].by;
		memcpy(at, &out, sizeof(out));
		cr_expect_eq(packed_verdict(&b, why), t[i].rc, "%zu: %s", i, why);
		build_free(&b);
	}
}

/* ---- damage ---- */

Test(bundle, every_byte_counts)
{
	for (int base = 0; base < BASES; base++) {
		char why[MDL_WHY_BYTES];
		struct build b;
		uint8_t *bytes;
		size_t n;

		build_model(&b, &bases[base]);
		bytes = build_pack(&b, &n);
		cr_assert_eq(verdict(bytes, n, why), 0, "%s", why);
		for (size_t i = 0; i < n; i++) {
			for (unsigned bit = 1; bit < 256; bit <<= 3) {
				bytes[i] ^= (uint8_t)bit;
				cr_assert(verdict(bytes, n, why), "base %d, byte %zu", base, i);
				bytes[i] ^= (uint8_t)bit;
			}
		}
		free(bytes);
		build_free(&b);
	}
}

Test(bundle, every_truncation_and_extension_is_refused)
{
	for (int base = 0; base < BASES; base++) {
		char why[MDL_WHY_BYTES];
		struct build b;
		uint8_t *bytes;
		size_t n;

		build_model(&b, &bases[base]);
		bytes = build_pack(&b, &n);
		bytes = realloc(bytes, n + 128);
		memset(bytes + n, 0, 128);
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(verdict(bytes, i, why), -EBADMSG, "%zu of %zu bytes", i, n);
		for (size_t i = 1; i <= 128; i++)
			cr_assert_eq(verdict(bytes, n + i, why), -EBADMSG, "%zu bytes more", i);
		/* also where its header agrees */
		for (uint64_t more = n - 64; more <= n + 64; more += 128) {
			memcpy(bytes + 16, &more, sizeof(more));
			build_rehash(bytes, more);
			cr_assert_eq(verdict(bytes, more, why), -EBADMSG);
		}
		free(bytes);
		build_free(&b);
	}
}

/* A section longer or shorter than its counts, in a file that holds otherwise. */
Test(bundle, every_section_has_the_size_that_its_counts_make)
{
	for (int base = 0; base < BASES; base++) {
		for (enum mdl_section s = MDL_SECTION_MODEL; s < MDL_SECTION_END; s++) {
			for (int by = -1; by <= 1; by += 2) {
				char why[MDL_WHY_BYTES];
				struct build b;
				struct build_section *at;

				build_model(&b, &bases[base]);
				at = &b.sections[s];
				if (at->bytes) {
					at->at = realloc(at->at, at->bytes + 1);
					at->at[at->bytes] = 0;
					at->bytes = by < 0 ? at->bytes - 1 : at->bytes + 1;
					/* of a text's blank end nothing is missed */
					if (by < 0 && s == MDL_SECTION_PROVENANCE)
						at->bytes--;
					cr_expect_eq(packed_verdict(&b, why), -EBADMSG);
					cr_expect_eq(strncmp(why, mdl_section_name(s),
							     strlen(mdl_section_name(s))),
						0, "%s %+d: %s", mdl_section_name(s), by, why);
				}
				build_free(&b);
			}
		}
	}
}

Test(bundle, the_sections_are_those_of_the_kind)
{
	for (int base = 0; base < BASES; base++) {
		for (enum mdl_section s = MDL_SECTION_MODEL; s < MDL_SECTION_END; s++) {
			char why[MDL_WHY_BYTES], want[64];
			struct build b;

			build_model(&b, &bases[base]);
			snprintf(want, sizeof(want), "%s: %s", mdl_section_name(s),
				b.sections[s].bytes ? "is missing"
						    : "a model of this kind has none");
			free(b.sections[s].at);
			b.sections[s].at = calloc(1, 64);
			b.sections[s].bytes = b.sections[s].bytes ? 0 : 64;
			cr_expect_eq(packed_verdict(&b, why), -EBADMSG);
			cr_expect_str_eq(why, want);
			build_free(&b);
		}
	}
}

/* ---- lies, with hashes that hold ---- */

#define F64_NAN 0x7ff8000000000000ull
#define F64_INF 0x7ff0000000000000ull
#define F32_NAN 0x7fc00000u
#define F32_INF 0x7f800000u

enum {
	ENTRY = 64, /* of the table: the first; the next ones 64 further */
	NODES = 20, /* in forest of FOREST */
	INPUT = 128,
};

/* `width` bytes at `at` of the section (0: of the file) become `value`, or are flipped by it. */
static const struct lie {
	enum base base;
	enum mdl_section section;
	uint32_t at, width;
	uint64_t value;
	bool flip;
	const char *why;
} lies[] = {
	/* header */
	{FOREST, 0, 0, 1, 'X', false, "header: not a model bundle"},
	{FOREST, 0, 8, 4, 0, false, "header: format version 0"},
	{FOREST, 0, 12, 4, 0, false, "header: 0 sections"},
	{FOREST, 0, 12, 4, 33, false, "header: 33 sections"},
	{FOREST, 0, 12, 4, 8, false, "model: begins at"},
	{FOREST, 0, 12, 4, 10, false, "model: begins at"},
	{FOREST, 0, 16, 8, 64, false, "header: the file has"},
	{FOREST, 0, 56, 8, 1, false, "header: reserved"},
	/* table */
	{FOREST, 0, ENTRY, 4, 0, false, "header: section type 0 behind 0"},
	{FOREST, 0, ENTRY, 4, 2, false, "header: section type 2 behind 2"},
	{FOREST, 0, ENTRY, 4, 9, false, "header: section type 2 behind 9"},
	{FOREST, 0, ENTRY + 8 * 64, 4, 11, false, "header: section type 11 is not known"},
	{FOREST, 0, ENTRY + 4, 4, 1, false, "model: reserved"},
	{FOREST, 0, ENTRY + 56, 8, 1, false, "model: reserved"},
	{FOREST, 0, ENTRY + 8, 8, 0, false, "model: begins at"},
	{FOREST, 0, ENTRY + 64 + 8, 8, 640, false, "schema: begins at 640"}, /* on the model */
	{FOREST, 0, ENTRY + 64 + 8, 8, UINT64_MAX - 63, false, "schema: begins at"},
	{FOREST, 0, ENTRY + 64 + 16, 8, 0, false, "schema: is empty"},
	{FOREST, 0, ENTRY + 64 + 16, 8, 448, false, "bins: begins at"},
	{FOREST, 0, ENTRY + 64 + 16, 8, UINT64_MAX, false, "schema: has 1844"},
	{FOREST, 0, ENTRY + 64 + 16, 8, UINT64_MAX - 62, false, "schema: has 1844"},
	/* model */
	{FOREST, MDL_SECTION_MODEL, 0, 1, '7', false, "model: the name"},
	{FOREST, MDL_SECTION_MODEL, 0, 1, 0, false, "model: the name"},
	{FOREST, MDL_SECTION_MODEL, 2, 1, ' ', false, "model: the name"},
	{FOREST, MDL_SECTION_MODEL, 31, 1, 'x', false, "model: the name"},
	{FOREST, MDL_SECTION_MODEL, 32, 4, 0, false, "model: version 0"},
	{FOREST, MDL_SECTION_MODEL, 36, 1, 0, false, "model: kind 0"},
	{FOREST, MDL_SECTION_MODEL, 36, 1, 4, false, "model: kind 4"},
	{FOREST, MDL_SECTION_MODEL, 36, 1, MDL_LINEAR, false, "model: a linear model with trees"},
	{FOREST, MDL_SECTION_MODEL, 36, 1, MDL_BOOSTED, false, "forest: has"},
	{FOREST, MDL_SECTION_MODEL, 37, 1, 4, false, "model: task 4"},
	{FOREST, MDL_SECTION_MODEL, 37, 1, MDL_MULTICLASS, false, "model: 1 outputs"},
	{FOREST, MDL_SECTION_MODEL, 37, 1, MDL_REGRESSION, false, "model: a threshold"},
	{FOREST, MDL_SECTION_MODEL, 38, 1, 3, false, "model: rows 3"},
	{FOREST, MDL_SECTION_MODEL, 38, 1, MDL_WINDOWS, false, "schema: input 0: a closed window"},
	{FOREST, MDL_SECTION_MODEL, 39, 1, 1, false, "model: reserved"},
	{FOREST, MDL_SECTION_MODEL, 40, 4, 0, false, "model: 0 inputs"},
	{FOREST, MDL_SECTION_MODEL, 40, 4, 257, false, "model: 257 inputs"},
	{FOREST, MDL_SECTION_MODEL, 40, 4, 4, false, "schema: has 384 bytes for 4 inputs"},
	{FOREST, MDL_SECTION_MODEL, 44, 4, 0, false, "model: 0 outputs"},
	{FOREST, MDL_SECTION_MODEL, 44, 4, 2, false, "model: 2 outputs"},
	{BOOSTED, MDL_SECTION_MODEL, 44, 4, 65, false, "model: 65 outputs"},
	{BOOSTED, MDL_SECTION_MODEL, 44, 4, 2, false, "model: 2 outputs"},
	{FOREST, MDL_SECTION_MODEL, 48, 4, 0, false, "model: 0 trees"},
	{FOREST, MDL_SECTION_MODEL, 48, 4, 4097, false, "model: 4097 trees"},
	{FOREST, MDL_SECTION_MODEL, 48, 4, 83, false, "model: 82 nodes"},
	{FOREST, MDL_SECTION_MODEL, 52, 4, 1000000000, false, "model: 1000000000 nodes"},
	{FOREST, MDL_SECTION_MODEL, 52, 4, UINT32_MAX, false, "model: 4294967295 nodes"},
	/* as many as there may be, with the leaves of so many */
	{FOREST, MDL_SECTION_MODEL, 52, 8, 4194304 | 2097154ull << 32, false,
		"forest: has 676 bytes"},
	{FOREST, MDL_SECTION_MODEL, 56, 4, 42, false, "model: 42 leaves of 82 nodes"},
	{FOREST, MDL_SECTION_MODEL, 56, 4, 0x80000000 + 43, false, "model: 2147483691 leaves"},
	{FOREST, MDL_SECTION_MODEL, 60, 4, 0, false, "model: 0 golden rows"},
	{FOREST, MDL_SECTION_MODEL, 60, 4, 4097, false, "model: 4097 golden rows"},
	{FOREST, MDL_SECTION_MODEL, 60, 4, 7, false, "golden: has"},
	{FOREST, MDL_SECTION_MODEL, 64, 8, F64_NAN, false, "model: the threshold"},
	{FOREST, MDL_SECTION_MODEL, 64, 8, 0x3ff0000000000001, false, "model: the threshold"},
	{FOREST, MDL_SECTION_MODEL, 127, 1, 1, false, "model: reserved"},
	{LINEAR, MDL_SECTION_MODEL, 48, 4, 1, false, "model: a linear model with trees"},
	{LINEAR, MDL_SECTION_MODEL, 36, 1, MDL_FOREST, false, "model: 0 trees"},
	/* schema */
	{FOREST, MDL_SECTION_SCHEMA, 95, 1, 'x', false, "schema: input 0: the expression is not"},
	{FOREST, MDL_SECTION_SCHEMA, 0, 1, 0, false, "schema: input 0: the expression is not"},
	{FOREST, MDL_SECTION_SCHEMA, 0, 1, ' ', false, "schema: input 0: not an expression"},
	{FOREST, MDL_SECTION_SCHEMA, 0, 1, 0xff, false, "schema: input 0: not an expression"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 9, 1, 'x', false,
		"schema: input 1: not an expression"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT, 8, '0' << 8 | 'f', false, "schema: input 1: "},
	{FOREST, MDL_SECTION_SCHEMA, 96, 8, 1, false, "schema: input 0: the window's size"},
	{FOREST, MDL_SECTION_SCHEMA, 104, 8, 1, false, "schema: input 0: the window's slide"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 96, 8, 1, false, "schema: input 1: the window's size"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 104, 8, 0, false,
		"schema: input 1: the window's slide"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 104, 8, 7000000001, false,
		"schema: input 1: the window's slide"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 104, 8, 600000000000, false,
		"schema: input 1: the window's slide"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 104, 8, UINT64_MAX, false,
		"schema: input 1: the window's slide"},
	{FOREST, MDL_SECTION_SCHEMA, 112, 4, 0x80000000, false,
		"schema: input 0: an imputed value"},
	{FOREST, MDL_SECTION_SCHEMA, INPUT + 112, 4, F32_NAN, false,
		"schema: input 1: the imputed"},
	{FOREST, MDL_SECTION_SCHEMA, 116, 4, 0, false, "schema: input 0: what a missing"},
	{FOREST, MDL_SECTION_SCHEMA, 116, 4, 4, false, "schema: input 0: what a missing"},
	{LINEAR, MDL_SECTION_SCHEMA, 116, 4, 3, false, "schema: input 0: a linear model"},
	{LINEAR, MDL_SECTION_SCHEMA, 120, 4, 1, false, "schema: input 0: 1 bins"},
	{FOREST, MDL_SECTION_SCHEMA, 120, 4, 65535, false, "schema: input 0: 65535 bins"},
	{FOREST, MDL_SECTION_SCHEMA, 120, 4, UINT32_MAX, false, "schema: input 0: 4294967295 bins"},
	{FOREST, MDL_SECTION_SCHEMA, 120, 4, 65534, false, "bins: has"},
	{FOREST, MDL_SECTION_SCHEMA, 120, 4, 0, false, "bins: has"},
	{FOREST, MDL_SECTION_SCHEMA, 124, 4, 1, false, "schema: input 0: reserved"},
	{WINDOWS, MDL_SECTION_SCHEMA, INPUT + 104, 8, 300000000000, false,
		"schema: input 1: of another"},
	/* bins */
	{FOREST, MDL_SECTION_BINS, 0, 4, F32_NAN, false,
		"bins: threshold 0 of input 0 is not finite"},
	{FOREST, MDL_SECTION_BINS, 4, 4, F32_INF, false,
		"bins: threshold 1 of input 0 is not finite"},
	{FOREST, MDL_SECTION_BINS, 4, 4, 0xff7fffff, false,
		"bins: threshold 1 of input 0 is not above"},
	/* forest */
	{FOREST, MDL_SECTION_FOREST, 0, 4, 1, false, "forest: tree 0 does not begin"},
	{FOREST, MDL_SECTION_FOREST, 4, 4, 0, false, "forest: tree 0 has no nodes"},
	{FOREST, MDL_SECTION_FOREST, 4, 4, UINT32_MAX, false, "forest: tree 1 has no nodes"},
	{FOREST, MDL_SECTION_FOREST, 4, 4, 26, false,
		"forest: node 24 of tree 0: its child is not in"},
	{FOREST, MDL_SECTION_FOREST, 4, 4, 28, false, "forest: node 27 of tree 0: has no parent"},
	{FOREST, MDL_SECTION_FOREST, 16, 4, 83, false, "forest: its trees have 83 nodes"},
	{FOREST, MDL_SECTION_FOREST, 16, 4, UINT32_MAX, false, "forest: its trees have 4294967295"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8, 2, 3, false,
		"forest: node 2 of tree 0: no such input"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8, 2, 0x7fff, false,
		"forest: node 2 of tree 0: no such input"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 2, 2, 6, false,
		"forest: node 2 of tree 0: no such thre"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 2, 2, 65534, false,
		"forest: node 2 of tree 0: no such thre"},
	{FOREST, MDL_SECTION_FOREST, NODES, 4, 0x8000, false,
		"forest: node 0 of tree 0: says where"},
	{FOREST, MDL_SECTION_FOREST, NODES, 4, 0x8001, false,
		"forest: node 0 of tree 0: says where"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 4, 4, 1, false,
		"forest: node 2 of tree 0: its child is not gr"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 4, 4, 2, false,
		"forest: node 2 of tree 0: its child is not gr"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 4, 4, 5, false,
		"forest: node 3 of tree 0: has no parent"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 4, 4, 26, false,
		"forest: node 2 of tree 0: its child is not in"},
	{FOREST, MDL_SECTION_FOREST, NODES + 2 * 8 + 4, 4, UINT32_MAX, false,
		"forest: node 2 of tree 0: its child is not in"},
	{FOREST, MDL_SECTION_FOREST, NODES + 8, 8, 3ull << 32, false,
		"forest: node 2 of tree 0: its child has another"},
	{FOREST, MDL_SECTION_FOREST, NODES + 8, 8, 4ull << 32, false,
		"forest: node 2 of tree 0: its child has another"},
	{FOREST, MDL_SECTION_FOREST, NODES + 8, 2, 1, false,
		"forest: node 1 of tree 0: a leaf with"},
	{FOREST, MDL_SECTION_FOREST, NODES + 8 + 4, 4, 2, false,
		"forest: node 1 of tree 0: a leaf with"},
	{FOREST, MDL_SECTION_FOREST, NODES + 81 * 8, 8, 0, false,
		"forest: node 0 of tree 3: its child"},
	{BOOSTED, MDL_SECTION_FOREST, 20, 4, 3, false, "forest: tree 0 adds to output 3"},
	{BOOSTED, MDL_SECTION_FOREST, 32, 4, UINT32_MAX, false, "forest: tree 3 adds to output"},
	{BOOSTED, MDL_SECTION_FOREST, 20, 4, 1, false, "golden: row"},
	/* leaves */
	{FOREST, MDL_SECTION_LEAVES, 0, 4, 0, false, "leaves: node 0 is leaf"},
	{FOREST, MDL_SECTION_LEAVES, 4, 4, 1, false, "leaves: node 1 is leaf 0, not 1"},
	{FOREST, MDL_SECTION_LEAVES, 4, 4, UINT32_MAX, false, "leaves: node 1 is leaf 0"},
	{FOREST, MDL_SECTION_LEAVES, 81 * 4, 4, 43, false, "leaves: node 81 is leaf 42, not 43"},
	{FOREST, MDL_SECTION_LEAVES, 500, 4, 1, false, "leaves: its padding"},
	{FOREST, MDL_SECTION_LEAVES, 504, 8, F64_NAN, false,
		"leaves: value 0 of leaf 0 is not finite"},
	{FOREST, MDL_SECTION_LEAVES, 512, 8, F64_INF, false,
		"leaves: value 0 of leaf 1 is not finite"},
	/* linear */
	{LINEAR, MDL_SECTION_LINEAR, 8, 8, F64_NAN, false, "linear: weight 1 is not finite"},
	{LINEAR, MDL_SECTION_LINEAR, 24, 8, F64_INF, false, "linear: bias 0 is not finite"},
	{LINEAR, MDL_SECTION_LINEAR, 24, 8, 0, false, "golden: row"},
	/* output */
	{FOREST, MDL_SECTION_OUTPUT, 0, 1, MDL_SIGMOID, false, "output: link 1"},
	{LINEAR, MDL_SECTION_OUTPUT, 0, 1, MDL_IDENTITY, false, "output: link 0"},
	{BOOSTED, MDL_SECTION_OUTPUT, 0, 1, 3, false, "output: link 3"},
	{FOREST, MDL_SECTION_OUTPUT, 2, 1, 1, false, "output: reserved"},
	{FOREST, MDL_SECTION_OUTPUT, 4, 4, 1, false, "output: 1 classes"},
	{FOREST, MDL_SECTION_OUTPUT, 8, 1, 'C', false, "output: a unit"},
	{WINDOWS, MDL_SECTION_OUTPUT, 8, 1, 7, false, "output: the unit"},
	{WINDOWS, MDL_SECTION_OUTPUT, 23, 1, 'C', false, "output: the unit"},
	{FOREST, MDL_SECTION_OUTPUT, 24, 8, 1, false, "output: an initial prediction"},
	{LINEAR, MDL_SECTION_OUTPUT, 24, 8, 0x8000000000000000, false,
		"output: an initial prediction"},
	{BOOSTED, MDL_SECTION_OUTPUT, 32, 8, F64_NAN, false, "output: initial prediction 1"},
	{FOREST, MDL_SECTION_OUTPUT, 32, 1, 0, false, "output: label 0"},
	{FOREST, MDL_SECTION_OUTPUT, 32, 1, 0xc3, false, "output: label 0"},
	{FOREST, MDL_SECTION_OUTPUT, 63, 1, 'x', false, "output: label 0"},
	{FOREST, MDL_SECTION_OUTPUT, 64, 8, 0x006c616d726f6eull, false, "output: labels 0 and 1"},
	/* texts */
	{FOREST, MDL_SECTION_METRICS, 0, 1, '[', false, "metrics: not a JSON object"},
	{FOREST, MDL_SECTION_METRICS, 5, 1, 0, false, "metrics: not a JSON object"},
	{FOREST, MDL_SECTION_METRICS, 5, 1, 0x80, false, "metrics: not a JSON object"},
	{LINEAR, MDL_SECTION_PROVENANCE, 1, 1, ' ', false, "provenance: not a JSON object"},
	/* golden: 6 rows of 3 inputs, 4 leaves, 1 output; row 1 is whole */
	{FOREST, MDL_SECTION_GOLDEN, 12, 4, F32_INF, false, "golden: row 1: input 0 is infinite"},
	{FOREST, MDL_SECTION_GOLDEN, 12, 4, F32_NAN, false, "golden: row 1, engine plain: leaf -1"},
	{FOREST, MDL_SECTION_GOLDEN, 72 + 16, 4, 2, false, "golden: row 1, engine plain: leaf"},
	{FOREST, MDL_SECTION_GOLDEN, 72 + 16, 4, UINT32_MAX, false,
		"golden: row 1, engine plain: leaf"},
	{FOREST, MDL_SECTION_GOLDEN, 72 + 96 + 8, 8, 1, true,
		"golden: row 1, engine plain: output 0"},
	{FOREST, MDL_SECTION_GOLDEN, 72 + 96 + 8, 8, F64_NAN, false,
		"golden: row 1, engine plain: output 0"},
};

static void tell(const struct lie *lie, char why[MDL_WHY_BYTES])
{
	struct build b;
	uint8_t *bytes, *at;
	uint64_t value = 0;
	size_t n;

	build_model(&b, &bases[lie->base]);
	if (lie->section) {
		at = b.sections[lie->section].at + lie->at;
		cr_assert_leq(lie->at + lie->width, b.sections[lie->section].bytes);
		memcpy(&value, at, lie->width);
		value = lie->flip ? value ^ lie->value : lie->value;
		memcpy(at, &value, lie->width);
	}
	bytes = build_pack(&b, &n);
	if (!lie->section) {
		memcpy(bytes + lie->at, &lie->value, lie->width);
		build_rehash(bytes, n);
	}
	cr_expect_eq(verdict(bytes, n, why), -EBADMSG, "%s", lie->why);
	free(bytes);
	build_free(&b);
}

Test(bundle, lies_are_found_where_they_are)
{
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char why[MDL_WHY_BYTES];

		tell(&lies[i], why);
		cr_expect_eq(strncmp(why, lies[i].why, strlen(lies[i].why)), 0,
			"wanted \"%s\", got \"%s\"", lies[i].why, why);
	}
}

Test(bundle, a_newer_format_is_told_from_damage)
{
	char why[MDL_WHY_BYTES];
	struct build b;
	uint8_t *bytes;
	size_t n;

	build_model(&b, &bases[FOREST]);
	bytes = build_pack(&b, &n);
	bytes[8] = 2;
	cr_expect_eq(verdict(bytes, n, why), -EPROTO);
	cr_expect_str_eq(why, "header: format version 2, this program reads 1");
	free(bytes);
	build_free(&b);
}

Test(bundle, gaps_are_zero)
{
	char why[MDL_WHY_BYTES];
	struct build b;
	uint8_t *bytes;
	size_t n;

	build_model(&b, &bases[FOREST]);
	bytes = build_pack(&b, &n);
	cr_assert(b.sections[MDL_SECTION_PROVENANCE].bytes % 64);
	bytes[n - 1] = 1; /* no hash covers it */
	cr_expect_eq(verdict(bytes, n, why), -EBADMSG);
	cr_expect_str_eq(why, "provenance: the gap behind it is not zero");
	free(bytes);
	build_free(&b);
}

/* A threshold that no node uses is one that the writer lost a node of. */
Test(bundle, every_threshold_is_used)
{
	struct build_section *bins;
	char why[MDL_WHY_BYTES];
	const float more = 1e9f;
	struct build b;
	uint32_t count;

	build_model(&b, &bases[FOREST]);
	bins = &b.sections[MDL_SECTION_BINS];
	bins->at = realloc(bins->at, bins->bytes + sizeof(more));
	memcpy(bins->at + bins->bytes, &more, sizeof(more));
	bins->bytes += sizeof(more);
	count = b.inputs[2].bin_count + 1;
	memcpy(b.sections[MDL_SECTION_SCHEMA].at + 2 * INPUT + 120, &count, sizeof(count));
	cr_expect_eq(packed_verdict(&b, why), -EBADMSG);
	cr_expect(strstr(why, "of input 2 is used by no node"), "%s", why);
	build_free(&b);
}

Test(bundle, paths_have_at_most_64_steps)
{
	for (uint32_t steps = 64; steps <= 65; steps++) {
		struct build_spec spec = bases[FOREST];
		char why[MDL_WHY_BYTES];
		struct build b;

		spec.splits = steps;
		build_model(&b, &spec);
		cr_expect_eq(packed_verdict(&b, why), steps == 64 ? 0 : -EBADMSG, "%s", why);
		cr_expect(steps == 64 || strstr(why, "longer than 64"), "%s", why);
		build_free(&b);
	}
}

Test(bundle, windows_have_an_input_that_says_which)
{
	char why[MDL_WHY_BYTES];
	struct build_spec spec = bases[WINDOWS];
	struct mdl_file_input *in;
	struct build b;

	spec.inputs = 1;
	build_model(&b, &spec);
	in = (struct mdl_file_input *)b.sections[MDL_SECTION_SCHEMA].at;
	memset(in->text, 0, sizeof(in->text));
	strcpy(in->text, "hour()");
	in->size_ns = in->slide_ns = 0;
	cr_expect_eq(packed_verdict(&b, why), -EBADMSG);
	cr_expect_str_eq(why, "schema: no input says which windows these are");
	build_free(&b);
}

Test(bundle, no_two_inputs_are_alike)
{
	char why[MDL_WHY_BYTES];
	struct mdl_file_input *in;
	struct build b;

	build_model(&b, &bases[LINEAR]);
	in = (struct mdl_file_input *)b.sections[MDL_SECTION_SCHEMA].at;
	in[2] = in[0];
	cr_expect_eq(packed_verdict(&b, why), -EBADMSG);
	cr_expect_str_eq(why, "schema: input 2: the same as one before");
	build_free(&b);
}

/* ---- files and reasons ---- */

Test(bundle, a_file_that_cannot_be_read_says_so)
{
	char why[MDL_WHY_BYTES];
	struct mdl_bundle *m = (struct mdl_bundle *)why;

	cr_expect_eq(mdl_bundle_load("/nowhere/m.psm", &m, why, sizeof(why)), -ENOENT);
	cr_expect_null(m);
	cr_expect_str_eq(why, "/nowhere/m.psm: No such file or directory");
	cr_expect_eq(mdl_bundle_load("/", &m, why, sizeof(why)), -EISDIR);
	cr_expect_eq(mdl_bundle_load("/dev/null", &m, why, sizeof(why)), -EINVAL);
}

Test(bundle, a_refused_file_is_named)
{
	char path[] = "/tmp/penstock-bundle-XXXXXX", why[MDL_WHY_BYTES], want[MDL_WHY_BYTES];
	struct mdl_bundle *m;
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "PENSTKMB", 8), 8);
	cr_expect_eq(mdl_bundle_load(path, &m, why, sizeof(why)), -EBADMSG);
	snprintf(want, sizeof(want), "%s: header: the file has 8 bytes, the header alone 64", path);
	cr_expect_str_eq(why, want);
	cr_assert_eq(ftruncate(fd, MDL_FILE_BYTES_MAX + 64), 0);
	cr_expect_eq(mdl_bundle_load(path, &m, why, sizeof(why)), -EBADMSG);
	cr_expect(strstr(why, "more than 64 MiB"), "%s", why);
	close(fd);
	unlink(path);
}

/* Whoever asks has the room that it has. */
Test(bundle, a_reason_is_cut_to_its_room)
{
	for (size_t size = 0; size < 64; size++) {
		char *why = malloc(size + 1);
		struct mdl_bundle *m;

		why[size] = 'x';
		cr_expect_eq(mdl_bundle_parse("", 0, &m, why, size), -EBADMSG);
		cr_expect_eq(why[size], 'x');
		cr_expect(!size || strlen(why) < size);
		cr_expect_eq(mdl_bundle_load("/nowhere/m.psm", &m, why, size), -ENOENT);
		cr_expect_eq(why[size], 'x');
		cr_expect(!size || strlen(why) < size);
		free(why);
	}
}

Test(bundle, text_is_printable_utf8)
{
	static const struct {
		const char *text;
		bool printable, object;
	} t[] = {
		{"", true, false},
		{"plain", true, false},
		{"d\xc3\xbcnn \xe2\x82\xac \xf0\x9f\x98\x80", true, false},
		{"{\"\xf0\x9f\x98\x80\": 1}", true, true},
		{" \n{\t}\r\n", false, true},
		{"{", true, false},
		{"{\x01}", false, false},
		{"{\x7f}", false, true},
		{"{\xc2\x85}", false, true},
		{"{\xc0\x80}", false, false},
		{"{\xed\xa0\x80}", false, false},
		{"{\xf4\x90\x80\x80}", false, false},
		{"{\xf8\x88\x80\x80\x80}", false, false},
		{"{}\xe2\x82", false, false},
		{"{\xe0\x80\x80}", false, false},
		{"\x80", false, false},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		cr_expect_eq(
			mdl_text_printable(t[i].text, strlen(t[i].text)), t[i].printable, "%zu", i);
		cr_expect_eq(mdl_text_object(t[i].text, strlen(t[i].text)), t[i].object, "%zu", i);
	}
}
