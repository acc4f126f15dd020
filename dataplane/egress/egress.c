/*
 * An output: reads blocks behind the writer, makes messages of them, counts what became of each.
 * Owns its position file, its dead-letter file and its transport; sees neither threads nor clocks.
 */
#include "dataplane/egress/egress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/number.h"
#include "dataplane/egress/output.h"

#define BACKOFF_MIN_NS (50 * DP_NS_PER_MS)
#define BACKOFF_MAX_NS (5 * DP_NS_PER_S)
#define REPORTS_NS     (20 * DP_NS_PER_MS) /* most that a report waits to be looked at */

enum output_state { STATE_RUNNING, STATE_BROKEN, STATE_DISK, STATE_STOPPED };

static void publish(struct dp_output *o)
{
	const struct dp_position *p = &o->position;
	uint64_t oldest = 0;

	if (dp_flights_count(&o->flights))
		oldest = (uint64_t)dp_flights_at(&o->flights, o->flights.head)->arrival_ns;
	dp_stat_set(&o->stats.baseline, p->baseline);
	dp_stat_set(&o->stats.delivered, p->delivered);
	dp_stat_set(&o->stats.dead_letter, p->dead_letter);
	dp_stat_set(&o->stats.filtered, p->filtered);
	dp_stat_set(&o->stats.expired, p->expired);
	dp_stat_set(&o->stats.quarantined, p->quarantined);
	dp_stat_set(&o->stats.in_flight, o->read - p->records);
	dp_stat_set(&o->stats.read, o->read);
	dp_stat_set(&o->stats.at, p->lp);
	dp_stat_set(&o->stats.oldest_ns, oldest);
	dp_stat_set(&o->stats.state, o->stopped		     ? STATE_STOPPED
				     : o->broken	     ? STATE_BROKEN
				     : o->disk || o->unsaved ? STATE_DISK
							     : STATE_RUNNING);
}

/* ---- when something broke ---- */

/* Something refuses; what was to be done is tried again later, each time waiting longer. */
static void back_off(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->backoff_ns = o->backoff_ns ? 2 * o->backoff_ns : BACKOFF_MIN_NS;
	if (o->backoff_ns > BACKOFF_MAX_NS)
		o->backoff_ns = BACKOFF_MAX_NS;
	o->retry_ns = now->steady_ns + o->backoff_ns;
	dp_stat_set(&o->stats.error, (uint64_t)-rc);
}

void dp_output_transport_failed(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->broken = true;
	back_off(o, now, rc);
}

void dp_output_disk_failed(struct dp_output *o, const struct dp_now *now, int rc)
{
	o->disk = true;
	back_off(o, now, rc);
}

/* Everything behind the delivered position goes out again, through a transport begun anew. */
static int start_again(struct dp_output *o, const struct dp_now *now)
{
	uint64_t again = 0;
	int rc;

	for (uint64_t i = o->flights.head; i != o->flights.tail; i++)
		again += dp_flights_at(&o->flights, i)->messages;
	rc = o->transport.ops->reopen(o->transport.ctx, now, again);
	if (rc == 0)
		rc = dp_output_open_reader(o);
	if (rc)
		return rc;
	dp_stat_add(&o->stats.resends, again);
	o->flights.head = o->flights.tail;
	o->flights.bytes = 0;
	o->refused_count = 0;
	o->sending = (struct dp_sending){0};
	dp_stat_add(&o->stats.reopens, 1);
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
		dp_output_transport_failed(o, now, rc);
	return rc == 0;
}

/* ---- positions ---- */

static void prepare_save(struct dp_output *o, const struct dp_now *now)
{
	struct dp_position *p = &o->position;

	p->state_bytes = 0;
	memset(p->state, 0, sizeof(p->state));
	if (o->transport.ops->state)
		p->state_bytes = (uint32_t)o->transport.ops->state(
			o->transport.ctx, p->state, sizeof(p->state));
	o->saved_ns = now->steady_ns;
	o->changed = false;
}

/* A save of the position up to `lp` has ended. */
static void end_save(struct dp_output *o, uint64_t lp, int rc)
{
	o->saving = false;
	o->unsaved = rc != 0;
	if (rc) {
		o->changed = true;
		dp_stat_add(&o->stats.save_failures, 1);
		dp_stat_set(&o->stats.error, (uint64_t)-rc);
		return;
	}
	dp_stat_add(&o->stats.saves, 1);
	if (o->transport.ops->saved)
		o->transport.ops->saved(o->transport.ctx);
	/* A crash comes back to what is saved: the log is needed from there on, not from lp. */
	dp_writer_need(o->writer, o->config.slot, DP_LP_SERIAL(lp));
}

/* Start and stop: waits for the disk. */
static int save(struct dp_output *o, const struct dp_now *now)
{
	int rc;

	prepare_save(o, now);
	rc = dp_position_save(&o->file, &o->position);
	end_save(o, o->position.lp, rc);
	return rc;
}

static void poll_save(struct dp_output *o)
{
	int rc = o->saving ? dp_position_save_poll(&o->file) : -EAGAIN;

	if (rc != -EAGAIN)
		end_save(o, o->saving_lp, rc);
}

static void start_save(struct dp_output *o, const struct dp_now *now)
{
	int rc;

	prepare_save(o, now);
	rc = dp_position_save_start(&o->file, &o->position);
	if (rc) {
		end_save(o, o->position.lp, rc);
		return;
	}
	o->saving = true;
	o->saving_lp = o->position.lp;
	poll_save(o); /* where a sync takes no time nobody is woken after it */
}

