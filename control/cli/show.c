/* Numbers for people; the verbs status and stop. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "control/cli/cli.h"
#include "control/config/scalar.h"

int cli_print_json(const json_t *json)
{
	/* said by whoever looks at stdout in the end */
	return json_dumpf(json, stdout, JSON_INDENT(2) | CTL_REALS) || putchar('\n') == EOF
		       ? CLI_IO
		       : CLI_OK;
}

const char *cli_number(int64_t n, char text[CLI_NUMBER_BYTES])
{
	char digits[CLI_NUMBER_BYTES];
	int count = snprintf(digits, sizeof(digits), "%lld", (long long)(n < 0 ? -n : n)), at = 0;

	if (n < 0)
		text[at++] = '-';
	for (int i = 0; i < count; i++) {
		if (i && (count - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = 0;
	return text;
}

const char *cli_size(double bytes, char text[CLI_NUMBER_BYTES])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	unsigned unit = 0;

	while (bytes >= 1024 && unit < 5) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, CLI_NUMBER_BYTES, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return text;
}

const char *cli_span(double seconds, char text[CLI_NUMBER_BYTES])
{
	long s = lround(seconds), days = s / 86400;

	if (days)
		snprintf(text, CLI_NUMBER_BYTES, "%ldd %02ld:%02ld:%02ld", days, s / 3600 % 24,
			s / 60 % 60, s % 60);
	else if (s >= 3600)
		snprintf(text, CLI_NUMBER_BYTES, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(text, CLI_NUMBER_BYTES, "%02ld:%02ld", s / 60, s % 60);
	return text;
}

int64_t cli_int(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

double cli_real(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

const char *cli_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

/* ---- status ---- */

/* [1, 2, 3] as "1,2,3" */
static const char *list_text(const json_t *list, char *text, size_t size)
{
	const json_t *item;
	size_t i, at = 0;

	*text = 0;
	json_array_foreach(list, i, item)
	{
		if (at < size)
			at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? "," : "",
				(long long)json_integer_value(item));
	}
	return text;
}

static void show_workers(const json_t *workers)
{
	char a[CLI_NUMBER_BYTES], b[CLI_NUMBER_BYTES], c[CLI_NUMBER_BYTES], d[CLI_NUMBER_BYTES];
	char cores[64];
	const json_t *w;
	size_t i;

	printf("\n%-7s %5s %-9s %14s %14s %12s %9s\n", "worker", "core", "pinned to", "turns",
		"sleeps", "sensors", "log used");
	json_array_foreach(workers, i, w)
	{
		const json_t *log = json_object_get(w, "log");

		snprintf(d, sizeof(d), "%.1f%%", 100 * cli_real(log, "fill"));
		printf("%-7lld %5lld %-9s %14s %14s %12s %9s\n", (long long)cli_int(w, "index"),
			(long long)cli_int(w, "core"),
			list_text(json_object_get(w, "affinity"), cores, sizeof(cores)),
			cli_number(cli_int(w, "turns"), a), cli_number(cli_int(w, "sleeps"), b),
			cli_number(cli_int(w, "sensors"), c), d);
	}
}

/* Share of batches by size, over all workers: how well batching works. */
static void show_batches(const json_t *workers)
{
	int64_t counts[16] = {0}, total = 0;
	const json_t *w, *bucket;
	size_t i, k;

	json_array_foreach(workers, i, w)
	{
		json_array_foreach(json_object_get(w, "batches"), k, bucket)
		{
			if (k < 16)
				counts[k] += cli_int(bucket, "count");
			total += cli_int(bucket, "count");
		}
	}
	if (!total)
		return;
	printf("\nreadings in a batch");
	json_array_foreach(json_object_get(json_array_get(workers, 0), "batches"), k, bucket)
	{
		int64_t from = cli_int(bucket, "from"), to = cli_int(bucket, "to");

		if (k >= 16 || !counts[k])
			continue;
		if (from == to)
			printf("  %lld: %.1f%%", (long long)from,
				100.0 * (double)counts[k] / (double)total);
		else
			printf("  %lld-%lld: %.1f%%", (long long)from, (long long)to,
				100.0 * (double)counts[k] / (double)total);
	}
	putchar('\n');
}

static void show_journal(const json_t *j)
{
	char a[CLI_NUMBER_BYTES], b[CLI_NUMBER_BYTES], c[CLI_NUMBER_BYTES];
	const json_t *segments = json_object_get(j, "segments");
	const char *dir = cli_text(j, "dir"), *error = cli_text(j, "error");

	printf("\njournal  %s%s%s, sync %s, %s\n", cli_text(j, "state"), *error ? ": " : "", error,
		cli_text(j, "sync"), *dir ? dir : "in memory");
	printf("         %s records in %s of segments %lld to %lld; %s a day at the mean rate of "
	       "this run\n",
		cli_number(cli_int(j, "records"), a), cli_size(cli_real(segments, "bytes"), b),
		(long long)cli_int(segments, "oldest"), (long long)cli_int(segments, "newest"),
		cli_size(cli_real(j, "bytes_per_day"), c));
	printf("         %s syncs, last %.0f us, longest %.0f us, %lld failures\n",
		cli_number(cli_int(j, "syncs"), a), cli_real(j, "sync_us_last"),
		cli_real(j, "sync_us_max"), (long long)cli_int(j, "failures"));
}

static void show_outputs(const json_t *outputs)
{
	char a[CLI_NUMBER_BYTES], b[CLI_NUMBER_BYTES], c[CLI_NUMBER_BYTES];
	const json_t *o;
	size_t i;

	if (json_array_size(outputs))
		printf("\n%-16s %-7s %-8s %14s %12s %9s %10s\n", "output", "type", "state",
			"delivered", "backlog", "oldest", "resends");
	json_array_foreach(outputs, i, o)
	{
		const char *trouble = cli_text(o, "trouble");

		printf("%-16s %-7s %-8s %14s %12s %8.1fs %10s\n", cli_text(o, "name"),
			cli_text(o, "type"), cli_text(o, "state"),
			cli_number(cli_int(o, "delivered"), a),
			cli_number(cli_int(o, "backlog"), b), cli_real(o, "oldest_age_s"),
			cli_number(cli_int(o, "resends"), c));
		if (*trouble)
			printf("                 %s\n", trouble);
	}
}

static void show_models(const json_t *models)
{
	const json_t *m;
	size_t i;

	if (json_array_size(models))
		printf("\n%-16s %-16s %7s %14s %12s %9s %9s\n", "model", "of", "version", "scored",
			"no score", "us each", "batch p99");
	json_array_foreach(models, i, m)
	{
		char of[2 * 33 + 2], rows[CLI_NUMBER_BYTES], missing[CLI_NUMBER_BYTES];

		snprintf(of, sizeof(of), "%s%s%s", cli_text(m, "stream"),
			*cli_text(m, "window") ? " " : "", cli_text(m, "window"));
		cli_number(cli_int(m, "rows"), rows);
		cli_number(cli_int(m, "missing"), missing);
		printf("%-16s %-16s %7lld %14s %12s %9.2f %7.0fus\n", cli_text(m, "name"), of,
			(long long)cli_int(m, "version"), rows, missing, cli_real(m, "us_each"),
			cli_real(json_object_get(m, "batch_us"), "p99"));
	}
}

static void show_inputs(const json_t *inputs)
{
	const json_t *in;
	size_t i;

	if (json_array_size(inputs))
		printf("\n%-16s %-7s %-7s %-24s %6s %s\n", "input", "type", "format", "listen",
			"port", "stream");
	json_array_foreach(inputs, i, in)
	{
		const char *stream = cli_text(in, "stream");

		printf("%-16s %-7s %-7s %-24s %6lld %s\n", cli_text(in, "name"),
			cli_text(in, "type"), cli_text(in, "format"), cli_text(in, "listen"),
			(long long)cli_int(in, "port"), *stream ? stream : "as datagrams say");
	}
}

int cli_status(const struct cli *cli)
{
	char span[CLI_NUMBER_BYTES];
	json_t *s;
	int rc = cli_ask(cli, "GET", "/status", &s);

	if (rc)
		return rc;
	if (cli->json) {
		rc = cli_print_json(s);
		json_decref(s);
		return rc;
	}
	printf("%s  %s for %s, version %s\n", cli_text(s, "name"), cli_text(s, "state"),
		cli_span(cli_real(s, "uptime_s"), span), cli_text(s, "version"));
	printf("appliance %s, epoch %lld, config %s\n", cli_text(s, "appliance"),
		(long long)cli_int(s, "epoch"), cli_text(s, "config"));
	show_workers(json_object_get(s, "workers"));
	show_batches(json_object_get(s, "workers"));
	show_journal(json_object_get(s, "journal"));
	show_outputs(json_object_get(s, "outputs"));
	show_inputs(json_object_get(s, "inputs"));
	show_models(json_object_get(s, "models"));
	json_decref(s);
	return CLI_OK;
}

int cli_stop(const struct cli *cli)
{
	json_t *answer;
	int rc = cli_ask(cli, "POST", "/stop", &answer);

	if (rc)
		return rc;
	if (cli->json)
		rc = cli_print_json(answer);
	else
		puts("stopping: works off what has come, then ends");
	json_decref(answer);
	return rc;
}
