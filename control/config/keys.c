/* The tables: every key of the config file, once. */
#include "control/config/keys.h"

#include <stdio.h>
#include <string.h>

#include "control/config/derive.h"

#define AT(T, member)	 .offset = offsetof(T, member), .size = sizeof(((T *)0)->member)
#define COUNT(T, member) .count_offset = offsetof(T, member), .count_size = sizeof(((T *)0)->member)
/* A list: where its pointer and its count go, and what its elements are. */
#define LIST(T, member, number, element)                                                           \
	.type = CTL_T_LIST, .offset = offsetof(T, member), .size = sizeof(element), COUNT(T, number)

#define SECONDS(n) ((n)*1e9)
#define DAYS(n)	   SECONDS((n)*86400.0)
#define KIB(n)	   ((n)*1024.0)
#define MIB(n)	   ((n)*1048576.0)
#define GIB(n)	   ((n)*1073741824.0)

static const struct ctl_choice stats[] = {
	{"count", DP_STAT_COUNT},
	{"mean", DP_STAT_MEAN},
	{"std", DP_STAT_STD},
	{"min", DP_STAT_MIN},
	{"max", DP_STAT_MAX},
	{"last", DP_STAT_LAST},
	{NULL, 0},
};

static const struct ctl_choice rule_kinds[] = {
	{"above", DP_RULE_ABOVE},
	{"below", DP_RULE_BELOW},
	{"rate", DP_RULE_RATE},
	{"missing", DP_RULE_MISSING},
	{NULL, 0},
};

static const struct ctl_choice severities[] = {
	{"info", DP_SEVERITY_INFO},
	{"warning", DP_SEVERITY_WARNING},
	{"critical", DP_SEVERITY_CRITICAL},
	{NULL, 0},
};

static const struct ctl_choice input_types[] = {{"udp", CTL_INPUT_UDP}, {NULL, 0}};

static const struct ctl_choice formats[] = {
	{"binary", DP_FORMAT_BINARY},
	{"json", DP_FORMAT_JSON},
	{NULL, 0},
};

static const struct ctl_choice sync_modes[] = {
	{"always", DP_SYNC_ALWAYS},
	{"lazy", DP_SYNC_LAZY},
	{"off", DP_SYNC_OFF},
	{NULL, 0},
};

static const struct ctl_choice on_full[] = {
	{"block", DP_FULL_BLOCK},
	{"drop_oldest", DP_FULL_DROP_OLDEST},
	{NULL, 0},
};

static const struct ctl_choice output_types[] = {
	{"file", CTL_OUTPUT_FILE},
	{"stdout", CTL_OUTPUT_STDOUT},
	{"kafka", CTL_OUTPUT_KAFKA},
	{NULL, 0},
};

static const struct ctl_choice from[] = {
	{"end", CTL_FROM_END},
	{"oldest", CTL_FROM_OLDEST},
	{NULL, 0},
};

static const struct ctl_choice kafka_formats[] = {
	{"json", CTL_KAFKA_JSON},
	{"packed", CTL_KAFKA_PACKED},
	{NULL, 0},
};

static const struct ctl_choice partitions[] = {
	{"by_sensor", CTL_PARTITION_BY_SENSOR},
	{"by_worker", CTL_PARTITION_BY_WORKER},
	{NULL, 0},
};

static const struct ctl_choice compressions[] = {
	{"none", CTL_COMPRESS_NONE},
	{"gzip", CTL_COMPRESS_GZIP},
	{"snappy", CTL_COMPRESS_SNAPPY},
	{"lz4", CTL_COMPRESS_LZ4},
	{"zstd", CTL_COMPRESS_ZSTD},
	{NULL, 0},
};

static const struct ctl_choice record_kinds[] = {
	{"readings", 1 << DP_REC_READING},
	{"windows", 1 << DP_REC_WINDOW},
	{"alerts", 1 << DP_REC_ALERT},
	{"gaps", 1 << DP_REC_GAP},
	{"marks", 1 << DP_REC_MARK},
	{"raw", 1 << DP_REC_RAW},
	{NULL, 0},
};

