/* How a slot's window bytes are laid out; made once per stream by layout.c, read by window.c. */
#pragma once

#include "dataplane/window/window.h"

/* Event times beyond (1700, 2239) are in no window; windows may last 15 years: no sum overflows. */
#define DP_EVENT_LIMIT_NS 8500000000000000000ll
#define DP_SPAN_LIMIT_NS  500000000000000000ll

/* Where things are, per window definition. Offsets of arrays [field_count] are within a pane. */
struct dp_window_layout {
	int64_t slide_ns, size_ns;
	uint32_t stats, told; /* enum dp_stat bits: kept; of these, in a close */
	uint32_t words;	      /* per field in a close */
	uint32_t span, panes; /* panes of a window; panes kept */
	size_t ring_at, panes_at, pane_bytes;
	size_t last_ns_at, mean_at, m2_at, count_at, min_at, max_at, last_at;
};

struct dp_window_ring {
	int64_t next;	    /* first window not closed; DP_TIME_NONE before the first reading */
	int64_t close_ns;   /* its end */
	int64_t newest;	    /* newest pane that holds a reading; only when filled */
	int64_t newest_ns;  /* its start; DP_TIME_NONE when no reading may go there */
	uint32_t newest_at; /* its place in the ring */
	uint32_t filled;    /* panes that hold a reading */
};

/* Arrays of partials follow. They hold rubbish until the first reading. */
struct dp_pane {
	uint32_t readings;
	uint32_t pad;
};
