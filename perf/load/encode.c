/* One datagram; all that is done for each, so no printf: it would cost more than the sending. */
#include <string.h>

#include "dataplane/decode/wire.h"
#include "perf/load/load.h"

#define READING_STEP_NS 1000000ll
#define FIRMWARE	"2.14.0+build.20240611.a1b2c3" /* brings a binary reading to 100 bytes */

enum { ID_BYTES = 17 };

/* What sensors send: steps of their converters, so 21.37 and not 21.370000839. */
static const struct {
	const char *name;
	uint32_t low, range, decimals;
} fields[PF_FIELDS] = {
	{"temperature", 1500, 1500, 2},
	{"humidity", 3000, 4000, 2},
	{"voltage", 2200, 900, 3},
	{"light", 10, 900, 0},
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static uint32_t steps_of(uint64_t noise, uint32_t field)
{
	return fields[field].low +
	       (uint32_t)((noise >> 16 * field & 0xffff) * fields[field].range >> 16);
}

static char *put(char *p, const char *text, size_t bytes)
{
	memcpy(p, text, bytes);
	return p + bytes;
}

#define PUT(p, literal) put((p), (literal), sizeof(literal) - 1)

static char *put_number(char *p, uint64_t v, uint32_t digits_min)
{
	char digits[20];
	uint32_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) || n < digits_min);
	while (n)
		*p++ = digits[--n];
	return p;
}

static char *put_value(char *p, uint64_t noise, uint32_t field)
{
	static const uint32_t power[] = {1, 10, 100, 1000};
	uint32_t steps = steps_of(noise, field), one = power[fields[field].decimals];

	p = put_number(p, steps / one, 1);
	if (one == 1)
		return p;
	*p++ = '.';
	return put_number(p, steps % one, fields[field].decimals);
}

/* A MAC address, as many radios report themselves. */
static char *put_id(char *p, uint32_t sensor)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t mac = 0x001b44000000ull | sensor;

	for (int i = 5; i >= 0; i--) {
		*p++ = hex[mac >> (8 * i + 4) & 15];
		*p++ = hex[mac >> (8 * i) & 15];
		*p++ = ':';
	}
	return p - 1;
}

static char *put_binary(char *p, const struct pf_load *l, uint64_t n, int64_t time_ns)
{
	static const float one[PF_FIELDS] = {0.01f, 0.01f, 0.001f, 1};
	struct dp_wire_head head = {.magic = DP_WIRE_MAGIC,
		.version = DP_WIRE_VERSION,
		.flags = DP_WIRE_NUMBERED | DP_WIRE_TAGS,
		.stream = (uint16_t)(1 + n % l->sensors % l->streams),
		.id_len = ID_BYTES,
		.count = (uint8_t)l->readings,
		.boot = l->boot,
		.field_count = PF_FIELDS,
		.sequence = n / l->sensors,
		.base_time_ns = time_ns};

	p = put(p, (const char *)&head, sizeof(head));
	p = put_id(p, (uint32_t)(n % l->sensors));
	*p++ = 1;
	*p++ = sizeof(FIRMWARE) - 1;
	p = PUT(p, FIRMWARE);
	for (uint32_t i = 0; i < l->readings; i++) {
		int32_t delta_us = -(int32_t)((l->readings - 1 - i) * (READING_STEP_NS / 1000));
		uint64_t noise = mix(n * PF_READINGS_MAX + i + 1);

		p = put(p, (const char *)&delta_us, sizeof(delta_us));
		*p++ = (1 << PF_FIELDS) - 1;
		for (uint32_t f = 0; f < PF_FIELDS; f++) {
			float v = (float)steps_of(noise, f) * one[f];

			p = put(p, (const char *)&v, sizeof(v));
		}
	}
	return p;
}

static char *put_object(char *p, uint32_t sensor, int64_t time_ns, uint64_t noise)
{
	p = PUT(p, "{\"sensor\":\"");
	p = put_id(p, sensor);
	p = PUT(p, "\",\"time\":");
	p = put_number(p, (uint64_t)time_ns, 1);
	for (uint32_t f = 0; f < PF_FIELDS; f++) {
		p = PUT(p, ",\"");
		p = put(p, fields[f].name, strlen(fields[f].name));
		p = PUT(p, "\":");
		p = put_value(p, noise, f);
	}
	*p++ = '}';
	return p;
}

static char *put_line(char *p, uint32_t sensor, int64_t time_ns, uint64_t noise)
{
	p = PUT(p, "sensors,sensor=");
	p = put_id(p, sensor);
	for (uint32_t f = 0; f < PF_FIELDS; f++) {
		*p++ = f ? ',' : ' ';
		p = put(p, fields[f].name, strlen(fields[f].name));
		*p++ = '=';
		p = put_value(p, noise, f);
	}
	*p++ = ' ';
	p = put_number(p, (uint64_t)time_ns, 1);
	*p++ = '\n';
	return p;
}

static char *put_text(char *p, const struct pf_load *l, uint64_t n, int64_t time_ns)
{
	uint32_t sensor = (uint32_t)(n % l->sensors);
	int64_t first_ns = time_ns - (l->readings - 1) * READING_STEP_NS;

	for (uint32_t i = 0; i < l->readings; i++) {
		uint64_t noise = mix(n * PF_READINGS_MAX + i + 1);
		int64_t at_ns = first_ns + i * READING_STEP_NS;

		if (l->form == PF_INFLUX) {
			p = put_line(p, sensor, at_ns, noise);
			continue;
		}
		if (l->readings > 1)
			*p++ = i ? ',' : '[';
		p = put_object(p, sensor, at_ns, noise);
	}
	if (l->form == PF_JSON && l->readings > 1)
		*p++ = ']';
	return p;
}

size_t pf_encode(const struct pf_load *l, uint64_t n, int64_t time_ns, char *out)
{
	char *end = l->form == PF_BINARY ? put_binary(out, l, n, time_ns)
					 : put_text(out, l, n, time_ns);

	return (size_t)(end - out);
}
