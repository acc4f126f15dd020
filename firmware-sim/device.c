/* One device: when it wakes, what it measured, as a message. */
#include "firmware-sim/device.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum rng_use { RNG_DEVICE = 1, RNG_SIGNAL };

enum { LABEL_BYTES_MAX = 256 }; /* id and field name at most 32 bytes, numbers at most 20 */

static int name_device(struct fws_device *d, const struct fws_fleet_config *c)
{
	int n = snprintf(
		d->id, sizeof(d->id), "%s%0*" PRIu32, c->id_prefix, (int)c->id_width, d->index + 1);

	if (n < 1 || n > FWS_ID_MAX)
		return -ENAMETOOLONG;
	d->id_len = (uint8_t)n;
	return 0;
}

static void plan_restart(struct fws_device *d, const struct fws_fleet_config *c, int64_t now_ns)
{
	double wait_s = -log(1 - fws_rng_unit(&d->rng)) * c->restart_s;

	d->restart_ns = c->restart_s > 0 ? now_ns + (int64_t)(wait_s * 1e9) : INT64_MAX;
}

static int start_device(struct fws_fleet *fl, uint32_t index)
{
	const struct fws_fleet_config *c = &fl->config;
	struct fws_device *d = &fl->devices[index];
	uint32_t fields = c->shape->field_count;
	float *own = fl->slab + (size_t)index * 3 * fields;
	int64_t wake_ns = c->period_ns * c->readings * c->batch;

	*d = (struct fws_device){.index = index,
		.last_ns = -1,
		.rng = fws_rng_for(c->seed, RNG_DEVICE, index),
		.signal = {.slow = own, .offset = own + fields, .sigma = own + 2 * fields},
		.faults = fl->fault_slab + (size_t)index * c->fault_count};
	d->boot = d->first.number = (uint32_t)fws_rng_next(&d->rng);
	d->newest = &d->first;
	d->offset_ns = (int64_t)(c->offset_s * 1e9 * (double)fws_rng_normal(&d->rng));
	d->drift = c->drift_ppm * 1e-6 * (double)fws_rng_normal(&d->rng);
	d->nominal_ns = d->due_ns = (int64_t)(fws_rng_unit(&d->rng) * (double)wake_ns);
	d->sleep_phase_ns = (int64_t)(fws_rng_unit(&d->rng) * c->sleep_every_s * 1e9);
	plan_restart(d, c, 0);
	fws_signal_start(c->signals, &d->signal, index, fws_rng_for(c->seed, RNG_SIGNAL, index));
	return name_device(d, c);
}

int fws_fleet_init(struct fws_fleet *fl, const struct fws_fleet_config *c, int64_t start_ns)
{
	size_t fields = c->shape->field_count;

	*fl = (struct fws_fleet){.config = *c, .start_ns = start_ns, .count = c->sensors};
	fl->devices = calloc(c->sensors, sizeof(*fl->devices));
	fl->slab = calloc((size_t)c->sensors * 3 * fields, sizeof(float));
	fl->fault_slab = calloc((size_t)c->sensors * c->fault_count + 1, sizeof(*fl->fault_slab));

	int rc = fl->devices && fl->slab && fl->fault_slab ? 0 : -ENOMEM;

	for (uint32_t i = 0; !rc && i < c->sensors; i++)
		rc = start_device(fl, i);
	if (rc)
		fws_fleet_fini(fl);
	return rc;
}

/* For the device's own thread. */
static struct fws_boot *newest_boot(struct fws_device *d)
{
	return atomic_load_explicit(&d->newest, memory_order_relaxed);
}

static void free_boots(struct fws_device *d)
{
	struct fws_boot *b = newest_boot(d), *before;

	for (; b && b != &d->first; b = before) {
		before = b->before;
		free(b);
	}
}

