/*
 * Readers of recorded data: our CSV, and the raw forms of three public sets (data/README.md).  Rows
 * that do not parse are skipped: raw sensor logs have some.
 */
#include "firmware-sim/signal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { COLUMNS_MAX = 4096 };

/* What a column means: a field's index or one of these. */
enum column { COLUMN_NONE = -1, COLUMN_MOTE = -2, COLUMN_LABEL = -3 };

static int find_field(const struct fws_signal_set *s, const char *name)
{
	for (uint32_t f = 0; f < s->field_count; f++)
		if (!strcasecmp(s->fields[f], name))
			return (int)f;
	return COLUMN_NONE;
}

static int column_meaning(const struct fws_signal_set *s, const char *name)
{
	if (!strcasecmp(name, "mote") || !strcasecmp(name, "mote-id"))
		return COLUMN_MOTE;
	if (!strcasecmp(name, "label"))
		return COLUMN_LABEL;
	return find_field(s, name);
}

/* A number with a decimal comma or point and hard spaces (Latin-1 0xA0) between thousands. */
static bool parse_number(const char *text, float *v)
{
	char plain[40], *end;
	size_t n = 0;

	for (; *text && n + 1 < sizeof(plain); text++)
		if ((unsigned char)*text != 0xa0)
			plain[n++] = *text == ',' ? '.' : *text;
	plain[n] = '\0';
	*v = strtof(plain, &end);
	return end != plain && !*end && !isinf(*v);
}

/* Cells of a line, in place: between blanks, or with ',' at every comma, so that cells may be
 * empty. */
static uint32_t split(char *line, char separator, char **cells)
{
	uint32_t n = 0;

	line[strcspn(line, "\r\n")] = '\0';
	for (char *at = line; n < COLUMNS_MAX;) {
		size_t len;

		if (separator != ',')
			at += strspn(at, " \t");
		if (!*at && separator != ',')
			break;
		len = strcspn(at, separator == ',' ? "," : " \t");
		cells[n++] = at;
		at += len;
		if (!*at)
			break;
		*at++ = '\0';
	}
	return n;
}

struct table {
	struct fws_signal_set *set;
	uint32_t file;
	int *meaning; /* [COLUMNS_MAX] */
	char **cells; /* [COLUMNS_MAX] */
	uint32_t columns;
};

static int add_row(struct table *t)
{
	float values[FWS_FIELDS_MAX], v, mote = 0, label = 0;

	for (uint32_t f = 0; f < t->set->field_count; f++)
		values[f] = NAN;
	for (uint32_t i = 0; i < t->columns; i++) {
		if (t->meaning[i] == COLUMN_NONE)
			continue;
		if (!parse_number(t->cells[i], &v))
			continue;
		if (t->meaning[i] == COLUMN_MOTE)
			mote = v;
		else if (t->meaning[i] == COLUMN_LABEL)
			label = v;
		else
			values[t->meaning[i]] = v;
	}
	if (!(mote >= 0 && mote < 1e6f))
		return 0;

	struct fws_trace *trace = fws_signal_trace(t->set, t->file, (uint32_t)mote);

	return trace ? fws_trace_add(trace, values, t->set->field_count, label != 0) : -ENOMEM;
}

/* Rows with named columns (ours: commas; the labelled set: tabs), or the library's nine without. */
static int load_rows(struct table *t, FILE *in, char separator, bool header)
{
	static const char *const library[] = {
		"", "mote", "", "", "voltage", "humidity", "temperature", "light", ""};
	char *line = NULL;
	size_t room = 0;
	int rc = 0;

	t->columns = 0;
	if (!header)
		for (t->columns = 0; t->columns < 9; t->columns++)
			t->meaning[t->columns] = column_meaning(t->set, library[t->columns]);
	while (!rc && getline(&line, &room, in) > 0) {
		if (line[0] == '#')
			continue;

		uint32_t n = split(line, separator, t->cells);

		if (!t->columns) {
			for (uint32_t i = 0; i < n; i++)
				t->meaning[i] = column_meaning(t->set, t->cells[i]);
			t->columns = n;
		} else if (n == t->columns) {
			rc = add_row(t);
		}
	}
	free(line);
	return rc;
}

