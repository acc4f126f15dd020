/* If one of these failed, a loss could hide in a sum, or a sum that is well be called broken. */
#include "control/api/ledger.h"

#include <criterion/criterion.h>

#include "tests/unit/view_world.h"

/* Worker 0 received ten readings, one datagram each; worker 1 owns what came of nine of them. */
static struct view_world *busy(void)
{
	struct view_world *w = make_world(2);

	set_count(w, 0, DP_C_RX_DATAGRAMS, 13);
	set_count(w, 0, DP_C_REJ_UTF8, 2);
	set_count(w, 0, DP_C_REJ_MAGIC, 1);
	set_count(w, 0, DP_C_DECODED_DATAGRAMS, 10);
	set_count(w, 0, DP_C_DECODED_READINGS, 10);
	set_count(w, 1, DP_C_RECORDED, 6);
	set_count(w, 1, DP_C_RECORDS_READING, 6);
	set_count(w, 1, DP_C_RECORDS_WINDOW, 2);
	set_count(w, 1, DP_C_DUPLICATE, 1);
	set_count(w, 1, DP_C_DROP_STALE, 1);
	set_count(w, 0, DP_C_DROP_STEER_FULL, 1);
	w->view.start.records = 100;
	atomic_store(&w->workers[1].log.records, 8);
	atomic_store(&w->writer.records, 105);
	return w;
}

/* Everything that was under way has arrived. */
static void settle(struct view_world *w)
{
	set_count(w, 1, DP_C_RECORDED, 7);
	set_count(w, 1, DP_C_RECORDS_READING, 7);
	atomic_store(&w->workers[1].log.records, 9);
	atomic_store(&w->writer.records, 109);
}

Test(ledger, adds_up_over_workers)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.rejected, 3);
	cr_assert_eq(l.datagrams_in_flight, 0);
	cr_assert_eq(l.dropped, 2);
	cr_assert_eq(l.readings_in_flight, 1);
	cr_assert_eq(l.records, 8);
	cr_assert_eq(l.appended, 108);
	cr_assert_eq(l.written, 105);
	cr_assert_eq(l.pending, 3);
	cr_assert(l.balanced);
	cr_assert_not(l.settled);
	free_world(w);
}

Test(ledger, settles_when_nothing_is_under_way)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	settle(w);
	ctl_ledger_read(&w->view, &l);
	cr_assert(l.balanced);
	cr_assert(l.settled);
	free_world(w);
}

Test(ledger, more_disposed_of_than_decoded_is_unbalanced)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	settle(w);
	set_count(w, 1, DP_C_DUPLICATE, 2);
	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.readings_in_flight, -1);
	cr_assert_not(l.balanced);
	free_world(w);
}

Test(ledger, datagram_neither_decoded_nor_rejected_is_in_flight)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	settle(w);
	set_count(w, 0, DP_C_RX_DATAGRAMS, 14);
	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.datagrams_in_flight, 1);
	cr_assert(l.balanced);
	cr_assert_not(l.settled);
	set_count(w, 0, DP_C_RX_DATAGRAMS, 12);
	ctl_ledger_read(&w->view, &l);
	cr_assert_not(l.balanced);
	free_world(w);
}

Test(ledger, reading_recorded_without_a_record_is_unbalanced)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	settle(w);
	set_count(w, 1, DP_C_RECORDS_READING, 6);
	ctl_ledger_read(&w->view, &l);
	cr_assert(l.settled);
	cr_assert_not(l.balanced);
	free_world(w);
}

Test(ledger, more_written_than_appended_is_unbalanced)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	atomic_store(&w->writer.records, 109);
	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.pending, -1);
	cr_assert_not(l.balanced);
	free_world(w);
}

