/*
 * The YAML tree into struct ctl_config, driven by the tables of keys.c.  Keeps going after an
 * error, remembers where each value came from, then runs the checks over the finished struct.
 */
#include "control/config/parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 32, KEYS_MAX = 64, VISITS_MAX = 1000000, NODES_MAX = 200000 };

void ctl_fail(struct ctl_cx *cx, const struct ctl_node *node, const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	ctl_errors_add(cx->errors, cx->file, node->line, node->column, cx->path, "%s", message);
}

static int by_address(const void *left, const void *right)
{
	uintptr_t a = (uintptr_t)((const struct ctl_origin *)left)->address;
	uintptr_t b = (uintptr_t)((const struct ctl_origin *)right)->address;

	return (a > b) - (a < b);
}

static const struct ctl_origin *origin_of(const struct ctl_cx *cx, const void *address)
{
	const struct ctl_origin wanted = {.address = address};

	if (!cx->origin_count)
		return NULL;
	return bsearch(&wanted, cx->origins, cx->origin_count, sizeof(*cx->origins), by_address);
}

void ctl_fail_at(struct ctl_cx *cx, const void *address, const char *format, ...)
{
	const struct ctl_origin *o = origin_of(cx, address);
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	ctl_errors_add(cx->errors, cx->file, o ? o->line : 0, o ? o->column : 0, o ? o->path : NULL,
		"%s", message);
}

struct ctl_place ctl_place_of(const struct ctl_cx *cx, const void *address)
{
	const struct ctl_origin *o = origin_of(cx, address);

	return o ? (struct ctl_place){o->line, o->column} : (struct ctl_place){0};
}

uint32_t ctl_line_of(const struct ctl_cx *cx, const void *address)
{
	return ctl_place_of(cx, address).line;
}

void ctl_remember(struct ctl_cx *cx, const void *address, const struct ctl_node *node)
{
	struct ctl_origin *o;

	if (cx->origin_count == cx->origin_room) {
		cx->origin_room = cx->origin_room ? 2 * cx->origin_room : 256;
		cx->origins = realloc(cx->origins, cx->origin_room * sizeof(*cx->origins));
		if (!cx->origins)
			abort();
	}
	o = &cx->origins[cx->origin_count++];
	o->address = address;
	o->line = node->line;
	o->column = node->column;
	o->path = ctl_pool_text(&cx->scratch, cx->path, cx->path_len);
}

static size_t push(struct ctl_cx *cx, int len)
{
	size_t before = cx->path_len;

	cx->path_len += (size_t)len;
	if (cx->path_len >= CTL_PATH_BYTES)
		cx->path_len = CTL_PATH_BYTES - 1;
	return before;
}

size_t ctl_path_push(struct ctl_cx *cx, const char *name)
{
	return push(cx, snprintf(cx->path + cx->path_len, CTL_PATH_BYTES - cx->path_len, "%s%s",
				cx->path_len ? "." : "", name));
}

size_t ctl_path_push_index(struct ctl_cx *cx, uint32_t index)
{
	return push(cx,
		snprintf(cx->path + cx->path_len, CTL_PATH_BYTES - cx->path_len, "[%u]", index));
}

void ctl_path_pop(struct ctl_cx *cx, size_t len)
{
	cx->path_len = len;
	cx->path[len] = 0;
}

const char *ctl_meant(
	const struct ctl_cx *cx, const char *name, const char *const *names, size_t count)
{
	/* Not for errors that nobody will see: a hostile file can have millions. */
	return cx->errors->count < CTL_ERRORS_MAX ? ctl_did_you_mean(name, names, count) : NULL;
}

/* Takes one from the budget of values; false, and an error the first time, when it is spent. */
static bool spend(struct ctl_cx *cx, const struct ctl_node *node)
{
	if (cx->budget == 1)
		ctl_fail(cx, node, "too many values, aliases included");
	cx->budget -= cx->budget > 0;
	return cx->budget > 0;
}

static void unknown_key(
	struct ctl_cx *cx, const struct ctl_object *object, const struct ctl_node *child)
{
	const char *names[NAMES_MAX], *meant;
	struct ctl_node at = *child;
	size_t count = 0, path;

