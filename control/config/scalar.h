/* Scalars of the config as text: sizes, durations, numbers, environment references. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config/pool.h"

enum { CTL_SCALAR_TEXT_BYTES = 32, CTL_SCALAR_BYTES_MAX = 4096 };

/* Each reads the whole text; NULL and *value, or what is wrong as a constant text. */
const char *ctl_read_uint(const char *text, uint64_t *value);
const char *ctl_read_number(const char *text, double *value);	 /* finite, or [-+].inf */
const char *ctl_read_bytes(const char *text, uint64_t *value);	 /* "65536", "64KiB", "1 GiB" */
const char *ctl_read_duration(const char *text, int64_t *value); /* ns; "30s", "1500 us", "0" */
const char *ctl_read_bool(const char *text, bool *value);

/* The shortest text with a whole number that reads back as the value. */
void ctl_write_bytes(uint64_t value, char text[CTL_SCALAR_TEXT_BYTES]);
void ctl_write_duration(int64_t value, char text[CTL_SCALAR_TEXT_BYTES]);

/*
 * Replaces ${NAME} and ${NAME:-default} of `text` into out[CTL_SCALAR_BYTES_MAX]; $${ stands for ${
 * itself. What a variable holds is not looked at again. NULL, or a text on *pool that says what is
 * wrong.
 */
const char *ctl_expand(struct ctl_pool *pool, const char *text, char *out);

/* The closest of names[count] that a typing mistake could explain, or NULL. */
const char *ctl_did_you_mean(const char *name, const char *const *names, size_t count);

/* For json_dumps(): real numbers as people wrote them, 52.52 and not 52.520000000000003. */
#define CTL_REALS JSON_REAL_PRECISION(15)
