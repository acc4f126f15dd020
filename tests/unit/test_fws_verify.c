/* Verification: only what was sent counts as come back; all else must show in the result. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "firmware-sim/result.h"
#include "firmware-sim/run.h"

enum { MESSAGES = 20 };

struct scene {
	struct fws_options options;
	struct fws_signal_set signals;
	struct fws_fleet fleet;
	struct fws_verify *verify;
	char path[40];
	FILE *file;
	uint64_t records; /* written, so that each has an id of its own */
	uint64_t seq[MESSAGES];
	uint32_t boot;
};

/* MESSAGES of one JSON reading each are made by sensor-1; none of them has come back yet. */
static void begin(struct scene *s, bool numbered)
{
	static float values[4];
	int fd;

	memset(s, 0, sizeof(*s));
	strcpy(s->path, "/var/tmp/fws-XXXXXX");
	fd = mkstemp(s->path);
	cr_assert(fd >= 0);
	s->file = fdopen(fd, "w");
	s->options = (struct fws_options){.scenario = "",
		.shape = {.format = FWS_JSON,
			.numbered = numbered,
			.field_count = 1,
			.fields = {"temperature"}},
		.fleet = {.shape = &s->options.shape,
			.signals = &s->signals,
			.id_prefix = "sensor-",
			.sensors = 2,
			.readings = 1,
			.batch = 1,
			.seed = 1,
			.period_ns = FWS_NS_PER_S},
		.verify = FWS_VERIFY_FILE,
		.verify_where = s->path,
		.verify_timeout_s = 0.5};
	fws_signal_init(&s->signals, &s->options.shape, true);
	cr_assert_eq(fws_fleet_init(&s->fleet, &s->options.fleet, fws_unix_ns()), 0);
	cr_assert_eq(fws_verify_start(&s->verify, &s->options, &s->fleet), 0);
	for (int i = 0; i < MESSAGES; i++) {
		struct fws_message m = {.values = values};

		cr_assert_eq(fws_device_message(
				     &s->fleet, &s->fleet.devices[0], i * FWS_NS_PER_S, 0, &m),
			FWS_READY);
		s->seq[i] = m.sequence;
		s->boot = m.boot;
	}
}

/* A record of sensor-1; numbered when boot is not 0. */
static void come_back(struct scene *s, uint32_t boot, uint64_t seq, unsigned index)
{
	char number[100] = "";

	if (boot)
		snprintf(number, sizeof(number), ",\"boot\":%u,\"seq\":%llu,\"index\":%u", boot,
			(unsigned long long)seq, index);
	fprintf(s->file,
		"{\"@timestamp\":\"%lld\",\"id\":\"%032llx\",\"kind\":\"reading\","
		"\"sensor\":\"sensor-1\",\"arrival\":\"%lld\"%s}\n",
		(long long)fws_unix_ns(), (unsigned long long)++s->records,
		(long long)fws_unix_ns(), number);
}

/* Ends it: `expected` readings were taken by the kernel. Whether all is well, and *v. */
static bool end(struct scene *s, uint64_t expected, struct fws_verify_result *v)
{
	atomic_bool stop = false;
	struct fws_result r = {.daemon_cpu_seconds = -1, .verify = v};
	FILE *nowhere = fopen("/dev/null", "w");

	r.run.sent.readings = expected;
	fclose(s->file);
	fws_verify_finish(s->verify, expected, &stop, v);
	unlink(s->path);
	fws_result_print(&r, &s->options, nowhere);
	fclose(nowhere);
	fws_fleet_fini(&s->fleet);
	fws_signal_fini(&s->signals);
	return fws_result_good(&r);
}

static struct fws_verify_result v;

Test(fws_verify, all_came_back)
{
	struct scene s;

	begin(&s, true);
	for (int i = 0; i < MESSAGES; i++)
		come_back(&s, s.boot, s.seq[i], 0);
	cr_expect(end(&s, MESSAGES, &v));
	cr_expect(v.distinct == MESSAGES && v.unsent == 0 && v.unparsed == 0);
}

/* Nothing was taken by the kernel: that nothing is missing shows nothing. */
Test(fws_verify, nothing_sent_is_not_good)
{
	struct scene s;

	begin(&s, true);
	cr_expect_not(end(&s, 0, &v));
	cr_expect_eq(v.distinct, 0);
}

/* Records with our ids that others sent must not hide what was lost. */
Test(fws_verify, others_do_not_stand_in_for_lost_ones)
{
	static const struct {
		const char *what;
		uint32_t boot_more; /* than ours */
		uint64_t seq;
		unsigned index;
		bool unnumbered;
	} cases[] = {
		{"another boot", 1, 0, 0, false},
		{"a number not reached yet", 0, MESSAGES, 0, false},
		{"a second reading of one", 0, 0, 1, false},
		{"no number", 0, 0, 0, true},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct scene s;
		unsigned lost = k % 2;

		begin(&s, true);
		for (unsigned i = lost; i < MESSAGES; i++)
			come_back(&s, s.boot, s.seq[i], 0);
		come_back(&s, cases[k].unnumbered ? 0 : s.boot + cases[k].boot_more, cases[k].seq,
			cases[k].index);
		cr_expect_not(end(&s, MESSAGES, &v), "%s", cases[k].what);
		cr_expect_eq(v.unsent, 1, "%s", cases[k].what);
		cr_expect_eq(v.distinct, MESSAGES - lost, "%s", cases[k].what);
	}
}

/* Without numbers the count alone can tell. */
Test(fws_verify, more_than_was_sent_is_not_good)
{
	for (int more = -1; more <= 1; more++) {
		struct scene s;

		begin(&s, false);
		for (int i = 0; i < MESSAGES + more; i++)
			come_back(&s, 0, 0, 0);
		cr_expect_eq(end(&s, MESSAGES, &v), !more, "%d more", more);
	}
}

Test(fws_verify, one_that_came_twice_is_not_good)
{
	struct scene s;

	begin(&s, true);
	for (int i = 0; i < MESSAGES; i++)
		come_back(&s, s.boot, s.seq[i], 0);
	s.records = 0;
	come_back(&s, s.boot, s.seq[0], 0);
	cr_expect_not(end(&s, MESSAGES, &v));
	cr_expect_eq(v.duplicates, 1);
}
