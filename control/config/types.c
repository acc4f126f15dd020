/* How a value of each type is read from its node. Bounds come from the key's row. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "control/config/parse.h"

enum {
	SHOWN = 60, /* bytes of a user's text that a message repeats */
	CHOICES_MAX = 32,
};

const char *ctl_scalar(struct ctl_cx *cx, const struct ctl_node *node, const char *what)
{
	const char *wrong;

	if (node->kind != CTL_SCALAR) {
		ctl_fail(cx, node, "must be %s, not a %s", what,
			node->kind == CTL_LIST ? "list" : "map");
		return NULL;
	}
	if (node->null) {
		ctl_fail(cx, node, "has no value, must be %s", what);
		return NULL;
	}
	wrong = ctl_expand(&cx->scratch, node->text, cx->text);
	if (wrong) {
		ctl_fail(cx, node, "%s", wrong);
		return NULL;
	}
	return cx->text;
}

/* Code points below U+0080 that are control characters, and C1. */
static bool has_control(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (*s < 0x20 || *s == 0x7f || (*s == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0))
			return true;
	}
	return false;
}

static void read_name(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "a name");
	size_t len;

	if (!text)
		return;
	len = strlen(text);
	if (!len || len >= key->size)
		ctl_fail(cx, node, "must be 1 to %zu characters long", key->size - 1);
	else if (strspn(text,
			 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./") !=
		 len)
		ctl_fail(cx, node, "\"%.*s\" may hold letters, digits, _ - . and / only", SHOWN,
			text);
	else
		memcpy(to, text, len + 1);
}

static void read_label(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "text");
	/* Of these, empty says something: no unit, no event time. */
	bool may_be_empty = !strcmp(key->name, "unit") || !strcmp(key->name, "time_key");
	bool all = key->type == CTL_T_TEXT;
	size_t len;

	if (!text)
		return;
	len = strlen(text);
	if ((!len && !may_be_empty) || len >= key->size)
		ctl_fail(cx, node, "must be %d to %zu bytes long", !may_be_empty, key->size - 1);
	else if (has_control(text) || ctl_utf8_valid(text, len) != len ||
		 (!all && strpbrk(text, "\"\\")))
		ctl_fail(cx, node, "may not hold %scontrol characters",
			all ? "" : "quotes, backslashes or ");
	else
		memcpy(to, text, len + 1);
}

static void read_text(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "text");
	bool is_path = key->type == CTL_T_PATH;
	const char *own;

	if (!text)
		return;
	if (!*text || has_control(text) || ctl_utf8_valid(text, strlen(text)) != strlen(text)) {
		ctl_fail(cx, node, *text ? "may not hold control characters" : "is empty");
		return;
	}
	own = is_path ? ctl_resolve_path(cx, text)
		      : ctl_pool_text(&cx->config->pool, text, strlen(text));
	memcpy(to, &own, sizeof(own));
}

/* Kafka's own rule: org.apache.kafka.common.internals.Topic. */
static void read_topic(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "the name of a topic");
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return;
	if (!len || len > 249 || !strcmp(text, ".") || !strcmp(text, "..") ||
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
			len) {
		ctl_fail(cx, node,
			"\"%.*s\" is no name of a Kafka topic: 1 to 249 of letters, digits, . _ -",
			SHOWN, text);
		return;
	}
	read_text(cx, key, node, to);
}

/* host:port, or [v6]:port; a host is not looked up here. */
static bool broker_valid(const char *text, size_t len)
{
	char copy[300], *colon, *host = copy;
	uint64_t port;

	if (!len || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	colon = strrchr(copy, ':');
	if (!colon || colon == copy || ctl_read_uint(colon + 1, &port) || !port || port > 65535)
		return false;
	*colon = 0;
	if (*host == '[' && colon[-1] == ']')
		return strspn(host + 1, "0123456789abcdefABCDEF:.") == strlen(host) - 2;
	return !strpbrk(host, " :/[]");
}

static void read_brokers(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "host:port");

	if (!text)
		return;
	for (const char *s = text;; s++) {
		size_t len = strcspn(s, ",");

		if (!broker_valid(s, len)) {
			ctl_fail(cx, node, "\"%.*s\" is not host:port",
				len < SHOWN ? (int)len : SHOWN, s);
			return;
		}
		s += len;
		if (!*s)
			break;
	}
	read_text(cx, key, node, to);
}

