/* The ledger's sums, against what the network and the oracle know. */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/world.h"

uint64_t world_counted(const struct world *w, enum dp_counter which)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->worker_count; i++)
		n += dp_counted(&w->workers[i].counters, which);
	return n;
}

static uint64_t sum_of(const struct world *w, enum dp_counter from, enum dp_counter to)
{
	uint64_t n = 0;

	for (enum dp_counter c = from; c <= to; c++)
		n += world_counted(w, c);
	return n;
}

static uint64_t since_start(const struct world *w, enum dp_counter which)
{
	return world_counted(w, which) - dp_counted(&w->base, which);
}

/* decoded - (recorded + duplicate + dropped) */
static int64_t in_flight(const struct world *w)
{
	return (int64_t)(world_counted(w, DP_C_DECODED_READINGS) - world_counted(w, DP_C_RECORDED) -
			 world_counted(w, DP_C_DUPLICATE) -
			 sum_of(w, DP_C_DROP_STALE, DP_C_DROP_JOURNAL_FULL));
}

void world_check_ledger(struct world *w)
{
	struct sim *s = w->sim;

	sim_check(s, in_flight(w) >= 0, "ledger (b): %" PRId64 " readings in flight", in_flight(w));
	sim_check(s,
		world_counted(w, DP_C_RX_DATAGRAMS) ==
			world_counted(w, DP_C_DECODED_DATAGRAMS) +
				sum_of(w, DP_C_REJ_TRUNCATED, DP_C_REJ_TAG),
		"ledger (a): %" PRIu64 " received, %" PRIu64 " decoded, %" PRIu64 " rejected",
		world_counted(w, DP_C_RX_DATAGRAMS), world_counted(w, DP_C_DECODED_DATAGRAMS),
		sum_of(w, DP_C_REJ_TRUNCATED, DP_C_REJ_TAG));
	sim_check(s, since_start(w, DP_C_RX_DATAGRAMS) == w->net->got_datagrams,
		"ledger: %" PRIu64 " datagrams received, %" PRIu64 " came",
		since_start(w, DP_C_RX_DATAGRAMS), w->net->got_datagrams);
	sim_check(s, since_start(w, DP_C_DECODED_READINGS) == w->net->got_readings,
		"ledger: %" PRIu64 " readings decoded, %" PRIu64 " came",
		since_start(w, DP_C_DECODED_READINGS), w->net->got_readings);
	sim_check(s, since_start(w, DP_C_RECORDED) >= w->oracle->sealed_readings,
		"ledger: %" PRIu64 " readings recorded, %" PRIu64 " are in blocks",
		since_start(w, DP_C_RECORDED), w->oracle->sealed_readings);
}

void world_check_settled(struct world *w)
{
	struct sim *s = w->sim;

	world_check_ledger(w);
	sim_check(s, in_flight(w) == 0, "ledger (b): %" PRId64 " readings in flight at rest",
		in_flight(w));
	sim_check(s, since_start(w, DP_C_RECORDED) == w->oracle->sealed_readings,
		"ledger: %" PRIu64 " readings recorded, %" PRIu64 " are in blocks",
		since_start(w, DP_C_RECORDED), w->oracle->sealed_readings);
}

/* What the workers share counts their sensors: none lost, none twice. */
void world_check_places(struct world *w)
{
	for (uint32_t i = 0; i < w->config.set.count; i++) {
		uint64_t held = atomic_load(&w->workers[0].per_stream[i].admit.places->held);
		uint64_t used = 0;

		for (uint32_t k = 0; k < w->worker_count; k++)
			used += w->workers[k].per_stream[i].table.slots_used;
		sim_check(w->sim, held == used,
			"stream %u: %" PRIu64 " sensors held, %" PRIu64 " places taken", i, used,
			held);
	}
}

/* The counters say what the log holds. */
void world_check_restored(struct world *w)
{
	static const enum dp_counter of_kind[DP_REC_KINDS] = {
		[DP_REC_READING] = DP_C_RECORDS_READING,
		[DP_REC_WINDOW] = DP_C_RECORDS_WINDOW,
		[DP_REC_ALERT] = DP_C_RECORDS_ALERT,
		[DP_REC_GAP] = DP_C_RECORDS_GAP,
		[DP_REC_MARK] = DP_C_RECORDS_MARK,
		[DP_REC_RAW] = DP_C_RECORDS_RAW,
	};
	const struct oracle *o = w->oracle;

	w->base = w->workers[0].counters;
	w->readable = w->durable = 0;
	for (int kind = DP_REC_READING; kind < DP_REC_KINDS && !w->freed_early; kind++) {
		uint64_t n = dp_counted(&w->base, of_kind[kind]);

		if (kind == DP_REC_GAP) /* the start itself adds some */
			continue;
		sim_check(w->sim, n == o->in_log[kind],
			"ledger: %" PRIu64
			" records of kind %d after a start, the log has %" PRIu64,
			n, kind, o->in_log[kind]);
	}
	sim_check(w->sim,
		dp_counted(&w->base, DP_C_RECORDED) == dp_counted(&w->base, DP_C_RECORDS_READING),
		"ledger: %" PRIu64 " readings recorded after a start, %" PRIu64 " records",
		dp_counted(&w->base, DP_C_RECORDED), dp_counted(&w->base, DP_C_RECORDS_READING));
	sim_check(w->sim, in_flight(w) == 0, "ledger (b): %" PRId64 " in flight after a start",
		in_flight(w));
}

