/*
 * Sensor attributes: facts about sensors (name, site, line, lat, lon, anything), kept by control
 * and joined by id where records become JSON and in the API; never on a worker.  Immutable once
 * loaded, so any thread may look up without a lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config/errors.h"

enum {
	CTL_ATTRIBUTE_FILES_MAX = 16,
	CTL_ATTRIBUTE_COLUMNS_MAX = 64, /* names over all files */
	CTL_ATTRIBUTE_TEXT_MAX = 256,	/* bytes of one value */
	CTL_ATTRIBUTE_FILE_BYTES_MAX = 64 << 20,
	CTL_ATTRIBUTE_SENSORS_MAX = 1 << 20,
};

struct ctl_attribute {
	const char *name;
	const char *text; /* as in the file */
	double number;	  /* when is_number */
	bool is_number;	  /* only if every value of that name in all files is one */
};

struct ctl_sensor_attributes {
	const char *stream; /* NULL: of any stream */
	const char *id;
	size_t id_len;
	const struct ctl_attribute *list; /* [count], in the order of the file */
	uint32_t count;
	const char *json; /* {"name":"Boiler 4","lat":52.1}, made at load */
	size_t json_bytes;
	const char *file; /* where it was declared */
	uint32_t line;
};

struct ctl_attributes;

enum ctl_attribute_format { CTL_ATTRIBUTES_CSV = 1, CTL_ATTRIBUTES_YAML };

struct ctl_attribute_source {
	const char *path;
	const char *stream; /* NULL: any, or as a column or key `stream` says */
	/* Where the path was given, for when there is no such file: `key` in `named_by`, or NULL.
	 */
	const char *named_by, *key;
	uint32_t line, column;
};

/* What the end of the name says: an enum ctl_attribute_format, or 0. */
int ctl_attributes_format(const char *path);

/*
 * Loads all sources into one table. 0, or -EINVAL with *out NULL and errors added (each with file,
 * line and column). `streams` names the streams that there are, NULL-terminated; NULL: any will do.
 */
int ctl_attributes_load(const struct ctl_attribute_source *sources, size_t count,
	const char *const *streams, struct ctl_attributes **out, struct ctl_errors *errors);

/* The same for one file already in memory; its path is only its name, which decides the format. */
int ctl_attributes_parse(const struct ctl_attribute_source *source, const char *text, size_t len,
	struct ctl_attributes **out, struct ctl_errors *errors);

void ctl_attributes_free(struct ctl_attributes *attributes);

size_t ctl_attributes_count(const struct ctl_attributes *attributes);

/* The entry of that stream and id, else the one of that id for any stream, else NULL. O(1). */
const struct ctl_sensor_attributes *ctl_attributes_find(
	const struct ctl_attributes *attributes, const char *stream, const char *id, size_t id_len);

/* The same as text for dp_attribute_lookup.find; `attributes` is a struct ctl_attributes. */
const char *ctl_attributes_json(
	void *attributes, const char *stream, const char *id, size_t id_len, size_t *bytes);
