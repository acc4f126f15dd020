/* What outputs hold: every record of the log, in order, as often as was promised. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/broker.h"
#include "tests/sim/oracle.h"

bool oracle_takes(const struct oracle *o, uint32_t output, uint32_t record)
{
	const struct dp_output_config *c = &o->config->outputs[output].config;

	return c->form == DP_FORM_PACKED || c->kinds >> o->records[record].kind & 1;
}

static struct oracle_got *got_of(struct oracle *o, struct oracle_output *out, uint32_t record)
{
	if (record >= out->got_max) {
		uint32_t max = 2 * o->record_count + 256;

		out->got = realloc(out->got, max * sizeof(*out->got));
		if (!out->got)
			abort();
		memset(out->got + out->got_max, 0, (max - out->got_max) * sizeof(*out->got));
		out->got_max = max;
	}
	return &out->got[record];
}

/* Seen for the first time: of one sensor in one partition, in log order. */
static void first_time(struct oracle *o, uint32_t output, uint32_t record, uint32_t partition)
{
	struct oracle_output *out = &o->outputs[output];
	const struct oracle_record *r = &o->records[record];
	const struct oracle_block *b = &o->blocks[r->block];

	if (r->sensor != UINT32_MAX) {
		uint32_t at = r->sensor * SIM_PARTITIONS + partition;
		bool after = b->epoch > out->last[at].epoch ||
			     (b->epoch == out->last[at].epoch &&
				     (b->sequence > out->last[at].sequence ||
					     (b->sequence == out->last[at].sequence &&
						     r->index > out->last[at].index)));

		sim_check(o->sim, after || out->last[at].epoch == 0,
			"output %s: record %u of block %" PRIu64 "/%u/%" PRIu64 " of sensor %u is "
			"out of order",
			out->config->config.name, r->index, b->epoch, b->worker, b->sequence,
			r->sensor);
		out->last[at].epoch = b->epoch;
		out->last[at].sequence = b->sequence;
		out->last[at].index = r->index;
	}
	if (out->list_count == out->list_max) {
		out->list_max = out->list_max ? 2 * out->list_max : 1024;
		out->list = realloc(out->list, out->list_max * sizeof(*out->list));
		if (!out->list)
			abort();
	}
	out->list[out->list_count++] = record;
}

void oracle_stored(struct oracle *o, uint32_t output, const struct oracle_stored *m)
{
	struct oracle_output *out = &o->outputs[output];

	for (uint32_t i = m->first; i < m->first + m->count; i++) {
		struct oracle_got *got = got_of(o, out, i);

		sim_check(o->sim, oracle_takes(o, output, i),
			"output %s got a record of a kind that it does not take",
			out->config->config.name);
		if (got->times == 0) {
			first_time(o, output, i, m->partition);
		} else {
			sim_check(o->sim, got->generation != m->generation,
				"output %s: record %u was sent twice by one producer",
				out->config->config.name, i);
			sim_check(o->sim, got->payload == m->payload,
				"output %s: record %u has changed on its second way",
				out->config->config.name, i);
		}
		got->times++;
		got->generation = m->generation;
		got->payload = m->payload;
	}
	sim_note(o->sim, "stored", output, m->first);
}

void oracle_outputs_start(struct oracle *o, bool power_cut)
{
	bool bound = o->config->journal.sync == DP_SYNC_ALWAYS || !power_cut;

	for (uint32_t i = 0; i < o->config->output_count; i++) {
		struct oracle_output *out = &o->outputs[i];

		for (; out->checked < out->list_count; out->checked++) {
			const struct oracle_record *r = &o->records[out->list[out->checked]];
			const struct oracle_block *b = &o->blocks[r->block];

			sim_check(o->sim, !bound || b->state != ORACLE_LOST,
				"output %s has a record of block %" PRIu64 "/%u/%" PRIu64
				" that the log has lost",
				out->config->config.name, b->epoch, b->worker, b->sequence);
		}
	}
}

