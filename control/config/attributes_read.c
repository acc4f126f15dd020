/* The two forms of attribute files. */
#include "control/config/attributes_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config/yaml.h"

int ctl_file_read(const char *path, size_t max, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	size_t room = 64 << 10, used = 0;
	char *buf;

	if (fd < 0)
		return -errno;
	buf = malloc(room + 1);
	while (buf && !error) {
		ssize_t n = read(fd, buf + used, room - used);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error = -errno;
			break;
		}
		used += (size_t)n;
		if (used > max) {
			error = -EFBIG;
		} else if (used == room) {
			char *more = realloc(buf, 2 * room + 1);

			if (!more)
				abort();
			buf = more;
			room *= 2;
		}
	}
	close(fd);
	if (!buf)
		return -ENOMEM;
	if (error) {
		free(buf);
		return error;
	}
	buf[used] = 0;
	*text = buf;
	*len = used;
	return 0;
}

enum { ID_COLUMN = -2, STREAM_COLUMN = -3, COLUMNS_MAX = CTL_ATTRIBUTE_COLUMNS_MAX + 2 };

struct csv {
	struct ctl_attr_build *b;
	const char *at, *end;
	uint32_t line;
	char *cell;	    /* [len of the file + 1]: the cell read last, quotes undone */
	uint32_t cell_line; /* where it begins */
	int columns[COLUMNS_MAX];
	uint32_t column_count;
};

enum csv_end { CSV_CELL, CSV_ROW, CSV_BAD };

static enum csv_end csv_fail(struct csv *c, uint32_t column, const char *what)
{
	const struct ctl_attr_place at = {c->cell_line, column};

	ctl_attr_fail(c->b, &at, NULL, what);
	return CSV_BAD;
}

/* A quoted cell, behind its first quote. False: it never ends. */
static bool quoted(struct csv *c, char **to)
{
	for (; c->at < c->end; c->at++) {
		if (*c->at == '"' && c->at + 1 < c->end && c->at[1] == '"') {
			c->at++;
		} else if (*c->at == '"') {
			c->at++;
			return true;
		} else if (*c->at == '\n') {
			c->line++;
		}
		*(*to)++ = *c->at;
	}
	return false;
}

/* Next cell into c->cell; says whether the row ends behind it. */
static enum csv_end next_cell(struct csv *c, uint32_t column)
{
	char *to = c->cell;

