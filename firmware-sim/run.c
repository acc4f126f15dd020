/*
 * The sending loops.  With a rate the devices take turns and a token bucket says when; without one
 * every device wakes by its own clock.  Device i belongs to thread i modulo threads, so its
 * datagrams keep their order and its source port.
 */
#include "firmware-sim/run.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "firmware-sim/pace.h"

enum { CLOCK_EVERY = 16 }; /* messages stamped by one look at the clock when flat out */

struct sending {
	struct fws_run *run;
	uint32_t index, device_count;
	struct fws_sender *sender;
	struct fws_net net;
	bool bad_net;
	pthread_t thread;
	/* The rest is of one phase. */
	struct fws_pace pace;
	int64_t end_ns;
	uint32_t turn, nth; /* whose turn it is, and which datagram of its batch */
	uint32_t *heap;	    /* [device_count], local numbers by due time */
	float *values;	    /* [readings][field_count] */
	uint8_t *scratch;   /* a datagram on its way into the bad network */
	uint64_t messages, readings;
	double cpu_seconds;
	int error;
};

struct fws_run {
	const struct fws_options *options;
	struct fws_fleet *fleet;
	atomic_bool *stop;
	int64_t epoch_ns; /* monotonic time at elapsed 0 */
	const struct fws_phase *phase;
	atomic_uint_fast64_t left; /* messages of the phase still to be claimed */
	struct sending threads[];
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * FWS_NS_PER_S + t.tv_nsec;
}

int64_t fws_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t fws_unix_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* In slices, so that a stop is seen within 100 ms. */
static void sleep_until(const struct fws_run *r, int64_t until_ns)
{
	int64_t now = fws_monotonic_ns();

	while (now < until_ns && !atomic_load_explicit(r->stop, memory_order_relaxed)) {
		int64_t to =
			until_ns - now < 100 * FWS_NS_PER_MS ? until_ns : now + 100 * FWS_NS_PER_MS;
		struct timespec t = {to / FWS_NS_PER_S, to % FWS_NS_PER_S};

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		now = fws_monotonic_ns();
	}
}

static struct fws_device *device_of(const struct sending *s, uint32_t local)
{
	return &s->run->fleet->devices[(size_t)local * s->run->options->threads + s->index];
}

/* Up to `want` messages of what the phase has left. */
static uint64_t claim(struct fws_run *r, uint64_t want)
{
	uint64_t left = atomic_load_explicit(&r->left, memory_order_relaxed), got;

	do
		got = left < want ? left : want;
	while (got && !atomic_compare_exchange_weak_explicit(&r->left, &left, left - got,
			      memory_order_relaxed, memory_order_relaxed));
	return got;
}

static void give_back(struct fws_run *r, uint64_t n)
{
	if (n)
		atomic_fetch_add_explicit(&r->left, n, memory_order_relaxed);
}

static void emit_frame(void *arg, const struct fws_frame *f)
{
	struct sending *s = arg;
	uint32_t lane = f->device % s->sender->lanes;
	uint8_t *to = s->sender->ops->reserve(s->sender, lane, f->len);

	memcpy(to, f->bytes, f->len);
	s->sender->ops->commit(s->sender, lane, f->len, f->readings);
}

/* Makes and sends datagram `nth` of a device. FWS_READY when it went off. */
static enum fws_wake send_one(struct sending *s, uint32_t local, uint32_t nth, int64_t now_ns)
{
	struct fws_run *r = s->run;
	struct fws_message m = {.values = s->values};
	enum fws_wake wake =
		fws_device_message(r->fleet, device_of(s, local), now_ns - r->epoch_ns, nth, &m);
	uint32_t lane = local % s->sender->lanes;
	size_t len;

	if (wake != FWS_READY)
		return wake;

	uint8_t *to = s->bad_net ? s->scratch
				 : s->sender->ops->reserve(s->sender, lane, FWS_DATAGRAM_MAX);

	len = fws_encode(&r->options->shape, &m, to, FWS_DATAGRAM_MAX);
	s->messages++;
	s->readings += m.count;
	if (!len) {
		s->error = -EMSGSIZE;
	} else if (s->bad_net) {
		int rc = fws_net_push(
			&s->net, now_ns, &(struct fws_frame){local, (uint32_t)len, m.count, to});

		s->error = s->error ? s->error : rc;
	} else {
		s->sender->ops->commit(s->sender, lane, (uint32_t)len, m.count);
	}
	return wake;
}

