/* Blocks and records: what the log must hold. */
#include "tests/sim/oracle.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

static void *grow(void *list, uint32_t count, uint32_t *max, size_t each)
{
	if (count < *max)
		return list;
	*max = *max ? 2 * *max : 256;
	list = realloc(list, *max * each);
	if (!list)
		abort();
	return list;
}

struct oracle *oracle_new(struct sim *s, const struct sim_config *c, struct sim_net *n)
{
	struct oracle *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	o->sim = s;
	o->config = c;
	o->net = n;
	o->sensors = calloc(n->sensor_count, sizeof(*o->sensors));
	if (!o->sensors)
		abort();
	for (uint32_t i = 0; i < c->output_count; i++) {
		o->outputs[i].config = &c->outputs[i];
		o->outputs[i].last =
			calloc(n->sensor_count * SIM_PARTITIONS, sizeof(*o->outputs[i].last));
		if (!o->outputs[i].last)
			abort();
	}
	return o;
}

void oracle_free(struct oracle *o)
{
	for (uint32_t i = 0; i < o->block_count; i++)
		free(o->blocks[i].copy);
	for (uint32_t i = 0; i < o->net->sensor_count; i++) {
		free(o->sensors[i].kept);
		free(o->sensors[i].closed);
		free(o->sensors[i].due);
	}
	for (uint32_t i = 0; i < SIM_OUTPUTS_MAX; i++) {
		free(o->outputs[i].got);
		free(o->outputs[i].list);
		free(o->outputs[i].last);
	}
	free(o->blocks);
	free(o->records);
	free(o->positions.at);
	free(o->ids.at);
	free(o->sensors);
	free(o->log);
	free(o->unit_record);
	free(o);
}

uint32_t oracle_find(const struct oracle *o, const uint64_t id[2])
{
	return sim_map_get(&o->ids, id[0], id[1]);
}

uint32_t oracle_block_at(const struct oracle *o, const struct dp_block *b)
{
	return sim_map_get(&o->positions, b->epoch << 8 | b->worker, b->sequence);
}

uint64_t oracle_records_hash(const struct dp_block *b)
{
	return XXH3_64bits((const char *)b + DP_BLOCK_HEAD_BYTES, b->bytes - DP_BLOCK_HEAD_BYTES);
}

/* ---- sealed ---- */

static void check_tags(
	struct oracle *o, const struct dp_rec_reading *r, const struct sim_unit *u, uint32_t number)
{
	const uint8_t *at = dp_rec_tags(r);

	for (uint32_t i = 0; i < r->tag_count; i++) {
		sim_check(o->sim, at[0] == u->tag_len[i] && memcmp(at + 1, u->tags[i], at[0]) == 0,
			"reading %u has another tag than was sent", number);
		at += 1 + at[0];
	}
}

/* The reading's number, after everything in it was found to be as it was sent. */
static uint32_t check_reading(struct oracle *o, const struct dp_rec_reading *r, uint32_t sensor)
{
	const float *values = dp_rec_values(r);
	uint32_t number = (uint32_t)values[0];
	const struct sim_reading *sent;
	const struct sim_unit *u;
	uint16_t fields = o->config->streams[r->head.stream].field_count;

	sim_check(o->sim, number < o->net->reading_count, "reading %u was never sent", number);
	sent = &o->net->readings[number];
	u = &o->net->units[sent->unit];
	sim_check(o->sim, u->sensor == sensor, "reading %u is another sensor's", number);
	sim_check(o->sim,
		u->numbered == !!(r->flags & DP_ROW_NUMBERED) && u->boot == r->boot &&
			u->seq == r->seq && r->index == sent->index,
		"reading %u has another number than was sent", number);
	sim_check(o->sim, r->event_ns == (sent->timed ? sent->event_ns : r->arrival_ns),
		"reading %u has another time than was sent", number);
	sim_check(o->sim, sent->timed == !(r->flags & DP_ROW_ARRIVAL_TIME),
		"reading %u: where its time is from", number);
	for (uint16_t f = 0; f < fields; f++)
		sim_check(o->sim,
			values[f] == sent->values[f] ||
				(isnan(values[f]) && isnan(sent->values[f])),
			"reading %u, field %u: %g instead of %g", number, f, (double)values[f],
			(double)sent->values[f]);
	check_tags(o, r, u, number);
	return number;
}

