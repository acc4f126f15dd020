/*
 * /metrics against the rules of the text format 0.0.4, as `promtool check metrics` knows them: if
 * one failed, Prometheus would refuse the whole page.
 */
#include "control/api/metrics.h"

#include <criterion/criterion.h>
#include <ctype.h>

#include "control/config/models.h"
#include "tests/unit/view_world.h"

enum { LINES_MAX = 1000 };

struct page {
	struct view_world *world;
	char *text;
	char *lines[LINES_MAX];
	size_t count;
};

static void read_page(struct page *p)
{
	size_t bytes;
	FILE *out = open_memstream(&p->text, &bytes);

	ctl_metrics_write(&p->world->view, out);
	fclose(out);
	cr_assert(bytes && p->text[bytes - 1] == '\n', "the last line ends");
	for (char *line = strtok(p->text, "\n"); line; line = strtok(NULL, "\n")) {
		cr_assert_lt(p->count, LINES_MAX);
		p->lines[p->count++] = line;
	}
}

static void free_page(struct page *p)
{
	free(p->text);
	free_world(p->world);
}

static size_t name_length(const char *line)
{
	size_t n = 0;

	cr_assert(isalpha((unsigned char)line[0]), "%s", line);
	while (isalnum((unsigned char)line[n]) || line[n] == '_')
		n++;
	return n;
}

/* {a="b",c="d"}, with escapes; returns behind it. */
static const char *check_labels(const char *at, const char *line)
{
	if (*at != '{')
		return at;
	do {
		at++;
		at += name_length(at);
		cr_assert_eq(*at, '=', "%s", line);
		cr_assert_eq(*++at, '"', "%s", line);
		for (at++; *at != '"'; at++) {
			cr_assert(*at, "%s", line);
			if (*at == '\\') {
				at++;
				cr_assert(strchr("\\\"n", *at), "%s", line);
			}
		}
		at++;
	} while (*at == ',');
	cr_assert_eq(*at, '}', "%s", line);
	return at + 1;
}

static void check_sample(const char *line)
{
	const char *at = check_labels(line + name_length(line), line);
	char *end;

	cr_assert_eq(*at, ' ', "%s", line);
	strtod(at + 1, &end);
	cr_assert(end != at + 1 && !*end, "%s", line);
}

Test(metrics, every_line_has_the_form)
{
	struct page p = {.world = make_world(2)};

	strcpy(p.world->output_config.name, "a\"b\\c");
	read_page(&p);
	for (size_t i = 0; i < p.count; i++)
		if (p.lines[i][0] != '#')
			check_sample(p.lines[i]);
	free_page(&p);
}

/* One stream with one model, whose numbers each worker has: what control/api looks at of them. */
struct models {
	struct ctl_models loaded;
	struct dp_model model;
	struct dp_stream stream;
	struct dp_model_stats stats[2];
	struct dp_worker_stream per_stream[2];
};

static struct models *add_models(struct view_world *w)
{
	struct models *m = aligned_alloc(64, (sizeof(*m) + 63) / 64 * 64);

	memset(m, 0, sizeof(*m));
	m->loaded.bundle_count = 1;
	strcpy(m->stream.name, "climate");
	strcpy(m->model.name, "anomaly");
	m->stream.models = &m->model;
	m->stream.model_count = 1;
	w->config.streams = (struct dp_stream_set){.count = 1, .streams = &m->stream};
	w->config.models = &m->loaded;
	for (uint32_t i = 0; i < 2; i++) {
		m->per_stream[i].scorer.stats = &m->stats[i];
		w->workers[i].per_stream = &m->per_stream[i];
	}
	return m;
}

/* Is `line` of that family, of a histogram one of its three kinds of sample? */
static bool of_family(const char *line, const char *family, bool histogram)
{
	static const char *const parts[] = {"_bucket", "_sum", "_count"};
	size_t n = strlen(family), all = name_length(line);

	if (strncmp(line, family, n) != 0)
		return false;
	for (size_t i = 0; histogram && i < sizeof(parts) / sizeof(parts[0]); i++)
		if (all == n + strlen(parts[i]) && !strncmp(line + n, parts[i], all - n))
			return true;
	return !histogram && all == n;
}

