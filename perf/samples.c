#include "perf/samples.h"

#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES_MAX = 1 << 23 };

void pf_sample(struct pf_samples *s, int64_t ns)
{
	if (!s->us)
		s->us = malloc(SAMPLES_MAX * sizeof(*s->us));
	if (!s->us)
		abort();
	if (ns < 0) {
		s->below_zero++;
		ns = 0;
	}
	if (s->count < SAMPLES_MAX)
		s->us[s->count++] = ns / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 1000);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void pf_samples_print(const char *name, struct pf_samples *s)
{
	static const double at[] = {0.5, 0.9, 0.99, 0.999, 1};
	static const char *const names[] = {"p50", "p90", "p99", "p999", "max"};

	if (s->count)
		qsort(s->us, s->count, sizeof(s->us[0]), compare);
	printf("\"%s\":{\"count\":%zu,\"below_zero\":%llu", name, s->count,
		(unsigned long long)s->below_zero);
	for (int i = 0; s->count && i < 5; i++)
		printf(",\"%s\":%u", names[i], s->us[(size_t)((double)(s->count - 1) * at[i])]);
	printf("}");
}
