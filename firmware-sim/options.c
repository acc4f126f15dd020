/* The command line. docs/penstock-sim.md explains every option. */
#include "firmware-sim/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "firmware-sim/option_values.h"

static const char usage_text[] =
	"usage: penstock-sim [OPTION]... [SCENARIO]\n"
	"Simulated sensor firmware and load generator; docs/penstock-sim.md explains it all.\n\n"
	"what is sent   --target HOST:PORT (127.0.0.1:9000; json 9001)  --format binary|json\n"
	"               --stream NUMBER (1)  --fields A,B,...  --tags K=V,...  --id-prefix TEXT\n"
	"               --id-width N  --id-key KEY  --time-key KEY  --numbered | --unnumbered\n"
	"how much       --sensors N (100)  --rate R|max  --max-messages N  --seconds S  --threads "
	"N\n"
	"               --readings-per-datagram N  --batch N  --burst N  --ports N  --no-gso\n"
	"devices        --period S (1)  --jitter SHARE  --drift PPM  --clock-offset S\n"
	"               --restart-every S  --sleep EVERY:FOR  --time-lapse N  --seed N\n"
	"               --data DIR  --repeat\n"
	"faults         --fault SPEC (several)  --labels FILE\n"
	"network        --loss P  --dup P  --reorder P  --delay MS[:JITTER_MS]\n"
	"result         --verify api:SOCKET|file:PATH|kafka:BROKERS/TOPIC  --verify-timeout S "
	"(10)\n"
	"               --pid PID  --json  --quiet\n"
	"other          --list (scenarios)  --help\n";

enum option_id {
	O_TARGET = 1,
	O_FORMAT,
	O_STREAM,
	O_FIELDS,
	O_TAGS,
	O_ID_PREFIX,
	O_ID_WIDTH,
	O_ID_KEY,
	O_TIME_KEY,
	O_NUMBERED,
	O_UNNUMBERED,
	O_SENSORS,
	O_RATE,
	O_MAX,
	O_SECONDS,
	O_THREADS,
	O_READINGS,
	O_BATCH,
	O_BURST,
	O_PORTS,
	O_NO_GSO,
	O_PERIOD,
	O_JITTER,
	O_DRIFT,
	O_OFFSET,
	O_RESTART,
	O_SLEEP,
	O_LAPSE,
	O_SEED,
	O_DATA,
	O_REPEAT,
	O_FAULT,
	O_LABELS,
	O_LOSS,
	O_DUP,
	O_REORDER,
	O_DELAY,
	O_VERIFY,
	O_VERIFY_TIMEOUT,
	O_PID,
	O_JSON,
	O_QUIET,
	O_LIST,
	O_HELP,
};

static const struct option long_options[] = {
	{"target", 1, 0, O_TARGET},
	{"format", 1, 0, O_FORMAT},
	{"stream", 1, 0, O_STREAM},
	{"fields", 1, 0, O_FIELDS},
	{"tags", 1, 0, O_TAGS},
	{"id-prefix", 1, 0, O_ID_PREFIX},
	{"id-width", 1, 0, O_ID_WIDTH},
	{"id-key", 1, 0, O_ID_KEY},
	{"time-key", 1, 0, O_TIME_KEY},
	{"numbered", 0, 0, O_NUMBERED},
	{"unnumbered", 0, 0, O_UNNUMBERED},
	{"sensors", 1, 0, O_SENSORS},
	{"rate", 1, 0, O_RATE},
	{"max-messages", 1, 0, O_MAX},
	{"seconds", 1, 0, O_SECONDS},
	{"threads", 1, 0, O_THREADS},
	{"readings-per-datagram", 1, 0, O_READINGS},
	{"batch", 1, 0, O_BATCH},
	{"burst", 1, 0, O_BURST},
	{"ports", 1, 0, O_PORTS},
	{"no-gso", 0, 0, O_NO_GSO},
	{"period", 1, 0, O_PERIOD},
	{"jitter", 1, 0, O_JITTER},
	{"drift", 1, 0, O_DRIFT},
	{"clock-offset", 1, 0, O_OFFSET},
	{"restart-every", 1, 0, O_RESTART},
	{"sleep", 1, 0, O_SLEEP},
	{"time-lapse", 1, 0, O_LAPSE},
	{"seed", 1, 0, O_SEED},
	{"data", 1, 0, O_DATA},
	{"repeat", 0, 0, O_REPEAT},
	{"fault", 1, 0, O_FAULT},
	{"labels", 1, 0, O_LABELS},
	{"loss", 1, 0, O_LOSS},
	{"dup", 1, 0, O_DUP},
	{"reorder", 1, 0, O_REORDER},
	{"delay", 1, 0, O_DELAY},
	{"verify", 1, 0, O_VERIFY},
	{"verify-timeout", 1, 0, O_VERIFY_TIMEOUT},
	{"pid", 1, 0, O_PID},
	{"json", 0, 0, O_JSON},
	{"quiet", 0, 0, O_QUIET},
	{"list", 0, 0, O_LIST},
	{"help", 0, 0, O_HELP},
	{0},
};

