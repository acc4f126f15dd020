/* penstock: verbs, their options, where the daemon is. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/cli.h"
#include "control/config/config.h"

#define SOCKET_DEFAULT "/run/penstock/penstock.sock"
#define SETTLE_S       10.0

enum option_code {
	O_JSON = 256,
	O_SOCKET,
	O_CONFIG,
	O_SENSOR,
	O_KIND,
	O_STREAM,
	O_FROM,
	O_SETTLE,
	O_DELIVERED,
	O_WATCH,
	O_RECORDS,
	O_NO_FOLLOW,
	O_SCHEMA,
	O_REFERENCE,
};

static const struct option longs[] = {
	{"json", no_argument, NULL, O_JSON},
	{"socket", required_argument, NULL, O_SOCKET},
	{"config", required_argument, NULL, O_CONFIG},
	{"sensor", required_argument, NULL, O_SENSOR},
	{"kind", required_argument, NULL, O_KIND},
	{"stream", required_argument, NULL, O_STREAM},
	{"from", required_argument, NULL, O_FROM},
	{"settle", optional_argument, NULL, O_SETTLE},
	{"delivered", no_argument, NULL, O_DELIVERED},
	{"watch", no_argument, NULL, O_WATCH},
	{"records", no_argument, NULL, O_RECORDS},
	{"no-follow", no_argument, NULL, O_NO_FOLLOW},
	{"schema", no_argument, NULL, O_SCHEMA},
	{"reference", no_argument, NULL, O_REFERENCE},
	{"help", no_argument, NULL, 'h'},
	{0},
};

static int version(const struct cli *cli)
{
	if (!cli->json)
		return puts("penstock " PENSTOCK_VERSION) == EOF ? CLI_IO : CLI_OK;
	return puts("{\"version\": \"" PENSTOCK_VERSION "\"}") == EOF ? CLI_IO : CLI_OK;
}

/* Options that every verb takes are not listed. */
static const struct verb {
	const char *name;
	int (*run)(const struct cli *cli);
	bool daemon;	  /* talks to one */
	const char *file; /* names of the one or two arguments without a dash; NULL: takes none */
	int options[8];
	const char *usage, *help;
} verbs[] = {
	{"status", cli_status, true, NULL, {0}, "",
		"What runs, on which cores, how full, how well."},
	{"ledger", cli_ledger, true, NULL, {O_SETTLE, O_DELIVERED},
		"[--settle[=SECONDS]] [--delivered]",
		"Every sum that must close. Exit status 1 when one does not.\n"
		"\n"
		"  --settle[=SECONDS]  waits, 10 s by default, until nothing is in flight between "
		"the\n"
		"                      inputs and the written log; 1 when that does not happen\n"
		"  --delivered         as --settle, and until every output has delivered all"},
	{"top", cli_top, true, NULL, {'n', O_WATCH, O_STREAM, O_SENSOR},
		"[-n N] [--watch] [--stream S] [--sensor ID]",
		"The sensors with the most readings, or one of them.\n"
		"\n"
		"  -n N         so many, 10 by default, 100 at most\n"
		"  --watch      again each second, with rates\n"
		"  --stream S   of this stream only\n"
		"  --sensor ID  this one; exit status 1 when it is not known"},
	{"tail", cli_tail, true, NULL, {O_SENSOR, O_KIND, O_STREAM, O_FROM, O_NO_FOLLOW, 'n'},
		"[--sensor ID] [--kind K] [--stream S] [-n N] [--from now|oldest] [--no-follow]",
		"Records as they are written.\n"
		"\n"
		"  --sensor ID    of this sensor only\n"
		"  --kind K       reading, window, alert, gap, mark, raw, or several with commas\n"
		"  --stream S     of this stream only\n"
		"  -n N           ends after N records\n"
		"  --from oldest  starts at the oldest record in the journal instead of now\n"
		"  --no-follow    ends at the end of the journal instead of waiting for more"},
	{"stop", cli_stop, true, NULL, {0}, "", "Stops the daemon in order, as SIGTERM does."},
	{"check", cli_check, false, "FILE", {O_SCHEMA, O_REFERENCE},
		"FILE | --schema | --reference",
		"Checks a config file: all errors at once, or what it comes to.\n"
		"\n"
		"  --schema     prints the JSON Schema for editors instead\n"
		"  --reference  prints docs/config.md instead"},
	{"journal dump", cli_dump, false, "SEGMENT", {O_RECORDS}, "SEGMENT [--records]",
		"What a segment file holds, block by block; no daemon is asked.\n"
		"\n"
		"  --records  its records, as JSON lines, with or without --json\n"
		"\n"
		"Exit status 1 when there is damage in it."},
	{"model score", cli_model_score, false, "BUNDLE ROWS", {0}, "BUNDLE ROWS.csv",
		"Scores the rows of a CSV file with a model bundle; no daemon is asked.\n"
		"\n"
		"The header of ROWS.csv names the inputs of the model as penstock model verify "
		"prints\n"
		"them, in any order, in quotes where there is a comma: \"mean(x,5m)\"; other "
		"columns are\n"
		"ignored. An empty cell, nan and inf are missing values. Printed is CSV: row, "
		"score (the\n"
		"value of a regression, else the probability: binary of the second class, "
		"multi-class of\n"
		"the class that it names), class, and of each tree the leaf by the number that it "
		"has in\n"
		"the library; nothing behind the row where a value is missing that the model "
		"needs.\n"
		"With --json an object a line: row, score, class, outputs, leaves.\n"
		"\n"
		"Exit status 1 when the bundle is refused, 2 when the rows have an error."},
	{"model verify", cli_model_verify, false, "BUNDLE", {0}, "BUNDLE",
		"What a model bundle is, and whether it may be used; no daemon is asked.\n"
		"\n"
		"Checks all of it, hashes and structure, and that its golden rows come out of "
		"every\n"
		"engine as its library said. Exit status 1 when it is refused."},
	{"version", version, false, NULL, {0}, "", "The version."},
};

enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static void print_usage(FILE *out)
{
	fputs("usage: penstock VERB [OPTIONS]\n\n", out);
	for (int i = 0; i < VERBS; i++) {
		const char *help = verbs[i].help;

		fprintf(out, "  %-13s %.*s\n", verbs[i].name, (int)strcspn(help, "\n"), help);
	}
	fputs("\npenstock VERB --help says more of each. Each takes --json; those that ask a "
	      "daemon\n"
	      "take --socket PATH, or --config FILE whose api.socket it is; else PENSTOCK_SOCKET\n"
	      "names it, else it is " SOCKET_DEFAULT ".\n"
	      "Exit statuses: 0 well, 1 a negative answer, 2 usage or config, 3 no daemon there,\n"
	      "4 refused by the daemon, 5 a file (docs/cli.md).\n",
		out);
}

static bool asks_for_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

/* "journal" of "journal dump": what may follow it. */
static int subcommands(const char *first, const char *second)
{
	bool help = second && asks_for_help(second);
	FILE *out = help ? stdout : stderr;
	size_t n = strlen(first);

	if (!help)
		fprintf(out, "penstock: %s: %s%s; there is:\n", first,
			second ? "no such subcommand: " : "a subcommand is needed",
			second ? second : "");
	for (int i = 0; i < VERBS; i++)
		if (!strncmp(verbs[i].name, first, n) && verbs[i].name[n] == ' ')
			fprintf(out, "usage: penstock %s %s\n", verbs[i].name, verbs[i].usage);
	return help ? CLI_OK : CLI_USAGE;
}

static int wrong_usage(const struct verb *v, const char *what, const char *value)
{
	fprintf(stderr, "penstock: %s%s%s\n", what, value ? ": " : "", value ? value : "");
	if (v)
		fprintf(stderr, "usage: penstock %s %s\n", v->name, v->usage);
	else
		print_usage(stderr);
	return CLI_USAGE;
}

/* ---- options ---- */

static bool takes(const struct verb *v, int option)
{
	if (option == O_JSON || option == 'h')
		return true;
	if (option == O_SOCKET || option == O_CONFIG)
		return v->daemon;
	for (size_t i = 0; i < sizeof(v->options) / sizeof(v->options[0]); i++)
		if (v->options[i] == option)
			return true;
	return false;
}

static bool read_number(const char *text, uint64_t *n)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*n = strtoull(text, &end, 10);
	return !errno && !*end;
}

static bool read_seconds(const char *text, double *s)
{
	char *end;

	*s = strtod(text, &end);
	return end != text && !*end && *s >= 0 && *s <= 86400;
}

/* An option that the verb takes. False: its value makes no sense. */
static bool set_option(struct cli *cli, int option, const char *value)
{
	switch (option) {
	case O_JSON:
		return cli->json = true;
	case O_SOCKET:
		cli->socket = value;
		return true;
	case O_SENSOR:
		cli->sensor = value;
		return true;
	case O_KIND:
		cli->kind = value;
		return true;
	case O_STREAM:
		cli->stream = value;
		return true;
	case O_FROM:
		cli->from = value;
		return true;
	case O_DELIVERED:
		return cli->delivered = true;
	case O_WATCH:
		return cli->watch = true;
	case O_RECORDS:
		return cli->records = true;
	case O_NO_FOLLOW:
		return cli->no_follow = true;
	case O_SCHEMA:
		return cli->schema = true;
	case O_REFERENCE:
		return cli->reference = true;
	case O_SETTLE:
		cli->settle = true;
		return !value || read_seconds(value, &cli->settle_s);
	default: /* 'n' */
		cli->number_given = true;
		return read_number(value, &cli->number) && cli->number > 0;
	}
}