static const struct ctl_key field_keys[] = {
	{"name", CTL_T_LABEL, .required = true, AT(struct dp_field, name),
		.help = "Key of the value in JSON readings and in records"},
	{"unit", CTL_T_LABEL, AT(struct dp_field, unit), .help = "Carried into the schema"},
	{"min", CTL_T_NUMBER, AT(struct dp_field, min), .fallback = "-.inf",
		.help = "Lowest valid value; below it a reading is flagged `out_of_range`, and "
			"kept"},
	{"max", CTL_T_NUMBER, AT(struct dp_field, max), .fallback = ".inf",
		.help = "Highest valid value"},
	{"scale", CTL_T_NUMBER, AT(struct dp_field, scale), .fallback = "1",
		.help = "Value of one step of a scaled 16-bit value in binary datagrams; not 0"},
	{"offset", CTL_T_NUMBER, AT(struct dp_field, offset), .fallback = "0",
		.help = "Added to the scaled value"},
	{0},
};

static const struct ctl_object field_object = {
	.title = "field", .help = "What a reading measures.", .keys = field_keys};

static const struct ctl_key window_keys[] = {
	{"name", CTL_T_NAME, AT(struct dp_window_def, name), .fallback_text = "`size/slide`",
		.help = "How alerts and records call it"},
	{"size", CTL_T_DURATION, .required = true, AT(struct dp_window_def, size_ns), .low = 1e6,
		.high = DAYS(366), .help = "Length in event time"},
	{"slide", CTL_T_DURATION, AT(struct dp_window_def, slide_ns), .low = 1e6, .high = DAYS(366),
		.fallback_text = "the size: a tumbling window",
		.help = "A window starts at each multiple of it; the size is a multiple of it too"},
	{"stats", CTL_T_CHOICES, AT(struct dp_window_def, stats), .choices = stats,
		.fallback = "count mean std min max last",
		.help = "Statistics kept of every field; `std` is that of the sample (n - 1)"},
	{0},
};

static const struct ctl_object window_object = {.title = "window",
	.help = "Statistics over event time, per sensor.",
	.keys = window_keys,
	.finish = ctl_derive_window};

enum {
	VALUE_RULES = 1 << DP_RULE_ABOVE | 1 << DP_RULE_BELOW | 1 << DP_RULE_RATE,
};

static const struct ctl_key rule_keys[] = {
	{"name", CTL_T_NAME, .required = true, AT(struct dp_rule, name),
		.help = "How alert records call it"},
	{"type", CTL_T_CHOICE, .required = true, AT(struct dp_rule, kind), .choices = rule_kinds,
		.help = "`above` and `below` a threshold, `rate` of change, `missing` data"},
	{"severity", CTL_T_CHOICE, AT(struct dp_rule, severity), .choices = severities,
		.fallback = "warning", .help = "Carried in the record"},
	{"field", CTL_T_FIELD, .only = VALUE_RULES, AT(struct dp_rule, field),
		.help = "Field of the stream that is compared; this or `score`"},
	{"score", CTL_T_MODEL, .only = VALUE_RULES, AT(struct dp_rule, model),
		.help = "Name of a model of the stream: its score is compared, a regression's "
			"value or else a "
			"probability"},
	{"class", CTL_T_TEXT, .only = VALUE_RULES, AT(struct dp_rule, class_name),
		.help = "With `score`: the probability of this class where the model says it, else "
			"0; "
			"required of a model of more than two"},
	{"window", CTL_T_WINDOW, .only = VALUE_RULES, AT(struct dp_rule, window),
		.help = "Name of a window of the stream: compare a statistic of it, each time that "
			"one closes, instead of each reading"},
	{"stat", CTL_T_CHOICE, .only = VALUE_RULES, AT(struct dp_rule, stat), .choices = stats,
		.help = "Which statistic of that window"},
	{"threshold", CTL_T_NUMBER, .required = true, .only = VALUE_RULES,
		AT(struct dp_rule, threshold),
		.help = "The limit; for `rate` the absolute change per second of event time"},
	{"hysteresis", CTL_T_NUMBER, .only = VALUE_RULES, AT(struct dp_rule, hysteresis),
		.fallback = "0",
		.help = "How far back beyond the threshold a value must come to clear the alert; "
			"for `rate` less than the threshold"},
	{"count", CTL_T_UINT, AT(struct dp_rule, count), .low = 1, .high = 1000000,
		.help = "Readings (or windows) in a row that must violate, 1 unless `for` is "
			"given; "
			"for `missing` the expected periods of silence, 3 unless given"},
	{"for", CTL_T_DURATION, .only = VALUE_RULES, AT(struct dp_rule, duration_ns), .low = 1,
		.high = DAYS(366),
		.help = "Instead of `count`: violated without a break for this long in event time"},
	{"period", CTL_T_DURATION, .required = true, .only = 1 << DP_RULE_MISSING,
		AT(struct dp_rule, period_ns), .low = 1e6, .high = DAYS(366),
		.help = "Time expected between two readings of a sensor"},
	{0},
};

