/* The texts that all records of a stream share: its names, escaped, with quotes and colons. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dataplane/journal/record.h"

enum { DP_JSON_NAMES_SLACK = 32 }; /* bytes readable behind the pool's last text */

struct dp_json_text_at {
	uint32_t at, bytes; /* in the pool */
};

struct dp_json_stream {
	/* `","kind":"...","appliance":"...","stream":"..."`: what follows the id */
	struct dp_json_text_at head[DP_REC_KINDS];
	struct dp_json_text_at *field, *tag, *model, *derived; /* `"name":`, by index */
	struct dp_json_text_at *window, *rule, *label;	       /* `"name"`, by index */
	size_t names_bytes;				       /* of all of the above once */
	size_t score_bytes_max; /* of the longest of `model` and of `label` */
	/* of model i: its classes among the labels */
	uint16_t label_at[DP_MODELS_MAX], label_count[DP_MODELS_MAX];
};

struct dp_json_names {
	uint64_t hash; /* of the stream set */
	uint32_t stream_count;
	struct dp_json_stream *streams;
	struct dp_json_text_at head[DP_REC_KINDS]; /* of records of no stream */
	struct dp_json_text_at *texts;
	char *pool;
};

/* label: already escaped. NULL: no memory. */
struct dp_json_names *dp_json_names_new(const struct dp_stream_set *streams, const char *label);
void dp_json_names_free(struct dp_json_names *n);
