/* Events of libfyaml to a tree; the only file that knows libfyaml. Iterative, bounded, no printing.
 */
#include "control/config/yaml.h"

#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 256 };

struct anchor {
	const char *name;
	size_t len;
	struct ctl_node *node;
};

struct frame {
	struct ctl_node *node, *last;
	const char *name; /* key read last */
	bool waiting;	  /* for the value of that key */
	uint32_t name_line, name_column;
};

struct builder {
	struct ctl_pool *pool;
	struct ctl_errors *errors;
	const char *file;
	const char *text; /* [len], not terminated */
	size_t len;
	struct ctl_node *root;
	struct frame stack[CTL_YAML_DEPTH_MAX];
	uint32_t depth; /* frames in use */
	struct anchor anchors[CTL_YAML_ANCHORS_MAX];
	uint32_t anchor_count;
	uint32_t nodes, nodes_max;
	uint32_t documents;
	uint32_t line, column; /* of the current event */
	bool stop;
};

size_t ctl_utf8_valid(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i = 0;

	while (i < len) {
		unsigned c = s[i], follow = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		uint32_t code = follow == 0 ? c : c & (0x3fu >> follow);

		if (!c || (c >= 0x80 && c < 0xc2) || c > 0xf4 || i + follow >= len)
			return i;
		for (unsigned k = 1; k <= follow; k++) {
			if ((s[i + k] & 0xc0) != 0x80)
				return i;
			code = code << 6 | (s[i + k] & 0x3f);
		}
		if ((follow == 2 && code < 0x800) || (follow == 3 && code < 0x10000) ||
			code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return i;
		i += follow + 1;
	}
	return len;
}

const struct ctl_node *ctl_node_find(const struct ctl_node *map, const char *name)
{
	for (const struct ctl_node *n = map->children; n; n = n->next) {
		if (!strcmp(n->name, name))
			return n;
	}
	return NULL;
}

/* Key path of what is being built: frames below the last have taken their child already. */
static const char *path_of(const struct builder *b, char path[PATH_BYTES])
{
	size_t at = 0;

	path[0] = 0;
	for (uint32_t i = 0; i < b->depth && at < PATH_BYTES; i++) {
		const struct frame *f = &b->stack[i];
		bool last = i + 1 == b->depth;

		if (f->node->kind == CTL_LIST)
			at += (size_t)snprintf(
				path + at, PATH_BYTES - at, "[%u]", f->node->count - !last);
		else if (!last || f->waiting)
			at += (size_t)snprintf(
				path + at, PATH_BYTES - at, "%s%s", at ? "." : "", f->name);
	}
	return path;
}

static void fail(struct builder *b, const char *message)
{
	char path[PATH_BYTES];

	ctl_errors_add(b->errors, b->file, b->line, b->column, path_of(b, path), "%s", message);
}

static void fail_stop(struct builder *b, const char *message)
{
	fail(b, message);
	b->stop = true;
}

static void remember_anchor(struct builder *b, struct fy_token *token, struct ctl_node *node)
{
	struct anchor *a = &b->anchors[b->anchor_count];
	const char *name;

	if (!token)
		return;
	if (b->anchor_count == CTL_YAML_ANCHORS_MAX) {
		fail_stop(b, "more than 256 anchors");
		return;
	}
	name = fy_token_get_text(token, &a->len);
	a->name = ctl_pool_text(b->pool, name ? name : "", name ? a->len : 0);
	a->node = node;
	b->anchor_count++;
}

/* Adds a node under the open list or map, or as the root. NULL when it has no place. */
static struct ctl_node *add_node(struct builder *b, enum ctl_node_kind kind)
{
	struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;
	struct ctl_node *n;

	if (b->nodes++ >= b->nodes_max) {
		fail_stop(b, "too many values in one file");
		return NULL;
	}
	n = ctl_pool_take(b->pool, sizeof(*n));
	n->kind = kind;
	n->line = b->line;
	n->column = b->column;
	if (!f) {
		b->root = n;
		return n;
	}
	if (f->node->kind == CTL_MAP) {
		n->name = f->name;
		n->name_line = f->name_line;
		n->name_column = f->name_column;
		f->waiting = false;
	}
	if (f->last)
		f->last->next = n;
	else
		f->node->children = n;
	f->last = n;
	f->node->count++;
	return n;
}

static bool is_null(const char *text, size_t len)
{
	return len == 0 || (len == 1 && text[0] == '~') || (len == 4 && !memcmp(text, "null", 4));
}

static bool wants_name(const struct builder *b)
{
	const struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

	return f && f->node->kind == CTL_MAP && !f->waiting;
}

static void on_scalar(struct builder *b, const struct fy_event *e)
{
	size_t len = 0;
	const char *text = e->scalar.value ? fy_token_get_text(e->scalar.value, &len) : NULL;
	bool plain = !e->scalar.value || fy_token_scalar_style(e->scalar.value) == FYSS_PLAIN;
	struct ctl_node *n;

	if (!text || memchr(text, 0, len)) {
		if (text && len)
			fail(b, "holds a NUL character");
		text = "";
		len = 0;
	}
	if (e->scalar.tag)
		fail(b, "YAML tags are not used here");
	if (wants_name(b)) {
		struct frame *f = &b->stack[b->depth - 1];

		if (e->scalar.anchor)
			fail(b, "a key cannot be an anchor");
		f->name = ctl_pool_text(b->pool, text, len);
		f->name_line = b->line;
		f->name_column = b->column;
		f->waiting = true;
		return;
	}
	n = add_node(b, CTL_SCALAR);
	if (!n)
		return;
	n->plain = plain;
	n->null = plain && is_null(text, len);
	n->text = ctl_pool_text(b->pool, text, len);
	n->len = len;
	remember_anchor(b, e->scalar.anchor, n);
}

static void on_start(
	struct builder *b, enum ctl_node_kind kind, struct fy_token *anchor, struct fy_token *tag)
{
	struct ctl_node *n;

	if (wants_name(b)) {
		fail_stop(b, "a key must be text");
		return;
	}
	if (b->depth == CTL_YAML_DEPTH_MAX) {
		fail_stop(b, "nested too deep");
		return;
	}
	if (tag)
		fail(b, "YAML tags are not used here");
	n = add_node(b, kind);
	if (!n)
		return;
	remember_anchor(b, anchor, n);
	b->stack[b->depth++] = (struct frame){.node = n};
}

static void on_alias(struct builder *b, const struct fy_event *e)
{
	size_t len = 0;
	const char *name = fy_token_get_text(e->alias.anchor, &len);
	const struct ctl_node *target = NULL;
	struct ctl_node *n;

	if (wants_name(b)) {
		fail_stop(b, "a key must be text");
		return;
	}
	for (uint32_t i = b->anchor_count; name && i-- > 0 && !target;) {
		if (b->anchors[i].len == len && !memcmp(b->anchors[i].name, name, len))
			target = b->anchors[i].node;
	}
	for (uint32_t i = 0; i < b->depth && target; i++) {
		if (b->stack[i].node == target) {
			fail_stop(b, "alias inside of what it names");
			return;
		}
	}
	if (!target)
		fail(b, "alias of an anchor that is not there");
	n = add_node(b, target ? target->kind : CTL_SCALAR);
	if (!n)
		return;
	n->plain = target ? target->plain : true;
	n->null = target ? target->null : true;
	n->text = target ? target->text : "";
	n->len = target ? target->len : 0;
	n->children = target ? target->children : NULL;
	n->count = target ? target->count : 0;
}

static int by_name(const void *left, const void *right)
{
	const struct ctl_node *a = *(struct ctl_node *const *)left;
	const struct ctl_node *b = *(struct ctl_node *const *)right;
	int c = strcmp(a->name, b->name);

	if (c)
		return c;
	if (a->name_line != b->name_line)
		return a->name_line < b->name_line ? -1 : 1;
	return (a->name_column > b->name_column) - (a->name_column < b->name_column);
}

static void check_duplicates(struct builder *b, const struct ctl_node *map)
{
	const struct ctl_node **sorted = calloc(map->count, sizeof(struct ctl_node *));
	uint32_t count = 0, first = 0;
	char path[PATH_BYTES], *end;

	if (!sorted)
		abort();
	path_of(b, path);
	end = path + strlen(path);
	for (const struct ctl_node *n = map->children; n; n = n->next)
		sorted[count++] = n;
	qsort(sorted, count, sizeof(struct ctl_node *), by_name);
	for (uint32_t i = 1; i < count; i++) {
		if (strcmp(sorted[i]->name, sorted[first]->name)) {
			first = i;
			continue;
		}
		snprintf(end, (size_t)(path + PATH_BYTES - end), "%s%s", end > path ? "." : "",
			sorted[i]->name);
		ctl_errors_add(b->errors, b->file, sorted[i]->name_line, sorted[i]->name_column,
			path, "duplicate key, first given in line %u", sorted[first]->name_line);
	}
	free(sorted);
}

static void on_end(struct builder *b)
{
	struct ctl_node *n = b->stack[b->depth - 1].node;

	if (n->kind == CTL_MAP && n->count > 1)
		check_duplicates(b, n);
	b->depth--;
}

static void on_event(struct builder *b, struct fy_event *e)
{
	const struct fy_mark *mark = fy_event_start_mark(e);
	const struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

	if (mark) {
		b->line = (uint32_t)mark->line + 1;
		b->column = (uint32_t)mark->column + 1;
	} else if (f && f->waiting) {
		b->line = f->name_line;
		b->column = f->name_column;
	}
	switch (e->type) {
	case FYET_DOCUMENT_START:
		if (b->documents++)
			fail_stop(b, "more than one document in the file");
		break;
	case FYET_SCALAR:
		on_scalar(b, e);
		break;
	case FYET_ALIAS:
		on_alias(b, e);
		break;
	case FYET_MAPPING_START:
		on_start(b, CTL_MAP, e->mapping_start.anchor, e->mapping_start.tag);
		break;
	case FYET_SEQUENCE_START:
		on_start(b, CTL_LIST, e->sequence_start.anchor, e->sequence_start.tag);
		break;
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		on_end(b);
		break;
	default:
		break;
	}
}

/*
 * A tab in front of a key makes that line go on with the plain value before it, and where that
 * began is where libfyaml points. True, with the place of the tab, when one came behind `line`.
 */
static bool find_tab(const struct builder *b, uint32_t line, struct fy_mark *tab)
{
	const char *at = b->text, *end = at + b->len, *eol;

	for (uint32_t i = 0; at < end; i++, at = eol < end ? eol + 1 : end) {
		const char *word = at;

		eol = memchr(at, '\n', (size_t)(end - at));
		eol = eol ? eol : end;
		if (i < line)
			continue;
		while (word < eol && *word == ' ')
			word++;
		*tab = (struct fy_mark){.line = (int)i, .column = (int)(word - at)};
		if (word < eol && *word == '\t')
			return true;
		if (memchr(at, ':', (size_t)(eol - at))) /* the key that ended the value */
			return false;
	}
	return false;
}

static void syntax_errors(struct builder *b, struct fy_diag *diag)
{
	struct fy_diag_error *e;
	struct fy_mark tab;
	void *at = NULL;
	bool any = false;

	while ((e = fy_diag_errors_iterate(diag, &at))) {
		if (e->line > 0 && strstr(e->msg, "multiline") &&
			find_tab(b, (uint32_t)e->line, &tab)) {
			ctl_errors_add(b->errors, b->file, (uint32_t)tab.line + 1,
				(uint32_t)tab.column + 1, NULL,
				"not valid YAML: a tab cannot indent, only spaces");
			any = true;
			continue;
		}
		ctl_errors_add(b->errors, b->file, e->line > 0 ? (uint32_t)e->line : b->line,
			e->column > 0 ? (uint32_t)e->column : b->column, NULL, "not valid YAML: %s",
			e->msg);
		any = true;
	}
	if (!any)
		ctl_errors_add(b->errors, b->file, b->line, b->column, NULL,
			"not valid YAML from here on");
}

static bool run_parser(struct builder *b, const char *text, size_t len)
{
	struct fy_diag_cfg diag_config;
	struct fy_parse_cfg config = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
					       FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
					       FYPCF_DISABLE_MMAP_OPT};
	struct fy_parser *parser = NULL;
	struct fy_event *e;
	bool ok = false;

	fy_diag_cfg_default(&diag_config);
	diag_config.fp = NULL;
	config.diag = fy_diag_create(&diag_config);
	if (!config.diag)
		abort();
	/* Without a diag of our own libfyaml 0.7 prints to stderr whatever the flags say. */
	fy_diag_set_collect_errors(config.diag, true);
	parser = fy_parser_create(&config);
	if (!parser || fy_parser_set_string(parser, text, len))
		abort();
	while (!b->stop && (e = fy_parser_parse(parser))) {
		on_event(b, e);
		fy_parser_event_free(parser, e);
	}
	if (!b->stop && fy_parser_get_stream_error(parser))
		syntax_errors(b, config.diag);
	else
		ok = !b->stop;
	fy_parser_destroy(parser);
	fy_diag_destroy(config.diag);
	return ok;
}

struct ctl_node *ctl_yaml_parse(struct ctl_pool *pool, const char *file, const char *text,
	size_t len, const struct ctl_yaml_limits *limits, struct ctl_errors *errors)
{
	size_t valid = ctl_utf8_valid(text, len);
	struct builder *b;
	struct ctl_node *root;

	if (len > limits->bytes) {
		ctl_errors_add(
			errors, file, 0, 0, NULL, "file larger than %zu bytes", limits->bytes);
		return NULL;
	}
	if (valid < len) {
		uint32_t line = 1, column = 1;

		for (size_t i = 0; i < valid; i++) {
			column = text[i] == '\n' ? 1 : column + 1;
			line += text[i] == '\n';
		}
		ctl_errors_add(errors, file, line, column, NULL, "not valid UTF-8");
		return NULL;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		abort();
	b->pool = pool;
	b->errors = errors;
	b->file = file;
	b->text = text;
	b->len = len;
	b->nodes_max = limits->nodes;
	b->line = b->column = 1;
	root = run_parser(b, text, len) ? b->root : NULL;
	if (!b->root && !errors->count)
		ctl_errors_add(errors, file, 1, 1, NULL, "the file is empty");
	free(b);
	return root;
}
