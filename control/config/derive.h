/* Inside of control/config: defaults that depend on other keys; called by the tables of keys.c. */
#pragma once

#include "control/config/parse.h"

/* begin: what must hold before the first key; indexes start as -1. */
void ctl_begin_stream(struct ctl_cx *cx, void *stream);
void ctl_begin_rule(struct ctl_cx *cx, void *rule);
void ctl_begin_model(struct ctl_cx *cx, void *model);
void ctl_begin_input(struct ctl_cx *cx, void *input);
void ctl_begin_output(struct ctl_cx *cx, void *output);
void ctl_begin_stream_limit(struct ctl_cx *cx, void *limit);
void ctl_begin_attribute_file(struct ctl_cx *cx, void *file);

/* finish: fills what was not given. */
void ctl_derive_window(struct ctl_cx *cx, void *window);
/* A rule on a score has its window from the model. */
bool ctl_rule_given(const void *rule, const struct ctl_key *key);
void ctl_derive_rule(struct ctl_cx *cx, void *rule);
void ctl_derive_stream(struct ctl_cx *cx, void *stream);
void ctl_derive_input(struct ctl_cx *cx, void *input);
void ctl_derive_output(struct ctl_cx *cx, void *output);
