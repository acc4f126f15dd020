/*
 * An output: reads blocks behind the writer, makes messages of them, counts what became of each.
 * Owns its position file, its dead-letter file and its transport; sees neither threads nor clocks.
 */
#include "dataplane/egress/egress.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/dead.h"
#include "dataplane/egress/flight.h"
#include "dataplane/egress/json.h"
#include "dataplane/egress/number.h"
#include "dataplane/egress/position.h"

enum {
	STEP_RECORDS = 1024, /* JSON: looked at per step */
	STEP_BLOCKS = 16,
	WHY_BYTES = 64,
	PACKED_KEY_BYTES = 12, /* u64 appliance, u32 worker */
};
#define BACKOFF_MIN_NS (50 * DP_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * DP_NS_PER_S)

enum output_state { STATE_RUNNING, STATE_BROKEN, STATE_DISK, STATE_STOPPED };

struct refused {
	uint64_t cookie;
	char why[WHY_BYTES];
};

/* The block that is being made into messages: always the youngest flight. */
struct sending {
	bool active, pending; /* pending: `message` was made and not yet taken */
	struct dp_reader_block from;
	size_t cursor;
	uint32_t index;
	struct dp_message message;
	uint8_t key[PACKED_KEY_BYTES];
};

struct dp_output {
	struct dp_output_config config;
	struct dp_io io;
	struct dp_writer *writer;
	struct dp_transport transport;
	uint64_t appliance;
	struct dp_json_form *json;
	struct dp_reader *reader;
	struct dp_reader_counts counted; /* the reader's, as far as they are accounted for */
	struct dp_position position;
	struct dp_flights flights;
	struct dp_dead dead;
	struct refused *refused;
	size_t refused_count, refused_size;
	struct sending sending;
	uint64_t read;	    /* records, in the log, over all time */
	uint64_t caught_up; /* lp up to which the log was read to its end */
	bool broken, disk, changed, stopped;
	bool unsaved;		      /* the last save failed */
	int64_t backoff_ns, retry_ns; /* steady; for whatever is wrong */
	int64_t saved_ns;
	struct dp_output_stats stats;
};

static void set(_Atomic uint64_t *v, uint64_t to)
{
	atomic_store_explicit(v, to, memory_order_relaxed);
}

static void add(_Atomic uint64_t *v, uint64_t n)
{
	set(v, atomic_load_explicit(v, memory_order_relaxed) + n);
}

static void publish(struct dp_output *o)
{
	const struct dp_position *p = &o->position;
	uint64_t oldest = 0;

	if (dp_flights_count(&o->flights))
		oldest = (uint64_t)dp_flights_at(&o->flights, o->flights.head)->arrival_ns;
	set(&o->stats.baseline, p->baseline);
	set(&o->stats.delivered, p->delivered);
	set(&o->stats.dead_letter, p->dead_letter);
	set(&o->stats.filtered, p->filtered);
	set(&o->stats.expired, p->expired);
	set(&o->stats.quarantined, p->quarantined);
	set(&o->stats.in_flight, o->read - p->records);
	set(&o->stats.read, o->read);
	set(&o->stats.at, p->lp);
	set(&o->stats.oldest_ns, oldest);
	set(&o->stats.state, o->stopped		     ? STATE_STOPPED
			     : o->broken	     ? STATE_BROKEN
			     : o->disk || o->unsaved ? STATE_DISK
						     : STATE_RUNNING);
}

/* Something refuses; what was to be done is tried again later, each time waiting longer. */
static void back_off(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->backoff_ns = o->backoff_ns ? 2 * o->backoff_ns : BACKOFF_MIN_NS;
	if (o->backoff_ns > BACKOFF_MAX_NS)
		o->backoff_ns = BACKOFF_MAX_NS;
	o->retry_ns = now->steady_ns + o->backoff_ns;
	set(&o->stats.error, (uint64_t)-rc);
}

static void transport_failed(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->broken = true;
	back_off(o, now, rc);
}

static void disk_failed(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->disk = true;
	back_off(o, now, rc);
}

/* ---- reports ---- */

static int note_refused(struct dp_output *o, uint64_t cookie, const char *why)
{
	if (o->refused_count == o->refused_size) {
		size_t size = o->refused_size ? 2 * o->refused_size : 64;
		struct refused *bigger = realloc(o->refused, size * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		o->refused = bigger;
		o->refused_size = size;
	}
	o->refused[o->refused_count].cookie = cookie;
	strncpy(o->refused[o->refused_count].why, why ? why : "refused", WHY_BYTES - 1);
	o->refused[o->refused_count++].why[WHY_BYTES - 1] = 0;
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
		int rc = note_refused(o, cookie, why);

		if (rc)
			r->rc = rc;
		else
			f->refused++;
		return;
	}
	f->delivered += o->config.form == DP_FORM_PACKED ? f->record_count : 1;
	f->outstanding--;
}

