/*
 * Any bytes as a config: no crash, no hang, at least one error or a config; and what the API shows
 * of a config is a config that means the same.
 */
#include <stdlib.h>
#include <string.h>

#include "control/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer on some texts that are no YAML; its leaks are not ours to end. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

static void check_again(const struct ctl_config *config)
{
	json_t *first = ctl_config_json(config), *second;
	char *text = json_dumps(first, 0);
	struct ctl_errors errors = {0};
	struct ctl_config *again;

	/* A literal ${ would be taken for a variable the second time. */
	if (!strstr(text, "${")) {
		if (ctl_config_parse(text, strlen(text), "again", &again, &errors)) {
			ctl_errors_print(&errors, stderr);
			abort();
		}
		second = ctl_config_json(again);
		if (!json_equal(first, second) || config->streams.hash != again->streams.hash)
			abort();
		json_decref(second);
		ctl_config_free(again);
	}
	ctl_errors_free(&errors);
	json_decref(first);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_errors errors = {0};
	struct ctl_config *config;
	int error = ctl_config_parse((const char *)data, size, "fuzz", &config, &errors);

	if (!error != !errors.count || !error != !!config)
		abort();
	if (config)
		check_again(config);
	ctl_config_free(config);
	ctl_errors_free(&errors);
	return 0;
}
