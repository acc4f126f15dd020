/* Errors of a config or attribute file, collected so that a user sees all of them at once. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "control/config/pool.h"

enum { CTL_ERRORS_MAX = 256 };

struct ctl_error {
	const char *file;      /* as named by the caller */
	uint32_t line, column; /* from 1; 0 where the error is of no line */
	const char *path;      /* "streams[0].windows[1].size"; "" where of no key */
	const char *message;
	uint32_t order; /* in which it was found */
};

/* Zero-initialised is empty. */
struct ctl_errors {
	struct ctl_pool pool;
	struct ctl_error *list; /* [CTL_ERRORS_MAX], NULL while empty */
	uint32_t count;
	uint32_t left_out; /* found beyond CTL_ERRORS_MAX */
};

/* Copies everything. `path` may be NULL. */
__attribute__((format(printf, 6, 7))) void ctl_errors_add(struct ctl_errors *errors,
	const char *file, uint32_t line, uint32_t column, const char *path, const char *format,
	...);

/* By file, line, column, then as found. */
void ctl_errors_sort(struct ctl_errors *errors);

/* One line each: file:line:column: key.path: message. */
void ctl_errors_print(const struct ctl_errors *errors, FILE *out);

void ctl_errors_free(struct ctl_errors *errors);
