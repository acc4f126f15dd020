/* penstock check: a config file without a daemon. */
#include <stdio.h>
#include <string.h>

#include "control/cli/cli.h"
#include "control/config/config.h"
#include "control/config/kafka.h"

static json_t *errors_json(const struct ctl_errors *errors)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < errors->count; i++) {
		const struct ctl_error *e = &errors->list[i];

		json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", e->file,
						    "line", (int)e->line, "column", (int)e->column,
						    "key", e->path, "message", e->message));
	}
	return json_pack(
		"{s:b, s:o, s:i}", "ok", 0, "errors", list, "left_out", (int)errors->left_out);
}

static json_t *sizes_json(const struct ctl_config *c)
{
	json_t *streams = json_array();

	for (uint32_t i = 0; i < c->streams.count; i++) {
		const struct dp_stream *s = &c->streams.streams[i];

		json_array_append_new(streams,
			json_pack("{s:s, s:i, s:I, s:I}", "name", s->name, "number", (int)s->number,
				"bytes_per_sensor", (json_int_t)ctl_sensor_bytes(s), "sensors_max",
				(json_int_t)c->limits.sensors_max[i]));
	}
	return json_pack("{s:b, s:i, s:o, s:I, s:o}", "ok", 1, "workers", (int)c->workers.count,
		"streams", streams, "block_bytes_max", (json_int_t)c->block_bytes_max, "config",
		ctl_config_json(c));
}

static int print_and_free(json_t *json)
{
	int rc = cli_print_json(json);

	json_decref(json);
	return rc;
}

int cli_check(const struct cli *cli)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config = NULL;
	int rc = CLI_OK;

	if (cli->schema || cli->reference) {
		(cli->schema ? ctl_config_json_schema : ctl_config_reference)(stdout);
		return fflush(stdout) ? CLI_IO : CLI_OK;
	}
	if (ctl_config_load(cli->file, &config, &errors) || ctl_kafka_check(config, &errors)) {
		if (cli->json)
			print_and_free(errors_json(&errors));
		else
			ctl_errors_print(&errors, stderr);
		rc = CLI_USAGE;
	} else {
		if (cli->json)
			rc = print_and_free(sizes_json(config));
		else
			ctl_config_print(config, stdout);
	}
	ctl_config_free(config);
	ctl_errors_free(&errors);
	return rc;
}
