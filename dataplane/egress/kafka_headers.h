/* Of kafka.c alone: who a message is, as headers. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "dataplane/egress/egress.h"

/* Of a record, or of a block where the message is one. The caller's until produced with. */
rd_kafka_headers_t *dp_kafka_headers(const struct dp_message *m);
