/* The config: what each kind of mistake says and where, and that what is generated is current. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/config/config.h"
#include "control/config/kafka.h"
#include "control/config/scalar.h"
#include "dataplane/journal/schema.h"

/* A config that is well; each broken one replaces a piece of it. Lines are counted in the tests. */
static const char good[] = "name: box\n"					   /* 1 */
			   "workers: 1\n"					   /* 2 */
			   "streams:\n"						   /* 3 */
			   "  - name: air\n"					   /* 4 */
			   "    number: 7\n"					   /* 5 */
			   "    fields:\n"					   /* 6 */
			   "      - {name: temp, min: -40, max: 85}\n"		   /* 7 */
			   "      - name: hum\n"				   /* 8 */
			   "        scale: 0.5\n"				   /* 9 */
			   "    tags: [lot, line]\n"				   /* 10 */
			   "    lateness: 5s\n"					   /* 11 */
			   "    forget: 1h\n"					   /* 12 */
			   "    windows:\n"					   /* 13 */
			   "      - {size: 30s, slide: 10s, stats: [mean, max]}\n" /* 14 */
			   "    alerts:\n"					   /* 15 */
			   "      - name: hot\n"				   /* 16 */
			   "        type: above\n"				   /* 17 */
			   "        field: temp\n"				   /* 18 */
			   "        threshold: 30\n"				   /* 19 */
			   "      - {name: gone, type: missing, period: 10s}\n"	   /* 20 */
			   "inputs:\n"						   /* 21 */
			   "  - name: bin\n"					   /* 22 */
			   "    format: binary\n"				   /* 23 */
			   "    listen: 127.0.0.1:9000\n"			   /* 24 */
			   "  - name: js\n"					   /* 25 */
			   "    format: json\n"					   /* 26 */
			   "    listen: \"[::1]:9001\"\n"			   /* 27 */
			   "journal:\n"						   /* 28 */
			   "  dir: /var/lib/box\n"				   /* 29 */
			   "  sync: lazy\n"					   /* 30 */
			   "outputs:\n"						   /* 31 */
			   "  - name: lines\n"					   /* 32 */
			   "    type: file\n"					   /* 33 */
			   "    path: /tmp/box.jsonl\n"				   /* 34 */
			   "  - name: kj\n"					   /* 35 */
			   "    type: kafka\n"					   /* 36 */
			   "    brokers: one:9092\n"				   /* 37 */
			   "    topics: {readings: r, windows: w}\n"		   /* 38 */
			   "  - name: kp\n"					   /* 39 */
			   "    type: kafka\n"					   /* 40 */
			   "    brokers: one:9092,two:9092\n"			   /* 41 */
			   "    format: packed\n"				   /* 42 */
			   "    topic: blocks\n"				   /* 43 */
			   "limits:\n"						   /* 44 */
			   "  memory: 64MiB\n"					   /* 45 */
			   "api: {socket: run/box.sock}\n";			   /* 46 */

