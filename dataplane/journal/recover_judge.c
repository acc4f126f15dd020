/*
 * Recovery, second part: what of the directory counts.
 *
 * durable_lp is the place up to which everything is known to have been synced: each block says how
 * far the log was synced when it was written, a new segment is made only behind a sync, a footer is
 * written only behind a sync.  Before it damage is damage: it is skipped, the rest counts.  Behind
 * it lies the tail: what the last run had written and may not have synced.  Of that only what lies
 * before the first hole counts, so that the log is a beginning of what was written: what comes
 * after a hole may speak of what was in it (the duplicate bitmaps do), outputs count on the order,
 * and nothing behind the last sync was acknowledged.
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/journal/recover_impl.h"

/* ---- what is durable ---- */

static void find_durable(struct dp_recovering *r)
{
	uint64_t lp = 0;

	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *s = &r->segments[i];
		uint64_t made =
			s->head.supersedes ? s->head.supersedes : DP_LP(s->serial, s->start);

		if (s->bad)
			continue;
		if (s->sealed)
			made = DP_LP(s->serial, s->end);
		lp = made > lp ? made : lp;
		for (uint32_t k = 0; k < s->block_count; k++) {
			const struct dp_scanned *b = &s->blocks[k];

			if (b->durable_lp <= b->lp && b->durable_lp > lp)
				lp = b->durable_lp;
		}
	}
	r->durable_lp = lp;
}

/* Where each segment stops to count, because a later one took over or the tail begins. */
static void find_cuts(struct dp_recovering *r)
{
	uint64_t last = DP_LP_SERIAL(r->durable_lp);

	for (uint32_t i = 0; i < r->segment_count; i++) {
		struct dp_scan_segment *s = &r->segments[i];

		s->cut = r->durable_lp;
		for (uint32_t k = i + 1; k < r->segment_count; k++) {
			const struct dp_scan_segment *t = &r->segments[k];

			if (!t->bad && t->serial <= last && t->head.supersedes &&
				t->head.supersedes < s->cut)
				s->cut = t->head.supersedes;
		}
		s->dropped = !s->bad && !s->sealed && s->cut < DP_LP(s->serial, s->start);
	}
}

/* ---- what of it counts ---- */

static void expect_records(struct dp_recovering *r, uint64_t records_before)
{
	if (r->records_known && records_before > r->records_at)
		r->out->quarantined_records += records_before - r->records_at;
	r->records_at = records_before;
	r->records_known = true;
}

/* The blocks of an unsealed segment that count. */
static void count_blocks(struct dp_recovering *r, struct dp_scan_segment *s)
{
	uint64_t end = s->start;
	uint32_t faults = 0;

	for (uint32_t i = 0; i < s->block_count && s->blocks[i].lp < s->cut; i++) {
		const struct dp_scanned *b = &s->blocks[i];

		expect_records(r, b->records_before);
		r->records_at += b->record_count;
		end = DP_LP_OFFSET(b->lp) + dp_block_disk_bytes(b->bytes);
	}
	while (faults < s->fault_count && s->faults[faults].lp < s->cut)
		faults++;
	s->fault_count = faults; /* the rest is the tail's: torn, not damaged */
	r->out->damaged_regions += faults;
	s->end = end;
}

static void count_segments(struct dp_recovering *r)
{
	r->records_exact = false; /* as long as nothing counts, nothing is known */
	for (uint32_t i = 0; i < r->segment_count; i++) {
		struct dp_scan_segment *s = &r->segments[i];

		r->out->damaged_regions += s->bad;
		if (s->bad || s->dropped)
			continue;
		expect_records(r, s->head.records_before);
		if (s->sealed)
			r->records_at = s->records_after;
		else
			count_blocks(r, s);
		s->records_after = r->records_at;
		r->records_exact = DP_LP(s->serial, s->end) == r->durable_lp;
	}
}

/* The segment that took over at durable_lp knows how many records lie before. */
static void correct_records(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->segment_count && !r->records_exact; i++) {
		const struct dp_scan_segment *s = &r->segments[i];

		if (s->bad || s->head.supersedes != r->durable_lp)
			continue;
		expect_records(r, s->head.records_before);
		r->records_exact = true;
	}
	/* Damage lies directly before: then the tail is taken to begin where it does. */
	if (!r->records_exact && r->tail_count && r->tail[0].records_before > r->records_at)
		expect_records(r, r->tail[0].records_before);
}

/* ---- the tail ---- */

/* In the order of the log: equal blocks of a failed segment and of the next have equal counts. */
static int compare_records(const void *a, const void *b)
{
	const struct dp_scanned *x = a, *y = b;

	if (x->records_before != y->records_before)
		return x->records_before < y->records_before ? -1 : 1;
	return x->lp < y->lp ? -1 : x->lp > y->lp;
}

static int gather_tail(struct dp_recovering *r)
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < r->segment_count; i++) {
		const struct dp_scan_segment *s = &r->segments[i];

		for (uint32_t k = 0; k < s->block_count; k++) {
			if (s->blocks[k].lp < r->durable_lp)
				continue;
			if (!dp_recover_grow(&r->tail, r->tail_count, &max, sizeof(*r->tail)))
				return -ENOMEM;
			r->tail[r->tail_count++] = s->blocks[k];
		}
	}
	if (r->tail_count)
		qsort(r->tail, r->tail_count, sizeof(*r->tail), compare_records);
	return 0;
}

/* Leaves each block once, up to the first hole. */
static void cut_tail(struct dp_recovering *r)
{
	uint64_t next = r->records_at;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < r->tail_count; i++) {
		const struct dp_scanned b = r->tail[i];

		if (b.records_before < next) /* once more */
			continue;
		if (b.records_before > next) {
			r->out->torn_blocks++;
			continue;
		}
		next += b.record_count;
		r->tail[kept++] = b;
	}
	r->tail_count = kept;
}

int dp_recover_judge(struct dp_recovering *r)
{
	int rc;

	find_durable(r);
	find_cuts(r);
	count_segments(r);
	rc = gather_tail(r);
	if (rc)
		return dp_recover_failed(r, DP_RECOVER_IO, rc, "start", "journal");
	correct_records(r);
	cut_tail(r);
	/* What lies behind durable_lp's own segment holds nothing but tail. */
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (!r->segments[i].bad && r->segments[i].serial > DP_LP_SERIAL(r->durable_lp))
			r->segments[i].dropped = true;
	return 0;
}
