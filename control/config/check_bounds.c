/*
 * Sizes that must fit each other, and what is derived from a config that is otherwise well: hashes,
 * the largest block, how many sensors there can be.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "control/config/parse.h"
#include "dataplane/alert/alert.h"
#include "dataplane/core/sensor.h"
#include "dataplane/journal/block.h"
#include "dataplane/journal/schema.h"
#include "dataplane/score/score.h"
#include "dataplane/window/window.h"

size_t ctl_sensor_bytes(const struct dp_stream *stream)
{
	const struct dp_table_config table = {
		.stream = stream,
		.slots_max = 1,
		.window_bytes = dp_window_slot_bytes(stream),
		.alert_bytes = dp_alert_slot_bytes(stream),
		.score_bytes = dp_score_slot_bytes(stream),
	};

	return dp_table_sensor_bytes(&table);
}

static void check_attributes(struct ctl_cx *cx)
{
	struct ctl_config *c = cx->config;

	for (uint32_t i = 0; i < c->attribute_file_count; i++) {
		struct ctl_attribute_file *f = &c->attribute_files[i];

		f->given = ctl_place_of(cx, &f->path);
		if (f->path && !ctl_attributes_format(f->path))
			ctl_fail_at(cx, &f->path, "must end in .csv, .yaml or .yml");
	}
}

static void check_journal(struct ctl_cx *cx)
{
	const struct ctl_journal *j = &cx->config->journal;
	uint64_t block = cx->config->block_bytes_max;
	char text[CTL_SCALAR_TEXT_BYTES];

	ctl_write_bytes(block, text);
	if (block > j->ring_bytes / 4)
		ctl_fail_at(cx, &j->ring_bytes,
			"the largest block of these streams, %s, is above a quarter of it", text);
	if (block > j->writer.segment_bytes / 4)
		ctl_fail_at(cx, &j->writer.segment_bytes,
			"the largest block of these streams, %s, is above a quarter of it", text);
}

static void check_messages(struct ctl_cx *cx)
{
	const struct ctl_config *c = cx->config;
	char text[CTL_SCALAR_TEXT_BYTES];

	ctl_write_bytes(c->block_bytes_max, text);
	for (uint32_t i = 0; i < c->output_count; i++) {
		const struct ctl_kafka *k = &c->outputs[i].kafka;

		if (c->outputs[i].type == CTL_OUTPUT_KAFKA && k->format == CTL_KAFKA_PACKED &&
			c->block_bytes_max > k->message_max_bytes)
			ctl_fail_at(cx, &k->message_max_bytes,
				"the largest block of these streams, %s, is above it", text);
	}
}

static void check_schema(struct ctl_cx *cx)
{
	struct dp_stream_set *set = &cx->config->streams;

	if (dp_schema_write(set, NULL, 0) > DP_SCHEMA_BYTES_MAX) {
		ctl_fail_at(cx, &set->streams, "are larger than 1MiB when written into a segment");
		return;
	}
	for (uint32_t i = 0; i < set->count; i++)
		set->streams[i].state_hash = dp_stream_state_hash(&set->streams[i]);
	set->hash = dp_schema_hash(set);
}

static void apply_stream_limits(struct ctl_cx *cx, uint64_t *left, uint32_t *shared)
{
	struct ctl_limits *l = &cx->config->limits;

	for (uint32_t i = 0; i < l->given_count; i++) {
		const struct ctl_stream_limit *g = &l->given[i];
		const struct dp_stream *s = &cx->config->streams.streams[g->stream];
		uint64_t bytes = (uint64_t)ctl_sensor_bytes(s) * g->sensors;

		if (l->sensors_max[g->stream]) {
			ctl_fail_at(cx, &g->stream, "stream \"%s\" has a limit already", s->name);
			continue;
		}
		l->sensors_max[g->stream] = g->sensors;
		--*shared;
		if (bytes > *left)
			ctl_fail_at(cx, &g->sensors,
				"%u sensors of %zu bytes are more than limits.memory leaves",
				g->sensors, ctl_sensor_bytes(s));
		*left -= bytes > *left ? *left : bytes;
	}
}

/* Streams without a limit of their own share the memory that is left, the same bytes each. */
static void derive_sensors(struct ctl_cx *cx)
{
	struct ctl_config *c = cx->config;
	struct ctl_limits *l = &c->limits;
	uint64_t left = l->memory_bytes;
	uint32_t shared = c->streams.count;

	l->sensors_max = ctl_pool_take(&c->pool, c->streams.count * sizeof(uint32_t));
	apply_stream_limits(cx, &left, &shared);
	for (uint32_t i = 0; i < c->streams.count; i++) {
		const struct dp_stream *s = &c->streams.streams[i];
		uint64_t sensors;

		if (l->sensors_max[i])
			continue;
		sensors = left / shared / ctl_sensor_bytes(s);
		if (sensors < c->workers.count)
			ctl_fail_at(cx, &l->memory_bytes,
				"leaves stream \"%s\" room for %u sensors of %zu bytes, less than "
				"one "
				"a worker",
				s->name, (unsigned)sensors, ctl_sensor_bytes(s));
		l->sensors_max[i] = sensors > UINT32_MAX ? UINT32_MAX : (uint32_t)sensors;
	}
}

void ctl_check_places(struct ctl_cx *cx)
{
	const struct ctl_config *c = cx->config;
	const struct ctl_journal *j = &c->journal;
	size_t room = sizeof(((struct sockaddr_un *)0)->sun_path);

	if (!j->dir && j->writer.sync && j->writer.sync != DP_SYNC_OFF)
		ctl_fail_at(cx, &j->dir, "is required unless sync is off");
	if (j->writer.segment_bytes % DP_DISK_ALIGN)
		ctl_fail_at(cx, &j->writer.segment_bytes, "must be a multiple of 4KiB");
	if (j->writer.bytes_max && j->writer.bytes_max < 4 * j->writer.segment_bytes)
		ctl_fail_at(cx, &j->writer.bytes_max, "must hold at least four segments");
	if (j->ring_bytes & (j->ring_bytes - 1))
		ctl_fail_at(cx, &j->ring_bytes, "must be a power of two");
	if (c->api_socket && strlen(c->api_socket) >= room)
		ctl_fail_at(cx, &c->api_socket,
			"is longer than the %zu bytes that a Unix socket can have", room - 1);
	check_attributes(cx);
}

void ctl_check_bounds(struct ctl_cx *cx)
{
	struct ctl_config *c = cx->config;

	c->block_bytes_max = dp_block_bytes_max(&c->streams);
	check_schema(cx);
	check_journal(cx);
	check_messages(cx);
	derive_sensors(cx);
}
