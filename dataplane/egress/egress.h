/*
 * An output: one cursor behind the writer, one lane in log order, delivered positions persisted.
 * The same code for Kafka, file, stdout and the simulation's broker: what differs is a transport
 * (struct dp_transport_ops).  A plain step function; the daemon gives each output its own thread.
 *
 * Rules: never reads past dp_writer_stats.readable; a block is delivered when the transport has
 * reported every message of it; the delivered position of a worker moves over whole blocks, in
 * order; after a restart or a fatal transport error everything behind the delivered positions goes
 * out again, with the same ids; what was delivered does not.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/core/clock.h"
#include "dataplane/journal/reader.h"
#include "dataplane/journal/recover.h"
#include "dataplane/journal/writer.h"

enum dp_output_form { DP_FORM_JSON = 1, DP_FORM_PACKED };

enum { DP_LABEL_BYTES_MAX = 128, DP_OUTPUT_STATE_BYTES_MAX = 256 };

/* What an output takes unless its config says otherwise: all but marks and raw payloads. */
#define DP_KINDS_DEFAULT                                                                           \
	(1u << DP_REC_READING | 1u << DP_REC_WINDOW | 1u << DP_REC_ALERT | 1u << DP_REC_GAP)

/* One message on its way: a record as JSON, a raw payload, or a whole block. */
struct dp_message {
	const void *payload;
	uint32_t payload_bytes;
	const void *key;
	uint32_t key_bytes;
	uint32_t worker;
	int64_t timestamp_ns; /* arrival time, equal on a resend */
	uint8_t kind;	      /* enum dp_rec_kind; 0 for a block */
	uint64_t records;     /* 1, or those of the block */
	uint64_t cookie;      /* below 2^56; comes back in the report */
	/* What it was made of; valid during the call. */
	const struct dp_block *block;
	const struct dp_rec *record; /* NULL for a block */
	const struct dp_stream_set *streams;
	uint64_t id[2]; /* of the record */
};

enum dp_report { DP_REPORT_DELIVERED = 1, DP_REPORT_REFUSED /* for good: dead letter */ };

struct dp_report_sink {
	void (*report)(void *arg, uint64_t cookie, enum dp_report what, const char *why);
	void *arg;
};

struct dp_transport_ops {
	/*
	 * Takes one message (payload is copied or written before the return). 0; -EAGAIN: full,
	 * call serve and try again; -EMSGSIZE or -EINVAL: refused for good; any other -errno: the
	 * transport is broken, egress will call reopen.
	 */
	int (*send)(void *ctx, const struct dp_message *m);
	/*
	 * All messages of a block were taken, in log order. A transport that keeps `state` reports
	 * whole blocks only, so that its state and the positions saved beside it agree. May be
	 * NULL.
	 */
	void (*end_block)(void *ctx);
	/*
	 * Nothing more to send for now: what was taken need not wait for it. May take a
	 * millisecond; may be NULL.
	 */
	void (*end_burst)(void *ctx);
	/* Hands reports over, moves things on, never waits. 0, or -errno when broken. */
	int (*serve)(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink);
	/*
	 * Throws away everything unreported (no report comes for it any more) and starts anew. So
	 * many messages, some of them reported before, come `again`.
	 */
	int (*reopen)(void *ctx, const struct dp_now *now, uint64_t again);
	/*
	 * file: brings its end back to what `state` says (bytes 0: nothing was ever saved); others:
	 * NULL. Called once at start.
	 */
	int (*restore)(void *ctx, const uint8_t *state, size_t bytes);
	/*
	 * What to save beside the positions: where all that was reported ends. At most
	 * DP_OUTPUT_STATE_BYTES_MAX bytes; may be NULL.
	 */
	size_t (*state)(void *ctx, uint8_t *state, size_t size);
	/* Is `state` to be saved at once? And: what it gave last is on disk. NULL without state. */
	bool (*wants_save)(void *ctx);
	void (*saved)(void *ctx);
	int64_t (*deadline)(void *ctx); /* steady; INT64_MAX: none */
	/* It takes no message before there are reports. NULL: when its deadline is none. */
	bool (*needs_reports)(void *ctx);
	/* Readable when serve has something to do; -1: none. May be NULL. Changes on reopen. */
	int (*wake_fd)(void *ctx);
	/* One line on what is wrong, "" if nothing; for the operator. May be NULL. */
	size_t (*trouble)(void *ctx, char *text, size_t size);
	void (*close)(void *ctx);
};

