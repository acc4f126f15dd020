/*
 * The simulation: the appliance on one thread in a world that misbehaves, by seed.  A seed is a few
 * lives of the process; each ends at some step, by a kill, a power cut or a stop, and the next one
 * recovers.  The last runs in calm, in which everything must come to its end.
 */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/world.h"

enum {
	SEEDS_DEFAULT = 1000,
	RESENDS_MAX = 20,
	REST_STEPS = 400000, /* until then everything has come to rest */
	SECONDS_MAX = 120,   /* of one seed, by the clock of the host: it hangs */
	CHECK_EVERY = 16,    /* steps */
};

#define START_NS 1700000000000000000ll

struct options {
	uint64_t first, count;
	bool verbose, stop_at_first, twice, must_fail;
};

/* for the signal handler */
static volatile uint64_t running;
static volatile sig_atomic_t must_fail;

/* ---- one life ---- */

static void pass_time(struct sim *s)
{
	uint32_t kind = sim_below(s, 10000);
	int64_t ns = sim_between(s, 0, 50000);

	if (kind < 5)
		ns = sim_between(s, 0, 15 * DP_NS_PER_S);
	else if (kind < 200)
		ns = sim_between(s, 0, 500 * DP_NS_PER_MS);
	else if (kind < 2500)
		ns = sim_between(s, 0, 20 * DP_NS_PER_MS);
	s->now.real_ns += ns;
	s->now.steady_ns += ns;
}

static void one_step(struct world *w)
{
	struct sim *s = w->sim;
	uint32_t who = sim_below(s, 100);

	pass_time(s);
	sim_net_tick(w->net);
	if (who < 45)
		world_turn(w, sim_below(s, w->worker_count));
	else if (who < 70)
		world_write(w);
	else
		world_output(w, sim_below(s, w->config.output_count));
	if (!s->dead && s->steps % CHECK_EVERY == 0)
		world_check_ledger(w);
}

/* A pause of one part: it gets no turn for a while, as when its thread is not scheduled. */
static void some_steps(struct world *w, uint32_t count)
{
	struct sim *s = w->sim;
	uint32_t writer_sleeps = 0, worker_sleeps = 0;

	for (uint32_t i = 0; i < count && !s->dead; i++) {
		if (!writer_sleeps && sim_chance(s, 20))
			writer_sleeps = sim_below(s, 400);
		if (!worker_sleeps && sim_chance(s, 20))
			worker_sleeps = sim_below(s, 400);
		if (writer_sleeps || worker_sleeps) {
			pass_time(s);
			sim_net_tick(w->net);
			if (!worker_sleeps)
				world_turn(w, sim_below(s, w->worker_count));
			else if (!writer_sleeps)
				world_write(w);
			writer_sleeps -= writer_sleeps > 0;
			worker_sleeps -= worker_sleeps > 0;
		} else {
			one_step(w);
		}
	}
}

/* Between two processes time goes on; the wall clock may have been set. */
static void downtime(struct sim *s)
{
	int64_t ns = sim_chance(s, 7000) ? sim_between(s, 0, 5 * DP_NS_PER_S)
					 : sim_between(s, 0, 100 * DP_NS_PER_S);

	s->now.real_ns += ns;
	if (sim_chance(s, 1000))
		s->now.real_ns += sim_between(s, -2 * DP_NS_PER_S, 2 * DP_NS_PER_S);
	s->now.steady_ns = s->now.real_ns;
	s->life++;
	s->steps = 0;
	s->dead = false;
	s->kill_at = UINT64_MAX;
}

/* A step at which to die: a start's first calls as likely as something in full run. */
static uint64_t some_step(struct sim *s)
{
	static const int64_t most[] = {60, 400, 5000, 20000, 20000};

	return (uint64_t)sim_between(s, 1, most[sim_below(s, 5)]);
}

static bool stop(struct world *w)
{
	for (uint32_t i = 0; i < 5000 && !w->sim->dead; i++) {
		if (world_stop(w))
			return w->stopped;
		one_step(w);
	}
	return false;
}

