/* The JSON Schema (draft-07, what editors understand) from the tables of keys.c. */
#include <jansson.h>
#include <string.h>

#include "control/config/config.h"
#include "control/config/keys.h"

/* Any value may be a variable; whether it fits is known only once it is replaced. */
static const char variable_pattern[] = "\\$\\{";

static json_t *pattern(const char *regex)
{
	return json_pack("{s:s, s:s}", "type", "string", "pattern", regex);
}

static json_t *choice_schema(const struct ctl_key *k)
{
	json_t *names = json_array();

	for (const struct ctl_choice *c = k->choices; c->name; c++)
		json_array_append_new(names, json_string(c->name));
	return json_pack("{s:o}", "enum", names);
}

static json_t *number_schema(const struct ctl_key *k)
{
	json_t *s = json_pack("{s:s}", "type", k->type == CTL_T_UINT ? "integer" : "number");

	if (k->low < k->high) {
		json_object_set_new(s, "minimum", json_integer((json_int_t)k->low));
		json_object_set_new(s, "maximum", json_integer((json_int_t)k->high));
	}
	return s;
}

static json_t *workers_schema(void)
{
	return json_pack("{s:[{s:s}, {s:s, s:i, s:i}, {s:s, s:{s:s, s:i}, s:i, s:i}]}", "anyOf",
		"const", "auto", "type", "integer", "minimum", 1, "maximum", DP_WORKERS_MAX, "type",
		"array", "items", "type", "integer", "minimum", 0, "minItems", 1, "maxItems",
		DP_WORKERS_MAX);
}

/* Schema of a value that is no object or list, without the way out of a variable. */
static json_t *scalar_schema(const struct ctl_key *k)
{
	switch (k->type) {
	case CTL_T_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case CTL_T_UINT:
	case CTL_T_NUMBER:
		return number_schema(k);
	case CTL_T_BYTES:
		return json_pack("{s:[{s:s, s:i}, o]}", "anyOf", "type", "integer", "minimum", 0,
			pattern("^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$"));
	case CTL_T_DURATION:
		return json_pack("{s:[{s:i}, o]}", "anyOf", "const", 0,
			pattern("^(0|[0-9]+ ?(ns|us|ms|s|m|h|d))$"));
	case CTL_T_CHOICE:
		return choice_schema(k);
	case CTL_T_LISTEN:
		return pattern("^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]+$");
	case CTL_T_BROKERS:
		return pattern("^[^,]+:[0-9]+(,[^,]+:[0-9]+)*$");
	case CTL_T_NAME:
		return pattern("^[A-Za-z0-9_./-]{1,32}$");
	case CTL_T_TOPIC:
		return pattern("^[A-Za-z0-9._-]{1,249}$");
	case CTL_T_WORKERS:
		return workers_schema();
	default:
		/* A name that is all digits reads as a number in YAML. */
		return json_pack("{s:[s, s]}", "type", "string", "number");
	}
}

static json_t *or_variable(json_t *schema)
{
	return json_pack("{s:[o, o]}", "anyOf", schema, pattern(variable_pattern));
}

static json_t *object_schema(const struct ctl_object *o);

static json_t *list_schema(const struct ctl_key *k)
{
	json_t *items = k->object ? object_schema(k->object)
				  : json_pack("{s:s, s:i}", "type", "string", "maxLength",
					    DP_NAME_BYTES_MAX);

	return json_pack("{s:s, s:o, s:i, s:i}", "type", "array", "items", items, "minItems",
		(int)k->low, "maxItems", (int)k->high);
}

static json_t *value_schema(const struct ctl_key *k)
{
	switch (k->type) {
	case CTL_T_OBJECT:
		return object_schema(k->object);
	case CTL_T_LIST:
		return list_schema(k);
	case CTL_T_CHOICES:
		return json_pack("{s:s, s:o, s:i}", "type", "array", "items",
			or_variable(choice_schema(k)), "minItems", 1);
	case CTL_T_PROPERTIES:
		return json_pack("{s:s, s:{s:[s, s, s]}}", "type", "object", "additionalProperties",
			"type", "string", "number", "boolean");
	default:
		return or_variable(scalar_schema(k));
	}
}

/* What holds for one value of the discriminator: keys it needs, keys it must not have. */
static json_t *case_schema(const struct ctl_object *o, const struct ctl_choice *c)
{
	json_t *required = json_array(), *refused = json_object();

	for (const struct ctl_key *k = o->keys; k->name; k++) {
		if (!k->only)
			continue;
		if (!(k->only & 1u << c->value))
			json_object_set_new(refused, k->name, json_false());
		else if (k->required)
			json_array_append_new(required, json_string(k->name));
	}
	return json_pack("{s:{s:{s:{s:s}}, s:[s]}, s:{s:o, s:o}}", "if", "properties",
		o->discriminator, "const", c->name, "required", o->discriminator, "then",
		"properties", refused, "required", required);
}

/* As deep as the tables nest. */
static json_t *object_schema(const struct ctl_object *o)
{
	json_t *properties = json_object(), *required = json_array(), *schema;

	for (const struct ctl_key *k = o->keys; k->name; k++) {
		json_t *value = value_schema(k);

		json_object_set_new(value, "description", json_string(k->help));
		json_object_set_new(properties, k->name, value);
		if (k->required && !k->only)
			json_array_append_new(required, json_string(k->name));
	}
	schema = json_pack("{s:s, s:b, s:o, s:o}", "type", "object", "additionalProperties", 0,
		"properties", properties, "required", required);
	if (o->discriminator) {
		json_t *cases = json_array();

		for (const struct ctl_choice *c = ctl_key_find(o, o->discriminator)->choices;
			c->name; c++)
			json_array_append_new(cases, case_schema(o, c));
		json_object_set_new(schema, "allOf", cases);
	}
	return schema;
}

void ctl_config_json_schema(FILE *out)
{
	json_t *root = object_schema(ctl_root_object());
	json_t *all = json_pack("{s:s, s:s}", "$schema", "http://json-schema.org/draft-07/schema#",
		"title", ctl_root_object()->title);

	json_object_update(all, root);
	json_dumpf(all, out, JSON_INDENT(1));
	fputc('\n', out);
	json_decref(root);
	json_decref(all);
}
