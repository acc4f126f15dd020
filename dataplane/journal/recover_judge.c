/*
 * Recovery, second part: what of the directory counts.
 *
 * durable_lp is the place up to which everything is known to have been synced: each block says how
 * far the log was synced when it was written, a new segment is made only behind a sync, a footer is
 * written only behind a sync.  Before it damage is damage: it is skipped, the rest counts.  Behind
 * it lies the tail: what the last run had written and may not have synced.  There a worker's blocks
 * count up to its first hole only, for what comes after a hole may speak of what was in it (the
 * duplicate bitmaps do), and nothing of it was acknowledged.
 */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/journal/recover_impl.h"

bool dp_recover_see(struct dp_last_seen *l, uint64_t epoch, uint32_t worker, uint64_t sequence)
{
	if (epoch < l->epoch)
		return true;
	if (epoch > l->epoch)
		l->count = 0;
	l->epoch = epoch;
	for (uint32_t i = 0; i < l->count; i++) {
		if (l->of[i].worker == worker) {
			if (sequence > l->of[i].sequence)
				l->of[i].sequence = sequence;
			return true;
		}
	}
	if (!dp_recover_grow(&l->of, l->count, &l->max, sizeof(*l->of)))
		return false;
	l->of[l->count++] = (struct dp_last_of){worker, sequence};
	return true;
}

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
	if (records_before > r->records_at)
		r->out->quarantined_records += records_before - r->records_at;
	r->records_at = records_before;
}

/* The blocks of an unsealed segment that count. */
static int count_blocks(struct dp_recovering *r, struct dp_scan_segment *s)
{
	uint64_t end = s->start;
	uint32_t faults = 0;

	for (uint32_t i = 0; i < s->block_count && s->blocks[i].lp < s->cut; i++) {
		const struct dp_scanned *b = &s->blocks[i];

		expect_records(r, b->records_before);
		r->records_at += b->record_count;
		end = DP_LP_OFFSET(b->lp) + dp_block_disk_bytes(b->bytes);
		if (!dp_recover_see(&r->last, b->epoch, b->worker, b->sequence))
			return -ENOMEM;
	}
	while (faults < s->fault_count && s->faults[faults].lp < s->cut)
		faults++;
	s->fault_count = faults; /* the rest is the tail's: torn, not damaged */
	r->out->damaged_regions += faults;
	r->damaged_before |= faults > 0;
	s->end = end;
	return 0;
}

static int count_segments(struct dp_recovering *r)
{
	bool first = true;

	r->records_exact = true;
	for (uint32_t i = 0; i < r->segment_count; i++) {
		struct dp_scan_segment *s = &r->segments[i];

		if (s->bad) {
			r->out->damaged_regions++;
			r->damaged_before = true;
		}
		if (s->bad || s->dropped)
			continue;
		if (first)
			r->records_at = s->head.records_before;
		if (s->head.records_before > r->records_at)
			r->damaged_before = true;
		expect_records(r, s->head.records_before);
		first = false;
		if (s->sealed)
			r->records_at = s->records_after;
		else if (count_blocks(r, s))
			return -ENOMEM;
		s->records_after = r->records_at;
		r->records_exact = DP_LP(s->serial, s->end) == r->durable_lp;
	}
	return 0;
}

/* The segment that took over at durable_lp knows how many records lie before. */
static void correct_records(struct dp_recovering *r)
{
	uint64_t low = UINT64_MAX;

	for (uint32_t i = 0; i < r->segment_count && !r->records_exact; i++) {
		const struct dp_scan_segment *s = &r->segments[i];

		if (s->bad || s->head.supersedes != r->durable_lp)
			continue;
		expect_records(r, s->head.records_before);
		r->records_exact = true;
	}
	if (r->records_exact)
		return;
	r->damaged_before = true;
	for (uint32_t i = 0; i < r->tail_count; i++)
		if (r->tail[i].records_before < low)
			low = r->tail[i].records_before;
	if (r->tail_count && low > r->records_at)
		expect_records(r, low);
}

