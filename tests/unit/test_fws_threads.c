/*
 * Devices on several threads that share a label file, and another thread that asks what was sent,
 * as a verification does. A plain program: criterion's own memory does not go together with
 * ThreadSanitizer's.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "firmware-sim/device.h"

#ifdef NDEBUG
#error the checks of this program are asserts
#endif

enum { THREADS = 4, MESSAGES = 20000 };

#define START_NS 1700000000000000000ll

struct sending {
	pthread_t thread;
	uint32_t device;
	uint64_t restarts;
	atomic_uint_fast64_t last; /* boot << 32 | sequence of what was sent last, once there is */
};

static const struct fws_shape shape = {.format = FWS_BINARY,
	.stream = 1,
	.numbered = true,
	.field_count = 1,
	.fields = {"temperature"}};
static struct fws_fleet fleet;
static struct sending sending[THREADS];
static atomic_bool done;

static void *send_all(void *arg)
{
	struct sending *s = arg;
	float value;
	struct fws_message m = {.values = &value};

	for (int i = 0; i < MESSAGES; i++) {
		enum fws_wake wake = fws_device_message(
			&fleet, &fleet.devices[s->device], i * FWS_NS_PER_MS, 0, &m);

		assert(wake == FWS_READY);
		s->restarts += i && !m.sequence;
		atomic_store_explicit(
			&s->last, (uint64_t)m.boot << 32 | m.sequence, memory_order_release);
	}
	return NULL;
}

static void *ask_all(void *arg)
{
	uint64_t *asked = arg;

	while (!atomic_load(&done)) {
		for (uint32_t i = 0; i < THREADS; i++) {
			/* Walks all boots, also one that is just being made. */
			assert(!fws_fleet_sent(&fleet, i, 0, 0));

			uint64_t last =
				atomic_load_explicit(&sending[i].last, memory_order_acquire);

			assert(!last ||
				fws_fleet_sent(&fleet, i, (uint32_t)(last >> 32), (uint32_t)last));
			*asked += last != 0;
		}
	}
	return NULL;
}

/* Every line is whole, and a device's lines are in its order. */
static void check_labels(FILE *labels)
{
	uint64_t lines[THREADS] = {0};
	long long before[THREADS] = {0};
	char line[300];

	rewind(labels);
	while (fgets(line, sizeof(line), labels)) {
		char sensor[40], fault[40];
		long long event_ns;
		unsigned boot, seq;
		float truth, sent, off;
		int used = 0;

		assert(sscanf(line, "%lld,%39[^,],%u,%u,0,temperature,%39[^,],%f,%f,%f%n",
			       &event_ns, sensor, &boot, &seq, fault, &truth, &sent, &off,
			       &used) == 8);
		assert(!strcmp(line + used, "\n") && !strcmp(fault, "noise"));

		int device = sensor[strlen(sensor) - 1] - '1';

		assert(device >= 0 && device < THREADS && event_ns > before[device]);
		before[device] = event_ns;
		lines[device]++;
	}
	for (int i = 0; i < THREADS; i++)
		assert(lines[i] == MESSAGES);
}

int main(void)
{
	struct fws_signal_set signals;
	struct fws_fault fault;
	const char *why;
	uint64_t asked = 0, restarts = 0;
	pthread_t asking;
	FILE *labels = tmpfile();

	assert(labels);
	fws_signal_init(&signals, &shape, true);
	assert(fws_fault_parse(&fault, "noise,for=1000", &shape, &why) == 0);

	const struct fws_fleet_config config = {.shape = &shape,
		.signals = &signals,
		.id_prefix = "sensor-",
		.sensors = THREADS,
		.readings = 1,
		.batch = 1,
		.seed = 42,
		.period_ns = FWS_NS_PER_S,
		.restart_s = 0.5,
		.faults = &fault,
		.fault_count = 1,
		.labels = labels};

	assert(fws_fleet_init(&fleet, &config, START_NS) == 0);
	assert(pthread_create(&asking, NULL, ask_all, &asked) == 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		sending[i].device = i;
		assert(pthread_create(&sending[i].thread, NULL, send_all, &sending[i]) == 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		assert(pthread_join(sending[i].thread, NULL) == 0);
		restarts += sending[i].restarts;
	}
	atomic_store(&done, true);
	assert(pthread_join(asking, NULL) == 0);
	check_labels(labels);
	fclose(labels);
	assert(restarts > THREADS);
	printf("%d labels, %lu restarts, asked %lu times\n", THREADS * MESSAGES,
		(unsigned long)restarts, (unsigned long)asked);
	fws_fleet_fini(&fleet);
	fws_signal_fini(&signals);
	return 0;
}
