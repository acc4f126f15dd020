#include <criterion/criterion.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/number.h"

static const char *f32(float v, char *text)
{
	text[dp_number_f32(v, text)] = 0;
	return text;
}

/* A reader that takes 21 for an integer refuses the 21.5 that comes next. */
Test(number, floats_have_a_fraction_or_an_exponent)
{
	static const struct {
		float v;
		const char *text;
	} t[] = {{0, "0.0"}, {-0.0f, "-0.0"}, {21, "21.0"}, {21.37f, "21.37"}, {-40.5f, "-40.5"},
		{0.1f, "0.1"}, {0.0001f, "0.0001"}, {0.05f, "0.05"}, {999.9999f, "999.9999"},
		{511.9999f, "511.9999"}, {512.001f, "512.001"}, {8191.999f, "8191.999"},
		{65535.99f, "65535.99"}, {524287.9f, "524287.9"}, {16777216.0f, "16777216.0"},
		{1e20f, "1e+20"}, {1e-7f, "1e-07"}, {3.4028235e38f, "3.4028235e+38"},
		{1e-45f, "1e-45"}, {100.0f, "100.0"}, {1013.25f, "1013.25"}};
	char text[DP_NUMBER_BYTES_MAX + 1];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		cr_expect_str_eq(f32(t[i].v, text), t[i].text);
	text[dp_number_f64(0.1, text)] = 0;
	cr_expect_str_eq(text, "0.1");
	text[dp_number_f64(60, text)] = 0;
	cr_expect_str_eq(text, "60.0");
}

/* Digits that count: without point, zeros around, exponent. */
static size_t digits(const char *text)
{
	char only[DP_NUMBER_BYTES_MAX + 1];
	size_t n = 0;

	for (; *text && *text != 'e'; text++)
		if (*text >= '0' && *text <= '9' && (n || *text != '0'))
			only[n++] = *text;
	while (n && only[n - 1] == '0')
		n--;
	return n;
}

/* The way for short decimals must not lose a bit, nor print a digit more than to_chars needs. */
Test(number, floats_read_back_and_are_shortest)
{
	char text[DP_NUMBER_BYTES_MAX + 1], other[DP_NUMBER_BYTES_MAX + 1];
	unsigned seed = 7;

	for (int i = 0; i < 2000000; i++) {
		uint32_t bits = (uint32_t)rand_r(&seed) << 16 ^ (uint32_t)rand_r(&seed);
		float v;

		if (i % 2) {
			static const float scale[] = {10, 100, 1000, 10000};

			v = (float)(int32_t)(bits % 20000000) / scale[bits >> 30];
		} else {
			memcpy(&v, &bits, sizeof(v));
		}
		if (!isfinite(v))
			continue;
		f32(v, text);
		other[dp_number_shortest_f32(v, other)] = 0;
		if (strtof(text, NULL) != v || digits(text) != digits(other))
			cr_assert_fail("%.9g: %s, to_chars %s", (double)v, text, other);
	}
}

Test(number, integers)
{
	static const uint64_t t[] = {0, 9, 10, 99, 100, 12345, 9999999999999999999ull,
		10000000000000000000ull, UINT64_MAX};
	char text[32], expected[32];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		text[dp_number_u64(t[i], text)] = 0;
		snprintf(expected, sizeof(expected), "%" PRIu64, t[i]);
		cr_expect_str_eq(text, expected);
	}
	for (uint64_t v = 1; v < UINT64_MAX / 3; v *= 3) {
		text[dp_number_u64(v, text)] = 0;
		snprintf(expected, sizeof(expected), "%" PRIu64, v);
		cr_expect_str_eq(text, expected);
		dp_number_hex(v, text);
		text[16] = 0;
		snprintf(expected, sizeof(expected), "%016" PRIx64, v);
		cr_expect_str_eq(text, expected);
	}
}

Test(number, times)
{
	static const struct {
		int64_t ns;
		const char *text;
	} t[] = {{0, "1970-01-01T00:00:00.000Z"}, {1, "1970-01-01T00:00:00.000000001Z"},
		{-1, "1969-12-31T23:59:59.999999999Z"},
		{951782399120000000, "2000-02-28T23:59:59.120Z"},
		{951782400000001000, "2000-02-29T00:00:00.000001Z"},
		{1709251199999000000, "2024-02-29T23:59:59.999Z"},
		{4107542400000000000, "2100-03-01T00:00:00.000Z"},
		{INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
		{INT64_MIN, "1677-09-21T00:12:43.145224192Z"}};
	struct dp_time_text last = {0};
	char text[DP_TIME_TEXT_BYTES_MAX + 1];

	/* Twice: from the start and with what the cache holds of another second. */
	for (size_t i = 0; i < 2 * sizeof(t) / sizeof(t[0]); i++) {
		size_t k = i % (sizeof(t) / sizeof(t[0]));

		text[dp_number_time(&last, t[k].ns, text)] = 0;
		cr_expect_str_eq(text, t[k].text);
	}
}