/* ---- the tail ---- */

static int compare_positions(const void *a, const void *b)
{
	const struct dp_scanned *x = a, *y = b;

	if (x->epoch != y->epoch)
		return x->epoch < y->epoch ? -1 : 1;
	if (x->worker != y->worker)
		return x->worker < y->worker ? -1 : 1;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return x->lp < y->lp ? -1 : x->lp > y->lp;
}

static int compare_orders(const void *a, const void *b)
{
	const struct dp_scanned *x = a, *y = b;

	if (x->epoch != y->epoch || x->order == y->order)
		return compare_positions(a, b);
	return x->order < y->order ? -1 : 1;
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
		qsort(r->tail, r->tail_count, sizeof(*r->tail), compare_positions);
	return 0;
}

/* Does the log still hold that epoch from its first block on? */
static bool whole_epoch(const struct dp_recovering *r, uint64_t epoch)
{
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (!r->segments[i].bad)
			return r->segments[i].head.epoch < epoch ||
			       r->segments[i].head.records_before == 0;
	return false;
}

/* Lowest sequence that the first block of that worker in the tail may have, and the highest. */
static void expect_first(
	const struct dp_recovering *r, const struct dp_scanned *b, uint64_t *low, uint64_t *high)
{
	bool seen = false;

	*low = 1;
	for (uint32_t i = 0; i < r->last.count && b->epoch == r->last.epoch; i++) {
		if (r->last.of[i].worker == b->worker) {
			*low = r->last.of[i].sequence + 1;
			seen = true;
		}
	}
	*high = *low;
	if (r->damaged_before || (!seen && !whole_epoch(r, b->epoch)))
		*high = UINT64_MAX;
}

/* Leaves each position once, and each worker's up to its first hole. */
static void cut_tail(struct dp_recovering *r)
{
	uint32_t kept = 0;
	uint64_t low = 0, high = 0;

	for (uint32_t i = 0; i < r->tail_count; i++) {
		const struct dp_scanned b = r->tail[i];

		if (i == 0 || b.epoch != r->tail[i - 1].epoch || b.worker != r->tail[i - 1].worker)
			expect_first(r, &b, &low, &high);
		if (b.sequence > high)
			r->out->torn_blocks++;
		if (b.epoch < r->last.epoch || b.sequence < low || b.sequence > high)
			continue;
		low = high = b.sequence + 1;
		r->tail[kept++] = b;
	}
	r->tail_count = kept;
}

/*
 * Back to the order in which it was written, so that every block keeps its count of records before.
 * Only where a failed segment misses a block and a later one has it does that block come first.
 */
static void order_tail(struct dp_recovering *r)
{
	for (uint32_t i = 0; i < r->tail_count; i++) {
		struct dp_scanned *b = &r->tail[i];

		b->order = b->lp;
		if (i && b[-1].epoch == b->epoch && b[-1].worker == b->worker &&
			b[-1].order > b->order)
			b->order = b[-1].order;
	}
	if (r->tail_count)
		qsort(r->tail, r->tail_count, sizeof(*r->tail), compare_orders);
}

int dp_recover_judge(struct dp_recovering *r)
{
	int rc;

	find_durable(r);
	find_cuts(r);
	rc = count_segments(r);
	if (rc == 0)
		rc = gather_tail(r);
	if (rc)
		return dp_recover_failed(r, DP_RECOVER_IO, rc, "start", "journal");
	correct_records(r);
	cut_tail(r);
	order_tail(r);
	/* What lies behind durable_lp's own segment holds nothing but tail. */
	for (uint32_t i = 0; i < r->segment_count; i++)
		if (!r->segments[i].bad && r->segments[i].serial > DP_LP_SERIAL(r->durable_lp))
			r->segments[i].dropped = true;
	return 0;
}
