/*
 * GET /tail: records as they become readable, as JSON lines.  Each stream has its own cursor behind
 * the writer and its own thread, so that a slow client delays nobody; the rate is bounded, and one
 * that cannot follow is told how many records it did not get.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/api/routes.h"
#include "dataplane/egress/json.h"
#include "dataplane/journal/reader.h"

enum {
	BUFFER_BYTES = 64 << 10,
	RATE_PER_S = 50000,
	BURST = RATE_PER_S / 20,
	BLOCKS_PER_LOOK = 64, /* most that is read without a pause, whether or not it is wanted */
	LAG_RECORDS = 200000, /* further behind than this, "now" is what is wanted */
	WAITS_MAX = 150,      /* looks, POLL_NS apart, at a place that the writer is to mend */
};
#define POLL_NS	     (20 * DP_NS_PER_MS)
#define HEARTBEAT_NS (5 * DP_NS_PER_S) /* an empty line: finds out whether the client is there */

struct tail {
	struct ctl_api *api;
	struct dp_io_posix *posix;
	struct dp_reader *reader;
	struct dp_json_form *form;
	struct dp_io io;

	/* what is wanted */
	char sensor[DP_SENSOR_ID_MAX + 1], stream[DP_NAME_BYTES_MAX + 1]; /* "": all */
	uint32_t kinds;	      /* bit per enum dp_rec_kind */
	uint64_t limit, sent; /* limit 0: none */
	bool follow, live;    /* live: began with now, may jump ahead */
	uint64_t end;	      /* lp, unless it follows */

	/* where it is */
	struct dp_reader_block at;
	bool in_block;
	size_t cursor;
	uint32_t index;
	uint64_t passed; /* records in the log up to where it is */
	uint32_t waits;	 /* looks that found damage there and nothing else */

	int64_t heard_ns, bucket_ns; /* steady: last bytes sent; up to where the rate is used up */
	const char *line;	     /* rendered, not yet handed over */
	size_t line_bytes;
	bool line_end; /* its line end is still to come */
	char note[64];
};

static const struct {
	const char *name, *plural;
	uint32_t kinds;
} kind_names[] = {
	{"reading", "readings", 1u << DP_REC_READING},
	{"window", "windows", 1u << DP_REC_WINDOW},
	{"alert", "alerts", 1u << DP_REC_ALERT},
	{"gap", "gaps", 1u << DP_REC_GAP},
	{"mark", "marks", 1u << DP_REC_MARK},
	{"raw", "raw", 1u << DP_REC_RAW},
};

static int64_t steady(const struct tail *t)
{
	return ctl_now(&t->api->view->clock).steady_ns;
}

static uint64_t readable(const struct tail *t)
{
	/* A: what lies before is written */
	return atomic_load_explicit(&t->api->view->writer->readable, memory_order_acquire);
}

/* ---- the next line ---- */

static bool wanted(const struct tail *t, const struct dp_rec *rec)
{
	const struct dp_stream_set *streams = t->at.streams;
	size_t n = strlen(t->sensor);

	if (!(t->kinds & 1u << rec->kind))
		return false;
	if (n && (rec->id_len != n || memcmp(dp_rec_sensor(rec), t->sensor, n) != 0))
		return false;
	return !t->stream[0] || (rec->stream < streams->count &&
					strcmp(streams->streams[rec->stream].name, t->stream) == 0);
}

static void set_line(struct tail *t, const char *text, size_t bytes)
{
	t->line = text;
	t->line_bytes = bytes;
	t->line_end = true;
}

/* The rest of the block up to a wanted record; 1: there is a line, 0: the block is done, -ENOMEM.
 */
static int next_of_block(struct tail *t)
{
	const struct dp_block *b = t->at.block;
	const struct dp_rec *rec;
	bool bad = false;

	while ((rec = dp_block_next(b, t->at.streams, &t->cursor, &bad))) {
		struct dp_rec_place place = {
			b->appliance, b->epoch, b->sequence, b->worker, t->index++};
		const char *text;
		uint64_t id[2];
		size_t bytes;

		if (!wanted(t, rec))
			continue;
		dp_rec_id(rec, t->at.streams, &place, id);
		text = dp_json_form_record(t->form, rec, t->at.streams, id, &bytes);
		if (!text)
			return -ENOMEM;
		set_line(t, text, bytes);
		t->sent++;
		return 1;
	}
	t->in_block = false;
	return 0;
}

