/* Sensors, the air, sockets. */
#include "tests/sim/net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKET_DATAGRAMS = 512, REPEAT_WINDOW = 63 };

#define BOOT_NS (30 * DP_NS_PER_S)

static void *grow(void *list, uint32_t count, uint32_t *max, size_t each)
{
	if (count < *max)
		return list;
	*max = *max ? 2 * *max : 256;
	list = realloc(list, *max * each);
	if (!list)
		abort();
	return list;
}

/* ---- sensors ---- */

static void boot(struct sim *s, struct sim_sensor *sensor)
{
	sensor->boot_before = sensor->boot;
	sensor->booted_ns = s->now.real_ns;
	sensor->boot = (uint32_t)sim_random(s);
	sensor->next_seq = sim_chance(s, 1000) ? sim_random(s) >> 20 : 0;
	sensor->clock_off_ns = sim_between(s, -2 * DP_NS_PER_S, 2 * DP_NS_PER_S);
}

struct sim_net *sim_net_new(struct sim *s, const struct sim_config *c)
{
	struct sim_net *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->sim = s;
	n->config = c;
	n->sensor_count = c->sensors * c->set.count;
	n->sensors = calloc(n->sensor_count, sizeof(*n->sensors));
	if (!n->sensors)
		abort();
	for (uint32_t i = 0; i < n->sensor_count; i++) {
		struct sim_sensor *sensor = &n->sensors[i];

		snprintf(sensor->id, sizeof(sensor->id), "dev%u", i / c->set.count % 100);
		sensor->id_len = (uint8_t)strlen(sensor->id);
		sensor->stream = (uint16_t)(i % c->set.count);
		sensor->json = sim_chance(s, 4000);
		sensor->numbered = sim_chance(s, 7000);
		sensor->timed = sim_chance(s, 9000);
		sensor->period_ns = (c->flood ? sim_between(s, 2, 100) : sim_between(s, 50, 3000)) *
				    DP_NS_PER_MS;
		sensor->due_ns = s->now.real_ns + sim_between(s, 0, sensor->period_ns);
		sensor->level = (float)sim_between(s, 60, 120) / 4;
		boot(s, sensor);
		sensor->boot_before = sensor->boot;
	}
	for (uint32_t i = 0; i < SIM_WORKERS_MAX; i++)
		n->queues[i] = (struct sim_queue){.net = n, .index = i};
	return n;
}

void sim_net_free(struct sim_net *n)
{
	for (uint32_t i = 0; i < n->datagram_count; i++)
		free(n->datagrams[i].bytes);
	for (uint32_t i = 0; i < SIM_WORKERS_MAX; i++)
		free(n->queues[i].list);
	free(n->datagrams);
	free(n->units);
	free(n->readings);
	free(n->air);
	free(n->delivered);
	free(n->sensors);
	free(n);
}

uint32_t sim_net_sensor(const struct sim_net *n, uint16_t stream, const char *id, size_t len)
{
	uint32_t number = 0;

	if (len < 4 || len > 5 || memcmp(id, "dev", 3) != 0 || stream >= n->config->set.count)
		return UINT32_MAX;
	for (size_t i = 3; i < len; i++)
		number = 10 * number + (uint32_t)(id[i] - '0');
	return number < n->config->sensors ? number * n->config->set.count + stream : UINT32_MAX;
}

/* ---- sending ---- */

static void add_reading(struct sim_net *n, struct sim_sensor *sensor, int64_t event_ns)
{
	struct sim *s = n->sim;
	struct sim_reading *r;

	n->readings = grow(n->readings, n->reading_count, &n->reading_max, sizeof(*n->readings));
	r = &n->readings[n->reading_count];
	*r = (struct sim_reading){.unit = n->unit_count,
		.index = (uint8_t)(n->reading_count - n->units[n->unit_count].first),
		.timed = sensor->timed,
		.event_ns = event_ns / 1000 * 1000};
	sensor->level += (float)sim_between(s, -4, 4) / 4;
	if (sensor->level < 2 || sensor->level > 60)
		sensor->level = 25;
	for (uint32_t f = 0; f < SIM_FIELDS_MAX; f++)
		r->values[f] = sensor->level + (float)f;
	if (sim_chance(s, 200)) /* a spike that alerts mind */
		r->values[1] += 40;
	for (uint32_t f = 1; f < SIM_FIELDS_MAX; f++)
		if (sim_chance(s, 500))
			r->values[f] = NAN;
	r->values[0] = (float)n->reading_count++;
}