/* What only the whole command line decides. */
struct pending {
	const char *target;
	const char *fault_specs[FWS_FAULTS_MAX];
	struct fws_phase phase; /* NAN / 0: not given */
	uint32_t threads, sensors;
	bool seeded, format_given;
};

static int take_message_option(struct fws_options *o, struct pending *p, int id, const char *arg)
{
	uint32_t v = 0;
	int rc = 0;

	switch (id) {
	case O_TARGET:
		p->target = arg;
		return 0;
	case O_FORMAT:
		p->format_given = true;
		o->shape.format = !strcmp(arg, "binary") ? FWS_BINARY : FWS_JSON;
		return strcmp(arg, "binary") && strcmp(arg, "json")
			       ? fws_option_wrong("format", "binary or json")
			       : 0;
	case O_STREAM:
		rc = fws_option_whole(&v, 0, 65535, arg);
		o->shape.stream = (uint16_t)v;
		return rc;
	case O_FIELDS:
		return fws_option_fields(&o->shape, arg);
	case O_TAGS:
		return fws_option_tags(&o->shape, arg);
	case O_ID_PREFIX:
		o->fleet.id_prefix = arg;
		return 0;
	case O_ID_WIDTH:
		return fws_option_whole(&o->fleet.id_width, 0, 16, arg);
	case O_ID_KEY:
		return fws_option_copy_name(o->shape.id_key, arg, strlen(arg))
			       ? fws_option_wrong("id-key", "1 to 32 bytes")
			       : 0;
	case O_TIME_KEY:
		o->shape.time_key[0] = '\0';
		return *arg && fws_option_copy_name(o->shape.time_key, arg, strlen(arg))
			       ? fws_option_wrong("time-key", "at most 32 bytes")
			       : 0;
	default: /* O_NUMBERED, O_UNNUMBERED */
		o->shape.numbered = id == O_NUMBERED;
		return 0;
	}
}

static int take_amount_option(struct fws_options *o, struct pending *p, int id, const char *arg)
{
	double v = 0;
	uint32_t n = 0;
	int rc;

	switch (id) {
	case O_SENSORS:
		return fws_option_whole(&p->sensors, 1, FWS_SENSORS_MAX, arg);
	case O_RATE:
		p->phase.rate = 0;
		return strcmp(arg, "max") ? fws_option_number(&p->phase.rate, 0.001, 1e9, arg) : 0;
	case O_MAX:
		rc = fws_option_number(&v, 1, 1e15, arg);
		p->phase.messages = (uint64_t)v;
		return rc;
	case O_SECONDS:
		return fws_option_number(&p->phase.seconds, 0.001, 1e8, arg);
	case O_THREADS:
		return fws_option_whole(&p->threads, 1, FWS_THREADS_MAX, arg);
	case O_READINGS:
		return fws_option_whole(&o->fleet.readings, 1, FWS_READINGS_MAX, arg);
	case O_BATCH:
		return fws_option_whole(&o->fleet.batch, 1, 1000, arg);
	case O_BURST:
		rc = fws_option_whole(&n, 1, 1000000, arg);
		o->burst = n;
		return rc;
	case O_PORTS:
		return fws_option_whole(&o->ports, 1, FWS_PORTS_MAX, arg);
	default: /* O_NO_GSO */
		o->no_gso = true;
		return 0;
	}
}

