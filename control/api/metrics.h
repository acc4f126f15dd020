/* All counters as Prometheus text (exposition format 0.0.4). */
#pragma once

#include <stdio.h>

#include "control/api/view.h"

void ctl_metrics_write(const struct ctl_view *view, FILE *out);
