/* JSON as text, with numbers that people can read. */
#pragma once

#include <jansson.h>

/*
 * json_dumps() with these flags, but each real number with the fewest digits, from 15 on, that read
 * back as the same number, where jansson writes all 17: 52.52, not 52.520000000000003. To be freed;
 * NULL without memory.
 */
char *ctl_json_text(const json_t *json, size_t flags);
