/* From the log to the transport: blocks become flights, their records messages. */
#include "dataplane/egress/output.h"

#include <errno.h>
#include <string.h>

enum {
	STEP_RECORDS = 1024, /* JSON: looked at per step */
	STEP_BLOCKS = 16,
};

/* ---- reading ---- */

static void forget_records(struct dp_position *p, uint64_t lost)
{
	uint64_t *sums[] = {&p->delivered, &p->filtered, &p->dead_letter, &p->quarantined,
		&p->expired, &p->baseline};

	p->records -= lost;
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]) && lost; i++) {
		uint64_t n = *sums[i] < lost ? *sums[i] : lost;

		*sums[i] -= n;
		lost -= n;
	}
}

/* Records in the log before `lp`, and those behind it in its segment that are delivered. */
static int count_from(struct dp_output *o, uint64_t lp, uint64_t end, uint64_t *records)
{
	struct dp_reader_block b;
	struct dp_reader *reader;
	bool first = true;
	int rc = dp_reader_open(&o->io, o->appliance, lp, &reader);

	if (rc)
		return rc;
	while ((rc = dp_reader_next(reader, end, &b)) == 1) {
		const struct dp_block *in = b.block;
		bool delivered =
			dp_position_delivered(&o->position, in->epoch, in->worker, in->sequence);

		if (DP_LP_SERIAL(b.lp) != DP_LP_SERIAL(lp))
			break;
		if (first)
			*records = in->records_before;
		if (first && !delivered && *records >= o->position.records)
			break; /* as it was left */
		first = false;
		*records += delivered ? in->record_count : 0;
	}
	dp_reader_close(reader);
	return rc < 0 ? rc : 0;
}

/*
 * A start that writes the tail again puts it, by worker, into one segment, which takes over at a
 * place that our position may lie behind: then what counts is what of that segment is delivered.
 */
int dp_output_forget_lost(struct dp_output *o, const struct dp_recovery *r)
{
	struct dp_position *p = &o->position;
	uint64_t records = r->records, from = p->lp;
	struct dp_reader_block b;
	struct dp_reader *reader;
	int rc = dp_reader_open(&o->io, o->appliance, from, &reader);

	if (rc)
		return rc;
	rc = dp_reader_next(reader, r->end_lp, &b);
	if (rc == 1 && DP_LP_SERIAL(b.lp) != DP_LP_SERIAL(from))
		from = DP_LP(DP_LP_SERIAL(b.lp), 0);
	dp_reader_close(reader);
	if (rc == 1)
		rc = count_from(o, from, r->end_lp, &records);
	if (rc == 0 && p->records > records) {
		forget_records(p, p->records - records);
		o->changed = true;
	}
	return rc;
}

int dp_output_open_reader(struct dp_output *o)
{
	int rc;

	if (o->reader)
		dp_reader_close(o->reader);
	o->reader = NULL;
	rc = dp_reader_open(&o->io, o->appliance, o->position.lp, &o->reader);
	if (rc == 0)
		o->counted = *dp_reader_counts(o->reader);
	o->read = o->position.records;
	o->caught_up = 0;
	return rc;
}

/* Read before, in this run or by a delivered position? A rewritten log brings blocks again. */
static bool known(const struct dp_output *o, const struct dp_block *b)
{
	if (dp_position_delivered(&o->position, b->epoch, b->worker, b->sequence))
		return true;
	for (uint64_t i = o->flights.tail; i != o->flights.head; i--) {
		const struct dp_flight *f = dp_flights_at(&o->flights, i - 1);

		if (f->epoch == b->epoch && f->worker == b->worker)
			return b->sequence <= f->sequence;
	}
	return false;
}

/* Records between the block read last and this one: in damaged blocks, or freed before their turn.
 */
static void count_jump(struct dp_output *o, struct dp_flight *f, uint64_t records)
{
	const struct dp_reader_counts *c = dp_reader_counts(o->reader);
	uint64_t damaged = c->quarantined_records - o->counted.quarantined_records;

	f->quarantined = damaged < records ? damaged : records;
	f->expired = records - f->quarantined;
	o->counted = *c;
}