static bool over(const struct sending *s, int64_t now_ns)
{
	return s->error || now_ns >= s->end_ns ||
	       atomic_load_explicit(s->run->stop, memory_order_relaxed);
}

/* Sends up to n messages, device after device; returns how many went off. */
static uint64_t send_turns(struct sending *s, uint64_t n, bool flat_out)
{
	uint32_t batch = s->run->options->fleet.batch, skipped = 0;
	int64_t now = fws_monotonic_ns();
	uint64_t sent = 0;

	while (sent < n && skipped < s->device_count && !s->error) {
		if (sent && (!flat_out || sent % CLOCK_EVERY == 0))
			now = fws_monotonic_ns();

		enum fws_wake wake = send_one(s, s->turn, s->nth, now);

		sent += wake == FWS_READY;
		skipped = wake == FWS_READY ? 0 : skipped + 1;
		if (wake != FWS_READY || ++s->nth == batch) {
			s->nth = 0;
			s->turn = s->turn + 1 == s->device_count ? 0 : s->turn + 1;
		}
	}
	return sent;
}

static bool all_ended(const struct sending *s)
{
	for (uint32_t i = 0; i < s->device_count; i++)
		if (!device_of(s, i)->ended)
			return false;
	return true;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * The shortest nap: a wake costs several microseconds of CPU, so above 4,000/s the messages of 250
 * us leave together, unless a bucket of one token (--burst 1) asks for evenness.
 */
static int64_t nap_ns(const struct fws_pace *p)
{
	int64_t half_bucket = (int64_t)(p->burst / 2 * p->den * (uint64_t)FWS_NS_PER_S / p->num);

	return earlier(half_bucket, FWS_NS_PER_MS / 4);
}

/* What was due before the end of the phase and no nap ended in time for. */
static void send_rest(struct sending *s)
{
	if (!s->pace.num || s->end_ns == INT64_MAX || s->error || atomic_load(s->run->stop))
		return;

	uint64_t n = claim(s->run, fws_pace_take(&s->pace, s->end_ns - 1, s->pace.burst));

	give_back(s->run, n - send_turns(s, n, false));
}

static void send_at_rate(struct sending *s)
{
	bool flat_out = s->pace.num == 0;
	uint64_t at_once = (uint64_t)FWS_BURST * s->sender->lanes;
	int64_t now;

	while (!over(s, now = fws_monotonic_ns())) {
		uint64_t tokens = fws_pace_take(&s->pace, now, at_once);
		uint64_t n = claim(s->run, tokens);

		fws_net_release(&s->net, now);
		if (tokens && !n)
			break; /* the phase is used up */
		if (n) {
			uint64_t sent = send_turns(s, n, flat_out);

			give_back(s->run, n - sent);
			if (!sent && all_ended(s))
				break;
			if (!sent)
				sleep_until(s->run, now + FWS_NS_PER_MS); /* all asleep */
		}
		s->sender->ops->flush(s->sender);
		if (tokens == at_once)
			continue; /* flat out, or behind: there are more */

		int64_t due = fws_pace_due(&s->pace, now), nap = now + nap_ns(&s->pace);

		due = due > nap ? due : nap;
		sleep_until(s->run, earlier(earlier(due, s->end_ns), fws_net_due(&s->net)));
	}
	send_rest(s);
}

static void sift_down(struct sending *s, uint32_t i)
{
	uint32_t moving = s->heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < s->device_count && device_of(s, s->heap[child + 1])->due_ns <
							   device_of(s, s->heap[child])->due_ns)
			child++;
		if (child >= s->device_count ||
			device_of(s, s->heap[child])->due_ns >= device_of(s, moving)->due_ns)
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = moving;
}

