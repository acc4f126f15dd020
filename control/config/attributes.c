/* The table of sensor attributes: rows from files, types by column, JSON made once, found by hash.
 */
#include "control/config/attributes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "control/config/attributes_build.h"
#include "dataplane/core/batch.h"

enum { VALUES_MAX = 8 << 20 };

struct ctl_attributes {
	struct ctl_pool pool;
	struct ctl_sensor_attributes *list; /* [count] */
	uint32_t count;
	uint32_t *index; /* entry + 1; 0 free */
	uint32_t mask;
};

int ctl_attributes_format(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (!dot)
		return 0;
	if (!strcmp(dot, ".csv"))
		return CTL_ATTRIBUTES_CSV;
	return !strcmp(dot, ".yaml") || !strcmp(dot, ".yml") ? CTL_ATTRIBUTES_YAML : 0;
}

void ctl_attr_fail(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *key,
	const char *what)
{
	ctl_errors_add(b->errors, b->source->path, at->line, at->column, key, "%s", what);
	b->failed = true;
}

/* A name in JSON and in search engines: no control characters, no quotes. */
static bool name_valid(const char *name)
{
	for (const unsigned char *s = (const unsigned char *)name; *s; s++) {
		if (*s < 0x20 || *s == 0x7f || *s == '"' || *s == '\\')
			return false;
	}
	return name[0] && strlen(name) <= DP_NAME_BYTES_MAX;
}

int ctl_attr_name(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *name)
{
	for (int i = 0; i < b->name_count; i++) {
		if (!strcmp(b->names[i].text, name))
			return i;
	}
	if (!name_valid(name)) {
		ctl_attr_fail(b, at, name,
			"a name is 1 to 32 bytes without quotes or control characters");
		return -1;
	}
	if (b->name_count == CTL_ATTRIBUTE_COLUMNS_MAX) {
		ctl_attr_fail(b, at, name, "more than 64 different attributes");
		return -1;
	}
	b->names[b->name_count].text = ctl_pool_text(b->pool, name, strlen(name));
	b->names[b->name_count].all_numbers = true;
	return b->name_count++;
}

/* RFC 8259 number that a double holds exactly enough: at most 15 significant digits. */
static bool is_json_number(const char *s, double *value)
{
	unsigned significant = 0;

	s += *s == '-';
	if (s[0] == '0' && s[1] >= '0' && s[1] <= '9')
		return false;
	if (strspn(s, "0123456789") == 0)
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		significant += significant || *s != '0';
	if (*s == '.') {
		s++;
		if (strspn(s, "0123456789") == 0)
			return false;
		for (; *s >= '0' && *s <= '9'; s++)
			significant += significant || *s != '0';
	}
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '-' || *s == '+';
		if (strspn(s, "0123456789") == 0)
			return false;
		s += strspn(s, "0123456789");
	}
	return !*s && significant <= 15 && isfinite(*value);
}

void ctl_attr_value(
	struct ctl_attr_build *b, const struct ctl_attr_place *at, const struct ctl_attr_cell *cell)
{
	struct ctl_attribute *a = &b->row[b->row_count];
	double value = strtod(cell->text, NULL);

	if (cell->name < 0)
		return;
	if (strlen(cell->text) > CTL_ATTRIBUTE_TEXT_MAX) {
		ctl_attr_fail(b, at, b->names[cell->name].text, "longer than 256 bytes");
		return;
	}
	if (b->value_count == VALUES_MAX) {
		if (!b->full)
			ctl_attr_fail(b, at, NULL, "more than 8 million values");
		b->full = true;
		return;
	}
	b->value_count++;
	a->name = b->names[cell->name].text;
	a->text = ctl_pool_text(b->pool, cell->text, strlen(cell->text));
	a->is_number = cell->may_be_number && is_json_number(cell->text, &value);
	a->number = a->is_number ? value : 0;
	if (!a->is_number)
		b->names[cell->name].all_numbers = false;
	b->row_count++;
}

static bool stream_known(const struct ctl_attr_build *b, const char *stream)
{
	const char *const *s = b->streams;

	while (s && *s && strcmp(*s, stream))
		s++;
	return !s || *s;
}

