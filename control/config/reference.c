/* docs/config.md and the JSON Schema, from the tables of keys.c. */
#include <stdlib.h>
#include <string.h>

#include "control/config/config.h"
#include "control/config/keys.h"
#include "control/config/scalar.h"

enum { SECTIONS_MAX = 32, TYPE_BYTES = 400 };

static const char preface[] =
	"# Configuration\n"
	"\n"
	"This page and `deploy/penstock.schema.json` (for editors) are made from the table that "
	"the "
	"parser runs on; a test compares them.\n"
	"`penstock check FILE` reports every error at once (of models and alerts on them once the "
	"rest is right), each as `file:line:column: key: "
	"message`. A ready example is `deploy/profiles/sensors.yaml`.\n"
	"\n"
	"- **Form.** One YAML 1.2 document, at most 1 MiB. Anchors and aliases work; tags, merge "
	"keys "
	"and duplicate keys are errors, and so are unknown keys.\n"
	"- **Variables.** `${NAME}` in a value stands for the environment variable, which must be "
	"set; "
	"`${NAME:-default}` for the default where it is unset or empty. `$${` stands for `${` "
	"itself; "
	"any other `$` stands for itself. What a variable holds is not looked at again. Inside of "
	"`[ ]` and `{ }` put such a value in quotes.\n"
	"- **Sizes** are whole numbers of bytes or with a unit: B, KiB, MiB, GiB, TiB. "
	"**Durations** "
	"need their unit: ns, us, ms, s, m, h, d; `0` needs none.\n"
	"- **Names** are 1 to 32 letters, digits, `_ - . /`. **Text** of fields, tags and keys is "
	"1 to "
	"32 bytes without quotes, backslashes or control characters.\n"
	"- **Paths** that do not start with `/` count from the folder of the config file.\n";

static void describe_range(const struct ctl_key *k, char *text, size_t size)
{
	char low[CTL_SCALAR_TEXT_BYTES], high[CTL_SCALAR_TEXT_BYTES];

	text[0] = 0;
	if (!(k->low < k->high))
		return;
	if (k->type == CTL_T_BYTES) {
		ctl_write_bytes((uint64_t)k->low, low);
		ctl_write_bytes((uint64_t)k->high, high);
	} else if (k->type == CTL_T_DURATION) {
		ctl_write_duration((int64_t)k->low, low);
		ctl_write_duration((int64_t)k->high, high);
	} else {
		snprintf(low, sizeof(low), "%.0f", k->low);
		snprintf(high, sizeof(high), "%.0f", k->high);
	}
	snprintf(text, size, ", %s to %s", low, high);
}

static void describe_type(const struct ctl_key *k, char text[TYPE_BYTES])
{
	static const char *const words[CTL_T_COUNT] = {[CTL_T_NAME] = "name",
		[CTL_T_LABEL] = "text",
		[CTL_T_TEXT] = "text",
		[CTL_T_PATH] = "path",
		[CTL_T_TOPIC] = "topic",
		[CTL_T_BROKERS] = "host:port, ...",
		[CTL_T_BOOL] = "true, false",
		[CTL_T_UINT] = "whole number",
		[CTL_T_NUMBER] = "number",
		[CTL_T_BYTES] = "size",
		[CTL_T_DURATION] = "duration",
		[CTL_T_CHOICE] = "",
		[CTL_T_CHOICES] = "list of ",
		[CTL_T_LISTEN] = "address:port",
		[CTL_T_WORKERS] = "`auto`, number, list of cores",
		[CTL_T_FIELD] = "name of a field",
		[CTL_T_WINDOW] = "name of a window",
		[CTL_T_MODEL] = "name of a model",
		[CTL_T_STREAM] = "name of a stream",
		[CTL_T_PROPERTIES] = "map of names to values",
		[CTL_T_OBJECT] = "map",
		[CTL_T_LIST] = "list"};
	char range[100];
	size_t at;

	describe_range(k, range, sizeof(range));
	at = (size_t)snprintf(text, TYPE_BYTES, "%s%s", words[k->type], range);
	for (const struct ctl_choice *c = k->choices; c && c->name && at < TYPE_BYTES; c++)
		at += (size_t)snprintf(
			text + at, TYPE_BYTES - at, "%s`%s`", c == k->choices ? "" : ", ", c->name);
}

static void write_only(const struct ctl_object *o, const struct ctl_key *k, FILE *out)
{
	const struct ctl_key *d = k->only ? ctl_key_find(o, o->discriminator) : NULL;
	const char *between = "";

	if (!d)
		return;
	fprintf(out, "For %s ", d->name);
	for (const struct ctl_choice *c = d->choices; c->name; c++) {
		if (k->only & 1u << c->value) {
			fprintf(out, "%s%s", between, c->name);
			between = ", ";
		}
	}
	fputs(": ", out);
}

static void write_default(const struct ctl_key *k, FILE *out)
{
	if (k->required)
		fputs("required", out);
	else if (k->type == CTL_T_OBJECT)
		fputs("see below", out);
	else if (k->fallback_text)
		fputs(k->fallback_text, out);
	else if (k->type == CTL_T_CHOICES && k->fallback)
		fputs("all", out);
	else if (k->fallback)
		fprintf(out, "`%s`", k->fallback);
	else
		fputs("none", out);
}

static void write_section(const struct ctl_object *o, const char *path, FILE *out)
{
	fprintf(out,
		"\n## %s\n\n%s\n\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n",
		path[0] ? path : "Top level", o->help);
	for (const struct ctl_key *k = o->keys; k->name; k++) {
		char type[TYPE_BYTES];

		describe_type(k, type);
		fprintf(out, "| `%s` | %s | ", k->name, type);
		write_default(k, out);
		fputs(" | ", out);
		write_only(o, k, out);
		fprintf(out, "%s |\n", k->help);
	}
}

void ctl_config_reference(FILE *out)
{
	struct {
		const struct ctl_object *object;
		char path[64];
	} todo[SECTIONS_MAX] = {{ctl_root_object(), ""}};
	size_t count = 1;

	fputs(preface, out);
	/* Breadth first: each object after the one that holds it. */
	for (size_t i = 0; i < count; i++) {
		char path[64];

		strcpy(path, todo[i].path);
		write_section(todo[i].object, path, out);
		for (const struct ctl_key *k = todo[i].object->keys; k->name; k++) {
			if (!k->object || count == SECTIONS_MAX)
				continue;
			todo[count].object = k->object;
			snprintf(todo[count].path, sizeof(todo[count].path), "%.40s%s%.20s", path,
				path[0] ? "." : "", k->name);
			if (k->type == CTL_T_LIST)
				strcat(todo[count].path, "[]");
			count++;
		}
	}
}