/* `whole` with the first `from` replaced by `to`; to be freed. */
static char *replaced_in(const char *whole, const char *from, const char *to)
{
	const char *at = strstr(whole, from);
	char *text = malloc(strlen(whole) + strlen(to) + 1);

	cr_assert(at, "\"%s\" is not in the config", from);
	sprintf(text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
	return text;
}

static char *replaced(const char *from, const char *to)
{
	return replaced_in(good, from, to);
}

static bool has_error(
	const struct ctl_errors *errors, uint32_t line, const char *path, const char *message)
{
	for (uint32_t i = 0; i < errors->count; i++) {
		const struct ctl_error *e = &errors->list[i];

		if (e->line == line && !strcmp(e->path, path) && strstr(e->message, message))
			return true;
	}
	return false;
}

struct broken {
	const char *from, *to;
	uint32_t line;
	const char *path, *message;
};

static const struct broken table[] = {
	/* form */
	{"name: box", "name: [", 2, "", "not valid YAML"},
	{"name: box", "name: \"box", 1, "", "not valid YAML"},
	{"workers: 1", "\tworkers: 1", 2, "", "a tab cannot indent"},
	{"workers: 1", "go on\n \tworkers: 1", 3, "", "a tab cannot indent"},
	{"workers: 1", "  workers: 1", 1, "", "invalid multiline plain key"},
	{"    number: 7", "\t number: 7", 5, "", "tab"},
	{"name: box", "name: b\xff", 1, "", "not valid UTF-8"},
	{"name: box", "nam: box", 1, "nam", "unknown key, did you mean name?"},
	{"name: box", "<<: {name: box}", 1, "<<", "merge keys"},
	{"name: box", "name: box\nname: two", 2, "name", "duplicate key, first given in line 1"},
	{"name: box", "name: !x box", 1, "name", "tags are not used"},
	{"name: box", "name: *none", 1, "name", "alias of an anchor that is not there"},
	{"name: box", "name: &a [*a]", 1, "name[0]", "alias inside of what it names"},
	{"name: box", "name: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 1,
		"name[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]", "nested too deep"},
	{"name: box", "[a]: box", 1, "", "a key must be text"},
	{"api: {socket: run/box.sock}", "---\nname: x", 46, "", "more than one document"},
	/* scalars */
	{"name: box", "name:", 1, "name", "has no value"},
	{"name: box", "name: [box]", 1, "name", "must be a name, not a list"},
	{"name: box", "name: a b", 1, "name", "may hold letters"},
	{"name: box", "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1, "name", "1 to 32"},
	{"name: box", "name: ${PENSTOCK_TEST_UNSET}", 1, "name",
		"PENSTOCK_TEST_UNSET, which is not set"},
	{"name: box", "name: ${1}", 1, "name", "neither ${NAME} nor"},
	{"name: box", "name: ${A:b}", 1, "name", "neither ${NAME} nor"},
	{"workers: 1", "workers: 17", 2, "workers", "neither auto nor 1 to 16"},
	{"workers: 1", "workers: many", 2, "workers", "neither auto nor"},
	{"workers: 1", "workers: [900]", 2, "workers[0]", "may not run on core 900"},
	{"workers: 1", "workers: []", 2, "workers", "allowed are 1 to 16"},
	{"workers: 1", "workers: {a: 1}", 2, "workers", "not a map"},
	/* streams */
	{"streams:\n", "streams: []\nx:\n", 3, "streams", "has 0 elements"},
	{"  - name: air\n    number: 7", "  - number: 7", 4, "streams[0].name", "is required"},
	{"number: 7", "number: 256", 5, "streams[0].number", "out of range: 1 to 255"},
	{"number: 7", "number: -1", 5, "streams[0].number", "not a whole number"},
	{"inputs:", "  - {name: b, number: 7, fields: [{name: x}]}\ninputs:", 21,
		"streams[1].number", "number of stream \"air\" too"},
	{"      - {name: gone", "      - gone\n      - {name: x", 20, "streams[0].alerts[1]",
		"must be a map of keys"},
	{"inputs:", "  - {name: air, fields: [{name: x}]}\ninputs:", 21, "streams[1].name",
		"stream \"air\" is already in line 4"},
	{"inputs:", "  - {name: b, fields: [{name: x}]}\ninputs:", 26, "inputs[1].stream",
		"is required: json readings do not name one of the 2 streams"},
	{"    fields:\n      - {name: temp, min: -40, max: 85}\n      - name: hum\n        scale: "
	 "0.5\n",
		"", 4, "streams[0].fields", "is required"},
	{"min: -40", "min: warm", 7, "streams[0].fields[0].min", "is not a number"},
	{"min: -40", "min: 90", 7, "streams[0].fields[0].min", "is above max"},
	{"min: -40", "min: 1e300", 7, "streams[0].fields[0].min", "too large for a 32-bit"},
	{"min: -40", "mim: -40", 7, "streams[0].fields[0].mim", "did you mean min?"},
	{"scale: 0.5", "scale: 0", 9, "streams[0].fields[1].scale", "not 0"},
	{"scale: 0.5", "offset: .inf", 9, "streams[0].fields[1].offset", "finite"},
	{"name: hum", "name: temp", 8, "streams[0].fields[1].name", "already in line 7"},
	{"name: hum", "name: \"a\\\"b\"", 8, "streams[0].fields[1].name", "quotes"},
	{"name: hum", "name: sensor", 8, "streams[0].fields[1].name", "is the id_key"},
	{"[lot, line]", "[lot, lot]", 10, "streams[0].tags[1]", "tag \"lot\" is already"},
	{"[lot, line]", "[temp]", 10, "streams[0].tags[0]", "is a field"},
	{"[lot, line]", "[time]", 10, "streams[0].tags[0]", "is the time_key"},
	{"[lot, line]", "[a,b,c,d,e,f,g,h,i]", 10, "streams[0].tags", "allowed are 0 to 8"},
	{"[lot, line]", "lot", 10, "streams[0].tags", "must be a list"},
	{"tags:", "time_key: sensor\n    tags:", 10, "streams[0].time_key", "is the id_key too"},
	{"lateness: 5s", "lateness: 5", 11, "streams[0].lateness", "without its unit"},
	{"lateness: 5s", "lateness: 5 weeks", 11, "streams[0].lateness", "the units are"},
	{"lateness: 5s", "lateness: 2h", 11, "streams[0].lateness", "longer than forget"},
	{"lateness: 5s", "lateness: 40d", 11, "streams[0].lateness", "out of range: 0 to 30d"},
	{"lateness: 5s", "lateness: 99999999999d", 11, "streams[0].lateness", "is too long"},
	{"lateness: 5s", "idle: 2h", 11, "streams[0].idle", "longer than forget"},
	{"size: 30s", "size: 35s", 14, "streams[0].windows[0].size",
		"35s is no multiple of the slide, 10s"},
	{"size: 30s", "size: 5s", 14, "streams[0].windows[0].slide", "longer than the size"},
	{"size: 30s", "size: 30m", 14, "streams[0].windows[0].slide", "at most 128 are kept"},
	{"lateness: 5s", "lateness: 30m", 14, "streams[0].windows[0].slide",
		"at most 128 are kept"},
	{"size: 30s, ", "", 14, "streams[0].windows[0].size", "is required"},
	{"[mean, max]", "[mean, mean]", 14, "streams[0].windows[0].stats[1]", "given twice"},
	{"[mean, max]", "[median]", 14, "streams[0].windows[0].stats[0]",
		"is none of: count, mean"},
	{"[mean, max]", "[]", 14, "streams[0].windows[0].stats", "must be a list of words"},
	{"[mean, max]}", "[mean]}\n      - {size: 30s, slide: 10s}", 15,
		"streams[0].windows[1].name", "window \"30s/10s\" is already in line 14"},
	/* alerts */
	{"type: above", "type: abov", 17, "streams[0].alerts[0].type", "did you mean above?"},
	{"        type: above\n", "", 16, "streams[0].alerts[0].type", "is required"},
	{"field: temp", "field: tmp", 18, "streams[0].alerts[0].field",
		"no field \"tmp\", did you mean temp?"},
	{"        field: temp\n", "", 16, "streams[0].alerts[0].name", "needs field or score"},
	{"field: temp", "score: odd", 18, "streams[0].alerts[0].score", "the stream has no models"},
	{"field: temp", "field: temp\n        class: odd", 19, "streams[0].alerts[0].class",
		"needs score too"},
	{"field: temp", "class: \"a\\tb\"", 18, "streams[0].alerts[0].class",
		"may not hold control characters"},
	{"    alerts:", "    models: [{name: odd}]\n    alerts:", 15, "streams[0].models[0].file",
		"is required"},
	{"    alerts:", "    models: [{name: odd, file: a.psm, window: 5m}]\n    alerts:", 15,
		"streams[0].models[0].window", "there is no window \"5m\""},
	{"    alerts:",
		"    models: [{name: odd, file: a.psm}, {name: odd, file: b.psm}]\n    alerts:", 15,
		"streams[0].models[1].name", "model \"odd\" is already in line 15"},
	{"field: temp", "field: temp\n        window: 1m", 19, "streams[0].alerts[0].window",
		"there is no window \"1m\""},
	{"field: temp", "field: temp\n        window: 30s/10s", 19, "streams[0].alerts[0].window",
		"needs stat"},
	{"field: temp", "field: temp\n        stat: mean", 19, "streams[0].alerts[0].stat",
		"needs window"},
	{"field: temp", "field: temp\n        window: 30s/10s\n        stat: min", 20,
		"streams[0].alerts[0].stat", "does not keep"},
	{"field: temp", "field: temp\n        count: 0", 19, "streams[0].alerts[0].count",
		"out of range"},
	{"field: temp", "field: temp\n        count: 2\n        for: 1m", 20,
		"streams[0].alerts[0].for", "not both"},
	{"field: temp", "field: temp\n        hysteresis: -1", 19,
		"streams[0].alerts[0].hysteresis", "not below 0"},
	{"type: missing, period: 10s", "type: rate, field: temp, threshold: 2, hysteresis: -1", 20,
		"streams[0].alerts[1].hysteresis", "not below 0"},
	{"type: missing, period: 10s", "type: rate, field: temp, threshold: 2, hysteresis: 2", 20,
		"streams[0].alerts[1].hysteresis", "less than the threshold"},
	{"type: missing, period: 10s", "type: missing, period: 10s, hysteresis: 1", 20,
		"streams[0].alerts[1].hysteresis", "is only for type: above or below or rate"},
	{"field: temp", "field: temp\n        period: 1s", 19, "streams[0].alerts[0].period",
		"is only for type: missing"},
	{"        threshold: 30\n", "", 16, "streams[0].alerts[0].threshold", "is required"},
	{"threshold: 30", "threshold: .inf", 19, "streams[0].alerts[0].threshold", "finite"},
	{"name: gone", "name: hot", 20, "streams[0].alerts[1].name",
		"alert \"hot\" is already in line 16"},
	{", period: 10s", "", 20, "streams[0].alerts[1].period", "is required"},
	{"period: 10s", "period: 20m", 20, "streams[0].alerts[1].period", "gone before the alert"},
	{"type: missing", "type: missing, field: temp", 20, "streams[0].alerts[1].field",
		"is only for type: above or below or rate"},
	{"type: missing, period: 10s", "type: rate, field: temp, threshold: -1", 20,
		"streams[0].alerts[1].threshold", "absolute change"},
	/* inputs */
	{"name: js", "name: bin", 25, "inputs[1].name", "input \"bin\" is already in line 22"},
	{"format: binary", "format: xml", 23, "inputs[0].format", "is none of: binary, json"},
	{"format: binary", "format: binary\n    stream: air", 24, "inputs[0].stream",
		"is only for format: json"},
	{"format: json", "format: json\n    stream: aire", 27, "inputs[1].stream",
		"no stream \"aire\", did you mean air?"},
	{"127.0.0.1:9000", "localhost:9000", 24, "inputs[0].listen", "is not address:port"},
	{"127.0.0.1:9000", "127.0.0.1:70000", 24, "inputs[0].listen", "is not address:port"},
	{"\"[::1]:9001\"", "127.0.0.1:9000", 27, "inputs[1].listen",
		"overlaps 127.0.0.1:9000 of input \"bin\" in line 24"},
	{"\"[::1]:9001\"", "0.0.0.0:9000", 27, "inputs[1].listen", "overlaps"},
	{"\"[::1]:9001\"", "\"[::]:9000\"", 27, "inputs[1].listen", "overlaps"},
	{"\"[::1]:9001\"", "\"[::ffff:127.0.0.1]:9000\"", 27, "inputs[1].listen", "overlaps"},
	{"    format: binary", "    type: tcp\n    format: binary", 23, "inputs[0].type",
		"is none of: udp"},
	{"    format: binary", "    enabled: yes\n    format: binary", 23, "inputs[0].enabled",
		"neither true nor false"},
	{"    format: binary", "    receive_buffer: 1KiB\n    format: binary", 23,
		"inputs[0].receive_buffer", "out of range: 64KiB to 1GiB"},
	/* journal */
	{"journal:\n", "journal: []\nx:\n", 28, "journal", "must be a map"},
	{"  dir: /var/lib/box\n", "", 29, "journal.dir", "is required unless sync is off"},
	{"sync: lazy", "sync: sometimes", 30, "journal.sync", "is none of: always, lazy, off"},
	{"sync: lazy", "segment: 1MB", 30, "journal.segment", "the units are B, KiB"},
	{"sync: lazy", "segment: 4194305", 30, "journal.segment", "multiple of 4KiB"},
	{"sync: lazy", "segment: 2GiB", 30, "journal.segment", "out of range"},
	{"sync: lazy", "ring: 3MiB", 30, "journal.ring", "power of two"},
	{"sync: lazy", "retention_bytes: 1MiB", 30, "journal.retention_bytes", "four segments"},
	{"sync: lazy", "on_full: drop", 30, "journal.on_full", "is none of"},
	/* outputs */
	{"name: kp", "name: kj", 39, "outputs[2].name", "output \"kj\" is already in line 35"},
	{"type: file", "type: fil", 33, "outputs[0].type", "did you mean file?"},
	{"    path: /tmp/box.jsonl\n", "", 32, "outputs[0].path", "is required"},
	{"/tmp/box.jsonl", "/var/lib/box/x.jsonl", 34, "outputs[0].path", "lies in journal.dir"},
	{"type: file\n    path: /tmp/box.jsonl", "type: stdout\n  - {name: s, type: stdout}", 34,
		"outputs[1].type", "writes to stdout already"},
	{"name: lines", "name: a/b", 32, "outputs[0].name", "may not hold /"},
	{"/tmp/box.jsonl", "/tmp/box.jsonl\n    keep: 0", 35, "outputs[0].keep", "out of range"},
	{"path: /tmp/box.jsonl\n",
		"path: /tmp/box.jsonl\n  - {name: o, type: file, path: /tmp/box.jsonl.12}\n", 35,
		"outputs[1].path", "output \"lines\" in line 34 collide"},
	{"path: /tmp/box.jsonl\n",
		"path: /tmp/box.jsonl.12\n  - {name: o, type: file, path: /tmp/box.jsonl}\n", 35,
		"outputs[1].path", "output \"lines\" in line 34 collide"},
	{"type: file\n", "type: file\n    topic: x\n", 34, "outputs[0].topic",
		"is only for type: kafka"},
	{"api:", "  - {name: f, type: file, path: /x}\napi:", 46, "", "not valid YAML"},
	{"brokers: one:9092\n", "brokers: one\n", 37, "outputs[1].brokers", "is not host:port"},
	{"brokers: one:9092\n", "brokers: one:9092,\n", 37, "outputs[1].brokers",
		"is not host:port"},
	{"readings: r, ", "readings: \"a b\", ", 38, "outputs[1].topics.readings",
		"no name of a Kafka topic"},
	{"topics: {readings: r, windows: w}", "topics: {reading: r}", 38,
		"outputs[1].topics.reading", "did you mean readings?"},
	{"    topics: {readings: r, windows: w}\n", "", 35, "outputs[1].topics.readings",
		"no topic is given"},
	{"    topics: {readings: r, windows: w}\n",
		"    topics: {readings: r, windows: w}\n    kinds: [readings, windows, alerts]\n",
		38, "outputs[1].topics.alerts", "for kinds holds alerts"},
	{"    topics: {readings: r, windows: w}\n",
		"    topics: {readings: r, windows: w}\n    kinds: [readings]\n", 38,
		"outputs[1].topics.windows", "never used"},
	{"    topics: {readings: r", "    topic: x\n    topics: {readings: r", 38,
		"outputs[1].topic", "is for format: packed"},
	{"    topic: blocks\n", "", 39, "outputs[2].topic", "is required with format: packed"},
	{"topic: blocks", "topic: blocks\n    topics: {alerts: a}", 44, "outputs[2].topics.alerts",
		"packed has one topic"},
	{"topic: blocks", "topic: blocks\n    kinds: [alerts]", 44, "outputs[2].kinds",
		"every kind"},
	{"topic: blocks", "topic: blocks\n    partition: by_sensor", 44, "outputs[2].partition",
		"by_worker only"},
	{"topic: blocks", "topic: blocks\n    linger: 1ms", 44, "outputs[2].linger", "must be 0"},
	{"topic: blocks", "topic: blocks\n    message_max: 64KiB", 44, "outputs[2].message_max",
		"largest block of these streams"},
	{"topic: blocks", "topic: blocks\n    properties: {acks: 1}", 44,
		"outputs[2].properties.acks", "delivery depends on it"},
	{"topic: blocks", "topic: blocks\n    properties: {linger.ms: 1}", 44,
		"outputs[2].properties.linger.ms", "set by the key linger"},
	{"topic: blocks", "topic: blocks\n    properties: {log.queue: 1}", 44,
		"outputs[2].properties.log.queue", "delivery depends on it"},
	{"topic: blocks", "topic: blocks\n    properties: {a: [1]}", 44, "outputs[2].properties.a",
		"must be text"},
	{"topic: blocks", "topic: blocks\n    compression: rar", 44, "outputs[2].compression",
		"is none of"},
	/* raw payloads that no input keeps */
	{"    format: binary", "    keep_raw: all\n    format: binary", 23, "inputs[0].keep_raw",
		"neither true nor false"},
	{"windows: w}", "raw: p}", 38, "outputs[1].topics.raw", "no input has keep_raw"},
	{"/tmp/box.jsonl", "/tmp/box.jsonl\n    kinds: [readings, raw]", 35, "outputs[0].kinds",
		"no input has keep_raw"},
	{"topic: blocks", "topic: blocks\n    kinds: [readings, windows, alerts, gaps, marks, raw]",
		44, "outputs[2].kinds", "no input has keep_raw"},
	/* limits, api, attributes */
	{"memory: 64MiB", "memory: 64XB", 45, "limits.memory", "the units are"},
	{"memory: 64MiB", "new_sensors_per_s: 0", 45, "limits.new_sensors_per_s", "out of range"},
	{"memory: 64MiB", "per_stream: [{stream: air, sensors: 99999999}]", 45,
		"limits.per_stream[0].sensors", "more than limits.memory leaves"},
	{"memory: 64MiB", "per_stream: [{stream: x, sensors: 1}]", 45,
		"limits.per_stream[0].stream", "there is no stream"},
	{"memory: 64MiB", "per_stream: [{stream: air, sensors: 1}, {stream: air, sensors: 1}]", 45,
		"limits.per_stream[1].stream", "has a limit already"},
	{"run/box.sock",
		"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		46, "api.socket", "107 bytes"},
	{"run/box.sock", "\"\"", 46, "api.socket", "is empty"},
	{"api:", "attributes: [{file: a.txt}]\napi:", 46, "attributes[0].file", "must end in .csv"},
	{"api:", "attributes: [{file: a.csv, stream: b}]\napi:", 46, "attributes[0].stream",
		"there is no stream"},
};

Test(config, every_mistake_is_named_with_its_place)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct broken *t = &table[i];
		char *text = replaced(t->from, t->to);
		struct ctl_errors errors = {0};
		struct ctl_config *config = NULL;
		int r = ctl_config_parse(text, strlen(text), "box.yaml", &config, &errors);

		if (r != -EINVAL || !has_error(&errors, t->line, t->path, t->message)) {
			ctl_errors_print(&errors, stderr);
			cr_expect(false, "mistake %zu: %s -> %s\nwanted line %u: %s: %s", i,
				t->from, t->to, t->line, t->path, t->message);
		}
		cr_expect_null(config);
		ctl_errors_free(&errors);
		free(text);
	}
}

static struct ctl_config *parse_well(const char *text)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config = NULL;
	int r = ctl_config_parse(text, strlen(text), "conf/box.yaml", &config, &errors);

	ctl_errors_print(&errors, stderr);
	ctl_errors_free(&errors);
	cr_assert_eq(r, 0);
	return config;
}

