/* What became of an output's messages: delivered, or refused and written down. */
#include "dataplane/egress/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- reports ---- */

int dp_output_note_refused(struct dp_output *o, uint64_t cookie, const char *why)
{
	if (o->refused_count == o->refused_size) {
		size_t size = o->refused_size ? 2 * o->refused_size : 64;
		struct dp_refused *bigger = realloc(o->refused, size * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		o->refused = bigger;
		o->refused_size = size;
	}
	o->refused[o->refused_count].cookie = cookie;
	strncpy(o->refused[o->refused_count].why, why ? why : "refused", DP_WHY_BYTES - 1);
	o->refused[o->refused_count++].why[DP_WHY_BYTES - 1] = 0;
	return 0;
}

struct reporting {
	struct dp_output *output;
	int rc;
};

static void take_report(void *arg, uint64_t cookie, enum dp_report what, const char *why)
{
	struct reporting *r = arg;
	struct dp_output *o = r->output;
	struct dp_flight *f = dp_flights_of(&o->flights, cookie);

	assert(f && f->outstanding > f->refused);
	if (what == DP_REPORT_REFUSED) {
		int rc = dp_output_note_refused(o, cookie, why);

		if (rc)
			r->rc = rc;
		else
			f->refused++;
		return;
	}
	f->delivered += o->config.form == DP_FORM_PACKED ? f->record_count : 1;
	f->outstanding--;
}

bool dp_output_serve(struct dp_output *o, const struct dp_now *now)
{
	struct reporting r = {.output = o};
	const struct dp_report_sink sink = {take_report, &r};
	int rc = o->transport.ops->serve(o->transport.ctx, now, &sink);

	/* A refusal that there was no memory to note: all of it comes again after a reopen. */
	if (rc == 0)
		rc = r.rc;
	if (rc)
		dp_output_transport_failed(o, now, rc);
	return rc == 0;
}

/* ---- dead letters ---- */

/* The record of that index and its id; NULL: there is none, which damage alone explains. */
static const struct dp_rec *find_record(
	const struct dp_reader_block *b, uint32_t want, uint64_t id[2])
{
	struct dp_rec_place spot = {
		b->block->appliance, b->block->epoch, b->block->sequence, b->block->worker, want};
	const struct dp_rec *rec = NULL;
	size_t cursor = 0;
	bool bad = false;

	for (uint32_t i = 0; i <= want; i++)
		rec = dp_block_next(b->block, b->streams, &cursor, &bad);
	if (rec)
		dp_rec_id(rec, b->streams, &spot, id);
	return rec;
}

static int dead_record(
	struct dp_output *o, const struct dp_reader_block *b, const struct dp_refused *r)
{
	struct dp_dead_place place = {.block = b->block,
		.gone = !b->streams,
		.index = r->cookie & ((1u << DP_FLIGHT_INDEX_BITS) - 1),
		.why = r->why};
	const struct dp_rec *rec;
	const char *text;
	size_t bytes;
	uint64_t id[2];

	if (place.gone || o->config.form == DP_FORM_PACKED)
		return dp_dead_add(&o->dead, &place, NULL, 0);
	rec = find_record(b, place.index, id);
	if (!rec) {
		place.gone = true;
		return dp_dead_add(&o->dead, &place, NULL, 0);
	}
	text = dp_json_form_record(o->dead_json, rec, b->streams, id, &bytes);
	return text ? dp_dead_add(&o->dead, &place, text, bytes) : -ENOMEM;
}

static bool of_head(const struct dp_output *o, const struct dp_refused *r)
{
	return dp_flights_of(&o->flights, r->cookie) == dp_flights_at(&o->flights, o->flights.head);
}

/*
 * Looks for the oldest block, by a reader of its own. 1: there; 0: freed or damaged since it was
 * sent, and will not come back; -errno.
 */
static int find_again(
	const struct dp_flight *f, struct dp_reader *reader, struct dp_reader_block *b)
{
	int rc = dp_reader_next(reader, f->lp_next, b);

	if (rc ==
		-EAGAIN) /* what had been read is no good now, and it is where the writer writes */
		return 0;
	if (rc <= 0)
		return rc;
	return b->block->epoch == f->epoch && b->block->worker == f->worker &&
	       b->block->sequence == f->sequence;
}

/* Writes down what of the oldest block was refused. */
static int write_dead(struct dp_output *o)
{
	const struct dp_flight *f = dp_flights_at(&o->flights, o->flights.head);
	const struct dp_block gone = {
		.epoch = f->epoch, .worker = f->worker, .sequence = f->sequence};
	struct dp_reader_block b;
	struct dp_reader *reader;
	int rc = dp_reader_open(&o->io, o->appliance, f->lp, &reader);

	if (rc)
		return rc;
	rc = find_again(f, reader, &b);
	if (rc == 0)
		b = (struct dp_reader_block){.block = &gone};
	rc = rc < 0 ? rc : 0;
	for (size_t i = 0; i < o->refused_count && rc == 0; i++)
		if (of_head(o, &o->refused[i]))
			rc = dead_record(o, &b, &o->refused[i]);
	if (rc == 0)
		rc = dp_dead_commit(&o->dead);
	dp_dead_forget(&o->dead);
	dp_reader_close(reader);
	return rc;
}

/* The oldest block, when only its dead letters are missing. */
static void bury(struct dp_output *o, const struct dp_now *now)
{
	struct dp_flight *f = dp_flights_at(&o->flights, o->flights.head);
	size_t kept = 0;
	int rc;

	if (!dp_flights_count(&o->flights) || !f->whole || !f->refused ||
		f->refused != f->outstanding)
		return;
	rc = write_dead(o);
	if (rc) {
		dp_output_disk_failed(o, now, rc);
		return;
	}
	for (size_t i = 0; i < o->refused_count; i++)
		if (!of_head(o, &o->refused[i]))
			o->refused[kept++] = o->refused[i];
	o->refused_count = kept;
	f->dead_letter += o->config.form == DP_FORM_PACKED ? f->record_count : f->refused;
	f->outstanding -= f->refused;
	f->refused = 0;
}

bool dp_output_pass(struct dp_output *o, const struct dp_now *now)
{
	bool any = false;

	for (;;) {
		bury(o, now);
		if (!dp_flights_pass(&o->flights, &o->position))
			break;
		o->position.dead_bytes = o->dead.length;
		any = true;
	}
	if (any) {
		o->changed = true;
		if (!o->disk && !o->broken)
			o->backoff_ns = 0;
	}
	return any;
}
