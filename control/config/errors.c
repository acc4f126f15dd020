/* Collects and prints what is wrong with the files that a user wrote. */
#include "control/config/errors.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES_MAX = 1024 };

/* Text of a user goes to terminals: bytes that could steer one are shown as '?'. */
static void tame(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

void ctl_errors_add(struct ctl_errors *errors, const char *file, uint32_t line, uint32_t column,
	const char *path, const char *format, ...)
{
	char message[MESSAGE_BYTES_MAX];
	struct ctl_error *e;
	char *own_path;
	va_list args;

	if (errors->count == CTL_ERRORS_MAX) {
		errors->left_out++;
		return;
	}
	if (!errors->list)
		errors->list = ctl_pool_take(&errors->pool, CTL_ERRORS_MAX * sizeof(*e));
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	tame(message);
	own_path = ctl_pool_text(&errors->pool, path ? path : "", path ? strlen(path) : 0);
	tame(own_path);

	e = &errors->list[errors->count];
	e->file = ctl_pool_text(&errors->pool, file, strlen(file));
	e->line = line;
	e->column = column;
	e->path = own_path;
	e->message = ctl_pool_text(&errors->pool, message, strlen(message));
	e->order = errors->count++;
}

static int compare(const void *left, const void *right)
{
	const struct ctl_error *a = left, *b = right;
	int by_file = strcmp(a->file, b->file);

	if (by_file)
		return by_file;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	if (a->column != b->column)
		return a->column < b->column ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

void ctl_errors_sort(struct ctl_errors *errors)
{
	if (errors->count > 1)
		qsort(errors->list, errors->count, sizeof(*errors->list), compare);
}

void ctl_errors_print(const struct ctl_errors *errors, FILE *out)
{
	for (uint32_t i = 0; i < errors->count; i++) {
		const struct ctl_error *e = &errors->list[i];

		fprintf(out, "%s:", e->file);
		if (e->line)
			fprintf(out, "%u:%u:", e->line, e->column);
		fprintf(out, " %s%s%s\n", e->path, e->path[0] ? ": " : "", e->message);
	}
	if (errors->left_out)
		fprintf(out, "and %u more\n", errors->left_out);
}

void ctl_errors_free(struct ctl_errors *errors)
{
	ctl_pool_free(&errors->pool);
	memset(errors, 0, sizeof(*errors));
}
