/* Position files: what is there after damage, kills, power cuts and disks that refuse. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/position.h"
#include "tests/unit/fake_disk.h"

enum { SLOT_BYTES = 4096, APPLIANCE = 77 };

struct world {
	struct fake_disk disk;
	struct dp_io io;
	struct dp_position_file file;
	struct dp_position position;
	enum dp_position_found found;
};

static int reopen(struct world *w)
{
	dp_position_close(&w->file);
	w->position = (struct dp_position){.appliance = APPLIANCE};
	return dp_position_open(&w->file, &w->io, "out", &w->position, &w->found);
}

static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	fake_disk_io(&w->disk, &w->io);
	w->file.handle = -1;
	cr_assert_eq(reopen(w), 0);
}

static int save(struct world *w, uint64_t lp)
{
	w->position.lp = lp;
	return dp_position_save(&w->file, &w->position);
}

static int start_save(struct world *w, uint64_t lp)
{
	w->position.lp = lp;
	return dp_position_save_start(&w->file, &w->position);
}

static struct fake_file *file_of(struct world *w)
{
	return (struct fake_file *)fake_disk_file(&w->disk, "output-out.pos");
}

Test(position, the_newest_good_slot_counts)
{
	struct world w;
	uint64_t good = 5;

	begin(&w);
	cr_expect_eq(w.found, DP_POSITION_NEW);
	for (uint64_t lp = 1; lp <= 5; lp++)
		cr_assert_eq(save(&w, lp), 0);
	cr_assert_eq(reopen(&w), 0);
	cr_expect_eq(w.found, DP_POSITION_FOUND);
	cr_expect_eq(w.position.lp, 5);
	/* saves 3, 4 and 5 are there; damage takes the newest of what is left */
	while (w.found == DP_POSITION_FOUND) {
		cr_expect_eq(w.position.lp, good);
		good--;
		file_of(&w)->data[w.file.durable * SLOT_BYTES + 50] ^= 1;
		cr_assert_eq(reopen(&w), 0);
	}
	cr_expect_eq(w.found, DP_POSITION_LOST);
	cr_expect_eq(good, 2);
	cr_assert_eq(save(&w, 9), 0);
	cr_assert_eq(reopen(&w), 0);
	cr_expect_eq(w.position.lp, 9);
	dp_position_close(&w.file);
	fake_disk_fini(&w.disk);
}

Test(position, a_file_cut_short_or_of_another_appliance_is_lost)
{
	struct world w;

	begin(&w);
	cr_assert_eq(save(&w, 1), 0);
	file_of(&w)->bytes = 100;
	cr_assert_eq(reopen(&w), 0);
	cr_expect_eq(w.found, DP_POSITION_LOST);
	cr_assert_eq(save(&w, 2), 0);
	dp_position_close(&w.file);
	w.position = (struct dp_position){.appliance = APPLIANCE + 1};
	cr_assert_eq(dp_position_open(&w.file, &w.io, "out", &w.position, &w.found), 0);
	cr_expect_eq(w.found, DP_POSITION_LOST);
	cr_expect_eq(w.position.appliance, APPLIANCE + 1);
	fake_disk_fini(&w.disk);
}

Test(position, a_started_save_counts_when_it_has_ended)
{
	struct world w;

	begin(&w);
	cr_assert_eq(save(&w, 1), 0);
	w.disk.polls = 2;
	cr_assert_eq(start_save(&w, 2), 0);
	cr_expect_eq(dp_position_save_poll(&w.file), -EAGAIN);
	cr_expect_neq(w.file.durable, w.file.saving);
	cr_expect_eq(dp_position_save_poll(&w.file), -EAGAIN);
	cr_expect_eq(dp_position_save_poll(&w.file), 0);
	fake_disk_revive(&w.disk, true);
	cr_assert_eq(reopen(&w), 0);
	cr_expect_eq(w.position.lp, 2);
	dp_position_close(&w.file);
	fake_disk_fini(&w.disk);
}

/* A stop saves at once; what it writes over is neither durable nor under way. */
Test(position, a_save_beside_one_that_runs)
{
	struct world w;
	int durable, saving;

	begin(&w);
	cr_assert_eq(save(&w, 1), 0);
	durable = w.file.durable;
	w.disk.polls = 1;
	cr_assert_eq(start_save(&w, 2), 0);
	saving = w.file.saving;
	cr_assert_eq(save(&w, 3), 0);
	cr_expect_neq(w.file.durable, durable);
	cr_expect_neq(w.file.durable, saving);
	cr_assert_eq(reopen(&w), 0);
	cr_expect_eq(w.position.lp, 3);
	dp_position_close(&w.file);
	fake_disk_fini(&w.disk);
}

/* Any mix of saves, refusals, kills and power cuts: never behind what was said to be durable. */
static void storm(unsigned first)
{
	unsigned seed = first;
	uint64_t lp = 0, durable = 0;
	struct world w;

	begin(&w);
	for (int life = 0; life < 8; life++) {
		if (rand_r(&seed) % 2)
			w.disk.die_at = w.disk.calls + 1 + rand_r(&seed) % 25;
		if (w.file.handle < 0 && save(&w, ++lp) == 0)
			durable = lp;
		for (int i = 0; i < 8 && w.file.handle >= 0; i++) {
			int rc;

			w.disk.fail = rand_r(&seed) % 6 ? 0 : -EIO;
			w.disk.polls = (int)(rand_r(&seed) % 2);
			rc = start_save(&w, ++lp);
			if (rc == 0)
				rc = dp_position_save_poll(&w.file);
			if (rc == -EAGAIN)
				rc = dp_position_save_poll(&w.file);
			if (rc == 0)
				durable = lp;
		}
		w.disk.fail = 0;
		if (rand_r(&seed) % 3 == 0 && save(&w, ++lp) == 0)
			durable = lp;
		fake_disk_revive(&w.disk, rand_r(&seed) % 2);
		cr_assert_eq(reopen(&w), 0, "seed %u", first);
		cr_assert_eq(w.found == DP_POSITION_FOUND, w.position.lp > 0, "seed %u", first);
		cr_assert_geq(w.position.lp, durable, "seed %u", first);
		cr_assert_leq(w.position.lp, lp, "seed %u", first);
		durable = 0;
		/* as an output does: what was read may not be on the disk */
		if (w.found == DP_POSITION_FOUND && save(&w, w.position.lp) == 0)
			durable = w.position.lp;
	}
	dp_position_close(&w.file);
	fake_disk_fini(&w.disk);
}

Test(position, never_behind_what_is_durable)
{
	for (unsigned seed = 1; seed <= 2000; seed++)
		storm(seed);
}