Test(config, values_and_defaults_reach_the_struct)
{
	struct ctl_config *c = parse_well(good);
	const struct dp_stream *s = &c->streams.streams[0];

	cr_expect_str_eq(c->name, "box");
	cr_expect_eq(c->workers.count, 1);
	cr_expect_eq(s->number, 7);
	cr_expect_eq(s->field_count, 2);
	cr_expect_float_eq(s->fields[0].min, -40, 0);
	cr_expect(s->fields[1].max > 1e38f);
	cr_expect_float_eq(s->fields[1].scale, 0.5f, 0);
	cr_expect_str_eq(s->tags[1].name, "line");
	cr_expect_str_eq(s->id_key, "sensor");
	cr_expect_eq(s->lateness_ns, 5 * DP_NS_PER_S);
	cr_expect_str_eq(s->windows[0].name, "30s/10s");
	cr_expect_eq(s->windows[0].stats, DP_STAT_MEAN | DP_STAT_MAX);
	cr_expect_eq(s->rules[0].field, 0);
	cr_expect_eq(s->rules[0].window, -1);
	cr_expect_eq(s->rules[0].count, 1);
	cr_expect_eq(s->rules[0].severity, DP_SEVERITY_WARNING);
	cr_expect_eq(s->rules[1].field, -1);
	cr_expect_eq(s->rules[1].count, 3);
	cr_expect_eq(s->state_hash, dp_stream_state_hash(s));
	cr_expect_eq(c->streams.hash, dp_schema_hash(&c->streams));
	cr_expect_eq(c->inputs[0].stream, -1);
	cr_expect_eq(c->inputs[1].stream, 0, "the only stream is the default");
	cr_expect_eq(c->inputs[1].listen.port, 9001);
	cr_expect_eq(c->inputs[1].listen.address.any.sa_family, AF_INET6);
	cr_expect_eq(c->journal.writer.sync, DP_SYNC_LAZY);
	cr_expect_eq(c->journal.writer.segment_bytes, 64u << 20);
	cr_expect_eq(c->journal.linger_ns, DP_NS_PER_MS);
	cr_expect_eq(c->outputs[0].kinds & 1u << DP_REC_MARK, 0);
	cr_expect_eq(c->outputs[1].kinds, 1u << DP_REC_READING | 1u << DP_REC_WINDOW);
	cr_expect_eq(c->outputs[1].kafka.partition, CTL_PARTITION_BY_SENSOR);
	cr_expect_eq(c->outputs[1].kafka.linger_ns, DP_NS_PER_MS);
	cr_expect_eq(c->outputs[2].kafka.linger_ns, 0);
	cr_expect_eq(c->outputs[2].kafka.partition, CTL_PARTITION_BY_WORKER);
	cr_expect_str_eq(c->api_socket, "conf/run/box.sock", "counts from the config's folder");
	cr_expect_eq(c->limits.sensors_max[0], (64u << 20) / ctl_sensor_bytes(s));
	ctl_config_free(c);
}