static int open_reader(struct tail *t, uint64_t lp)
{
	if (t->reader)
		dp_reader_close(t->reader);
	t->reader = NULL;
	return dp_reader_open(&t->io, t->api->view->appliance, lp, &t->reader);
}

/* A live stream too far behind goes on with now; 1: there is a line that says so. */
static int jump_ahead(struct tail *t)
{
	const struct dp_writer_stats *w = t->api->view->writer;
	uint64_t records = atomic_load_explicit(&w->records, memory_order_relaxed);
	int err;

	if (!t->live || records < t->passed + LAG_RECORDS)
		return 0;
	err = open_reader(t, readable(t));
	if (err)
		return err;
	snprintf(t->note, sizeof(t->note), "{\"kind\":\"skipped\",\"records\":%llu}",
		(unsigned long long)(records - t->passed));
	t->passed = records;
	set_line(t, t->note, strlen(t->note));
	return 1;
}

/* 1: there is a line, 0: nothing more to read now, -EAGAIN: after a pause, or another -errno. */
static int next_line(struct tail *t)
{
	int rc;

	for (int blocks = 0; blocks < BLOCKS_PER_LOOK; blocks++) {
		if (t->in_block) {
			rc = next_of_block(t);
			if (rc)
				return rc;
		}
		rc = jump_ahead(t);
		if (rc)
			return rc;
		rc = dp_reader_next(t->reader, t->follow ? readable(t) : t->end, &t->at);
		t->waits = rc == -EAGAIN ? t->waits + 1 : 0;
		if (rc <= 0)
			return rc;
		t->in_block = true;
		t->cursor = 0;
		t->index = 0;
		t->passed = t->at.block->records_before + t->at.block->record_count;
	}
	return -EAGAIN;
}

/* ---- handing over ---- */

/* As much of the line as fits. */
static size_t put_line(struct tail *t, char *out, size_t room)
{
	size_t n = t->line_bytes < room ? t->line_bytes : room;

	memcpy(out, t->line, n);
	t->line += n;
	t->line_bytes -= n;
	if (t->line_bytes || n == room)
		return n;
	out[n] = '\n';
	t->line_end = false;
	t->line = NULL;
	return n + 1;
}

/* May another line go out? Takes its share of the rate. */
static bool within_rate(struct tail *t)
{
	int64_t now = steady(t), burst = BURST * DP_NS_PER_S / RATE_PER_S;

	if (t->bucket_ns < now - burst)
		t->bucket_ns = now - burst;
	if (t->bucket_ns >= now)
		return false;
	t->bucket_ns += DP_NS_PER_S / RATE_PER_S;
	return true;
}

static bool at_limit(const struct tail *t)
{
	return t->limit && t->sent >= t->limit && !t->line_end;
}

/* Fills what it can without waiting; *rc as of next_line. */
static size_t fill(struct tail *t, char *out, size_t room, int *rc)
{
	size_t n = 0;

	*rc = 1;
	while (n<room && * rc> 0) {
		if (t->line_end) {
			n += put_line(t, out + n, room - n);
			continue;
		}
		if (at_limit(t) || !within_rate(t))
			break;
		*rc = next_line(t);
	}
	return n;
}

/*
 * Will the next look find no more than this one?  A follower waits for the writer to mend what is
 * damaged. One that ends at a fixed place may wait for ever: nothing behind that place can tell it
 * that the damage stays.
 */
static bool is_stuck(const struct tail *t, int rc)
{
	return (rc < 0 && rc != -EAGAIN) || (!t->follow && t->waits >= WAITS_MAX);
}

static ssize_t read_tail(void *cls, uint64_t pos, char *out, size_t room)
{
	const struct timespec nap = {.tv_nsec = POLL_NS};
	struct tail *t = cls;
	size_t n;
	int rc;

	(void)pos;
	for (;;) {
		if (atomic_load(&t->api->closing))
			return MHD_CONTENT_READER_END_OF_STREAM;
		n = fill(t, out, room, &rc);
		if (n) {
			t->heard_ns = steady(t);
			return (ssize_t)n;
		}
		if (at_limit(t) || (rc == 0 && !t->follow))
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (is_stuck(t, rc))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (steady(t) - t->heard_ns >= HEARTBEAT_NS) {
			t->heard_ns = steady(t);
			*out = '\n';
			return 1;
		}
		nanosleep(&nap, NULL);
	}
}

static void free_tail(void *cls)
{
	struct tail *t = cls;

	if (t->reader)
		dp_reader_close(t->reader);
	if (t->form)
		dp_json_form_free(t->form);
	if (t->posix)
		dp_io_posix_close(t->posix);
	atomic_fetch_sub(&t->api->tails, 1);
	free(t);
}