static int take_device_option(struct fws_options *o, struct pending *p, int id, const char *arg)
{
	double v = 0;
	char *end;
	int rc;

	switch (id) {
	case O_PERIOD:
		rc = fws_option_number(&v, 1e-6, 1e6, arg);
		o->fleet.period_ns = (int64_t)(v * 1e9);
		return rc;
	case O_JITTER:
		return fws_option_number(&o->fleet.jitter, 0, 1, arg);
	case O_DRIFT:
		return fws_option_number(&o->fleet.drift_ppm, 0, 1e5, arg);
	case O_OFFSET:
		return fws_option_number(&o->fleet.offset_s, 0, 1e6, arg);
	case O_RESTART:
		return fws_option_number(&o->fleet.restart_s, 0.001, 1e8, arg);
	case O_SLEEP:
		rc = fws_option_pair(&o->fleet.sleep_every_s, &o->fleet.sleep_s, 1e7, arg);
		return !rc && o->fleet.sleep_s >= o->fleet.sleep_every_s
			       ? fws_option_wrong(
					 "sleep", "expected EVERY:FOR in seconds, FOR below EVERY")
			       : rc;
	case O_LAPSE:
		return fws_option_number(&o->fleet.lapse, 1, 1e6, arg);
	case O_SEED:
		p->seeded = true;
		o->fleet.seed = strtoull(arg, &end, 0);
		return *arg && !*end ? 0 : fws_option_wrong("seed", "expected a number");
	case O_DATA:
		o->data = arg;
		return 0;
	case O_FAULT:
		if (o->fleet.fault_count == FWS_FAULTS_MAX)
			return fws_option_wrong("fault", "at most 16");
		p->fault_specs[o->fleet.fault_count++] = arg;
		return 0;
	case O_LABELS:
		o->labels = arg;
		return 0;
	default: /* O_REPEAT */
		o->repeat = true;
		return 0;
	}
}

static void print_list(void)
{
	for (const struct fws_scenario *s = fws_scenarios; s->name; s++)
		printf("%-12s %s\n", s->name, s->what);
}

static int take_other_option(struct fws_options *o, int id, const char *arg)
{
	double a = 0, b = 0;
	uint32_t pid = 0;
	int rc;

	switch (id) {
	case O_LOSS:
		return fws_option_number(&o->net.loss, 0, 1, arg);
	case O_DUP:
		return fws_option_number(&o->net.dup, 0, 1, arg);
	case O_REORDER:
		return fws_option_number(&o->net.reorder, 0, 1, arg);
	case O_DELAY:
		rc = fws_option_pair(&a, &b, 1e6, arg);
		o->net.delay_ns = (int64_t)(a * 1e6);
		o->net.delay_jitter_ns = (int64_t)(b * 1e6);
		return rc;
	case O_VERIFY:
		return fws_option_verify(o, arg);
	case O_VERIFY_TIMEOUT:
		return fws_option_number(&o->verify_timeout_s, 0.1, 3600, arg);
	case O_PID:
		rc = fws_option_whole(&pid, 1, INT32_MAX, arg);
		o->pid = (int)pid;
		return rc;
	case O_LIST:
		print_list();
		return 1;
	case O_HELP:
		fputs(usage_text, stdout);
		return 1;
	default: /* O_JSON, O_QUIET */
		o->json |= id == O_JSON;
		o->quiet |= id == O_QUIET;
		return 0;
	}
}

static int take_option(struct fws_options *o, struct pending *p, int id, const char *arg)
{
	if (id <= 0 || id == '?')
		return -EINVAL;
	if (id <= O_UNNUMBERED)
		return take_message_option(o, p, id, arg);
	if (id <= O_NO_GSO)
		return take_amount_option(o, p, id, arg);
	if (id <= O_LABELS)
		return take_device_option(o, p, id, arg);
	return take_other_option(o, id, arg);
}

/* The scenario first, then what the command line says about it. */
static int settle_phases(struct fws_options *o, struct pending *p)
{
	const struct fws_scenario *s = *o->scenario ? fws_scenario_find(o->scenario) : NULL;
	static const struct fws_scenario plain = {
		.sensors = 100, .threads = 1, .phase_count = 1, .phases = {{-1, 0, 0}}};

	if (*o->scenario && !s) {
		fprintf(stderr, "penstock-sim: no scenario '%s'; --list has them\n", o->scenario);
		return -EINVAL;
	}
	if (s && !p->format_given)
		o->shape.format = FWS_JSON;
	o->repeat |= s != NULL;
	s = s ? s : &plain;
	o->phase_count = s->phase_count;
	memcpy(o->phases, s->phases, sizeof(o->phases));
	for (uint32_t i = 0; i < o->phase_count; i++) {
		struct fws_phase *phase = &o->phases[i];

		phase->rate = isnan(p->phase.rate) ? phase->rate : p->phase.rate;
		phase->seconds = p->phase.seconds > 0 ? p->phase.seconds : phase->seconds;
		phase->messages = p->phase.messages ? p->phase.messages : phase->messages;
		if (phase->seconds <= 0 && !phase->messages)
			phase->seconds = 10;
	}
	o->fleet.sensors = p->sensors ? p->sensors : s->sensors;
	o->threads = p->threads ? p->threads : s->threads;
	/* A device's datagrams stay in order because one thread sends them. */
	if (o->threads > o->fleet.sensors)
		o->threads = o->fleet.sensors;
	return 0;
}

