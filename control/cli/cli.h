/* penstock: what its verbs share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses; part of the interface, docs/cli.md. */
enum cli_exit {
	CLI_OK = 0,
	CLI_NO = 1,	     /* the answer is negative */
	CLI_USAGE = 2,	     /* usage, or a config with errors */
	CLI_UNREACHABLE = 3, /* no daemon answers there */
	CLI_REFUSED = 4,     /* the daemon answers with an error */
	CLI_IO = 5,	     /* a file cannot be read, or the output not written */
};

struct cli {
	const char *verb;
	const char *socket; /* of the API */
	bool json;
	/* of the verbs that take them; NULL or 0 when not given */
	const char *sensor, *kind, *stream, *from;
	uint64_t number; /* -n */
	bool number_given;
	bool settle, delivered, watch, records, no_follow, schema, reference;
	double settle_s;
	const char *file; /* the argument without a dash */
	const char *rows; /* the second of the verb that takes two */
};

/* ---- http.c ---- */

/*
 * Asks the daemon. CLI_OK with *out (a new reference), or another cli_exit after having said why on
 * stderr.
 */
int cli_ask(const struct cli *cli, const char *method, const char *path, json_t **out);

/*
 * Asks again a daemon that has answered before. As above, but when it stops, or has stopped in
 * order since, CLI_OK with *out NULL.
 */
int cli_ask_again(const struct cli *cli, const char *path, json_t **out);

/* Bytes as they come to `take`, which returns false to end. As above. */
struct cli_stream {
	bool (*take)(void *arg, const char *bytes, size_t count);
	void *arg;
};
int cli_follow(const struct cli *cli, const char *path, const struct cli_stream *stream);

/* Text as a value in a query; free() it. */
char *cli_escape(const char *text);

/* ---- the verbs; each returns a cli_exit ---- */

int cli_status(const struct cli *cli);
int cli_ledger(const struct cli *cli);
int cli_top(const struct cli *cli);
int cli_tail(const struct cli *cli);
int cli_stop(const struct cli *cli);
int cli_check(const struct cli *cli);
int cli_dump(const struct cli *cli);
int cli_model_score(const struct cli *cli);
int cli_model_verify(const struct cli *cli);

/* ---- show.c ---- */

int cli_print_json(const json_t *json);
/* 1234567 -> "1,234,567" */
enum { CLI_NUMBER_BYTES = 32 };
const char *cli_number(int64_t n, char text[CLI_NUMBER_BYTES]);
/* Bytes as "12.3 MiB". */
const char *cli_size(double bytes, char text[CLI_NUMBER_BYTES]);
/* Seconds as "3d 04:05:06" or "05:06". */
const char *cli_span(double s, char text[CLI_NUMBER_BYTES]);
int64_t cli_int(const json_t *o, const char *key);
double cli_real(const json_t *o, const char *key);
const char *cli_text(const json_t *o, const char *key); /* "" when not there */
