/* What an input of a model is: an expression over a reading and its sensor (docs/bundle.md). */
#pragma once

#include <stdint.h>

enum {
	MDL_EXPRESSION_BYTES = 96, /* its text, with the end */
	MDL_FIELD_BYTES = 33,	   /* a field's name, with the end */
};

enum mdl_function {
	MDL_FIELD, /* x */
	MDL_MEAN,  /* mean(x,5m) and the five below: of x's values in the panes of 5m */
	MDL_STD,
	MDL_MIN,
	MDL_MAX,
	MDL_LAST,
	MDL_COUNT,
	MDL_ZSCORE, /* zscore(x,5m) */
	MDL_SLOPE,  /* slope(x,5m) */
	MDL_DELTA,  /* delta(x) */
	MDL_RATIO,  /* ratio(x,y) */
	MDL_HOUR,   /* hour() */
	MDL_WEEKDAY,
};

struct mdl_expression {
	enum mdl_function function;
	char x[MDL_FIELD_BYTES], y[MDL_FIELD_BYTES]; /* "" where the function has none */
	int64_t size_ns;			     /* of the window; 0 where it has none */
};

/*
 * Parses the canonical form, which ends at the first zero: no spaces, a duration in the greatest
 * unit that divides it (ns, us, ms, s, m, h, d). A field's name has no space, comma, bracket, quote
 * or backslash. 0 or -EINVAL.
 */
int mdl_expression_parse(const char *text, struct mdl_expression *out);