Test(config, rate_rule_takes_a_hysteresis)
{
	char *text = replaced("type: missing, period: 10s",
		"type: rate, field: temp, threshold: 2, hysteresis: 0.5");
	struct ctl_config *c = parse_well(text);

	cr_expect_float_eq(c->streams.streams[0].rules[1].hysteresis, 0.5, 0);
	ctl_config_free(c);
	free(text);
}

/* One input keeps what comes: who asks for it gets it, packed messages hold it, others do not. */
Test(config, raw_payloads_reach_who_asks_for_them)
{
	static const uint32_t raw = 1u << DP_REC_RAW;
	char *kept = replaced("format: json\n", "format: json\n    keep_raw: true\n");
	char *asked = replaced_in(kept, "windows: w}", "raw: p}");
	struct ctl_errors errors = {0};
	struct ctl_config *c = parse_well(good), *again;
	json_t *json;
	char *text;

	cr_expect_not(c->inputs[1].keep_raw);
	for (uint32_t i = 0; i < 3; i++)
		cr_expect_eq(c->outputs[i].kinds & raw, 0, "output %u", i);
	ctl_config_free(c);
	c = parse_well(asked);
	cr_expect_not(c->inputs[0].keep_raw);
	cr_expect(c->inputs[1].keep_raw);
	cr_expect_eq(c->outputs[0].kinds & raw, 0);
	cr_expect_eq(c->outputs[1].kinds, 1u << DP_REC_READING | raw);
	cr_expect_str_eq(c->outputs[1].kafka.topics.kind[DP_REC_RAW], "p");
	cr_expect_eq(c->outputs[2].kinds, (1u << DP_REC_KINDS) - 2);
	json = ctl_config_json(c);
	text = json_dumps(json, 0);
	again = parse_well(text);
	cr_expect_eq(again->outputs[1].kinds, c->outputs[1].kinds);
	cr_expect_eq(again->outputs[2].kinds, c->outputs[2].kinds);
	ctl_config_free(again);
	ctl_config_free(c);
	json_decref(json);
	free(text);

	/* the one that keeps them is not opened: none come */
	text = replaced_in(asked, "keep_raw: true\n", "keep_raw: true\n    enabled: false\n");
	cr_expect_eq(ctl_config_parse(text, strlen(text), "x", &c, &errors), -EINVAL);
	cr_expect_eq(errors.count, 1);
	cr_expect(has_error(&errors, 40, "outputs[1].topics.raw", "no input has keep_raw"));
	ctl_errors_free(&errors);
	free(text);

	/* packed messages hold every kind that there is */
	text = replaced_in(kept, "topic: blocks",
		"topic: blocks\n    kinds: [readings, windows, alerts, gaps, marks]");
	errors = (struct ctl_errors){0};
	cr_expect_eq(ctl_config_parse(text, strlen(text), "x", &c, &errors), -EINVAL);
	cr_expect(has_error(&errors, 45, "outputs[2].kinds", "every kind"));
	ctl_errors_free(&errors);
	free(text);
	text = replaced("topic: blocks",
		"topic: blocks\n    kinds: [readings, windows, alerts, gaps, marks]");
	ctl_config_free(parse_well(text));
	free(text);
	free(asked);
	free(kept);
}

