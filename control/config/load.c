/* Files to a config: the YAML file itself, then the attribute files that it names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config/attributes_build.h"
#include "control/config/config.h"
#include "control/config/parse.h"
#include "control/config/scalar.h"

static int load_attributes(struct ctl_config *c, struct ctl_errors *errors)
{
	struct ctl_attribute_source sources[CTL_ATTRIBUTE_FILES_MAX];
	const char *streams[DP_STREAMS_MAX + 1];
	char keys[CTL_ATTRIBUTE_FILES_MAX][32];

	for (uint32_t i = 0; i < c->streams.count; i++)
		streams[i] = c->streams.streams[i].name;
	streams[c->streams.count] = NULL;
	for (uint32_t i = 0; i < c->attribute_file_count; i++) {
		const struct ctl_attribute_file *f = &c->attribute_files[i];

		snprintf(keys[i], sizeof(keys[i]), "attributes[%u].file", i);
		sources[i] = (struct ctl_attribute_source){
			.path = f->path,
			.stream = f->stream < 0 ? NULL : streams[f->stream],
			.named_by = c->file,
			.key = keys[i],
			.line = f->given.line,
			.column = f->given.column,
		};
	}
	return ctl_attributes_load(
		sources, c->attribute_file_count, streams, &c->attributes, errors);
}

static int load(
	const char *path, bool opens_files, struct ctl_config **out, struct ctl_errors *errors)
{
	struct ctl_config *config;
	size_t len;
	char *text;
	int error = ctl_file_read(path, CTL_CONFIG_BYTES_MAX, &text, &len);

	*out = NULL;
	if (error) {
		ctl_errors_add(errors, path, 0, 0, NULL, "%s", strerror(-error));
		return error;
	}
	error = ctl_config_read(
		&(struct ctl_config_text){path, text, len}, opens_files, &config, errors);
	free(text);
	if (error)
		return error;
	if (opens_files && config->attribute_file_count && load_attributes(config, errors)) {
		ctl_errors_sort(errors);
		ctl_config_free(config);
		return -EINVAL;
	}
	*out = config;
	return 0;
}

int ctl_config_load(const char *path, struct ctl_config **out, struct ctl_errors *errors)
{
	return load(path, true, out, errors);
}

int ctl_config_load_alone(const char *path, struct ctl_config **out, struct ctl_errors *errors)
{
	return load(path, false, out, errors);
}

static void print_stream(const struct ctl_config *c, const struct dp_stream *s, FILE *out)
{
	size_t bytes = ctl_sensor_bytes(s);

	fprintf(out,
		"stream %s (number %u): %u fields, %u tags, %u windows, %u models, %u alerts; %zu "
		"bytes a sensor, at most %u sensors (%.1f MiB)\n",
		s->name, s->number, s->field_count, s->tag_count, s->window_count, s->model_count,
		s->rule_count, bytes, c->limits.sensors_max[s->index],
		(double)bytes * c->limits.sensors_max[s->index] / (1 << 20));
}

static void print_models(const struct ctl_config *c, FILE *out)
{
	uint32_t bundle = 0;

	for (uint32_t i = 0; i < c->streams.count; i++) {
		const struct dp_stream *s = &c->streams.streams[i];

		for (uint32_t k = 0; k < s->model_count; k++, bundle++)
			fprintf(out, "model %s of %s: %s, version %u\n", s->models[k].name, s->name,
				s->models[k].file, c->models->bundles[bundle]->version);
	}
}

void ctl_config_print(const struct ctl_config *c, FILE *out)
{
	char text[CTL_SCALAR_TEXT_BYTES];

	fprintf(out, "appliance %s: %u workers on cores", c->name, c->workers.count);
	for (uint32_t i = 0; i < c->workers.count; i++)
		fprintf(out, " %u", c->workers.core[i]);
	fputc('\n', out);
	for (uint32_t i = 0; i < c->streams.count; i++)
		print_stream(c, &c->streams.streams[i], out);
	if (c->models)
		print_models(c, out);
	for (uint32_t i = 0; i < c->input_count; i++)
		fprintf(out, "input %s: udp %s, %s%s%s\n", c->inputs[i].name,
			c->inputs[i].listen.text,
			c->inputs[i].format == DP_FORMAT_JSON ? "json" : "binary",
			c->inputs[i].keep_raw ? ", kept as it comes" : "",
			c->inputs[i].enabled ? "" : ", disabled");
	ctl_write_bytes(c->block_bytes_max, text);
	fprintf(out, "journal %s: blocks of at most %s\n",
		c->journal.dir ? c->journal.dir : "in memory", text);
	for (uint32_t i = 0; i < c->output_count; i++)
		fprintf(out, "output %s: %s%s\n", c->outputs[i].name,
			c->outputs[i].type == CTL_OUTPUT_FILE	 ? c->outputs[i].path
			: c->outputs[i].type == CTL_OUTPUT_KAFKA ? c->outputs[i].kafka.brokers
								 : "stdout",
			c->outputs[i].enabled ? "" : ", disabled");
	if (c->attributes)
		fprintf(out, "attributes of %zu sensors\n", ctl_attributes_count(c->attributes));
}
