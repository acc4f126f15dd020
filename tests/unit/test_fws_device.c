/* Devices: same seed, same bytes; clocks, numbers, sleep, restarts and labels as asked for. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware-sim/device.h"
#include "firmware-sim/net.h"

#define START_NS 1700000000000000000ll

struct scene {
	struct fws_shape shape;
	struct fws_signal_set signals;
	struct fws_fleet_config config;
	struct fws_fleet fleet;
	float values[FWS_READINGS_MAX * 4];
	struct fws_message message;
};

static void prepare(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->shape = (struct fws_shape){.format = FWS_BINARY,
		.stream = 1,
		.numbered = true,
		.field_count = 4,
		.fields = {"temperature", "humidity", "voltage", "light"}};
	fws_signal_init(&s->signals, &s->shape, true);
	s->config = (struct fws_fleet_config){.shape = &s->shape,
		.signals = &s->signals,
		.id_prefix = "sensor-",
		.sensors = 5,
		.readings = 1,
		.batch = 1,
		.seed = 42,
		.period_ns = FWS_NS_PER_S};
	s->message.values = s->values;
}

static void begin(struct scene *s)
{
	cr_assert_eq(fws_fleet_init(&s->fleet, &s->config, START_NS), 0);
}

static void finish(struct scene *s)
{
	fws_fleet_fini(&s->fleet);
	fws_signal_fini(&s->signals);
}

static enum fws_wake send(struct scene *s, uint32_t device, double second)
{
	return fws_device_message(
		&s->fleet, &s->fleet.devices[device], (int64_t)(second * 1e9), 0, &s->message);
}

/* All bytes of a busy run of 300 messages. */
static size_t record_run(uint64_t seed, uint8_t *out, size_t cap)
{
	struct scene s;
	struct fws_fault faults[2];
	const char *why;
	size_t used = 0;

	prepare(&s);
	s.config.seed = seed;
	s.config.drift_ppm = 50;
	s.config.offset_s = 1;
	s.config.jitter = 0.1;
	s.config.restart_s = 20;
	s.config.readings = 3;
	cr_assert_eq(fws_fault_parse(&faults[0], "noise,for=1000", &s.shape, &why), 0);
	cr_assert_eq(fws_fault_parse(&faults[1], "spike,every=30", &s.shape, &why), 0);
	s.config.faults = faults;
	s.config.fault_count = 2;
	begin(&s);
	for (int i = 0; i < 300; i++) {
		cr_assert_eq(send(&s, (uint32_t)i % 5, i * 0.3), FWS_READY);
		used += fws_encode(&s.shape, &s.message, out + used, cap - used);
	}
	finish(&s);
	return used;
}

Test(fws_device, same_seed_same_bytes)
{
	static uint8_t first[100000], second[100000], other[100000];
	size_t n = record_run(7, first, sizeof(first));

	cr_assert_gt(n, 300 * 60);
	cr_assert_eq(record_run(7, second, sizeof(second)), n);
	cr_assert(!memcmp(first, second, n));
	record_run(8, other, sizeof(other));
	cr_assert(memcmp(first, other, n));
}

Test(fws_device, numbers_count_from_zero_without_a_gap)
{
	struct scene s;

	prepare(&s);
	begin(&s);
	for (uint32_t i = 0; i < 20; i++) {
		cr_assert_eq(send(&s, 2, i), FWS_READY);
		cr_expect_eq(s.message.sequence, i);
		cr_expect_eq(s.message.boot, s.fleet.devices[2].boot);
		cr_expect(s.message.id_len == 8 && !memcmp(s.message.id, "sensor-3", 8));
	}
	finish(&s);
}

Test(fws_device, json_readings_have_numbers_of_their_own)
{
	struct scene s;

	prepare(&s);
	s.shape.format = FWS_JSON;
	s.config.readings = 4;
	begin(&s);
	send(&s, 0, 10);
	send(&s, 0, 14);
	cr_assert_eq(s.message.sequence, 4);
	finish(&s);
}