static void one_life(struct world *w)
{
	struct sim *s = w->sim;
	bool clean = sim_chance(s, 2500), power_cut;

	if (!clean || sim_chance(s, 3000))
		s->kill_at = some_step(s);
	if (world_start(w, 1 + sim_below(s, SIM_WORKERS_MAX))) {
		some_steps(w, 500 + sim_below(s, 6000));
		if (clean && !s->dead)
			stop(w);
	}
	power_cut = sim_chance(s, w->config.power_cuts);
	w->totals->kills += !power_cut && !w->stopped;
	w->totals->power_cuts += power_cut;
	sim_note(s, "ends", power_cut, w->stopped);
	world_end(w, power_cut);
	downtime(s);
}

/* ---- the end ---- */

static void rest(struct world *w, bool (*done)(struct world *), const char *what)
{
	for (uint32_t i = 0; i < REST_STEPS; i++) {
		if (done(w))
			return;
		one_step(w);
	}
	sim_fail(w->sim, "does not come to rest: %s", what);
}

static bool all_received(struct world *w)
{
	for (uint32_t i = 0; i < w->worker_count; i++)
		if (dp_worker_has_input(&w->workers[i]))
			return false;
	return sim_net_empty(w->net);
}

/* Batches and lingers run out: what was received is sealed and written. */
static void let_seal(struct world *w)
{
	for (int i = 0; i < 10; i++) {
		w->sim->now.real_ns += DP_NS_PER_S / 10;
		w->sim->now.steady_ns += DP_NS_PER_S / 10;
		for (uint32_t k = 0; k < w->worker_count; k++)
			world_turn(w, k);
	}
	rest(w, world_drained, "writing");
}

/* The first unit that may be repeated and is not recorded; UINT32_MAX: none. */
static uint32_t first_missing(const struct world *w)
{
	const struct sim_net *n = w->net;

	for (uint32_t i = 0; i < n->datagram_count; i++) {
		const struct sim_datagram *d = &n->datagrams[i];

		for (uint32_t k = d->first; k < d->first + d->count; k++)
			if (sim_net_repeatable(n, d) && !oracle_has_unit(w->oracle, k))
				return k;
	}
	return UINT32_MAX;
}

/*
 * What senders may repeat is recorded in the end, once (the oracle has seen to that): a repetition
 * may find the log ring full and be refused, as any datagram, so senders repeat until it is not.
 */
static void resend(struct world *w)
{
	struct sim_net *n = w->net;
	uint32_t missing;

	w->net->quiet = true;
	rest(w, all_received, "receiving");
	for (int round = 0; round < RESENDS_MAX; round++) {
		sim_net_resend(n);
		rest(w, all_received, "receiving what is repeated");
		let_seal(w);
		if (first_missing(w) == UINT32_MAX)
			return;
	}
	missing = first_missing(w);
	sim_fail(w->sim, "unit %u of sensor %u, number %" PRIu64 ", was repeated and not recorded",
		missing, n->units[missing].sensor, n->units[missing].seq);
}

/* Time passes until all windows are closed, in some seeds until all sensors are forgotten. */
static void let_time_pass(struct world *w)
{
	int64_t s = sim_chance(w->sim, 5000) ? 50 : 400;

	for (int64_t i = 0; i < 10; i++) {
		w->sim->now.real_ns += s * DP_NS_PER_S / 10;
		w->sim->now.steady_ns += s * DP_NS_PER_S / 10;
		for (uint32_t k = 0; k < w->worker_count; k++)
			world_turn(w, k);
		some_steps(w, 100);
	}
	rest(w, world_drained, "writing what time has brought");
}

static void calm_end(struct world *w)
{
	struct sim *s = w->sim;

	s->calm = true;
	w->journal->capacity = 1ull << 40;
	sim_check(s, world_start(w, 1 + sim_below(s, SIM_WORKERS_MAX)), "no start in calm");
	some_steps(w, 300);
	resend(w);
	let_time_pass(w);
	rest(w, world_stop, "stopping");
	sim_check(s, w->stopped, "no clean stop in calm");
	world_end(w, true); /* a clean stop leaves nothing to lose */
	downtime(s);
	sim_check(s, world_start(w, 1 + sim_below(s, SIM_WORKERS_MAX)), "no start at the end");
	sim_check(s, w->recovery->clean, "a clean stop is not taken for one");
	oracle_sensors_end(w->oracle);
	oracle_outputs_end(w->oracle);
	world_check_files(w);
}