/* One wake of the device that is due; false when the phase has no messages left. */
static bool wake_device(struct sending *s, int64_t now_ns)
{
	uint32_t local = s->heap[0], batch = s->run->options->fleet.batch;
	struct fws_device *d = device_of(s, local);
	bool left = true;

	for (uint32_t nth = 0; left && nth < batch && !s->error; nth++) {
		left = claim(s->run, 1) == 1;
		if (!left)
			break;

		enum fws_wake wake = send_one(s, local, nth, now_ns);

		if (wake == FWS_READY)
			continue;
		give_back(s->run, 1);
		if (wake == FWS_ENDED)
			d->due_ns = INT64_MAX;
		break;
	}
	if (d->due_ns != INT64_MAX)
		fws_device_reschedule(s->run->fleet, d);
	sift_down(s, 0);
	return left;
}

static void send_by_periods(struct sending *s)
{
	int64_t epoch = s->run->epoch_ns, now;
	bool left = true;

	for (uint32_t i = 0; i < s->device_count; i++)
		s->heap[i] = i;
	for (uint32_t i = s->device_count / 2; i-- > 0;)
		sift_down(s, i);
	while (left && !over(s, now = fws_monotonic_ns())) {
		int64_t due = device_of(s, s->heap[0])->due_ns;

		if (due == INT64_MAX)
			break; /* all data sent */
		fws_net_release(&s->net, now);
		if (epoch + due <= now) {
			left = wake_device(s, now);
			continue;
		}
		s->sender->ops->flush(s->sender);
		sleep_until(s->run, earlier(earlier(epoch + due, s->end_ns), fws_net_due(&s->net)));
	}
}

static void *send_phase(void *arg)
{
	struct sending *s = arg;

	prctl(PR_SET_TIMERSLACK, 1000); /* ns; 50 us by default, a whole token at 20,000/s */
	if (s->run->phase->rate < 0)
		send_by_periods(s);
	else
		send_at_rate(s);
	s->sender->ops->flush(s->sender);
	s->cpu_seconds += (double)clock_ns(CLOCK_THREAD_CPUTIME_ID) / 1e9;
	return NULL;
}

static void begin_phase(struct sending *s, const struct fws_phase *phase, int64_t now_ns)
{
	const struct fws_options *o = s->run->options;
	uint64_t milli = phase->rate > 0 ? (uint64_t)llround(phase->rate * 1000) : 0;
	double share = phase->rate / o->threads;
	uint64_t burst = o->burst ? o->burst : fws_pace_burst_for(share);
	/* Threads begin one message apart, so that together they are even. */
	int64_t shift = phase->rate > 0 ? (int64_t)(s->index * 1e9 / phase->rate) : 0;

	fws_pace_init(
		&s->pace, milli, (uint64_t)o->threads * 1000, burst ? burst : 1, now_ns + shift);
	s->end_ns = phase->seconds > 0 ? now_ns + (int64_t)(phase->seconds * 1e9) : INT64_MAX;
}

/* Adds to *p what the threads have made so far. */
static void add_made(struct fws_phase_result *p, const struct fws_run *r)
{
	for (uint32_t i = 0; i < r->options->threads; i++) {
		p->messages += r->threads[i].messages;
		p->readings += r->threads[i].readings;
	}
}

static int run_phase(
	struct fws_run *r, const struct fws_phase *phase, struct fws_phase_result *result)
{
	uint32_t started = 0, threads = r->options->threads;
	int64_t now = fws_monotonic_ns();
	struct fws_phase_result before = {0};
	int rc = 0;

	add_made(&before, r);
	r->phase = phase;
	atomic_store(&r->left, phase->messages ? phase->messages : UINT64_MAX);
	for (uint32_t i = 0; i < threads; i++)
		begin_phase(&r->threads[i], phase, now);
	for (; !rc && started < threads; started += !rc)
		rc = -pthread_create(
			&r->threads[started].thread, NULL, send_phase, &r->threads[started]);
	if (rc)
		atomic_store(r->stop, true);
	for (uint32_t i = 0; i < started; i++) {
		pthread_join(r->threads[i].thread, NULL);
		rc = rc ? rc : r->threads[i].error;
	}
	*result = (struct fws_phase_result){
		.rate_asked = phase->rate, .seconds = (double)(fws_monotonic_ns() - now) / 1e9};
	add_made(result, r);
	result->messages -= before.messages;
	result->readings -= before.readings;
	return rc;
}