static void read_bool(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "true or false");
	const char *wrong = text ? ctl_read_bool(text, to) : NULL;

	if (wrong)
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong);
}

static bool bounded(const struct ctl_key *key)
{
	return key->low < key->high;
}

static void read_uint(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "a whole number");
	uint64_t value = 0;
	const char *wrong = text ? ctl_read_uint(text, &value) : NULL;

	if (wrong)
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong);
	else if (text && ((double)value < key->low || (double)value > key->high))
		ctl_fail(cx, node, "%.*s is out of range: %.0f to %.0f", SHOWN, text, key->low,
			key->high);
	else if (text)
		memcpy(to, &value, key->size); /* little endian: the low bytes first */
}

static void read_number(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "a number");
	double value = 0;
	const char *wrong = text ? ctl_read_number(text, &value) : NULL;
	float narrow = (float)value;

	if (wrong)
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong);
	else if (text && key->size == sizeof(narrow) && isinf(narrow) != isinf(value))
		ctl_fail(cx, node, "%.*s is too large for a 32-bit float", SHOWN, text);
	else if (text && isinf(value) && !key->fallback)
		ctl_fail(cx, node, "must be finite");
	else if (text && key->size == sizeof(narrow))
		memcpy(to, &narrow, sizeof(narrow));
	else if (text)
		memcpy(to, &value, sizeof(value));
}

static void read_bytes(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "a size such as 64MiB");
	char low[CTL_SCALAR_TEXT_BYTES], high[CTL_SCALAR_TEXT_BYTES];
	uint64_t value = 0;
	const char *wrong = text ? ctl_read_bytes(text, &value) : NULL;

	if (wrong) {
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong);
	} else if (text && bounded(key) &&
		   ((double)value < key->low || (double)value > key->high)) {
		ctl_write_bytes((uint64_t)key->low, low);
		ctl_write_bytes((uint64_t)key->high, high);
		ctl_fail(cx, node, "%.*s is out of range: %s to %s", SHOWN, text, low, high);
	} else if (text) {
		memcpy(to, &value, sizeof(value));
	}
}

static void read_duration(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "a duration such as 30s");
	char low[CTL_SCALAR_TEXT_BYTES], high[CTL_SCALAR_TEXT_BYTES];
	int64_t value = 0;
	const char *wrong = text ? ctl_read_duration(text, &value) : NULL;

	if (wrong) {
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong);
	} else if (text && bounded(key) &&
		   ((double)value < key->low || (double)value > key->high)) {
		ctl_write_duration((int64_t)key->low, low);
		ctl_write_duration((int64_t)key->high, high);
		ctl_fail(cx, node, "%.*s is out of range: %s to %s", SHOWN, text, low, high);
	} else if (text) {
		memcpy(to, &value, sizeof(value));
	}
}

/* Value of the choice of that name; 0 after an error. */
static int choose(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, const char *text)
{
	const char *names[16], *meant;
	char all[200];
	size_t count = 0, at = 0;

	for (const struct ctl_choice *c = key->choices; c->name; c++) {
		if (!strcmp(c->name, text))
			return c->value;
		names[count++] = c->name;
		at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", at ? ", " : "", c->name);
	}
	meant = ctl_meant(cx, text, names, count);
	ctl_fail(cx, node, "\"%.*s\" is none of: %s%s%s%s", SHOWN, text, all,
		meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
	return 0;
}

static void read_choice(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "one of several words");
	int value = text ? choose(cx, key, node, text) : 0;

	memcpy(to, &value, sizeof(value));
}

static void read_choices(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	uint32_t bits = 0, index = 0;

	if (node->kind == CTL_SCALAR && node->text == key->fallback) {
		for (const struct ctl_choice *c = key->choices; c->name; c++)
			bits |= (uint32_t)c->value;
	} else if (node->kind != CTL_LIST || !node->count) {
		ctl_fail(cx, node, node->null ? "has no value" : "must be a list of words");
	} else if (node->count > CHOICES_MAX) {
		ctl_fail(cx, node, "has %u elements, far more than there are words", node->count);
		return;
	}
	for (const struct ctl_node *c = node->kind == CTL_LIST ? node->children : NULL; c;
		c = c->next) {
		size_t path = ctl_path_push_index(cx, index++);
		const char *text = ctl_scalar(cx, c, "a word");
		uint32_t bit = text ? (uint32_t)choose(cx, key, c, text) : 0;

		if (bits & bit)
			ctl_fail(cx, c, "\"%s\" is given twice", text);
		bits |= bit;
		ctl_path_pop(cx, path);
	}
	memcpy(to, &bits, sizeof(bits));
}

