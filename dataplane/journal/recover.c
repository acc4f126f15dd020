/*
 * Recovery: at start, before anyone else reads the journal.  Owns the directory from the lock on.
 * First everything is read and judged, so that a directory that is refused is left as it was.
 */
#include "dataplane/journal/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/journal/recover_impl.h"

int dp_recover_failed(struct dp_recovering *r, enum dp_recover_error kind, int rc, const char *step,
	const char *name)
{
	*r->report = (struct dp_recover_report){.kind = kind, .error = -rc};
	snprintf(r->report->what, sizeof(r->report->what), "%s %s", step, name);
	return -1;
}

static int take_lock(struct dp_recovering *r)
{
	int rc = r->io.ops->lock(r->io.ctx, "LOCK");

	if (rc == 0)
		return 0;
	return dp_recover_failed(
		r, rc == -EWOULDBLOCK ? DP_RECOVER_LOCKED : DP_RECOVER_IO, rc, "lock", "LOCK");
}

static int save_text(struct dp_recovering *r, const char *name, const char *text)
{
	int rc = dp_io_save(&r->io, name, text, strlen(text));

	return rc ? dp_recover_failed(r, DP_RECOVER_IO, rc, "write", name) : 0;
}

/* Made with the directory, and again should only the file be lost. */
static int settle_appliance(struct dp_recovering *r)
{
	char text[24];

	if (r->appliance_stored)
		return 0;
	if (!r->has_appliance)
		r->out->appliance = dp_io_random(&r->io);
	snprintf(text, sizeof(text), "%016" PRIx64 "\n", r->out->appliance);
	return save_text(r, "appliance", text);
}

static void decide_epoch(struct dp_recovering *r)
{
	uint64_t epoch = (uint64_t)(r->now.real_ns > 0 ? r->now.real_ns : 0) / DP_NS_PER_S;

	if (epoch < r->stored_epoch + 1)
		epoch = r->stored_epoch + 1;
	if (epoch < r->out->last_epoch + 1)
		epoch = r->out->last_epoch + 1;
	r->out->epoch = epoch;
}

/*
 * With how the last run ended, should this one not come to its first segment. With the highest
 * serial ever given, the tail's new segment included: a position that an output
 * has stored must never come to mean another segment.  So before any segment is removed.
 */
static int settle_epoch(struct dp_recovering *r)
{
	char text[60];

	snprintf(text, sizeof(text), "%016" PRIx64 " %016" PRIx64 " %016x\n", r->out->epoch,
		r->max_serial + (r->tail_count > 0), !r->out->clean);
	return save_text(r, "epoch", text);
}

/*
 * By the run that wrote it: a run that sealed its last segment because it was full may have had
 * more in memory, and a start may have sealed the segments of a run that ended abruptly and then
 * have been broken off itself, before it could make a segment and say so there.
 */
static bool ended_clean(const struct dp_recovering *r)
{
	const struct dp_scan_segment *last =
		r->segment_count ? &r->segments[r->segment_count - 1] : NULL;
	bool of_last_run;

	if (!last)
		return true;
	/* what a start has written again holds blocks of earlier runs */
	of_last_run = last->head.epoch == r->stored_epoch && last->epoch_min >= r->stored_epoch;
	return !last->bad && last->sealed && (of_last_run ? last->ended : !r->stored_abrupt);
}

static int list_segments(struct dp_recovering *r)
{
	struct dp_recovery *out = r->out;

	out->segments = calloc(r->segment_count + 1, sizeof(*out->segments));
	if (!out->segments)
		return dp_recover_failed(r, DP_RECOVER_IO, -ENOMEM, "list", "segments");
	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *s = &r->segments[i];

		if (s->bad || s->dropped)
			continue;
		out->segments[out->segment_count++] = (struct dp_recovered_segment){
			.serial = s->serial,
			.records_before = s->head.records_before,
			.records_after = s->records_after,
			.bytes = s->file_bytes,
			.last_ns = s->last_ns,
			.sealed = s->sealed,
		};
	}
	out->next_serial = r->max_serial + 1;
	out->end_lp = DP_LP(out->next_serial, 0);
	out->records = r->records_at;
	return 0;
}

static int recover(struct dp_recovering *r)
{
	int rc = take_lock(r);

	if (rc == 0)
		rc = dp_recover_scan(r);
	if (rc)
		return rc;
	r->out->clean = ended_clean(r);
	decide_epoch(r);
	rc = dp_recover_judge(r);
	if (rc == 0)
		rc = settle_appliance(r);
	if (rc == 0)
		rc = settle_epoch(r);
	if (rc == 0)
		rc = dp_recover_settle(r);
	return rc ? rc : list_segments(r);
}

int dp_recover(const struct dp_io *io, const struct dp_journal_config *config,
	const struct dp_now *now, struct dp_recovery **out, struct dp_recover_report *report)
{
	struct dp_recovering r = {.io = *io, .config = config, .now = *now, .report = report};
	int rc;

	*report = (struct dp_recover_report){0};
	r.out = calloc(1, sizeof(*r.out));
	if (r.out) {
		r.out->stop = config->stop;
		r.out->stop_arg = config->stop_arg;
	}
	rc = r.out ? recover(&r)
		   : dp_recover_failed(&r, DP_RECOVER_IO, -ENOMEM, "start", "journal");
	for (uint32_t i = 0; i < r.segment_count; i++) {
		free(r.segments[i].blocks);
		free(r.segments[i].faults);
	}
	free(r.segments);
	free(r.temps);
	free(r.tail);
	if (rc == 0)
		*out = r.out;
	else if (r.out)
		dp_recovery_free(r.out);
	return rc;
}

void dp_recovery_free(struct dp_recovery *r)
{
	free(r->segments);
	free(r);
}

int dp_replay(const struct dp_io *io, const struct dp_recovery *r,
	int (*each)(void *arg, const struct dp_reader_block *b), void *arg,
	struct dp_reader_counts *counts)
{
	struct dp_reader_block b;
	struct dp_reader *reader;
	int rc = dp_reader_open(io, r->appliance, 0, &reader);

	if (rc)
		return rc;
	while ((rc = dp_reader_next(reader, r->end_lp, &b)) == 1) {
		*counts = *dp_reader_counts(reader);
		rc = r->stop && r->stop(r->stop_arg) ? -ECANCELED : each(arg, &b);
		if (rc)
			break;
	}
	*counts = *dp_reader_counts(reader);
	dp_reader_close(reader);
	return rc;
}