/* ---- the request ---- */

/* "reading,alerts": singular or plural, with commas. */
static bool read_kinds(const char *text, uint32_t *kinds)
{
	*kinds = 0;
	for (;;) {
		size_t n = strcspn(text, ","), i;

		for (i = 0; i < sizeof(kind_names) / sizeof(kind_names[0]); i++)
			if ((n == strlen(kind_names[i].name) &&
				    memcmp(text, kind_names[i].name, n) == 0) ||
				(n == strlen(kind_names[i].plural) &&
					memcmp(text, kind_names[i].plural, n) == 0))
				break;
		if (i == sizeof(kind_names) / sizeof(kind_names[0]))
			return false;
		*kinds |= kind_names[i].kinds;
		if (!text[n])
			return true;
		text += n + 1;
	}
}

/* What the request asks for; NULL, or what is wrong with it. */
static const char *read_request(struct tail *t, struct MHD_Connection *c)
{
	const char *sensor = ctl_argument(c, "sensor"), *kind = ctl_argument(c, "kind");
	const char *from = ctl_argument(c, "from"), *follow = ctl_argument(c, "follow");
	int stream = ctl_argument_stream(c, t->api->view);

	if (sensor && !dp_sensor_id_valid(sensor, strlen(sensor)))
		return "sensor is 1 to 32 printable bytes";
	if (kind && !read_kinds(kind, &t->kinds))
		return "kind is reading, window, alert, gap, mark, raw, or several with commas";
	if (stream == -2)
		return "no such stream";
	if (from && strcmp(from, "now") != 0 && strcmp(from, "oldest") != 0)
		return "from is now or oldest";
	if (follow && strcmp(follow, "0") != 0 && strcmp(follow, "1") != 0)
		return "follow is 0 or 1";
	if (!ctl_argument_number(c, "limit", UINT32_MAX, &t->limit) ||
		(ctl_argument(c, "limit") && !t->limit))
		return "limit is a whole number from 1 to 4294967295";
	if (sensor)
		strcpy(t->sensor, sensor);
	if (stream >= 0)
		strcpy(t->stream, t->api->view->config->streams.streams[stream].name);
	t->live = !from || strcmp(from, "now") == 0;
	t->follow = !follow || strcmp(follow, "1") == 0;
	return NULL;
}

static int open_tail(struct tail *t)
{
	const struct ctl_view *view = t->api->view;
	const struct ctl_config *c = view->config;
	const struct dp_attribute_lookup attributes = {
		c->attributes ? ctl_attributes_json : NULL, c->attributes};
	int err = dp_json_form_new(c->name, &attributes, &t->form);

	t->io = view->memory;
	if (!err && !t->io.ops)
		err = dp_io_posix_open(c->journal.dir, NULL, NULL, &t->posix, &t->io);
	t->passed = atomic_load_explicit(&view->writer->records, memory_order_relaxed);
	t->end = readable(t);
	t->heard_ns = steady(t);
	return err ? err : open_reader(t, t->live ? t->end : 0);
}

struct ctl_answer ctl_answer_tail(struct ctl_api *api, struct MHD_Connection *c)
{
	struct ctl_answer a = {MHD_HTTP_OK, NULL};
	struct tail *t;
	const char *wrong;
	int err;

	if (atomic_fetch_add(&api->tails, 1) >= CTL_TAILS_MAX) {
		atomic_fetch_sub(&api->tails, 1);
		return ctl_answer_error(MHD_HTTP_SERVICE_UNAVAILABLE, "%d streams are open already",
			(int)CTL_TAILS_MAX);
	}
	t = calloc(1, sizeof(*t));
	if (!t) {
		atomic_fetch_sub(&api->tails, 1);
		return a;
	}
	t->api = api;
	t->kinds = UINT32_MAX;
	wrong = read_request(t, c);
	err = wrong ? 0 : open_tail(t);
	if (wrong || err) {
		free_tail(t);
		return wrong ? ctl_answer_error(MHD_HTTP_BAD_REQUEST, "%s", wrong)
			     : ctl_answer_error(MHD_HTTP_INTERNAL_SERVER_ERROR, "journal: %s",
				       strerror(-err));
	}
	a.response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, BUFFER_BYTES, read_tail, t, free_tail);
	if (!a.response)
		free_tail(t);
	else
		MHD_add_response_header(
			a.response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	return a;
}
