/*
 * What recovery's files share: recover.c (the order of things), recover_scan.c, recover_judge.c,
 * recover_settle.c.
 */
#pragma once

#include "dataplane/journal/recover.h"
#include "dataplane/journal/segment.h"

/* A good block of a segment without a good footer. */
struct dp_scanned {
	uint64_t lp, epoch, sequence, records_before, durable_lp;
	uint32_t worker, bytes, record_count;
	struct dp_footer_entry entry;
};

struct dp_fault {
	uint64_t lp, bytes;
};

struct dp_scan_segment {
	uint64_t serial;
	bool bad;     /* no good header copy */
	bool sealed;  /* has a good footer */
	bool ended;   /* which says that the run ended there in order */
	bool dropped; /* nothing of it counts, or all is written again: to be removed */
	struct dp_segment_head head;
	uint32_t start;
	uint64_t file_bytes;
	uint64_t cut;	   /* lp from which on nothing of it counts */
	uint64_t end;	   /* offset behind its last block that counts */
	uint64_t used_end; /* offset behind everything in it that is not zeros */
	uint64_t records_after;
	uint64_t epoch_min, epoch_max; /* of its blocks; min: UINT64_MAX when it has none */
	int64_t last_ns;
	struct dp_scanned *blocks; /* [block_count]; not of a sealed one */
	uint32_t block_count, block_max;
	struct dp_fault *faults; /* [fault_count] */
	uint32_t fault_count, fault_max;
};

struct dp_recovering {
	struct dp_io io;
	const struct dp_journal_config *config;
	struct dp_now now;
	struct dp_recover_report *report;
	struct dp_recovery *out;

	bool has_appliance, appliance_stored;
	uint64_t stored_epoch, stored_serial; /* of the file `epoch` */
	uint64_t stored_abrupt;		      /* 1: that start had found an abrupt end */
	uint64_t max_serial;
	struct dp_scan_segment *segments; /* [segment_count], by serial */
	uint32_t segment_count, segment_max;
	char (*temps)[256]; /* [temp_count] */
	uint32_t temp_count, temp_max;

	uint64_t durable_lp;	 /* everything before it was synced */
	uint64_t records_at;	 /* in the log before it */
	bool records_known;	 /* a segment or block has said so */
	bool records_exact;	 /* no damage lies directly before it */
	struct dp_scanned *tail; /* [tail_count]: what is to be written again, in order */
	uint32_t tail_count;
};

/* Fills the report; returns -1. */
int dp_recover_failed(struct dp_recovering *r, enum dp_recover_error kind, int rc, const char *step,
	const char *name);

/* Reads everything, writes nothing. 0 or -1 with the report filled. */
int dp_recover_scan(struct dp_recovering *r);
/* Decides what is durable, what counts, what is to be written again. */
int dp_recover_judge(struct dp_recovering *r);
/* Makes it so on disk. */
int dp_recover_settle(struct dp_recovering *r);

/* Grows an array so that one more fits. false: no memory. */
bool dp_recover_grow(void *array, uint32_t count, uint32_t *max, size_t size);