void oracle_outputs_end(struct oracle *o)
{
	for (uint32_t i = 0; i < o->config->output_count; i++) {
		struct oracle_output *out = &o->outputs[i];

		if (out->config->kind == SIM_FILE)
			continue;
		for (uint32_t k = 0; k < o->record_count; k++) {
			const struct oracle_block *b = &o->blocks[o->records[k].block];
			const uint64_t *id = o->records[k].id;

			if (out->config->kind == SIM_BROKER_PACKED)
				id = o->records[b->first].id;
			if (b->state == ORACLE_LOST || !oracle_takes(o, i, k) ||
				sim_broker_refuses(out->config, id))
				continue;
			sim_check(o->sim, got_of(o, out, k)->times > 0,
				"output %s never got record %u of block %" PRIu64 "/%u/%" PRIu64,
				out->config->config.name, o->records[k].index, b->epoch, b->worker,
				b->sequence);
		}
	}
}

/* ---- the file ---- */

static bool parse_id(const char *line, size_t n, uint64_t id[2])
{
	const char *at = memmem(line, n, "\"id\":\"", 6);
	char hex[33] = {0};

	if (!at || at + 6 + 33 > line + n || at[6 + 32] != '"')
		return false;
	memcpy(hex, at + 6, 32); /* sscanf looks for the end of what it is given */
	return sscanf(hex, "%16" SCNx64 "%16" SCNx64, &id[1], &id[0]) == 2;
}

struct lines {
	const char *at, *end;
	uint32_t count;
};

/* The record of the next line, SIM_MAP_NONE at the end. */
static uint32_t next_line(struct oracle *o, struct lines *l)
{
	const char *newline = l->at < l->end ? memchr(l->at, '\n', (size_t)(l->end - l->at)) : NULL;
	uint32_t record;
	uint64_t id[2];

	if (l->at == l->end)
		return SIM_MAP_NONE;
	sim_check(o->sim, newline, "file: ends in half a line");
	sim_check(o->sim, parse_id(l->at, (size_t)(newline - l->at), id), "file: line %u has no id",
		l->count);
	record = oracle_find(o, id);
	sim_check(o->sim, record != SIM_MAP_NONE, "file: line %u is of no record", l->count);
	l->at = newline + 1;
	l->count++;
	return record;
}

/*
 * Each record exactly once, each sensor's in order.  After a power cut in `lazy` the file may hold
 * what the log has lost, also beside what the sender repeated then.
 */
void oracle_file_end(struct oracle *o, uint32_t output, const char *text, size_t bytes)
{
	bool exact = o->config->journal.sync == DP_SYNC_ALWAYS || !o->config->power_cuts;
	uint8_t *there = calloc(o->record_count + 1u, 1);
	uint32_t *last = calloc(o->net->sensor_count, sizeof(*last));
	struct lines l = {text, text + bytes, 0};
	uint32_t record, missing = SIM_MAP_NONE, next = 0;

	if (!there || !last)
		abort();
	while ((record = next_line(o, &l)) != SIM_MAP_NONE) {
		const struct oracle_record *r = &o->records[record];
		bool lost = o->blocks[r->block].state == ORACLE_LOST;

		sim_check(o->sim, oracle_takes(o, output, record) && (!lost || !exact),
			"file: line %u should not be there", l.count);
		sim_check(o->sim, !there[record] || !exact || r->again,
			"file: line %u is there for the second time", l.count);
		there[record] = 1;
		if (!exact || r->again || r->sensor == UINT32_MAX)
			continue;
		sim_check(o->sim, record >= last[r->sensor], "file: line %u is out of order",
			l.count);
		last[r->sensor] = record;
	}
	for (; next < o->record_count && missing == SIM_MAP_NONE; next++)
		if (o->blocks[o->records[next].block].state != ORACLE_LOST &&
			oracle_takes(o, output, next) && !there[next] &&
			oracle_find(o, o->records[next].id) == next)
			missing = next;
	free(there);
	free(last);
	sim_check(o->sim, missing == SIM_MAP_NONE, "file: record %u is missing", missing);
}
