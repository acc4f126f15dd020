/* Sensor attributes: both forms of file, types by column, escaping, look-up, mistakes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config/attributes.h"

static int parse(const char *path, const char *stream, const char *text,
	struct ctl_attributes **out, struct ctl_errors *errors)
{
	struct ctl_attribute_source source = {.path = path, .stream = stream};

	return ctl_attributes_parse(&source, text, strlen(text), out, errors);
}

static struct ctl_attributes *parse_well(const char *path, const char *text)
{
	struct ctl_errors errors = {0};
	struct ctl_attributes *a = NULL;
	int r = parse(path, NULL, text, &a, &errors);

	ctl_errors_print(&errors, stderr);
	ctl_errors_free(&errors);
	cr_assert_eq(r, 0);
	return a;
}

static void expect_json(
	const struct ctl_attributes *a, const char *stream, const char *id, const char *json)
{
	const struct ctl_sensor_attributes *e = ctl_attributes_find(a, stream, id, strlen(id));

	cr_assert(e, "%s", id);
	cr_expect_str_eq(e->json, json);
	cr_expect_eq(e->json_bytes, strlen(json));
}

Test(attributes, csv_quotes_line_ends_and_gaps)
{
	struct ctl_attributes *a = parse_well("x.csv", "\xef\xbb\xbfid,name,site\r\n"
						       "a,\"Boiler, \"\"4\"\"\",North\r\n"
						       "\n"
						       "b,\"two\nlines\",\n"
						       "\xc3\xa9,,South");

	cr_expect_eq(ctl_attributes_count(a), 3);
	expect_json(a, NULL, "a", "{\"name\":\"Boiler, \\\"4\\\"\",\"site\":\"North\"}");
	expect_json(a, "any", "b", "{\"name\":\"two\\u000alines\"}");
	expect_json(a, NULL, "\xc3\xa9", "{\"site\":\"South\"}");
	cr_expect_null(ctl_attributes_find(a, NULL, "c", 1));
	cr_expect_eq(ctl_attributes_find(a, NULL, "b", 1)->line, 4);
	ctl_attributes_free(a);
}

Test(attributes, a_column_is_numeric_only_as_a_whole)
{
	struct ctl_attributes *a = parse_well("x.csv", "id,lat,line,serial,big\n"
						       "a,52.5,1,007,1234567890123456\n"
						       "b,-0.25e1,A,12,1\n");
	const struct ctl_sensor_attributes *e = ctl_attributes_find(a, NULL, "b", 1);

	expect_json(a, NULL, "a",
		"{\"lat\":52.5,\"line\":\"1\",\"serial\":\"007\",\"big\":\"1234567890123456\"}");
	expect_json(
		a, NULL, "b", "{\"lat\":-0.25e1,\"line\":\"A\",\"serial\":\"12\",\"big\":\"1\"}");
	cr_expect(e->list[0].is_number);
	cr_expect_float_eq(e->list[0].number, -2.5, 0);
	cr_expect(!e->list[1].is_number);
	ctl_attributes_free(a);
}

Test(attributes, a_stream_has_entries_of_its_own)
{
	struct ctl_attributes *a =
		parse_well("x.csv", "id,stream,name\na,,any\na,air,of air\nb,air,b\n");
	size_t bytes = 0;

	expect_json(a, "air", "a", "{\"name\":\"of air\"}");
	expect_json(a, "water", "a", "{\"name\":\"any\"}");
	expect_json(a, "air", "b", "{\"name\":\"b\"}");
	cr_expect_null(ctl_attributes_find(a, "water", "b", 1));
	cr_expect_str_eq(ctl_attributes_json(a, "water", "a", 1, &bytes), "{\"name\":\"any\"}");
	cr_expect_eq(bytes, strlen("{\"name\":\"any\"}"));
	cr_expect_null(ctl_attributes_json(a, "water", "b", 1, &bytes));
	ctl_attributes_free(a);
}

Test(attributes, yaml_is_the_same_table)
{
	struct ctl_attributes *a =
		parse_well("x.yaml", "- id: a\n  name: Gate\n  lat: 52.5\n"
				     "  note:\n- {id: 7, code: \"12\", on: true}\n");

	expect_json(a, NULL, "a", "{\"name\":\"Gate\",\"lat\":52.5}");
	expect_json(a, NULL, "7", "{\"code\":\"12\",\"on\":\"true\"}");
	ctl_attributes_free(a);
}

Test(attributes, every_byte_escapes_to_json_that_reads_back)
{
	char text[400] = "id,all\na,\"";
	size_t at = strlen(text);
	struct ctl_attributes *a;
	json_t *parsed;
	char want[130];
	size_t n = 0;

	for (int c = 1; c < 128; c++) {
		if (c == '"')
			text[at++] = '"';
		text[at++] = (char)c;
		want[n++] = (char)c;
	}
	want[n] = 0;
	strcpy(text + at, "\"\n");
	a = parse_well("x.csv", text);
	parsed = json_loads(ctl_attributes_find(a, NULL, "a", 1)->json, 0, NULL);
	cr_assert(parsed);
	cr_expect_str_eq(json_string_value(json_object_get(parsed, "all")), want);
	json_decref(parsed);
	ctl_attributes_free(a);
}

struct broken {
	const char *path, *stream, *text;
	uint32_t line, column;
	const char *key, *message;
};

static const struct broken table[] = {
	{"x.csv", NULL, "", 1, 1, "", "a name is 1 to 32"},
	{"x.csv", NULL, "name\na\n", 1, 1, "", "no column \"id\""},
	{"x.csv", NULL, "id,a,a\n", 1, 3, "a", "two columns"},
	{"x.csv", NULL, "id,a\nx,1,2\n", 2, 1, "", "more values"},
	{"x.csv", NULL, "id,a\ny,1\nx\n", 3, 1, "", "fewer values"},
	{"x.csv", NULL, "id,a\nx,\"1\n", 2, 2, "", "does not end"},
	{"x.csv", NULL, "id,a\nx,\"1\"2\n", 2, 2, "", "behind a closing quote"},
	{"x.csv", NULL, "id,a\nx,1\"2\n", 2, 2, "", "a quote inside"},
	{"x.csv", NULL, "id,a\nx,1\r2\n", 2, 2, "", "carriage return"},
	{"x.csv", NULL, "id,a\nx,1\ny,1\nx,2\n", 4, 1, "id", "already in x.csv:2"},
	{"x.csv", NULL, "id,a\nx,\xff\n", 2, 1, "", "not valid UTF-8"},
	{"x.csv", NULL, "id,a\n,1\n", 2, 1, "id", "must be 1 to 32 bytes"},
	{"x.csv", NULL, "id,a\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,1\n", 2, 1, "id", "1 to 32"},
	{"x.csv", "air", "id,stream\nx,water\n", 2, 1, "stream", "not the stream"},
	{"x.txt", NULL, "id\n", 0, 0, "", "must end in .csv"},
	{"x.yaml", NULL, "a: 1\n", 1, 1, "", "must be a list of maps"},
	{"x.yaml", NULL, "- a\n", 1, 3, "", "must be a map"},
	{"x.yaml", NULL, "- {a: 1}\n", 1, 3, "id", "must be 1 to 32"},
	{"x.yaml", NULL, "- {id: a, b: [1]}\n", 1, 14, "b", "must be text or a number"},
	{"x.yaml", NULL, "- {id: a, b: 1, b: 2}\n", 1, 17, "[0].b", "duplicate key"},
	{"x.yaml", NULL, "- {id: a\n", 2, 1, "", "not valid YAML"},
};

Test(attributes, every_mistake_is_named_with_its_place)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct broken *t = &table[i];
		struct ctl_errors errors = {0};
		struct ctl_attributes *a = NULL;
		int r = parse(t->path, t->stream, t->text, &a, &errors);
		bool found = false;

		for (uint32_t k = 0; k < errors.count; k++)
			found |= errors.list[k].line == t->line &&
				 errors.list[k].column == t->column &&
				 !strcmp(errors.list[k].path, t->key) &&
				 strstr(errors.list[k].message, t->message);
		if (r != -EINVAL || !found) {
			ctl_errors_print(&errors, stderr);
			cr_expect(false, "mistake %zu: wanted %u:%u %s: %s", i, t->line, t->column,
				t->key, t->message);
		}
		cr_expect_null(a);
		ctl_errors_free(&errors);
	}
}

Test(attributes, unknown_streams_and_missing_files_are_errors)
{
	static const char *const streams[] = {"air", NULL};
	char path[] = "/tmp/penstock-attributes-XXXXXX.csv";
	int fd = mkstemps(path, 4);
	struct ctl_attribute_source sources[] = {{.path = path}, {.path = "/nonexistent.csv"}};
	struct ctl_errors errors = {0};
	struct ctl_attributes *a;

	cr_assert(fd >= 0);
	cr_assert(write(fd, "id,stream\nx,water\n", 18) == 18);
	close(fd);
	cr_expect_eq(ctl_attributes_load(sources, 2, streams, &a, &errors), -EINVAL);
	cr_expect_eq(errors.count, 2);
	cr_expect(strstr(errors.list[0].message, "no such stream"));
	cr_expect(strstr(errors.list[1].message, "No such file"));
	ctl_errors_free(&errors);
	unlink(path);
}

Test(attributes, many_sensors_are_found)
{
	char *text = malloc(1 << 20);
	size_t at = (size_t)sprintf(text, "id,n\n");
	struct ctl_attributes *a;

	for (int i = 0; i < 20000; i++)
		at += (size_t)sprintf(text + at, "sensor-%d,%d\n", i, i);
	a = parse_well("x.csv", text);
	for (int i = 0; i < 20000; i++) {
		char id[32];
		int len = sprintf(id, "sensor-%d", i);
		const struct ctl_sensor_attributes *e =
			ctl_attributes_find(a, "s", id, (size_t)len);

		cr_assert(e && e->list[0].number == i);
	}
	ctl_attributes_free(a);
	free(text);
}
