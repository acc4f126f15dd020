/* penstockd: arguments, signals, boot, wait, stop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/config/scalar.h"
#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

enum { LOOK_MS = 1000 };
#define STOP_TIMEOUT_NS	    (10 * DP_NS_PER_S)
#define STOP_TIMEOUT_NS_MAX (3600 * DP_NS_PER_S)

static const char usage[] =
	"usage: penstockd CONFIG [--check] [--log-level LEVEL] [--stop-timeout DURATION]\n"
	"\n"
	"Takes readings in, keeps windows, records everything and hands it on, as CONFIG says.\n"
	"\n"
	"  --check                  checks CONFIG, prints what it comes to, and ends\n"
	"  --log-level LEVEL        debug, info (default), warning or error\n"
	"  --stop-timeout DURATION  most that a stop waits for outputs, 10s by default; what they\n"
	"                           have not had by then stays in the journal and goes out next "
	"time\n"
	"  --version, --help\n"
	"\n"
	"SIGTERM and SIGINT stop it in order, a second one without waiting for outputs.\n"
	"Exit statuses: docs/cli.md.\n";

static int check(const char *path)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config = NULL;
	int err = ctl_config_load(path, &config, &errors);

	err = err ? err : ctl_kafka_check(config, &errors);
	if (err)
		ctl_errors_print(&errors, stderr);
	else
		ctl_config_print(config, stdout);
	ctl_config_free(config);
	ctl_errors_free(&errors);
	return err ? CTL_EXIT_CONFIG : CTL_EXIT_OK;
}

static int wrong_usage(const char *what, const char *value)
{
	fprintf(stderr, "penstockd: %s%s%s\n%s", what, value ? ": " : "", value ? value : "",
		usage);
	return CTL_EXIT_CONFIG;
}

/* Fills options; -1: go on, else the exit status. */
static int read_arguments(int argc, char **argv, struct ctl_options *o, bool *only_check)
{
	static const struct option longs[] = {
		{"check", no_argument, NULL, 'c'},
		{"log-level", required_argument, NULL, 'l'},
		{"stop-timeout", required_argument, NULL, 's'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *wrong;
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			*only_check = true;
			break;
		case 'l':
			if (!ctl_log_level(optarg))
				return wrong_usage("no such log level", optarg);
			break;
		case 's':
			wrong = ctl_read_duration(optarg, &o->stop_timeout_ns);
			if (wrong || o->stop_timeout_ns < 0 ||
				o->stop_timeout_ns > STOP_TIMEOUT_NS_MAX)
				return wrong_usage(
					"--stop-timeout takes a duration up to 1h", optarg);
			break;
		case 'v':
			puts("penstockd " PENSTOCK_VERSION);
			return CTL_EXIT_OK;
		case 'h':
			fputs(usage, stdout);
			return CTL_EXIT_OK;
		default:
			fputs(usage, stderr);
			return CTL_EXIT_CONFIG;
		}
	}
	if (optind + 1 != argc)
		return wrong_usage("exactly one config file is needed", NULL);
	o->config_path = argv[optind];
	return -1;
}

/* Blocked here and so in every thread that comes after; taken from a descriptor instead. */
static int open_signals(struct ctl_daemon *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -1;
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	d->stop_asked = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->signals < 0 || d->stop_asked < 0 ? -1 : 0;
}

static int run(struct ctl_daemon *d)
{
	int status = ctl_boot(d);

	if (status)
		return status == CTL_BOOT_BROKEN_OFF ? CTL_EXIT_OK : status;
	while (!ctl_stop_asked(d, LOOK_MS))
		ctl_health_look(&d->health, &d->view);
	status = ctl_stop(d);
	ctl_unwind(d);
	ctl_log(CTL_INFO, "stopped");
	return status;
}

int main(int argc, char **argv)
{
	struct ctl_options options = {.stop_timeout_ns = STOP_TIMEOUT_NS};
	struct ctl_daemon *d;
	bool only_check = false;
	int status = read_arguments(argc, argv, &options, &only_check);

	if (status >= 0)
		return status;
	if (only_check)
		return check(options.config_path);
	d = ctl_zeroed(sizeof(*d));
	if (!d || open_signals(d)) {
		ctl_log(CTL_ERROR, "start: %s", strerror(errno));
		free(d);
		return CTL_EXIT_FAILED;
	}
	d->options = options;
	ctl_log(CTL_INFO, "penstockd " PENSTOCK_VERSION);
	status = run(d);
	close(d->signals);
	close(d->stop_asked);
	free(d);
	return status;
}
