/* Text of scalars to values and back. No state, no I/O but getenv. */
#include "control/config/scalar.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit byte_units[] = {
	{"B", 1},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{NULL, 0},
};

static const struct unit time_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", 60ull * 1000000000},
	{"h", 3600ull * 1000000000},
	{"d", 86400ull * 1000000000},
	{NULL, 0},
};

/* Digits at *text; moves it behind them. False: none, or more than a u64 holds. */
static bool digits(const char **text, uint64_t *value)
{
	const char *s = *text;
	uint64_t v = 0;

	for (; isdigit((unsigned char)*s); s++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	if (s == *text)
		return false;
	*text = s;
	*value = v;
	return true;
}

const char *ctl_read_uint(const char *text, uint64_t *value)
{
	return digits(&text, value) && !*text ? NULL : "is not a whole number";
}

const char *ctl_read_number(const char *text, double *value)
{
	const char *rest = text + (*text == '-' || *text == '+');
	char *end;

	if (!strcmp(rest, ".inf")) {
		*value = *text == '-' ? -INFINITY : INFINITY;
		return NULL;
	}
	/* strtod alone would take "inf", "nan", hexadecimal and leading space. */
	if (!*rest || strspn(rest, "0123456789.eE+-") != strlen(rest))
		return "is not a number";
	*value = strtod(text, &end);
	if (*end || end == text)
		return "is not a number";
	return isfinite(*value) ? NULL : "is too large for a number";
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	while (units->name && strcmp(units->name, name))
		units++;
	return units->name ? units : NULL;
}

const char *ctl_read_bytes(const char *text, uint64_t *value)
{
	const struct unit *u;
	uint64_t v;

	if (!digits(&text, &v))
		return "is not a size such as 64MiB";
	text += *text == ' ';
	u = *text ? find_unit(byte_units, text) : &byte_units[0];
	if (!u)
		return "is not a size: the units are B, KiB, MiB, GiB and TiB";
	return __builtin_mul_overflow(v, u->factor, value) ? "is too large" : NULL;
}

const char *ctl_read_duration(const char *text, int64_t *value)
{
	const struct unit *u;
	uint64_t v;

	if (!digits(&text, &v))
		return "is not a duration such as 30s";
	text += *text == ' ';
	if (!*text && v)
		return "is a duration without its unit: ns, us, ms, s, m, h or d";
	u = *text ? find_unit(time_units, text) : &time_units[0];
	if (!u)
		return "is not a duration: the units are ns, us, ms, s, m, h and d";
	if (__builtin_mul_overflow(v, u->factor, &v) || v > INT64_MAX)
		return "is too long";
	*value = (int64_t)v;
	return NULL;
}

const char *ctl_read_bool(const char *text, bool *value)
{
	*value = !strcmp(text, "true");
	return *value || !strcmp(text, "false") ? NULL : "is neither true nor false";
}

static void write_unit(uint64_t value, const struct unit *units, char text[CTL_SCALAR_TEXT_BYTES])
{
	const struct unit *best = units;

	for (const struct unit *u = units; u->name && value; u++) {
		if (value % u->factor == 0)
			best = u;
	}
	snprintf(text, CTL_SCALAR_TEXT_BYTES, "%" PRIu64 "%s", value / best->factor,
		value ? best->name : "");
}

void ctl_write_bytes(uint64_t value, char text[CTL_SCALAR_TEXT_BYTES])
{
	write_unit(value, byte_units, text);
}

void ctl_write_duration(int64_t value, char text[CTL_SCALAR_TEXT_BYTES])
{
	write_unit(value > 0 ? (uint64_t)value : 0, time_units, text);
}

static bool name_char(char c, bool first)
{
	return c == '_' || isalpha((unsigned char)c) || (!first && isdigit((unsigned char)c));
}

/* One reference, at the "${" of *text; moves behind it. Its value and length, or NULL and *wrong.
 */
static const char *reference(
	struct ctl_pool *pool, const char **text, size_t *len, const char **wrong)
{
	const char *name = *text + 2, *end = name, *close, *value;
	char *own;

	while (name_char(*end, end == name))
		end++;
	close = strchr(end, '}');
	if (!close || end == name || (end != close && strncmp(end, ":-", 2))) {
		*wrong = ctl_pool_printf(pool,
			"holds \"%.40s\", which is neither ${NAME} nor ${NAME:-default} ($${ "
			"stands "
			"for ${ itself)",
			*text);
		return NULL;
	}
	own = ctl_pool_text(pool, name, (size_t)(end - name));
	value = getenv(own);
	*text = close + 1;
	if (end != close && (!value || !*value)) {
		*len = (size_t)(close - end - 2);
		return end + 2;
	}
	if (!value) {
		*wrong = ctl_pool_printf(pool,
			"needs the environment variable %s, which is not set and has no default",
			own);
		return NULL;
	}
	*len = strlen(value);
	return value;
}

const char *ctl_expand(struct ctl_pool *pool, const char *text, char *out)
{
	const char *wrong = NULL;
	size_t used = 0;

	while (*text) {
		const char *from = text;
		size_t len = 1;

		if (!strncmp(text, "$${", 3)) {
			from = "${";
			len = 2;
			text += 3;
		} else if (!strncmp(text, "${", 2)) {
			from = reference(pool, &text, &len, &wrong);
		} else {
			text++;
		}
		if (wrong)
			return wrong;
		if (used + len >= CTL_SCALAR_BYTES_MAX)
			return "is longer than 4095 bytes";
		memcpy(out + used, from, len);
		used += len;
	}
	out[used] = 0;
	return NULL;
}

enum { MEAN_BYTES_MAX = 40 };

/* Edits (insert, delete, replace, swap of neighbours) between two short texts. */
static unsigned distance(const char *a, size_t la, const char *b, size_t lb)
{
	unsigned rows[3][MEAN_BYTES_MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= lb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

			best = last[j] + 1 < best ? last[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[lb];
}

const char *ctl_did_you_mean(const char *name, const char *const *names, size_t count)
{
	size_t len = strlen(name);
	const char *best = NULL;
	unsigned best_distance = 0;

	if (len > MEAN_BYTES_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(names[i]);
		unsigned d, limit = (unsigned)(other < 4 ? 1 : other / 3 + 1);

		if (other > MEAN_BYTES_MAX)
			continue;
		d = distance(name, len, names[i], other);
		if (d <= limit && d < other && (!best || d < best_distance)) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
