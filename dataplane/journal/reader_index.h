/* What a reader knows of segments that it has not open: which there are, and which supersedes. */
#pragma once

#include "dataplane/journal/segment.h"

struct dp_known {
	uint64_t serial, supersedes, records_before;
	bool bad; /* no good header copy of this appliance */
};

struct dp_reader_index {
	struct dp_known *known; /* [count], by serial */
	uint32_t count, max;
	uint64_t upto;	 /* the serial up to which it is complete; 0: not read yet */
	uint64_t oldest; /* serial of the oldest segment there was */
};

struct dp_reader_index_range {
	uint64_t appliance;
	uint64_t from, upto; /* serials */
};

/* Makes it hold the segments of that range. 0, or -errno with nothing changed. */
int dp_reader_index_grow(struct dp_reader_index *x, const struct dp_io *io,
	const struct dp_reader_index_range *range);
void dp_reader_index_fini(struct dp_reader_index *x);

/* First segment at or behind that serial, or NULL. */
const struct dp_known *dp_reader_index_from(const struct dp_reader_index *x, uint64_t serial);

/* The newest segment that supersedes the place `lp`, or NULL. */
const struct dp_known *dp_reader_superseding(const struct dp_reader_index *x, uint64_t lp);

/* The lp in that segment at which a later one takes over; 0: none does. */
uint64_t dp_reader_cut(const struct dp_reader_index *x, uint64_t serial);