struct dp_transport {
	const struct dp_transport_ops *ops;
	void *ctx;
};

struct dp_output_config {
	char name[DP_NAME_BYTES_MAX + 1];
	char label[DP_LABEL_BYTES_MAX + 1]; /* the appliance's name in JSON; "": its id in hex */
	enum dp_output_form form;
	bool from_oldest;    /* a new output starts at the oldest record instead of the end */
	uint32_t kinds;	     /* JSON: 1 << enum dp_rec_kind that it takes; the rest is `filtered` */
	bool raw_as_it_came; /* JSON: of a raw payload the bytes alone are the message */
	uint32_t window_blocks, window_bytes; /* most that is on its way */
	int64_t save_interval_ns;	      /* of the position file */
	uint32_t slot;			      /* for dp_writer_need */
};

/* output: writes; everybody reads. Cumulative since the output was made, over restarts. */
struct dp_output_stats {
	_Atomic uint64_t baseline; /* records in the log when the output was made: not its own */
	_Atomic uint64_t delivered, dead_letter, filtered, expired, quarantined; /* records */
	_Atomic uint64_t read; /* records read from the log so far, same base as writer's records */
	_Atomic uint64_t in_flight; /* records read and not yet in one of the sums */
	_Atomic uint64_t messages, bytes, resends, reopens, saves, save_failures;
	_Atomic uint64_t positions_lost; /* position file damaged or gone: began at the oldest */
	_Atomic uint64_t at;		 /* lp */
	_Atomic uint64_t oldest_ns; /* arrival time of the oldest undelivered record; 0: none */
	_Atomic uint64_t state;	    /* 0 running, 1 transport broken, 2 disk refuses, 3 stopped */
	_Atomic uint64_t error;
};

/* Renders ids to attributes for the JSON form; NULL when there are none. */
struct dp_attribute_lookup {
	/* JSON object text of the sensor's attributes, or NULL. Thread safe, immutable. */
	const char *(*find)(
		void *arg, const char *stream, const char *id, size_t id_len, size_t *bytes);
	void *arg;
};

struct dp_output_setup {
	struct dp_output_config config;
	struct dp_io io; /* journal and position files */
	/* dead-letter file `dead-NAME.jsonl`; may equal io; ops NULL: counted, not kept */
	struct dp_io dead_io;
	struct dp_writer *writer;
	const struct dp_recovery *recovery;
	struct dp_transport transport; /* owned from here on */
	struct dp_attribute_lookup attributes;
};

struct dp_output;

/* Reads the position file. 0, or -errno (the transport is closed then). */
int dp_output_new(
	const struct dp_output_setup *setup, const struct dp_now *now, struct dp_output **out);
void dp_output_free(struct dp_output *o); /* saves nothing: the same as a kill */

bool dp_output_step(struct dp_output *o, const struct dp_now *now); /* true: call again at once */
int64_t dp_output_deadline(const struct dp_output *o);
bool dp_output_drained(const struct dp_output *o); /* all before `readable` is delivered */
int dp_output_stop(struct dp_output *o, const struct dp_now *now); /* saves the positions */
const struct dp_output_stats *dp_output_stats(const struct dp_output *o);

/* Has more than it may send now: new blocks do not help it, only deadline and wake_fd do. */
bool dp_output_waits(const struct dp_output *o);

/* Readable when a step has something to do, beside the deadline and the writer; -1: none. */
int dp_output_wake_fd(const struct dp_output *o);
/* The output's own thread: one line on what is wrong with the other side, "" if nothing. */
size_t dp_output_trouble(const struct dp_output *o, char *text, size_t size);