static const struct ctl_object rule_object = {.title = "alert",
	.help = "A rule that raises and clears alerts, per sensor.",
	.discriminator = "type",
	.keys = rule_keys,
	.begin = ctl_begin_rule,
	.finish = ctl_derive_rule,
	.given = ctl_rule_given};

static const struct ctl_key model_keys[] = {
	{"name", CTL_T_NAME, .required = true, AT(struct dp_model, name),
		.help = "How records, alerts and the API call it"},
	{"file", CTL_T_PATH, .required = true, AT(struct dp_model, file),
		.help = "Its bundle (docs/bundle.md), made by `penstock-model`; a relative path "
			"counts from "
			"the config's folder"},
	{"window", CTL_T_WINDOW, AT(struct dp_model, window),
		.help = "Name of a window of the stream: the model scores each one that closes, "
			"instead of "
			"each reading"},
	{0},
};

static const struct ctl_object model_object = {.title = "model",
	.help = "A model that scores the stream.",
	.keys = model_keys,
	.begin = ctl_begin_model};

static const struct ctl_key stream_keys[] = {
	{"name", CTL_T_NAME, .required = true, AT(struct dp_stream, name),
		.help = "How inputs, records and the API call it"},
	{"number", CTL_T_UINT, AT(struct dp_stream, number), .low = 1,
		.high = DP_STREAMS_MAX * 4 - 1, .fallback_text = "position in the list, from 1",
		.help = "What binary datagrams carry"},
	{"fields", LIST(struct dp_stream, fields, field_count, struct dp_field), .required = true,
		.low = 1, .high = DP_FIELDS_MAX, .object = &field_object,
		.help = "What a reading holds, in the order of binary datagrams"},
	{"tags", LIST(struct dp_stream, tags, tag_count, struct dp_tag), .high = DP_TAGS_MAX,
		.help = "Names of strings carried in each record (lot, line, firmware), at most 64 "
			"bytes each"},
	{"id_key", CTL_T_LABEL, AT(struct dp_stream, id_key), .fallback = "sensor",
		.help = "JSON key of the sensor id"},
	{"time_key", CTL_T_LABEL, AT(struct dp_stream, time_key), .fallback = "time",
		.help = "JSON key of the event time; `\"\"` = arrival time is the event time"},
	{"lateness", CTL_T_DURATION, AT(struct dp_stream, lateness_ns), .fallback = "5s",
		.high = DAYS(30),
		.help = "How long windows wait for readings that come out of order"},
	{"max_skew", CTL_T_DURATION, AT(struct dp_stream, max_skew_ns), .fallback = "1m",
		.low = 1e6, .high = DAYS(366),
		.help = "A reading further ahead of its arrival is flagged `future` and does not "
			"close "
			"windows; a device clock further back than this starts the sensor anew"},
	{"idle", CTL_T_DURATION, AT(struct dp_stream, idle_ns), .fallback = "1m", .low = 1e6,
		.high = DAYS(366),
		.help = "Windows of a silent sensor close this long after its last reading"},
	{"forget", CTL_T_DURATION, AT(struct dp_stream, forget_ns), .fallback = "24h",
		.low = SECONDS(1), .high = DAYS(366),
		.help = "A silent sensor is retired this long after its last reading"},
	{"windows", LIST(struct dp_stream, windows, window_count, struct dp_window_def),
		.high = DP_WINDOWS_MAX, .object = &window_object,
		.help = "Windows, several at once"},
	{"models", LIST(struct dp_stream, models, model_count, struct dp_model),
		.high = DP_MODELS_MAX, .object = &model_object,
		.help = "Models that score each reading, or each window that closes"},
	{"alerts", LIST(struct dp_stream, rules, rule_count, struct dp_rule), .high = DP_RULES_MAX,
		.object = &rule_object, .help = "Alert rules"},
	{0},
};

