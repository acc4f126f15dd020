/* The socket, the routes, the shapes of answers and errors. */
#include "control/api/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/api/ledger.h"
#include "control/api/metrics.h"
#include "control/api/routes.h"
#include "control/config/scalar.h"

enum {
	CONNECTIONS_MAX = 32,
	IDLE_S = 30,
	STACK_BYTES = 512 << 10,
	BACKLOG = 32,
};

/* ---- answers ---- */

static struct ctl_answer answer_text(unsigned status, char *text, size_t bytes, const char *type)
{
	struct ctl_answer a = {status, NULL};

	if (!text)
		return a;
	a.response = MHD_create_response_from_buffer(bytes, text, MHD_RESPMEM_MUST_FREE);
	if (a.response)
		MHD_add_response_header(a.response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	else
		free(text);
	return a;
}

struct ctl_answer ctl_answer_json(unsigned status, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT | CTL_REALS) : NULL;

	json_decref(body);
	return answer_text(status, text, text ? strlen(text) : 0, "application/json");
}

struct ctl_answer ctl_answer_error(unsigned status, const char *format, ...)
{
	char why[256];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	/* a request may hold any bytes, and a cut may go through a character: JSON takes neither */
	for (char *c = why; *c; c++)
		if (*c & 0x80)
			*c = '?';
	return ctl_answer_json(status, json_pack("{s:s}", "error", why));
}

static struct ctl_answer answer_status(struct ctl_api *api, struct MHD_Connection *c)
{
	(void)c;
	return ctl_answer_json(MHD_HTTP_OK, ctl_status_json(api->view));
}

static struct ctl_answer answer_ledger(struct ctl_api *api, struct MHD_Connection *c)
{
	struct ctl_ledger ledger;

	(void)c;
	ctl_ledger_read(api->view, &ledger);
	return ctl_answer_json(MHD_HTTP_OK, ctl_ledger_json(&ledger));
}

static struct ctl_answer answer_config(struct ctl_api *api, struct MHD_Connection *c)
{
	(void)c;
	return ctl_answer_json(MHD_HTTP_OK, ctl_config_json(api->view->config));
}

static struct ctl_answer answer_stop(struct ctl_api *api, struct MHD_Connection *c)
{
	(void)c;
	api->view->stop(api->view->arg);
	return ctl_answer_json(MHD_HTTP_ACCEPTED, json_pack("{s:b}", "stopping", 1));
}

static struct ctl_answer answer_metrics(struct ctl_api *api, struct MHD_Connection *c)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	(void)c;
	if (!out)
		return (struct ctl_answer){MHD_HTTP_INTERNAL_SERVER_ERROR, NULL};
	ctl_metrics_write(api->view, out);
	fclose(out);
	return answer_text(MHD_HTTP_OK, text, bytes, "text/plain; version=0.0.4; charset=utf-8");
}

/* ---- routes ---- */

static const struct route {
	const char *path, *method;
	struct ctl_answer (*answer)(struct ctl_api *api, struct MHD_Connection *c);
	const char *arguments[8];
} routes[] = {
	{"/status", "GET", answer_status, {NULL}},
	{"/ledger", "GET", answer_ledger, {NULL}},
	{"/sensors", "GET", ctl_answer_sensors, {"n", "id", "stream", NULL}},
	{"/tail", "GET", ctl_answer_tail,
		{"sensor", "kind", "stream", "limit", "from", "follow", NULL}},
	{"/config", "GET", answer_config, {NULL}},
	{"/metrics", "GET", answer_metrics, {NULL}},
	{"/stop", "POST", answer_stop, {NULL}},
};

struct arguments_check {
	const struct route *route;
	const char *unknown;
};

static enum MHD_Result check_argument(
	void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct arguments_check *check = cls;

	(void)kind;
	(void)value;
	for (const char *const *a = check->route->arguments; *a; a++)
		if (strcmp(*a, key) == 0)
			return MHD_YES;
	check->unknown = key;
	return MHD_NO;
}