	c->cell_line = c->line;
	if (c->at < c->end && *c->at == '"') {
		c->at++;
		if (!quoted(c, &to))
			return csv_fail(c, column, "a quoted value does not end");
		*to = 0;
		if (c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r')
			return csv_fail(c, column, "text behind a closing quote");
	} else {
		while (c->at < c->end && !strchr(",\r\n", *c->at)) {
			if (*c->at == '"')
				return csv_fail(
					c, column, "a quote inside of a value without quotes");
			*to++ = *c->at++;
		}
		*to = 0;
	}
	if (c->at < c->end && *c->at == ',') {
		c->at++;
		return CSV_CELL;
	}
	if (c->at < c->end && *c->at == '\r') {
		c->at++;
		if (c->at == c->end || *c->at != '\n')
			return csv_fail(c, column, "a carriage return that ends no line");
	}
	if (c->at < c->end) {
		c->at++;
		c->line++;
	}
	return CSV_ROW;
}

static bool read_header(struct csv *c)
{
	enum csv_end end = CSV_CELL;
	bool has_id = false;

	while (end == CSV_CELL) {
		struct ctl_attr_place at = {1, c->column_count + 1};
		int name;

		end = next_cell(c, c->column_count + 1);
		if (end == CSV_BAD)
			return false;
		if (c->column_count == COLUMNS_MAX) {
			ctl_attr_fail(c->b, &at, NULL, "more than 66 columns");
			return false;
		}
		if (!strcmp(c->cell, "id"))
			name = ID_COLUMN;
		else if (!strcmp(c->cell, "stream"))
			name = STREAM_COLUMN;
		else
			name = ctl_attr_name(c->b, &at, c->cell);
		if (name == -1)
			return false;
		for (uint32_t i = 0; i < c->column_count; i++) {
			if (c->columns[i] == name) {
				ctl_attr_fail(c->b, &at, c->cell, "two columns of this name");
				return false;
			}
		}
		has_id |= name == ID_COLUMN;
		c->columns[c->column_count++] = name;
	}
	if (!has_id)
		ctl_attr_fail(c->b, &(struct ctl_attr_place){1, 1}, NULL,
			"the header line has no column \"id\"");
	return has_id;
}

static bool read_row(struct csv *c)
{
	struct ctl_attr_place at = {c->line, 1};
	char *id = NULL, *stream = NULL;
	enum csv_end end = CSV_CELL;
	uint32_t column = 0;

	for (; end == CSV_CELL; column++) {
		struct ctl_attr_cell cell = {.text = c->cell, .may_be_number = true};
		struct ctl_attr_place here;

		end = next_cell(c, column + 1);
		here = (struct ctl_attr_place){c->cell_line, column + 1};
		if (end == CSV_BAD)
			return false;
		if (column == 0 && end == CSV_ROW && !c->cell[0])
			return true; /* an empty line */
		if (column >= c->column_count)
			continue;
		cell.name = c->columns[column];
		if (cell.name == ID_COLUMN)
			id = ctl_pool_text(c->b->pool, c->cell, strlen(c->cell));
		else if (cell.name == STREAM_COLUMN && c->cell[0])
			stream = ctl_pool_text(c->b->pool, c->cell, strlen(c->cell));
		else if (c->cell[0])
			ctl_attr_value(c->b, &here, &cell);
	}
	if (column != c->column_count) {
		ctl_attr_fail(c->b, &at, NULL,
			column < c->column_count ? "fewer values than the header has columns"
						 : "more values than the header has columns");
		c->b->row_count = 0;
		return true;
	}
	ctl_attr_row_end(c->b, &at, id, stream);
	return true;
}

void ctl_attr_read_csv(struct ctl_attr_build *b, const char *text, size_t len)
{
	struct csv *c = calloc(1, sizeof(*c));
	size_t valid = ctl_utf8_valid(text, len);

	if (!c || !(c->cell = malloc(len + 1)))
		abort();
	c->b = b;
	c->at = text;
	c->end = text + len;
	c->line = 1;
	if (valid < len) {
		for (size_t i = 0; i < valid; i++)
			c->line += text[i] == '\n';
		ctl_attr_fail(b, &(struct ctl_attr_place){c->line, 1}, NULL, "not valid UTF-8");
	} else {
		if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
			c->at += 3; /* byte order mark, as spreadsheets write it */
		if (read_header(c)) {
			while (c->at < c->end && read_row(c))
				;
		}
	}
	free(c->cell);
	free(c);
}

/* One map of the list. */
static void read_map(struct ctl_attr_build *b, const struct ctl_node *map)
{
	const struct ctl_attr_place place = {map->line, map->column};
	const char *id = NULL, *stream = NULL;
	bool bad = false;

	for (const struct ctl_node *n = map->children; n; n = n->next) {
		struct ctl_attr_place at = {n->line, n->column};
		struct ctl_attr_cell cell = {.text = n->text, .may_be_number = n->plain};

		if (n->kind != CTL_SCALAR) {
			ctl_attr_fail(b, &at, n->name, "must be text or a number");
			bad = true;
		} else if (!strcmp(n->name, "id")) {
			id = n->text;
		} else if (!strcmp(n->name, "stream")) {
			stream = n->text;
		} else if (!n->null) {
			cell.name = ctl_attr_name(b, &at, n->name);
			if (b->row_count < CTL_ATTRIBUTE_COLUMNS_MAX)
				ctl_attr_value(b, &at, &cell);
		}
	}
	if (bad)
		b->row_count = 0;
	else
		ctl_attr_row_end(b, &place, id, stream);
}

void ctl_attr_read_yaml(struct ctl_attr_build *b, const char *text, size_t len)
{
	static const struct ctl_yaml_limits limits = {CTL_ATTRIBUTE_FILE_BYTES_MAX, 8u << 20};
	struct ctl_pool tree = {0};
	uint32_t before = b->errors->count + b->errors->left_out;
	struct ctl_node *root =
		ctl_yaml_parse(&tree, b->source->path, text, len, &limits, b->errors);

	if (root && root->kind != CTL_LIST)
		ctl_attr_fail(b, &(struct ctl_attr_place){root->line, root->column}, NULL,
			"must be a list of maps, each with the key id");
	for (const struct ctl_node *n = root && root->kind == CTL_LIST ? root->children : NULL; n;
		n = n->next) {
		if (n->kind == CTL_MAP)
			read_map(b, n);
		else
			ctl_attr_fail(b, &(struct ctl_attr_place){n->line, n->column}, NULL,
				"must be a map with the key id");
	}
	if (b->errors->count + b->errors->left_out != before)
		b->failed = true;
	ctl_pool_free(&tree);
}