Test(fws_device, clock_has_offset_and_drift)
{
	struct scene s;

	prepare(&s);
	begin(&s);
	s.fleet.devices[0].offset_ns = 5 * FWS_NS_PER_S;
	s.fleet.devices[0].drift = 100e-6;
	send(&s, 0, 1000);
	/* 5 s ahead, and 100 us more each second. */
	cr_assert_leq(llabs(s.message.time_ns[0] - (START_NS + 1005100000000ll)), 1000);
	send(&s, 1, 1000);
	cr_assert_eq(s.message.time_ns[0], START_NS + 1000 * FWS_NS_PER_S);
	finish(&s);
}

Test(fws_device, time_lapse_ends_in_the_present)
{
	struct scene s;

	prepare(&s);
	s.config.lapse = 20;
	s.config.lapse_ends_ns = 60 * FWS_NS_PER_S;
	begin(&s);
	send(&s, 0, 0);
	cr_expect_eq(s.message.time_ns[0], START_NS + (60 - 20 * 60) * FWS_NS_PER_S);
	send(&s, 0, 1);
	cr_expect_eq(s.message.time_ns[0], START_NS + (60 - 20 * 59) * FWS_NS_PER_S);
	send(&s, 0, 60);
	cr_expect_eq(s.message.time_ns[0], START_NS + 60 * FWS_NS_PER_S);
	finish(&s);
}

Test(fws_device, readings_of_a_datagram_lie_between_it_and_the_last)
{
	struct scene s;

	prepare(&s);
	s.config.readings = 4;
	begin(&s);
	send(&s, 0, 10);
	cr_expect_eq(s.message.time_ns[0], START_NS + 7 * FWS_NS_PER_S);
	cr_expect_eq(s.message.time_ns[3], START_NS + 10 * FWS_NS_PER_S);
	send(&s, 0, 12); /* sooner than the period allows: evenly */
	for (int i = 0; i < 4; i++)
		cr_expect_eq(s.message.time_ns[i],
			START_NS + 10 * FWS_NS_PER_S + (i + 1) * FWS_NS_PER_S / 2);
	finish(&s);
}

/* Event time of reading 0 as the bytes of a binary datagram say it, which has an id of 8 bytes. */
static int64_t first_time_sent(const struct scene *s)
{
	uint8_t bytes[FWS_DATAGRAM_MAX];
	int64_t base_ns;
	int32_t delta;

	cr_assert_gt(fws_encode(&s->shape, &s->message, bytes, sizeof(bytes)), 0);
	memcpy(&base_ns, bytes + 24, sizeof(base_ns));
	memcpy(&delta, bytes + 40, sizeof(delta));
	return base_ns + delta * (bytes[3] & 8 ? FWS_NS_PER_MS : 1000);
}

/* Labels tell the times of the message: they must be those that its receiver sees. */
Test(fws_device, event_times_are_those_that_are_sent)
{
	static const struct {
		double period_s;
		uint32_t readings;
	} cases[] = {{1e-6 / 3, 5}, {0.1000000007, 64}, {60.0000000007, 64}, {34000.5, 64}};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct scene s;

		prepare(&s);
		s.config.drift_ppm = 100;
		s.config.readings = cases[k].readings;
		s.config.period_ns = (int64_t)(cases[k].period_s * 1e9);
		begin(&s);
		for (int i = 0; i < 3; i++) {
			send(&s, 0, 1e7 * (i + 1) + 1e-9);

			uint32_t last = cases[k].readings - 1;
			int64_t span = s.message.time_ns[last] - s.message.time_ns[0];

			cr_expect_eq(s.message.time_ns[0], first_time_sent(&s), "case %zu", k);
			cr_expect_leq(
				llabs(span - s.config.period_ns * last), span / 1000 + 1000000);
		}
		finish(&s);
	}
}

Test(fws_device, json_times_keep_their_nanoseconds)
{
	struct scene s;

	prepare(&s);
	s.shape.format = FWS_JSON;
	s.config.readings = 3;
	begin(&s);
	send(&s, 0, 10);
	fws_device_message(&s.fleet, &s.fleet.devices[0], 10 * FWS_NS_PER_S + 999, 0, &s.message);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(s.message.time_ns[i], START_NS + 10 * FWS_NS_PER_S + 333 * (i + 1));
	finish(&s);
}

