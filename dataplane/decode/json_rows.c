/*
 * JSON datagrams to rows of a batch: what each member of an object means to its stream.
 *
 * Declared keys are found by guess: senders repeat the order of their keys, so each key remembers
 * which one followed it last time; only when that fails is the key hashed.  The memory changes how
 * fast a key is found, never which.
 */
#include "dataplane/decode/decode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/decode/json.h"
#include "dataplane/decode/json_time.h"

enum role { ROLE_ID = 1, ROLE_TIME, ROLE_BOOT, ROLE_SEQ, ROLE_TAG, ROLE_FIELD };

enum {
	KEYS_MAX = 4 + DP_TAGS_MAX + DP_FIELDS_MAX,
	BUCKETS_MAX = 4096, /* a power of two, at least twice KEYS_MAX: probing ends */
	NO_KEY = UINT16_MAX,
};
_Static_assert(BUCKETS_MAX >= 2 * KEYS_MAX, "hash table too small");

struct key {
	char name[DP_NAME_BYTES_MAX];
	uint8_t len;
	uint8_t role;
	uint16_t index; /* of the tag or field */
	uint16_t next;	/* key that followed this one last time */
};

/* Declared keys of one stream. */
struct keys {
	uint16_t count, first; /* first: key that came first last time */
	uint32_t mask;	       /* buckets - 1 */
	uint16_t *bucket;      /* [mask + 1]: key index or NO_KEY */
	struct key *key;       /* [count] */
};

struct dp_json {
	struct dp_json_text *text;
	uint32_t count;
	struct keys *keys; /* [count], by stream index */
};

/* What one datagram does to the noted counters, should it be taken. */
struct noted {
	uint32_t not_finite, out_of_range, unknown_key;
};

/* One object on its way into row `row`. */
struct object {
	struct dp_batch *batch;
	uint32_t row;
	struct noted *noted;
	bool has_id, has_time, has_boot, has_seq;
};

static uint16_t *find_bucket(const struct keys *k, const char *name, size_t len)
{
	uint32_t at = (uint32_t)XXH3_64bits(name, len) & k->mask;

	for (;; at = (at + 1) & k->mask) {
		uint16_t *bucket = &k->bucket[at];

		if (*bucket == NO_KEY)
			return bucket;
		if (k->key[*bucket].len == len && memcmp(k->key[*bucket].name, name, len) == 0)
			return bucket;
	}
}

/* The first to declare a name keeps it. */
static void add_key(struct keys *k, const char *name, enum role role, uint32_t index)
{
	size_t len = strlen(name);
	uint16_t *bucket = find_bucket(k, name, len);
	struct key *key = &k->key[k->count];

	if (*bucket != NO_KEY)
		return;
	*key = (struct key){.len = (uint8_t)len, .role = (uint8_t)role, .index = (uint16_t)index};
	memcpy(key->name, name, len);
	key->next = (uint16_t)(k->count + 1);
	*bucket = k->count++;
}

static bool declared(const struct keys *k, const char *name)
{
	return *find_bucket(k, name, strlen(name)) != NO_KEY;
}

static int keys_init(struct keys *k, const struct dp_stream *s)
{
	uint32_t most = 4u + s->tag_count + s->field_count, buckets = 16;

	assert(most <= KEYS_MAX);
	while (buckets < 2 * most)
		buckets *= 2;
	*k = (struct keys){.mask = buckets - 1};
	k->bucket = malloc(buckets * sizeof(*k->bucket));
	k->key = calloc(most, sizeof(*k->key));
	if (!k->bucket || !k->key)
		return -1;
	memset(k->bucket, 0xff, buckets * sizeof(*k->bucket));

	add_key(k, s->id_key, ROLE_ID, 0);
	if (s->time_key[0])
		add_key(k, s->time_key, ROLE_TIME, 0);
	for (uint32_t i = 0; i < s->tag_count; i++)
		add_key(k, s->tags[i].name, ROLE_TAG, i);
	for (uint32_t i = 0; i < s->field_count; i++)
		add_key(k, s->fields[i].name, ROLE_FIELD, i);
	/* A stream that uses either name for data has no numbered JSON readings. */
	if (!declared(k, "boot") && !declared(k, "seq")) {
		add_key(k, "boot", ROLE_BOOT, 0);
		add_key(k, "seq", ROLE_SEQ, 0);
	}
	return 0;
}

struct dp_json *dp_json_new(const struct dp_stream_set *streams)
{
	struct dp_json *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->keys = calloc(streams->count + 1, sizeof(*p->keys));
	p->text = dp_json_text_new();
	if (!p->keys || !p->text)
		goto fail;
	for (; p->count < streams->count; p->count++)
		if (keys_init(&p->keys[p->count], &streams->streams[p->count]))
			goto fail;
	return p;
fail:
	dp_json_free(p);
	return NULL;
}