Test(config, memory_that_holds_no_sensor_is_refused)
{
	/* 1024 fields in a window of 100 panes: one sensor is larger than a MiB. */
	char *text = malloc(1 << 17);
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	size_t at = 0;

	at += (size_t)sprintf(text + at, "streams:\n  - name: wide\n    fields:\n");
	for (int i = 0; i < 1024; i++)
		at += (size_t)sprintf(text + at, "      - {name: f%d}\n", i);
	at += (size_t)sprintf(text + at,
		"    lateness: 0\n    windows: [{size: 100s, slide: 1s, stats: [mean]}]\n"
		"inputs: [{name: a, format: binary, listen: \"127.0.0.1:1\"}]\n"
		"journal: {dir: /x, ring: 4GiB, segment: 1GiB}\nlimits: {memory: 1MiB}\n");
	cr_expect_eq(ctl_config_parse(text, at, "x", &config, &errors), -EINVAL);
	cr_expect(has_error(&errors, 1032, "limits.memory", "room for 0 sensors"));
	ctl_errors_print(&errors, stderr);
	ctl_errors_free(&errors);
	free(text);
}

Test(config, largest_block_bounds_ring_segment_and_message)
{
	/* One reading may close a hundred windows of 200 statistics, a datagram holds 64 readings.
	 */
	char *text = malloc(1 << 17);
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	size_t at = 0;

	at += (size_t)sprintf(text + at, "streams:\n  - name: wide\n    fields:\n");
	for (int i = 0; i < 200; i++)
		at += (size_t)sprintf(text + at, "      - {name: f%d}\n", i);
	at += (size_t)sprintf(text + at,
		"    lateness: 0\n    windows: [{size: 100s, slide: 1s, stats: [mean]}]\n"
		"inputs: [{name: a, format: binary, listen: \"127.0.0.1:1\"}]\n"
		"journal:\n  dir: /x\n  ring: 16MiB\n  segment: 16MiB\n"
		"outputs: [{name: k, type: kafka, format: packed, topic: t, brokers: \"b:1\"}]\n");
	cr_expect_eq(ctl_config_parse(text, at, "x", &config, &errors), -EINVAL);
	cr_expect_eq(errors.count, 3);
	cr_expect(has_error(&errors, 209, "journal.ring", "is above a quarter of it"));
	cr_expect(has_error(&errors, 210, "journal.segment", "is above a quarter of it"));
	cr_expect(has_error(&errors, 211, "outputs[0].message_max", "is above it"));
	ctl_errors_free(&errors);
	free(text);
}

