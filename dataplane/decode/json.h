/*
 * JSON text to a flat list of members: the only door to simdjson.  What a member means is decided
 * in json_rows.c; here is only what the text says.  C++ behind it, no exception comes through.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dp_json_kind {
	DP_JSON_NULL = 1,
	DP_JSON_INTEGER,  /* fits i64 */
	DP_JSON_UNSIGNED, /* beyond i64, fits u64 */
	DP_JSON_REAL,	  /* written with a fraction or an exponent */
	DP_JSON_STRING,
	DP_JSON_OTHER, /* true, false, an object, an array */
};

/* Strings are unescaped, valid UTF-8, may hold NUL; they live until the next parse. */
struct dp_json_member {
	const char *key;
	uint32_t key_len;
	enum dp_json_kind kind;
	union {
		int64_t integer;
		uint64_t whole;
		double real;
		const char *string;
	} as;
	uint32_t string_len; /* DP_JSON_STRING */
};

enum dp_json_error {
	DP_JSON_E_SYNTAX = 1, /* includes a number beyond 64 bits or beyond a double */
	DP_JSON_E_UTF8,
	DP_JSON_E_COUNT, /* empty array, or more objects than DP_DATAGRAM_READINGS_MAX */
};

struct dp_json_text;

/* All memory that parsing up to DP_DATAGRAM_BYTES_MAX bytes takes. NULL when there is none. */
struct dp_json_text *dp_json_text_new(void);
void dp_json_text_free(struct dp_json_text *t);

/*
 * Parses and validates the whole of src[0, len), len <= DP_DATAGRAM_BYTES_MAX, DP_JSON_PADDING
 * bytes readable beyond.  Returns the number of objects, 1..DP_DATAGRAM_READINGS_MAX, or
 * -(dp_json_error).
 */
int dp_json_text_parse(struct dp_json_text *t, const uint8_t *src, size_t len);

/* Members of object `index` of the last parse, in order, repeated keys too; their number in *count.
 */
const struct dp_json_member *dp_json_text_object(
	const struct dp_json_text *t, uint32_t index, uint32_t *count);

#ifdef __cplusplus
}
#endif
