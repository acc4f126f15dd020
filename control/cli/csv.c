/* Strict: what a spreadsheet would guess at is an error with its place. */
#include "control/cli/csv.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum cell_end { CELL_MORE, CELL_ROW_ENDS, CELL_BAD };

struct place {
	uint32_t line, column;
};

__attribute__((format(printf, 3, 4))) static int fail(
	struct cli_csv *c, struct place at, const char *format, ...)
{
	va_list args;

	c->error_line = at.line;
	c->error_column = at.column;
	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	return -1;
}

static struct place here(const struct cli_csv *c)
{
	return (struct place){c->line, (uint32_t)(c->at - c->line_at) + 1};
}

static struct place cell_place(const struct cli_csv *c)
{
	return (struct place){c->cell_line, c->cell_column};
}

/* ---- cells ---- */

static void put(struct cli_csv *c, char byte)
{
	if (c->cell_bytes + 1 < sizeof(c->cell))
		c->cell[c->cell_bytes] = byte;
	c->cell_bytes++;
}

/* Behind a line end at c->at. */
static void next_line(struct cli_csv *c)
{
	c->at++;
	c->line++;
	c->line_at = c->at;
}

static bool take_quoted(struct cli_csv *c)
{
	for (c->at++; c->at < c->end;) {
		if (*c->at == '"') {
			c->at++;
			if (c->at == c->end || *c->at != '"')
				return true;
		}
		put(c, *c->at);
		if (*c->at == '\n')
			next_line(c);
		else
			c->at++;
	}
	fail(c, cell_place(c), "a quoted value does not end");
	return false;
}

static bool take_plain(struct cli_csv *c)
{
	for (; c->at < c->end && *c->at != ',' && *c->at != '\n' && *c->at != '\r'; c->at++) {
		if (*c->at == '"') {
			fail(c, here(c), "a quote inside of a value without quotes");
			return false;
		}
		put(c, *c->at);
	}
	return true;
}

static enum cell_end next_cell(struct cli_csv *c)
{
	struct place begin = here(c);
	size_t kept;