static bool serve(struct dp_output *o, const struct dp_now *now)
{
	struct reporting r = {.output = o};
	const struct dp_report_sink sink = {take_report, &r};
	int rc = o->transport.ops->serve(o->transport.ctx, now, &sink);

	/* A refusal that there was no memory to note: all of it comes again after a reopen. */
	if (rc == 0)
		rc = r.rc;
	if (rc)
		transport_failed(o, now, rc);
	return rc == 0;
}

/* ---- dead letters ---- */

static int dead_record(
	struct dp_output *o, const struct dp_reader_block *b, const struct refused *r)
{
	uint32_t want = r->cookie & ((1u << DP_FLIGHT_INDEX_BITS) - 1);
	struct dp_dead_place place = {b->block, want, r->why};
	struct dp_rec_place spot = {
		b->block->appliance, b->block->epoch, b->block->sequence, b->block->worker, want};
	const struct dp_rec *rec = NULL;
	size_t cursor = 0, bytes;
	const char *text;
	uint64_t id[2];
	bool bad = false;

	if (o->config.form == DP_FORM_PACKED)
		return dp_dead_add(&o->dead, &place, NULL, 0);
	for (uint32_t i = 0; i <= want; i++)
		rec = dp_block_next(b->block, b->streams, &cursor, &bad);
	if (!rec)
		return -EIO;
	dp_rec_id(rec, b->streams, &spot, id);
	text = dp_json_form_record(o->json, rec, b->streams, id, &bytes);
	return text ? dp_dead_add(&o->dead, &place, text, bytes) : -ENOMEM;
}

static bool of_head(const struct dp_output *o, const struct refused *r)
{
	return dp_flights_of(&o->flights, r->cookie) == dp_flights_at(&o->flights, o->flights.head);
}

/* Reads the oldest block again, by a reader of its own, and writes down what of it was refused. */
static int write_dead(struct dp_output *o)
{
	const struct dp_flight *f = dp_flights_at(&o->flights, o->flights.head);
	struct dp_reader_block b;
	struct dp_reader *reader;
	int rc = dp_reader_open(&o->io, o->appliance, f->lp, &reader);

	if (rc)
		return rc;
	rc = dp_reader_next(reader, f->lp_next, &b);
	if (rc >= 0)
		rc = rc == 1 && b.block->epoch == f->epoch && b.block->worker == f->worker &&
				     b.block->sequence == f->sequence
			     ? 0
			     : -EIO;
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
		disk_failed(o, now, rc);
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

/* Blocks that are done leave the window; true: one did. */
static bool pass(struct dp_output *o, const struct dp_now *now)
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

/* ---- reading ---- */

/* Records that the log has lost behind our back leave the sums as well: it counts what it holds. */
static void forget_records(struct dp_output *o, uint64_t lost)
{
	struct dp_position *p = &o->position;
	uint64_t *sums[] = {&p->delivered, &p->filtered, &p->dead_letter, &p->quarantined,
		&p->expired, &p->baseline};

	p->records -= lost;
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]) && lost; i++) {
		uint64_t n = *sums[i] < lost ? *sums[i] : lost;

		*sums[i] -= n;
		lost -= n;
	}
	o->changed = true;
}

static int open_reader(struct dp_output *o)
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
	uint64_t limit = atomic_load_explicit(&w->readable, memory_order_acquire);
	struct dp_reader_block b;
	struct dp_flight *f;
	int rc = dp_reader_next(o->reader, limit, &b);
	bool again;

	if (rc == 0)
		o->caught_up = limit;
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
	o->sending = (struct sending){.active = true, .from = b};
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

/* Makes the next message that this output takes; false: the block has no more. 0 or -ENOMEM. */
static int make_json(struct dp_output *o, bool *made)
{
	struct sending *s = &o->sending;
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
		m->payload = dp_json_form_record(o->json, rec, s->from.streams, m->id, &bytes);
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
	struct sending *s = &o->sending;
	const struct dp_block *b = s->from.block;
	struct dp_message *m = &s->message;

	memcpy(s->key, &b->appliance, 8);
	memcpy(s->key + 8, &b->worker, 4);
	m->payload = b;
	m->payload_bytes = b->bytes;
	m->key = s->key;
	m->key_bytes = PACKED_KEY_BYTES;
	m->timestamp_ns = b->arrival_max_ns;
	m->records = b->record_count;
}