void world_check_outputs_ledger(struct world *w)
{
	const struct dp_writer_stats *writer = dp_writer_stats(w->writer);
	uint64_t records = atomic_load(&writer->records);

	for (uint32_t i = 0; i < w->config.output_count; i++) {
		const struct dp_output_stats *s = dp_output_stats(w->outputs[i]);
		uint64_t sum = atomic_load(&s->baseline) + atomic_load(&s->delivered) +
			       atomic_load(&s->dead_letter) + atomic_load(&s->filtered) +
			       atomic_load(&s->expired) + atomic_load(&s->quarantined);

		sim_check(w->sim, sum == records,
			"ledger (c): output %s accounts for %" PRIu64 " records of %" PRIu64,
			w->config.outputs[i].config.name, sum, records);
		sim_check(w->sim, atomic_load(&s->quarantined) == 0,
			"ledger (c): output %s counts damage where there was none",
			w->config.outputs[i].config.name);
		sim_check(w->sim, atomic_load(&s->expired) == 0 && atomic_load(&s->baseline) == 0,
			"ledger (c): output %s has lost records", w->config.outputs[i].config.name);
	}
}

/* ---- totals ---- */

static void add_output(struct sim_totals *t, const struct dp_output *o)
{
	const struct dp_output_stats *s = dp_output_stats(o);

	t->resends += atomic_load(&s->resends);
	t->reopens += atomic_load(&s->reopens);
}

/* Cumulative over the lives of a seed: at its end. */
static void add_finished(struct world *w)
{
	struct sim_totals *t = w->totals;

	for (uint32_t i = 0; i < w->config.output_count; i++) {
		const struct dp_output_stats *s = dp_output_stats(w->outputs[i]);

		t->delivered += atomic_load(&s->delivered);
		t->dead_letters += atomic_load(&s->dead_letter);
		t->filtered += atomic_load(&s->filtered);
	}
	t->windows += world_counted(w, DP_C_RECORDS_WINDOW);
	t->alerts += world_counted(w, DP_C_RECORDS_ALERT);
	t->score_alerts += w->oracle->score_alerts;
	t->duplicates += world_counted(w, DP_C_DUPLICATE);
	t->stale += world_counted(w, DP_C_DROP_STALE);
	t->journal_full += world_counted(w, DP_C_DROP_JOURNAL_FULL);
	t->late += world_counted(w, DP_C_LATE);
	t->future += world_counted(w, DP_C_FUTURE);
	t->clock_resets += world_counted(w, DP_C_CLOCK_RESET);
	t->retired += world_counted(w, DP_C_SENSORS_RETIRED);
	t->rejected += sum_of(w, DP_C_REJ_TRUNCATED, DP_C_REJ_TAG);
	t->blocks += w->oracle->block_count;
	t->records += w->oracle->record_count;
	for (uint32_t i = 0; i < w->oracle->block_count; i++)
		t->blocks_lost += w->oracle->blocks[i].state == ORACLE_LOST;
}

void world_add_totals(struct world *w)
{
	struct sim_totals *t = w->totals;

	t->starts++;
	t->starts_failed += !w->writer;
	t->clean_stops += w->stopped;
	if (w->recovery)
		t->blocks_rewritten += w->recovery->rewritten_blocks;
	if (w->writer) {
		const struct dp_writer_stats *s = dp_writer_stats(w->writer);

		t->segments_made += atomic_load(&s->segments_made);
		t->segments_freed += atomic_load(&s->segments_freed);
		t->writer_failures += atomic_load(&s->failures);
		t->writer_full += atomic_load(&s->state) == DP_WRITER_FULL;
	}
	for (uint32_t i = 0; i < w->config.output_count; i++)
		if (w->outputs[i])
			add_output(t, w->outputs[i]);
	if (w->stopped && w->sim->calm)
		add_finished(w);
}
