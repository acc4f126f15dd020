/*
 * Records as JSON, one object each (docs/record.md, deploy/record.schema.json): taken as it is by
 * Elasticsearch and OpenSearch.  Field names are escaped once per schema, not once per record.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dataplane/egress/egress.h"

struct dp_json_form;

/*
 * label: value of "appliance" in every record, valid UTF-8. attributes: copied; find may be NULL.
 * 0, -EINVAL or -ENOMEM.
 */
int dp_json_form_new(
	const char *label, const struct dp_attribute_lookup *attributes, struct dp_json_form **out);
void dp_json_form_free(struct dp_json_form *f);

/*
 * The text of a record that passed dp_rec_check against `streams`; id as dp_rec_id() made it. No
 * line end, not terminated; valid until the next call. NULL: no memory.
 */
const char *dp_json_form_record(struct dp_json_form *f, const struct dp_rec *rec,
	const struct dp_stream_set *streams, const uint64_t id[2], size_t *bytes);

/* The text of an id: 32 hexadecimal digits, the high word (id[1]) first. */
void dp_id_text(const uint64_t id[2], char out[32]);

/*
 * Writes `text` as the inside of a JSON string: at most 6 bytes for one. `text` is valid UTF-8.
 * Returns the end.
 */
char *dp_json_escape(char *out, const char *text, size_t bytes);