static int make_message(struct dp_output *o, bool *made)
{
	struct sending *s = &o->sending;
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
	struct sending *s = &o->sending;
	struct dp_flight *f = youngest(o);
	int rc = o->transport.ops->send(o->transport.ctx, &s->message);

	if (rc == -EAGAIN)
		return 0;
	if (rc == -EMSGSIZE || rc == -EINVAL) {
		int noted = note_refused(
			o, s->message.cookie, rc == -EMSGSIZE ? "too large" : "not valid");

		if (noted)
			return noted;
		f->refused++;
	} else if (rc) {
		return rc;
	} else {
		f->bytes += s->message.payload_bytes;
		o->flights.bytes += s->message.payload_bytes;
		add(&o->stats.messages, 1);
		add(&o->stats.bytes, s->message.payload_bytes);
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

/* Sends until a bound, the end, or a transport that takes no more; true: there was a bound. */
static bool send_some(struct dp_output *o, const struct dp_now *now)
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
				disk_failed(o, now, rc);
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
			transport_failed(o, now, rc);
		if (rc <= 0)
			return false;
	}
	return true;
}

/* ---- when something broke ---- */

/* Everything behind the delivered position goes out again, through a transport begun anew. */
static int start_again(struct dp_output *o, const struct dp_now *now)
{
	int rc = o->transport.ops->reopen(o->transport.ctx, now);

	if (rc == 0)
		rc = open_reader(o);
	if (rc)
		return rc;
	for (uint64_t i = o->flights.head; i != o->flights.tail; i++)
		add(&o->stats.resends, dp_flights_at(&o->flights, i)->messages);
	o->flights.head = o->flights.tail;
	o->flights.bytes = 0;
	o->refused_count = 0;
	o->sending = (struct sending){0};
	add(&o->stats.reopens, 1);
	o->broken = false;
	return 0;
}

/* May work go on? Waits out the backoff, then mends what is broken. */
static bool mend(struct dp_output *o, const struct dp_now *now)
{
	int rc;

	if (!o->broken && !o->disk)
		return true;
	if (now->steady_ns < o->retry_ns)
		return false;
	o->disk = false;
	if (!o->broken)
		return true;
	rc = start_again(o, now);
	if (rc)
		transport_failed(o, now, rc);
	return rc == 0;
}

/* ---- positions ---- */

static int save(struct dp_output *o, const struct dp_now *now)
{
	struct dp_position *p = &o->position;
	int rc;

	p->state_bytes = 0;
	memset(p->state, 0, sizeof(p->state));
	if (o->transport.ops->state)
		p->state_bytes = (uint32_t)o->transport.ops->state(
			o->transport.ctx, p->state, sizeof(p->state));
	o->saved_ns = now->steady_ns;
	rc = dp_position_save(&o->io, o->config.name, p);
	o->unsaved = rc != 0;
	if (rc) {
		add(&o->stats.save_failures, 1);
		set(&o->stats.error, (uint64_t)-rc);
		return rc;
	}
	add(&o->stats.saves, 1);
	o->changed = false;
	/* A crash comes back to what is saved: the log is needed from there on, not from lp. */
	dp_writer_need(o->writer, o->config.slot, DP_LP_SERIAL(p->lp));
	return 0;
}

static bool save_due(const struct dp_output *o, const struct dp_now *now)
{
	return o->changed && now->steady_ns - o->saved_ns >= o->config.save_interval_ns;
}

/* ---- contract ---- */

bool dp_output_step(struct dp_output *o, const struct dp_now *now)
{
	bool more = false;

	if (o->stopped)
		return false;
	if (mend(o, now) && serve(o, now)) {
		more = pass(o, now);
		if (!o->disk)
			more |= send_some(o, now);
		/* Blocks of which nothing is sent pass at once. */
		if (!o->broken)
			more |= pass(o, now);
	}
	if (!o->broken && save_due(o, now))
		(void)save(o, now);
	publish(o);
	return more && !o->broken && !o->disk;
}

int64_t dp_output_deadline(const struct dp_output *o)
{
	int64_t deadline = INT64_MAX;

	if (o->stopped)
		return deadline;
	if (o->broken || o->disk)
		deadline = o->retry_ns;
	else
		deadline = o->transport.ops->deadline(o->transport.ctx);
	if (o->changed && o->saved_ns + o->config.save_interval_ns < deadline)
		deadline = o->saved_ns + o->config.save_interval_ns;
	return deadline;
}