/* The next block becomes the youngest flight. 1, 0 at the end of the log, or -errno. */
static int take_block(struct dp_output *o)
{
	const struct dp_writer_stats *w = dp_writer_stats(o->writer);
	uint64_t readable = atomic_load_explicit(&w->readable, memory_order_acquire);
	struct dp_reader_block b;
	struct dp_flight *f;
	bool again;
	int rc;

#ifdef DP_BREAK_READ_PAST_WRITER /* tests/sim must notice */
	rc = dp_reader_next(o->reader,
		DP_LP(atomic_load_explicit(&w->newest_serial, memory_order_relaxed), UINT32_MAX),
		&b);
	rc = rc == -EAGAIN ? 0 : rc;
#else
	rc = dp_reader_next(o->reader, readable, &b);
#endif
	if (rc == 0)
		o->caught_up = readable;
	if (rc <= 0)
		return rc;
	again = known(o, b.block);
	if (again && b.block->records_before < o->read)
		return 1;
	f = dp_flights_push(&o->flights);
	f->lp = b.lp;
	f->lp_next = b.lp_next;
	f->epoch = b.block->epoch;
	f->sequence = b.block->sequence;
	f->worker = b.block->worker;
	f->record_count = b.block->record_count;
	f->arrival_ns = b.block->arrival_min_ns;
	if (b.block->records_before > o->read)
		count_jump(o, f, b.block->records_before - o->read);
	o->read += f->quarantined + f->expired + f->record_count;
	f->records_after = o->read;
	if (again) { /* delivered by a life that counted less than the log does now */
		f->delivered = f->record_count;
		f->whole = true;
		return 1;
	}
	o->sending = (struct dp_sending){.active = true, .from = b};
	return 1;
}

/* ---- sending ---- */

static int64_t arrival_of(const struct dp_rec *rec)
{
	switch (rec->kind) {
	case DP_REC_READING:
		return ((const struct dp_rec_reading *)rec)->arrival_ns;
	case DP_REC_WINDOW:
		return ((const struct dp_rec_window *)rec)->arrival_ns;
	case DP_REC_ALERT:
		return ((const struct dp_rec_alert *)rec)->arrival_ns;
	case DP_REC_GAP:
		return ((const struct dp_rec_gap *)rec)->arrival_ns;
	case DP_REC_RAW:
		return ((const struct dp_rec_raw *)rec)->arrival_ns;
	default:
		return ((const struct dp_rec_mark *)rec)->arrival_ns;
	}
}

static struct dp_flight *youngest(const struct dp_output *o)
{
	return dp_flights_at(&o->flights, o->flights.tail - 1);
}

static void end_block(struct dp_output *o)
{
	youngest(o)->whole = true;
	o->sending.active = false;
	if (o->transport.ops->end_block)
		o->transport.ops->end_block(o->transport.ctx);
}

/* NULL: no memory. */
static const void *payload_of(struct dp_output *o, const struct dp_rec *rec, size_t *bytes)
{
	const struct dp_sending *s = &o->sending;

	if (rec->kind == DP_REC_RAW && o->config.raw_as_it_came) {
		*bytes = ((const struct dp_rec_raw *)rec)->payload_bytes;
		return dp_rec_payload((const struct dp_rec_raw *)rec);
	}
	return dp_json_form_record(o->json, rec, s->from.streams, s->message.id, bytes);
}

