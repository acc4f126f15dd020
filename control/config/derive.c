/* Defaults that depend on other keys. */
#include "control/config/derive.h"

#include <stdio.h>

enum { ALL_KINDS = (1 << DP_REC_KINDS) - 2 };

void ctl_begin_stream(struct ctl_cx *cx, void *stream)
{
	struct dp_stream *s = stream;

	s->index = (uint16_t)(s - cx->config->streams.streams);
	cx->stream = s;
}

void ctl_begin_rule(struct ctl_cx *cx, void *rule)
{
	struct dp_rule *r = rule;

	r->field = r->window = r->model = r->label = -1;
}

void ctl_begin_model(struct ctl_cx *cx, void *model)
{
	((struct dp_model *)model)->window = -1;
}

void ctl_begin_input(struct ctl_cx *cx, void *input)
{
	((struct ctl_input *)input)->stream = -1;
}

void ctl_begin_output(struct ctl_cx *cx, void *output)
{
	((struct ctl_output *)output)->kafka.linger_ns = -1;
}

void ctl_begin_stream_limit(struct ctl_cx *cx, void *limit)
{
	((struct ctl_stream_limit *)limit)->stream = -1;
}

void ctl_begin_attribute_file(struct ctl_cx *cx, void *file)
{
	((struct ctl_attribute_file *)file)->stream = -1;
}

void ctl_derive_window(struct ctl_cx *cx, void *window)
{
	struct dp_window_def *w = window;
	char size[CTL_SCALAR_TEXT_BYTES], slide[CTL_SCALAR_TEXT_BYTES];
	bool tumbling = !w->slide_ns || w->slide_ns == w->size_ns;

	if (!w->slide_ns)
		w->slide_ns = w->size_ns;
	if (w->name[0] || !w->size_ns)
		return;
	ctl_write_duration(w->size_ns, size);
	ctl_write_duration(w->slide_ns, slide);
	/* Cut only for odd counts of nanoseconds; names that then collide are refused. */
	if (tumbling)
		snprintf(w->name, sizeof(w->name), "%.15s", size);
	else
		snprintf(w->name, sizeof(w->name), "%.15s/%.15s", size, slide);
}

void ctl_derive_rule(struct ctl_cx *cx, void *rule)
{
	struct dp_rule *r = rule;

	r->of_score = r->model >= 0;
	if (!r->count && !r->duration_ns)
		r->count = r->kind == DP_RULE_MISSING ? 3 : 1;
}

bool ctl_rule_given(const void *rule, const struct ctl_key *key)
{
	return key->offset != offsetof(struct dp_rule, window) ||
	       !((const struct dp_rule *)rule)->of_score;
}

void ctl_derive_stream(struct ctl_cx *cx, void *stream)
{
	struct dp_stream *s = stream;

	if (!s->number)
		s->number = (uint16_t)(s->index + 1);
	cx->stream = NULL;
}

void ctl_derive_input(struct ctl_cx *cx, void *input)
{
	struct ctl_input *in = input;

	if (in->format == DP_FORMAT_JSON && in->stream < 0 && cx->config->streams.count == 1)
		in->stream = 0;
}

/* By key order inputs are read before outputs. */
uint32_t ctl_kinds_made(const struct ctl_config *c)
{
	for (uint32_t i = 0; i < c->input_count; i++)
		if (c->inputs[i].enabled && c->inputs[i].keep_raw)
			return ALL_KINDS;
	return ALL_KINDS & ~(1u << DP_REC_RAW);
}

void ctl_derive_output(struct ctl_cx *cx, void *output)
{
	struct ctl_output *out = output;
	struct ctl_kafka *k = &out->kafka;
	bool packed = k->format == CTL_KAFKA_PACKED;

	if (out->type != CTL_OUTPUT_KAFKA) {
		if (!out->kinds)
			out->kinds = ALL_KINDS & ~(1u << DP_REC_MARK | 1u << DP_REC_RAW);
		return;
	}
	if (!out->kinds && packed)
		out->kinds = ctl_kinds_made(cx->config);
	if (!out->kinds) {
		for (int kind = 1; kind < DP_REC_KINDS; kind++)
			out->kinds |= k->topics.kind[kind] ? 1u << kind : 0;
	}
	if (!k->partition)
		k->partition = packed ? CTL_PARTITION_BY_WORKER : CTL_PARTITION_BY_SENSOR;
	if (k->linger_ns < 0)
		k->linger_ns = packed ? 0 : 1000000;
}