static bool wants_save(const struct dp_output *o)
{
	return o->transport.ops->wants_save && o->transport.ops->wants_save(o->transport.ctx);
}

/* A disk that refuses a save is asked again as often as it would be anyway. */
static bool save_due(const struct dp_output *o, const struct dp_now *now)
{
	if (o->saving)
		return false;
	if (now->steady_ns - o->saved_ns >= o->config.save_interval_ns)
		return o->changed || wants_save(o);
	return !o->unsaved && wants_save(o);
}

/* ---- contract ---- */

static bool send(struct dp_output *o, const struct dp_now *now)
{
	bool more = dp_output_send_some(o, now);

	if (!more && !o->broken && o->transport.ops->end_burst)
		o->transport.ops->end_burst(o->transport.ctx);
	return more;
}

bool dp_output_step(struct dp_output *o, const struct dp_now *now)
{
	bool more = false;

	if (o->stopped)
		return false;
	o->served_ns = now->steady_ns;
	poll_save(o);
	if (mend(o, now)) {
		/* Also when it broke: what it reported before that is behind it, and behind us. */
		bool up = dp_output_serve(o, now);

		more = dp_output_pass(o, now);
		if (up && !o->disk)
			more |= send(o, now);
		/* Blocks of which nothing is sent pass at once. */
		if (!o->broken)
			more |= dp_output_pass(o, now);
	}
	/* Also while it is broken: what was reported before is behind us. */
	if (save_due(o, now))
		start_save(o, now);
	publish(o);
	return more && !o->broken && !o->disk;
}

/*
 * Reports only make room and move the position: while there is room for as much again they wait for
 * the next block or REPORTS_NS, which spares a wake-up a block.
 */
static bool reports_may_wait(const struct dp_output *o)
{
	const struct dp_transport_ops *ops = o->transport.ops;
	uint64_t count = dp_flights_count(&o->flights);
	/* A message that waits for more than time waits for reports. */
	bool stuck = o->sending.pending &&
		     (ops->needs_reports ? ops->needs_reports(o->transport.ctx)
					 : ops->deadline(o->transport.ctx) == INT64_MAX);

	return ops->wake_fd && count && !o->broken && !o->disk && !stuck &&
	       count <= o->config.window_blocks / 2 &&
	       o->flights.bytes <= o->config.window_bytes / 2;
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
	if (!o->saving && (o->changed || wants_save(o)) &&
		o->saved_ns + o->config.save_interval_ns < deadline)
		deadline = o->saved_ns + o->config.save_interval_ns;
	if (reports_may_wait(o) && o->served_ns + REPORTS_NS < deadline)
		deadline = o->served_ns + REPORTS_NS;
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

	if (!o->broken) {
		dp_output_serve(o, now);
		dp_output_pass(o, now);
	}
	rc = save(o, now);
	o->stopped = true;
	publish(o);
	return rc;
}

const struct dp_output_stats *dp_output_stats(const struct dp_output *o)
{
	return &o->stats;
}

bool dp_output_waits(const struct dp_output *o)
{
	return o->sending.pending || o->broken || o->disk;
}

int dp_output_wake_fd(const struct dp_output *o)
{
	const struct dp_transport_ops *ops = o->transport.ops;

	return ops->wake_fd && !reports_may_wait(o) ? ops->wake_fd(o->transport.ctx) : -1;
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
		if (p->lp > r->end_lp)
			p->lp = r->end_lp;
		return;
	}
	if (found == DP_POSITION_LOST)
		dp_stat_set(&o->stats.positions_lost, 1);
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
	char hex[17] = {0};
	const char *label = o->config.label[0] ? o->config.label : hex;
	int rc;

	dp_number_hex(o->appliance, hex);
	rc = dp_json_form_new(label, attributes, &o->json);
	return rc ? rc : dp_json_form_new(label, attributes, &o->dead_json);
}

static int start(struct dp_output *o, const struct dp_output_setup *setup, const struct dp_now *now)
{
	struct dp_position *p = &o->position;
	enum dp_position_found found;
	int rc;

	p->appliance = o->appliance;
	rc = dp_position_open(&o->file, &o->io, o->config.name, p, &found);
	if (rc)
		return rc;
	begin(o, setup->recovery, found);
	rc = dp_output_forget_lost(o, setup->recovery);
	if (rc)
		return rc;
	rc = dp_dead_init(&o->dead, &setup->dead_io, o->config.name, p->dead_bytes);
	if (rc)
		return rc;
	p->dead_bytes = o->dead.length;
	if (o->transport.ops->restore)
		rc = o->transport.ops->restore(o->transport.ctx, p->state, p->state_bytes);
	if (rc == 0)
		rc = dp_output_open_reader(o);
	if (rc)
		return rc;
	/*
	 * What was read may be in the kernel's cache alone, from before a crash. A disk that
	 * refuses keeps no output with a position from starting; until it takes it, the log stays
	 * whole.
	 */
	dp_writer_need(o->writer, o->config.slot, 0);
	rc = save(o, now);
	return found == DP_POSITION_FOUND ? 0 : rc;
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
	o->dead.handle = o->file.handle = -1;
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
	dp_json_form_free(o->dead_json);
	dp_flights_fini(&o->flights);
	dp_dead_fini(&o->dead);
	dp_position_close(&o->file);
	free(o->refused);
	free(o);
}
