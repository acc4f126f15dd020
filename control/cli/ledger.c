/* penstock ledger: does everything add up? */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control/cli/cli.h"

#define POLL_NS 50000000L

static bool is_delivered(const json_t *ledger)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(ledger, "outputs"), i, o)
	{
		if (cli_int(o, "spooled") != 0)
			return false;
	}
	return true;
}

static bool is_settled(const struct cli *cli, const json_t *ledger)
{
	return json_is_true(json_object_get(ledger, "settled")) &&
	       (!cli->delivered || is_delivered(ledger));
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The ledger now or, with --settle, once nothing is under way or the time is over. */
static int read_ledger(const struct cli *cli, json_t **out)
{
	const struct timespec nap = {.tv_nsec = POLL_NS};
	double end = seconds() + cli->settle_s;

	for (;;) {
		int rc = cli_ask(cli, "GET", "/ledger", out);

		if (rc || !cli->settle || is_settled(cli, *out) || seconds() >= end)
			return rc;
		json_decref(*out);
		nanosleep(&nap, NULL);
	}
}

static void line(const char *sign, const char *name, int64_t n)
{
	char text[CLI_NUMBER_BYTES];

	printf("  %1s %-28s %18s\n", sign, name, cli_number(n, text));
}

/* The members of a class that are not zero, one step in. */
static void members(const json_t *class)
{
	const char *name;
	json_t *n;

	json_object_foreach((json_t *)class, name, n)
	{
		char text[CLI_NUMBER_BYTES];

		if (json_integer_value(n) && strcmp(name, "total") != 0)
			printf("        %-24s %18s\n", name,
				cli_number(json_integer_value(n), text));
	}
}

static void show_sums(const json_t *l)
{
	const json_t *d = json_object_get(l, "datagrams"), *r = json_object_get(l, "readings");
	const json_t *records = json_object_get(l, "records");
	static const char *const kinds[] = {"reading", "window", "alert", "gap", "mark", "raw"};

	puts("datagrams");
	line("", "received", cli_int(d, "received"));
	line("=", "decoded", cli_int(d, "decoded"));
	line("+", "rejected", cli_int(json_object_get(d, "rejected"), "total"));
	members(json_object_get(d, "rejected"));
	line("+", "in flight", cli_int(d, "in_flight"));
	puts("readings");
	line("", "decoded", cli_int(r, "decoded"));
	line("=", "recorded", cli_int(r, "recorded"));
	line("+", "duplicate", cli_int(r, "duplicate"));
	line("+", "dropped", cli_int(json_object_get(r, "dropped"), "total"));
	members(json_object_get(r, "dropped"));
	line("+", "in flight", cli_int(r, "in_flight"));
	if (cli_int(r, "recovered"))
		line("", "(of these recovered)", cli_int(r, "recovered"));
	puts("records");
	line("", "appended", cli_int(records, "appended"));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char text[CLI_NUMBER_BYTES];

		printf("        %-24s %18s\n", kinds[i],
			cli_number(cli_int(records, kinds[i]), text));
	}
	line("=", "written", cli_int(records, "written"));
	line("+", "pending", cli_int(records, "pending"));
}

static void show_outputs(const json_t *outputs)
{
	const json_t *o;
	size_t i;

	json_array_foreach(outputs, i, o)
	{
		printf("output %s\n", cli_text(o, "name"));
		line("", "written since it was made", cli_int(o, "written"));
		line("=", "delivered", cli_int(o, "delivered"));
		line("+", "dead letter", cli_int(o, "dead_letter"));
		line("+", "filtered", cli_int(o, "filtered"));
		line("+", "spooled", cli_int(o, "spooled"));
		line("+", "expired", cli_int(o, "expired"));
		line("+", "quarantined", cli_int(o, "quarantined"));
	}
}

static bool any(const json_t *class)
{
	const char *name;
	json_t *n;

	json_object_foreach((json_t *)class, name, n)
	{
		if (json_integer_value(n))
			return true;
	}
	return false;
}

static void show(const struct cli *cli, const json_t *l)
{
	bool balanced = json_is_true(json_object_get(l, "balanced"));

	show_sums(l);
	show_outputs(json_object_get(l, "outputs"));
	if (any(json_object_get(l, "lost_before_us"))) {
		puts("lost before us, or here before its number was seen; in none of the sums");
		members(json_object_get(l, "lost_before_us"));
	}
	if (any(json_object_get(l, "noted"))) {
		puts("noted");
		members(json_object_get(l, "noted"));
	}
	if (!balanced)
		puts("the sums DO NOT CLOSE");
	else if (is_settled(cli, l))
		puts("every sum closes, nothing is in flight");
	else
		puts("every sum closes with what is in flight");
}

int cli_ledger(const struct cli *cli)
{
	json_t *l;
	int rc = read_ledger(cli, &l);
	bool good;

	if (rc)
		return rc;
	good = json_is_true(json_object_get(l, "balanced")) && (!cli->settle || is_settled(cli, l));
	if (cli->json)
		rc = cli_print_json(l);
	else
		show(cli, l);
	if (cli->settle && !is_settled(cli, l))
		fprintf(stderr, "penstock: not settled after %g s\n", cli->settle_s);
	json_decref(l);
	return rc ? rc : good ? CLI_OK : CLI_NO;
}