	for (const struct ctl_key *k = object->keys; k->name && count < NAMES_MAX; k++)
		names[count++] = k->name;
	meant = ctl_meant(cx, child->name, names, count);
	at.line = child->name_line;
	at.column = child->name_column;
	path = ctl_path_push(cx, child->name);
	if (meant)
		ctl_fail(cx, &at, "unknown key, did you mean %s?", meant);
	else if (!strcmp(child->name, "<<"))
		ctl_fail(cx, &at, "merge keys are not part of YAML 1.2");
	else
		ctl_fail(cx, &at, "unknown key");
	ctl_path_pop(cx, path);
}

static const char *only_for(const struct ctl_object *object, uint32_t only, char text[128])
{
	const struct ctl_key *k = ctl_key_find(object, object->discriminator);
	size_t at = 0;

	text[0] = 0;
	for (const struct ctl_choice *c = k->choices; c->name; c++) {
		if (only & 1u << c->value)
			at += (size_t)snprintf(
				text + at, 128 - at, "%s%s", at ? " or " : "", c->name);
	}
	return text;
}

static void read_fallback(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *object, void *to)
{
	struct ctl_node made = {.kind = CTL_SCALAR,
		.plain = true,
		.text = key->fallback,
		.line = object->line,
		.column = object->column};

	made.len = strlen(key->fallback);
	ctl_type_reader(key->type)(cx, key, &made, to);
}

/* One key of an object; `given` is NULL when the file does not have it. */
static void parse_key(struct ctl_cx *cx, const struct ctl_object *object, const struct ctl_key *key,
	const struct ctl_node *node, void *to)
{
	static const struct ctl_node nothing = {.kind = CTL_MAP};
	const struct ctl_node *given = ctl_node_find(node, key->name);
	bool is_case = object->discriminator && !strcmp(key->name, object->discriminator);
	uint32_t now = is_case ? 0 : ctl_object_case(object, to);
	bool applies = !key->only || !now || (key->only & now);
	char *slot = (char *)to + key->offset, text[128];
	struct ctl_node at = nothing;
	size_t path = ctl_path_push(cx, key->name);

	at.line = node->line;
	at.column = node->column;
	if (key->type != CTL_T_OBJECT) /* has the address of its own first key */
		ctl_remember(cx, slot, given ? given : node);
	if (given && !applies)
		ctl_fail(cx, given, "is only for %s: %s", object->discriminator,
			only_for(object, key->only, text));
	else if (given)
		ctl_type_reader(key->type)(cx, key, given, slot);
	else if (key->required && applies && (!key->only || now))
		ctl_fail(cx, node, "is required");
	else if (key->type == CTL_T_OBJECT)
		ctl_parse_object(cx, key->object, &at, slot);
	else if (key->fallback && applies)
		read_fallback(cx, key, node, slot);
	ctl_path_pop(cx, path);
}

void ctl_parse_object(
	struct ctl_cx *cx, const struct ctl_object *object, const struct ctl_node *node, void *to)
{
	if (object->begin) /* first, so that what is no map has no valid indexes either */
		object->begin(cx, to);
	if (node->kind != CTL_MAP) {
		ctl_fail(cx, node, node->null ? "has no value" : "must be a map of keys to values");
		return;
	}
	if (node->count > KEYS_MAX) {
		ctl_fail(cx, node, "has %u keys, far more than there are", node->count);
		return;
	}
	for (const struct ctl_node *c = node->children; c && spend(cx, node); c = c->next) {
		if (!ctl_key_find(object, c->name))
			unknown_key(cx, object, c);
	}
	/* In the order of the table, so that what a key refers to is there before it. */
	for (const struct ctl_key *k = object->keys; k->name; k++) {
		if (!spend(cx, node))
			return;
		parse_key(cx, object, k, node, to);
	}
	if (object->finish)
		object->finish(cx, to);
}

void ctl_parse_nested(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	ctl_parse_object(cx, key->object, node, to);
}

static void store_count(const struct ctl_key *key, void *owner, uint32_t count)
{
	char *at = (char *)owner + key->count_offset;
	uint16_t narrow = (uint16_t)count;

	if (key->count_size == sizeof(narrow))
		memcpy(at, &narrow, sizeof(narrow));
	else
		memcpy(at, &count, sizeof(count));
}

