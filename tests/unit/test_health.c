/* What an operator would not hear of if one of these failed: records that an output lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "control/daemon/daemon.h"
#include "tests/unit/view_world.h"

static char told[4096];

static void say_trouble(void *arg, char *text, size_t size)
{
	snprintf(text, size, "%s", (const char *)arg);
}

/* Fills `told` with what one look, as if ten seconds later, logs. */
static void look(struct ctl_health *h, const struct view_world *w)
{
	FILE *out = tmpfile();
	int was = dup(STDERR_FILENO);

	cr_assert(out && dup2(fileno(out), STDERR_FILENO) >= 0);
	h->lost_told_ns = 0;
	ctl_health_look(h, &w->view);
	dup2(was, STDERR_FILENO);
	close(was);
	rewind(out);
	told[fread(told, 1, sizeof(told) - 1, out)] = 0;
	fclose(out);
}

Test(health, tells_each_loss_of_an_output_once)
{
	struct view_world *w = make_world(1);
	_Atomic uint64_t *const counts[] = {&w->output.dead_letter, &w->output.expired,
		&w->output.quarantined, &w->output.save_failures};
	static const char *const says[] = {"refused for good", "freed before their turn",
		"in damaged blocks", "positions that could not be saved"};
	struct ctl_health h;

	ctl_health_begin(&h, &w->view);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		atomic_store(counts[i], 3);
		look(&h, w);
		cr_expect(strstr(told, "output kafka: 3 more "), "%s", told);
		cr_expect(strstr(told, says[i]), "%s", told);
		look(&h, w);
		cr_expect_str_empty(told);
	}
	free_world(w);
}

Test(health, tells_the_trouble_of_an_output_with_its_losses)
{
	struct view_world *w = make_world(1);
	static char why[] = "the broker takes no such message";
	struct ctl_health h;

	w->view.outputs[0].trouble = say_trouble;
	w->view.outputs[0].arg = why;
	ctl_health_begin(&h, &w->view);
	atomic_store(&w->output.dead_letter, 1);
	look(&h, w);
	cr_expect(strstr(told, why), "%s", told);
	free_world(w);
}

/* A position and the journal bring back what was counted, and told, in earlier runs. */
Test(health, is_silent_about_what_was_there_before)
{
	struct view_world *w = make_world(1);
	struct ctl_health h;

	atomic_store(&w->output.dead_letter, 5);
	set_count(w, 0, DP_C_REJ_MAGIC, 7);
	ctl_health_begin(&h, &w->view);
	look(&h, w);
	cr_expect_str_empty(told);
	set_count(w, 0, DP_C_REJ_MAGIC, 9);
	look(&h, w);
	cr_expect(strstr(told, "rejected.magic: 2 more"), "%s", told);
	free_world(w);
}

/* Many losses are one line in ten seconds. */
Test(health, does_not_tell_losses_all_the_time)
{
	struct view_world *w = make_world(1);
	struct ctl_health h;

	ctl_health_begin(&h, &w->view);
	look(&h, w);
	h.lost_told_ns = INT64_MAX / 2; /* just now, however late it is */
	atomic_store(&w->output.dead_letter, 5);
	ctl_health_look(&h, &w->view);
	cr_expect_eq(h.output_lost[0][0], 0);
	free_world(w);
}