Test(config, all_errors_come_at_once_in_order)
{
	static const char text[] = "nam: x\nstreams: [{name: a, fields: [{name: t}], "
				   "lateness: 5}]\ninputs: [{name: i, format: json, listen: x}]\n";
	struct ctl_errors errors = {0};
	struct ctl_config *config;

	cr_expect_eq(ctl_config_parse(text, strlen(text), "x", &config, &errors), -EINVAL);
	cr_assert_eq(errors.count, 4);
	for (uint32_t i = 1; i < errors.count; i++)
		cr_expect_leq(errors.list[i - 1].line, errors.list[i].line);
	cr_expect_str_eq(errors.list[0].path, "nam");
	cr_expect_str_eq(errors.list[1].path, "journal.dir");
	ctl_errors_free(&errors);
}

/* What only librdkafka knows: each output's, with the line. */
Test(config, properties_that_librdkafka_refuses_have_a_place)
{
	char *once = replaced(
		"    topic: blocks\n", "    topic: blocks\n    properties: {no.such.thing: 1}\n");
	char *text = replaced_in(once, "    topics: {readings: r, windows: w}\n",
		"    topics: {readings: r, windows: w}\n    properties:\n      nor.such: 1\n");
	struct ctl_errors errors = {0};
	struct ctl_config *config;

	cr_assert_eq(ctl_config_parse(text, strlen(text), "box.yaml", &config, &errors), 0);
	cr_assert_eq(ctl_kafka_check(config, &errors), -EINVAL);
	cr_expect_eq(errors.count, 2);
	cr_expect(has_error(&errors, 40, "outputs[1]", "nor.such"));
	cr_expect(has_error(&errors, 46, "outputs[2]", "no.such.thing"));
	ctl_config_free(config);
	ctl_errors_free(&errors);
	free(once);
	free(text);
}

