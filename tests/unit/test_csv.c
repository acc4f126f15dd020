/* Rows for penstock model score: what is not exactly right is told with its place. */
#include "control/cli/csv.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct mdl_input inputs[] = {
	{.expression = "x"}, {.expression = "mean(x,5m)"}, {.expression = "y"}};

enum { INPUTS = sizeof(inputs) / sizeof(inputs[0]), ROWS_MAX = 4 };

/* Reads all of `text` from an allocation of its own, so that ASan sees more; -1 or the rows. */
static int read_all(struct cli_csv *c, const char *text, float rows[ROWS_MAX][INPUTS])
{
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);
	int count = 0, rc = -1;

	memcpy(copy, text, n);
	if (cli_csv_open(c, copy, n, inputs, INPUTS))
		while ((rc = cli_csv_row(c, rows[count])) > 0)
			cr_assert_lt(++count, ROWS_MAX);
	free(copy);
	return rc < 0 ? -1 : count;
}

Test(csv, columns_are_found_by_name)
{
	struct cli_csv c;
	float rows[ROWS_MAX][INPUTS];

	cr_assert_eq(read_all(&c,
			     "time,y,\"mean(x,5m)\",x,\"a \"\"b\"\"\"\n"
			     "noon,3,-2.5,1e1,anything\n"
			     "\"a,\n\"\"b\",.5,5.,+1E-2,\r\n",
			     rows),
		2, "%s", c.error);
	cr_expect_eq(rows[0][0], 10);
	cr_expect_eq(rows[0][1], -2.5f);
	cr_expect_eq(rows[0][2], 3);
	cr_expect_eq(rows[1][0], 0.01f);
	cr_expect_eq(rows[1][1], 5);
	cr_expect_eq(rows[1][2], 0.5f);
}

Test(csv, missing_values)
{
	static const char *const t[] = {
		"", "nan", "NaN", "-nan", "inf", "-Inf", "INFINITY", "\"\""};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cli_csv c;
		float rows[ROWS_MAX][INPUTS];
		char text[128];

		snprintf(text, sizeof(text), "x,y,\"mean(x,5m)\"\n1,%s,2", t[i]);
		cr_assert_eq(read_all(&c, text, rows), 1, "%s: %s", t[i], c.error);
		cr_expect(!isfinite(rows[0][2]), "%s", t[i]);
		cr_expect_eq(rows[0][1], 2);
	}
}

Test(csv, line_ends_and_byte_order_mark)
{
	static const struct {
		const char *text;
		int rows;
	} t[] = {
		{"x,y,\"mean(x,5m)\"", 0},
		{"x,y,\"mean(x,5m)\"\n", 0},
		{"x,y,\"mean(x,5m)\"\r\n1,2,3\r\n", 1},
		{"x,y,\"mean(x,5m)\"\n1,2,3\n4,5,6", 2},
		{"\xef\xbb\xbfx,y,\"mean(x,5m)\"\n1,2,3\n", 1},
		{"\"x\",\"y\",\"mean(x,5m)\"\n\"1\",\"2\",\"3\"\n", 1},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cli_csv c;
		float rows[ROWS_MAX][INPUTS];

		cr_expect_eq(read_all(&c, t[i].text, rows), t[i].rows, "%zu: %s", i, c.error);
	}
}

/* In a file of one column an empty line is a row whose value is missing. */
Test(csv, an_empty_line_is_a_row_of_one_empty_cell)
{
	static const char text[] = "x\n1\n\n2\n";
	struct cli_csv c;
	float row[1];

	cr_assert(cli_csv_open(&c, text, strlen(text), inputs, 1));
	cr_expect_eq(cli_csv_row(&c, row), 1);
	cr_expect_eq(cli_csv_row(&c, row), 1);
	cr_expect(isnan(row[0]));
	cr_expect_eq(cli_csv_row(&c, row), 1);
	cr_expect_eq(row[0], 2);
	cr_expect_eq(cli_csv_row(&c, row), 0);
}