void ctl_attr_row_end(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *id,
	const char *stream)
{
	struct ctl_sensor_attributes *e;
	const char *own = b->source->stream;

	if (!id || !dp_sensor_id_valid(id, strlen(id))) {
		ctl_attr_fail(
			b, at, "id", "must be 1 to 32 bytes of text without control characters");
	} else if (stream && own && strcmp(stream, own)) {
		ctl_attr_fail(
			b, at, "stream", "is not the stream that the config gives for this file");
	} else if (stream && !stream_known(b, stream)) {
		ctl_attr_fail(b, at, "stream", "there is no such stream");
	} else if (b->count == CTL_ATTRIBUTE_SENSORS_MAX) {
		ctl_attr_fail(b, at, NULL, "more than 1048576 sensors");
	} else {
		if (b->count == b->room) {
			b->room = b->room ? 2 * b->room : 64;
			b->list = realloc(b->list, b->room * sizeof(*b->list));
			if (!b->list)
				abort();
		}
		e = &b->list[b->count++];
		memset(e, 0, sizeof(*e));
		stream = stream ? stream : own;
		e->stream = stream ? ctl_pool_text(b->pool, stream, strlen(stream)) : NULL;
		e->id_len = strlen(id);
		e->id = ctl_pool_text(b->pool, id, e->id_len);
		e->count = b->row_count;
		e->list = ctl_pool_take(b->pool, (b->row_count + 1) * sizeof(*e->list));
		memcpy((void *)e->list, b->row, b->row_count * sizeof(*e->list));
		e->file = b->source->path;
		e->line = at->line;
	}
	b->row_count = 0;
}

static uint64_t hash_of(const char *stream, const char *id, size_t id_len)
{
	return XXH3_64bits_withSeed(
		id, id_len, stream ? XXH3_64bits(stream, strlen(stream)) | 1 : 0);
}

static bool same(
	const struct ctl_sensor_attributes *e, const char *stream, const char *id, size_t id_len)
{
	if (e->id_len != id_len || memcmp(e->id, id, id_len) || !e->stream != !stream)
		return false;
	return !stream || !strcmp(e->stream, stream);
}

/* Slot of the index that holds the entry, or the free one where it would be. */
static uint32_t probe(
	const struct ctl_attributes *a, const char *stream, const char *id, size_t id_len)
{
	uint32_t at = (uint32_t)hash_of(stream, id, id_len) & a->mask;

	while (a->index[at] && !same(&a->list[a->index[at] - 1], stream, id, id_len))
		at = (at + 1) & a->mask;
	return at;
}

static void build_index(struct ctl_attributes *a, struct ctl_errors *errors, bool *failed)
{
	uint32_t size = 16;

	while (size < 2 * a->count)
		size *= 2;
	a->mask = size - 1;
	a->index = ctl_pool_take(&a->pool, size * sizeof(*a->index));
	for (uint32_t i = 0; i < a->count; i++) {
		const struct ctl_sensor_attributes *e = &a->list[i];
		uint32_t at = probe(a, e->stream, e->id, e->id_len);

		if (a->index[at]) {
			const struct ctl_sensor_attributes *first = &a->list[a->index[at] - 1];

			ctl_errors_add(errors, e->file, e->line, 1, "id",
				"\"%s\" is already in %s:%u", e->id, first->file, first->line);
			*failed = true;
			continue;
		}
		a->index[at] = i + 1;
	}
}

static size_t put_string(char *to, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	char *at = to;

	*at++ = '"';
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (*s == '"' || *s == '\\') {
			*at++ = '\\';
			*at++ = (char)*s;
		} else if (*s < 0x20) {
			memcpy(at, "\\u00", 4);
			at[4] = hex[*s >> 4];
			at[5] = hex[*s & 15];
			at += 6;
		} else {
			*at++ = (char)*s;
		}
	}
	*at++ = '"';
	return (size_t)(at - to);
}

/* RFC 8259. A number is spliced as its text, which is_json_number checked. */
static void render(struct ctl_pool *pool, struct ctl_sensor_attributes *e)
{
	size_t room = 3, at = 0;
	char *json;

	for (uint32_t i = 0; i < e->count; i++)
		room += 6 * strlen(e->list[i].text) + strlen(e->list[i].name) + 6;
	json = malloc(room);
	if (!json)
		abort();
	json[at++] = '{';
	for (uint32_t i = 0; i < e->count; i++) {
		const struct ctl_attribute *a = &e->list[i];

		if (i)
			json[at++] = ',';
		at += put_string(json + at, a->name);
		json[at++] = ':';
		if (a->is_number) {
			memcpy(json + at, a->text, strlen(a->text));
			at += strlen(a->text);
		} else {
			at += put_string(json + at, a->text);
		}
	}
	json[at++] = '}';
	e->json = ctl_pool_text(pool, json, at);
	e->json_bytes = at;
	free(json);
}

/* A column is numeric only as a whole: search engines take one type per name. */
static void settle_types(struct ctl_attr_build *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		struct ctl_attribute *list = (struct ctl_attribute *)b->list[i].list;

		for (uint32_t k = 0; k < b->list[i].count; k++) {
			int name = 0;

			while (b->names[name].text != list[k].name)
				name++;
			if (!b->names[name].all_numbers) {
				list[k].is_number = false;
				list[k].number = 0;
			}
		}
		render(b->pool, &b->list[i]);
	}
}

