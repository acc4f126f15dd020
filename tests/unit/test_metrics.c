/*
 * /metrics against the rules of the text format 0.0.4, as `promtool check metrics` knows them: if
 * one failed, Prometheus would refuse the whole page.
 */
#include "control/api/metrics.h"

#include <criterion/criterion.h>
#include <ctype.h>

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

/* HELP, TYPE, then all samples of that name together; counters end in _total, gauges do not. */
Test(metrics, families_are_whole)
{
	struct page p = {.world = make_world(2)};
	char family[96] = "", seen[LINES_MAX * 40] = "", key[100];
	bool counter = false;

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
			cr_assert(counter || strcmp(line + 7 + n, " gauge") == 0, "%s", line);
			cr_assert_eq(counter, n > 6 && strcmp(family + n - 6, "_total") == 0, "%s",
				line);
			continue;
		}
		n = name_length(line);
		cr_assert(n == strlen(family) && strncmp(line, family, n) == 0,
			"%s outside of its family", line);
	}
	free_page(&p);
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
