/* What the API answers; server.c decides which, the others make the answers. */
#pragma once

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/api/view.h"

enum {
	CTL_SENSORS_MAX = 100, /* a worker sorts these in between turns */
	CTL_TAILS_MAX = 8,     /* streams at once */
};

/* The one question to the workers that may be under way. */
struct ctl_asking {
	pthread_mutex_t lock;
	struct dp_sensor_query query[DP_WORKERS_MAX];
	struct dp_sensor_view views[DP_WORKERS_MAX][CTL_SENSORS_MAX];
};

struct ctl_api {
	struct ctl_view *view;
	struct MHD_Daemon *http;
	char *path;
	int fd;
	struct ctl_asking asking;
	_Atomic bool closing;
	_Atomic int tails;
};

/* An answer under way: a body, or an error with its reason. */
struct ctl_answer {
	unsigned status;
	struct MHD_Response *response;
};

struct ctl_answer ctl_answer_json(unsigned status, json_t *body); /* takes the reference */
__attribute__((format(printf, 2, 3))) struct ctl_answer ctl_answer_error(
	unsigned status, const char *format, ...);

/* Value of a query argument, NULL when not given. */
const char *ctl_argument(struct MHD_Connection *c, const char *name);
/* Fills *value when given; false: not a whole number within bounds. */
bool ctl_argument_number(
	struct MHD_Connection *c, const char *name, uint64_t most, uint64_t *value);
/* Index of the stream named by the argument `stream`, -1 when not given, -2 when there is none. */
int ctl_argument_stream(struct MHD_Connection *c, const struct ctl_view *view);

json_t *ctl_status_json(const struct ctl_view *view);
struct ctl_answer ctl_answer_sensors(struct ctl_api *api, struct MHD_Connection *c);
struct ctl_answer ctl_answer_tail(struct ctl_api *api, struct MHD_Connection *c);

/* "2026-01-31T12:00:00.123Z"; "" for a time that there is none of. */
enum { CTL_TIME_BYTES = 40 };
void ctl_time_text(int64_t unix_ns, char text[CTL_TIME_BYTES]);