/* Units are whole, in one block, in order. */
static void check_group(struct oracle *o, const struct dp_rec_reading *r, uint32_t number,
	uint32_t *unit, uint32_t *left)
{
	const struct sim_reading *sent = &o->net->readings[number];

	if (*left == 0) {
		*unit = sent->unit;
		*left = o->net->units[sent->unit].count;
		sim_check(o->sim, sent->index == 0 && r->group == *left,
			"reading %u begins a datagram of which a part is missing", number);
	} else {
		sim_check(o->sim, sent->unit == *unit && r->group == 0,
			"reading %u stands in another's datagram", number);
	}
	sim_check(o->sim, sent->index == o->net->units[*unit].count - *left,
		"reading %u is out of order in its datagram", number);
	--*left;
}

/* What came before is not there any more, or so old that its sensor had been forgotten. */
static bool gone(enum oracle_state state)
{
	return state == ORACLE_LOST || state == ORACLE_FREED;
}

static void note_unit(struct oracle *o, const struct oracle_record *r)
{
	uint32_t unit = r->reading == UINT32_MAX ? 0 : o->net->readings[r->reading].unit;

	if (r->reading == UINT32_MAX)
		return;
	while (unit >= o->unit_record_max) {
		uint32_t before = o->unit_record_max;

		o->unit_record =
			grow(o->unit_record, before, &o->unit_record_max, sizeof(*o->unit_record));
		memset(o->unit_record + before, 0,
			(o->unit_record_max - before) * sizeof(*o->unit_record));
	}
	o->unit_record[unit] = (uint32_t)(r - o->records) + 1;
}

bool oracle_has_unit(const struct oracle *o, uint32_t unit)
{
	return unit < o->unit_record_max && o->unit_record[unit] &&
	       o->blocks[o->records[o->unit_record[unit] - 1].block].state != ORACLE_LOST;
}

static void add_record(struct oracle *o, const struct dp_rec *rec, const struct dp_block *b,
	uint32_t block, uint32_t index)
{
	struct dp_rec_place place = {b->appliance, b->epoch, b->sequence, b->worker, index};
	struct oracle_record *r;
	uint32_t before;

	o->records = grow(o->records, o->record_count, &o->record_max, sizeof(*o->records));
	r = &o->records[o->record_count];
	*r = (struct oracle_record){.block = block,
		.index = index,
		.kind = rec->kind,
		.hash = XXH3_64bits(rec, rec->bytes),
		.sensor = UINT32_MAX,
		.reading = UINT32_MAX};
	dp_rec_id(rec, &o->config->set, &place, r->id);
	if (rec->id_len) {
		r->sensor = sim_net_sensor(o->net, rec->stream, dp_rec_sensor(rec), rec->id_len);
		sim_check(o->sim, r->sensor != UINT32_MAX, "record of a sensor that there is not");
	}
	before = oracle_find(o, r->id);
	sim_check(o->sim, before == SIM_MAP_NONE || gone(o->blocks[o->records[before].block].state),
		"recorded twice: kind %u, id %016" PRIx64 "%016" PRIx64
		", sensor %u, in epoch %" PRIu64 " and %" PRIu64,
		rec->kind, r->id[1], r->id[0], r->sensor, b->epoch,
		o->blocks[o->records[before].block].epoch);
	r->again = before != SIM_MAP_NONE;
	sim_map_put(&o->ids, r->id[0], r->id[1], o->record_count);
	if (rec->kind == DP_REC_READING)
		r->reading = check_reading(o, (const struct dp_rec_reading *)rec, r->sensor);
	note_unit(o, r);
	o->record_count++;
}

static uint32_t add_block(struct oracle *o, const struct dp_block *b)
{
	struct oracle_block *n;
	size_t bytes = b->bytes - DP_BLOCK_HEAD_BYTES;

	o->blocks = grow(o->blocks, o->block_count, &o->block_max, sizeof(*o->blocks));
	n = &o->blocks[o->block_count];
	*n = (struct oracle_block){.epoch = b->epoch,
		.sequence = b->sequence,
		.worker = b->worker,
		.bytes = b->bytes,
		.hash = oracle_records_hash(b),
		.first = o->record_count,
		.count = b->record_count,
		.readings = b->reading_count,
		.copy = malloc(b->bytes)};
	if (!n->copy)
		abort();
	memcpy(n->copy, b, b->bytes);
	sim_note(o->sim, "sealed", b->epoch << 8 | b->worker, b->sequence);
	sim_note_bytes(o->sim, "records", (const char *)b + DP_BLOCK_HEAD_BYTES, bytes);
	sim_map_put(&o->positions, b->epoch << 8 | b->worker, b->sequence, o->block_count);
	return o->block_count++;
}

