/* The grammar of inputs: one table of functions, one parser; who scores looks the fields up. */
#include "models/bundle/expression.h"

#include <errno.h>
#include <string.h>

#include "models/bundle/text.h"

enum arguments { NONE, FIELD, FIELD_SIZE, FIELD_FIELD };

static const struct {
	const char *name;
	enum mdl_function function;
	enum arguments arguments;
} functions[] = {
	{"mean", MDL_MEAN, FIELD_SIZE},
	{"std", MDL_STD, FIELD_SIZE},
	{"min", MDL_MIN, FIELD_SIZE},
	{"max", MDL_MAX, FIELD_SIZE},
	{"last", MDL_LAST, FIELD_SIZE},
	{"count", MDL_COUNT, FIELD_SIZE},
	{"zscore", MDL_ZSCORE, FIELD_SIZE},
	{"slope", MDL_SLOPE, FIELD_SIZE},
	{"delta", MDL_DELTA, FIELD},
	{"ratio", MDL_RATIO, FIELD_FIELD},
	{"hour", MDL_HOUR, NONE},
	{"weekday", MDL_WEEKDAY, NONE},
};

static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{"d", 86400 * 1000000000ll},
	{"h", 3600 * 1000000000ll},
	{"m", 60 * 1000000000ll},
	{"s", 1000000000ll},
	{"ms", 1000000ll},
	{"us", 1000ll},
	{"ns", 1ll},
};

/* Each moves `at` behind what it takes; NULL: not there. */

static const char *take_field(const char *at, char to[MDL_FIELD_BYTES])
{
	size_t n = strcspn(at, "(), \"\\");

	if (n == 0 || n >= MDL_FIELD_BYTES || !mdl_text_printable(at, n))
		return NULL;
	memcpy(to, at, n);
	to[n] = '\0';
	return at + n;
}

static const char *take_size(const char *at, int64_t *ns)
{
	size_t unit_bytes;
	int64_t v = 0;

	if (*at < '1' || *at > '9')
		return NULL;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at - '0', &v))
			return NULL;
	unit_bytes = strcspn(at, ")");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].name) != unit_bytes || memcmp(at, units[i].name, unit_bytes))
			continue;
		if (__builtin_mul_overflow(v, units[i].ns, ns))
			return NULL;
		for (size_t k = 0; k < i; k++) /* in a greater unit it would be shorter */
			if (*ns % units[k].ns == 0)
				return NULL;
		return at + unit_bytes;
	}
	return NULL;
}

static const char *take_comma(const char *at)
{
	return at && *at == ',' ? at + 1 : NULL;
}

static const char *take_arguments(
	const char *at, enum arguments arguments, struct mdl_expression *out)
{
	if (arguments == NONE)
		return at;
	at = take_field(at, out->x);
	if (arguments == FIELD)
		return at;
	at = take_comma(at);
	if (!at)
		return NULL;
	return arguments == FIELD_SIZE ? take_size(at, &out->size_ns) : take_field(at, out->y);
}

int mdl_expression_parse(const char *text, struct mdl_expression *out)
{
	size_t name_bytes = strcspn(text, "(");
	const char *at;

	memset(out, 0, sizeof(*out));
	if (!text[name_bytes]) {
		out->function = MDL_FIELD;
		at = take_field(text, out->x);
		return at && !*at ? 0 : -EINVAL;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		if (strlen(functions[i].name) != name_bytes ||
			memcmp(text, functions[i].name, name_bytes))
			continue;
		out->function = functions[i].function;
		at = take_arguments(text + name_bytes + 1, functions[i].arguments, out);
		return at && at[0] == ')' && !at[1] ? 0 : -EINVAL;
	}
	return -EINVAL;
}
