/* What verification needs of one record in JSON (docs/record.md). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fws_record {
	uint64_t id[2];
	const char *sensor;
	size_t sensor_len;
	bool is_reading, numbered;
	uint32_t boot;
	uint64_t seq, index;
	int64_t event_ns, arrival_ns; /* 0: not there */
};

/* One JSON object on one line, [line, line + len). False when it is no record. */
bool fws_record_parse(struct fws_record *r, const char *line, size_t len);

/* ISO 8601, UTC ("2026-01-31T12:00:00.123456789Z"), or digits: Unix nanoseconds. False: neither. */
bool fws_record_time(const char *text, size_t len, int64_t *ns);