/* What the bad network still holds goes out in its time, or at once after a stop. */
static void drain_net(struct fws_run *r, struct sending *s)
{
	while (fws_net_due(&s->net) != INT64_MAX && !atomic_load(r->stop)) {
		sleep_until(r, fws_net_due(&s->net));
		fws_net_release(&s->net, fws_monotonic_ns());
		s->sender->ops->flush(s->sender);
	}
	fws_net_release(&s->net, INT64_MAX);
	s->sender->ops->flush(s->sender);
}

static void add_thread(struct fws_run_result *sum, const struct sending *s)
{
	const struct fws_send_stats *a = &s->sender->stats;
	const struct fws_net_stats *n = &s->net.stats;

	sum->messages += s->messages;
	sum->message_readings += s->readings;
	sum->cpu_seconds += s->cpu_seconds;
	sum->sent.datagrams += a->datagrams;
	sum->sent.readings += a->readings;
	sum->sent.bytes += a->bytes;
	sum->sent.failed += a->failed;
	sum->sent.failed_readings += a->failed_readings;
	sum->sent.refused += a->refused;
	sum->sent.calls += a->calls;
	sum->net.lost += n->lost;
	sum->net.lost_readings += n->lost_readings;
	sum->net.duplicated += n->duplicated;
	sum->net.reordered += n->reordered;
	sum->net.delayed += n->delayed;
}

int fws_run_all(struct fws_run *r, struct fws_run_result *result)
{
	const struct fws_options *o = r->options;
	int64_t begin = fws_monotonic_ns();
	int rc = 0;

	r->epoch_ns = begin;
	r->fleet->start_ns = fws_unix_ns();
	for (uint32_t i = 0; !rc && i < o->phase_count && !atomic_load(r->stop); i++)
		rc = run_phase(r, &o->phases[i], &result->phases[result->phase_count++]);
	result->seconds += (double)(fws_monotonic_ns() - begin) / 1e9;
	for (uint32_t i = 0; i < o->threads; i++) {
		drain_net(r, &r->threads[i]);
		add_thread(result, &r->threads[i]);
	}
	return rc;
}

static int open_thread(struct fws_run *r, uint32_t index)
{
	const struct fws_options *o = r->options;
	struct sending *s = &r->threads[index];
	struct fws_udp_config udp = {o->host, o->port, o->ports, !o->no_gso};
	int rc = fws_udp_open(&s->sender, &udp);

	s->run = r;
	s->index = index;
	s->device_count = (r->fleet->count - index + o->threads - 1) / o->threads;
	s->bad_net = fws_net_is_bad(&o->net);
	s->heap = calloc(s->device_count, sizeof(*s->heap));
	s->values = calloc((size_t)o->fleet.readings * o->shape.field_count, sizeof(float));
	s->scratch = malloc(FWS_DATAGRAM_MAX);
	if (!rc && (!s->heap || !s->values || !s->scratch))
		rc = -ENOMEM;
	if (!rc)
		rc = fws_net_init(&s->net, &o->net, fws_rng_for(o->fleet.seed, 3, index),
			s->bad_net ? s->device_count : 0);
	fws_net_output(&s->net, emit_frame, s);
	return rc;
}

int fws_run_open(struct fws_run **out, const struct fws_options *o, struct fws_fleet *fleet,
	atomic_bool *stop)
{
	struct fws_run *r = calloc(1, sizeof(*r) + o->threads * sizeof(r->threads[0]));
	int rc = r ? 0 : -ENOMEM;

	if (rc)
		return rc;
	r->options = o;
	r->fleet = fleet;
	r->stop = stop;
	for (uint32_t i = 0; !rc && i < o->threads; i++)
		rc = open_thread(r, i);
	if (rc)
		fws_run_close(r);
	else
		*out = r;
	return rc;
}

void fws_run_close(struct fws_run *r)
{
	for (uint32_t i = 0; i < r->options->threads; i++) {
		struct sending *s = &r->threads[i];

		if (s->sender)
			s->sender->ops->close(s->sender);
		fws_net_fini(&s->net);
		free(s->heap);
		free(s->values);
		free(s->scratch);
	}
	free(r);
}
