/*
 * simdjson behind C functions.  Its DOM, not On-Demand: On-Demand leaves what nobody asks for
 * unvalidated, and a datagram is only taken when the whole of it is sound.
 */
#include "dataplane/decode/json.h"

#include <cstring>
#include <memory>
#include <new>

#include <simdjson.h>

#include "dataplane/core/limits.h"

using simdjson::dom::element_type;

/* The shortest member is `"":1,`. */
static constexpr size_t members_max = DP_DATAGRAM_BYTES_MAX / 5 + 1;

struct dp_json_text {
	simdjson::dom::parser parser{DP_DATAGRAM_BYTES_MAX};
	uint32_t object_count = 0;
	uint32_t end[DP_DATAGRAM_READINGS_MAX]; /* of each object's members */
	dp_json_member members[members_max];
};

/*
 * simdjson allocates at the first parse of a size.  A longest datagram of blanks around a value
 * makes it do so here, which also picks the kernel for this CPU.
 */
static bool warm_up(dp_json_text *t)
{
	const size_t bytes = DP_DATAGRAM_BYTES_MAX + simdjson::SIMDJSON_PADDING;
	std::unique_ptr<uint8_t[]> blank(new (std::nothrow) uint8_t[bytes]);

	if (!blank)
		return false;
	std::memset(blank.get(), ' ', bytes);
	std::memcpy(blank.get(), "{}", 2);
	return dp_json_text_parse(t, blank.get(), DP_DATAGRAM_BYTES_MAX) == 1;
}

dp_json_text *dp_json_text_new(void)
{
	std::unique_ptr<dp_json_text> t(new (std::nothrow) dp_json_text);

	if (!t || !warm_up(t.get()))
		return nullptr;
	return t.release();
}

void dp_json_text_free(dp_json_text *t)
{
	delete t;
}

static void take_value(simdjson::dom::element value, dp_json_member *m)
{
	switch (value.type()) {
	case element_type::NULL_VALUE:
		m->kind = DP_JSON_NULL;
		break;
	case element_type::INT64:
		m->kind = DP_JSON_INTEGER;
		m->as.integer = value.get_int64().value_unsafe();
		break;
	case element_type::UINT64:
		m->kind = DP_JSON_UNSIGNED;
		m->as.whole = value.get_uint64().value_unsafe();
		break;
	case element_type::DOUBLE:
		m->kind = DP_JSON_REAL;
		m->as.real = value.get_double().value_unsafe();
		break;
	case element_type::STRING:
		m->kind = DP_JSON_STRING;
		m->as.string = value.get_c_str().value_unsafe();
		m->string_len = static_cast<uint32_t>(value.get_string_length().value_unsafe());
		break;
	default:
		m->kind = DP_JSON_OTHER;
	}
}

/* False when the element is no object. */
static bool take_object(dp_json_text *t, simdjson::dom::element e)
{
	simdjson::dom::object object;
	uint32_t at = t->object_count ? t->end[t->object_count - 1] : 0;

	if (e.get(object))
		return false;
	for (auto field : object) {
		dp_json_member *m = &t->members[at++];

		m->key = field.key.data();
		m->key_len = static_cast<uint32_t>(field.key.size());
		take_value(field.value, m);
	}
	t->end[t->object_count++] = at;
	return true;
}

int dp_json_text_parse(dp_json_text *t, const uint8_t *src, size_t len)
{
	simdjson::dom::element root;
	simdjson::dom::array array;
	simdjson::error_code error = t->parser.parse(src, len, false).get(root);

	t->object_count = 0;
	if (error)
		return error == simdjson::UTF8_ERROR ? -DP_JSON_E_UTF8 : -DP_JSON_E_SYNTAX;
	if (root.get(array))
		return take_object(t, root) ? 1 : -DP_JSON_E_SYNTAX;
	for (simdjson::dom::element e : array) {
		if (t->object_count == DP_DATAGRAM_READINGS_MAX)
			return -DP_JSON_E_COUNT;
		if (!take_object(t, e))
			return -DP_JSON_E_SYNTAX;
	}
	return t->object_count ? static_cast<int>(t->object_count) : -DP_JSON_E_COUNT;
}

const dp_json_member *dp_json_text_object(const dp_json_text *t, uint32_t index, uint32_t *count)
{
	uint32_t begin = index ? t->end[index - 1] : 0;

	*count = t->end[index] - begin;
	return t->members + begin;
}