static void add_unit(struct sim_net *n, uint32_t index, uint32_t count)
{
	struct sim_sensor *sensor = &n->sensors[index];
	struct sim *s = n->sim;
	int64_t clock = s->now.real_ns + sensor->clock_off_ns, step;
	struct sim_unit *u;

	n->units = grow(n->units, n->unit_count, &n->unit_max, sizeof(*n->units));
	u = &n->units[n->unit_count];
	*u = (struct sim_unit){.first = n->reading_count, .sensor = index};
	u->count = count;
	if (sensor->numbered) {
		u->numbered = true;
		u->boot = sensor->boot;
		u->seq = sensor->next_seq++;
	}
	for (uint32_t i = 0; i < SIM_TAGS_MAX; i++) {
		u->tag_len[i] = (uint8_t)sim_below(s, 8);
		memcpy(u->tags[i], "lot-017", 7);
	}
	if (sim_chance(s, 30)) /* a clock that is far ahead for once */
		clock += 200 * DP_NS_PER_S;
	if (sim_chance(s, 300)) /* an old reading */
		clock -= sim_between(s, 0, 40 * DP_NS_PER_S);
	step = sim_between(s, 0, sensor->period_ns / count);
	for (uint32_t i = 0; i < count; i++)
		add_reading(n, sensor, clock - (int64_t)(count - 1 - i) * step);
	n->unit_count++;
}

static void into_air(struct sim_net *n, uint32_t datagram, int64_t delay_ns)
{
	n->air = grow(n->air, n->air_count, &n->air_max, sizeof(*n->air));
	n->air[n->air_count++] = (struct sim_air){n->sim->now.steady_ns + delay_ns, datagram};
}

static void transmit(struct sim_net *n, uint32_t datagram)
{
	struct sim *s = n->sim;
	const struct sim_config *c = n->config;
	const struct sim_datagram *d = &n->datagrams[datagram];
	bool repeat = n->units[d->first].numbered && sim_chance(s, c->duplicate);

	if (s->calm) {
		into_air(n, datagram, 0);
		return;
	}
	if (!sim_chance(s, c->loss))
		into_air(n, datagram,
			sim_chance(s, c->delay) ? sim_between(s, 0, 2 * DP_NS_PER_S) : 0);
	if (repeat)
		into_air(n, datagram, sim_between(s, 0, 4 * DP_NS_PER_S));
}

static void send(struct sim_net *n, uint32_t index)
{
	struct sim *s = n->sim;
	struct sim_sensor *sensor = &n->sensors[index];
	struct sim_datagram *d;

	n->datagrams =
		grow(n->datagrams, n->datagram_count, &n->datagram_max, sizeof(*n->datagrams));
	d = &n->datagrams[n->datagram_count++];
	*d = (struct sim_datagram){.first = n->unit_count,
		.flow = index,
		.input = sensor->json ? (uint16_t)(1 + sensor->stream) : 0,
		.bad = sim_chance(s, n->config->bad),
		.sent_ns = s->now.real_ns};
	if (!sensor->json) {
		add_unit(n, index,
			1 + sim_below(s, sim_chance(s, n->config->flood ? 3000 : 500) ? 64 : 6));
	} else {
		uint32_t objects = 1 + sim_below(s, 4);

		for (uint32_t i = 0; i < objects; i++) {
			/* a JSON array may hold other sensors of its stream */
			uint32_t other = index + n->config->set.count;

			add_unit(n,
				i && sim_chance(s, 3000) && other < n->sensor_count ? other : index,
				1);
		}
	}
	d->count = n->unit_count - d->first;
	sim_encode(n, d);
	transmit(n, n->datagram_count - 1);
}

static void live(struct sim_net *n, uint32_t index)
{
	struct sim *s = n->sim;
	struct sim_sensor *sensor = &n->sensors[index];

	/* seldom enough that nothing of two boots ago is still under way */
	if (sim_chance(s, 20) && s->now.real_ns - sensor->booted_ns > BOOT_NS)
		boot(s, sensor);
	if (sim_chance(s, 20)) /* a clock that steps back and stays there */
		sensor->clock_off_ns -= 100 * DP_NS_PER_S;
	send(n, index);
	sensor->due_ns = s->now.real_ns + sim_between(s, 1, 2 * sensor->period_ns);
	if (sim_chance(s, 50)) /* asleep for long */
		sensor->due_ns += sim_between(s, 0, 80 * DP_NS_PER_S);
}

static bool repeatable(const struct sim_net *n, const struct sim_unit *u, int64_t sent_ns)
{
	const struct sim_sensor *sensor = &n->sensors[u->sensor];
	int64_t forget_ns = n->config->streams[sensor->stream].forget_ns;

	if (!u->numbered || n->sim->now.real_ns - sent_ns > forget_ns / 2)
		return false;
	return u->boot == sensor->boot && sensor->next_seq - u->seq <= REPEAT_WINDOW;
}

