/* Any bytes as an attribute file, CSV or YAML by the first; what is rendered must be JSON. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/config/attributes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a buffer on some texts that are no YAML; its leaks are not ours to end. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_attribute_source source = {.path = "fuzz.csv"};
	struct ctl_errors errors = {0};
	struct ctl_attributes *a;
	int error;

	if (!size)
		return 0;
	if (data[0] == '-')
		source.path = "fuzz.yaml";
	error = ctl_attributes_parse(&source, (const char *)data, size, &a, &errors);
	if (!error != !errors.count || !error != !!a)
		abort();
	if (a) {
		const struct ctl_sensor_attributes *e = ctl_attributes_find(a, "s", "a", 1);
		json_t *json = e ? json_loadb(e->json, e->json_bytes, 0, NULL) : NULL;

		if (e && (!json || json_object_size(json) != e->count))
			abort();
		json_decref(json);
	}
	ctl_attributes_free(a);
	ctl_errors_free(&errors);
	return 0;
}