bool dp_output_drained(const struct dp_output *o)
{
	const struct dp_writer_stats *w = dp_writer_stats(o->writer);

	return !o->broken && !o->disk && !dp_flights_count(&o->flights) &&
	       o->caught_up == atomic_load_explicit(&w->readable, memory_order_acquire);
}

int dp_output_stop(struct dp_output *o, const struct dp_now *now)
{
	int rc;

	if (!o->broken && serve(o, now))
		pass(o, now);
	rc = save(o, now);
	o->stopped = true;
	publish(o);
	return rc;
}

const struct dp_output_stats *dp_output_stats(const struct dp_output *o)
{
	return &o->stats;
}

int dp_output_wake_fd(const struct dp_output *o)
{
	return o->transport.ops->wake_fd ? o->transport.ops->wake_fd(o->transport.ctx) : -1;
}

size_t dp_output_trouble(const struct dp_output *o, char *text, size_t size)
{
	*text = 0;
	return o->transport.ops->trouble ? o->transport.ops->trouble(o->transport.ctx, text, size)
					 : 0;
}

/* ---- start ---- */

static void begin(struct dp_output *o, const struct dp_recovery *r, enum dp_position_found found)
{
	struct dp_position *p = &o->position;

	if (found == DP_POSITION_FOUND) {
		/* `lazy`: a power cut may take what was delivered already. */
		if (p->records > r->records)
			forget_records(o, p->records - r->records);
		if (p->lp > r->end_lp)
			p->lp = r->end_lp;
		return;
	}
	if (found == DP_POSITION_LOST)
		set(&o->stats.positions_lost, 1);
	p->dead_bytes = UINT64_MAX;
	if (found == DP_POSITION_NEW && !o->config.from_oldest) {
		p->lp = r->end_lp;
		p->baseline = r->records;
	} else {
		p->lp = 0;
		p->baseline = r->segment_count ? r->segments[0].records_before : r->records;
	}
	p->records = p->baseline;
}

static int make_form(struct dp_output *o, const struct dp_attribute_lookup *attributes)
{
	char label[17] = {0};

	dp_number_hex(o->appliance, label);
	return dp_json_form_new(o->config.label[0] ? o->config.label : label, attributes, &o->json);
}

static int start(struct dp_output *o, const struct dp_output_setup *setup, const struct dp_now *now)
{
	struct dp_position *p = &o->position;
	enum dp_position_found found;
	int rc;

	found = dp_position_load(&o->io, o->config.name, o->appliance, p);
	begin(o, setup->recovery, found);
	dp_writer_need(o->writer, o->config.slot, DP_LP_SERIAL(p->lp));
	rc = dp_dead_init(&o->dead, &setup->dead_io, o->config.name, p->dead_bytes);
	if (rc)
		return rc;
	p->dead_bytes = o->dead.length;
	if (o->transport.ops->restore)
		rc = o->transport.ops->restore(o->transport.ctx, p->state, p->state_bytes);
	if (rc == 0)
		rc = open_reader(o);
	if (rc == 0 && found != DP_POSITION_FOUND)
		rc = save(o, now);
	return rc;
}

int dp_output_new(
	const struct dp_output_setup *setup, const struct dp_now *now, struct dp_output **out)
{
	struct dp_output *o = calloc(1, sizeof(*o));
	int rc = -ENOMEM;

	if (!o) {
		setup->transport.ops->close(setup->transport.ctx);
		return rc;
	}
	o->config = setup->config;
	o->io = setup->io;
	o->writer = setup->writer;
	o->transport = setup->transport;
	o->appliance = setup->recovery->appliance;
	o->saved_ns = now->steady_ns;
	o->dead.handle = -1;
	rc = dp_flights_init(&o->flights, o->config.window_blocks);
	if (rc == 0)
		rc = make_form(o, &setup->attributes);
	if (rc == 0)
		rc = start(o, setup, now);
	if (rc) {
		dp_output_free(o);
		return rc;
	}
	publish(o);
	*out = o;
	return 0;
}

void dp_output_free(struct dp_output *o)
{
	if (!o)
		return;
	o->transport.ops->close(o->transport.ctx);
	if (o->reader)
		dp_reader_close(o->reader);
	dp_json_form_free(o->json);
	dp_flights_fini(&o->flights);
	dp_dead_fini(&o->dead);
	free(o->refused);
	free(o);
}
