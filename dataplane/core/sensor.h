/*
 * The sensors that a worker owns, one table per stream.  Slots live in a slab and never move; a
 * hash index of (tag, slot number) finds them.  A slot is this header and the state of each stage
 * behind it, at offsets fixed when the table is made.  Only the owning worker touches a table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/core/batch.h"
#include "dataplane/core/clock.h"
#include "dataplane/core/mem.h"

#define DP_SLOT_NONE UINT32_MAX
#define DP_TIME_NONE INT64_MIN

/* Numbered datagrams of one boot: bit k of seen says that sequence top - k was recorded. */
struct dp_seen {
	uint32_t boot;
	bool used;
	uint64_t top, seen;
	uint64_t first; /* sequences before are not ours to miss */
};

struct dp_slot {
	struct dp_sensor_id id;
	uint8_t used;
	uint8_t back_count; /* readings in a row behind the watermark by more than max_skew */
	uint8_t last_index;
	uint16_t last_flags; /* of the last reading; DP_ROW_NUMBERED says how its id is made */
	uint16_t timer_bucket;
	uint32_t timer_next, timer_prev;
	int64_t timer_due; /* steady; DP_TIME_NONE: not armed */
	uint64_t hash;
	uint64_t life;
	uint64_t readings; /* recorded since the slot was made */
	int64_t event_max; /* greatest event time that moved the watermark; DP_TIME_NONE at first */
	int64_t watermark; /* event_max - lateness; an idle close moves windows beyond it (window.h)
			    */
	int64_t back_event;	 /* event time of the last reading counted in back_count */
	int64_t last_arrival_ns; /* Unix */
	int64_t last_steady_ns;
	struct dp_seen seen[2]; /* the two latest boots, the later first */
	uint64_t last_seq;
	uint32_t last_boot;
	uint32_t pos_index; /* place of the last record applied */
	uint64_t pos_epoch, pos_sequence;
	uint32_t pos_worker;
	/* place of the last reading, for its id when the sender does not number */
	uint64_t read_epoch, read_sequence;
	uint32_t read_worker, read_index;
	uint32_t raised;  /* bit per rule: alert is open */
	bool rearm;	  /* the timer has fired since the last reading */
	bool idle_closed; /* windows were closed idle since the last reading */
};

struct dp_table_config {
	const struct dp_stream *stream;
	uint32_t slots_max;
	uint64_t seed;				       /* of this start */
	size_t window_bytes, alert_bytes, score_bytes; /* per slot, behind the header, in this
							  order */
};

struct dp_table {
	const struct dp_stream *stream;
	uint32_t slots_max, slots_used, index_mask;
	uint64_t seed;
	size_t stride, window_at, alert_at, score_at;
	char *slab;
	uint64_t *index;    /* tag << 32 | slot + 1; 0 free */
	uint32_t free_head; /* through timer_next; DP_SLOT_NONE */
	uint32_t fresh;	    /* slots never used from here on */
	/* timer wheel: DP_WHEEL buckets of DP_WHEEL_TICK_NS, intrusive lists */
	uint32_t *wheel;
	uint64_t *wheel_used; /* bit per bucket that holds something */
	uint32_t armed;
	int64_t wheel_at;	/* next tick to run */
	int64_t heard_since_ns; /* steady; before, sensors were not listened to */
};

enum { DP_WHEEL = 4096 };
#define DP_WHEEL_TICK_NS 10000000ll /* 10 ms: how exact idle, missing-data and forget are */

/* Arena bytes of a table; bytes a sensor = dp_table_sensor_bytes. */
size_t dp_table_bytes(const struct dp_table_config *c);
size_t dp_table_sensor_bytes(const struct dp_table_config *c);
int dp_table_init(struct dp_table *t, const struct dp_table_config *c, struct dp_arena *arena,
	int64_t steady_ns);

/* Seeded hash of an id, for find and add. */
uint64_t dp_table_hash(const struct dp_table *t, const struct dp_sensor_id *id);
void dp_table_prefetch(const struct dp_table *t, uint64_t hash);
void dp_table_prefetch_slot(const struct dp_table *t, uint64_t hash); /* after the one above */
uint32_t dp_table_find(const struct dp_table *t, const struct dp_sensor_id *id, uint64_t hash);
/* Zeroed slot with id and hash set, times DP_TIME_NONE; DP_SLOT_NONE when full or unlucky probes.
 */
uint32_t dp_table_add(struct dp_table *t, const struct dp_sensor_id *id, uint64_t hash);
void dp_table_remove(struct dp_table *t, uint32_t slot);

/* (Re)arms the slot's one timer. */
void dp_table_arm(struct dp_table *t, uint32_t slot, int64_t due_steady_ns);
/*
 * Next slot whose timer is due, disarmed, or DP_SLOT_NONE: none is, or so many were looked at that
 * are not due yet that the rest may wait for another call; dp_table_deadline() has passed then.
 * Call it also while nothing is armed: the wheel keeps up with time.
 */
uint32_t dp_table_due(struct dp_table *t, int64_t steady_ns);
/* Earliest time at which dp_table_due may yield something; INT64_MAX when nothing is armed. */
int64_t dp_table_deadline(const struct dp_table *t);

static inline struct dp_slot *dp_table_slot(const struct dp_table *t, uint32_t slot)
{
	return (struct dp_slot *)(t->slab + (size_t)slot * t->stride);
}

static inline void *dp_slot_windows(const struct dp_table *t, struct dp_slot *s)
{
	return (char *)s + t->window_at;
}

static inline void *dp_slot_alerts(const struct dp_table *t, struct dp_slot *s)
{
	return (char *)s + t->alert_at;
}

static inline void *dp_slot_scores(const struct dp_table *t, struct dp_slot *s)
{
	return (char *)s + t->score_at;
}