/* Makes the next message that this output takes; false: the block has no more. 0 or -ENOMEM. */
static int make_json(struct dp_output *o, bool *made)
{
	struct dp_sending *s = &o->sending;
	const struct dp_block *b = s->from.block;
	struct dp_flight *f = youngest(o);
	const struct dp_rec *rec;
	size_t cursor = s->cursor, bytes;
	bool bad = false;

	*made = false;
	rec = dp_block_next(b, s->from.streams, &cursor, &bad);
	if (!rec) {
		f->quarantined += b->record_count - s->index;
		end_block(o);
		return 0;
	}
	if (!(o->config.kinds & 1u << rec->kind)) {
		f->filtered++;
		s->cursor = cursor;
		s->index++;
		return 0;
	}
	{
		struct dp_rec_place place = {
			b->appliance, b->epoch, b->sequence, b->worker, s->index};
		struct dp_message *m = &s->message;

		dp_rec_id(rec, s->from.streams, &place, m->id);
		m->payload = payload_of(o, rec, &bytes);
		if (!m->payload)
			return -ENOMEM;
		m->payload_bytes = (uint32_t)bytes;
		m->key = rec->id_len ? dp_rec_sensor(rec) : NULL;
		m->key_bytes = rec->id_len;
		m->timestamp_ns = arrival_of(rec);
		m->kind = rec->kind;
		m->records = 1;
		m->record = rec;
	}
	s->cursor = cursor;
	*made = true;
	return 0;
}

static void make_packed(struct dp_output *o)
{
	struct dp_sending *s = &o->sending;
	const struct dp_block *b = s->from.block;
	struct dp_message *m = &s->message;

	memcpy(s->key, &b->appliance, 8);
	memcpy(s->key + 8, &b->worker, 4);
	m->payload = b;
	m->payload_bytes = b->bytes;
	m->key = s->key;
	m->key_bytes = DP_PACKED_KEY_BYTES;
	m->timestamp_ns = b->arrival_max_ns;
	m->records = b->record_count;
}

static int make_message(struct dp_output *o, bool *made)
{
	struct dp_sending *s = &o->sending;
	int rc = 0;

	*made = true;
	if (s->pending)
		return 0;
	if (o->config.form == DP_FORM_PACKED) {
		*made = s->index == 0;
		if (*made)
			make_packed(o);
		else
			end_block(o);
	} else {
		rc = make_json(o, made);
	}
	if (rc || !*made)
		return rc;
	s->message.block = s->from.block;
	s->message.streams = s->from.streams;
	s->message.worker = s->from.block->worker;
	s->message.cookie = dp_flight_cookie(o->flights.tail - 1, s->index);
	s->pending = true;
	return 0;
}

/* Hands one message over. 1: went, 0: not now, or -errno: the transport is broken. */
static int hand_over(struct dp_output *o)
{
	struct dp_sending *s = &o->sending;
	struct dp_flight *f = youngest(o);
	int rc = o->transport.ops->send(o->transport.ctx, &s->message);

	if (rc == -EAGAIN)
		return 0;
	if (rc == -EMSGSIZE || rc == -EINVAL) {
		int noted = dp_output_note_refused(
			o, s->message.cookie, rc == -EMSGSIZE ? "too large" : "not valid");

		if (noted)
			return noted;
		f->refused++;
	} else if (rc) {
		return rc;
	} else {
		f->bytes += s->message.payload_bytes;
		o->flights.bytes += s->message.payload_bytes;
		dp_stat_add(&o->stats.messages, 1);
		dp_stat_add(&o->stats.bytes, s->message.payload_bytes);
	}
	f->outstanding++;
	f->messages++;
	s->pending = false;
	s->index++;
	return 1;
}

static bool window_full(const struct dp_output *o)
{
	uint64_t count = dp_flights_count(&o->flights);

	return count >= o->config.window_blocks ||
	       (count && o->flights.bytes >= o->config.window_bytes);
}

bool dp_output_send_some(struct dp_output *o, const struct dp_now *now)
{
	uint32_t blocks = 0;
	bool made;
	int rc;

	for (uint32_t records = 0; records < STEP_RECORDS; records++) {
		if (!o->sending.active) {
			if (window_full(o))
				return false;
			if (blocks++ == STEP_BLOCKS)
				return true;
			rc = take_block(o);
			if (rc < 0)
				dp_output_disk_failed(o, now, rc);
			if (rc <= 0)
				return false;
			continue;
		}
		rc = make_message(o, &made);
		if (rc == 0 && !made)
			continue;
		if (rc == 0)
			rc = hand_over(o);
		if (rc < 0)
			dp_output_transport_failed(o, now, rc);
		if (rc <= 0)
			return false;
	}
	return true;
}