/* An output made when the log held 90 records owes the 19 since. */
Test(ledger, output_sums_start_at_its_making)
{
	struct view_world *w = busy();
	struct ctl_ledger l;

	settle(w);
	atomic_store(&w->output.baseline, 90);
	atomic_store(&w->output.delivered, 10);
	atomic_store(&w->output.filtered, 3);
	atomic_store(&w->output.dead_letter, 1);
	atomic_store(&w->output.expired, 1);
	atomic_store(&w->output.quarantined, 1);
	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.outputs[0].written, 19);
	cr_assert_eq(l.outputs[0].spooled, 3);
	cr_assert(l.balanced);
	atomic_store(&w->output.delivered, 14);
	ctl_ledger_read(&w->view, &l);
	cr_assert_eq(l.outputs[0].spooled, -1);
	cr_assert_not(l.balanced);
	free_world(w);
}

/* What lies beside the sums must not get into them. */
Test(ledger, losses_and_notes_are_in_no_sum)
{
	struct view_world *w = busy();
	struct ctl_ledger before, after;

	settle(w);
	ctl_ledger_read(&w->view, &before);
	for (uint32_t i = DP_C_LATE; i < DP_COUNTER_COUNT; i++)
		if (strncmp(dp_counter_name((enum dp_counter)i), "records.", 8) != 0)
			set_count(w, 0, (enum dp_counter)i, 1000 + i);
	ctl_ledger_read(&w->view, &after);
	cr_assert(after.balanced && after.settled);
	cr_assert_eq(before.dropped, after.dropped);
	cr_assert_eq(before.rejected, after.rejected);
	cr_assert_eq(before.records, after.records);
	free_world(w);
}

static json_t *class_of(json_t *ledger, const char *class)
{
	static const struct {
		const char *class, *outer, *inner;
	} places[] = {
		{"received", "datagrams", NULL},
		{"rejected", "datagrams", "rejected"},
		{"recorded", "readings", NULL},
		{"duplicate", "readings", NULL},
		{"dropped", "readings", "dropped"},
		{"records", "records", NULL},
		{"noted", "noted", NULL},
		{"lost", "lost_before_us", NULL},
		{"recovered", "readings", NULL},
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		json_t *outer = json_object_get(ledger, places[i].outer);

		if (strcmp(places[i].class, class) == 0)
			return places[i].inner ? json_object_get(outer, places[i].inner) : outer;
	}
	return NULL;
}

/* A reason that somebody adds to the list must show up, or it would be a silent loss. */
Test(ledger, json_names_every_reason)
{
	struct view_world *w = make_world(1);
	struct ctl_ledger l;
	json_t *json;

	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++)
		set_count(w, 0, (enum dp_counter)i, 1000 + i);
	ctl_ledger_read(&w->view, &l);
	json = ctl_ledger_json(&l);
	cr_assert_not_null(json);
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		const char *name;
		size_t n = ctl_counter_class((enum dp_counter)i, &name);
		char class[32] = {0};
		json_t *at;

		memcpy(class, dp_counter_name((enum dp_counter)i), n);
		if (strcmp(name, class) == 0 || strcmp(name, "datagrams") == 0 ||
			strcmp(name, "readings") == 0 || strcmp(name, "bytes") == 0)
			continue; /* named by the sum that it stands in */
		at = json_object_get(class_of(json, class), name);
		cr_assert(json_is_integer(at), "%s is not in the ledger",
			dp_counter_name((enum dp_counter)i));
		cr_assert_eq(json_integer_value(at), 1000 + i);
	}
	json_decref(json);
	free_world(w);
}

Test(ledger, line_says_whether_it_is_closed)
{
	struct view_world *w = busy();
	struct ctl_ledger l;
	char line[900];

	ctl_ledger_read(&w->view, &l);
	ctl_ledger_line(&l, line, sizeof(line));
	cr_assert(strstr(line, "NOT CLOSED"));
	settle(w);
	ctl_ledger_read(&w->view, &l);
	ctl_ledger_line(&l, line, sizeof(line));
	cr_assert(strstr(line, "ledger closed"));
	cr_assert(strstr(line, "kafka delivered 0, spooled 109"));
	ctl_ledger_line(&l, line, 40);
	cr_assert_eq(strlen(line), 39, "cut, not overrun");
	free_world(w);
}
