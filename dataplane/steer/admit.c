/*
 * Admit: first thing at the owner, before window.  Looks up a whole batch (hashes first, then
 * prefetched slots), keeps the duplicate bitmaps of numbered senders (design: acknowledgement).
 */
#include "dataplane/steer/steer.h"

#include <assert.h>
#include <string.h>

enum {
	SEEN_BITS = 64,
	GAP_COUNTED_MAX = 1 << 20, /* a sender that jumps further has lost count, not datagrams */
};

enum verdict { NEW, SEEN_BEFORE, STALE };

/* Bits of m that are clear and whose sequences, top - bit, count as ours. */
static uint64_t missing(const struct dp_seen *m, uint64_t bits)
{
	uint64_t ours = m->top - m->first;
	uint64_t mask = ours >= SEEN_BITS - 1 ? ~0ull : (2ull << ours) - 1;

	return (uint64_t)__builtin_popcountll(~m->seen & bits & mask);
}

static struct dp_seen *find_boot(struct dp_slot *s, uint32_t boot)
{
	for (int i = 0; i < 2; i++)
		if (s->seen[i].used && s->seen[i].boot == boot)
			return &s->seen[i];
	return NULL;
}

/* A boot not known: the older of two goes, what it still missed is lost. */
static struct dp_seen *new_boot(struct dp_slot *s, uint32_t boot, uint64_t seq, uint64_t *lost)
{
	if (s->seen[1].used)
		*lost += missing(&s->seen[1], ~0ull);
	s->seen[1] = s->seen[0];
	/* A device that has just booted counts from 0; one that we meet later is not ours to judge.
	 */
	s->seen[0] = (struct dp_seen){
		.boot = boot, .used = true, .top = seq, .first = seq < SEEN_BITS ? 0 : seq};
	return &s->seen[0];
}

/* What leaves the bitmap unseen when top moves up to seq is lost. */
static void advance(struct dp_seen *m, uint64_t seq, uint64_t *lost)
{
	uint64_t by = seq - m->top;

	if (by >= SEEN_BITS) {
		uint64_t skipped = by - SEEN_BITS; /* never were in the bitmap */

		*lost += missing(m, ~0ull);
		*lost += skipped < GAP_COUNTED_MAX ? skipped : 0;
		m->seen = 0;
	} else {
		*lost += missing(m, ~0ull << (SEEN_BITS - by));
		m->seen <<= by;
	}
	m->top = seq;
}

static enum verdict judge(const struct dp_seen *m, uint64_t seq)
{
	if (!m || seq > m->top)
		return NEW;
	if (m->top - seq >= SEEN_BITS)
		return STALE;
	return m->seen >> (m->top - seq) & 1 ? SEEN_BEFORE : NEW;
}

/* Sets the bit; returns the bitmap as seen from seq. */
static uint64_t mark(struct dp_slot *s, uint32_t boot, uint64_t seq, uint64_t *lost)
{
	struct dp_seen *m = find_boot(s, boot);

	if (!m)
		m = new_boot(s, boot, seq, lost);
	if (seq > m->top)
		advance(m, seq, lost);
	m->seen |= 1ull << (m->top - seq);
	return m->seen >> (m->top - seq);
}

void dp_seen_restore(struct dp_slot *s, uint32_t boot, uint64_t seq, uint64_t seen)
{
	uint64_t lost = 0; /* counted when it happened */
	struct dp_seen *m = find_boot(s, boot);

	if (m && seq <= m->top && m->top - seq >= SEEN_BITS)
		return; /* an older record than what the bitmap still holds */
	mark(s, boot, seq, &lost);
	m = find_boot(s, boot);
	m->seen |= seen << (m->top - seq);
}

static bool take_token(struct dp_admit_rate *a, int64_t steady_ns)
{
	int64_t cost;

	if (!a->new_per_s)
		return true;
	cost = DP_NS_PER_S / a->new_per_s;
	if (a->tokens_ns < steady_ns - DP_NS_PER_S)
		a->tokens_ns = steady_ns - DP_NS_PER_S;
	if (a->tokens_ns + cost > steady_ns)
		return false;
	a->tokens_ns += cost;
	return true;
}

