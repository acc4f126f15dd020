/* The threads: what each does between turns, how it sleeps, who wakes it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/daemon/daemon.h"
#include "control/daemon/log.h"

/* A turn that could not go on (log ring full) though something is due tries again after this. */
#define STUCK_NS     DP_NS_PER_MS
#define LOSSES_NS    DP_NS_PER_S	 /* between two looks at what the sockets dropped */
#define TROUBLE_NS   DP_NS_PER_S	 /* between two questions to a transport how it is */
#define END_LOOK_NS  (10 * DP_NS_PER_MS) /* a thread that is to end looks this often */
#define NAP_NS_LEAST (100 * 1000ll)	 /* deadlines that have passed do not make a thread spin */

enum { STARTING, READY, LISTENING };

static void bump(_Atomic uint64_t *v)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + 1, memory_order_relaxed);
}

void ctl_wake_worker(void *daemon, uint32_t worker)
{
	struct ctl_daemon *d = daemon;

	dp_parker_wake(&d->worker_threads[worker].parker);
}

void ctl_wake_writer(void *daemon)
{
	struct ctl_daemon *d = daemon;

	dp_parker_wake(&d->writer.parker);
}

/* ---- worker ---- */

static int pin(struct ctl_worker_thread *t)
{
	cpu_set_t set;
	int err;

	CPU_ZERO(&set);
	CPU_SET(t->core, &set);
	err = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	err = err ? err : pthread_getaffinity_np(pthread_self(), sizeof(t->affinity), &t->affinity);
	if (err)
		return -err;
	return CPU_EQUAL(&set, &t->affinity) ? 0 : -EINVAL;
}

static void count_sensors(struct dp_worker *w)
{
	uint64_t sensors = 0;

	for (uint32_t i = 0; i < w->streams->count; i++)
		sensors += w->per_stream[i].table.slots_used;
	atomic_store_explicit(&w->sensors, sensors, memory_order_relaxed);
}

/* Sleeps until packets, a wake-up or the next deadline, unless something came in the meantime. */
static void sleep_worker(struct ctl_worker_thread *t, const struct dp_now *now, uint32_t phase)
{
	struct dp_worker *w = t->worker;
	int64_t due = dp_worker_deadline(w), wait;

	count_sensors(w);
	wait = due <= now->steady_ns ? STUCK_NS : due - ctl_now(t->clock).steady_ns;
	if (wait <= 0)
		return;
	dp_parker_arm(&t->parker);
	if (dp_worker_has_input(w) || atomic_load_explicit(&w->query, memory_order_relaxed) ||
		atomic_load_explicit(&w->phase, memory_order_relaxed) != phase ||
		atomic_load_explicit(&t->quit, memory_order_relaxed)) {
		dp_parker_disarm(&t->parker);
		return;
	}
	bump(&w->sleeps);
	w->gathered_ns = dp_uring_wait(t->uring, wait);
}

static void work(struct ctl_worker_thread *t)
{
	struct dp_worker *w = t->worker;
	uint32_t seen = DP_WORKER_RUN;
	int64_t losses_due = 0;

	while (!atomic_load_explicit(&t->quit, memory_order_relaxed)) {
		struct dp_now now = ctl_now(t->clock);
		uint32_t phase = atomic_load_explicit(&w->phase, memory_order_acquire);
		bool busy;

		/* also when a stop goes on: the last mark must hold what was lost until then */
		if (phase != seen || now.steady_ns >= losses_due) {
			dp_uring_losses(t->uring, &w->counters);
			count_sensors(w); /* one that is never idle does not come to sleep_worker */
			losses_due = now.steady_ns + LOSSES_NS;
			seen = phase;
		}
		bump(&w->turns);
		busy = dp_worker_turn(w, &now);
		w->gathered_ns = 0;
		if (busy)
			continue;
		if (atomic_load_explicit(&w->phase_reached, memory_order_relaxed) ==
			DP_WORKER_FINISH)
			break;
		sleep_worker(t, &now, phase);
	}
	count_sensors(w);
}

/* False: it is to end instead. */
static bool wait_to_go(struct ctl_worker_thread *t)
{
	for (;;) {
		dp_parker_arm(&t->parker);
		if (atomic_load_explicit(&t->quit, memory_order_relaxed) ||
			atomic_load_explicit(&t->go, memory_order_relaxed))
			break;
		dp_parker_wait(&t->parker, -1, -1);
	}
	dp_parker_disarm(&t->parker);
	return !atomic_load_explicit(&t->quit, memory_order_relaxed);
}

/*
 * Nobody receives before all are ready: what a worker steers to one that still populates its memory
 * would fill the ring between them in milliseconds.
 */