static const struct ctl_object stream_object = {.title = "stream",
	.help = "A declared kind of reading. Data, not code: a new domain needs no new program.",
	.keys = stream_keys,
	.begin = ctl_begin_stream,
	.finish = ctl_derive_stream};

static const struct ctl_key input_keys[] = {
	{"name", CTL_T_NAME, .required = true, AT(struct ctl_input, name),
		.help = "How counters and the API call it"},
	{"format", CTL_T_CHOICE, .required = true, AT(struct ctl_input, format), .choices = formats,
		.help = "`binary`: datagram v1 (docs/wire.md). `json`: an object or an array of "
			"them"},
	{"enabled", CTL_T_BOOL, AT(struct ctl_input, enabled), .fallback = "true",
		.help = "`false`: checked, but not opened"},
	{"type", CTL_T_CHOICE, AT(struct ctl_input, type), .choices = input_types,
		.fallback = "udp", .help = "Transport"},
	{"listen", CTL_T_LISTEN, .required = true, AT(struct ctl_input, listen),
		.help = "`address:port`, IPv6 in brackets; port 0 = a free one, told at the start"},
	{"stream", CTL_T_STREAM, .only = 1 << DP_FORMAT_JSON, AT(struct ctl_input, stream),
		.fallback_text = "the only stream, where there is one",
		.help = "Stream of the readings; binary datagrams carry its number themselves"},
	{"receive_buffer", CTL_T_BYTES, AT(struct ctl_input, receive_buffer_bytes),
		.fallback = "4MiB", .low = KIB(64), .high = GIB(1),
		.help = "Socket buffer of each worker (`SO_RCVBUF`; the kernel caps it at "
			"net.core.rmem_max)"},
	{"keep_raw", CTL_T_BOOL, AT(struct ctl_input, keep_raw), .fallback = "false",
		.help = "`true`: each datagram that was decoded is recorded as it came, too, for "
			"outputs that take `raw`"},
	{0},
};

static const struct ctl_object input_object = {.title = "input",
	.help = "Where readings come from.",
	.discriminator = "format",
	.keys = input_keys,
	.begin = ctl_begin_input,
	.finish = ctl_derive_input};

