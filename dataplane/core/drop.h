/*
 * The names of everything that is counted.  One X-list yields the enum, the names in the ledger, in
 * /metrics and in `penstock status`, and the layout of the counters in a mark record: append only,
 * never reorder (docs/block.md: the counters of a mark are by index).
 *
 * Sums that hold at all times (design: the ledger):
 *   received datagrams = decoded datagrams + sum of rejected.*
 *   decoded readings   = recorded + duplicate + sum of dropped.* + in flight
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "dataplane/core/limits.h"

/* X(symbol, "class.name", "help"); the class decides in which sum a counter stands. */
#define DP_COUNTERS(X)                                                                             \
	X(RX_DATAGRAMS, "received.datagrams", "datagrams read from the inputs")                    \
	X(RX_BYTES, "received.bytes", "payload bytes read from the inputs")                        \
	X(DECODED_DATAGRAMS, "decoded.datagrams", "datagrams whose readings were all taken over")  \
	X(REJ_TRUNCATED, "rejected.truncated", "datagram ends inside a field")                     \
	X(REJ_OVERSIZE, "rejected.oversize", "datagram larger than the receive buffer")            \
	X(REJ_TRAILING, "rejected.trailing", "bytes after the last reading")                       \
	X(REJ_MAGIC, "rejected.magic", "not a penstock datagram")                                  \
	X(REJ_VERSION, "rejected.version", "datagram version not known")                           \
	X(REJ_FLAGS, "rejected.flags", "reserved flag or field set")                               \
	X(REJ_STREAM, "rejected.stream", "unknown stream")                                         \
	X(REJ_SENSOR_ID, "rejected.sensor_id", "sensor id missing, too long or not printable")     \
	X(REJ_COUNT, "rejected.count", "no reading, or more than 64")                              \
	X(REJ_PRESENCE, "rejected.presence", "presence bitmap names a field that is not there")    \
	X(REJ_TIME, "rejected.time", "event time malformed or outside 1970 to 2200")               \
	X(REJ_UTF8, "rejected.utf8", "not valid UTF-8")                                            \
	X(REJ_SYNTAX, "rejected.syntax", "not valid JSON, or not an object or array of objects")   \
	X(REJ_TYPE, "rejected.type", "a declared key has a value of the wrong type")               \
	X(REJ_DUPLICATE_KEY, "rejected.duplicate_key", "a declared key appears twice")             \
	X(REJ_TAG, "rejected.tag", "tag longer than 64 bytes, or not declared")                    \
	X(DECODED_READINGS, "decoded.readings", "readings taken over from datagrams")              \
	X(RECORDED, "recorded.readings", "readings written into the log")                          \
	X(DUPLICATE, "duplicate.readings", "readings of numbered datagrams seen before")           \
	X(DROP_STALE, "dropped.stale", "numbered datagram older than the duplicate bitmap")        \
	X(DROP_STEER_FULL, "dropped.steer_full", "ring to the owning worker full")                 \
	X(DROP_SENSOR_LIMIT, "dropped.sensor_limit", "new sensor beyond limits.memory")            \
	X(DROP_SENSOR_RATE, "dropped.sensor_rate", "new sensor beyond limits.new_sensors_per_s")   \
	X(DROP_JOURNAL_FULL, "dropped.journal_full",                                               \
		"log ring full: the journal cannot take more")                                     \
	X(RECORDS_READING, "records.reading", "reading records written")                           \
	X(RECORDS_WINDOW, "records.window", "window records written")                              \
	X(RECORDS_ALERT, "records.alert", "alert records written")                                 \
	X(RECORDS_GAP, "records.gap", "gap records written")                                       \
	X(RECORDS_MARK, "records.mark", "mark records written")                                    \
	X(LATE, "noted.late", "readings too old for a window, recorded and flagged")               \
	X(FUTURE, "noted.future", "readings ahead of max_skew, recorded and flagged")              \
	X(OUT_OF_RANGE, "noted.out_of_range", "values outside the declared range")                 \
	X(NOT_FINITE, "noted.not_finite", "values NaN or infinite, taken as missing")              \
	X(UNKNOWN_KEY, "noted.unknown_key", "JSON keys that the stream does not declare")          \
	X(CLOCK_RESET, "noted.clock_reset", "sensor clocks that stepped back")                     \
	X(SENSORS_NEW, "noted.sensors_new", "sensors admitted")                                    \
	X(SENSORS_RETIRED, "noted.sensors_retired", "sensors forgotten")                           \
	X(ALERTS_RAISED, "noted.alerts_raised", "alerts raised")                                   \
	X(ALERTS_CLEARED, "noted.alerts_cleared", "alerts cleared")                                \
	X(LOST_SENDER, "lost.sender",                                                              \
		"numbered datagrams that were not recorded: lost before us or dropped here")       \
	X(LOST_SOCKET, "lost.socket", "datagrams that the kernel dropped at our sockets")          \
	X(RX_STALLS, "noted.rx_stalls", "receive stalls for want of a buffer; nothing is lost")    \
	X(REC_RECOVERED, "recovered.readings",                                                     \
		"readings found in the journal after the last mark; each of JSON as a datagram")   \
	X(RECORDS_RAW, "records.raw", "raw payload records written")                               \
	X(RAW_LOST, "noted.raw_lost", "raw payloads not kept: the log ring had no room to spare")

enum dp_counter {
#define X(symbol, name, help) DP_C_##symbol,
	DP_COUNTERS(X)
#undef X
		DP_COUNTER_COUNT
};

/*
 * worker: writes; control: reads.  A plain load and store by the one writer; no read-modify-write
 * on the path.  The store releases (no cost on x86): who has read what became of a reading sees
 * that it was decoded, so no sum of the ledger is negative for a moment.
 */
struct dp_counters {
	_Alignas(DP_CACHE_LINE) _Atomic uint64_t v[DP_COUNTER_COUNT];
};

static inline void dp_count(struct dp_counters *c, enum dp_counter which, uint64_t n)
{
	uint64_t now = atomic_load_explicit(&c->v[which], memory_order_relaxed);

	/* C1: pairs with the acquire loads of control/api/ledger.c */
	atomic_store_explicit(&c->v[which], now + n, memory_order_release);
}

static inline uint64_t dp_counted(const struct dp_counters *c, enum dp_counter which)
{
	return atomic_load_explicit(&c->v[which], memory_order_relaxed);
}

/* "class.name" of a counter; never NULL for which < DP_COUNTER_COUNT. */
const char *dp_counter_name(enum dp_counter which);
const char *dp_counter_help(enum dp_counter which);
