/* Log lines: one write each, so that lines of several threads do not mix. */
#include "control/daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"debug", "info", "warning", "error"};

/* Set once at the start: the level is the process's, like stderr. */
static enum ctl_level least = CTL_INFO;

bool ctl_log_level(const char *name)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			least = (enum ctl_level)i;
			return true;
		}
	}
	return false;
}

/* Line ends and other control characters come from outside (file names, brokers): one line stays
 * one. */
static void flatten(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = ' ';
}

void ctl_log(enum ctl_level level, const char *format, ...)
{
	char line[1024];
	struct timespec ts;
	struct tm tm;
	size_t head, n;
	va_list args;

	if (level < least)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	head = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	head += (size_t)snprintf(line + head, sizeof(line) - head, ".%03ldZ %-7s ",
		ts.tv_nsec / 1000000, names[level]);
	va_start(args, format);
	n = head + (size_t)vsnprintf(line + head, sizeof(line) - head - 1, format, args);
	va_end(args);
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	flatten(line + head, n - head);
	line[n] = '\n';
	while (write(STDERR_FILENO, line, n + 1) < 0 && errno == EINTR)
		;
}
