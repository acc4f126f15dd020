/* penstock top: the busiest sensors; penstock tail: records as they come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/cli.h"

/* ---- top ---- */

struct rates {
	json_t *before; /* the sensors of the last look, NULL at first */
	double seconds; /* since then */
};

/* Readings a second since the last look; -1: not known. */
static double rate_of(const struct rates *r, const json_t *sensor)
{
	const json_t *was;
	size_t i;

	json_array_foreach(json_object_get(r->before, "sensors"), i, was)
	{
		if (strcmp(cli_text(was, "id"), cli_text(sensor, "id")) == 0 &&
			strcmp(cli_text(was, "stream"), cli_text(sensor, "stream")) == 0)
			return (double)(cli_int(sensor, "readings") - cli_int(was, "readings")) /
			       r->seconds;
	}
	return -1;
}

/* ["a", "b"] as "a b" */
static void print_words(const json_t *list)
{
	const json_t *word;
	size_t i;

	json_array_foreach(list, i, word)
	{
		printf("%s%s", i ? " " : "", json_string_value(word));
	}
}

static void show_top(const json_t *top, const struct rates *rates)
{
	char a[CLI_NUMBER_BYTES], rate[CLI_NUMBER_BYTES];
	const json_t *s;
	size_t i;

	printf("%s sensors known\n\n", cli_number(cli_int(top, "known"), a));
	printf("%-32s %-12s %6s %14s %10s  %-24s %s\n", "sensor", "stream", "worker", "readings",
		"per s", "last arrival", "alerts");
	json_array_foreach(json_object_get(top, "sensors"), i, s)
	{
		double per_s = rates->before ? rate_of(rates, s) : -1;

		if (per_s < 0)
			strcpy(rate, "-");
		else
			snprintf(rate, sizeof(rate), "%.1f", per_s);
		printf("%-32s %-12s %6lld %14s %10s  %-24s ", cli_text(s, "id"),
			cli_text(s, "stream"), (long long)cli_int(s, "worker"),
			cli_number(cli_int(s, "readings"), a), rate, cli_text(s, "last_arrival"));
		print_words(json_object_get(s, "alerts"));
		putchar('\n');
	}
}

static char *top_path(const struct cli *cli)
{
	char *stream = cli->stream ? cli_escape(cli->stream) : NULL, *path = NULL;
	char *id = cli->sensor ? cli_escape(cli->sensor) : NULL;

	if (asprintf(&path, "/sensors?n=%llu%s%s%s%s",
		    (unsigned long long)(cli->number_given ? cli->number : 10),
		    stream ? "&stream=" : "", stream ? stream : "", id ? "&id=" : "",
		    id ? id : "") < 0)
		path = NULL;
	free(stream);
	free(id);
	return path;
}

int cli_top(const struct cli *cli)
{
	struct rates rates = {.seconds = 1};
	char *path = top_path(cli);
	int rc = CLI_OK;

	do {
		json_t *top;

		if (!path)
			rc = CLI_IO;
		else if (!rates.before)
			rc = cli_ask(cli, "GET", path, &top);
		else
			rc = cli_ask_again(cli, path, &top);
		if (rc)
			break;
		if (!top) {
			fputs("penstock: the daemon stopped\n", stderr);
			break;
		}
		if (cli->json) {
			rc = cli_print_json(top);
		} else {
			if (cli->watch && isatty(STDOUT_FILENO))
				fputs("\033[H\033[2J", stdout);
			show_top(top, &rates);
			if (fflush(stdout))
				rc = CLI_IO;
		}
		if (cli->sensor && !json_array_size(json_object_get(top, "sensors")))
			rc = rc ? rc : CLI_NO;
		json_decref(rates.before);
		rates.before = top;
		if (cli->watch && !rc)
			sleep((unsigned)rates.seconds);
	} while (cli->watch && !rc);
	json_decref(rates.before);
	free(path);
	return rc;
}

/* ---- tail ---- */

/* Lines as they are for --json, else one short line a record. */
struct printer {
	bool json;
	char *line;
	size_t used, size;
};

static const json_t *member(const json_t *record, const char *name)
{
	return json_object_get(record, name);
}