/* Lab form: a file a field, a row a mote, a column a step. Other fields of the mote are kept. */
static int load_matrix(struct table *t, FILE *in, int field)
{
	char *line = NULL;
	size_t room = 0;
	uint32_t mote = 0;
	int rc = 0;

	while (!rc && getline(&line, &room, in) > 0) {
		uint32_t n = split(line, ',', t->cells), fields = t->set->field_count;
		struct fws_trace *trace = fws_signal_trace(t->set, 0, mote++);
		float row[FWS_FIELDS_MAX];

		for (uint32_t f = 0; f < fields; f++)
			row[f] = NAN;
		for (uint32_t i = 0; trace && !rc && i < n; i++) {
			if (i == trace->count)
				rc = fws_trace_add(trace, row, fields, 0);
			if (!rc)
				parse_number(t->cells[i],
					&trace->values[(size_t)i * fields + (uint32_t)field]);
		}
		if (!trace)
			rc = -ENOMEM;
	}
	free(line);
	return rc;
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), e = strlen(end);

	return n >= e && !strcmp(name + n - e, end);
}

/* stdout of zcat PATH; *pid is to be waited for. */
static FILE *open_gz(const char *path, pid_t *pid)
{
	int fds[2];
	char *argv[] = {"zcat", "--", (char *)path, NULL};
	posix_spawn_file_actions_t actions;

	if (pipe2(fds, O_CLOEXEC))
		return NULL;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);

	int rc = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);

	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		errno = rc;
		return NULL;
	}
	return fdopen(fds[0], "r");
}

static int load_file(struct table *t, const char *dir, const char *name)
{
	char path[4096];
	pid_t pid = 0;
	int rc = 0, field = COLUMN_NONE;
	bool gz = ends_with(name, "_readings.txt.gz");

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
		return -ENAMETOOLONG;
	for (uint32_t f = 0; f < t->set->field_count; f++) {
		size_t n = strlen(t->set->fields[f]);

		if (!strncmp(name, t->set->fields[f], n) && !strncmp(name + n, "_steps_", 7))
			field = (int)f;
	}

	FILE *in = gz ? open_gz(path, &pid) : fopen(path, "re");

	if (!in)
		return -errno;
	if (gz || ends_with(name, "_readings.txt"))
		rc = load_rows(t, in, ' ', false);
	else if (field >= 0)
		rc = load_matrix(t, in, field);
	else if (ends_with(name, "_data.txt"))
		rc = load_rows(t, in, ' ', true);
	else if (ends_with(name, ".csv") && !strstr(name, "_steps_"))
		rc = load_rows(t, in, ',', true);
	fclose(in);
	if (pid)
		waitpid(pid, NULL, 0);
	return rc;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Robust: a jump or a fault in the recording does not count as its noise. */
static int estimate_noise(struct fws_trace *t, uint32_t field_count)
{
	float *steps = malloc(t->count * sizeof(float));

	if (!steps)
		return -ENOMEM;
	for (uint32_t f = 0; f < field_count; f++) {
		uint32_t n = 0, seen = 0;

		for (uint32_t i = 0; i < t->count; i++) {
			float v = t->values[(size_t)i * field_count + f];

			seen += !isnan(v);
			if (i && !isnan(v - t->values[(size_t)(i - 1) * field_count + f]))
				steps[n++] =
					fabsf(v - t->values[(size_t)(i - 1) * field_count + f]);
		}
		qsort(steps, n, sizeof(float), by_size);
		t->sigma[f] = !seen ? NAN : n ? 1.4826f * steps[n / 2] / sqrtf(2) : 0;
	}
	free(steps);
	return 0;
}

/* Traces without a value of any field are of no use. */
static int finish(struct fws_signal_set *s)
{
	uint32_t kept = 0;
	int rc = 0;

	for (uint32_t i = 0; i < s->trace_count; i++) {
		struct fws_trace *t = &s->traces[i];
		bool useful = false;

		rc = rc ? rc : t->count ? estimate_noise(t, s->field_count) : 0;
		for (uint32_t f = 0; t->count && f < s->field_count; f++)
			useful |= !isnan(t->sigma[f]);
		if (useful) {
			s->traces[kept++] = *t;
			continue;
		}
		free(t->values);
		free(t->label);
	}
	s->trace_count = kept;
	return rc ? rc : kept ? 0 : -ENOENT;
}

int fws_signal_load(struct fws_signal_set *s, const char *dir)
{
	struct table t = {.set = s,
		.meaning = calloc(COLUMNS_MAX, sizeof(int)),
		.cells = calloc(COLUMNS_MAX, sizeof(char *))};
	struct dirent **names = NULL;
	int n = -1, rc = -ENOMEM;

	if (t.meaning && t.cells) {
		n = scandir(dir, &names, NULL, alphasort);
		rc = n < 0 ? -errno : 0;
	}
	for (int i = 0; i < n; i++) {
		t.file = (uint32_t)i + 1;
		if (!rc && names[i]->d_name[0] != '.')
			rc = load_file(&t, dir, names[i]->d_name);
		if (rc == -EISDIR)
			rc = 0;
		free(names[i]);
	}
	free(names);
	free(t.meaning);
	free(t.cells);
	return rc ? rc : finish(s);
}
