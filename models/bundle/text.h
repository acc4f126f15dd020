/* Text of a bundle: what may be shown without a second look. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 without control characters (C0, DEL, C1). Empty text is. */
bool mdl_text_printable(const char *text, size_t bytes);

/*
 * Well-formed UTF-8 in braces, with blanks around at most, whose only control characters are those
 * that JSON has for blanks. What lies within is for people and for who reads JSON.
 */
bool mdl_text_object(const char *text, size_t bytes);

/* Bytes up to the first zero, if all behind it are zero too and there is one; else SIZE_MAX. */
size_t mdl_text_field(const char *text, size_t bytes);
