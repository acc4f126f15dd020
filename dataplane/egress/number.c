/* Numbers as JSON text: two digits at a time, and short decimals without a search for them. */
#include "dataplane/egress/number.h"

#include <math.h>
#include <string.h>

static const char two_digits[] = "0001020304050607080910111213141516171819"
				 "2021222324252627282930313233343536373839"
				 "4041424344454647484950515253545556575859"
				 "6061626364656667686970717273747576777879"
				 "8081828384858687888990919293949596979899";

static inline char *put_two(char *p, uint32_t v)
{
	memcpy(p, two_digits + 2 * (size_t)v, 2);
	return p + 2;
}

static inline size_t digits_u64(uint64_t v)
{
	uint64_t limit = 10;
	size_t n = 1;

	while (n < 20 && v >= limit) {
		n++;
		limit *= 10;
	}
	return n;
}

size_t dp_number_u64(uint64_t v, char *out)
{
	size_t n = digits_u64(v);
	char *p = out + n;

	while (v >= 100) {
		p -= 2;
		memcpy(p, two_digits + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10)
		memcpy(p - 2, two_digits + 2 * v, 2);
	else
		p[-1] = (char)('0' + v);
	return n;
}

/*
 * Sensor values are mostly short decimals.  Below 2^top a float is spaced by less than 10^-places,
 * so at most one multiple of 10^-places reads back as it; where one does, no shorter decimal can
 * but the same one without its zeros.  v * 10^places is exact in a double (24 + 14 bits), and a
 * division of integers this small never lands on a tie of floats. (9 ns; std::to_chars takes 30.)
 */
struct places {
	float below;
	uint32_t power;
	uint32_t count;
};

static const struct places places_of[] = {
	{512.0f, 10000, 4},
	{8192.0f, 1000, 3},
	{65536.0f, 100, 2},
	{524288.0f, 10, 1},
};

static size_t put_places(char *out, uint32_t n, const struct places *pl)
{
	uint32_t whole = n / pl->power, fraction = n % pl->power;
	size_t used = dp_number_u64(whole, out);
	uint32_t places = pl->count;

	while (places > 1 && fraction % 10 == 0) {
		fraction /= 10;
		places--;
	}
	out[used] = '.';
	for (uint32_t i = places; i > 0; i--) {
		out[used + i] = (char)('0' + fraction % 10);
		fraction /= 10;
	}
	return used + 1 + places;
}

size_t dp_number_f32(float v, char *out)
{
	float a = fabsf(v);

	for (size_t i = 0; i < sizeof(places_of) / sizeof(places_of[0]); i++) {
		const struct places *pl = &places_of[i];
		uint32_t n;

		if (!(a < pl->below))
			continue;
		n = (uint32_t)((double)a * pl->power + 0.5);
		if (n == 0 || (float)((double)n / pl->power) != a)
			break;
		*out = '-';
		return (size_t)(v < 0) + put_places(out + (v < 0), n, pl);
	}
	return dp_number_shortest_f32(v, out);
}

size_t dp_number_f64(double v, char *out)
{
	return dp_number_shortest_f64(v, out);
}

/* Days since 1970-01-01 to a civil date (H. Hinnant, "chrono-compatible low-level date
 * algorithms").
 */
static char *put_date(char *p, int64_t days)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	uint32_t doe = (uint32_t)(z - era * 146097);
	uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	uint32_t mp = (5 * doy + 2) / 153;
	uint32_t day = doy - (153 * mp + 2) / 5 + 1;
	uint32_t month = mp < 10 ? mp + 3 : mp - 9;
	uint32_t year = (uint32_t)((int64_t)yoe + era * 400 + (month <= 2));

	p = put_two(p, year / 100);
	p = put_two(p, year % 100);
	*p++ = '-';
	p = put_two(p, month);
	*p++ = '-';
	return put_two(p, day);
}

static void write_second(struct dp_time_text *t, int64_t second)
{
	int64_t days = second / 86400;
	int32_t rest = (int32_t)(second % 86400);
	char *p = t->text;

	if (rest < 0) {
		rest += 86400;
		days--;
	}
	p = put_date(p, days);
	*p++ = 'T';
	p = put_two(p, (uint32_t)rest / 3600);
	*p++ = ':';
	p = put_two(p, (uint32_t)rest / 60 % 60);
	*p++ = ':';
	p = put_two(p, (uint32_t)rest % 60);
	*p = 0;
	t->second = second;
}

static char *put_three(char *p, uint32_t v)
{
	*p = (char)('0' + v / 100);
	return put_two(p + 1, v % 100);
}

size_t dp_number_time(struct dp_time_text *last, int64_t unix_ns, char *out)
{
	int64_t second = unix_ns / 1000000000;
	int32_t ns = (int32_t)(unix_ns % 1000000000);
	uint32_t rest;
	char *p = out;

	if (ns < 0) {
		ns += 1000000000;
		second--;
	}
	if (second != last->second || !last->text[0])
		write_second(last, second);
	memcpy(p, last->text, 19);
	p += 19;
	*p++ = '.';
	p = put_three(p, (uint32_t)ns / 1000000);
	rest = (uint32_t)ns % 1000000;
	if (rest) {
		p = put_three(p, rest / 1000);
		if (rest % 1000)
			p = put_three(p, rest % 1000);
	}
	*p++ = 'Z';
	return (size_t)(p - out);
}

/* Eight digits at once: one nibble to a byte, then '0' or 'a' - 10 on each. */
static void hex_u32(uint32_t x, char out[8])
{
	uint64_t v = x, letter;

	v = (v & 0xffff0000u) << 16 | (v & 0xffffu);
	v = (v & 0x0000ff000000ff00u) << 8 | (v & 0x000000ff000000ffu);
	v = (v & 0x00f000f000f000f0u) << 4 | (v & 0x000f000f000f000fu);
	letter = (v + 0x0606060606060606u) >> 4 & 0x0101010101010101u;
	v += 0x3030303030303030u + letter * ('a' - '0' - 10);
	v = __builtin_bswap64(v);
	memcpy(out, &v, sizeof(v));
}

void dp_number_hex(uint64_t v, char out[16])
{
	hex_u32((uint32_t)(v >> 32), out);
	hex_u32((uint32_t)v, out + 8);
}
