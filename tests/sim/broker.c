/* The fake broker and its client. */
#include "tests/sim/broker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "dataplane/egress/json.h"
#include "tests/sim/oracle.h"

enum { REFUSED_OF = 400, PENDING_MAX = 200 };

bool sim_broker_refuses(const struct sim_output_config *o, const uint64_t id[2])
{
	return o->refuses && id[0] % REFUSED_OF < 2;
}

struct sim_broker *sim_broker_new(
	struct sim *s, const struct sim_config *c, uint32_t index, struct oracle *o)
{
	struct sim_broker *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->sim = s;
	b->config = c;
	b->output = &c->outputs[index];
	b->index = index;
	b->oracle = o;
	return b;
}

void sim_broker_free(struct sim_broker *b)
{
	for (int i = 0; i < SIM_PARTITIONS; i++)
		free(b->partitions[i].list);
	free(b);
}

static uint32_t pending(const struct sim_broker *b)
{
	uint32_t n = 0;

	for (int i = 0; i < SIM_PARTITIONS; i++)
		n += b->partitions[i].tail - b->partitions[i].head;
	return n;
}

static void store(struct sim_broker *b, uint32_t partition, struct sim_message *m)
{
	struct oracle_stored stored = {m->first, m->count, partition, b->generation, m->payload};

	if (!m->stored && !m->refused)
		oracle_stored(b->oracle, b->index, &stored);
	m->stored = true;
}

/* The producer goes: of each partition a first part of what was on its way still arrives. */
static void abandon(struct sim_broker *b)
{
	for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
		struct sim_partition *q = &b->partitions[p];
		bool down = b->sim->now.steady_ns < b->outage_until_ns;

		while (!down && q->head < q->tail && !sim_chance(b->sim, 1000))
			store(b, p, &q->list[q->head++]);
		q->head = q->tail = 0;
	}
	b->generation++;
	b->broken = false;
}

void sim_broker_crash(struct sim_broker *b)
{
	abandon(b);
}

/* ---- what a message is ---- */

static void check_block(struct sim_broker *b, const struct dp_message *m, struct sim_message *to)
{
	uint32_t at = oracle_block_at(b->oracle, m->block);
	const struct oracle_block *block;

	sim_check(b->sim, at != SIM_MAP_NONE && m->payload == m->block,
		"output %s sends a block that was never sealed", b->output->config.name);
	block = &b->oracle->blocks[at];
	/* the place in a segment is no part of it: it changes when a start writes it again */
	to->payload = oracle_records_hash(m->block);
	sim_check(b->sim, to->payload == block->hash && m->records == block->count,
		"output %s sends a block that has changed", b->output->config.name);
	to->first = block->first;
	to->count = block->count;
}

static void check_record(struct sim_broker *b, const struct dp_message *m, struct sim_message *to)
{
	uint32_t at = oracle_find(b->oracle, m->id);
	char id[32];

	sim_check(b->sim, at != SIM_MAP_NONE, "output %s sends a record that was never sealed",
		b->output->config.name);
	dp_id_text(m->id, id);
	sim_check(b->sim, memmem(m->payload, m->payload_bytes, id, sizeof(id)),
		"output %s sends a record without its id", b->output->config.name);
	to->first = at;
	to->count = 1;
	to->payload = XXH3_64bits(m->payload, m->payload_bytes) ^
		      XXH3_64bits(&m->timestamp_ns, sizeof(m->timestamp_ns));
	if (b->config->journal.sync == DP_SYNC_ALWAYS)
		sim_check(b->sim,
			XXH3_64bits(m->record, m->record->bytes) == b->oracle->records[at].hash,
			"output %s sends a record that has changed", b->output->config.name);
}

static uint32_t partition_of(const struct sim_broker *b, const struct dp_message *m)
{
	if (b->output->kind == SIM_BROKER_PACKED)
		return m->worker % SIM_PARTITIONS;
	return (uint32_t)(XXH3_64bits(m->key, m->key_bytes) % SIM_PARTITIONS);
}

