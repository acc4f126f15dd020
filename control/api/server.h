/*
 * The HTTP API on a Unix socket (docs/api.md): a thread per connection, a bounded number of them,
 * so that a client that is slow or gone holds up nobody else.
 */
#pragma once

#include <stddef.h>

#include "control/api/view.h"

struct ctl_api;

/*
 * Opens the socket (mode 0660) and answers. A socket that nobody listens on any more is replaced.
 * 0, or -errno with the reason in `why`. `view` outlives the API.
 */
int ctl_api_open(
	struct ctl_view *view, const char *path, struct ctl_api **out, char *why, size_t why_size);

/* Ends all connections, streams too, and removes the socket. NULL is fine. */
void ctl_api_close(struct ctl_api *api);