Test(config, errors_print_as_file_line_column_key)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	char out[4096] = "";
	FILE *f = fmemopen(out, sizeof(out), "w");
	char *text = replaced("slide: 10s", "slide: 7s");

	ctl_config_parse(text, strlen(text), "box.yaml", &config, &errors);
	ctl_errors_print(&errors, f);
	fclose(f);
	cr_expect(strstr(out, "box.yaml:14:16: streams[0].windows[0].size: 30s is no multiple of "
			      "the slide, 7s\n"),
		"%s", out);
	ctl_errors_free(&errors);
	free(text);
}

Test(config, variables_are_replaced_once)
{
	char *text = replaced("name: box", "name: ${PENSTOCK_TEST_A}${PENSTOCK_TEST_B:-tail}");
	struct ctl_config *c;

	setenv("PENSTOCK_TEST_A", "head-", 1);
	setenv("PENSTOCK_TEST_B", "", 1); /* empty counts as unset where there is a default */
	c = parse_well(text);
	cr_expect_str_eq(c->name, "head-tail");
	ctl_config_free(c);
	free(text);

	text = replaced("/tmp/box.jsonl", "/tmp/${PENSTOCK_TEST_A}$${x}$1");
	setenv("PENSTOCK_TEST_A", "${HOME}", 1);
	c = parse_well(text);
	cr_expect_str_eq(c->outputs[0].path, "/tmp/${HOME}${x}$1");
	ctl_config_free(c);
	free(text);
}

