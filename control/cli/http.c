/* HTTP over the daemon's Unix socket. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/cli.h"

enum { CONNECT_S = 5, ANSWER_S = 30 };

struct body {
	char *text;
	size_t bytes;
	const struct cli_stream *stream; /* NULL: gathered in text */
	CURL *curl;
	bool ended;   /* by the one who takes */
	bool again;   /* the daemon has answered before */
	bool stopped; /* ... and has stopped in order since */
};

static bool append(struct body *b, const char *bytes, size_t count)
{
	char *bigger = realloc(b->text, b->bytes + count + 1);

	if (!bigger)
		return false;
	memcpy(bigger + b->bytes, bytes, count);
	b->text = bigger;
	b->bytes += count;
	b->text[b->bytes] = 0;
	return true;
}

static size_t receive(char *bytes, size_t size, size_t count, void *arg)
{
	struct body *b = arg;
	long status = 0;

	curl_easy_getinfo(b->curl, CURLINFO_RESPONSE_CODE, &status);
	if (!b->stream || status != 200)
		return append(b, bytes, size * count) ? size * count : 0;
	if (b->stream->take(b->stream->arg, bytes, size * count))
		return size * count;
	b->ended = true;
	return 0;
}

static CURL *request(const struct cli *cli, const char *method, const char *path, struct body *b)
{
	CURL *curl = curl_easy_init();
	char *url = NULL;

	if (!curl || asprintf(&url, "http://penstock%s", path) < 0) {
		curl_easy_cleanup(curl);
		return NULL;
	}
	b->curl = curl;
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, cli->socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, b);
	if (strcmp(method, "POST") == 0)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	if (!b->stream)
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)ANSWER_S);
	free(url);
	return curl;
}

static int unreachable(const struct cli *cli, CURLcode rc)
{
	if (rc != CURLE_COULDNT_CONNECT) {
		fprintf(stderr, "penstock: the daemon on %s %s (%s)\n", cli->socket,
			rc == CURLE_OPERATION_TIMEDOUT ? "does not answer in time"
						       : "went away in mid-answer",
			curl_easy_strerror(rc));
		return CLI_UNREACHABLE;
	}
	fprintf(stderr,
		"penstock: no daemon answers on %s (%s)\n"
		"  is penstockd running, with this api.socket? Name the socket with --socket PATH, "
		"PENSTOCK_SOCKET or --config FILE.\n",
		cli->socket, curl_easy_strerror(rc));
	return CLI_UNREACHABLE;
}

/* A daemon that ends in order says so, then takes its socket away; one that is killed does not. */
static bool has_stopped(const struct cli *cli, long status, const struct body *b)
{
	json_t *json = status && b->text ? json_loadb(b->text, b->bytes, 0, NULL) : NULL;
	bool stopping = json_is_true(json_object_get(json, "stopping"));

	json_decref(json);
	return stopping || (!status && access(cli->socket, F_OK));
}

static int refused(long status, const struct body *b)
{
	json_t *json = b->text ? json_loadb(b->text, b->bytes, 0, NULL) : NULL;
	const char *why = cli_text(json, "error");

	fprintf(stderr, "penstock: the daemon refuses (%ld): %s\n", status,
		*why ? why : "no reason given");
	json_decref(json);
	return CLI_REFUSED;
}

static int perform(const struct cli *cli, const char *method, const char *path, struct body *b)
{
	CURL *curl = request(cli, method, path, b);
	long status = 0;
	CURLcode rc;
	int result = CLI_OK;

	if (!curl) {
		fprintf(stderr, "penstock: out of memory\n");
		return CLI_IO;
	}
	rc = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (b->again && (status >= 300 || rc != CURLE_OK) && has_stopped(cli, status, b))
		b->stopped = true;
	else if (status >= 300)
		result = refused(status, b);
	else if (rc != CURLE_OK && !b->ended)
		result = unreachable(cli, rc);
	curl_easy_cleanup(curl);
	return result;
}

static int ask(
	const struct cli *cli, const char *method, const char *path, struct body *b, json_t **out)
{
	int rc = perform(cli, method, path, b);

	*out = NULL;
	if (rc == CLI_OK && !b->stopped) {
		*out = b->text ? json_loadb(b->text, b->bytes, 0, NULL) : NULL;
		if (!*out) {
			fprintf(stderr, "penstock: %s does not speak Penstock's API\n",
				cli->socket);
			rc = CLI_REFUSED;
		}
	}
	free(b->text);
	return rc;
}

int cli_ask(const struct cli *cli, const char *method, const char *path, json_t **out)
{
	struct body b = {0};

	return ask(cli, method, path, &b, out);
}

int cli_ask_again(const struct cli *cli, const char *path, json_t **out)
{
	struct body b = {.again = true};

	return ask(cli, "GET", path, &b, out);
}

int cli_follow(const struct cli *cli, const char *path, const struct cli_stream *stream)
{
	struct body b = {.stream = stream};
	int rc = perform(cli, "GET", path, &b);

	free(b.text);
	return rc;
}

char *cli_escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0), *copy;

	copy = escaped ? strdup(escaped) : NULL;
	curl_free(escaped);
	return copy;
}
