/* Of egress*.c alone: an output from inside. */
#pragma once

#include "dataplane/egress/dead.h"
#include "dataplane/egress/egress.h"
#include "dataplane/egress/flight.h"
#include "dataplane/egress/json.h"
#include "dataplane/egress/position.h"

enum {
	DP_WHY_BYTES = 64,
	DP_PACKED_KEY_BYTES = 12, /* u64 appliance, u32 worker */
};

struct dp_refused {
	uint64_t cookie;
	char why[DP_WHY_BYTES];
};

/* The block that is being made into messages: always the youngest flight. */
struct dp_sending {
	bool active, pending; /* pending: `message` was made and not yet taken */
	struct dp_reader_block from;
	size_t cursor;
	uint32_t index;
	struct dp_message message;
	uint8_t key[DP_PACKED_KEY_BYTES];
};

struct dp_output {
	struct dp_output_config config;
	struct dp_io io;
	struct dp_writer *writer;
	struct dp_transport transport;
	uint64_t appliance;
	/* Two: a message that the transport has not taken yet is in the first while letters are
	 * written. */
	struct dp_json_form *json, *dead_json;
	struct dp_reader *reader;
	struct dp_reader_counts counted; /* the reader's, as far as they are accounted for */
	struct dp_position position;
	struct dp_position_file file;
	struct dp_flights flights;
	struct dp_dead dead;
	struct dp_refused *refused;
	size_t refused_count, refused_size;
	struct dp_sending sending;
	uint64_t read;	    /* records, in the log, over all time */
	uint64_t caught_up; /* lp up to which the log was read to its end */
	bool broken, disk, changed, stopped;
	bool saving; /* a save runs; up to: */
	uint64_t saving_lp;
	bool unsaved;		      /* the last save failed */
	int64_t backoff_ns, retry_ns; /* steady; for whatever is wrong */
	int64_t saved_ns, served_ns;
	struct dp_output_stats stats;
};

/* Something refuses: tried again later, each time waiting longer. Whatever is called next waits. */
void dp_output_transport_failed(struct dp_output *o, const struct dp_now *now, int rc);
void dp_output_disk_failed(struct dp_output *o, const struct dp_now *now, int rc);

/* egress_report.c: what became of messages. */

/* Takes reports from the transport; false: it is broken. */
bool dp_output_serve(struct dp_output *o, const struct dp_now *now);
/* Blocks that are done leave the window; true: one did. */
bool dp_output_pass(struct dp_output *o, const struct dp_now *now);
/* 0 or -ENOMEM. */
int dp_output_note_refused(struct dp_output *o, uint64_t cookie, const char *why);

/* egress_send.c: from blocks to messages. */

/* Starts reading at the position. 0 or -errno. */
int dp_output_open_reader(struct dp_output *o);
/*
 * `lazy`: a power cut may have taken what was delivered. Records that the log has lost leave the
 * sums as well: they count what it holds. 0 or -errno.
 */
int dp_output_forget_lost(struct dp_output *o, const struct dp_recovery *r);
/* Sends until a bound, the end, or a transport that takes no more; true: there was a bound. */
bool dp_output_send_some(struct dp_output *o, const struct dp_now *now);

static inline void dp_stat_set(_Atomic uint64_t *v, uint64_t to)
{
	atomic_store_explicit(v, to, memory_order_relaxed);
}

static inline void dp_stat_add(_Atomic uint64_t *v, uint64_t n)
{
	dp_stat_set(v, atomic_load_explicit(v, memory_order_relaxed) + n);
}