/* {"a": 1, "b": null} as " a=1 b=-" */
static void print_values(const json_t *values)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)values, name, v)
	{
		if (json_is_number(v))
			printf(" %s=%g", name, json_number_value(v));
		else
			printf(" %s=%s", name, json_is_string(v) ? json_string_value(v) : "-");
	}
}

/* What each model says: its class and probability, its value, or that it says nothing. */
static void print_scores(const json_t *scores)
{
	const char *name;
	json_t *s;

	json_object_foreach((json_t *)scores, name, s)
	{
		if (json_object_get(s, "label"))
			printf(" %s=%s(%.3g)", name, cli_text(s, "label"),
				cli_real(s, "probability"));
		else if (json_object_get(s, "value"))
			printf(" %s=%g", name, cli_real(s, "value"));
		else
			printf(" %s=-", name);
	}
}

static void print_record(const char *text, size_t bytes)
{
	json_t *r = json_loadb(text, bytes, 0, NULL);
	const char *kind = cli_text(r, "kind");

	if (!r)
		return;
	printf("%-24s %-7s %-24s %-12s", cli_text(r, "@timestamp"), kind, cli_text(r, "sensor"),
		cli_text(r, "stream"));
	print_values(member(r, "values"));
	if (json_is_object(member(r, "window")))
		printf(" %s count=%lld", cli_text(member(r, "window"), "name"),
			(long long)cli_int(member(r, "window"), "count"));
	print_scores(member(r, "scores"));
	if (json_is_object(member(r, "alert")))
		printf(" %s %s value=%g limit=%g", cli_text(member(r, "alert"), "state"),
			cli_text(member(r, "alert"), "rule"), cli_real(member(r, "alert"), "value"),
			cli_real(member(r, "alert"), "threshold"));
	if (json_is_object(member(r, "gap")))
		printf(" %s count=%lld", cli_text(member(r, "gap"), "reason"),
			(long long)cli_int(member(r, "gap"), "count"));
	if (json_is_object(member(r, "mark")))
		printf(" %s", cli_text(member(r, "mark"), "what"));
	if (json_is_string(member(r, "payload")))
		printf(" %s", cli_text(r, "payload")); /* base64 */
	if (strcmp(kind, "skipped") == 0)
		printf(" %lld records skipped to keep up", (long long)cli_int(r, "records"));
	putchar('\n');
	json_decref(r);
}

/* Heartbeats, which are empty lines, are not shown. */
static bool print_line(const struct printer *p)
{
	if (p->used == 0)
		return true;
	if (!p->json)
		print_record(p->line, p->used);
	else if (fwrite(p->line, 1, p->used, stdout) != p->used || putchar('\n') == EOF)
		return false;
	return true;
}

static bool take(void *arg, const char *bytes, size_t count)
{
	struct printer *p = arg;

	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n') {
			if (!print_line(p))
				return false;
			p->used = 0;
			continue;
		}
		if (p->used == p->size) {
			size_t size = p->size ? 2 * p->size : 4096;
			char *bigger = realloc(p->line, size);

			if (!bigger)
				return false;
			p->line = bigger;
			p->size = size;
		}
		p->line[p->used++] = bytes[i];
	}
	return fflush(stdout) == 0;
}

static char *tail_path(const struct cli *cli)
{
	const char *const names[] = {"sensor", "kind", "stream", "from"};
	const char *const values[] = {cli->sensor, cli->kind, cli->stream, cli->from};
	char *path = NULL;
	size_t bytes;
	FILE *out = open_memstream(&path, &bytes);

	if (!out)
		return NULL;
	fprintf(out, "/tail?follow=%d", !cli->no_follow);
	if (cli->number_given)
		fprintf(out, "&limit=%llu", (unsigned long long)cli->number);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *value = values[i] ? cli_escape(values[i]) : NULL;

		if (value)
			fprintf(out, "&%s=%s", names[i], value);
		free(value);
	}
	fclose(out);
	return path;
}

int cli_tail(const struct cli *cli)
{
	struct printer printer = {.json = cli->json};
	const struct cli_stream stream = {take, &printer};
	char *path = tail_path(cli);
	int rc = path ? cli_follow(cli, path, &stream) : CLI_IO;

	if (rc == CLI_OK && ferror(stdout))
		rc = CLI_IO;
	free(printer.line);
	free(path);
	return rc;
}
