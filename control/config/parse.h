/* Inside of control/config: the state of one run of the parser, shared by parse, types and checks.
 */
#pragma once

#include "control/config/config.h"
#include "control/config/keys.h"
#include "control/config/scalar.h"
#include "control/config/yaml.h"

enum {
	CTL_PATH_BYTES = 256,
	CTL_INDEX_UNKNOWN = -2, /* a name was given, but there is no such thing: already an error */
};

/* Where the value at an address came from: so that checks of the finished struct can point there.
 */
struct ctl_origin {
	const void *address;
	uint32_t line, column;
	const char *path;
};

struct ctl_cx {
	struct ctl_config *config;
	struct ctl_errors *errors;
	struct ctl_pool scratch; /* YAML tree, origins, paths: gone after the parse */
	const char *file;
	struct dp_stream *stream;   /* being read: whose fields and windows names mean */
	struct ctl_origin *origins; /* grows; sorted by address once the parse is over */
	size_t origin_count, origin_room;
	char path[CTL_PATH_BYTES];
	size_t path_len;
	bool opens_files;		 /* such as bundles of models */
	uint32_t budget;		 /* values still to be visited, aliases counted each time */
	char text[CTL_SCALAR_BYTES_MAX]; /* the scalar being read, variables replaced */
};

struct ctl_config_text {
	const char *file, *text;
	size_t bytes;
};

/* ctl_config_parse, which opens no files, and the part of ctl_config_load that does. */
int ctl_config_read(const struct ctl_config_text *in, bool opens_files, struct ctl_config **out,
	struct ctl_errors *errors);

/* Reads a value of the key's type into *to; adds errors. */
typedef void ctl_read_fn(
	struct ctl_cx *cx, const struct ctl_key *key, const struct ctl_node *node, void *to);

/* How each type is read, by enum ctl_type. */
ctl_read_fn *ctl_type_reader(enum ctl_type type);

/* Objects and lists. Recursion as deep as the tables nest, whatever the file holds. */
void ctl_parse_object(
	struct ctl_cx *cx, const struct ctl_object *object, const struct ctl_node *node, void *to);
ctl_read_fn ctl_parse_nested, ctl_parse_list;

/* Error at a node, under the current path. */
__attribute__((format(printf, 3, 4))) void ctl_fail(
	struct ctl_cx *cx, const struct ctl_node *node, const char *format, ...);

/* Error about the value at an address of the finished struct. */
__attribute__((format(printf, 3, 4))) void ctl_fail_at(
	struct ctl_cx *cx, const void *address, const char *format, ...);

/* Notes that the value at that address comes from that node, under the current path. */
void ctl_remember(struct ctl_cx *cx, const void *address, const struct ctl_node *node);

/* Where the value at that address was given. */
struct ctl_place ctl_place_of(const struct ctl_cx *cx, const void *address);

/* Its line. */
uint32_t ctl_line_of(const struct ctl_cx *cx, const void *address);

/* Appends to the current path; the result is what ctl_path_pop takes back. */
size_t ctl_path_push(struct ctl_cx *cx, const char *name);
size_t ctl_path_push_index(struct ctl_cx *cx, uint32_t index);
void ctl_path_pop(struct ctl_cx *cx, size_t len);

/* The node's text with variables replaced, valid until the next call; NULL after an error. */
const char *ctl_scalar(struct ctl_cx *cx, const struct ctl_node *node, const char *what);

/* ctl_did_you_mean, as long as there is room for errors. */
const char *ctl_meant(
	const struct ctl_cx *cx, const char *name, const char *const *names, size_t count);

/* An absolute path, or one counted from the config's folder; on the config's pool. */
const char *ctl_resolve_path(struct ctl_cx *cx, const char *text);

/* Kinds of record that there can be: bits by enum dp_rec_kind; raw where an open input keeps it. */
uint32_t ctl_kinds_made(const struct ctl_config *c);

/* Checks of the finished struct; each adds errors. */
void ctl_check_streams(struct ctl_cx *cx);
void ctl_check_inputs(struct ctl_cx *cx);
void ctl_check_outputs(struct ctl_cx *cx);
/* Journal, socket and attribute files, as far as they do not depend on the streams. */
void ctl_check_places(struct ctl_cx *cx);
/* Needs a config without errors so far: block sizes, limits, derived values, hashes. */
void ctl_check_bounds(struct ctl_cx *cx);
/* Adds an error for each name that an earlier element of the array has too. */
struct ctl_names {
	const void *base;
	size_t count, stride; /* the name is the first member: char[DP_NAME_BYTES_MAX + 1] */
	const char *what;
};
void ctl_check_names(struct ctl_cx *cx, const struct ctl_names *names);