Test(fws_device, restart_begins_a_new_boot_at_zero)
{
	struct scene s;
	uint32_t restarts = 0, boot = 0;
	uint64_t next = 0;

	prepare(&s);
	s.config.restart_s = 50;
	begin(&s);
	for (int i = 0; i < 1000; i++) {
		send(&s, 0, i);
		if (i && s.message.boot != boot) {
			restarts++;
			next = 0;
		}
		boot = s.message.boot;
		cr_assert_eq(s.message.sequence, next++);
	}
	cr_expect(restarts > 8 && restarts < 40, "%u restarts in 20 mean lives", restarts);
	finish(&s);
}

/* By this a verification knows its own readings from those of others. */
Test(fws_device, knows_what_it_has_sent)
{
	struct scene s;
	uint32_t boots[1000];

	prepare(&s);
	s.config.restart_s = 50;
	begin(&s);
	cr_expect_not(fws_fleet_sent(&s.fleet, 0, s.fleet.devices[0].boot, 0));
	for (int i = 0; i < 1000; i++) {
		send(&s, 0, i);
		boots[i] = s.message.boot;
		cr_assert(fws_fleet_sent(&s.fleet, 0, boots[i], s.message.sequence));
		cr_assert_not(fws_fleet_sent(&s.fleet, 0, boots[i], s.message.sequence + 1));
		cr_expect(fws_fleet_sent(&s.fleet, 0, boots[i / 2], 0), "boot of second %d", i / 2);
		cr_expect_not(fws_fleet_sent(&s.fleet, 1, boots[i], 0));
		cr_expect_not(fws_fleet_sent(&s.fleet, 0, boots[i] + 1, 0));
	}
	cr_expect_neq(boots[0], boots[999]);
	finish(&s);
}

Test(fws_device, sleeps_its_share)
{
	struct scene s;
	int asleep = 0;

	prepare(&s);
	s.config.sleep_every_s = 60;
	s.config.sleep_s = 15;
	begin(&s);
	for (int i = 0; i < 600; i++)
		asleep += send(&s, 0, i) == FWS_ASLEEP;
	cr_assert(asleep >= 149 && asleep <= 151, "%d of 600 s", asleep);
	finish(&s);
}

Test(fws_device, period_holds_in_the_mean_and_time_never_goes_back)
{
	struct scene s;
	int64_t before = -1;

	prepare(&s);
	s.config.jitter = 0.3;
	begin(&s);

	struct fws_device *d = &s.fleet.devices[0];
	int64_t first = d->due_ns;

	for (int i = 0; i < 1000; i++) {
		cr_assert_gt(d->due_ns, before);
		before = d->due_ns;
		fws_device_reschedule(&s.fleet, d);
	}
	cr_assert_leq(llabs(d->due_ns - first - 1000 * FWS_NS_PER_S), 3 * FWS_NS_PER_S);
	finish(&s);
}

Test(fws_device, replays_its_trace_once_or_for_ever)
{
	for (int repeat = 0; repeat < 2; repeat++) {
		struct scene s;

		prepare(&s);
		s.signals.repeat = repeat;

		struct fws_trace *t = fws_signal_trace(&s.signals, 1, 1);

		for (int i = 0; i < 10; i++)
			fws_trace_add(t, (float[]){20 + (float)i, NAN, NAN, NAN}, 4, i == 4);
		t->sigma[0] = 1;
		t->sigma[1] = t->sigma[2] = t->sigma[3] = NAN;
		begin(&s);
		for (int i = 0; i < 25; i++) {
			enum fws_wake wake = send(&s, 0, i);

			cr_assert_eq(wake, repeat || i < 10 ? FWS_READY : FWS_ENDED);
			if (wake == FWS_READY)
				cr_expect_float_eq(s.values[0], 20 + (float)(i % 10), 1e-4f);
			/* What the data lacks is made up. */
			cr_expect(!isnan(s.values[1]) && s.values[2] > 2 && s.values[3] >= 0);
		}
		finish(&s);
	}
}

