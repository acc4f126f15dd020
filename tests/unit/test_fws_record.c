/* Records read back: keys, times, and lines that are none; percentiles; data files. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "firmware-sim/hist.h"
#include "firmware-sim/record.h"
#include "firmware-sim/signal.h"

Test(fws_record, reads_what_it_needs_and_skips_the_rest)
{
	static const char line[] =
		"{\"@timestamp\":\"2023-11-14T22:13:19.750Z\",\"id\":"
		"\"c76a27b5bb17cc0d06de6a24dd5bab99\","
		"\"kind\":\"reading\",\"appliance\":\"a\\\"}b\",\"stream\":\"climate\",\"sensor\":"
		"\"pump-7\","
		"\"values\":{\"id\":1.0,\"deep\":[{\"sensor\":\"no\"}]},\"flags\":[\"late\",\"]\"],"
		"\"arrival\":\"2023-11-14T22:13:20.000000001Z\",\"boot\":2953293831,\"seq\":100,"
		"\"index\":3}";
	struct fws_record r;

	cr_assert(fws_record_parse(&r, line, strlen(line)));
	cr_expect_eq(r.id[0], 0xc76a27b5bb17cc0dull);
	cr_expect_eq(r.id[1], 0x06de6a24dd5bab99ull);
	cr_expect(r.is_reading && r.numbered);
	cr_expect(r.sensor_len == 6 && !memcmp(r.sensor, "pump-7", 6));
	cr_expect_eq(r.event_ns, 1699999999750000000ll);
	cr_expect_eq(r.arrival_ns, 1700000000000000001ll);
	cr_expect(r.boot == 2953293831u && r.seq == 100 && r.index == 3);
	/* No part of it is a record, and none is read beyond. */
	for (size_t cut = 0; cut < strlen(line); cut++) {
		char *part = malloc(cut + 1);

		memcpy(part, line, cut);
		cr_expect_not(fws_record_parse(&r, part, cut), "cut at %zu", cut);
		free(part);
	}
}

Test(fws_record, times)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: none */
	} cases[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2000-02-29T12:00:00.5Z", 951825600500000000ll},
		{"2024-03-01T00:00:00.000001Z", 1709251200000001000ll},
		{"2100-12-31T23:59:59.999999999Z", 4133980799999999999ll},
		{"1699999999750000000", 1699999999750000000ll},
		{"", -1},
		{"yesterday", -1},
		{"2023-13-01T00:00:00Z", -1},
		{"2023-11-14", -1},
		{"2023-11-14T22:13:19.", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = -1;
		bool ok = fws_record_time(cases[i].text, strlen(cases[i].text), &ns);

		cr_expect_eq(ok, cases[i].ns >= 0, "%s", cases[i].text);
		if (ok)
			cr_expect_eq(ns, cases[i].ns, "%s: %ld", cases[i].text, (long)ns);
	}
}

Test(fws_hist, percentiles_are_within_a_bucket)
{
	static struct fws_hist h;

	for (int64_t i = 1; i <= 100000; i++)
		fws_hist_add(&h, i * 1000);
	for (double q = 0.01; q < 1; q += 0.01) {
		double want = q * 1e8, got = (double)fws_hist_quantile(&h, q);

		cr_expect(got >= want * 0.999 && got <= want * 1.017, "q %g: %g not %g", q, got,
			want);
	}
	cr_expect_eq(h.max_ns, 100000000);
	cr_expect_eq(fws_hist_quantile(&h, 1), 100000000);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
}

static void load(struct fws_signal_set *s, const char *name, const char *text)
{
	struct fws_shape shape = {.field_count = 3, .fields = {"temperature", "humidity", "light"}};
	char dir[] = "/var/tmp/fws-XXXXXX", path[300];

	cr_assert(mkdtemp(dir));
	write_file(dir, name, text);
	fws_signal_init(s, &shape, true);
	cr_assert_eq(fws_signal_load(s, dir), 0, "%s", name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	rmdir(dir);
}

Test(fws_signal, reads_every_form)
{
	struct fws_signal_set s;

	load(&s, "a.csv",
		"# comment\ntime_s,mote,humidity,other,temperature,label\n"
		"0,3,45,x,21.5,0\n5,3,,x,21.75,1\nbroken\n5,4,46,x,-2,0\n");
	cr_assert_eq(s.trace_count, 2);
	cr_expect_eq(s.traces[0].count, 2);
	cr_expect_eq(s.traces[0].values[0], 21.5f);
	cr_expect_eq(s.traces[0].values[1], 45);
	cr_expect(isnan(s.traces[0].values[4]), "an empty cell is missing");
	cr_expect_eq(s.traces[0].label[1], 1);
	cr_expect_eq(s.traces[1].values[0], -2);
	fws_signal_fini(&s);

	load(&s, "x_readings.txt",
		"1164976515546 1 1\xa0"
		"000 17,9 3 52,34 23,2 2 1\n1164976548187 1 2 23,78 3 5\xa0"
		"555,25 23,82 92 119\n");
	cr_assert_eq(s.trace_count, 1);
	cr_expect_eq(s.traces[0].values[0], 23.2f);
	cr_expect_eq(s.traces[0].values[1], 52.34f);
	cr_expect_eq(s.traces[0].values[2], 2);
	cr_expect_eq(s.traces[0].values[4], 5555.25f);
	fws_signal_fini(&s);

	load(&s, "humidity_steps_0_1.csv", "4.40E+01,4.44E+01\n4.1E+01,4.0E+01\n");
	cr_assert_eq(s.trace_count, 2);
	cr_expect_eq(s.traces[1].values[1], 41);
	cr_expect(isnan(s.traces[1].values[0]));
	fws_signal_fini(&s);

	load(&s, "m_data.txt",
		"Reading# Mote-ID Humidity Temperature Label\n1\t1\t45.93\t27.97\t1\n");
	cr_expect_eq(s.traces[0].values[0], 27.97f);
	cr_expect_eq(s.traces[0].label[0], 1);
	fws_signal_fini(&s);
}