void oracle_sealed(struct oracle *o, const struct dp_block *b)
{
	uint32_t unit = 0, left = 0, index = 0, readings = 0, block;
	const struct dp_rec *rec;
	size_t cursor = 0;
	bool bad = false;

	sim_check(o->sim,
		b->epoch == o->epoch && b->worker < SIM_WORKERS_MAX &&
			b->sequence == ++o->sealed[b->worker],
		"block %" PRIu64 " of worker %u does not follow the one before", b->sequence,
		b->worker);
	block = add_block(o, b);
	while ((rec = dp_block_next(b, &o->config->set, &cursor, &bad))) {
		struct oracle_record *r;

		add_record(o, rec, b, block, index++);
		r = &o->records[o->record_count - 1];
		if (rec->kind == DP_REC_READING) {
			check_group(
				o, (const struct dp_rec_reading *)rec, r->reading, &unit, &left);
			readings++;
		}
		oracle_sensor_record(o, r, rec, b, true);
	}
	sim_check(o->sim, !bad && index == b->record_count && readings == b->reading_count,
		"a sealed block does not hold what its header says");
	sim_check(o->sim, o->alerts_due == 0,
		"a score in block %" PRIu64 " raises or clears an alert that is not in it",
		b->sequence);
	sim_check(o->sim, o->retiring == 0,
		"block %" PRIu64 " clears an alert without a value and retires no sensor",
		b->sequence);
	sim_check(o->sim, left == 0, "datagram of reading unit %u is not whole in its block", unit);
	o->sealed_readings += readings;
	o->sealed_records += index;
}

/* ---- readable, durable ---- */

static struct oracle_block *known_block(
	struct oracle *o, const struct dp_reader_block *in, const char *where)
{
	const struct dp_block *b = in->block;
	uint32_t at = oracle_block_at(o, b);
	struct oracle_block *known;

	sim_check(o->sim, at != SIM_MAP_NONE,
		"%s: block %" PRIu64 "/%u/%" PRIu64 " was never sealed", where, b->epoch, b->worker,
		b->sequence);
	known = &o->blocks[at];
	sim_check(o->sim,
		known->bytes == b->bytes && known->count == b->record_count &&
			known->hash == oracle_records_hash(b),
		"%s: block %" PRIu64 "/%u/%" PRIu64 " has changed", where, b->epoch, b->worker,
		b->sequence);
	sim_check(o->sim, known->state != ORACLE_LOST && known->state != ORACLE_FREED,
		"%s: block %" PRIu64 "/%u/%" PRIu64 " was gone and is back", where, b->epoch,
		b->worker, b->sequence);
	return known;
}

/* The latest block in the log of that epoch and worker: its sequence, or 0. */
static uint64_t last_sequence(const struct oracle *o, uint64_t epoch, uint32_t worker)
{
	for (uint32_t i = o->log_count; i > 0; i--) {
		const struct oracle_block *p = &o->blocks[o->log[i - 1]];

		if (p->epoch < epoch)
			break;
		if (p->worker == worker)
			return p->sequence;
	}
	return 0;
}

/* The log goes epoch by epoch, and within one each worker's sequences go up. */
static void add_to_log(struct oracle *o, const struct oracle_block *b, const char *where)
{
	uint64_t last = last_sequence(o, b->epoch, b->worker);

	sim_check(o->sim,
		o->log_count == 0 || o->blocks[o->log[o->log_count - 1]].epoch <= b->epoch,
		"%s: an older epoch comes later", where);
	sim_check(o->sim, last < b->sequence,
		"%s: block %" PRIu64 "/%u/%" PRIu64 " comes after %" PRIu64, where, b->epoch,
		b->worker, b->sequence, last);
	o->log = grow(o->log, o->log_count, &o->log_max, sizeof(*o->log));
	o->log[o->log_count++] = (uint32_t)(b - o->blocks);
}