static const struct ctl_key journal_keys[] = {
	{"dir", CTL_T_PATH, AT(struct ctl_journal, dir),
		.help = "State directory, made when missing; may be left out only with `sync: "
			"off`, and then what an output cannot deliver is counted and not kept"},
	{"sync", CTL_T_CHOICE, AT(struct ctl_journal, writer.sync), .choices = sync_modes,
		.fallback = "always",
		.help = "`always`: on disk before acknowledgement and output. `lazy`: written at "
			"once, "
			"synced each `lazy_sync`. `off`: memory only"},
	{"segment", CTL_T_BYTES, AT(struct ctl_journal, writer.segment_bytes), .fallback = "64MiB",
		.low = DP_SEGMENT_BYTES_MIN, .high = DP_SEGMENT_BYTES_MAX,
		.help = "Size of one file; a multiple of 4 KiB. A quarter of it must hold the "
			"largest block of the streams, which `penstock check` prints"},
	{"linger", CTL_T_DURATION, AT(struct ctl_journal, linger_ns), .fallback = "1ms",
		.high = SECONDS(1),
		.help = "Longest that a record waits for its block to fill, from its packet's "
			"arrival on"},
	{"lazy_sync", CTL_T_DURATION, AT(struct ctl_journal, writer.sync_interval_ns),
		.fallback = "1s", .low = 1e6, .high = SECONDS(60),
		.help = "Time between two syncs with `sync: lazy`"},
	{"ring", CTL_T_BYTES, AT(struct ctl_journal, ring_bytes), .fallback = "64MiB",
		.low = MIB(1), .high = GIB(4),
		.help = "Log ring of each worker: what waits for the disk; a power of two. A "
			"quarter of it must hold the largest block, too"},
	{"retention", CTL_T_DURATION, AT(struct ctl_journal, writer.retention_ns), .fallback = "0",
		.high = DAYS(3660),
		.help = "Keep what every output has for this long, and at least as long as a "
			"stream's `forget`"},
	{"retention_bytes", CTL_T_BYTES, AT(struct ctl_journal, writer.bytes_max), .fallback = "0",
		.high = GIB(1048576),
		.help = "Most bytes of all segments; 0 = as the file system has"},
	{"on_full", CTL_T_CHOICE, AT(struct ctl_journal, writer.on_full), .choices = on_full,
		.fallback = "block",
		.help = "Disk or limit full. `block`: take nothing more (counted `journal_full`). "
			"`drop_oldest`: free what outputs have not had yet (counted `expired`)"},
	{0},
};

static const struct ctl_object journal_object = {
	.title = "journal", .help = "What is recorded, and how safely.", .keys = journal_keys};

static const struct ctl_key topic_keys[] = {
	{"readings", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_READING]),
		.help = "Topic of reading records"},
	{"windows", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_WINDOW]),
		.help = "Topic of window records"},
	{"alerts", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_ALERT]),
		.help = "Topic of alert records"},
	{"gaps", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_GAP]),
		.help = "Topic of gap records: what was lost, how much, why"},
	{"marks", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_MARK]),
		.help = "Topic of mark records: starts, counters, retired sensors"},
	{"raw", CTL_T_TOPIC, AT(struct ctl_topics, kind[DP_REC_RAW]),
		.help = "Topic of datagrams as they came, of inputs with `keep_raw`; a message is "
			"the bytes alone"},
	{0},
};

static const struct ctl_object topic_object = {.title = "topics",
	.help = "A Kafka topic per kind of record; several kinds may share one.",
	.keys = topic_keys};

enum { ONLY_FILE = 1 << CTL_OUTPUT_FILE, ONLY_KAFKA = 1 << CTL_OUTPUT_KAFKA };