void dp_json_free(struct dp_json *p)
{
	if (!p)
		return;
	/* up to and with keys[count], which a failed dp_json_new may have left half made */
	for (uint32_t i = 0; p->keys && i <= p->count; i++) {
		free(p->keys[i].bucket);
		free(p->keys[i].key);
	}
	free(p->keys);
	if (p->text)
		dp_json_text_free(p->text);
	free(p);
}

/* Key of a member, guess first; NO_KEY when the stream does not declare it. */
static inline uint16_t find_key(
	const struct keys *k, uint16_t guess, const struct dp_json_member *m)
{
	if (guess < k->count && k->key[guess].len == m->key_len &&
		memcmp(k->key[guess].name, m->key, m->key_len) == 0)
		return guess;
	if (m->key_len > DP_NAME_BYTES_MAX)
		return NO_KEY;
	return *find_bucket(k, m->key, m->key_len);
}

/* A string, or an integer, which stands for its decimal digits. */
static enum dp_counter take_id(struct object *o, const struct dp_json_member *m)
{
	struct dp_sensor_id *id = &o->batch->id[o->row];
	uint64_t rest;
	uint8_t at = sizeof(id->bytes);

	*id = (struct dp_sensor_id){0};
	o->has_id = true;
	if (m->kind == DP_JSON_STRING) {
		if (!dp_sensor_id_valid(m->as.string, m->string_len))
			return DP_C_REJ_SENSOR_ID;
		id->len = (uint8_t)m->string_len;
		memcpy(id->bytes, m->as.string, id->len);
		return 0;
	}
	if (m->kind != DP_JSON_INTEGER && m->kind != DP_JSON_UNSIGNED)
		return DP_C_REJ_TYPE;

	rest = m->as.whole;
	if (m->kind == DP_JSON_INTEGER && m->as.integer < 0)
		rest = -rest;
	do
		id->bytes[--at] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (m->kind == DP_JSON_INTEGER && m->as.integer < 0)
		id->bytes[--at] = '-';
	id->len = (uint8_t)(sizeof(id->bytes) - at);
	memmove(id->bytes, id->bytes + at, id->len);
	memset(id->bytes + id->len, 0, sizeof(id->bytes) - id->len);
	return 0;
}

static enum dp_counter take_time(struct object *o, const struct dp_json_member *m)
{
	int64_t *event_ns = &o->batch->event_ns[o->row];
	bool good;

	o->has_time = true;
	switch (m->kind) {
	case DP_JSON_STRING:
		good = dp_json_time_text(m->as.string, m->string_len, event_ns);
		break;
	case DP_JSON_INTEGER:
		good = dp_json_time_integer(m->as.integer, event_ns);
		break;
	case DP_JSON_UNSIGNED: /* beyond 2^63 ns: the year 2262 */
		good = false;
		break;
	case DP_JSON_REAL:
		good = dp_json_time_real(m->as.real, event_ns);
		break;
	default:
		return DP_C_REJ_TYPE;
	}
	return good ? 0 : DP_C_REJ_TIME;
}

static enum dp_counter take_number(struct object *o, const struct dp_json_member *m, enum role role)
{
	if ((m->kind != DP_JSON_INTEGER || m->as.integer < 0) && m->kind != DP_JSON_UNSIGNED)
		return DP_C_REJ_TYPE;
	if (role == ROLE_SEQ) {
		o->has_seq = true;
		o->batch->seq[o->row] = m->as.whole;
		return 0;
	}
	o->has_boot = true;
	o->batch->boot[o->row] = (uint32_t)m->as.whole;
	return m->as.whole <= UINT32_MAX ? 0 : DP_C_REJ_TYPE;
}

static enum dp_counter take_tag(struct object *o, const struct dp_json_member *m, uint16_t index)
{
	struct dp_batch *b = o->batch;
	size_t at = (size_t)o->row * b->stream->tag_count + index;

	if (m->kind != DP_JSON_STRING)
		return DP_C_REJ_TYPE;
	if (m->string_len > DP_TAG_BYTES_MAX)
		return DP_C_REJ_TAG;
	b->tag_len[at] = (uint8_t)m->string_len;
	memcpy(b->tags[at], m->as.string, m->string_len);
	return 0;
}

static enum dp_counter take_value(struct object *o, const struct dp_json_member *m, uint16_t index)
{
	const struct dp_field *field = &o->batch->stream->fields[index];
	float value;

	if (m->kind == DP_JSON_REAL)
		value = (float)m->as.real;
	else if (m->kind == DP_JSON_INTEGER)
		value = (float)m->as.integer;
	else if (m->kind == DP_JSON_UNSIGNED)
		value = (float)m->as.whole;
	else
		return DP_C_REJ_TYPE;
	if (!isfinite(value)) { /* a double beyond f32 */
		o->noted->not_finite++;
		return 0;
	}
	if (value < field->min || value > field->max) {
		o->noted->out_of_range++;
		o->batch->flags[o->row] |= DP_ROW_OUT_OF_RANGE;
	}
	dp_batch_row_values(o->batch, o->row)[index] = value;
	return 0;
}