Test(fws_device, labels_name_the_reading_and_the_truth)
{
	struct scene s;
	struct fws_fault fault;
	const char *why;
	char text[4096] = "", want[200];
	FILE *labels = fmemopen(text, sizeof(text), "w");

	prepare(&s);
	cr_assert_eq(fws_fault_parse(&fault, "stuck,after=5,for=1", &s.shape, &why), 0);
	s.config.faults = &fault;
	s.config.fault_count = 1;
	s.config.labels = labels;
	begin(&s);
	for (int i = 0; i < 10; i++)
		send(&s, 1, i);
	fclose(labels);
	snprintf(want, sizeof(want), "%lld,sensor-2,%u,5,0,temperature,stuck,",
		START_NS + 5 * FWS_NS_PER_S, s.fleet.devices[1].boot);
	cr_assert_eq(strncmp(text, want, strlen(want)), 0, "%s", text);
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "one line: %s", text);
	finish(&s);
}

struct label {
	long long event_ns;
	char sensor[40], field[40], fault[40];
	unsigned boot, index;
	unsigned long long seq;
	float truth, sent, off;
};

/* The line that begins at *at, which moves behind it. */
static struct label take_label(const char **at)
{
	struct label l;
	char line[300];
	size_t len = strcspn(*at, "\n");
	int used = 0;

	cr_assert((*at)[len] && len < sizeof(line), "no end of line: %.200s", *at);
	memcpy(line, *at, len);
	line[len] = '\0';
	*at += len + 1;

	int n = sscanf(line, "%lld,%39[^,],%u,%llu,%u,%39[^,],%39[^,],%f,%f,%f%n", &l.event_ns,
		l.sensor, &l.boot, &l.seq, &l.index, l.field, l.fault, &l.truth, &l.sent, &l.off,
		&used);

	cr_assert(n == 10 && (size_t)used == len, "no label: %s", line);
	return l;
}

Test(fws_device, labels_have_the_true_value_and_the_one_sent)
{
	struct scene faulty, clean;
	struct fws_fault fault;
	const char *why, *at;
	char *text;
	size_t bytes;
	FILE *labels = open_memstream(&text, &bytes);

	prepare(&clean);
	begin(&clean);
	prepare(&faulty);
	cr_assert_eq(fws_fault_parse(&fault, "drift,size=50,for=10", &faulty.shape, &why), 0);
	faulty.config.faults = &fault;
	faulty.config.fault_count = 1;
	faulty.config.labels = labels;
	begin(&faulty);
	for (int i = 0; i < 10; i++) {
		send(&clean, 0, i);
		send(&faulty, 0, i);
		fflush(labels);
		at = text;
		for (int skip = 0; skip < i; skip++)
			take_label(&at);

		struct label l = take_label(&at);

		cr_expect(!strcmp(l.field, "temperature") && !strcmp(l.fault, "drift"));
		cr_expect_eq(l.truth, clean.values[0], "%d", i);
		cr_expect_eq(l.sent, faulty.values[0], "%d", i);
		/* The first one of a drift is in the episode and still true. */
		cr_expect_eq(l.truth == l.sent, i == 0, "%d", i);
		cr_expect_float_eq(l.off, 5 * (float)i, 1e-3f, "%d", i);
	}
	fclose(labels);
	free(text);
	finish(&faulty);
	finish(&clean);
}

/* JSON has three decimals, so that is what was sent. */
Test(fws_device, labels_have_the_decimals_that_json_has)
{
	struct scene s;
	struct fws_fault fault;
	const char *why;
	char *text, want[100], got[100];
	size_t bytes;
	FILE *labels = open_memstream(&text, &bytes);

	prepare(&s);
	s.shape.format = FWS_JSON;
	strcpy(s.shape.id_key, "sensor");
	cr_assert_eq(fws_fault_parse(&fault, "noise,for=100", &s.shape, &why), 0);
	s.config.faults = &fault;
	s.config.fault_count = 1;
	s.config.labels = labels;
	begin(&s);
	for (int i = 0; i < 20; i++) {
		char json[1000] = "";

		send(&s, 0, i);
		cr_assert_gt(
			fws_encode(&s.shape, &s.message, (uint8_t *)json, sizeof(json) - 1), 0);
		fflush(labels);
		cr_assert_eq(
			sscanf(strstr(json, "\"temperature\":"), "\"temperature\":%99[^,]", want),
			1);
		char *end = strrchr(text, ','); /* before off_sigma */

		*end = '\0';
		snprintf(got, sizeof(got), "%s", strrchr(text, ',') + 1);
		*end = ',';
		cr_expect_str_eq(got, want);
	}
	fclose(labels);
	free(text);
	finish(&s);
}

