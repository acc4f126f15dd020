#include "dataplane/decode/json_time.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/decode/decode.h"

#define S(seconds) ((seconds)*1000000000ll)
#define BAD	   (-1)

static const struct {
	const char *text;
	int64_t want;
} texts[] = {
	{"1970-01-01T00:00:00Z", 0},
	{"2023-11-14T22:13:20Z", S(1700000000)},
	{"2023-11-14t22:13:20z", S(1700000000)},
	{"2023-11-14 22:13:20Z", S(1700000000)},
	{"2023-11-14T22:13:20", S(1700000000)}, /* no zone: UTC */
	{"2023-11-14 22:13:20", S(1700000000)},
	{"2023-11-14T22:13Z", S(1699999980)},
	{"2023-11-14T22:13", S(1699999980)},
	{"20231114T221320Z", S(1700000000)},
	{"20231114T2213Z", S(1699999980)},
	{"20231114T221320.5+0100", S(1699996400) + 500000000},
	{"2023-11-14T23:13:20+01:00", S(1700000000)},
	{"2023-11-14T23:13:20+0100", S(1700000000)},
	{"2023-11-14T23:13:20+01", S(1700000000)},
	{"2023-11-15T03:58:20+05:45", S(1700000000)},
	{"2023-11-14T16:43:20-05:30", S(1700000000)},
	{"2023-11-14T22:13:20-00:00", S(1700000000)},
	{"2023-11-14T22:13:20.5Z", S(1700000000) + 500000000},
	{"2023-11-14T22:13:20,5Z", S(1700000000) + 500000000},
	{"2023-11-14T22:13:20.123456789Z", S(1700000000) + 123456789},
	{"2023-11-14T22:13:20.1234567899999Z", S(1700000000) + 123456789},
	{"2023-11-14T22:13:20.000000001+00:00", S(1700000000) + 1},
	{"2024-02-29T00:00:00Z", S(1709164800)},
	{"2000-02-29T00:00:00Z", S(951782400)},
	{"2004-02-28 00:59:16.02785", S(1077929956) + 27850000},
	{"2200-12-31T23:59:59.999999999Z", DP_EVENT_NS_END - 1},
	{"1969-12-31T23:00:00-01:00", 0},
	{"2201-01-01T00:59:59+01:00", DP_EVENT_NS_END - S(1)},
	/* leap seconds: only the last of a UTC day */
	{"2016-12-31T23:59:60Z", S(1483228800)},
	{"2016-12-31T23:59:60.25Z", S(1483228800) + 250000000},
	{"2017-01-01T00:59:60+01:00", S(1483228800)},
	{"2016-12-31T23:59:60+01:00", BAD},
	{"2016-12-31T12:00:60Z", BAD},
	{"2016-12-31T23:59:61Z", BAD},
	/* beyond belief */
	{"1969-12-31T23:59:59Z", BAD},
	{"1970-01-01T00:00:00+00:01", BAD},
	{"2201-01-01T00:00:00Z", BAD},
	{"2200-12-31T23:59:59-01:00", BAD},
	{"2200-12-31T23:59:60Z", BAD},
	{"0000-01-01T00:00:00Z", BAD},
	{"9999-12-31T23:59:59Z", BAD},
	/* no such date or time */
	{"2023-00-14T22:13:20Z", BAD},
	{"2023-13-14T22:13:20Z", BAD},
	{"2023-11-00T22:13:20Z", BAD},
	{"2023-11-31T22:13:20Z", BAD},
	{"2023-02-29T22:13:20Z", BAD},
	{"2100-02-29T22:13:20Z", BAD},
	{"2023-11-14T24:00:00Z", BAD},
	{"2023-11-14T22:60:20Z", BAD},
	{"2023-11-14T22:13:20+24:00", BAD},
	{"2023-11-14T22:13:20+01:60", BAD},
	/* malformed */
	{"", BAD},
	{"2023", BAD},
	{"2023-11-14", BAD},
	{"2023-11-14T", BAD},
	{"2023-11-14T22", BAD},
	{"2023-11-14T22:1", BAD},
	{"2023-11-14T22:13:", BAD},
	{"2023-11-14T22:13:2", BAD},
	{"2023-11-14T22:13:20.", BAD},
	{"2023-11-14T22:13:20.Z", BAD},
	{"2023-11-14T22:13.5Z", BAD},
	{"2023-11-14T22:13:20X", BAD},
	{"2023-11-14T22:13:20ZZ", BAD},
	{"2023-11-14T22:13:20Z ", BAD},
	{" 2023-11-14T22:13:20Z", BAD},
	{"2023-11-14  22:13:20Z", BAD},
	{"2023-11-14T22:13:20+", BAD},
	{"2023-11-14T22:13:20+1", BAD},
	{"2023-11-14T22:13:20+01:", BAD},
	{"2023-11-14T22:13:20+01:0", BAD},
	{"2023-11-14T22:13:20+010", BAD},
	{"2023-1114T22:13:20Z", BAD},
	{"202311-14T22:13:20Z", BAD},
	{"2023-11-14T221320Z", BAD},
	{"20231114T22:13:20Z", BAD},
	{"2023/11/14T22:13:20Z", BAD},
	{"23-11-14T22:13:20Z", BAD},
	{"+2023-11-14T22:13:20Z", BAD},
	{"-023-11-14T22:13:20Z", BAD},
	{"2023-11-14T22:13:-1Z", BAD},
	{"2023-11-14T2a:13:20Z", BAD},
	{"2023-W46-2T22:13:20Z", BAD},
	{"2023-318T22:13:20Z", BAD},
	{"Tue, 14 Nov 2023 22:13:20 GMT", BAD},
	{"1700000000", BAD}, /* a number as a string */
	{"now", BAD},
};

