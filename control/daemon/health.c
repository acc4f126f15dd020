/* What the log is told while the daemon runs: changes of state, and losses, not too often. */
#include <inttypes.h>
#include <string.h>

#include "control/api/ledger.h"
#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

#define LOST_NS (10 * DP_NS_PER_S) /* between two lines about losses */

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* Classes of counters that somebody should hear of. */
static bool is_loss(enum dp_counter which)
{
	const char *name = dp_counter_name(which);

	return strncmp(name, "dropped.", 8) == 0 || strncmp(name, "lost.", 5) == 0 ||
	       strncmp(name, "rejected.", 9) == 0 || which == DP_C_RAW_LOST;
}

/* The same of outputs, in the order of ctl_health.output_lost. */
static const char *const output_losses[CTL_OUTPUT_LOSSES] = {
	"records refused for good (dead letter)",
	"records freed before their turn",
	"records in damaged blocks",
	"positions that could not be saved",
};

static void read_output(
	const struct ctl_view *view, uint32_t index, uint64_t lost[CTL_OUTPUT_LOSSES])
{
	const struct dp_output_stats *s = view->outputs[index].stats;

	lost[0] = load(&s->dead_letter);
	lost[1] = load(&s->expired);
	lost[2] = load(&s->quarantined);
	lost[3] = load(&s->save_failures);
}

static void look_at_output_losses(struct ctl_health *h, const struct ctl_view *view, uint32_t index)
{
	const struct ctl_output_view *o = &view->outputs[index];
	uint64_t now[CTL_OUTPUT_LOSSES], *before = h->output_lost[index];
	char trouble[256];

	read_output(view, index, now);
	o->trouble(o->arg, trouble, sizeof(trouble));
	for (int i = 0; i < CTL_OUTPUT_LOSSES; i++) {
		if (now[i] == before[i])
			continue;
		ctl_log(CTL_WARNING, "output %s: %" PRIu64 " more %s%s%s", o->config->name,
			now[i] - before[i], output_losses[i], trouble[0] ? ": " : "", trouble);
		before[i] = now[i];
	}
}

static void look_at_losses(struct ctl_health *h, const struct ctl_view *view, int64_t steady_ns)
{
	struct ctl_ledger l;

	if (steady_ns - h->lost_told_ns < LOST_NS)
		return;
	h->lost_told_ns = steady_ns;
	for (uint32_t i = 0; i < view->output_count; i++)
		look_at_output_losses(h, view, i);
	ctl_ledger_read(view, &l);
	for (uint32_t i = 0; i < DP_COUNTER_COUNT; i++) {
		if (!is_loss((enum dp_counter)i) || l.counters[i] == h->lost[i])
			continue;
		ctl_log(CTL_WARNING, "%s: %" PRIu64 " more (%s)",
			dp_counter_name((enum dp_counter)i), l.counters[i] - h->lost[i],
			dp_counter_help((enum dp_counter)i));
		h->lost[i] = l.counters[i];
	}
}

static void look_at_writer(struct ctl_health *h, const struct ctl_view *view)
{
	static const char *const says[] = {
		[DP_WRITER_OK] = "journal: works again",
		[DP_WRITER_DEGRADED] = "journal: degraded: a write or sync failed, written again",
		[DP_WRITER_FULL] = "journal: full: nothing more is taken until there is room",
	};
	uint64_t state = load(&view->writer->state);
	char trouble[CTL_WRITER_TROUBLE_BYTES];

	if (state == h->writer_state)
		return;
	h->writer_state = state;
	if (state == DP_WRITER_OK)
		ctl_log(CTL_INFO, "%s", says[state]);
	else
		ctl_log(CTL_ERROR, "%s: %s", says[state], ctl_writer_trouble(view, trouble));
}

static void look_at_output(struct ctl_health *h, const struct ctl_output_view *o, uint32_t index)
{
	static const char *const says[] = {
		"delivers again", "other side does not take", "disk refuses", "stopped"};
	uint64_t state = load(&o->stats->state);
	char trouble[256];

	if (state == h->output_state[index])
		return;
	h->output_state[index] = state;
	o->trouble(o->arg, trouble, sizeof(trouble));
	ctl_log(state ? CTL_WARNING : CTL_INFO, "output %s: %s%s%s%s%s", o->config->name,
		says[state], state ? ": " : "", state ? strerror((int)load(&o->stats->error)) : "",
		state && trouble[0] ? ": " : "", state ? trouble : "");
}

void ctl_health_begin(struct ctl_health *h, const struct ctl_view *view)
{
	struct ctl_ledger l;

	memset(h, 0, sizeof(*h));
	ctl_ledger_read(view, &l);
	memcpy(h->lost, l.counters, sizeof(h->lost));
	for (uint32_t i = 0; i < view->output_count; i++)
		read_output(view, i, h->output_lost[i]);
}

void ctl_health_look(struct ctl_health *h, const struct ctl_view *view)
{
	look_at_writer(h, view);
	for (uint32_t i = 0; i < view->output_count; i++)
		look_at_output(h, &view->outputs[i], i);
	look_at_losses(h, view, ctl_now(&view->clock).steady_ns);
}
