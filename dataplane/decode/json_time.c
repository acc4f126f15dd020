/* Event times of JSON readings: ISO 8601 text and epoch numbers to Unix nanoseconds. */
#include "dataplane/decode/json_time.h"

#include <math.h>

#include "dataplane/decode/decode.h"

struct scan {
	const char *src, *end;
};

/* Exactly `digits` decimal digits. */
static bool take_number(struct scan *s, int digits, int *number)
{
	int n = 0;

	if (s->end - s->src < digits)
		return false;
	for (int i = 0; i < digits; i++, s->src++) {
		if (*s->src < '0' || *s->src > '9')
			return false;
		n = n * 10 + (*s->src - '0');
	}
	*number = n;
	return true;
}

static bool take_char(struct scan *s, char c)
{
	if (s->src == s->end || *s->src != c)
		return false;
	s->src++;
	return true;
}

/* Days from 1970-01-01, proleptic Gregorian (H. Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms") */
static int64_t days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = y / 400, year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static int days_in_month(int year, int month)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* YYYY-MM-DD or YYYYMMDD; which of the two in *extended. */
static bool take_date(struct scan *s, bool *extended, int64_t *days)
{
	int year, month, day;

	if (!take_number(s, 4, &year))
		return false;
	*extended = take_char(s, '-');
	if (!take_number(s, 2, &month) || (*extended && !take_char(s, '-')) ||
		!take_number(s, 2, &day))
		return false;
	if (year < 1969 || year > 2201 || month < 1 || month > 12 || day < 1 ||
		day > days_in_month(year, month))
		return false;
	*days = days_from_civil(year, month, day);
	return true;
}

/* hh:mm[:ss[.fraction]] or without colons; *leap when the second is 60. */
static bool take_clock(struct scan *s, bool extended, int64_t *ns, bool *leap)
{
	int hour, minute, second = 0;
	int64_t fraction = 0, unit = DP_NS_PER_S;

	if (!take_number(s, 2, &hour) || (extended && !take_char(s, ':')) ||
		!take_number(s, 2, &minute))
		return false;
	if (extended ? take_char(s, ':') : s->src < s->end && *s->src >= '0' && *s->src <= '9') {
		if (!take_number(s, 2, &second))
			return false;
		if (take_char(s, '.') || take_char(s, ',')) {
			const char *first = s->src;

			for (; s->src < s->end && *s->src >= '0' && *s->src <= '9'; s->src++) {
				unit /= 10; /* 0 from the tenth digit on: cut off */
				fraction += (*s->src - '0') * unit;
			}
			if (s->src == first)
				return false;
		}
	}
	*leap = second == 60;
	*ns = (hour * 3600ll + minute * 60ll + second) * DP_NS_PER_S + fraction;
	return hour <= 23 && minute <= 59 && second <= 60;
}

/* Z, +hh, +hhmm, +hh:mm; nothing means UTC. */
static bool take_zone(struct scan *s, int64_t *offset_ns)
{
	int sign, hours, minutes = 0;

	*offset_ns = 0;
	if (s->src == s->end || take_char(s, 'Z') || take_char(s, 'z'))
		return true;
	sign = take_char(s, '+') ? 1 : take_char(s, '-') ? -1 : 0;
	if (!sign || !take_number(s, 2, &hours))
		return false;
	if (s->src < s->end) {
		(void)take_char(s, ':');
		if (!take_number(s, 2, &minutes))
			return false;
	}
	*offset_ns = sign * (hours * 3600ll + minutes * 60ll) * DP_NS_PER_S;
	return hours <= 23 && minutes <= 59;
}

static bool believed(int64_t event_ns)
{
	return event_ns >= 0 && event_ns < DP_EVENT_NS_END;
}

bool dp_json_time_text(const char *text, size_t len, int64_t *event_ns)
{
	const int64_t day_ns = 86400 * DP_NS_PER_S, minute_ns = 60 * DP_NS_PER_S;
	struct scan s = {.src = text, .end = text + len};
	int64_t days, clock_ns, offset_ns;
	bool extended, leap;

	if (!take_date(&s, &extended, &days))
		return false;
	if (!take_char(&s, 'T') && !take_char(&s, 't') && !take_char(&s, ' '))
		return false;
	if (!take_clock(&s, extended, &clock_ns, &leap) || !take_zone(&s, &offset_ns) ||
		s.src != s.end)
		return false;
	*event_ns = days * day_ns + clock_ns - offset_ns;
	/* A leap second ends a UTC day; Unix time gives it the number of the second after it. */
	if (leap && (*event_ns < 0 || *event_ns / minute_ns * minute_ns % day_ns != 0))
		return false;
	return believed(*event_ns);
}

bool dp_json_time_integer(int64_t epoch, int64_t *event_ns)
{
	int64_t unit = 1;

	if (epoch < 0)
		return false;
	if (epoch < 100000000000)
		unit = DP_NS_PER_S;
	else if (epoch < 100000000000000)
		unit = DP_NS_PER_MS;
	else if (epoch < 100000000000000000)
		unit = 1000;
	return !__builtin_mul_overflow(epoch, unit, event_ns) && believed(*event_ns);
}

bool dp_json_time_real(double epoch, int64_t *event_ns)
{
	double us;

	if (!(epoch >= 0))
		return false;
	if (epoch < 1e11)
		us = epoch * 1e6;
	else if (epoch < 1e14)
		us = epoch * 1e3;
	else if (epoch < 1e17)
		us = epoch;
	else
		us = epoch / 1e3;
	if (us >= (double)(DP_EVENT_NS_END / 1000))
		return false;
	*event_ns = (int64_t)floor(us + 0.5) * 1000;
	return believed(*event_ns);
}
