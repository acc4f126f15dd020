/*
 * A scanner for the records that come back: top-level keys of one object, all else skipped.  It is
 * no validator; the appliance's output is checked as JSON by the system tests.
 */
#include "firmware-sim/record.h"

#include <string.h>

struct span {
	const char *at;
	size_t len;
};

static bool is(const struct span *s, const char *word)
{
	return s->len == strlen(word) && !memcmp(s->at, word, s->len);
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* From the opening quote past the closing one; *s = what is between. NULL: no end. */
static const char *take_string(const char *p, const char *end, struct span *s)
{
	s->at = ++p;
	while (p < end && *p != '"')
		p += *p == '\\' ? 2 : 1;
	if (p >= end)
		return NULL;
	s->len = (size_t)(p - s->at);
	return p + 1;
}

/* Past one value of any kind; *s = its text, of a string what is between the quotes. */
static const char *take_value(const char *p, const char *end, struct span *s)
{
	uint32_t depth = 0;

	if (p < end && *p == '"')
		return take_string(p, end, s);
	s->at = p;
	for (; p < end; p++) {
		struct span inner;

		if (*p == '"') {
			p = take_string(p, end, &inner);
			if (!p)
				return NULL;
			p--;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (depth && (*p == '}' || *p == ']')) {
			depth--;
		} else if (!depth && (*p == ',' || *p == '}')) {
			s->len = (size_t)(p - s->at);
			return p;
		}
	}
	return NULL;
}

static bool take_digits(const char **p, const char *end, uint32_t most, uint64_t *v)
{
	const char *from = *p;

	for (*v = 0; *p < end && (uint32_t)(*p - from) < most && **p >= '0' && **p <= '9'; (*p)++)
		*v = *v * 10 + (uint64_t)(**p - '0');
	return *p > from;
}

/* Days from 1970-01-01 (Howard Hinnant, chrono-compatible low-level date algorithms). */
static int64_t days_from_civil(int64_t y, uint64_t m, uint64_t d)
{
	y -= m <= 2;

	uint64_t yoe = (uint64_t)(y % 400), doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;

	return y / 400 * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

bool fws_record_time(const char *text, size_t len, int64_t *ns)
{
	const char *p = text, *end = text + len;
	uint64_t part[6] = {0}, fraction = 0;

	if (!take_digits(&p, end, 20, &part[0]))
		return false;
	if (p == end) {
		*ns = (int64_t)part[0];
		return true;
	}
	for (int i = 1; i < 6; i++) {
		if (p == end || *p++ != "0--T::"[i] || !take_digits(&p, end, 2, &part[i]))
			return false;
	}
	if (p < end && *p == '.') {
		const char *from = ++p;

		if (!take_digits(&p, end, 9, &fraction))
			return false;
		for (long n = p - from; n < 9; n++)
			fraction *= 10;
	}
	if (part[1] < 1 || part[1] > 12 || part[0] < 1970 || part[0] > 2261)
		return false;
	*ns = ((days_from_civil((int64_t)part[0], part[1], part[2]) * 24 + (int64_t)part[3]) *
			      3600 +
		      (int64_t)(part[4] * 60 + part[5])) *
		      1000000000ll +
	      (int64_t)fraction;
	return true;
}

/* 32 hex digits to two words; any other id is hashed (FNV-1a), which is as good for counting. */
static void take_id(const struct span *s, uint64_t id[2])
{
	id[0] = id[1] = 0;
	for (size_t i = 0; i < s->len; i++) {
		char c = s->at[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (digit < 0 || s->len != 32) {
			id[0] = (id[0] ^ (uint8_t)c) * 0x100000001b3ull;
			id[1] = (id[1] + (uint8_t)c) * 0x9e3779b97f4a7c15ull;
		} else {
			id[i / 16] = id[i / 16] << 4 | (uint64_t)digit;
		}
	}
}

static void take_key(struct fws_record *r, const struct span *key, const struct span *v)
{
	const char *p = v->at, *end = v->at + v->len;
	uint64_t number;

	if (is(key, "id")) {
		take_id(v, r->id);
	} else if (is(key, "kind")) {
		r->is_reading = is(v, "reading");
	} else if (is(key, "sensor")) {
		r->sensor = v->at;
		r->sensor_len = v->len;
	} else if (is(key, "@timestamp")) {
		fws_record_time(v->at, v->len, &r->event_ns);
	} else if (is(key, "arrival")) {
		fws_record_time(v->at, v->len, &r->arrival_ns);
	} else if (is(key, "boot") && take_digits(&p, end, 20, &number)) {
		r->numbered = true;
		r->boot = (uint32_t)number;
	} else if (is(key, "seq") && take_digits(&p, end, 20, &number)) {
		r->seq = number;
	} else if (is(key, "index") && take_digits(&p, end, 20, &number)) {
		r->index = number;
	}
}

bool fws_record_parse(struct fws_record *r, const char *line, size_t len)
{
	const char *end = line + len, *p = skip_space(line, end);

	*r = (struct fws_record){0};
	if (p == end || *p != '{')
		return false;
	for (p = skip_space(p + 1, end); p < end && *p == '"'; p = skip_space(p, end)) {
		struct span key, value;

		p = take_string(p, end, &key);
		p = p ? skip_space(p, end) : NULL;
		if (!p || p == end || *p != ':')
			return false;
		p = take_value(skip_space(p + 1, end), end, &value);
		if (!p)
			return false;
		take_key(r, &key, &value);
		p = skip_space(p, end);
		if (p < end && *p == ',')
			p = skip_space(p + 1, end);
	}
	return p < end && *p == '}' && r->sensor && (r->id[0] || r->id[1]);
}