/* A lapse ends in the present: how long it takes must be known. */
static int settle_lapse(struct fws_options *o)
{
	double seconds = 0;

	if (!(o->fleet.lapse > 1))
		return 0;
	for (uint32_t i = 0; i < o->phase_count; i++) {
		if (o->phases[i].seconds <= 0)
			return fws_option_wrong("time-lapse", "needs --seconds");
		seconds += o->phases[i].seconds;
	}
	if (seconds * o->fleet.lapse > 1e9)
		return fws_option_wrong("time-lapse", "would begin before 1970");
	o->fleet.lapse_ends_ns = (int64_t)(seconds * 1e9);
	return 0;
}

/* Event times that the datagram or the calendar has no room for. */
static int check_times(const struct fws_options *o)
{
	const struct fws_fleet_config *c = &o->fleet;
	double period_s = (double)c->period_ns / 1e9;
	/* The clock; rng.h: within 3.46 deviations. */
	double fastest = c->lapse + 3.5e-6 * c->drift_ppm;
	double apart_s = period_s * (c->readings - 1) * fastest;

	if (o->shape.format == FWS_BINARY && apart_s * 1e9 > (double)FWS_SPAN_NS_MAX)
		return fws_option_wrong("period",
			"the readings of a binary datagram may lie 24.8 days apart, not more");
	if (period_s * c->readings * c->batch > 1e9)
		return fws_option_wrong(
			"period", "the readings of one wake would begin before 1970");
	return 0;
}

/* What could come back whole although something was lost. */
static int check_verify(const struct fws_options *o)
{
	if (o->verify && !o->shape.numbered && o->net.dup > 0)
		return fws_option_wrong("verify",
			"the second copies (--dup) of unnumbered readings would stand in for lost "
			"ones");
	return 0;
}

static int settle(struct fws_options *o, struct pending *p)
{
	const char *why;
	int rc = settle_phases(o, p);

	rc = rc ? rc : settle_lapse(o);
	rc = rc ? rc : check_times(o);
	rc = rc ? rc : check_verify(o);
	if (rc)
		return rc;
	if (!p->target)
		p->target = o->shape.format == FWS_JSON ? "127.0.0.1:9001" : "127.0.0.1:9000";
	if (!p->seeded && getrandom(&o->fleet.seed, sizeof(o->fleet.seed), 0) < 0)
		return -errno;
	for (uint32_t i = 0; i < o->fleet.fault_count; i++)
		if (fws_fault_parse(&o->faults[i], p->fault_specs[i], &o->shape, &why))
			return fws_option_wrong("fault", why);
	o->fleet.faults = o->faults;
	o->fleet.shape = &o->shape;
	return fws_option_target(o, p->target);
}

int fws_options_parse(struct fws_options *o, int argc, char **argv)
{
	struct pending p = {.phase = {.rate = NAN}};
	int rc = 0, id;

	*o = (struct fws_options){.scenario = "",
		.shape = {.format = FWS_BINARY,
			.stream = 1,
			.numbered = true,
			.id_key = "sensor",
			.time_key = "time"},
		.fleet = {.id_prefix = "sensor-",
			.readings = 1,
			.batch = 1,
			.period_ns = FWS_NS_PER_S,
			.lapse = 1},
		.ports = 4,
		.verify_timeout_s = 10};
	rc = fws_option_fields(&o->shape, "temperature,humidity,voltage,light");
	while (!rc && (id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		rc = take_option(o, &p, id, optarg);
	if (!rc && optind + 1 < argc) {
		fprintf(stderr, "penstock-sim: one scenario at a time\n");
		rc = -EINVAL;
	}
	if (rc)
		return rc;
	if (optind < argc)
		o->scenario = argv[optind];
	return settle(o, &p);
}