/* The socket that a config names; *kept owns it. A cli_exit. */
static int socket_of(const char *file, struct cli *cli, char **kept)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	int rc = CLI_USAGE;

	if (ctl_config_load_alone(file, &config, &errors)) {
		ctl_errors_print(&errors, stderr);
	} else {
		if (config->api_socket) {
			*kept = strdup(config->api_socket);
			cli->socket = *kept;
			rc = CLI_OK;
		} else {
			fprintf(stderr, "penstock: %s: names no api.socket\n", file);
		}
		ctl_config_free(config);
	}
	ctl_errors_free(&errors);
	return rc;
}

enum { OPTION_BYTES = 32 };

/* What getopt has just stopped at: an option by its code, or, unknown by its long name, as given.
 */
static const char *option_name(char **argv, int code, char name[OPTION_BYTES])
{
	for (const struct option *o = longs; o->name && code >= O_JSON; o++) {
		if (o->val != code)
			continue;
		snprintf(name, OPTION_BYTES, "--%s", o->name);
		return name;
	}
	if (!code)
		return argv[optind - 1];
	snprintf(name, OPTION_BYTES, "-%c", code);
	return name;
}

/* Fills cli and *config; -1: go on, else the exit status. */
static int read_options(
	const struct verb *v, int argc, char **argv, struct cli *cli, const char **config)
{
	const char *second = v->file ? strchr(v->file, ' ') : NULL;
	char name[OPTION_BYTES];
	int c;

	while ((c = getopt_long(argc, argv, ":hn:", longs, NULL)) != -1) {
		if (c == 'h') {
			printf("usage: penstock %s %s\n\n%s\n", v->name, v->usage, v->help);
			return CLI_OK;
		}
		if (c == ':')
			return wrong_usage(
				v, "a value is missing", option_name(argv, optopt, name));
		if (c == '?' && optopt > UCHAR_MAX)
			return wrong_usage(v, "takes no value", option_name(argv, optopt, name));
		if (c == '?')
			return wrong_usage(v, "no such option", option_name(argv, optopt, name));
		if (!takes(v, c))
			return wrong_usage(v, "this verb does not take that option",
				option_name(argv, c, name));
		if (c == O_CONFIG)
			*config = optarg;
		else if (!set_option(cli, c, optarg))
			return wrong_usage(v, "not a number that makes sense", optarg);
	}
	/* "--settle 5" as well as "--settle=5" */
	if (cli->settle && !v->file && optind + 1 == argc &&
		read_seconds(argv[optind], &cli->settle_s))
		optind++;
	cli->settle |= cli->delivered;
	if (v->file && optind < argc)
		cli->file = argv[optind++];
	if (second && optind < argc)
		cli->rows = argv[optind++];
	if (optind != argc)
		return wrong_usage(v, "too many arguments", argv[optind]);
	if (v->file && !cli->file && !cli->schema && !cli->reference)
		return wrong_usage(v, "an argument is missing", v->file);
	if (second && !cli->rows)
		return wrong_usage(v, "an argument is missing", second + 1);
	return -1;
}

static int run(const struct verb *v, int argc, char **argv)
{
	const char *env = getenv("PENSTOCK_SOCKET"), *config = NULL;
	struct cli cli = {.verb = v->name, .settle_s = SETTLE_S};
	char *kept = NULL;
	int rc = read_options(v, argc, argv, &cli, &config);

	if (rc >= 0)
		return rc;
	if (!cli.socket && config) {
		rc = socket_of(config, &cli, &kept);
		if (rc)
			return rc;
	}
	if (!cli.socket)
		cli.socket = env && *env ? env : SOCKET_DEFAULT;
	rc = v->run(&cli);
	/* What a verb says with printf is looked at here, once. */
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "penstock: the output cannot be written\n");
		rc = CLI_IO;
	}
	free(kept);
	return rc;
}

/* "journal dump" is two words. */
static const struct verb *find_verb(int argc, char **argv, int *words)
{
	for (int i = 0; i < VERBS; i++) {
		const char *space = strchr(verbs[i].name, ' ');
		size_t n = space ? (size_t)(space - verbs[i].name) : strlen(verbs[i].name);

		if (strlen(argv[1]) != n || memcmp(argv[1], verbs[i].name, n) != 0)
			continue;
		*words = 1;
		if (!space)
			return &verbs[i];
		*words = 2;
		if (argc > 2 && strcmp(argv[2], space + 1) == 0)
			return &verbs[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct verb *v;
	int words = 1, rc;

	if (argc < 2)
		return wrong_usage(NULL, "a verb is needed", NULL);
	if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0) {
		print_usage(stdout);
		return CLI_OK;
	}
	v = find_verb(argc, argv, &words);
	if (!v && words == 2)
		return subcommands(argv[1], argv[2]);
	if (!v)
		return wrong_usage(NULL, "no such verb", argv[1]);
	/* a reader of ours that goes away is seen as an error of the write */
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	rc = run(v, argc - words, argv + words);
	curl_global_cleanup();
	return rc;
}