bool sim_net_repeatable(const struct sim_net *n, const struct sim_datagram *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (!repeatable(n, &n->units[d->first + i], d->sent_ns))
			return false;
	return !d->bad;
}

void sim_net_resend(struct sim_net *n)
{
	for (uint32_t i = 0; i < n->datagram_count; i++)
		if (sim_net_repeatable(n, &n->datagrams[i]))
			into_air(n, i, 0);
}

/*
 * The appliance knows a sensor's two latest boots, and nothing of a sensor that it has forgotten:
 * what would come after that is no longer in the air.
 */
static bool outlived(const struct sim_net *n, const struct sim_datagram *d)
{
	for (uint32_t i = 0; i < d->count; i++) {
		const struct sim_unit *u = &n->units[d->first + i];
		const struct sim_sensor *sensor = &n->sensors[u->sensor];
		const struct dp_stream *st = &n->config->streams[sensor->stream];

		if (n->sim->now.real_ns - d->sent_ns > st->forget_ns / 2)
			return true;

		if (u->numbered && u->boot != sensor->boot && u->boot != sensor->boot_before)
			return true;
	}
	return false;
}

/* ---- arriving ---- */

static void arrive(struct sim_net *n, uint32_t datagram)
{
	const struct sim_datagram *d = &n->datagrams[datagram];
	struct sim_queue *q;

	if (!n->workers || outlived(n, d))
		return;
	q = &n->queues[d->flow * 7 % n->workers];
	if (!n->sim->calm && q->tail - q->head >= SOCKET_DATAGRAMS)
		return;
	if (q->tail == q->max && q->head) {
		memmove(q->list, q->list + q->head, (q->tail - q->head) * sizeof(*q->list));
		q->tail -= q->head;
		q->head = 0;
	}
	q->list = grow(q->list, q->tail, &q->max, sizeof(*q->list));
	q->list[q->tail++] = datagram;
}

void sim_net_tick(struct sim_net *n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n->sensor_count && !n->quiet; i++)
		if (n->sensors[i].due_ns <= n->sim->now.real_ns)
			live(n, i);
	for (uint32_t i = 0; i < n->air_count; i++) {
		if (n->air[i].due_ns <= n->sim->now.steady_ns)
			arrive(n, n->air[i].datagram);
		else
			n->air[kept++] = n->air[i];
	}
	n->air_count = kept;
}

bool sim_net_empty(const struct sim_net *n)
{
	for (uint32_t i = 0; i < n->workers; i++)
		if (n->queues[i].head != n->queues[i].tail)
			return false;
	return n->air_count == 0;
}

void sim_net_start(struct sim_net *n, uint32_t workers)
{
	for (uint32_t i = 0; i < SIM_WORKERS_MAX; i++)
		n->queues[i].head = n->queues[i].tail = 0;
	n->workers = workers;
	n->delivered_count = 0;
	n->got_datagrams = n->got_bad = n->got_readings = n->got_units = 0;
}

static void note_delivered(struct sim_net *n, const struct sim_datagram *d, uint32_t queue)
{
	n->got_datagrams++;
	n->got_bad += d->bad;
	for (uint32_t i = 0; i < d->count && !d->bad; i++) {
		n->delivered = grow(
			n->delivered, n->delivered_count, &n->delivered_max, sizeof(*n->delivered));
		n->delivered[n->delivered_count++] = (struct sim_delivery){d->first + i, queue};
		n->got_units++;
		n->got_readings += n->units[d->first + i].count;
	}
}

static uint32_t burst(void *ctx, struct dp_packet *out, uint32_t max, struct dp_counters *c)
{
	struct sim_queue *q = ctx;
	struct sim_net *n = q->net;
	uint32_t count = 0, most = 1 + sim_below(n->sim, max);

	(void)c;
	while (count < most && q->head < q->tail) {
		const struct sim_datagram *d = &n->datagrams[q->list[q->head++]];

		if (outlived(n, d)) /* time has jumped while it lay in the socket */
			continue;
		note_delivered(n, d, q->index);
		out[count++] =
			(struct dp_packet){.data = d->bytes, .bytes = d->length, .input = d->input};
	}
	return count;
}

static void done(void *ctx, const struct dp_packet *packets, uint32_t count)
{
	(void)ctx;
	(void)packets;
	(void)count;
}

struct dp_source sim_net_source(struct sim_net *n, uint32_t worker)
{
	static const struct dp_source_ops ops = {.burst = burst, .done = done};

	return (struct dp_source){&ops, &n->queues[worker]};
}