void oracle_readable(struct oracle *o, const struct dp_reader_block *in)
{
	struct oracle_block *b = known_block(o, in, "readable");

	sim_check(o->sim, b->state == ORACLE_SEALED, "readable: block %" PRIu64 " comes twice",
		b->sequence);
	sim_check(o->sim, last_sequence(o, b->epoch, b->worker) + 1 == b->sequence,
		"readable: block %" PRIu64 "/%u/%" PRIu64 " leaves a hole before it", b->epoch,
		b->worker, b->sequence);
	sim_check(o->sim,
		o->records_before == UINT64_MAX || o->records_before == in->block->records_before,
		"readable: %" PRIu64 " records before block %" PRIu64 ", it says %" PRIu64,
		o->records_before, b->sequence, in->block->records_before);
	add_to_log(o, b, "readable");
	o->records_before = in->block->records_before + b->count;
	b->state = ORACLE_READABLE;
	b->lp = in->lp;
	b->promised = o->config->journal.sync == DP_SYNC_ALWAYS;
	sim_note(o->sim, "readable", b->sequence, in->lp);
}

void oracle_durable(struct oracle *o, uint64_t lp)
{
	for (uint32_t i = o->log_count; i > o->log_found; i--) {
		struct oracle_block *b = &o->blocks[o->log[i - 1]];

		if (b->promised)
			break;
		b->promised = b->lp < lp;
	}
}

/* ---- a start ---- */

void oracle_start(struct oracle *o)
{
	o->log_count = o->log_found = 0;
	o->starts++;
}

void oracle_found(struct oracle *o, const struct dp_reader_block *in)
{
	struct oracle_block *b = known_block(o, in, "found");

	add_to_log(o, b, "found");
	b->lp = in->lp;
	b->start = o->starts;
	b->state = ORACLE_FOUND;
}

static bool before_a_found_one(const struct oracle *o, const struct oracle_block *lost)
{
	for (uint32_t i = 0; i < o->log_count; i++) {
		const struct oracle_block *b = &o->blocks[o->log[i]];

		if (b->epoch == lost->epoch && b->worker == lost->worker &&
			b->sequence > lost->sequence)
			return true;
	}
	return false;
}

/*
 * What was not promised may be lost, but from some block of a worker on: what comes after a hole
 * may speak of what was in it.
 */
static void lose(struct oracle *o, struct oracle_block *b)
{
	sim_check(o->sim, !before_a_found_one(o, b),
		"block %" PRIu64 "/%u/%" PRIu64 " is lost and a later one is there", b->epoch,
		b->worker, b->sequence);
	b->state = ORACLE_LOST;
}

static void count_log(struct oracle *o)
{
	memset(o->in_log, 0, sizeof(o->in_log));
	for (uint32_t i = 0; i < o->record_count; i++) {
		enum oracle_state state = o->blocks[o->records[i].block].state;

		if (state == ORACLE_FOUND || state == ORACLE_FREED)
			o->in_log[o->records[i].kind]++;
	}
}

static void replay_sensors(struct oracle *o)
{
	oracle_sensors_forget(o);
	for (uint32_t i = 0; i < o->log_count; i++) {
		const struct oracle_block *known = &o->blocks[o->log[i]];
		const struct dp_block *b = (const struct dp_block *)known->copy;
		const struct dp_rec *rec;
		uint32_t index = 0;
		size_t cursor = 0;
		bool bad = false;

		while ((rec = dp_block_next(b, &o->config->set, &cursor, &bad)))
			oracle_sensor_record(o, &o->records[known->first + index++], rec, b, false);
	}
}

void oracle_started(struct oracle *o, uint64_t epoch, bool power_cut, uint64_t oldest)
{
	static const char *const ends[] = {"a kill", "a power cut"};

	sim_check(o->sim, epoch > o->epoch, "epoch %" PRIu64 " after %" PRIu64, epoch, o->epoch);
	for (uint32_t i = 0; i < o->block_count; i++) {
		struct oracle_block *b = &o->blocks[i];

		if (b->state == ORACLE_LOST || b->state == ORACLE_FREED || b->start == o->starts)
			continue;
		if (b->state != ORACLE_SEALED && b->lp < oldest) {
			b->state = ORACLE_FREED;
			continue;
		}
		sim_check(o->sim, !b->promised && (power_cut || b->state == ORACLE_SEALED),
			"lost after %s: block %" PRIu64 "/%u/%" PRIu64 " with %u readings",
			ends[power_cut], b->epoch, b->worker, b->sequence, b->readings);
		lose(o, b);
	}
	for (uint32_t i = 0; i < o->log_count; i++)
		o->blocks[o->log[i]].promised = true;
	o->log_found = o->log_count;
	o->records_before = UINT64_MAX;
	o->epoch = epoch;
	memset(o->sealed, 0, sizeof(o->sealed));
	o->sealed_readings = o->sealed_records = 0;
	o->seen_deliveries = 0;
	count_log(o);
	replay_sensors(o);
}