static void *worker_main(void *arg)
{
	struct ctl_worker_thread *t = arg;
	int err = pin(t);

	if (!err) {
		dp_mem_populate(t->worker->log.ring, t->worker->log.ring_bytes);
		dp_mem_populate(t->arena.base, t->arena.used);
	}
	atomic_store_explicit(&t->state, err ? err : READY, memory_order_release);
	if (err || !wait_to_go(t))
		return NULL;
	err = dp_uring_start(t->uring, &t->parker);
	if (!err)
		dp_mem_seal();
	atomic_store_explicit(&t->state, err ? err : LISTENING, memory_order_release);
	if (!err)
		work(t);
	return NULL;
}

/* ---- writer ---- */

static void announce(struct ctl_writer_thread *t)
{
	const struct dp_writer_stats *s = dp_writer_stats(t->writer);
	uint64_t readable = atomic_load_explicit(&s->readable, memory_order_relaxed);

	if (readable == t->announced)
		return;
	t->announced = readable;
	/* Pairs with the fence in dp_parker_arm: an output that waits has not yet looked again. */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < t->daemon->output_count; i++) {
		struct ctl_output_thread *out = &t->daemon->outputs[i];

		if (!atomic_load_explicit(&out->waits, memory_order_relaxed))
			dp_parker_wake(&out->parker);
	}
}

static int64_t nap(int64_t due_ns, int64_t now_ns, int64_t most_ns)
{
	int64_t wait = due_ns == INT64_MAX ? most_ns : due_ns - now_ns;

	wait = wait < NAP_NS_LEAST ? NAP_NS_LEAST : wait;
	return wait < most_ns ? wait : most_ns;
}

static bool writer_may_end(struct ctl_writer_thread *t, uint32_t end)
{
	return end == CTL_END_NOW || (end == CTL_END_DRAINED && dp_writer_idle(t->writer));
}

static void *writer_main(void *arg)
{
	struct ctl_writer_thread *t = arg;
	uint32_t end = CTL_END_NO;

	while (!writer_may_end(t, end)) {
		struct dp_now now = ctl_now(t->clock);
		bool busy = dp_writer_step(t->writer, &now);

		announce(t);
		end = atomic_load_explicit(&t->end, memory_order_acquire);
		if (busy)
			continue;
		dp_parker_arm(&t->parker);
		/* the look again for work that a sleeper owes is the step itself */
		if (dp_writer_step(t->writer, &now) ||
			atomic_load_explicit(&t->end, memory_order_relaxed) != end) {
			dp_parker_disarm(&t->parker);
			announce(t);
			continue;
		}
		dp_parker_wait(&t->parker, -1,
			nap(dp_writer_deadline(t->writer), now.steady_ns,
				end ? END_LOOK_NS : DP_NS_PER_S));
	}
	atomic_store_explicit(&t->ended, true, memory_order_release);
	return NULL;
}

/* ---- output ---- */

static void ask_trouble(struct ctl_output_thread *t)
{
	char text[sizeof(t->trouble)];

	dp_output_trouble(t->output, text, sizeof(text));
	pthread_mutex_lock(&t->lock);
	memcpy(t->trouble, text, sizeof(text));
	pthread_mutex_unlock(&t->lock);
}

static bool output_may_end(struct ctl_output_thread *t, uint32_t end)
{
	return end == CTL_END_NOW || (end == CTL_END_DRAINED && dp_output_drained(t->output));
}

static void run_output(struct ctl_output_thread *t)
{
	int64_t trouble_due = 0;
	uint32_t end = CTL_END_NO;

	while (!output_may_end(t, end)) {
		struct dp_now now = ctl_now(t->clock);
		bool busy = dp_output_step(t->output, &now);

		end = atomic_load_explicit(&t->end, memory_order_acquire);
		if (now.steady_ns >= trouble_due) {
			ask_trouble(t);
			trouble_due = now.steady_ns + TROUBLE_NS;
		}
		if (busy)
			continue;
		atomic_store_explicit(&t->waits, false, memory_order_relaxed);
		dp_parker_arm(&t->parker);
		if (dp_output_step(t->output, &now) ||
			atomic_load_explicit(&t->end, memory_order_relaxed) != end) {
			dp_parker_disarm(&t->parker);
			continue;
		}
		atomic_store_explicit(&t->waits, dp_output_waits(t->output), memory_order_relaxed);
		dp_parker_wait(&t->parker, dp_output_wake_fd(t->output),
			nap(dp_output_deadline(t->output), now.steady_ns,
				end ? END_LOOK_NS : TROUBLE_NS));
	}
}

