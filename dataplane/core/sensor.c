/*
 * The sensor table: slab, hash index, timer wheel.  In the path between admit (finds or adds) and
 * every stage behind it (uses the slot).  Owned by one worker.
 */
#include "dataplane/core/sensor.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

enum {
	PROBES_MAX = 128, /* beyond: treated as full. At half load 1e6 random keys stay below 40 */
	WHEEL_WORDS = DP_WHEEL / 64,
	LOOKED_AT_MAX = 256, /* timers beyond the horizon, a call: 20 us of a worker's turn */
};

static_assert((DP_WHEEL & (DP_WHEEL - 1)) == 0, "the wheel is indexed by mask");

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static size_t stride_of(const struct dp_table_config *c)
{
	return round_up(sizeof(struct dp_slot) + c->window_bytes + c->alert_bytes + c->score_bytes,
		DP_CACHE_LINE);
}

static size_t index_size(uint32_t slots_max)
{
	size_t n = 64;

	while (n < 2 * (size_t)slots_max)
		n *= 2;
	return n;
}

size_t dp_table_sensor_bytes(const struct dp_table_config *c)
{
	return stride_of(c) + 4 * sizeof(uint64_t); /* index is two to four words a slot */
}

size_t dp_table_bytes(const struct dp_table_config *c)
{
	return stride_of(c) * c->slots_max + index_size(c->slots_max) * sizeof(uint64_t) +
	       DP_WHEEL * sizeof(uint32_t) + WHEEL_WORDS * sizeof(uint64_t) + 4 * DP_DISK_ALIGN;
}

int dp_table_init(struct dp_table *t, const struct dp_table_config *c, struct dp_arena *arena,
	int64_t steady_ns)
{
	size_t index_count = index_size(c->slots_max);

	memset(t, 0, sizeof(*t));
	t->stream = c->stream;
	t->slots_max = c->slots_max;
	t->index_mask = (uint32_t)(index_count - 1);
	t->seed = c->seed;
	t->stride = stride_of(c);
	t->window_at = sizeof(struct dp_slot);
	t->alert_at = t->window_at + c->window_bytes;
	t->score_at = t->alert_at + c->alert_bytes;
	t->slab = dp_arena_take(arena, t->stride * c->slots_max, DP_CACHE_LINE);
	t->index = dp_arena_take(arena, index_count * sizeof(uint64_t), DP_CACHE_LINE);
	t->wheel = dp_arena_take(arena, DP_WHEEL * sizeof(uint32_t), DP_CACHE_LINE);
	t->wheel_used = dp_arena_take(arena, WHEEL_WORDS * sizeof(uint64_t), DP_CACHE_LINE);
	if (!t->slab || !t->index || !t->wheel || !t->wheel_used)
		return -ENOMEM;
	memset(t->wheel, 0xff, DP_WHEEL * sizeof(uint32_t));
	t->free_head = DP_SLOT_NONE;
	t->wheel_at = steady_ns / DP_WHEEL_TICK_NS;
	t->heard_since_ns = steady_ns;
	return 0;
}

/* ---- index ---- */

uint64_t dp_table_hash(const struct dp_table *t, const struct dp_sensor_id *id)
{
	return XXH3_64bits_withSeed(id->bytes, id->len, t->seed);
}

static inline uint64_t entry_of(uint64_t hash, uint32_t slot)
{
	return (hash & 0xffffffff00000000u) | (slot + 1u);
}

static inline uint32_t entry_slot(uint64_t entry)
{
	return (uint32_t)entry - 1u;
}

void dp_table_prefetch(const struct dp_table *t, uint64_t hash)
{
	__builtin_prefetch(&t->index[hash & t->index_mask]);
}

void dp_table_prefetch_slot(const struct dp_table *t, uint64_t hash)
{
	uint64_t e = t->index[hash & t->index_mask];
	const char *slot;

	if (!e)
		return;
	slot = (const char *)dp_table_slot(t, entry_slot(e));
	/* all of the header, and the first line behind it: the window stage's ring */
	for (size_t at = 0; at <= sizeof(struct dp_slot); at += DP_CACHE_LINE)
		__builtin_prefetch(slot + at, 1);
}