/* Returns whether everything held; *trace: what happened, as one number. */
static bool run_seed(uint64_t seed, bool verbose, uint64_t *trace, struct sim_totals *totals)
{
	static struct world w;
	static struct sim s;

	memset(&s, 0, sizeof(s));
	sim_init(&s, seed);
	s.verbose = verbose;
	s.now = (struct dp_now){.real_ns = START_NS, .steady_ns = START_NS};
	running = seed;
	alarm(SECONDS_MAX);
	if (setjmp(s.failed)) {
		*trace = s.trace;
		return false; /* the broken world is left as it is */
	}
	world_init(&w, &s, totals);
	for (uint32_t i = 0; i < w.config.lives; i++)
		one_life(&w);
	calm_end(&w);
	*trace = s.trace;
	world_fini(&w);
	return true;
}

/* ---- main ---- */

static void on_signal(int number)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "seed %" PRIu64 ": signal %d\n", running, number);

	(void)!write(STDOUT_FILENO, text, (size_t)n);
	_exit(must_fail && number == SIGABRT ? 0 : 3);
}

static int usage(void)
{
	puts("usage: penstock_simtest [--seeds N] [--seed S] [--first] [--twice] [--must-fail]\n"
	     "                        [--verbose]\n"
	     "  --seeds N    how many seeds (default 1000)\n"
	     "  --seed S     begin with this seed; alone: run only it\n"
	     "  --first      stop at the first seed that fails\n"
	     "  --twice      run each seed twice: both must be the same, byte for byte\n"
	     "  --must-fail  succeed if a seed fails: for builds that are broken on purpose\n"
	     "  --verbose    print what happens");
	return 2;
}

static bool parse(int argc, char **argv, struct options *o)
{
	bool counted = false;
	const char *seeds = getenv("PENSTOCK_SIM_SEEDS");

	*o = (struct options){
		.first = 1, .count = seeds ? strtoull(seeds, NULL, 10) : SEEDS_DEFAULT};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (strcmp(a, "--seeds") == 0 && i + 1 < argc) {
			o->count = strtoull(argv[++i], NULL, 10);
			counted = true;
		} else if (strcmp(a, "--seed") == 0 && i + 1 < argc) {
			o->first = strtoull(argv[++i], NULL, 10);
			o->count = counted ? o->count : 1;
		} else if (strcmp(a, "--first") == 0) {
			o->stop_at_first = true;
		} else if (strcmp(a, "--twice") == 0) {
			o->twice = true;
		} else if (strcmp(a, "--must-fail") == 0) {
			o->must_fail = o->stop_at_first = true;
		} else if (strcmp(a, "--verbose") == 0) {
			o->verbose = true;
		} else {
			return false;
		}
	}
	return true;
}

/* What never happened in so many seeds is a hole in the simulation itself. */
static bool show_totals(const struct sim_totals *t, uint64_t seeds)
{
	bool all = true;

#define X(name)                                                                                    \
	printf("%s%s %" PRIu64, all || t->name ? ", " : ", NEVER ", #name, t->name);               \
	all &= t->name != 0;
	SIM_TOTALS(X)
#undef X
	printf("\n");
	return all || seeds < SEEDS_DEFAULT;
}

static bool one_seed(
	uint64_t seed, const struct options *o, struct sim_totals *totals, uint64_t *all)
{
	uint64_t trace, again;
	bool good = run_seed(seed, o->verbose, &trace, totals);

	if (good && o->twice && (!run_seed(seed, false, &again, totals) || again != trace)) {
		printf("seed %" PRIu64 ": the second run is another\n", seed);
		good = false;
	}
	*all = *all * 31 + trace;
	return good;
}

int main(int argc, char **argv)
{
	struct sim_totals totals = {0};
	uint64_t failed = 0, all = 0;
	struct options o;
	bool complete;

	if (!parse(argc, argv, &o))
		return usage();
	must_fail = o.must_fail;
	signal(SIGALRM, on_signal);
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	for (uint64_t seed = o.first; seed < o.first + o.count; seed++) {
		failed += !one_seed(seed, &o, &totals, &all);
		if (failed && o.stop_at_first)
			break;
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " failed, trace %016" PRIx64, o.count, failed, all);
	complete = show_totals(&totals, o.count);
	if (o.must_fail)
		return failed == 0;
	return failed != 0 || !complete;
}
