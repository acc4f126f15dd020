/* Numbers as JSON text.  Nothing here terminates what it writes, or allocates. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DP_NUMBER_BYTES_MAX = 32, DP_TIME_TEXT_BYTES_MAX = 32 };

/* Decimal digits; bytes written, at most 20. */
size_t dp_number_u64(uint64_t v, char *out);

/*
 * Shortest text that reads back as the same float or double; finite values only.  Always with a
 * fraction or an exponent, so that no reader takes one value for an integer and the next for a
 * float. `out` has DP_NUMBER_BYTES_MAX bytes. Bytes written.
 */
size_t dp_number_f32(float v, char *out);
size_t dp_number_f64(double v, char *out);

/* What the two above fall back to: std::to_chars. */
#ifdef __cplusplus
extern "C" {
#endif
size_t dp_number_shortest_f32(float v, char *out);
size_t dp_number_shortest_f64(double v, char *out);
#ifdef __cplusplus
}
#endif

/* "2026-01-31T23:59:59" of the second last written: most readings share one. */
struct dp_time_text {
	int64_t second;
	char text[20]; /* empty: nothing there yet */
};

/*
 * ISO 8601 in UTC with 3, 6 or 9 digits of fraction, the fewest that lose nothing.  Years 1678 to
 * 2262: all that an int64 of nanoseconds holds. `out` has DP_TIME_TEXT_BYTES_MAX bytes.
 */
size_t dp_number_time(struct dp_time_text *last, int64_t unix_ns, char *out);

/* 16 hexadecimal digits, lower case, highest first. */
void dp_number_hex(uint64_t v, char out[16]);
