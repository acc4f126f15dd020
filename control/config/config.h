/*
 * The configuration: one YAML file, checked as a whole, parsed once into one const struct.  control
 * hands each stage only its own part.  One table (keys.c) drives parsing, defaults, `penstock
 * check`, docs/config.md and the JSON Schema for editors.
 */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "control/config/attributes.h"
#include "control/config/errors.h"
#include "control/config/models.h"
#include "control/config/pool.h"
#include "dataplane/core/stream.h"
#include "dataplane/decode/decode.h"
#include "dataplane/journal/writer.h"

struct ctl_workers {
	bool automatic;		       /* count not given: from the cores this process may run on */
	bool listed;		       /* cores named one by one */
	uint32_t count;		       /* 1..DP_WORKERS_MAX */
	uint16_t core[DP_WORKERS_MAX]; /* of worker i; a core may repeat unless listed */
};

struct ctl_listen {
	char text[64]; /* as given, variables replaced: "[::1]:9000" */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	uint32_t length; /* of the address in use */
	uint16_t port;	 /* 0: the kernel picks one */
};

enum ctl_input_type { CTL_INPUT_UDP = 1 };

struct ctl_input {
	char name[DP_NAME_BYTES_MAX + 1];
	bool enabled;
	enum ctl_input_type type;
	enum dp_format format;
	struct ctl_listen listen;
	int16_t stream;		       /* index; -1 for binary: each datagram names its own */
	bool keep_raw;		       /* datagrams are recorded as they came, too */
	uint64_t receive_buffer_bytes; /* SO_RCVBUF of each worker's socket */
};

struct ctl_journal {
	const char *dir; /* NULL only with sync: off */
	struct dp_journal_config writer;
	int64_t linger_ns;
	uint64_t ring_bytes; /* log ring of one worker; a power of two */
};

enum ctl_output_type { CTL_OUTPUT_FILE = 1, CTL_OUTPUT_STDOUT, CTL_OUTPUT_KAFKA };
enum ctl_from { CTL_FROM_END = 1, CTL_FROM_OLDEST };
enum ctl_kafka_format { CTL_KAFKA_JSON = 1, CTL_KAFKA_PACKED };
enum ctl_partition { CTL_PARTITION_BY_SENSOR = 1, CTL_PARTITION_BY_WORKER };
enum ctl_compression {
	CTL_COMPRESS_NONE = 1,
	CTL_COMPRESS_GZIP,
	CTL_COMPRESS_SNAPPY,
	CTL_COMPRESS_LZ4,
	CTL_COMPRESS_ZSTD,
};

struct ctl_place {
	uint32_t line, column; /* from 1; 0: none */
};

struct ctl_property {
	const char *name, *value;
};

struct ctl_topics {
	const char *kind[7]; /* by enum dp_rec_kind; NULL: none given */
};
_Static_assert(DP_REC_KINDS == 7, "a topic per record kind");

struct ctl_kafka {
	const char *brokers; /* "host:port,host:port" */
	enum ctl_kafka_format format;
	struct ctl_topics topics; /* json */
	const char *topic;	  /* packed */
	enum ctl_partition partition;
	int64_t linger_ns;
	enum ctl_compression compression;
	uint64_t message_max_bytes;
	bool headers;
	struct ctl_property *properties; /* [property_count], for librdkafka as they are */
	uint32_t property_count;
	struct ctl_place given; /* where the properties were, or else the output */
};

struct ctl_output {
	char name[DP_NAME_BYTES_MAX + 1];
	bool enabled;
	enum ctl_output_type type;
	enum ctl_from from;
	uint32_t kinds;	  /* bit per enum dp_rec_kind */
	const char *path; /* file */
	uint64_t rotate_bytes;
	uint32_t keep; /* rotated files kept beside the one being written */
	struct ctl_kafka kafka;
};

struct ctl_stream_limit {
	int16_t stream;
	uint32_t sensors;
};

struct ctl_limits {
	uint64_t memory_bytes; /* for the state of all sensors, on all workers together */
	uint32_t new_sensors_per_s;
	struct ctl_stream_limit *given; /* [given_count] */
	uint32_t given_count;
	uint32_t *sensors_max; /* [streams.count]: derived from memory_bytes and `given` */
};

struct ctl_attribute_file {
	const char *path;
	int16_t stream;		/* index; -1: all, or as the file's own column `stream` says */
	struct ctl_place given; /* where the path was */
};

struct ctl_config {
	struct ctl_pool pool; /* owns everything below */
	const char *file;     /* as given to the loader */
	char name[DP_NAME_BYTES_MAX + 1];
	struct ctl_workers workers;
	struct dp_stream_set streams;
	struct ctl_input *inputs; /* [input_count], disabled ones too */
	uint32_t input_count;
	struct ctl_journal journal;
	struct ctl_output *outputs; /* [output_count], disabled ones too */
	uint32_t output_count;
	struct ctl_limits limits;
	struct ctl_attribute_file *attribute_files;
	uint32_t attribute_file_count;
	const char *api_socket;		   /* NULL: no API */
	uint64_t block_bytes_max;	   /* derived: dp_block_bytes_max() */
	struct ctl_attributes *attributes; /* NULL: none; only filled by ctl_config_load */
	struct ctl_models *models;	   /* the same */
};

enum { CTL_CONFIG_BYTES_MAX = 1 << 20 };

/*
 * Reads, parses and checks a file, the attribute files it names included. 0 with *out to be freed
 * by ctl_config_free; -EINVAL with *out NULL and at least one error in *errors, sorted by place;
 * -errno and one error when the file cannot be read. Prints nothing.
 */
int ctl_config_load(const char *path, struct ctl_config **out, struct ctl_errors *errors);

/* The same, but opens no file that it names: for who only asks where the daemon is. */
int ctl_config_load_alone(const char *path, struct ctl_config **out, struct ctl_errors *errors);

/* The same for text in memory that errors call `file`; opens no other file. */
int ctl_config_parse(const char *text, size_t len, const char *file, struct ctl_config **out,
	struct ctl_errors *errors);

void ctl_config_free(struct ctl_config *config);

/*
 * The effective config, defaults filled in and variables replaced; itself a valid config but for
 * values of librdkafka properties that may hold secrets, which read "***". A new reference.
 */
json_t *ctl_config_json(const struct ctl_config *config);

/* What a person wants to know of a config that is well: workers, sizes, bytes a sensor, bounds. */
void ctl_config_print(const struct ctl_config *config, FILE *out);

/* docs/config.md and deploy/penstock.schema.json, both checked in and compared by a test. */
void ctl_config_reference(FILE *out);
void ctl_config_json_schema(FILE *out);

/* Bytes that one sensor of that stream takes, all told. */
size_t ctl_sensor_bytes(const struct dp_stream *stream);