static void *output_main(void *arg)
{
	struct ctl_output_thread *t = arg;
	struct dp_now now;

	run_output(t);
	t->drained = dp_output_drained(t->output);
	now = ctl_now(t->clock);
	t->saved = dp_output_stop(t->output, &now);
	atomic_store_explicit(&t->ended, true, memory_order_release);
	return NULL;
}

/* ---- start ---- */

static int start(pthread_t *thread, bool *running, void *(*body)(void *), void *arg)
{
	int err = pthread_create(thread, NULL, body, arg);

	*running = err == 0;
	return err;
}

static void name_thread(pthread_t thread, const char *what, uint32_t index)
{
	char name[16];

	snprintf(name, sizeof(name), "%s%hhu", what, (unsigned char)index);
	(void)pthread_setname_np(thread, name);
}

/* Until each is as far as that; the first that failed is told of. */
static int wait_for_workers(struct ctl_daemon *d, int wanted)
{
	for (uint32_t i = 0; i < d->config->workers.count; i++) {
		struct ctl_worker_thread *t = &d->worker_threads[i];
		struct timespec ms = {.tv_nsec = 1000000};
		int state;

		while ((state = atomic_load_explicit(&t->state, memory_order_acquire)) >= 0 &&
			state < wanted)
			nanosleep(&ms, NULL);
		if (state < 0) {
			ctl_log(CTL_ERROR,
				"worker %u: core %u: %s; `workers` may name only cores that this "
				"process may run on",
				i, t->core, strerror(-state));
			return CTL_EXIT_FAILED;
		}
	}
	return CTL_EXIT_OK;
}

int ctl_open_worker_threads(struct ctl_daemon *d)
{
	int status = CTL_EXIT_OK;

	for (uint32_t i = 0; i < d->config->workers.count && !status; i++) {
		struct ctl_worker_thread *t = &d->worker_threads[i];
		int err = start(&t->thread, &t->running, worker_main, t);

		if (err) {
			ctl_log(CTL_ERROR, "worker %u: %s", i, strerror(err));
			status = CTL_EXIT_FAILED;
		} else {
			name_thread(t->thread, "worker-", i);
		}
	}
	status = status ? status : wait_for_workers(d, READY);
	if (status)
		ctl_close_worker_threads(d);
	return status;
}

static int let_workers_go(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->config->workers.count; i++)
		atomic_store_explicit(&d->worker_threads[i].go, true, memory_order_relaxed);
	for (uint32_t i = 0; i < d->config->workers.count; i++)
		dp_parker_wake(&d->worker_threads[i].parker);
	return wait_for_workers(d, LISTENING);
}

int ctl_open_threads(struct ctl_daemon *d)
{
	int err = start(&d->writer.thread, &d->writer.running, writer_main, &d->writer);
	int status = err ? CTL_EXIT_FAILED : CTL_EXIT_OK;

	if (!err)
		name_thread(d->writer.thread, "writer-", 0);
	for (uint32_t i = 0; i < d->output_count && !err; i++) {
		struct ctl_output_thread *t = &d->outputs[i];

		err = start(&t->thread, &t->running, output_main, t);
		if (!err)
			name_thread(t->thread, "output-", i);
	}
	if (err) {
		ctl_log(CTL_ERROR, "threads: %s", strerror(err));
		status = CTL_EXIT_FAILED;
	}
	status = status ? status : let_workers_go(d);
	if (status)
		ctl_close_threads(d);
	return status;
}

/* ---- end ---- */

void ctl_join_worker(struct ctl_worker_thread *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

void ctl_join_writer(struct ctl_writer_thread *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

void ctl_join_output(struct ctl_output_thread *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}

void ctl_close_worker_threads(struct ctl_daemon *d)
{
	for (uint32_t i = 0; i < d->config->workers.count; i++) {
		atomic_store(&d->worker_threads[i].quit, true);
		dp_parker_wake(&d->worker_threads[i].parker);
	}
	for (uint32_t i = 0; i < d->config->workers.count; i++)
		ctl_join_worker(&d->worker_threads[i]);
}

void ctl_close_threads(struct ctl_daemon *d)
{
	ctl_close_worker_threads(d);
	atomic_store(&d->writer.end, CTL_END_NOW);
	dp_parker_wake(&d->writer.parker);
	ctl_join_writer(&d->writer);
	for (uint32_t i = 0; i < d->output_count; i++) {
		atomic_store(&d->outputs[i].end, CTL_END_NOW);
		dp_parker_wake(&d->outputs[i].parker);
		ctl_join_output(&d->outputs[i]);
	}
}
