/* Any bytes as rows of a model's inputs: a row is numbers, an error has a place in the text. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mdl_input inputs[] = {
		{.expression = "x"}, {.expression = "mean(x,5m)"}};
	static struct cli_csv c;
	char *text = malloc(size ? size : 1); /* exactly, so that a read beyond it is seen */
	uint32_t lines = 1;
	float row[2];
	int rc = -1;

	memcpy(text, data, size);
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	if (cli_csv_open(&c, text, size, inputs, 2))
		while ((rc = cli_csv_row(&c, row)) > 0)
			assert(!isinf(row[0]) && !isinf(row[1]));
	assert(rc == 0 || (c.error[0] && c.error_line >= 1 && c.error_line <= lines &&
				  c.error_column >= 1 && c.error_column <= size + 1));
	free(text);
	return 0;
}