static inline bool same_id(const struct dp_sensor_id *a, const struct dp_sensor_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

uint32_t dp_table_find(const struct dp_table *t, const struct dp_sensor_id *id, uint64_t hash)
{
	uint32_t at = (uint32_t)hash & t->index_mask;

	for (uint32_t i = 0; i < PROBES_MAX; i++, at = (at + 1) & t->index_mask) {
		uint64_t e = t->index[at];

		if (!e)
			return DP_SLOT_NONE;
		if (e >> 32 == hash >> 32 && same_id(&dp_table_slot(t, entry_slot(e))->id, id))
			return entry_slot(e);
	}
	return DP_SLOT_NONE;
}

static uint32_t take_slot(struct dp_table *t)
{
	uint32_t slot = t->free_head;

	if (slot != DP_SLOT_NONE) {
		t->free_head = dp_table_slot(t, slot)->timer_next;
		memset(dp_table_slot(t, slot), 0, t->stride);
		return slot;
	}
	return t->fresh < t->slots_max ? t->fresh++ : DP_SLOT_NONE;
}

uint32_t dp_table_add(struct dp_table *t, const struct dp_sensor_id *id, uint64_t hash)
{
	uint32_t at = (uint32_t)hash & t->index_mask;
	uint32_t probes = 0, slot;
	struct dp_slot *s;

	while (t->index[at]) {
		if (++probes == PROBES_MAX)
			return DP_SLOT_NONE;
		at = (at + 1) & t->index_mask;
	}
	slot = take_slot(t);
	if (slot == DP_SLOT_NONE)
		return DP_SLOT_NONE;
	s = dp_table_slot(t, slot);
	s->id = *id;
	s->used = 1;
	s->hash = hash;
	s->timer_due = DP_TIME_NONE;
	s->event_max = s->watermark = s->back_event = DP_TIME_NONE;
	s->last_arrival_ns = s->last_steady_ns = DP_TIME_NONE;
	t->index[at] = entry_of(hash, slot);
	t->slots_used++;
	return slot;
}

/* Linear probing without tombstones: later entries of the run move up into the hole. */
static void unlink_index(struct dp_table *t, uint32_t slot)
{
	uint32_t hole = (uint32_t)dp_table_slot(t, slot)->hash & t->index_mask;

	while (entry_slot(t->index[hole]) != slot)
		hole = (hole + 1) & t->index_mask;
	for (uint32_t at = (hole + 1) & t->index_mask; t->index[at];
		at = (at + 1) & t->index_mask) {
		uint32_t home = (uint32_t)dp_table_slot(t, entry_slot(t->index[at]))->hash;

		home &= t->index_mask;
		/* may it stand at the hole? only if its home is not between hole and at */
		if (((at - home) & t->index_mask) >= ((at - hole) & t->index_mask)) {
			t->index[hole] = t->index[at];
			hole = at;
		}
	}
	t->index[hole] = 0;
}

/* ---- timers ---- */

static inline int64_t tick_of(int64_t due_ns)
{
	return (due_ns + DP_WHEEL_TICK_NS - 1) / DP_WHEEL_TICK_NS;
}

static void wheel_put(struct dp_table *t, uint32_t slot, int64_t due_ns)
{
	struct dp_slot *s = dp_table_slot(t, slot);
	int64_t tick = tick_of(due_ns);
	uint32_t bucket;

	if (tick < t->wheel_at)
		tick = t->wheel_at;
	if (tick >= t->wheel_at + DP_WHEEL)
		tick = t->wheel_at + DP_WHEEL - 1; /* looked at again there */
	bucket = (uint32_t)(tick & (DP_WHEEL - 1));
	s->timer_due = due_ns;
	s->timer_bucket = (uint16_t)bucket;
	s->timer_prev = DP_SLOT_NONE;
	s->timer_next = t->wheel[bucket];
	if (s->timer_next != DP_SLOT_NONE)
		dp_table_slot(t, s->timer_next)->timer_prev = slot;
	t->wheel[bucket] = slot;
	t->wheel_used[bucket / 64] |= 1ull << (bucket % 64);
	t->armed++;
}

static void wheel_take(struct dp_table *t, uint32_t slot)
{
	struct dp_slot *s = dp_table_slot(t, slot);

	if (s->timer_due == DP_TIME_NONE)
		return;
	if (s->timer_prev == DP_SLOT_NONE)
		t->wheel[s->timer_bucket] = s->timer_next;
	else
		dp_table_slot(t, s->timer_prev)->timer_next = s->timer_next;
	if (s->timer_next != DP_SLOT_NONE)
		dp_table_slot(t, s->timer_next)->timer_prev = s->timer_prev;
	if (t->wheel[s->timer_bucket] == DP_SLOT_NONE)
		t->wheel_used[s->timer_bucket / 64] &= ~(1ull << (s->timer_bucket % 64));
	s->timer_due = DP_TIME_NONE;
	t->armed--;
}

void dp_table_arm(struct dp_table *t, uint32_t slot, int64_t due_steady_ns)
{
	assert(dp_table_slot(t, slot)->used);
	wheel_take(t, slot);
	wheel_put(t, slot, due_steady_ns);
}

/* First tick from wheel_at on whose bucket holds something; only when one is armed. */
static int64_t next_tick(const struct dp_table *t)
{
	uint32_t from = (uint32_t)(t->wheel_at & (DP_WHEEL - 1));
	uint32_t word = from / 64;
	uint64_t bits = t->wheel_used[word] & (~0ull << (from % 64));

	for (uint32_t i = 0; i <= WHEEL_WORDS; i++) {
		if (bits) {
			uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(bits);

			return t->wheel_at + ((bucket - from) & (DP_WHEEL - 1));
		}
		word = (word + 1) % WHEEL_WORDS;
		bits = t->wheel_used[word];
	}
	assert(!"armed counts a timer that no bucket holds");
	return t->wheel_at;
}

uint32_t dp_table_due(struct dp_table *t, int64_t steady_ns)
{
	int64_t now_tick = steady_ns / DP_WHEEL_TICK_NS;
	uint32_t looked_at = 0;

	while (t->armed) {
		int64_t tick = next_tick(t);
		uint32_t slot;
		int64_t due;

		if (tick > now_tick)
			break;
		t->wheel_at = tick;
		slot = t->wheel[tick & (DP_WHEEL - 1)];
		due = dp_table_slot(t, slot)->timer_due;
		wheel_take(t, slot);
		if (due <= steady_ns)
			return slot;
		wheel_put(t, slot, due); /* was beyond the horizon */
		if (++looked_at == LOOKED_AT_MAX)
			return DP_SLOT_NONE;
	}
	if (now_tick > t->wheel_at)
		t->wheel_at = now_tick; /* no bucket up to here holds anything */
	return DP_SLOT_NONE;
}

int64_t dp_table_deadline(const struct dp_table *t)
{
	return t->armed ? next_tick(t) * DP_WHEEL_TICK_NS : INT64_MAX;
}

void dp_table_remove(struct dp_table *t, uint32_t slot)
{
	struct dp_slot *s = dp_table_slot(t, slot);

	assert(s->used);
	wheel_take(t, slot);
	unlink_index(t, slot);
	s->used = 0;
	s->timer_next = t->free_head;
	t->free_head = slot;
	t->slots_used--;
}
