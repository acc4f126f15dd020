/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "models/bundle/text.h"

#include <stdint.h>
#include <string.h>

/* The code point at s and its length; 0: malformed. */
static size_t point_at(const uint8_t *s, size_t left, uint32_t *point)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	size_t follow = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;

	*point = follow ? s[0] & (0x3fu >> follow) : s[0];
	if ((s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4 || follow >= left)
		return 0;
	for (size_t i = 1; i <= follow; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (s[i] & 0x3f);
	}
	if (*point < least[follow] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
		return 0;
	return follow + 1;
}

bool mdl_text_printable(const char *text, size_t bytes)
{
	const uint8_t *at = (const uint8_t *)text;
	uint32_t point;

	for (size_t i = 0, n; i < bytes; i += n) {
		n = point_at(at + i, bytes - i, &point);
		if (!n || point < 0x20 || (point >= 0x7f && point < 0xa0))
			return false;
	}
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool mdl_text_object(const char *text, size_t bytes)
{
	const uint8_t *at = (const uint8_t *)text;
	size_t first = 0, end = bytes;
	uint32_t point;

	for (size_t i = 0, n; i < bytes; i += n) {
		n = point_at(at + i, bytes - i, &point);
		if (!n || (point < 0x20 && !is_blank((char)point)))
			return false;
	}
	while (first < end && is_blank(text[first]))
		first++;
	while (end > first && is_blank(text[end - 1]))
		end--;
	return end - first >= 2 && text[first] == '{' && text[end - 1] == '}';
}

size_t mdl_text_field(const char *text, size_t bytes)
{
	size_t n = strnlen(text, bytes);

	if (n == bytes)
		return SIZE_MAX;
	for (size_t i = n; i < bytes; i++)
		if (text[i])
			return SIZE_MAX;
	return n;
}
