/* Rows of a model's inputs as CSV (RFC 4180), from memory: no I/O. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "models/bundle/bundle.h"

enum {
	CLI_CSV_COLUMNS_MAX = 4096,
	CLI_CSV_CELL_BYTES = 256, /* longer ones may stand only where nobody looks */
	CLI_CSV_WHAT_BYTES = 256,
};

struct cli_csv {
	const char *at, *end, *line_at;
	uint32_t line;
	/* the cell read last: quotes undone, cut to its room; where it begins */
	char cell[CLI_CSV_CELL_BYTES];
	size_t cell_bytes; /* uncut */
	uint32_t cell_line, cell_column;
	uint32_t column_count;
	int16_t input_of[CLI_CSV_COLUMNS_MAX]; /* -1: not one of the model's */
	/* what is wrong, and where: line and column of the text from 1 */
	uint32_t error_line, error_column;
	char error[CLI_CSV_WHAT_BYTES];
};

/*
 * Reads the header, whose names are the inputs' expressions in any order; further columns are
 * ignored. True, or false with the error. `text` must outlive the rows.
 */
bool cli_csv_open(struct cli_csv *c, const char *text, size_t bytes, const struct mdl_input *inputs,
	uint32_t input_count);

/*
 * The next row into `row`, in the order of the inputs: an empty cell, nan or inf is not finite, a
 * number is read as a double and rounded to a float, as the daemon does. 1, 0 at the end, -1 with
 * the error.
 */
int cli_csv_row(struct cli_csv *c, float *row);