/* Anomalies are judged by how far off they were: an off just below a limit may not reach it. */
Test(fws_device, labels_say_how_far_off_to_the_last_digit_of_a_float)
{
	struct scene s;
	struct fws_fault fault;
	const char *why, *at;
	char *text;
	size_t bytes;
	FILE *labels = open_memstream(&text, &bytes);

	prepare(&s);
	cr_assert_eq(fws_fault_parse(&fault, "noise,size=2.9997,for=10", &s.shape, &why), 0);
	s.config.faults = &fault;
	s.config.fault_count = 1;
	s.config.labels = labels;
	begin(&s);
	send(&s, 0, 0);
	fclose(labels);
	at = text;
	cr_expect_eq(take_label(&at).off, 2.9997f, "%s", text);
	free(text);
	finish(&s);
}

Test(fws_device, an_id_beyond_32_bytes_is_refused)
{
	struct scene s;

	prepare(&s);
	s.config.id_prefix = "a-prefix-that-is-thirty-two-long";
	cr_assert_lt(fws_fleet_init(&s.fleet, &s.config, START_NS), 0);
}

/* --- the network --- */

struct sent {
	uint32_t count, copies;
	uint8_t order[4000];
};

static void note(void *arg, const struct fws_frame *f)
{
	struct sent *s = arg;

	s->order[s->count++] = f->bytes[0];
	s->copies += !f->readings;
}

static struct fws_net_stats through(struct fws_net_config c, struct sent *out)
{
	struct fws_net net;
	struct fws_net_stats stats;

	memset(out, 0, sizeof(*out));
	cr_assert_eq(fws_net_init(&net, &c, fws_rng_for(1, 2, 3), 1), 0);
	fws_net_output(&net, note, out);
	for (int i = 0; i < 1000; i++) {
		uint8_t byte = (uint8_t)i;

		fws_net_push(&net, i * FWS_NS_PER_MS, &(struct fws_frame){0, 1, 1, &byte});
		fws_net_release(&net, i * FWS_NS_PER_MS);
	}
	fws_net_release(&net, INT64_MAX);
	stats = net.stats;
	fws_net_fini(&net);
	return stats;
}

Test(fws_net, loses_and_doubles_as_counted)
{
	static struct sent out;
	struct fws_net_stats n = through((struct fws_net_config){.loss = 0.1, .dup = 0.2}, &out);

	cr_expect(n.lost > 60 && n.lost < 140, "%lu", (unsigned long)n.lost);
	cr_expect(n.duplicated > 130 && n.duplicated < 230, "%lu", (unsigned long)n.duplicated);
	cr_expect_eq(out.count, 1000 - n.lost + n.duplicated);
	cr_expect_eq(out.copies, n.duplicated);
}

Test(fws_net, reorders_neighbours_and_loses_none)
{
	static struct sent out;
	struct fws_net_stats n = through((struct fws_net_config){.reorder = 0.3}, &out);
	uint32_t swapped = 0;

	cr_assert_eq(out.count, 1000);
	for (uint32_t i = 0; i + 1 < 1000; i++)
		swapped += out.order[i] == (uint8_t)(out.order[i + 1] + 1);
	cr_expect_gt(n.reordered, 150);
	cr_expect(swapped + 1 >= n.reordered, "%u of %lu", swapped, (unsigned long)n.reordered);
}

Test(fws_net, delay_keeps_order_and_all)
{
	static struct sent out;

	through((struct fws_net_config){.delay_ns = 50 * FWS_NS_PER_MS}, &out);
	cr_assert_eq(out.count, 1000);
	for (uint32_t i = 0; i < 1000; i++)
		cr_assert_eq(out.order[i], (uint8_t)i);
}