/* Relaxed: a count and nothing more, the slots are the worker's own. */
bool dp_place_take(struct dp_places *p)
{
	uint64_t held = atomic_load_explicit(&p->held, memory_order_relaxed);

	do {
		if (held >= p->max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&p->held, &held, held + 1, memory_order_relaxed, memory_order_relaxed));
	return true;
}

void dp_place_give(struct dp_places *p)
{
	uint64_t held = atomic_fetch_sub_explicit(&p->held, 1, memory_order_relaxed);

	assert(held);
	(void)held;
}

/* Slot of a sensor not in the table, or the reason why it cannot come in. */
static uint32_t take_in(
	struct dp_admit *a, const struct dp_sensor_id *id, uint64_t hash, int64_t steady_ns)
{
	uint32_t slot;

	if (a->table->slots_used == a->table->slots_max || !dp_place_take(a->places))
		return DP_SLOT_NONE;
	slot = take_token(a->rate, steady_ns) ? dp_table_add(a->table, id, hash) : DP_SLOT_NONE - 1;
	if (slot >= DP_SLOT_NONE - 1)
		dp_place_give(a->places);
	return slot;
}

struct group {
	uint32_t row, rows;
	uint64_t hash;
};

/* The group's slot with its bits set, or DP_SLOT_NONE with the refusal counted. */
static uint32_t admit_group(struct dp_admit *a, struct dp_batch *b, const struct group *g,
	int64_t steady_ns, const struct dp_admit_fresh *fresh)
{
	bool numbered = b->flags[g->row] & DP_ROW_NUMBERED;
	uint32_t slot = dp_table_find(a->table, &b->id[g->row], g->hash);
	uint64_t lost = 0, seen;
	struct dp_slot *s;

	if (slot == DP_SLOT_NONE) {
		slot = take_in(a, &b->id[g->row], g->hash, steady_ns);
		if (slot >= DP_SLOT_NONE - 1) {
			dp_count(a->counters,
				slot == DP_SLOT_NONE ? DP_C_DROP_SENSOR_LIMIT
						     : DP_C_DROP_SENSOR_RATE,
				g->rows);
			return DP_SLOT_NONE;
		}
		fresh->init(fresh->arg, dp_table_slot(a->table, slot));
		b->flags[g->row] |= DP_ROW_NEW_LIFE;
		dp_count(a->counters, DP_C_SENSORS_NEW, 1);
	}
	s = dp_table_slot(a->table, slot);
	if (!numbered)
		return slot;
	switch (judge(find_boot(s, b->boot[g->row]), b->seq[g->row])) {
	case SEEN_BEFORE:
		dp_count(a->counters, DP_C_DUPLICATE, g->rows);
		return DP_SLOT_NONE;
	case STALE:
		dp_count(a->counters, DP_C_DROP_STALE, g->rows);
		return DP_SLOT_NONE;
	case NEW:
		break;
	}
	seen = mark(s, b->boot[g->row], b->seq[g->row], &lost);
	for (uint32_t i = 0; i < g->rows; i++)
		b->seen[g->row + i] = seen;
	if (lost)
		dp_count(a->counters, DP_C_LOST_SENDER, lost);
	return slot;
}

static uint32_t list_groups(const struct dp_admit *a, const struct dp_batch *b, struct group *g)
{
	uint32_t n = 0;

	for (uint32_t row = 0; row < b->count; row += b->group[row]) {
		assert(b->group[row]);
		g[n] = (struct group){.row = row,
			.rows = b->group[row],
			.hash = dp_table_hash(a->table, &b->id[row])};
		dp_table_prefetch(a->table, g[n++].hash);
	}
	for (uint32_t i = 0; i < n; i++)
		dp_table_prefetch_slot(a->table, g[i].hash);
	return n;
}

void dp_admit(struct dp_admit *a, struct dp_batch *b, int64_t steady_ns,
	const struct dp_admit_fresh *fresh)
{
	struct group groups[DP_BATCH_MAX];
	uint32_t n = list_groups(a, b, groups), kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct group *g = &groups[i];
		uint32_t slot = admit_group(a, b, g, steady_ns, fresh);

		if (slot == DP_SLOT_NONE)
			continue;
		for (uint32_t k = 0; k < g->rows; k++) {
			dp_batch_move_row(b, kept, g->row + k);
			b->slot[kept++] = slot;
		}
	}
	b->count = kept;
}