Test(json_time, text_is_taken_by_the_table)
{
	int64_t ns;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int64_t got = BAD;
		bool good = dp_json_time_text(texts[i].text, strlen(texts[i].text), &got);

		cr_assert_eq(good, texts[i].want != BAD, "\"%s\"", texts[i].text);
		if (good)
			cr_assert_eq(got, texts[i].want, "\"%s\": got %lld", texts[i].text,
				(long long)got);
	}
	cr_assert_not(dp_json_time_text("2023-11-14T22:13:20\0Z", 21, &ns));
}

Test(json_time, every_day_agrees_with_libc)
{
	for (int64_t day = 0; day < 84371; day++) { /* to the end of 2200 */
		time_t t = day * 86400;
		struct tm tm;
		char text[32];
		int64_t ns;

		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		cr_assert(dp_json_time_text(text, strlen(text), &ns), "%s", text);
		cr_assert_eq(ns, S(day * 86400), "%s", text);
	}
}

static const struct {
	int64_t epoch, want;
} integers[] = {
	{0, 0},
	{1, S(1)},
	{1700000000, S(1700000000)},
	{1700000000123, 1700000000123000000},
	{1700000000123456, 1700000000123456000},
	{1700000000123456789, 1700000000123456789},
	{7289654399, S(7289654399)},
	{7289654400, BAD},	      /* 2201 */
	{99999999999, BAD},	      /* still seconds */
	{100000000000, S(100000000)}, /* milliseconds: March 1973 */
	{99999999999999, BAD},
	{100000000000000, S(100000000)}, /* microseconds */
	{99999999999999999, BAD},
	{100000000000000000, S(100000000)}, /* nanoseconds */
	{7289654399999, 7289654399999000000},
	{7289654400000, BAD},
	{7289654399999999, 7289654399999999000},
	{7289654400000000, BAD},
	{7289654399999999999, 7289654399999999999},
	{7289654400000000000, BAD},
	{INT64_MAX, BAD},
	{-1, BAD},
	{INT64_MIN, BAD},
};

Test(json_time, integers_by_magnitude)
{
	for (size_t i = 0; i < sizeof(integers) / sizeof(*integers); i++) {
		int64_t got = BAD;
		bool good = dp_json_time_integer(integers[i].epoch, &got);

		cr_assert_eq(good, integers[i].want != BAD, "%lld", (long long)integers[i].epoch);
		if (good)
			cr_assert_eq(got, integers[i].want, "%lld: got %lld",
				(long long)integers[i].epoch, (long long)got);
	}
}

static const struct {
	double epoch;
	int64_t want;
} reals[] = {
	{0.0, 0},
	{-0.0, 0},
	{0.5, 500000000},
	{1700000000.0, S(1700000000)},
	{1700000000.5, S(1700000000) + 500000000},
	{1700000000.123, 1700000000123000000},
	{1700000000.123456, 1700000000123456000},
	{1700000000.9999999, S(1700000001)}, /* to the microsecond */
	{1700000000123.456, 1700000000123456000},
	{1700000000123456.0, 1700000000123456000},
	{1.7e9, S(1700000000)},
	{1.7e18, S(1700000000)},
	{4.9e-324, 0},
	{7289654399.999, 7289654399999000000},
	{7289654399.9999999, BAD}, /* rounds into 2201 */
	{7289654400.0, BAD},
	{1e300, BAD},
	{-1e-9, BAD},
	{-1.7e9, BAD},
};

Test(json_time, reals_by_magnitude)
{
	for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++) {
		int64_t got = BAD;
		bool good = dp_json_time_real(reals[i].epoch, &got);

		cr_assert_eq(good, reals[i].want != BAD, "%.17g", reals[i].epoch);
		if (good)
			cr_assert_eq(got, reals[i].want, "%.17g: got %lld", reals[i].epoch,
				(long long)got);
	}
}