#define HEAD "x,y,\"mean(x,5m)\"\n"

Test(csv, errors_have_their_place)
{
	static const struct {
		const char *text;
		uint32_t line, column;
		const char *what;
	} t[] = {
		{"", 1, 1, "no column for the input \"x\""},
		{"x,y\n1,2\n", 1, 1,
			"no column for the input \"mean(x,5m)\" (with its comma, it stands in "
			"quotes)"},
		{"x,y,mean(x,5m)\n", 1, 1,
			"no column for the input \"mean(x,5m)\" (with its comma, it stands in "
			"quotes)"},
		{"x,y,x,\"mean(x,5m)\"\n", 1, 5, "two columns named \"x\""},
		{"x,y,\"mean(x,5m)\n1,2,3\n", 1, 5, "a quoted value does not end"},
		{"x,\"y\"y\n", 1, 6, "text behind a closing quote"},
		{"x,y\"\n", 1, 4, "a quote inside of a value without quotes"},
		{"x\r,y\n", 1, 2, "a carriage return that ends no line"},
		{HEAD "1,2,3\n1,2\n", 3, 1, "2 values, and the header has 3 columns"},
		{HEAD "1,2,3,4\n", 2, 1, "4 values, and the header has 3 columns"},
		{HEAD "\n", 2, 1, "1 values, and the header has 3 columns"},
		{HEAD "1,hot,3\n", 2, 3, "\"hot\" is not a number"},
		{HEAD "1,2,3\n1,2, 3\n", 3, 5, "\" 3\" is not a number"},
		{HEAD "1,0x10,3\n", 2, 3, "\"0x10\" is not a number"},
		{HEAD "1,1_000,3\n", 2, 3, "\"1_000\" is not a number"},
		{HEAD "1,+,3\n", 2, 3, "\"+\" is not a number"},
		{HEAD "1,.,3\n", 2, 3, "\".\" is not a number"},
		{HEAD "1,1e,3\n", 2, 3, "\"1e\" is not a number"},
		{HEAD "1,1.2.3,3\n", 2, 3, "\"1.2.3\" is not a number"},
		{HEAD "1,nano,3\n", 2, 3, "\"nano\" is not a number"},
		{HEAD "1,t\xc3\xbc,3\n", 2, 3, "\"t\?\?\" is not a number"},
		{HEAD "1,1e39,3\n", 2, 3, "\"1e39\" is beyond what a 32-bit float holds"},
		{HEAD "1,\"2\n\",3\n", 2, 3, "\"2\?\" is not a number"},
		{HEAD "1,aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee,3\n", 2, 3,
			"\"aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd...\" is not a number"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cli_csv c;
		float rows[ROWS_MAX][INPUTS];

		cr_expect_eq(read_all(&c, t[i].text, rows), -1, "%zu", i);
		cr_expect_str_eq(c.error, t[i].what);
		cr_expect_eq(c.error_line, t[i].line, "%zu: line %u", i, c.error_line);
		cr_expect_eq(c.error_column, t[i].column, "%zu: column %u", i, c.error_column);
	}
}

/* Files of measurements carry texts and identifiers of any length. */
Test(csv, long_cells_are_fine_where_nobody_looks)
{
	size_t n = 100000;
	char *text = malloc(n + 100);
	struct cli_csv c;
	float row[1];

	strcpy(text, "x,note\n1,");
	memset(text + 9, 'a', n);
	strcpy(text + 9 + n, "\n2,b\n");
	cr_assert(cli_csv_open(&c, text, strlen(text), inputs, 1));
	cr_expect_eq(cli_csv_row(&c, row), 1);
	cr_expect_eq(cli_csv_row(&c, row), 1);
	cr_expect_eq(row[0], 2);
	memcpy(text, "note,x", 6);
	cr_assert(cli_csv_open(&c, text, strlen(text), inputs, 1));
	cr_expect_eq(cli_csv_row(&c, row), -1);
	cr_expect_str_eq(c.error, "a number of 100000 bytes");
	free(text);
}