Test(config, anchors_work_and_laughs_are_bounded)
{
	static const char laughs[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
				     "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
				     "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
				     "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
				     "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
				     "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
				     "streams: *f\ninputs: *f\n";
	char *text = replaced("    brokers: one:9092\n    topics: {readings: r, windows: w}",
		"    brokers: &b one:9092\n    topics: {readings: &t r, windows: *t}");
	struct ctl_config *c = parse_well(text);
	struct ctl_errors errors = {0};

	cr_expect_str_eq(c->outputs[1].kafka.topics.kind[DP_REC_WINDOW], "r");
	ctl_config_free(c);
	free(text);
	cr_expect_eq(ctl_config_parse(laughs, strlen(laughs), "x", &c, &errors), -EINVAL);
	cr_expect_leq(errors.count, CTL_ERRORS_MAX);
	ctl_errors_free(&errors);
}

Test(config, aliases_multiplied_stop_at_a_budget, .timeout = 20)
{
	/* 64 streams of one list of 1024 fields, each with 60 keys that do not exist: 4 M errors.
	 */
	char *text = malloc(1 << 17);
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	size_t at = 0;

	at += (size_t)sprintf(
		text + at, "streams:\n  - name: s\n    fields: &f\n      - &one {name: a");
	for (int i = 0; i < 60; i++)
		at += (size_t)sprintf(text + at, ", nam%d: x", i);
	at += (size_t)sprintf(text + at, "}\n");
	for (int i = 1; i < 1024; i++)
		at += (size_t)sprintf(text + at, "      - *one\n");
	for (int i = 0; i < 63; i++)
		at += (size_t)sprintf(text + at, "  - {name: s%d, fields: *f}\n", i);
	cr_expect_eq(ctl_config_parse(text, at, "x", &config, &errors), -EINVAL);
	cr_expect_eq(errors.count, CTL_ERRORS_MAX);
	cr_expect_gt(errors.left_out, 0);
	cr_expect_leq(errors.left_out, 1100000);
	ctl_errors_free(&errors);
	free(text);
}

Test(config, effective_json_is_a_config_that_means_the_same)
{
	struct ctl_config *c = parse_well(good), *again;
	json_t *first = ctl_config_json(c), *second;
	char *text = json_dumps(first, JSON_INDENT(1));

	/* Relative paths were counted once; they are absolute enough not to be counted again. */
	json_object_set_new(json_object_get(first, "api"), "socket", json_string("/run/x"));
	free(text);
	text = json_dumps(first, JSON_INDENT(1));
	again = parse_well(text);
	second = ctl_config_json(again);
	cr_expect(json_equal(first, second));
	cr_expect_eq(c->streams.hash, again->streams.hash);
	json_decref(first);
	json_decref(second);
	free(text);
	ctl_config_free(c);
	ctl_config_free(again);
}

/* What a model calls its classes is not ours to choose. */
Test(config, any_label_may_be_named)
{
	char *text = replaced("field: temp\n", "score: m\n        class: \"5\\\" \\\\ $${x}\"\n");
	char *whole = replaced_in(
		text, "    alerts:", "    models: [{name: m, file: /m.psm}]\n    alerts:");
	struct ctl_config *c = parse_well(whole), *again;
	json_t *effective = ctl_config_json(c);
	char *dump = json_dumps(effective, 0);

	again = parse_well(dump);
	cr_expect_str_eq(c->streams.streams[0].rules[0].class_name, "5\" \\ ${x}");
	cr_expect_str_eq(again->streams.streams[0].rules[0].class_name, "5\" \\ ${x}");
	json_decref(effective);
	free(dump);
	free(whole);
	free(text);
	ctl_config_free(c);
	ctl_config_free(again);
}

Test(config, effective_json_hides_secrets)
{
	char *text = replaced("topic: blocks",
		"topic: blocks\n    properties: {sasl.password: hush, sasl.username: me}");
	struct ctl_config *c = parse_well(text);
	json_t *all = ctl_config_json(c);
	char *dump = json_dumps(all, 0);

	cr_expect_str_eq(c->outputs[2].kafka.properties[0].value, "hush");
	cr_expect_null(strstr(dump, "hush"));
	cr_expect(strstr(dump, "\"sasl.username\": \"me\""));
	free(dump);
	json_decref(all);
	ctl_config_free(c);
	free(text);
}

Test(config, workers_spread_over_the_allowed_cores)
{
	char *text = replaced("workers: 1", "workers: 16");
	struct ctl_config *c = parse_well(text);
	cpu_set_t allowed;

	sched_getaffinity(0, sizeof(allowed), &allowed);
	cr_expect_eq(c->workers.count, 16);
	for (uint32_t i = 0; i < 16; i++)
		cr_expect(CPU_ISSET(c->workers.core[i], &allowed));
	ctl_config_free(c);
	free(text);
	text = replaced("workers: 1", "workers: auto");
	c = parse_well(text);
	cr_expect(c->workers.automatic && c->workers.count >= 1);
	cr_expect_leq(c->workers.count, (uint32_t)CPU_COUNT(&allowed));
	ctl_config_free(c);
	free(text);
}

Test(config, the_shipped_profile_loads)
{
	struct ctl_errors errors = {0};
	struct ctl_config *c = NULL;
	int r = ctl_config_load(PENSTOCK_SOURCE "/deploy/profiles/sensors.yaml", &c, &errors);

	ctl_errors_print(&errors, stderr);
	cr_assert_eq(r, 0);
	cr_expect_eq(c->streams.streams[0].field_count, 4);
	cr_expect_eq(c->streams.streams[0].window_count, 2);
	cr_expect_str_eq(c->streams.streams[0].windows[1].name, "5m/1m");
	cr_expect_eq(c->inputs[0].listen.port, 9000);
	cr_expect_eq(c->inputs[1].listen.port, 9001);
	cr_expect(!c->outputs[1].enabled, "the demo runs without Kafka");
	cr_expect_eq(ctl_attributes_count(c->attributes), 4);
	ctl_config_free(c);
	ctl_errors_free(&errors);
}

Test(config, a_file_that_is_not_there_is_one_error)
{
	struct ctl_errors errors = {0};
	struct ctl_config *c;

	cr_expect_eq(ctl_config_load("/nonexistent/x.yaml", &c, &errors), -ENOENT);
	cr_expect_eq(errors.count, 1);
	ctl_errors_free(&errors);
}

/* Without the place a long list of files does not tell which entry is wrong. */
Test(config, an_attributes_file_that_is_not_there_is_an_error_of_its_key)
{
	char path[] = "/tmp/penstock-config-XXXXXX.yaml";
	char *text = replaced("api:", "attributes: [{file: missing/a.csv}]\napi:");
	int fd = mkstemps(path, 5);
	struct ctl_errors errors = {0};
	struct ctl_config *c;

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	cr_expect_eq(ctl_config_load(path, &c, &errors), -EINVAL);
	cr_expect_null(c);
	cr_assert_eq(errors.count, 1);
	cr_expect_str_eq(errors.list[0].file, path);
	cr_expect_eq(errors.list[0].column, 21);
	cr_expect(has_error(&errors, 46, "attributes[0].file",
		"/tmp/missing/a.csv: No such file or directory"));
	ctl_errors_free(&errors);
	unlink(path);
	free(text);
}

static void expect_current(const char *path, void (*write)(FILE *))
{
	char *made = NULL, *there;
	size_t made_bytes, there_bytes;
	FILE *f = open_memstream(&made, &made_bytes);

	write(f);
	fclose(f);
	f = fopen(path, "r");
	cr_assert(f, "%s", path);
	there = calloc(1, made_bytes + 2);
	there_bytes = fread(there, 1, made_bytes + 1, f);
	fclose(f);
	cr_expect(there_bytes == made_bytes && !memcmp(made, there, made_bytes),
		"%s is not what the table says now: make it again", path);
	free(made);
	free(there);
}

Test(config, reference_and_schema_are_current)
{
	expect_current(PENSTOCK_SOURCE "/docs/config.md", ctl_config_reference);
	expect_current(PENSTOCK_SOURCE "/deploy/penstock.schema.json", ctl_config_json_schema);
}

Test(config, scalars_read_back_as_written)
{
	static const int64_t values[] = {
		0, 1, 999, 1000, 1500, 60000000000, 90000000000, 86400000000000, INT64_MAX};
	char text[CTL_SCALAR_TEXT_BYTES];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint64_t bytes = 0;
		int64_t ns = -1;

		ctl_write_duration(values[i], text);
		cr_expect_null(ctl_read_duration(text, &ns));
		cr_expect_eq(ns, values[i], "%s", text);
		ctl_write_bytes((uint64_t)values[i], text);
		cr_expect_null(ctl_read_bytes(text, &bytes));
		cr_expect_eq(bytes, (uint64_t)values[i], "%s", text);
	}
	ctl_write_duration(90000000000, text);
	cr_expect_str_eq(text, "90s");
}