static void read_text(struct ctl_attr_build *b, const char *text, size_t len)
{
	switch (ctl_attributes_format(b->source->path)) {
	case CTL_ATTRIBUTES_CSV:
		ctl_attr_read_csv(b, text, len);
		break;
	case CTL_ATTRIBUTES_YAML:
		ctl_attr_read_yaml(b, text, len);
		break;
	default:
		ctl_attr_fail(
			b, &(struct ctl_attr_place){0}, NULL, "must end in .csv, .yaml or .yml");
	}
}

/* Takes the rows over from the builder; frees the builder. */
static int finish(struct ctl_attr_build *b, struct ctl_attributes **out)
{
	struct ctl_attributes *a = calloc(1, sizeof(*a));
	bool failed = b->failed;

	if (!a)
		abort();
	a->pool = *b->pool;
	b->pool = &a->pool;
	if (!failed)
		settle_types(b);
	a->count = b->count;
	a->list = ctl_pool_take(&a->pool, (b->count + 1) * sizeof(*a->list));
	if (b->count)
		memcpy(a->list, b->list, b->count * sizeof(*a->list));
	build_index(a, b->errors, &failed);
	free(b->list);
	free(b);
	*out = a;
	if (!failed)
		return 0;
	ctl_attributes_free(a);
	*out = NULL;
	return -EINVAL;
}

static struct ctl_attr_build *start(struct ctl_pool *pool, struct ctl_errors *errors)
{
	struct ctl_attr_build *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->pool = pool;
	b->errors = errors;
	return b;
}

static struct ctl_attribute_source *own_source(
	struct ctl_pool *pool, const struct ctl_attribute_source *source)
{
	struct ctl_attribute_source *own = ctl_pool_take(pool, sizeof(*own));

	own->path = ctl_pool_text(pool, source->path, strlen(source->path));
	if (source->stream)
		own->stream = ctl_pool_text(pool, source->stream, strlen(source->stream));
	return own;
}

int ctl_attributes_parse(const struct ctl_attribute_source *source, const char *text, size_t len,
	struct ctl_attributes **out, struct ctl_errors *errors)
{
	struct ctl_pool pool = {0};
	struct ctl_attr_build *b = start(&pool, errors);

	b->source = own_source(&pool, source);
	read_text(b, text, len);
	return finish(b, out);
}

/* Said where the file is named, if somebody names it: there is no line of its own to point at. */
static void unreadable(struct ctl_attr_build *b, const struct ctl_attribute_source *s, int error)
{
	if (s->named_by)
		ctl_errors_add(b->errors, s->named_by, s->line, s->column, s->key, "%s: %s",
			s->path, strerror(-error));
	else
		ctl_errors_add(b->errors, s->path, 0, 0, NULL, "%s", strerror(-error));
	b->failed = true;
}

int ctl_attributes_load(const struct ctl_attribute_source *sources, size_t count,
	const char *const *streams, struct ctl_attributes **out, struct ctl_errors *errors)
{
	struct ctl_pool pool = {0};
	struct ctl_attr_build *b = start(&pool, errors);

	b->streams = streams;
	for (size_t i = 0; i < count; i++) {
		char *text;
		size_t len;
		int error;

		b->source = own_source(&pool, &sources[i]);
		error = ctl_file_read(sources[i].path, CTL_ATTRIBUTE_FILE_BYTES_MAX, &text, &len);
		if (error) {
			unreadable(b, &sources[i], error);
			continue;
		}
		read_text(b, text, len);
		free(text);
	}
	return finish(b, out);
}

void ctl_attributes_free(struct ctl_attributes *attributes)
{
	struct ctl_pool pool;

	if (!attributes)
		return;
	pool = attributes->pool;
	ctl_pool_free(&pool);
	free(attributes);
}

size_t ctl_attributes_count(const struct ctl_attributes *attributes)
{
	return attributes->count;
}

const struct ctl_sensor_attributes *ctl_attributes_find(
	const struct ctl_attributes *attributes, const char *stream, const char *id, size_t id_len)
{
	uint32_t entry = stream ? attributes->index[probe(attributes, stream, id, id_len)] : 0;

	if (!entry)
		entry = attributes->index[probe(attributes, NULL, id, id_len)];
	return entry ? &attributes->list[entry - 1] : NULL;
}

const char *ctl_attributes_json(
	void *attributes, const char *stream, const char *id, size_t id_len, size_t *bytes)
{
	const struct ctl_sensor_attributes *e = ctl_attributes_find(attributes, stream, id, id_len);

	if (!e)
		return NULL;
	*bytes = e->json_bytes;
	return e->json;
}