static const struct ctl_key output_keys[] = {
	{"name", CTL_T_NAME, .required = true, AT(struct ctl_output, name),
		.help = "Its position is kept under this name, also while it is disabled, and "
			"dropped when it leaves the config; no / in it"},
	{"type", CTL_T_CHOICE, .required = true, AT(struct ctl_output, type),
		.choices = output_types,
		.help = "`file`: JSON lines, rotated. `stdout`: JSON lines. `kafka`"},
	{"enabled", CTL_T_BOOL, AT(struct ctl_output, enabled), .fallback = "true",
		.help = "`false`: checked, but not run"},
	{"from", CTL_T_CHOICE, AT(struct ctl_output, from), .choices = from, .fallback = "end",
		.help = "Where a new output starts in the journal"},
	{"kinds", CTL_T_CHOICES, AT(struct ctl_output, kinds), .choices = record_kinds,
		.fallback_text =
			"kafka json: those with a topic; packed: all; else all but marks and raw",
		.help = "Kinds of record that it takes; the rest is counted `filtered`"},
	{"path", CTL_T_PATH, .required = true, .only = ONLY_FILE, AT(struct ctl_output, path),
		.help = "File to write; `PATH.lock` beside it keeps a second writer away"},
	{"rotate", CTL_T_BYTES, .only = ONLY_FILE, AT(struct ctl_output, rotate_bytes),
		.fallback = "256MiB", .low = KIB(64), .high = GIB(1024),
		.help = "A file that reaches this is renamed and a new one begun"},
	{"keep", CTL_T_UINT, .only = ONLY_FILE, AT(struct ctl_output, keep), .fallback = "8",
		.low = 1, .high = 10000, .help = "Renamed files to keep; the oldest goes first"},
	{"brokers", CTL_T_BROKERS, .required = true, .only = ONLY_KAFKA,
		AT(struct ctl_output, kafka.brokers), .help = "`host:port`, several with commas"},
	{"format", CTL_T_CHOICE, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.format),
		.choices = kafka_formats, .fallback = "json",
		.help = "`json`: one message a record (docs/record.md). `packed`: one a block "
			"(docs/block.md)"},
	{"topics", CTL_T_OBJECT, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.topics),
		.object = &topic_object, .help = "With `format: json`: a topic per kind of record"},
	{"topic", CTL_T_TOPIC, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.topic),
		.help = "With `format: packed`: the one topic"},
	{"partition", CTL_T_CHOICE, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.partition),
		.choices = partitions, .fallback_text = "`by_sensor` (json), `by_worker` (packed)",
		.help = "`by_sensor`: key is the sensor id. `by_worker`: worker modulo partitions"},
	{"linger", CTL_T_DURATION, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.linger_ns),
		.high = SECONDS(900), .fallback_text = "`1ms` (json), `0` (packed)",
		.help = "Longest that a message waits for others; blocks have waited already"},
	{"compression", CTL_T_CHOICE, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.compression),
		.choices = compressions, .fallback = "none", .help = "Of message batches"},
	{"message_max", CTL_T_BYTES, .only = ONLY_KAFKA,
		AT(struct ctl_output, kafka.message_max_bytes), .fallback = "1000000", .low = 1000,
		.high = 1e9,
		.help = "Largest message; the brokers' message.max.bytes must allow it"},
	{"headers", CTL_T_BOOL, .only = ONLY_KAFKA, AT(struct ctl_output, kafka.headers),
		.fallback = "false", .help = "Identity of the record also as message headers"},
	{"properties", CTL_T_PROPERTIES, .only = ONLY_KAFKA,
		AT(struct ctl_output, kafka.properties),
		COUNT(struct ctl_output, kafka.property_count), .high = 128,
		.help = "Passed to librdkafka as they are (security.protocol, sasl.*, ssl.*); "
			"those "
			"that Penstock sets itself are refused"},
	{0},
};

static const struct ctl_object output_object = {.title = "output",
	.help = "Where records go, each output with its own position.",
	.discriminator = "type",
	.keys = output_keys,
	.begin = ctl_begin_output,
	.finish = ctl_derive_output};

static const struct ctl_key stream_limit_keys[] = {
	{"stream", CTL_T_STREAM, .required = true, AT(struct ctl_stream_limit, stream),
		.help = "Name of the stream"},
	{"sensors", CTL_T_UINT, .required = true, AT(struct ctl_stream_limit, sensors), .low = 1,
		.high = 100e6, .help = "Most sensors of it at once"},
	{0},
};

static const struct ctl_object stream_limit_object = {.title = "stream limit",
	.help = "A bound of its own for one stream.",
	.keys = stream_limit_keys,
	.begin = ctl_begin_stream_limit};

static const struct ctl_key limit_keys[] = {
	{"memory", CTL_T_BYTES, AT(struct ctl_limits, memory_bytes), .fallback = "256MiB",
		.low = MIB(1), .high = GIB(1024),
		.help = "For the state of all sensors on all workers; bounds how many there can "
			"be. "
			"`penstock check` prints the bytes of one"},
	{"new_sensors_per_s", CTL_T_UINT, AT(struct ctl_limits, new_sensors_per_s),
		.fallback = "10000", .low = 1, .high = 100e6,
		.help = "New sensors admitted a second; more are dropped, counted `sensor_rate`"},
	{"per_stream", LIST(struct ctl_limits, given, given_count, struct ctl_stream_limit),
		.high = DP_STREAMS_MAX, .object = &stream_limit_object,
		.help = "Bounds for single streams; the others share what is left"},
	{0},
};

