/* Reads the records back and compares them with what was sent. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware-sim/hist.h"
#include "firmware-sim/options.h"

/* One record, [at, at + len). broker_ns: Unix time at which a broker took it, 0 = not known. */
typedef void fws_take_record(void *arg, const char *at, size_t len, int64_t broker_ns);

/* A place that records are read from. */
struct fws_source {
	/*
	 * Waits some 50 ms at most; gives each record that is there to `take`. 0, or -errno when
	 * nothing more will come.
	 */
	int (*poll)(struct fws_source *s, fws_take_record *take, void *arg);
	/* At the end: 0, or -errno for why nothing can have come. May be NULL. */
	int (*check)(struct fws_source *s);
	void (*close)(struct fws_source *s);
};

/* Where it stands now: records from before the call are not read. 0 or -errno. */
int fws_source_file(struct fws_source **out, const char *path);
int fws_source_api(struct fws_source **out, const char *socket_path);
/* "BROKERS/TOPIC"; -ENOENT: no such topic or no broker; -EINVAL: librdkafka refuses the settings.
 */
int fws_source_kafka(struct fws_source **out, const char *where);

/* Cuts bytes into lines: what the file and the API share. */
struct fws_lines {
	char *bytes;
	size_t used, room;
};

/* Room for at least `want` more bytes, or NULL. */
char *fws_lines_room(struct fws_lines *l, size_t want);
/* `n` bytes were put there; complete lines go out, the rest stays. */
void fws_lines_take(struct fws_lines *l, size_t n, fws_take_record *take, void *arg);

struct fws_verify_result {
	uint64_t received;     /* reading records of what we sent */
	uint64_t distinct;     /* ids among them */
	uint64_t duplicates;   /* records whose id had come before */
	uint64_t out_of_order; /* behind a later reading of their sensor */
	uint64_t unsent;       /* reading records of our sensors with a number that was not sent */
	uint64_t other;	       /* records of other kinds and of other sensors, and older ones */
	uint64_t unparsed;     /* lines that are no record */
	int error;	       /* the source ended early, or was never there: -errno */
	struct fws_hist arrival; /* event time to arrival */
	struct fws_hist broker;	 /* event time to the broker's; of topics that have it */
	struct fws_hist read;	 /* event time to being read here */
};

struct fws_verify;

/* Begins to read in a thread of its own, which asks the fleet what was sent. 0 or -errno. */
int fws_verify_start(
	struct fws_verify **out, const struct fws_options *o, const struct fws_fleet *fleet);

/*
 * Waits until `expected` distinct readings are there and nothing more comes, or nothing comes for
 * the timeout of the options, or *stop; frees v. *result is the caller's.
 */
void fws_verify_finish(struct fws_verify *v, uint64_t expected, const atomic_bool *stop,
	struct fws_verify_result *result);
