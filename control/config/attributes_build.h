/* Inside of control/config: rows of attribute files on their way into the table. */
#pragma once

#include "control/config/attributes.h"
#include "control/config/pool.h"

struct ctl_attr_place {
	uint32_t line, column;
};

struct ctl_attr_cell {
	int name; /* of ctl_attr_name; negative ones are skipped */
	const char *text;
	bool may_be_number;
};

struct ctl_attr_build {
	struct ctl_pool *pool;
	struct ctl_errors *errors;
	const struct ctl_attribute_source *source; /* being read; on the pool */
	const char *const *streams;
	bool failed, full;
	uint32_t value_count;
	struct ctl_sensor_attributes *list;
	uint32_t count, room;
	struct {
		const char *text;
		bool all_numbers;
	} names[CTL_ATTRIBUTE_COLUMNS_MAX];
	int name_count;
	struct ctl_attribute row[CTL_ATTRIBUTE_COLUMNS_MAX]; /* being read */
	uint32_t row_count;
};

void ctl_attr_fail(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *key,
	const char *what);

/* Number of an attribute's name, or -1 after an error. */
int ctl_attr_name(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *name);

/* A value of the row being read; at most one for each name. */
void ctl_attr_value(struct ctl_attr_build *b, const struct ctl_attr_place *at,
	const struct ctl_attr_cell *cell);

/* Ends the row: of sensor `id` (NULL: none given) in `stream` (NULL: none given). */
void ctl_attr_row_end(struct ctl_attr_build *b, const struct ctl_attr_place *at, const char *id,
	const char *stream);

/* RFC 4180, LF or CRLF, a header line. */
void ctl_attr_read_csv(struct ctl_attr_build *b, const char *text, size_t len);

/* A list of maps. */
void ctl_attr_read_yaml(struct ctl_attr_build *b, const char *text, size_t len);

/* The whole file into *text (free), terminated. -EFBIG beyond `max`; 0 or -errno. */
int ctl_file_read(const char *path, size_t max, char **text, size_t *len);