static struct ctl_answer answer_to(
	struct ctl_api *api, struct MHD_Connection *c, const char *path, const char *method)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct arguments_check check = {&routes[i], NULL};

		if (strcmp(path, routes[i].path) != 0)
			continue;
		if (strcmp(method, routes[i].method) != 0)
			return ctl_answer_error(
				MHD_HTTP_METHOD_NOT_ALLOWED, "%s takes %s", path, routes[i].method);
		MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, check_argument, &check);
		if (check.unknown)
			return ctl_answer_error(MHD_HTTP_BAD_REQUEST, "%s has no argument %.64s",
				path, check.unknown);
		return routes[i].answer(api, c);
	}
	return ctl_answer_error(MHD_HTTP_NOT_FOUND, "there is no %.64s", path);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *c, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_bytes,
	void **request)
{
	static int seen;
	struct ctl_answer a;
	enum MHD_Result result;

	(void)version;
	(void)upload;
	/* first call: headers only; a body, which no request needs, is read and forgotten */
	if (!*request) {
		*request = &seen;
		return MHD_YES;
	}
	if (*upload_bytes) {
		*upload_bytes = 0;
		return MHD_YES;
	}
	a = answer_to(cls, c, url, strcmp(method, "HEAD") == 0 ? "GET" : method);
	if (!a.response)
		return MHD_NO;
	result = MHD_queue_response(c, a.status, a.response);
	MHD_destroy_response(a.response);
	return result;
}

/* ---- arguments ---- */

const char *ctl_argument(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, name);
}

bool ctl_argument_number(struct MHD_Connection *c, const char *name, uint64_t most, uint64_t *value)
{
	const char *text = ctl_argument(c, name);
	unsigned long long n;
	char *end;

	if (!text)
		return true;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n > most)
		return false;
	*value = n;
	return true;
}

int ctl_argument_stream(struct MHD_Connection *c, const struct ctl_view *view)
{
	const char *name = ctl_argument(c, "stream");

	if (!name)
		return -1;
	for (uint32_t i = 0; i < view->config->streams.count; i++)
		if (strcmp(view->config->streams.streams[i].name, name) == 0)
			return (int)i;
	return -2;
}

/* ---- the socket ---- */

/* A path that a daemon answers on is left alone; one that nobody listens on any more goes. What
 * may be either (no permission, say) is left alone too. Never waits. */
static int clear_path(const struct sockaddr_un *addr, char *why, size_t size)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(addr->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, size, "is there and is no socket");
		return -EEXIST;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: one that has too much to do to answer, unix(7) */
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN) {
		snprintf(why, size, "another daemon answers there");
		err = -EADDRINUSE;
	} else if (errno != ECONNREFUSED || unlink(addr->sun_path)) {
		err = -errno;
	}
	close(fd);
	return err;
}

static int listen_on(const char *path, char *why, size_t size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		snprintf(why, size, "longer than the %zu bytes that the kernel takes",
			sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	err = clear_path(&addr, why, size);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* the mode before the bind, so that there is no moment with a wider one */
	if (fchmod(fd, 0660) || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
		chmod(path, 0660) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int ctl_api_open(
	struct ctl_view *view, const char *path, struct ctl_api **out, char *why, size_t why_size)
{
	struct ctl_api *api = calloc(1, sizeof(*api));
	int err;

	*why = 0;
	if (!api)
		return -ENOMEM;
	api->view = view;
	api->path = strdup(path);
	pthread_mutex_init(&api->asking.lock, NULL);
	api->fd = listen_on(path, why, why_size);
	if (api->fd >= 0)
		api->http = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD |
						     MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL,
			0, NULL, NULL, handle, api, MHD_OPTION_LISTEN_SOCKET, api->fd,
			MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
			MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
			MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_END);
	if (api->http) {
		*out = api;
		return 0;
	}
	err = api->fd < 0 ? api->fd : -ENOMEM;
	if (api->fd >= 0) {
		close(api->fd);
		unlink(path);
	}
	if (!*why)
		snprintf(why, why_size, "%s", strerror(-err));
	free(api->path);
	free(api);
	return err;
}

void ctl_api_close(struct ctl_api *api)
{
	if (!api)
		return;
	atomic_store(&api->closing, true);
	unlink(api->path);
	MHD_stop_daemon(api->http); /* closes the socket, waits for all answers */
	pthread_mutex_destroy(&api->asking.lock);
	free(api->path);
	free(api);
}
