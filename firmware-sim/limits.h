/* Every bound of the simulator. */
#pragma once

#include <stdint.h>

enum {
	FWS_FIELDS_MAX = 64,
	FWS_NAME_MAX = 32, /* field, tag and key names */
	FWS_ID_MAX = 32,   /* sensor id, as datagram v1 */
	FWS_TAGS_MAX = 8,
	FWS_TAG_BYTES_MAX = 64,
	FWS_READINGS_MAX = 64, /* in a datagram */
	FWS_DATAGRAM_MAX = 9216,
	FWS_THREADS_MAX = 64,
	FWS_PORTS_MAX = 64, /* source ports of one thread */
	FWS_FAULTS_MAX = 16,
	FWS_PHASES_MAX = 4,
	FWS_SENSORS_MAX = 10000000,
	FWS_BURST = 64, /* datagrams handed to the kernel at once */
};

#define FWS_NS_PER_S  1000000000ll
#define FWS_NS_PER_MS 1000000ll