static bool parse_address(const char *text, struct ctl_listen *to)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	uint64_t port;

	if (!len || len >= sizeof(host) || strlen(text) >= sizeof(to->text) ||
		ctl_read_uint(colon + 1, &port) || port > 65535)
		return false;
	memcpy(host, text, len);
	host[len] = 0;
	to->port = (uint16_t)port;
	strcpy(to->text, text);
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = 0;
		to->length = sizeof(to->address.v6);
		to->address.v6.sin6_family = AF_INET6;
		to->address.v6.sin6_port = htons(to->port);
		return inet_pton(AF_INET6, host + 1, &to->address.v6.sin6_addr) == 1;
	}
	to->length = sizeof(to->address.v4);
	to->address.v4.sin_family = AF_INET;
	to->address.v4.sin_port = htons(to->port);
	return inet_pton(AF_INET, host, &to->address.v4.sin_addr) == 1;
}

static void read_listen(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const char *text = ctl_scalar(cx, node, "address:port");
	struct ctl_listen listen = {0};

	if (!text)
		return;
	if (!parse_address(text, &listen))
		ctl_fail(cx, node,
			"\"%.*s\" is not address:port such as 0.0.0.0:9000 or [::1]:9000", SHOWN,
			text);
	else
		memcpy(to, &listen, sizeof(listen));
}

static bool read_core(struct ctl_cx *cx, const struct ctl_node *node, const cpu_set_t *allowed,
	struct ctl_workers *w)
{
	const char *text = ctl_scalar(cx, node, "the number of a core");
	uint64_t core = 0;
	const char *wrong = text ? ctl_read_uint(text, &core) : NULL;

	if (!text)
		return false;
	if (wrong || core >= CPU_SETSIZE) {
		ctl_fail(cx, node, "\"%.*s\" %s", SHOWN, text, wrong ? wrong : "is no core");
		return false;
	}
	if (!CPU_ISSET((int)core, allowed)) {
		ctl_fail(cx, node, "this process may not run on core %d", (int)core);
		return false;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->core[i] == core) {
			ctl_fail(cx, node, "core %d is given twice", (int)core);
			return false;
		}
	}
	w->core[w->count++] = (uint16_t)core;
	return true;
}

/* Worker i on the i-th allowed core, around again where there are more workers than cores. */
static void spread(struct ctl_workers *w, const cpu_set_t *allowed)
{
	int core = -1;

	for (uint32_t i = 0; i < w->count; i++) {
		do {
			core = (core + 1) % CPU_SETSIZE;
		} while (!CPU_ISSET(core, allowed));
		w->core[i] = (uint16_t)core;
	}
}

static void read_workers(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	struct ctl_workers *w = to;
	cpu_set_t allowed;
	const char *text;
	uint64_t count = 0;
	uint32_t index = 0;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) || !CPU_COUNT(&allowed))
		CPU_SET(0, &allowed);
	if (node->kind == CTL_LIST) {
		w->listed = true;
		if (!node->count || node->count > DP_WORKERS_MAX)
			ctl_fail(cx, node, "has %u elements, allowed are 1 to %d", node->count,
				DP_WORKERS_MAX);
		for (const struct ctl_node *c = node->children; c && index < DP_WORKERS_MAX;
			c = c->next, index++) {
			size_t path = ctl_path_push_index(cx, index);

			read_core(cx, c, &allowed, w);
			ctl_path_pop(cx, path);
		}
		return;
	}
	text = ctl_scalar(cx, node, "auto, a number or a list of cores");
	if (!text)
		return;
	w->automatic = !strcmp(text, "auto");
	if (w->automatic) {
		count = (uint64_t)CPU_COUNT(&allowed);
		/* With cores to spare, one is left to the writer, the outputs and control. */
		count -= count > 2;
		count = count > DP_WORKERS_MAX ? DP_WORKERS_MAX : count;
	} else if (ctl_read_uint(text, &count) || !count || count > DP_WORKERS_MAX) {
		ctl_fail(cx, node, "\"%.*s\" is neither auto nor 1 to %d", SHOWN, text,
			DP_WORKERS_MAX);
		return;
	}
	w->count = (uint32_t)count;
	spread(w, &allowed);
}