/* ---- the transport ---- */

static int broker_send(void *ctx, const struct dp_message *m)
{
	struct sim_broker *b = ctx;
	struct sim *s = b->sim;
	struct sim_partition *q = &b->partitions[partition_of(b, m)];
	struct sim_message message = {.cookie = m->cookie};
	const uint64_t *id;

	if (sim_step(s) || b->broken)
		return -EIO;
	if (!s->calm && sim_chance(s, b->config->broker_break)) {
		b->broken = true;
		return -EPIPE;
	}
	if (pending(b) >= PENDING_MAX || (!s->calm && sim_chance(s, b->config->broker_full)))
		return -EAGAIN;
	if (m->record)
		check_record(b, m, &message);
	else
		check_block(b, m, &message);
	id = b->oracle->records[message.first].id;
	if (sim_broker_refuses(b->output, id)) {
		if (id[0] % REFUSED_OF == 0)
			return -EMSGSIZE;
		message.refused = true;
	}
	message.stored_due_ns = s->now.steady_ns + (s->calm ? 0 : sim_between(s, 0, 20000000));
	message.report_due_ns = message.stored_due_ns + (s->calm ? 0 : sim_between(s, 0, 20000000));
	if (q->tail == q->max) {
		q->max = q->max ? 2 * q->max : 256;
		q->list = realloc(q->list, q->max * sizeof(*q->list));
		if (!q->list)
			abort();
	}
	q->list[q->tail++] = message;
	return 0;
}

static void serve_partition(struct sim_broker *b, uint32_t p, const struct dp_report_sink *sink)
{
	struct sim_partition *q = &b->partitions[p];
	int64_t now = b->sim->now.steady_ns;

	for (uint32_t i = q->head; i < q->tail && q->list[i].stored_due_ns <= now; i++)
		store(b, p, &q->list[i]);
	while (q->head < q->tail && q->list[q->head].stored &&
		q->list[q->head].report_due_ns <= now) {
		const struct sim_message *m = &q->list[q->head++];

		sim_note(b->sim, "reported", b->index, m->cookie);
		sink->report(sink->arg, m->cookie,
			m->refused ? DP_REPORT_REFUSED : DP_REPORT_DELIVERED, "refused by test");
	}
	if (q->head == q->tail)
		q->head = q->tail = 0;
}

static int broker_serve(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink)
{
	struct sim_broker *b = ctx;
	struct sim *s = b->sim;
	uint32_t first = sim_below(s, SIM_PARTITIONS);

	if (sim_step(s) || b->broken)
		return -EIO;
	if (!s->calm && sim_chance(s, b->config->outage))
		b->outage_until_ns = now->steady_ns + sim_between(s, 0, 20 * DP_NS_PER_S);
	if (!s->calm && now->steady_ns < b->outage_until_ns)
		return 0;
	for (uint32_t i = 0; i < SIM_PARTITIONS; i++)
		serve_partition(b, (first + i) % SIM_PARTITIONS, sink);
	return 0;
}

static int broker_reopen(void *ctx, const struct dp_now *now, uint64_t again)
{
	struct sim_broker *b = ctx;

	(void)again;
	if (sim_step(b->sim) || (!b->sim->calm && (now->steady_ns < b->outage_until_ns ||
							  sim_chance(b->sim, 2000))))
		return -ECONNREFUSED;
	abandon(b);
	return 0;
}

static int64_t broker_deadline(void *ctx)
{
	(void)ctx;
	return INT64_MAX;
}

static void broker_close(void *ctx)
{
	(void)ctx; /* outlives the process that sends to it */
}

struct dp_transport sim_broker_transport(struct sim_broker *b)
{
	static const struct dp_transport_ops ops = {.send = broker_send,
		.serve = broker_serve,
		.reopen = broker_reopen,
		.deadline = broker_deadline,
		.close = broker_close};

	return (struct dp_transport){&ops, b};
}
