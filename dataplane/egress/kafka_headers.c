/* Message headers: docs/record.md. */
#include "dataplane/egress/kafka_headers.h"

#include <stdio.h>

#include "dataplane/egress/json.h"
#include "dataplane/egress/number.h"

static void add_number(rd_kafka_headers_t *h, const char *name, uint64_t value)
{
	char text[32];

	rd_kafka_header_add(h, name, -1, text, (ssize_t)dp_number_u64(value, text));
}

static void add_hex(rd_kafka_headers_t *h, const char *name, uint64_t value)
{
	char text[16];

	dp_number_hex(value, text);
	rd_kafka_header_add(h, name, -1, text, sizeof(text));
}

/* Which block it is, and what it takes to read it: as in its payload. */
static rd_kafka_headers_t *make_block_headers(const struct dp_block *b)
{
	rd_kafka_headers_t *h = rd_kafka_headers_new(6);

	add_hex(h, "appliance", b->appliance);
	add_number(h, "epoch", b->epoch);
	add_number(h, "worker", b->worker);
	add_number(h, "sequence", b->sequence);
	add_number(h, "records", b->record_count);
	add_hex(h, "schema", b->schema_hash);
	return h;
}

static rd_kafka_headers_t *make_record_headers(const struct dp_message *m)
{
	static const char *const kinds[] = {"", "reading", "window", "alert", "gap", "mark", "raw"};
	const struct dp_rec_score *score = NULL;
	uint8_t count = 0;
	rd_kafka_headers_t *h = rd_kafka_headers_new(4);
	char text[32];

	_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == DP_REC_KINDS, "a name for each kind");
	dp_id_text(m->id, text);
	rd_kafka_header_add(h, "id", -1, text, 32);
	rd_kafka_header_add(h, "kind", -1, kinds[m->kind], -1);
	if (m->kind == DP_REC_READING) {
		score = dp_rec_scores((const struct dp_rec_reading *)m->record);
		count = ((const struct dp_rec_reading *)m->record)->score_count;
	} else if (m->kind == DP_REC_WINDOW) {
		score = dp_rec_window_scores((const struct dp_rec_window *)m->record);
		count = ((const struct dp_rec_window *)m->record)->score_count;
	}
	for (uint8_t i = 0; i < count; i++) {
		const struct dp_stream *s = &m->streams->streams[m->record->stream];
		char name[DP_NAME_BYTES_MAX + 8];

		snprintf(name, sizeof(name), "model.%s", s->models[score[i].model].name);
		add_number(h, name, score[i].version);
	}
	return h;
}

rd_kafka_headers_t *dp_kafka_headers(const struct dp_message *m)
{
	return m->record ? make_record_headers(m) : make_block_headers(m->block);
}