void fws_fleet_fini(struct fws_fleet *fl)
{
	for (uint32_t i = 0; fl->devices && i < fl->count; i++)
		free_boots(&fl->devices[i]);
	free(fl->devices);
	free(fl->slab);
	free(fl->fault_slab);
	*fl = (struct fws_fleet){0};
}

bool fws_fleet_sent(const struct fws_fleet *fl, uint32_t index, uint32_t boot, uint64_t sequence)
{
	const struct fws_boot *b = /* pairs with B2 */
		atomic_load_explicit(&fl->devices[index].newest, memory_order_acquire);

	for (; b; b = b->before)
		if (b->number == boot && /* pairs with B1 */
			sequence < atomic_load_explicit(&b->used, memory_order_acquire))
			return true;
	return false;
}

void fws_labels_begin(FILE *labels)
{
	fputs("event_ns,sensor,boot,seq,index,field,fault,true_value,sent_value,off_sigma\n",
		labels);
}

/* Where a reading stands in its message, for the label file. */
struct place {
	const struct fws_message *message;
	uint32_t row;
};

/* The value as it was sent; nothing when it was left out. */
static int print_sent(char out[32], const struct fws_shape *shape, float v)
{
	int n = 0;

	if (shape->format == FWS_JSON)
		n = isfinite(v) ? (int)fws_decimal(out, v) : 0;
	else if (!isnan(v))
		n = snprintf(out, 32, "%.9g", (double)v);
	return n;
}

/* All threads write into one file: a line is one call, or lines would mix. */
static void write_label(const struct fws_fleet *fl, const struct place *at, const char *fault,
	const struct fws_fault_hit *hit)
{
	const struct fws_fleet_config *c = &fl->config;
	const struct fws_message *m = at->message;
	bool json = c->shape->format == FWS_JSON;
	const char *field = hit ? c->shape->fields[hit->field] : "";
	char line[LABEL_BYTES_MAX], values[80] = ",,", sent[32];

	if (hit) {
		float value = m->values[(size_t)at->row * c->shape->field_count + hit->field];

		snprintf(values, sizeof(values), "%.9g,%.*s,%.9g", (double)hit->truth,
			print_sent(sent, c->shape, value), sent, (double)hit->off);
	}

	int n = snprintf(line, sizeof(line),
		"%" PRId64 ",%.*s,%" PRIu32 ",%" PRIu64 ",%" PRIu32 ",%s,%s,%s\n",
		m->time_ns[at->row], (int)m->id_len, m->id, c->shape->numbered ? m->boot : 0,
		c->shape->numbered ? m->sequence + (json ? at->row : 0) : 0, json ? 0 : at->row,
		field, fault, values);

	assert(n > 0 && n < LABEL_BYTES_MAX);
	fwrite(line, 1, (size_t)n, c->labels);
}

static bool read_row(
	struct fws_fleet *fl, struct fws_device *d, int64_t elapsed_ns, const struct place *at)
{
	const struct fws_fleet_config *c = &fl->config;
	float *values = at->message->values + (size_t)at->row * c->shape->field_count;
	struct fws_fault_hit hits[FWS_FAULTS_MAX];
	struct fws_fault_reading r = {d->index, elapsed_ns, d->signal.sigma, values, &d->rng};
	uint8_t anomaly;

	if (!fws_signal_read(c->signals, &d->signal, fl->start_ns + elapsed_ns, values, &anomaly))
		return false;

	uint32_t n = fws_fault_apply(c->faults, c->fault_count, d->faults, &r, hits);

	if (!c->labels)
		return true;
	if (anomaly)
		write_label(fl, at, "recorded", NULL);
	for (uint32_t i = 0; i < n; i++)
		write_label(fl, at, fws_fault_name(c->faults[hits[i].fault].kind), &hits[i]);
	return true;
}

static bool asleep(const struct fws_fleet_config *c, const struct fws_device *d, int64_t now_ns)
{
	int64_t every_ns = (int64_t)(c->sleep_every_s * 1e9);

	return every_ns > 0 &&
	       (now_ns + d->sleep_phase_ns) % every_ns < (int64_t)(c->sleep_s * 1e9);
}

