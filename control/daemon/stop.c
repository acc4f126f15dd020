/*
 * The stop, in the order of the path: workers work off what has come, then mark and seal; the
 * writer makes it durable; outputs deliver what they can in the time given.  Every wait has an end:
 * a dead disk or broker delays a stop, it does not prevent it.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control/api/ledger.h"
#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

enum { LOOK_MS = 2 };
#define DRAIN_NS  (3 * DP_NS_PER_S)  /* inputs and rings; the workers themselves give up earlier */
#define FINISH_NS (5 * DP_NS_PER_S)  /* the log rings to take the last marks */
#define WRITE_NS  (10 * DP_NS_PER_S) /* the disk to take what is in the log rings */

static int64_t steady(const struct ctl_daemon *d)
{
	return ctl_now(&d->clock).steady_ns;
}

/*
 * Looks every few milliseconds until done(d) or the time is over; true: done. Another signal counts
 * in *hurry, and ends the wait if it may.
 */
struct wait {
	bool (*done)(struct ctl_daemon *d);
	int64_t at_most_ns;
	bool until_hurry;
};

static bool wait_for(struct ctl_daemon *d, const struct wait *w, bool *hurry)
{
	int64_t end = steady(d) + w->at_most_ns;

	while (!w->done(d)) {
		if (steady(d) >= end || (w->until_hurry && *hurry))
			return false;
		*hurry |= ctl_stop_asked(d, LOOK_MS);
	}
	return true;
}

static void set_phase(struct ctl_daemon *d, uint32_t phase)
{
	for (uint32_t i = 0; i < d->config->workers.count; i++) {
		atomic_store_explicit(&d->workers[i].phase, phase, memory_order_release);
		dp_parker_wake(&d->worker_threads[i].parker);
	}
}

static bool reached(struct ctl_daemon *d, uint32_t phase)
{
	for (uint32_t i = 0; i < d->config->workers.count; i++)
		if (atomic_load_explicit(&d->workers[i].phase_reached, memory_order_acquire) <
			phase)
			return false;
	return true;
}

/* Nobody receives any more, so rings that are empty stay so. */
static bool all_drained(struct ctl_daemon *d)
{
	if (!reached(d, DP_WORKER_DRAIN))
		return false;
	for (uint32_t i = 0; i < d->config->workers.count; i++)
		if (dp_worker_has_input(&d->workers[i]))
			return false;
	return true;
}

static bool all_finished(struct ctl_daemon *d)
{
	return reached(d, DP_WORKER_FINISH);
}

/* True: all that they took over is in their log rings. */
static bool stop_workers(struct ctl_daemon *d, bool *hurry)
{
	/* not for another signal: what is on its way between workers is theirs to record */
	const struct wait drain = {all_drained, DRAIN_NS, false};
	const struct wait finish = {all_finished, FINISH_NS, false};
	bool finished;

	set_phase(d, DP_WORKER_DRAIN);
	wait_for(d, &drain, hurry);
	set_phase(d, DP_WORKER_FINISH);
	finished = wait_for(d, &finish, hurry);
	if (!finished)
		ctl_log(CTL_ERROR, "stop: the journal takes no more");
	for (uint32_t i = 0; i < d->config->workers.count; i++) {
		atomic_store(&d->worker_threads[i].quit, true);
		dp_parker_wake(&d->worker_threads[i].parker);
		ctl_join_worker(&d->worker_threads[i]);
	}
	return finished;
}

static bool writer_ended(struct ctl_daemon *d)
{
	return atomic_load_explicit(&d->writer.ended, memory_order_acquire);
}

/* True: all that the workers recorded is written. */
static bool stop_writer(struct ctl_daemon *d, bool *hurry)
{
	const struct wait idle = {writer_ended, WRITE_NS, false};
	bool written;

	dp_writer_drain(d->writer.writer);
	atomic_store(&d->writer.end, CTL_END_DRAINED);
	dp_parker_wake(&d->writer.parker);
	written = wait_for(d, &idle, hurry);
	atomic_store(&d->writer.end, CTL_END_NOW);
	dp_parker_wake(&d->writer.parker);
	ctl_join_writer(&d->writer);
	return written;
}

static bool outputs_ended(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->output_count; i++)
		if (!atomic_load_explicit(&d->outputs[i].ended, memory_order_acquire))
			return false;
	return true;
}

static void end_outputs(struct ctl_daemon *d, enum ctl_end end)
{
	for (uint32_t i = 0; i < d->output_count; i++) {
		atomic_store(&d->outputs[i].end, end);
		dp_parker_wake(&d->outputs[i].parker);
	}
}

/* True: all positions are saved. */
static bool stop_outputs(struct ctl_daemon *d, bool *hurry)
{
	const struct wait drained = {outputs_ended, d->options.stop_timeout_ns, true};
	bool saved = true;

	end_outputs(d, CTL_END_DRAINED);
	wait_for(d, &drained, hurry);
	end_outputs(d, CTL_END_NOW);
	for (uint32_t i = 0; i < d->output_count; i++) {
		struct ctl_output_thread *t = &d->outputs[i];

		ctl_join_output(t);
		if (!t->drained)
			ctl_log(CTL_WARNING,
				"stop: output %s has not had everything; the rest stays in the "
				"journal and goes out at the next start%s%s",
				t->config->name, t->trouble[0] ? ": " : "", t->trouble);
		if (t->saved)
			ctl_log(CTL_ERROR,
				"stop: output %s: position not saved, some goes out again at the "
				"next start: %s",
				t->config->name, strerror(-t->saved));
		saved &= t->saved == 0;
	}
	return saved;
}

static bool close_log(struct ctl_daemon *d)
{
	struct dp_now now = ctl_now(&d->clock);
	int err = dp_writer_close(d->writer.writer, &now);

	if (err)
		ctl_log(CTL_ERROR, "stop: last segment not sealed: %s", strerror(-err));
	return err == 0;
}

/* Nothing runs any more. True: nothing is left in memory. */
static bool tell_ledger(struct ctl_daemon *d, bool finished)
{
	struct ctl_ledger l;
	char line[900];
	bool closed;

	ctl_ledger_read(&d->view, &l);
	closed = l.balanced && l.settled;
	if (!finished || l.pending > 0)
		ctl_log(CTL_ERROR,
			"stop: lost: %" PRId64 " records that are not written, %" PRId64
			" readings that are not recorded",
			l.pending, l.readings_in_flight);
	ctl_ledger_line(&l, line, sizeof(line));
	ctl_log(closed ? CTL_INFO : CTL_ERROR, "%s", line);
	return closed;
}

int ctl_stop(struct ctl_daemon *d)
{
	bool hurry = false, finished, written, saved;

	atomic_store(&d->view.stopping, true);
	finished = stop_workers(d, &hurry);
	written = stop_writer(d, &hurry);
	saved = stop_outputs(d, &hurry);
	if (written)
		written = close_log(d);
	return tell_ledger(d, finished) && finished && written && saved ? CTL_EXIT_OK
									: CTL_EXIT_UNWRITTEN;
}
