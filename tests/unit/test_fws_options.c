/* What the command line may ask for: combinations that could only end in nonsense are refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "firmware-sim/options.h"

/* Result of "penstock-sim LINE". */
static int parse(struct fws_options *o, const char *line)
{
	static char words[400];
	char *argv[40] = {"penstock-sim"}, *save = NULL;
	int argc = 1;

	snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	optind = 0; /* getopt begins anew */
	return fws_options_parse(o, argc, argv);
}

static void check(const char *const *lines, bool taken)
{
	for (; *lines; lines++) {
		struct fws_options o;

		cr_expect_eq(parse(&o, *lines), taken ? 0 : -EINVAL, "%s", *lines);
	}
}

/* A delta is an i32 of milliseconds at most. */
Test(fws_options, readings_that_a_datagram_cannot_hold_are_refused)
{
	static const char *const good[] = {"--period 60 --readings-per-datagram 64",
		"--period 34000 --readings-per-datagram 64",
		"--period 100000 --readings-per-datagram 64 --format json",
		"--period 1000000 --batch 1000", "--period 1000000 --readings-per-datagram 2",
		NULL};
	static const char *const wrong[] = {"--period 34100 --readings-per-datagram 64",
		"--period 34000 --readings-per-datagram 64 --drift 100000",
		"--period 1000000 --readings-per-datagram 4",
		"--period 1000000 --readings-per-datagram 64 --batch 100 --format json",
		"--period 1000000 --readings-per-datagram 2 --batch 1000", NULL};

	check(good, true);
	check(wrong, false);
}

/* Nobody can tell a copy without a number from another reading. */
Test(fws_options, copies_without_numbers_are_not_verified)
{
	static const char *const good[] = {"--unnumbered --dup 0.1", "--dup 0.1 --verify file:x",
		"--unnumbered --loss 0.1 --verify file:x", NULL};
	static const char *const wrong[] = {"--unnumbered --dup 0.1 --verify file:x",
		"--verify api:x --dup 0.001 --unnumbered --format json", NULL};

	check(good, true);
	check(wrong, false);
}

/* A lapse counts back from its end, which messages alone do not tell. */
Test(fws_options, a_time_lapse_has_an_end_after_1970)
{
	static const char *const good[] = {"--time-lapse 20", "--time-lapse 20 --seconds 60",
		"--time-lapse 1 --max-messages 5", "--time-lapse 1e6 --seconds 100", NULL};
	static const char *const wrong[] = {"--time-lapse 20 --max-messages 5",
		"--time-lapse 1e6 --seconds 1e4", "--time-lapse 0.5", "--time-lapse nan",
		"--time-lapse 100 --period 34000 --readings-per-datagram 64", NULL};

	check(good, true);
	check(wrong, false);
}