	c->cell_bytes = 0;
	c->cell_line = begin.line;
	c->cell_column = begin.column;
	if (!(c->at < c->end && *c->at == '"' ? take_quoted(c) : take_plain(c)))
		return CELL_BAD;
	kept = c->cell_bytes < sizeof(c->cell) ? c->cell_bytes : sizeof(c->cell) - 1;
	c->cell[kept] = '\0';
	if (c->at == c->end)
		return CELL_ROW_ENDS;
	if (*c->at == ',') {
		c->at++;
		return CELL_MORE;
	}
	if (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n')
		c->at++;
	if (*c->at != '\n') {
		fail(c, here(c), "%s",
			*c->at == '\r' ? "a carriage return that ends no line"
				       : "text behind a closing quote");
		return CELL_BAD;
	}
	next_line(c);
	return CELL_ROW_ENDS;
}

/* The cell as it may be shown. */
static const char *shown(const struct cli_csv *c, char text[48])
{
	size_t n = 0;

	for (; n < 40 && n < c->cell_bytes; n++)
		text[n] = c->cell[n] >= 0x20 && c->cell[n] < 0x7f ? c->cell[n] : '?';
	strcpy(text + n, n < c->cell_bytes ? "..." : "");
	return text;
}

/* ---- header ---- */

/* The input that the cell names, or -1. */
static int find_input(const struct cli_csv *c, const struct mdl_input *inputs, uint32_t input_count)
{
	for (uint32_t i = 0; i < input_count; i++)
		if (strlen(inputs[i].expression) == c->cell_bytes &&
			!memcmp(inputs[i].expression, c->cell, c->cell_bytes))
			return (int)i;
	return -1;
}

static bool all_there(
	struct cli_csv *c, const struct mdl_input *inputs, const bool *seen, uint32_t input_count)
{
	for (uint32_t i = 0; i < input_count; i++) {
		if (seen[i])
			continue;
		fail(c, (struct place){1, 1}, "no column for the input \"%s\"%s",
			inputs[i].expression,
			strchr(inputs[i].expression, ',') ? " (with its comma, it stands in quotes)"
							  : "");
		return false;
	}
	return true;
}

bool cli_csv_open(struct cli_csv *c, const char *text, size_t bytes, const struct mdl_input *inputs,
	uint32_t input_count)
{
	static const char mark[] = "\xef\xbb\xbf"; /* byte order mark, as spreadsheets write it */
	bool seen[MDL_INPUTS_MAX] = {false};
	enum cell_end end = CELL_MORE;

	memset(c, 0, sizeof(*c));
	c->at = text;
	c->end = text + bytes;
	c->line = 1;
	if (bytes >= 3 && !memcmp(text, mark, 3))
		c->at += 3;
	c->line_at = c->at;
	while (end == CELL_MORE) {
		char what[48];
		int input;

		end = next_cell(c);
		if (end == CELL_BAD)
			return false;
		if (c->column_count == CLI_CSV_COLUMNS_MAX) {
			fail(c, cell_place(c), "more than %d columns", CLI_CSV_COLUMNS_MAX);
			return false;
		}
		input = find_input(c, inputs, input_count);
		if (input >= 0 && seen[input]) {
			fail(c, cell_place(c), "two columns named \"%s\"", shown(c, what));
			return false;
		}
		if (input >= 0)
			seen[input] = true;
		c->input_of[c->column_count++] = (int16_t)input;
	}
	return all_there(c, inputs, seen, input_count);
}

/* ---- rows ---- */

static const char *skip_digits(const char *at)
{
	while (isdigit((unsigned char)*at))
		at++;
	return at;
}

/* 12, -1.5, .5, 5., 1e-3; nothing that only strtod() takes. */
static bool is_decimal(const char *at, const char *end)
{
	const char *whole, *fraction;

	at += *at == '+' || *at == '-';
	whole = skip_digits(at);
	fraction = *whole == '.' ? skip_digits(whole + 1) : whole;
	if (whole == at && fraction <= whole + 1)
		return false;
	at = fraction;
	if (*at == 'e' || *at == 'E') {
		at++;
		at += *at == '+' || *at == '-';
		if (!isdigit((unsigned char)*at))
			return false;
		at = skip_digits(at);
	}
	return at == end;
}

static bool is_missing(const char *text, size_t bytes)
{
	static const char *const names[] = {"nan", "inf", "infinity"};

	if (!bytes)
		return true;
	if (strlen(text) != bytes)
		return false;
	text += *text == '+' || *text == '-';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(text, names[i]))
			return true;
	return false;
}

static int read_number(struct cli_csv *c, float *to)
{
	char what[48];

	if (c->cell_bytes >= sizeof(c->cell))
		return fail(c, cell_place(c), "a number of %zu bytes", c->cell_bytes);
	if (is_missing(c->cell, c->cell_bytes)) {
		*to = NAN;
		return 0;
	}
	if (!is_decimal(c->cell, c->cell + c->cell_bytes))
		return fail(c, cell_place(c), "\"%s\" is not a number", shown(c, what));
	*to = (float)strtod(c->cell, NULL);
	if (!isfinite(*to))
		return fail(c, cell_place(c), "\"%s\" is beyond what a 32-bit float holds",
			shown(c, what));
	return 0;
}

int cli_csv_row(struct cli_csv *c, float *row)
{
	const struct place begin = {c->line, 1};
	enum cell_end end = CELL_MORE;
	uint32_t column = 0;

	if (c->at == c->end)
		return 0;
	for (; end == CELL_MORE; column++) {
		int input;

		end = next_cell(c);
		if (end == CELL_BAD)
			return -1;
		input = column < c->column_count ? c->input_of[column] : -1;
		if (input >= 0 && read_number(c, &row[input]))
			return -1;
	}
	if (column != c->column_count)
		return fail(c, begin, "%u values, and the header has %u columns", column,
			c->column_count);
	return 1;
}
