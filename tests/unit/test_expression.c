/* The grammar that binder and trainer share: what is not canonical has a second spelling. */
#include "models/bundle/expression.h"

#include <criterion/criterion.h>
#include <errno.h>

#define S 1000000000ll

Test(expression, canonical_forms)
{
	static const struct {
		const char *text;
		enum mdl_function function;
		const char *x, *y;
		int64_t size_ns;
	} t[] = {
		{"x", MDL_FIELD, "x", "", 0},
		{"mean", MDL_FIELD, "mean", "", 0}, /* a field may be called so */
		{"hour", MDL_FIELD, "hour", "", 0},
		{"temp/1-a.b_c", MDL_FIELD, "temp/1-a.b_c", "", 0},
		{"T\xc3\xbcr", MDL_FIELD, "T\xc3\xbcr", "", 0},
		{"0123456789abcdef0123456789abcdef", MDL_FIELD, "0123456789abcdef0123456789abcdef",
			"", 0},
		{"mean(x,5m)", MDL_MEAN, "x", "", 300 * S},
		{"std(x,90s)", MDL_STD, "x", "", 90 * S},
		{"min(x,1h)", MDL_MIN, "x", "", 3600 * S},
		{"max(x,7d)", MDL_MAX, "x", "", 7 * 86400 * S},
		{"last(x,25h)", MDL_LAST, "x", "", 25 * 3600 * S},
		{"count(x,1500ms)", MDL_COUNT, "x", "", 1500000000},
		{"zscore(x,1us)", MDL_ZSCORE, "x", "", 1000},
		{"slope(mean,1ns)", MDL_SLOPE, "mean", "", 1},
		{"mean(x,106751d)", MDL_MEAN, "x", "", 106751 * (86400 * S)},
		{"delta(x)", MDL_DELTA, "x", "", 0},
		{"ratio(x,y)", MDL_RATIO, "x", "y", 0},
		{"ratio(x,x)", MDL_RATIO, "x", "x", 0},
		{"hour()", MDL_HOUR, "", "", 0},
		{"weekday()", MDL_WEEKDAY, "", "", 0},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mdl_expression e;

		cr_assert_eq(mdl_expression_parse(t[i].text, &e), 0, "%s", t[i].text);
		cr_expect_eq(e.function, t[i].function, "%s", t[i].text);
		cr_expect_str_eq(e.x, t[i].x, "%s", t[i].text);
		cr_expect_str_eq(e.y, t[i].y, "%s", t[i].text);
		cr_expect_eq(e.size_ns, t[i].size_ns, "%s", t[i].text);
	}
}

Test(expression, everything_else_is_refused)
{
	static const char *const t[] = {
		"",
		" x",
		"x ",
		"x y",
		"x,y",
		"\"x\"",
		"x\\",
		"x)",
		"x\n",
		"x\x7f",
		"\xff",
		"0123456789abcdef0123456789abcdef0", /* 33 bytes */
		"mean(x, 5m)",
		"mean (x,5m)",
		"mean( x,5m)",
		"mean(x,300s)",
		"mean(x,60s)",
		"mean(x,24h)",
		"mean(x,1000ms)",
		"mean(x,05m)",
		"mean(x,0s)",
		"mean(x,-5m)",
		"mean(x,+5m)",
		"mean(x,5)",
		"mean(x,m)",
		"mean(x,5min)",
		"mean(x,5M)",
		"mean(x,1.5m)",
		"mean(x,5m",
		"mean(x,5m))",
		"mean(x,5m)x",
		"mean(x)",
		"mean(,5m)",
		"mean(x,)",
		"mean(x,5m,5m)",
		"mean(x,106752d)", /* more than an int64 of nanoseconds */
		"mean(x,99999999999999999999s)",
		"Mean(x,5m)",
		"median(x,5m)",
		"(x)",
		"()",
		"delta()",
		"delta(x,y)",
		"delta(delta(x))",
		"ratio(x)",
		"ratio(x,)",
		"ratio(x,y,z)",
		"hour(x)",
		"hour(",
		"weekday() ",
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mdl_expression e;

		cr_expect_eq(mdl_expression_parse(t[i], &e), -EINVAL, "%s", t[i]);
	}
}
