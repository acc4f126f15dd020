/* Finds inputs of models in a stream; owns nothing. */
#include "dataplane/score/resolve.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct context {
	const struct mdl_input *in;
	const struct dp_stream *stream;
	char *why;
	size_t why_bytes;
};

static const struct {
	enum dp_expr_op op;
	uint32_t stat;
} functions[] = {
	[MDL_FIELD] = {DP_EXPR_VALUE, 0},
	[MDL_MEAN] = {DP_EXPR_STAT, DP_STAT_MEAN},
	[MDL_STD] = {DP_EXPR_STAT, DP_STAT_STD},
	[MDL_MIN] = {DP_EXPR_STAT, DP_STAT_MIN},
	[MDL_MAX] = {DP_EXPR_STAT, DP_STAT_MAX},
	[MDL_LAST] = {DP_EXPR_STAT, DP_STAT_LAST},
	[MDL_COUNT] = {DP_EXPR_STAT, DP_STAT_COUNT},
	[MDL_ZSCORE] = {DP_EXPR_ZSCORE, 0},
	[MDL_SLOPE] = {DP_EXPR_SLOPE, 0},
	[MDL_DELTA] = {DP_EXPR_DELTA, 0},
	[MDL_RATIO] = {DP_EXPR_RATIO, 0},
	[MDL_HOUR] = {DP_EXPR_HOUR, 0},
	[MDL_WEEKDAY] = {DP_EXPR_WEEKDAY, 0},
};

static __attribute__((format(printf, 2, 3))) int refuse(
	const struct context *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->why, c->why_bytes, format, args);
	va_end(args);
	return -EINVAL;
}

static int find_field(const struct context *c, const char *name, uint16_t *out)
{
	for (uint16_t i = 0; i < c->stream->field_count; i++) {
		if (strcmp(name, c->stream->fields[i].name) == 0) {
			*out = i;
			return 0;
		}
	}
	return refuse(c, "stream %s has no field \"%s\"", c->stream->name, name);
}

static double seconds(int64_t ns)
{
	return (double)ns / (double)DP_NS_PER_S;
}

/* The stream's window of that size; its slide must be that of the training. */
static int find_window(const struct context *c, uint16_t *out)
{
	const struct mdl_input *in = c->in;

	for (uint16_t i = 0; i < c->stream->window_count; i++) {
		const struct dp_window_def *w = &c->stream->windows[i];

		if (w->size_ns == in->size_ns && w->slide_ns == in->slide_ns) {
			*out = i;
			return 0;
		}
	}
	return refuse(c, "stream %s has no window of %g s that slides by %g s", c->stream->name,
		seconds(in->size_ns), seconds(in->slide_ns));
}

int dp_resolve(const struct mdl_input *in, const struct dp_stream *s, struct dp_expr *out,
	char *why, size_t why_bytes)
{
	const struct context c = {in, s, why, why_bytes};
	const struct mdl_expression *e = &in->parsed;
	int rc = 0;

	*out = (struct dp_expr){
		.op = functions[e->function].op, .stat = functions[e->function].stat};
	if (*e->x)
		rc = find_field(&c, e->x, &out->field);
	if (rc == 0 && *e->y)
		rc = find_field(&c, e->y, &out->other);
	if (rc == 0 && in->size_ns)
		rc = find_window(&c, &out->window);
	if (rc == 0 && out->op == DP_EXPR_SLOPE && in->slide_ns == in->size_ns)
		rc = refuse(&c, "a slope needs a window of more than one pane");
	return rc;
}