void ctl_parse_list(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to)
{
	struct ctl_key element = {.name = key->name, .type = CTL_T_LABEL, .size = key->size};
	uint32_t index = 0;
	char *items;

	if (node->kind != CTL_LIST) {
		ctl_fail(cx, node, node->null ? "has no value" : "must be a list");
		return;
	}
	if (node->count > key->high || node->count < key->low) {
		ctl_fail(cx, node, "has %u elements, allowed are %g to %g", node->count, key->low,
			key->high);
		return;
	}
	if (!node->count)
		return;
	items = ctl_pool_take(&cx->config->pool, node->count * key->size);
	memcpy(to, &items, sizeof(items));
	/* Before the elements: they may refer to each other's list by count. */
	store_count(key, (char *)to - key->offset, node->count);
	for (const struct ctl_node *c = node->children; c; c = c->next, index++) {
		char *item = items + index * key->size;
		size_t path = ctl_path_push_index(cx, index);

		if (key->object) {
			ctl_parse_object(cx, key->object, c, item);
		} else {
			ctl_remember(cx, item, c);
			ctl_type_reader(element.type)(cx, &element, c, item);
		}
		ctl_path_pop(cx, path);
	}
}

const char *ctl_resolve_path(struct ctl_cx *cx, const char *text)
{
	const char *slash = strrchr(cx->file, '/');

	if (text[0] == '/' || !slash)
		return ctl_pool_text(&cx->config->pool, text, strlen(text));
	return ctl_pool_printf(
		&cx->config->pool, "%.*s/%s", (int)(slash - cx->file), cx->file, text);
}

static void check(struct ctl_cx *cx, uint32_t errors_before)
{
	ctl_check_streams(cx);
	ctl_check_inputs(cx);
	ctl_check_outputs(cx);
	ctl_check_places(cx);
	if (cx->opens_files && cx->errors->count + cx->errors->left_out == errors_before)
		ctl_models_load(cx);
	if (cx->errors->count + cx->errors->left_out == errors_before)
		ctl_check_bounds(cx);
}

int ctl_config_read(const struct ctl_config_text *in, bool opens_files, struct ctl_config **out,
	struct ctl_errors *errors)
{
	static const struct ctl_yaml_limits limits = {CTL_CONFIG_BYTES_MAX, NODES_MAX};
	uint32_t before = errors->count + errors->left_out;
	struct ctl_config *config = calloc(1, sizeof(*config));
	struct ctl_cx *cx = calloc(1, sizeof(*cx));
	struct ctl_node *root;
	bool ok;

	if (!config || !cx)
		abort();
	cx->config = config;
	cx->errors = errors;
	cx->budget = VISITS_MAX;
	cx->opens_files = opens_files;
	config->file = cx->file = ctl_pool_text(&config->pool, in->file, strlen(in->file));
	root = ctl_yaml_parse(&cx->scratch, in->file, in->text, in->bytes, &limits, errors);
	if (root)
		ctl_parse_object(cx, ctl_root_object(), root, config);
	if (cx->origin_count) { /* else the root is no map */
		qsort(cx->origins, cx->origin_count, sizeof(*cx->origins), by_address);
		check(cx, before);
	}
	ok = root && errors->count + errors->left_out == before;
	free(cx->origins);
	ctl_pool_free(&cx->scratch);
	free(cx);
	if (!ok) {
		ctl_errors_sort(errors);
		ctl_config_free(config);
		config = NULL;
	}
	*out = config;
	return ok ? 0 : -EINVAL;
}

int ctl_config_parse(const char *text, size_t len, const char *file, struct ctl_config **out,
	struct ctl_errors *errors)
{
	const struct ctl_config_text in = {file, text, len};

	return ctl_config_read(&in, false, out, errors);
}

void ctl_config_free(struct ctl_config *config)
{
	struct ctl_pool pool;

	if (!config)
		return;
	ctl_attributes_free(config->attributes);
	ctl_models_free(config->models);
	pool = config->pool;
	ctl_pool_free(&pool);
	free(config);
}