static enum dp_counter take_member(
	struct object *o, const struct dp_json_member *m, const struct key *key)
{
	if (m->kind == DP_JSON_NULL)
		return 0; /* as if absent */
	switch ((enum role)key->role) {
	case ROLE_ID:
		return take_id(o, m);
	case ROLE_TIME:
		return take_time(o, m);
	case ROLE_BOOT:
	case ROLE_SEQ:
		return take_number(o, m, key->role);
	case ROLE_TAG:
		return take_tag(o, m, key->index);
	case ROLE_FIELD:
		break;
	}
	return take_value(o, m, key->index);
}

static void blank_row(struct dp_batch *b, uint32_t row, int64_t arrival_ns)
{
	const struct dp_stream *s = b->stream;
	float *values = dp_batch_row_values(b, row);

	for (uint32_t f = 0; f < s->field_count; f++)
		values[f] = NAN;
	for (uint32_t t = 0; t < s->tag_count; t++)
		b->tag_len[(size_t)row * s->tag_count + t] = 0;
	b->event_ns[row] = arrival_ns;
	b->arrival_ns[row] = arrival_ns;
	b->seq[row] = 0;
	b->boot[row] = 0;
	b->flags[row] = 0;
	b->index[row] = 0;
	b->group[row] = 1;
}

static enum dp_counter take_object(
	struct object *o, struct keys *k, const struct dp_json_member *members, uint32_t count)
{
	uint64_t seen[(KEYS_MAX + 63) / 64];
	uint16_t *guess = &k->first;

	memset(seen, 0, (k->count + 63u) / 64 * sizeof(*seen));
	for (const struct dp_json_member *m = members; m < members + count; m++) {
		const uint16_t at = find_key(k, *guess, m);
		enum dp_counter reason;

		if (at == NO_KEY) {
			o->noted->unknown_key++;
			continue;
		}
		*guess = at;
		guess = &k->key[at].next;
		if (seen[at / 64] & 1ull << at % 64)
			return DP_C_REJ_DUPLICATE_KEY;
		seen[at / 64] |= 1ull << at % 64;
		reason = take_member(o, m, &k->key[at]);
		if (reason)
			return reason;
	}
	if (!o->has_id)
		return DP_C_REJ_SENSOR_ID;
	if (o->has_boot != o->has_seq)
		return DP_C_REJ_TYPE;
	if (o->has_boot)
		o->batch->flags[o->row] |= DP_ROW_NUMBERED;
	if (!o->has_time)
		o->batch->flags[o->row] |= DP_ROW_ARRIVAL_TIME;
	o->batch->key[o->row] = dp_sensor_key(&o->batch->id[o->row]);
	return 0;
}

static int reject(struct dp_counters *c, enum dp_counter reason)
{
	dp_count(c, reason, 1);
	return -(int)reason;
}

static enum dp_counter reason_of(int error)
{
	switch (error) {
	case DP_JSON_E_UTF8:
		return DP_C_REJ_UTF8;
	case DP_JSON_E_COUNT:
		return DP_C_REJ_COUNT;
	default:
		return DP_C_REJ_SYNTAX;
	}
}

int dp_json_decode(struct dp_json *p, const struct dp_decode_target *t, uint16_t stream,
	const uint8_t *src, const uint8_t *end, int64_t arrival_ns, struct dp_counters *c)
{
	struct dp_batch *b = &t->batches[stream];
	struct noted noted = {0};
	int objects;

	assert(stream < p->count);
	if (end - src > DP_DATAGRAM_BYTES_MAX)
		return reject(c, DP_C_REJ_OVERSIZE);
	objects = dp_json_text_parse(p->text, src, (size_t)(end - src));
	if (objects < 0)
		return reject(c, reason_of(-objects));
	assert(b->count + (uint32_t)objects <= DP_BATCH_MAX);

	for (uint32_t i = 0; i < (uint32_t)objects; i++) {
		struct object o = {.batch = b, .row = b->count + i, .noted = &noted};
		uint32_t count;
		const struct dp_json_member *members = dp_json_text_object(p->text, i, &count);
		enum dp_counter reason;

		blank_row(b, o.row, arrival_ns);
		reason = take_object(&o, &p->keys[stream], members, count);
		if (reason)
			return reject(c, reason);
	}

	b->count += (uint32_t)objects;
	dp_count(c, DP_C_DECODED_DATAGRAMS, 1);
	dp_count(c, DP_C_DECODED_READINGS, (uint64_t)objects);
	if (noted.not_finite)
		dp_count(c, DP_C_NOT_FINITE, noted.not_finite);
	if (noted.out_of_range)
		dp_count(c, DP_C_OUT_OF_RANGE, noted.out_of_range);
	if (noted.unknown_key)
		dp_count(c, DP_C_UNKNOWN_KEY, noted.unknown_key);
	return objects;
}