static const struct ctl_object limit_object = {.title = "limits",
	.help = "What keeps memory bounded whatever is sent.",
	.keys = limit_keys};

static const struct ctl_key attribute_keys[] = {
	{"file", CTL_T_PATH, .required = true, AT(struct ctl_attribute_file, path),
		.help = "`.csv` (a header with the column `id`, optionally `stream`) or `.yaml` (a "
			"list "
			"of maps with the key `id`)"},
	{"stream", CTL_T_STREAM, AT(struct ctl_attribute_file, stream),
		.fallback_text = "all, or as the file says", .help = "Stream of these sensors"},
	{0},
};

static const struct ctl_object attribute_object = {.title = "attribute file",
	.help = "Facts about sensors (name, site, line, lat, lon), joined by id in JSON output and "
		"API.",
	.keys = attribute_keys,
	.begin = ctl_begin_attribute_file};

static const struct ctl_key api_keys[] = {
	{"socket", CTL_T_PATH, .offset = 0, .size = sizeof(const char *),
		.help = "Unix socket of the HTTP API and of `/metrics`; none = no API"},
	{0},
};

static const struct ctl_object api_object = {
	.title = "api", .help = "What `penstock status` and its kin talk to.", .keys = api_keys};

static const struct ctl_key root_keys[] = {
	{"name", CTL_T_NAME, AT(struct ctl_config, name), .fallback = "penstock",
		.help = "Name of this appliance, a label"},
	{"workers", CTL_T_WORKERS, AT(struct ctl_config, workers), .fallback = "auto",
		.help = "`auto`: one on each core that the process may run on, with three or more "
			"all "
			"but one. A number: so many, on these cores in turn. A list: exactly these "
			"cores. At most 16"},
	{"streams", LIST(struct ctl_config, streams.streams, streams.count, struct dp_stream),
		.required = true, .low = 1, .high = DP_STREAMS_MAX, .object = &stream_object,
		.help = "Declared kinds of reading"},
	{"inputs", LIST(struct ctl_config, inputs, input_count, struct ctl_input), .required = true,
		.low = 1, .high = DP_INPUTS_MAX, .object = &input_object,
		.help = "Where readings come from"},
	{"journal", CTL_T_OBJECT, AT(struct ctl_config, journal), .object = &journal_object,
		.help = "What is recorded, and how safely"},
	{"outputs", LIST(struct ctl_config, outputs, output_count, struct ctl_output),
		.high = DP_OUTPUTS_MAX, .object = &output_object, .help = "Where records go"},
	{"limits", CTL_T_OBJECT, AT(struct ctl_config, limits), .object = &limit_object,
		.help = "What keeps memory bounded"},
	{"attributes",
		LIST(struct ctl_config, attribute_files, attribute_file_count,
			struct ctl_attribute_file),
		.high = CTL_ATTRIBUTE_FILES_MAX, .object = &attribute_object,
		.help = "Files with facts about sensors"},
	{"api", CTL_T_OBJECT, AT(struct ctl_config, api_socket), .object = &api_object,
		.help = "Control over a Unix socket"},
	{0},
};

static const struct ctl_object root_object = {.title = "Penstock configuration",
	.help = "One file, checked as a whole.",
	.keys = root_keys};

const struct ctl_object *ctl_root_object(void)
{
	return &root_object;
}

const struct ctl_key *ctl_key_find(const struct ctl_object *object, const char *name)
{
	const struct ctl_key *k = object->keys;

	while (k->name && strcmp(k->name, name))
		k++;
	return k->name ? k : NULL;
}

uint32_t ctl_object_case(const struct ctl_object *object, const void *data)
{
	const struct ctl_key *k;
	uint32_t value;

	if (!object->discriminator)
		return 0;
	k = ctl_key_find(object, object->discriminator);
	memcpy(&value, (const char *)data + k->offset, sizeof(value));
	return value ? 1u << value : 0;
}

const char *ctl_choice_name(const struct ctl_choice *choices, int value)
{
	while (choices->name && choices->value != value)
		choices++;
	return choices->name;
}
