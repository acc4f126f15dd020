/* Faults: how they are asked for, what they do in multiples of the noise, and that the truth is
 * kept. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "firmware-sim/fault.h"

static const struct fws_shape shape = {.field_count = 2, .fields = {"temperature", "voltage"}};
static const float sigma[2] = {0.5f, 0.01f};

static struct fws_fault parsed(const char *spec)
{
	struct fws_fault f;
	const char *why;

	cr_assert_eq(fws_fault_parse(&f, spec, &shape, &why), 0, "%s: %s", spec, why);
	return f;
}

/* One reading of device 0 at a second; 20 degrees, 3 V. Returns the hits. */
static uint32_t apply(const struct fws_fault *f, struct fws_fault_state *state, double second,
	float values[2], struct fws_fault_hit *hit)
{
	struct fws_rng rng = {(uint64_t)(second * 1000)};
	struct fws_fault_reading r = {0, (int64_t)(second * 1e9), sigma, values, &rng};

	return fws_fault_apply(f, 1, state, &r, hit);
}

Test(fws_fault, specs_that_are_wrong_say_why)
{
	static const char *const wrong[] = {"", "bent", "spike,", "spike,size",
		"spike,size=", "spike,size=x", "spike,field=colour", "drift,for=0", "drift,for=-1",
		"drift,for=20,every=10", "drift,sensors=0", "drift,sensors=5-2", "drift,sensors=a",
		"drift,after=nan", "noise,size=inf", "noise,colour=red"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct fws_fault f;
		const char *why = NULL;
		int rc = fws_fault_parse(&f, wrong[i], &shape, &why);

		/* A trailing comma is an empty list of keys, no error. */
		if (!strcmp(wrong[i], "spike,"))
			cr_expect_eq(rc, 0);
		else
			cr_expect(rc < 0 && why, "'%s' was taken", wrong[i]);
	}
}

Test(fws_fault, battery_needs_a_voltage)
{
	struct fws_shape bare = {.field_count = 1, .fields = {"temperature"}};
	struct fws_fault f;
	const char *why;

	cr_assert_lt(fws_fault_parse(&f, "battery", &bare, &why), 0);
	cr_assert_eq(parsed("battery").field, 1);
}

Test(fws_fault, stuck_holds_the_first_value)
{
	struct fws_fault f = parsed("stuck,after=10,for=5");
	struct fws_fault_state state = {0};
	struct fws_fault_hit hit;

	for (int s = 0; s < 20; s++) {
		float values[2] = {20 + (float)s, 3};
		uint32_t hits = apply(&f, &state, s, values, &hit);
		bool inside = s >= 10 && s < 15;

		cr_expect_eq(hits, inside);
		cr_expect_eq(values[0], inside ? 30 : 20 + (float)s, "second %d", s);
		if (hits) {
			cr_expect_eq(hit.truth, 20 + (float)s);
			cr_expect_eq(hit.off, s == 10 ? 0 : INFINITY, "second %d", s);
		}
	}
}

Test(fws_fault, drift_grows_to_its_size)
{
	struct fws_fault f = parsed("drift,size=8,for=100");
	struct fws_fault_state state = {0};
	struct fws_fault_hit hit;

	for (int s = 0; s < 100; s++) {
		float values[2] = {20, 3};

		cr_assert_eq(apply(&f, &state, s, values, &hit), 1);
		cr_expect_float_eq(values[0], 20 + 8 * 0.5f * (float)s / 100, 1e-4f);
		cr_expect_float_eq(hit.off, 8 * (float)s / 100, 1e-5f);
	}
}

Test(fws_fault, spike_hits_one_reading_an_episode)
{
	struct fws_fault f = parsed("spike,size=6,for=10,every=20");
	struct fws_fault_state state = {0};
	struct fws_fault_hit hit;
	uint32_t hits = 0;

	for (int s = 0; s < 100; s++) {
		float values[2] = {20, 3};
		uint32_t n = apply(&f, &state, s, values, &hit);

		hits += n;
		cr_expect_eq(n, s % 20 == 0);
		cr_expect_float_eq(fabsf(values[0] - 20), n ? 3 : 0, 1e-5f);
		if (n)
			cr_expect_eq(hit.off, 6);
	}
	cr_assert_eq(hits, 5);
}

Test(fws_fault, noise_has_its_size)
{
	struct fws_fault f = parsed("noise,size=4,for=100000");
	struct fws_fault_state state = {0};
	struct fws_fault_hit hit;
	double sum = 0, squares = 0;

	for (int s = 0; s < 20000; s++) {
		float values[2] = {20, 3};

		apply(&f, &state, s, values, &hit);
		sum += (double)values[0] - 20;
		squares += pow((double)values[0] - 20, 2);
	}
	cr_expect_float_eq(sum / 20000, 0, 0.05);
	cr_expect_float_eq(sqrt(squares / 20000), 2, 0.1);
}

Test(fws_fault, battery_sags_and_never_below_nothing)
{
	struct fws_fault f = parsed("battery,size=50,for=10");
	struct fws_fault_state state = {0};
	struct fws_fault_hit hit;
	float values[2] = {20, 3}, empty[2] = {20, 0.1f};

	apply(&f, &state, 5, values, &hit);
	cr_expect_float_eq(values[1], 2.75f, 1e-5f);
	cr_expect_eq(values[0], 20);
	apply(&f, &state, 9, empty, &hit);
	cr_expect_eq(empty[1], 0);
}

Test(fws_fault, only_the_sensors_named_and_never_a_missing_value)
{
	struct fws_fault f = parsed("spike,sensors=2-3");
	struct fws_fault_hit hit;
	struct fws_rng rng = {1};

	for (uint32_t device = 0; device < 5; device++) {
		struct fws_fault_state state = {0};
		float values[2] = {20, 3};
		struct fws_fault_reading r = {device, 0, sigma, values, &rng};

		cr_expect_eq(fws_fault_apply(&f, 1, &state, &r, &hit), device == 1 || device == 2);
	}

	struct fws_fault_state state = {0};
	float values[2] = {NAN, 3};
	struct fws_fault_reading r = {1, 0, sigma, values, &rng};

	cr_expect_eq(fws_fault_apply(&f, 1, &state, &r, &hit), 0);
}
