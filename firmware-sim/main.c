/*
 * penstock-sim: options, then the reader of records, then the load, then the result.
 * Exit: 0 done; 1 records missing, doubled or never sent; 2 wrong options; 3 could not run.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "firmware-sim/options.h"
#include "firmware-sim/result.h"
#include "firmware-sim/run.h"
#include "firmware-sim/signal.h"
#include "firmware-sim/verify.h"

/* A signal handler can reach nothing else. */
static atomic_bool stop_asked;

static void ask_to_stop(int number)
{
	atomic_store_explicit(&stop_asked, true, memory_order_relaxed);
}

static int fail(const char *what, int rc)
{
	fprintf(stderr, "penstock-sim: %s: %s\n", what, strerror(-rc));
	return 3;
}

static int load_signals(struct fws_signal_set *signals, const struct fws_options *o)
{
	fws_signal_init(signals, &o->shape, o->repeat);
	return o->data ? fws_signal_load(signals, o->data) : 0;
}

/* The load between two looks at the daemon's CPU time, and the records read back. */
static int measure(struct fws_run *run, const struct fws_options *o, const struct fws_fleet *fleet,
	struct fws_result *result)
{
	static struct fws_verify_result verified; /* 90 KiB of histograms */
	struct fws_verify *verify = NULL;
	double cpu = o->pid ? fws_process_cpu_seconds(o->pid) : -1, cpu_after;
	int rc = o->verify ? fws_verify_start(&verify, o, fleet) : 0;

	if (rc)
		return fail(o->verify_where, rc);
	/* An appliance may make it with the first record; else it is better known now than later.
	 */
	if (o->verify == FWS_VERIFY_FILE && !o->quiet && access(o->verify_where, F_OK))
		fprintf(stderr, "penstock-sim: %s: not there yet\n", o->verify_where);
	rc = fws_run_all(run, &result->run);
	if (verify) {
		/* A second Ctrl-C ends the waiting, too. */
		atomic_store(&stop_asked, false);
		fws_verify_finish(verify, fws_result_expected(result), &stop_asked, &verified);
		result->verify = &verified;
	}
	cpu_after = o->pid ? fws_process_cpu_seconds(o->pid) : -1;
	result->daemon_cpu_seconds = cpu >= 0 && cpu_after >= 0 ? cpu_after - cpu : -1;
	if (rc)
		return fail(rc == -EMSGSIZE ? "the readings do not fit into a datagram" : "sending",
			rc);
	return 0;
}

static int run_fleet(struct fws_options *o, struct fws_fleet *fleet)
{
	struct fws_result result = {.daemon_cpu_seconds = -1};
	struct fws_run *run;
	int rc = fws_run_open(&run, o, fleet, &stop_asked);

	if (rc)
		return fail(o->host, rc);
	rc = measure(run, o, fleet, &result);
	if (!rc && o->json)
		fws_result_json(&result, o, stdout);
	else if (!rc && !o->quiet)
		fws_result_print(&result, o, stdout);
	fws_run_close(run);
	return rc ? rc : !fws_result_good(&result);
}

int main(int argc, char **argv)
{
	struct fws_options o;
	struct fws_signal_set signals;
	struct fws_fleet fleet;
	FILE *labels = NULL;
	int rc = fws_options_parse(&o, argc, argv);

	if (rc)
		return rc > 0 ? 0 : 2;
	sigaction(SIGINT, &(struct sigaction){.sa_handler = ask_to_stop}, NULL);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = ask_to_stop}, NULL);
	rc = load_signals(&signals, &o);
	if (rc) {
		rc = fail(o.data, rc);
		goto out_signals;
	}
	if (o.labels && !(labels = fopen(o.labels, "we"))) {
		rc = fail(o.labels, -errno);
		goto out_signals;
	}
	if (labels)
		fws_labels_begin(labels);
	o.fleet.signals = &signals;
	o.fleet.labels = labels;
	rc = fws_fleet_init(&fleet, &o.fleet, fws_unix_ns());
	if (rc) {
		rc = fail("devices", rc);
		goto out_labels;
	}
	rc = run_fleet(&o, &fleet);
	fws_fleet_fini(&fleet);
out_labels:
	if (labels && fclose(labels) && !rc)
		rc = fail(o.labels, -errno);
out_signals:
	fws_signal_fini(&signals);
	return rc;
}