/* Finds a name in an array of structs whose first member it is. */
static void read_reference(
	struct ctl_cx *cx, const struct ctl_node *node, const struct ctl_names *among, void *to)
{
	const char *text = ctl_scalar(cx, node, "a name"), *names[DP_FIELDS_MAX], *meant;
	int16_t index = CTL_INDEX_UNKNOWN;
	size_t count = 0;

	memcpy(to, &index, sizeof(index));
	if (!text || !among->count)
		return; /* a missing or broken list has an error of its own */
	for (; count < among->count; count++) {
		names[count] = (const char *)among->base + count * among->stride;
		if (index < 0 && !strcmp(names[count], text))
			index = (int16_t)count;
	}
	memcpy(to, &index, sizeof(index));
	if (index >= 0)
		return;
	meant = ctl_meant(cx, text, names, count);
	ctl_fail(cx, node, "there is no %s \"%.*s\"%s%s%s", among->what, SHOWN, text,
		meant ? ", did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static void read_field(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const struct ctl_names fields = {
		cx->stream->fields, cx->stream->field_count, sizeof(struct dp_field), "field"};

	read_reference(cx, node, &fields, to);
}

static void read_window(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const struct dp_stream *s = cx->stream;
	const struct ctl_names windows = {
		s->windows, s->window_count, sizeof(struct dp_window_def), "window"};

	if (!s->window_count)
		ctl_fail(cx, node, "the stream has no windows");
	read_reference(cx, node, &windows, to);
}

static void read_model(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const struct dp_stream *s = cx->stream;
	const struct ctl_names models = {
		s->models, s->model_count, sizeof(struct dp_model), "model"};

	if (!s->model_count)
		ctl_fail(cx, node, "the stream has no models");
	read_reference(cx, node, &models, to);
}

static void read_stream(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	const struct dp_stream_set *set = &cx->config->streams;
	const struct ctl_names streams = {
		set->streams, set->count, sizeof(struct dp_stream), "stream"};

	read_reference(cx, node, &streams, to);
}

static void read_properties(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	struct ctl_property *list;
	uint32_t count = 0;

	if (node->kind != CTL_MAP || node->count > key->high) {
		ctl_fail(cx, node,
			node->null		? "has no value"
			: node->kind == CTL_MAP ? "holds too many"
						: "must be a map of names to values");
		return;
	}
	list = ctl_pool_take(&cx->config->pool, (node->count + 1) * sizeof(*list));
	for (const struct ctl_node *c = node->children; c; c = c->next) {
		size_t path = ctl_path_push(cx, c->name);
		const char *text = ctl_scalar(cx, c, "text");

		if (text) {
			ctl_remember(cx, &list[count], c);
			list[count].name =
				ctl_pool_text(&cx->config->pool, c->name, strlen(c->name));
			list[count++].value = ctl_pool_text(&cx->config->pool, text, strlen(text));
		}
		ctl_path_pop(cx, path);
	}
	memcpy(to, &list, sizeof(list));
	memcpy((char *)to - key->offset + key->count_offset, &count, sizeof(count));
}

ctl_read_fn *ctl_type_reader(enum ctl_type type)
{
	static ctl_read_fn *const readers[CTL_T_COUNT] = {
		[CTL_T_NAME] = read_name,
		[CTL_T_LABEL] = read_label,
		[CTL_T_TEXT] = read_label,
		[CTL_T_PATH] = read_text,
		[CTL_T_TOPIC] = read_topic,
		[CTL_T_BROKERS] = read_brokers,
		[CTL_T_BOOL] = read_bool,
		[CTL_T_UINT] = read_uint,
		[CTL_T_NUMBER] = read_number,
		[CTL_T_BYTES] = read_bytes,
		[CTL_T_DURATION] = read_duration,
		[CTL_T_CHOICE] = read_choice,
		[CTL_T_CHOICES] = read_choices,
		[CTL_T_LISTEN] = read_listen,
		[CTL_T_WORKERS] = read_workers,
		[CTL_T_FIELD] = read_field,
		[CTL_T_WINDOW] = read_window,
		[CTL_T_MODEL] = read_model,
		[CTL_T_STREAM] = read_stream,
		[CTL_T_PROPERTIES] = read_properties,
		[CTL_T_OBJECT] = ctl_parse_nested,
		[CTL_T_LIST] = ctl_parse_list,
	};

	return readers[type];
}
