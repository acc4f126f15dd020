/* The daemon's log: lines on stderr, for a terminal and for whoever collects stderr. */
#pragma once

#include <stdbool.h>

enum ctl_level { CTL_DEBUG, CTL_INFO, CTL_WARNING, CTL_ERROR };

/* "debug", "info", "warning", "error"; false: none of these. Before any other thread runs. */
bool ctl_log_level(const char *name);

/* One line "TIME LEVEL text", written whole. Never from a worker's thread. */
__attribute__((format(printf, 2, 3))) void ctl_log(enum ctl_level level, const char *format, ...);
