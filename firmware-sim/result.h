/* What a run ends with, for people or as one JSON object. */
#pragma once

#include "firmware-sim/options.h"
#include "firmware-sim/run.h"
#include "firmware-sim/verify.h"

struct fws_result {
	struct fws_run_result run;
	const struct fws_verify_result *verify; /* NULL: not asked for */
	double daemon_cpu_seconds;		/* of --pid; < 0: not asked for or gone */
};

/* Readings that the kernel took and should therefore come back. */
static inline uint64_t fws_result_expected(const struct fws_result *r)
{
	return r->run.sent.readings;
}

/*
 * All that was sent came back, once, and nothing else under our ids; what was not sent proves
 * nothing. True when nothing was to be verified.
 */
bool fws_result_good(const struct fws_result *r);

void fws_result_print(const struct fws_result *r, const struct fws_options *o, FILE *to);
void fws_result_json(const struct fws_result *r, const struct fws_options *o, FILE *to);

/* User and system time of a process in seconds; < 0 when it cannot be read. */
double fws_process_cpu_seconds(int pid);