/* Unix time by the device's clock. */
static int64_t clock_at(const struct fws_fleet *fl, const struct fws_device *d, int64_t elapsed_ns)
{
	const struct fws_fleet_config *c = &fl->config;
	double ahead_ns = (double)elapsed_ns * d->drift;

	if (c->lapse > 1)
		ahead_ns += (c->lapse - 1) * (double)(elapsed_ns - c->lapse_ends_ns);
	return fl->start_ns + elapsed_ns + d->offset_ns + (int64_t)ahead_ns;
}

/* Without memory to remember a boot by, the device goes on with the one it has. */
static void restart(const struct fws_fleet_config *c, struct fws_device *d, int64_t elapsed_ns)
{
	struct fws_boot *b = malloc(sizeof(*b));
	uint32_t number = (uint32_t)fws_rng_next(&d->rng);

	plan_restart(d, c, elapsed_ns);
	if (!b)
		return;
	d->boot = number;
	d->sequence = 0;
	*b = (struct fws_boot){newest_boot(d), number, 0};
	atomic_store_explicit(&d->newest, b, memory_order_release); /* B2 */
}

/*
 * The readings that a message holds were taken since the last one, at the period or, when messages
 * follow each other faster than that, evenly.
 */
enum fws_wake fws_device_message(struct fws_fleet *fl, struct fws_device *d, int64_t elapsed_ns,
	uint32_t nth, struct fws_message *m)
{
	const struct fws_fleet_config *c = &fl->config;
	int64_t to_come = (int64_t)(c->batch - 1 - nth) * c->readings;
	int64_t step_ns = c->period_ns;

	if (d->ended)
		return FWS_ENDED;
	if (asleep(c, d, elapsed_ns))
		return FWS_ASLEEP;
	if (elapsed_ns >= d->restart_ns)
		restart(c, d, elapsed_ns);
	if (d->last_ns >= 0 && elapsed_ns - d->last_ns < step_ns * (to_come + c->readings))
		step_ns = (elapsed_ns - d->last_ns) / (to_come + c->readings);
	m->id = d->id;
	m->id_len = d->id_len;
	m->boot = d->boot;
	m->sequence = d->sequence;
	m->count = 0;

	int64_t first_ns = elapsed_ns - step_ns * (to_come + c->readings - 1);
	int64_t newest_ns = clock_at(fl, d, first_ns + step_ns * (c->readings - 1));
	int64_t unit_ns = fws_time_unit_ns(c->shape, newest_ns - clock_at(fl, d, first_ns));

	for (uint32_t i = 0; i < c->readings; i++) {
		int64_t at_ns = first_ns + step_ns * i;
		int64_t before = fws_time_units(newest_ns - clock_at(fl, d, at_ns), unit_ns);

		/* In whole units, so that labels say what is sent. */
		m->time_ns[i] = newest_ns - before * unit_ns;
		if (!read_row(fl, d, at_ns, &(struct place){m, i})) {
			d->ended = true;
			break;
		}
		m->count++;
		d->last_ns = at_ns;
	}
	if (!m->count)
		return FWS_ENDED;
	d->sequence += fws_message_numbers(c->shape, m);
	atomic_store_explicit(&newest_boot(d)->used, d->sequence, memory_order_release); /* B1 */
	return FWS_READY;
}

void fws_device_reschedule(const struct fws_fleet *fl, struct fws_device *d)
{
	const struct fws_fleet_config *c = &fl->config;
	int64_t wake_ns = c->period_ns * c->readings * c->batch, due_ns;

	d->nominal_ns += wake_ns;
	due_ns = d->nominal_ns +
		 (int64_t)(c->jitter * (double)c->period_ns * (double)fws_rng_normal(&d->rng));
	d->due_ns = due_ns > d->due_ns ? due_ns : d->due_ns + 1; /* never back in time */
}
