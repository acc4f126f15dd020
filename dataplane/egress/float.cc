/*
 * Shortest decimal text that reads back as the same number: std::to_chars behind C functions.
 * printf neither finds it nor is fast.
 */
#include "dataplane/egress/number.h"

#include <charconv>
#include <cstring>

template <typename T> static std::size_t shortest(T v, char *out)
{
	char *end = std::to_chars(out, out + DP_NUMBER_BYTES_MAX - 2, v).ptr;
	std::size_t n = static_cast<std::size_t>(end - out);

	/* "21" would become an integer field in an index, and 21.5 would no longer fit there. */
	if (!std::memchr(out, '.', n) && !std::memchr(out, 'e', n)) {
		std::memcpy(end, ".0", 2);
		n += 2;
	}
	return n;
}

std::size_t dp_number_shortest_f32(float v, char *out)
{
	return shortest(v, out);
}

std::size_t dp_number_shortest_f64(double v, char *out)
{
	return shortest(v, out);
}