/* HELP, TYPE, then all samples of that name together; counters end in _total, gauges do not. */
Test(metrics, families_are_whole)
{
	struct page p = {.world = make_world(2)};
	struct models *models = add_models(p.world);
	char family[96] = "", seen[LINES_MAX * 40] = "", key[100];
	bool counter = false, histogram = false;

	read_page(&p);
	for (size_t i = 0; i < p.count; i++) {
		const char *line = p.lines[i];
		size_t n;

		if (strncmp(line, "# HELP ", 7) == 0) {
			n = name_length(line + 7);
			snprintf(family, sizeof(family), "%.*s", (int)n, line + 7);
			snprintf(key, sizeof(key), " %s ", family);
			cr_assert_null(strstr(seen, key), "%s appears twice", family);
			strcat(seen, key);
			cr_assert_gt(strlen(line), 8 + n, "no help: %s", line);
			cr_assert_lt(i + 2, p.count);
			line = p.lines[++i];
			cr_assert_eq(strncmp(line, "# TYPE ", 7), 0, "%s", line);
			cr_assert_eq(strncmp(line + 7, family, n), 0, "%s", line);
			counter = strcmp(line + 7 + n, " counter") == 0;
			histogram = strcmp(line + 7 + n, " histogram") == 0;
			cr_assert(counter || histogram || strcmp(line + 7 + n, " gauge") == 0, "%s",
				line);
			cr_assert_eq(counter, n > 6 && strcmp(family + n - 6, "_total") == 0, "%s",
				line);
			continue;
		}
		cr_assert(of_family(line, family, histogram), "%s outside of its family", line);
	}
	free_page(&p);
	free(models);
}

Test(metrics, no_sample_twice)
{
	struct page p = {.world = make_world(3)};

	read_page(&p);
	for (size_t i = 0; i < p.count; i++) {
		size_t n = (size_t)(strrchr(p.lines[i], ' ') - p.lines[i]);

		for (size_t k = 0; k < i && p.lines[i][0] != '#'; k++)
			cr_assert(strncmp(p.lines[i], p.lines[k], n + 1) != 0, "%s twice",
				p.lines[i]);
	}
	free_page(&p);
}

/* Each counter carries a number of its own here; all of them must be on the page, summed up. */
Test(metrics, every_counter_is_there)
{
	struct page p = {.world = make_world(2)};

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		set_count(p.world, 0, (enum dp_counter)i, 7000000 + i);
		set_count(p.world, 1, (enum dp_counter)i, 70000000);
	}
	read_page(&p);
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		size_t found = 0;

		for (size_t k = 0; k < p.count; k++)
			if (p.lines[k][0] != '#' &&
				strtoull(strrchr(p.lines[k], ' '), NULL, 10) == 77000000 + i)
				found++;
		cr_assert_eq(found, 1, "%s: %zu times", dp_counter_name((enum dp_counter)i), found);
	}
	free_page(&p);
}

static uint64_t value_of(const struct page *p, const char *sample)
{
	for (size_t i = 0; i < p->count; i++)
		if (strncmp(p->lines[i], sample, strlen(sample)) == 0)
			return strtoull(strrchr(p->lines[i], ' '), NULL, 10);
	cr_assert(false, "%s is not there", sample);
	return 0;
}

/* What Prometheus makes quantiles of: counts up to a bound, over all workers. */
Test(metrics, how_long_batches_took_is_a_histogram)
{
#define OF "{stream=\"climate\",model=\"anomaly\""
	struct page p = {.world = make_world(2)};
	struct models *m = add_models(p.world);
	uint64_t before = 0;

	m->stats[0].batches[3] = 1; /* below the first bound */
	m->stats[0].batches[10] = 20;
	m->stats[1].batches[10] = 2;
	m->stats[1].batches[12] = 300;
	m->stats[1].batches[DP_CYCLE_BUCKETS - 1] = 4000;
	m->stats[0].cycles = 123;
	m->stats[1].cycles = 1000;
	read_page(&p);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_bucket" OF ",le=\"255\"}"), 1);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_bucket" OF ",le=\"1023\"}"), 1);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_bucket" OF ",le=\"2047\"}"), 23);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_bucket" OF ",le=\"8191\"}"), 323);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_bucket" OF ",le=\"+Inf\"}"), 4323);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_count" OF "}"), 4323);
	cr_expect_eq(value_of(&p, "penstock_model_batch_cycles_sum" OF "}"), 1123);
	for (size_t i = 0; i < p.count; i++) {
		uint64_t now;

		if (strncmp(p.lines[i], "penstock_model_batch_cycles_bucket", 34) != 0)
			continue;
		now = strtoull(strrchr(p.lines[i], ' '), NULL, 10);
		cr_expect_geq(now, before, "%s", p.lines[i]);
		before = now;
	}
	free_page(&p);
	free(m);
#undef OF
}
