/* Log-linear histogram of nanoseconds: 64 buckets an octave, so a percentile is right within 1.6 %.
 */
#pragma once

#include <stdint.h>

enum { FWS_HIST_BUCKETS = 60 * 64 };

struct fws_hist {
	uint64_t count, negative; /* negative: a clock ahead of ours; counted as 0 */
	int64_t max_ns;
	uint64_t buckets[FWS_HIST_BUCKETS];
};

static inline void fws_hist_add(struct fws_hist *h, int64_t ns)
{
	uint64_t v = ns > 0 ? (uint64_t)ns : 0;
	uint32_t octave = v < 64 ? 0 : 58 - (uint32_t)__builtin_clzll(v);

	h->count++;
	h->negative += ns < 0;
	h->max_ns = ns > h->max_ns ? ns : h->max_ns;
	h->buckets[v < 64 ? v : octave * 64 + (v >> (octave - 1)) - 64]++;
}

/* The upper bound of the bucket that the share q (0..1) of all values reaches; 0 when empty. */
static inline int64_t fws_hist_quantile(const struct fws_hist *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->count), sum = 0;

	for (uint32_t i = 0; i < FWS_HIST_BUCKETS; i++) {
		sum += h->buckets[i];
		if (sum <= want && sum < h->count)
			continue;
		if (!sum)
			continue;

		uint64_t bound = i < 64 ? i : (uint64_t)(i % 64 + 64 + 1) << (i / 64 - 1);

		return (int64_t)bound < h->max_ns ? (int64_t)bound : h->max_ns;
	}
	return h->max_ns;
}
