/*
 * The shape of the config as data.  Each key of the file is one row: what it is called, what it may
 * hold, where it goes, its default and its meaning.  Parser, reference page, JSON Schema and the
 * JSON of the effective config all walk these tables and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_type {
	CTL_T_NAME = 1,	  /* char[size]: letters, digits, _ - . / */
	CTL_T_LABEL,	  /* char[size]: printable UTF-8 without quotes or backslashes */
	CTL_T_TEXT,	  /* char[size]: printable UTF-8 */
	CTL_T_PATH,	  /* const char *: relative ones count from the config's folder */
	CTL_T_TOPIC,	  /* const char *: a legal name of a Kafka topic */
	CTL_T_BROKERS,	  /* const char *: host:port, comma between */
	CTL_T_BOOL,	  /* bool */
	CTL_T_UINT,	  /* unsigned of `size` bytes */
	CTL_T_NUMBER,	  /* float or double by `size` */
	CTL_T_BYTES,	  /* uint64_t */
	CTL_T_DURATION,	  /* int64_t, ns */
	CTL_T_CHOICE,	  /* int: value of one of `choices` */
	CTL_T_CHOICES,	  /* uint32_t: or of `choices`, given as a list */
	CTL_T_LISTEN,	  /* struct ctl_listen */
	CTL_T_WORKERS,	  /* struct ctl_workers */
	CTL_T_FIELD,	  /* int16_t: index of a field of the stream being read */
	CTL_T_WINDOW,	  /* int16_t: index of a window of the stream being read */
	CTL_T_MODEL,	  /* int16_t: index of a model of the stream being read */
	CTL_T_STREAM,	  /* int16_t: index of a stream */
	CTL_T_PROPERTIES, /* struct ctl_property *, uint32_t count behind it */
	CTL_T_OBJECT,	  /* the struct itself */
	CTL_T_LIST, /* pointer to `size`d structs; count at count_offset, of count_size bytes */
	CTL_T_COUNT,
};

struct ctl_choice {
	const char *name; /* NULL ends the list */
	int value;
};

struct ctl_object;

struct ctl_key {
	const char *name;
	enum ctl_type type;
	bool required;
	uint32_t only; /* bits of the object's discriminator for which the key is; 0: always */
	size_t offset, size;
	size_t count_offset, count_size;
	double low,
		high; /* of numbers, sizes, durations (ns); of lists: how many; none when equal */
	const char *fallback;	   /* default as text; NULL: none, stays zero (indexes: -1) */
	const char *fallback_text; /* for the reference where the default depends on other keys */
	const struct ctl_choice *choices;
	const struct ctl_object *object;
	const char *help; /* one sentence or two; ends without a period */
};

struct ctl_cx;

struct ctl_object {
	const char *title, *help;
	const char *discriminator;  /* key, a CTL_T_CHOICE, that decides which others apply */
	const struct ctl_key *keys; /* name NULL ends the list */
	/* Before the first and after the last key of one struct: context, derived defaults. */
	void (*begin)(struct ctl_cx *cx, void *object);
	void (*finish)(struct ctl_cx *cx, void *object);
	/* Was this key's value given, not derived? NULL: always. */
	bool (*given)(const void *object, const struct ctl_key *key);
};

/* The whole file: a struct ctl_config. */
const struct ctl_object *ctl_root_object(void);

/* The key of that name, or NULL. */
const struct ctl_key *ctl_key_find(const struct ctl_object *object, const char *name);

/* What `only` is compared with: 1 << value of the discriminator; 0 when none or not read well. */
uint32_t ctl_object_case(const struct ctl_object *object, const void *data);

const char *ctl_choice_name(const struct ctl_choice *choices, int value);
