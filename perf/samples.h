/* Times in microseconds, kept one by one, as percentiles at the end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pf_samples {
	uint32_t *us; /* NULL until the first */
	size_t count;
	uint64_t below_zero; /* taken as 0: penstockd's clock is that of its turn, read before the
				packets */
};

/* Exits when there is no memory; beyond some millions further ones are left out. */
void pf_sample(struct pf_samples *s, int64_t ns);

/* Prints "NAME":{"count":..,"below_zero":..,"p50":..,"p90":..,"p99":..,"p999":..,"max":..}; sorts.
 */
void pf_samples_print(const char *name, struct pf_samples *s);
