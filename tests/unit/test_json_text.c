/* Numbers in JSON for people: as short as they were written, and the same when read again. */
#include "control/config/json_text.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect_text(const char *json, const char *wanted)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL), *again;
	char *text;

	cr_assert(value, "%s", json);
	text = ctl_json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
	cr_expect_str_eq(text, wanted);
	again = json_loads(text, JSON_DECODE_ANY, NULL);
	cr_expect(json_equal(value, again), "%s is not %s", text, json);
	json_decref(value);
	json_decref(again);
	free(text);
}

Test(json_text, numbers_are_as_short_as_they_were_written)
{
	static const char *const same[] = {"52.52", "-0.1", "0.0", "100000.0", "1e-07", "1e+300",
		"0.30000000000000004", "1.7976931348623157e308", "12345678901234500.0",
		"9007199254740993", "-3", "[1.5,{\"lat\":52.52,\"n\":7},null,true,false]"};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		expect_text(same[i], same[i]);
	expect_text("52.520000000000003", "52.52");
	expect_text("66.599999999999994", "66.6");
}

Test(json_text, text_that_looks_like_a_number_stays)
{
	expect_text("{\"0.10000000000000001\":\"52.520000000000003\"}",
		"{\"0.10000000000000001\":\"52.520000000000003\"}");
	expect_text("[\"a\\\\\",\"\\\"0.10000000000000001\",0.1]",
		"[\"a\\\\\",\"\\\"0.10000000000000001\",0.1]");
}

/* Any double, by a fixed sequence of bits. */
Test(json_text, every_number_reads_back_the_same)
{
	uint64_t bits = 1;

	for (int i = 0; i < 20000; i++) {
		json_t *list, *again;
		double v;
		char *text;

		bits = bits * 6364136223846793005u + 1442695040888963407u;
		memcpy(&v, &bits, sizeof(v));
		list = json_pack("[f]", v);
		if (!list) /* no number at all */
			continue;
		text = ctl_json_text(list, 0);
		again = json_loads(text, 0, NULL);
		cr_assert(again && json_real_value(json_array_get(again, 0)) == v, "%s", text);
		json_decref(again);
		json_decref(list);
		free(text);
	}
}
