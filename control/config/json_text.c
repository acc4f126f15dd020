/* Shortens the numbers of a document that jansson wrote. */
#include "control/config/json_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 40 };

/* Behind the string that begins at the quote `at`. */
static const char *behind_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

/*
 * The number text[length] with the fewest digits into `out`: 15 bring back whatever was written
 * with 15 or less, 17 bring back all. Never longer than it was, so that it fits in its place.
 */
static size_t shorten(const char *text, size_t length, char out[NUMBER_BYTES])
{
	double value = strtod(text, NULL);

	for (int digits = 15; digits < 17; digits++) {
		size_t n = (size_t)snprintf(out, NUMBER_BYTES, "%.*g", digits, value);

		if (strtod(out, NULL) != value)
			continue;
		if (!strpbrk(out, ".e")) { /* a real number stays one to see */
			strcpy(out + n, ".0");
			n += 2;
		}
		if (n < length)
			return n;
	}
	memcpy(out, text, length);
	return length;
}

/* Bytes of what begins at `at`: a string, a number, or one character. */
static size_t token(const char *at, bool *real)
{
	size_t length = strspn(at, "+-.eE0123456789");

	*real = false;
	if (*at == '"')
		return (size_t)(behind_string(at) - at);
	if (*at != '-' && (*at < '0' || *at > '9'))
		return 1;
	*real = length < NUMBER_BYTES && strcspn(at, ".eE") < length;
	return length;
}

char *ctl_json_text(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags), *to = text;
	char number[NUMBER_BYTES];
	bool real;

	if (!text)
		return NULL;
	for (const char *at = text; *at;) {
		size_t length = token(at, &real), n = real ? shorten(at, length, number) : length;

		memmove(to, real ? number : at, n);
		to += n;
		at += length;
	}
	*to = 0;
	return text;
}
