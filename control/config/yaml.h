/*
 * YAML text to a tree in which every node knows its place.  Built from libfyaml's events, not its
 * documents: so that duplicate keys do not stop at the first, and aliases share what they name
 * instead of copying it (a file that multiplies itself stays as small as its text).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/config/errors.h"
#include "control/config/pool.h"

enum ctl_node_kind { CTL_SCALAR = 1, CTL_LIST, CTL_MAP };

struct ctl_node {
	enum ctl_node_kind kind;
	bool plain;	       /* scalar without quotes */
	bool null;	       /* plain and empty, ~ or null */
	uint32_t line, column; /* from 1; of an alias: where it stands */
	const char *text;      /* scalar, terminated, holds no NUL */
	size_t len;
	struct ctl_node *children; /* of a list or map, in order; shared by aliases */
	uint32_t count;		   /* of children */
	struct ctl_node *next;
	const char *name; /* key, for a child of a map */
	uint32_t name_line, name_column;
};

struct ctl_yaml_limits {
	size_t bytes;
	uint32_t nodes;
};

enum { CTL_YAML_DEPTH_MAX = 16, CTL_YAML_ANCHORS_MAX = 256 };

/*
 * Parses text[len], which errors call `file`. Returns the root on *pool, or NULL when there is none
 * or the text is no YAML. Errors may have been added either way: duplicate keys, tags, aliases that
 * name nothing, limits.
 */
struct ctl_node *ctl_yaml_parse(struct ctl_pool *pool, const char *file, const char *text,
	size_t len, const struct ctl_yaml_limits *limits, struct ctl_errors *errors);

/* First child of that name, or NULL. map->kind is CTL_MAP. */
const struct ctl_node *ctl_node_find(const struct ctl_node *map, const char *name);

/* Offset of the first byte that is no valid UTF-8 or a NUL, or `len` when all is well. */
size_t ctl_utf8_valid(const char *text, size_t len);
