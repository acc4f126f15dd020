#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/egress/file.h"
#include "tests/unit/fake_disk.h"

#define MS DP_NS_PER_MS

/* What egress does around a transport: lines 0, 1, 2, ... in blocks of three, a saved position. */
struct world {
	struct fake_disk disk;
	struct dp_io io;
	struct dp_transport t;
	uint64_t next, reported; /* lines sent, lines reported, of this life */
	uint64_t saved;		 /* lines before the saved position */
	uint8_t state[DP_OUTPUT_STATE_BYTES_MAX];
	size_t state_bytes;
	struct dp_now now;
	int life; /* changes the lines' length: what is left of an earlier life shows */
};

enum { BLOCK_LINES = 3 };

static const struct dp_file_config plain = {
	.name = "out.jsonl", .keep = 2, .sync_interval_ns = 100 * MS, .sync_bytes = 1 << 20};

static struct dp_file_config rotating(void)
{
	struct dp_file_config c = plain;

	c.rotate_bytes = 60; /* two blocks and a bit */
	c.keep = 1000;
	return c;
}

static void take_report(void *arg, uint64_t cookie, enum dp_report what, const char *why)
{
	struct world *w = arg;

	(void)why;
	cr_assert_eq(what, DP_REPORT_DELIVERED);
	cr_assert_eq(cookie, w->reported, "in order and none left out");
	w->reported++;
}

static int serve(struct world *w)
{
	const struct dp_report_sink sink = {take_report, w};

	return w->t.ops->serve(w->t.ctx, &w->now, &sink);
}

/* Start of a life: sends again what lies behind the saved position. */
static int start(struct world *w, const struct dp_file_config *config)
{
	fake_disk_io(&w->disk, &w->io);
	cr_assert_eq(dp_file_new(config, &w->io, &w->t), 0);
	w->next = w->reported = w->saved;
	w->life = (w->life + 2) % 5;
	return w->t.ops->restore(w->t.ctx, w->state, w->state_bytes);
}

static void end(struct world *w)
{
	w->t.ops->close(w->t.ctx);
}

static int send_line(struct world *w)
{
	char text[32];
	struct dp_message m = {.payload = text, .cookie = w->next};
	int rc;

	m.payload_bytes = (uint32_t)snprintf(
		text, sizeof(text), "line %03d%.*s", (int)w->next, w->life, "******");
	rc = w->t.ops->send(w->t.ctx, &m);
	if (rc == 0 && ++w->next % BLOCK_LINES == 0)
		w->t.ops->end_block(w->t.ctx);
	return rc;
}

static void save(struct world *w)
{
	w->saved = w->reported;
	w->state_bytes = w->t.ops->state(w->t.ctx, w->state, sizeof(w->state));
	w->t.ops->saved(w->t.ctx);
}

static void save_if_wanted(struct world *w)
{
	if (w->t.ops->wants_save(w->t.ctx))
		save(w);
}

/* All files, oldest first, hold lines 0 .. n - 1 and nothing else. */
static void expect_lines(struct world *w, uint64_t n)
{
	char all[1 << 16] = "", name[64], line[16];
	const char *at = all;

	for (int i = 1; i <= 200; i++) {
		const struct fake_file *f;

		snprintf(name, sizeof(name), "out.jsonl.%d", i);
		f = i < 200 ? fake_disk_file(&w->disk, name)
			    : fake_disk_file(&w->disk, "out.jsonl");
		if (f)
			strncat(all, f->data ? f->data : "", f->bytes);
	}
	for (uint64_t i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "line %03d", (int)i);
		cr_assert_eq(strncmp(at, line, 8), 0, "line %d: %.9s", (int)i, at);
		at += 8;
		at += strspn(at, "*");
		cr_assert_eq(*at++, '\n', "line %d", (int)i);
	}
	cr_assert_eq(*at, 0, "more than %d lines: %s", (int)n, at);
}

Test(file, delivered_when_synced_and_not_before)
{
	struct world w = {0};

	cr_assert_eq(start(&w, &plain), 0);
	for (int i = 0; i < 7; i++)
		cr_assert_eq(send_line(&w), 0);
	cr_assert_eq(serve(&w), 0); /* the interval begins */
	cr_assert_eq(w.t.ops->deadline(w.t.ctx), 100 * MS);
	w.now.steady_ns = 99 * MS;
	cr_assert_eq(serve(&w), 0);
	cr_assert_not(w.disk.syncing);
	w.now.steady_ns = 100 * MS;
	w.disk.polls = 1;
	cr_assert_eq(serve(&w), 0);
	cr_assert(w.disk.syncing);
	cr_assert_eq(serve(&w), 0);
	cr_expect_eq(w.reported, 0, "the sync has not ended");
	cr_assert_eq(serve(&w), 0);
	cr_expect_eq(w.reported, 6, "whole blocks only: state and position must agree");
	cr_expect_geq(fake_disk_file(&w.disk, "out.jsonl")->durable_bytes, 6 * 9);
	end(&w);
	fake_disk_fini(&w.disk);
}

Test(file, rotates_and_keeps_the_latest)
{
	struct dp_file_config config = rotating();
	struct world w = {0};

	config.keep = 2;
	cr_assert_eq(start(&w, &config), 0);
	while (w.next < 60 || w.reported < 60) {
		if (w.next == 60 || send_line(&w) == -EAGAIN)
			w.now.steady_ns += 50 * MS;
		cr_assert_eq(serve(&w), 0);
		save_if_wanted(&w);
	}
	/* Two blocks of 33 bytes reach 60: ten full files and an empty current one. */
	cr_expect(fake_disk_file(&w.disk, "out.jsonl"));
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.10"));
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.9"));
	for (int i = 1; i <= 8; i++) {
		char name[32];

		snprintf(name, sizeof(name), "out.jsonl.%d", i);
		cr_expect_not(fake_disk_file(&w.disk, name), "%s", name);
	}
	end(&w);
	fake_disk_fini(&w.disk);
}

/* Drives one life until 60 lines are reported or the disk is dead; saves now and then. */
static void live(struct world *w, unsigned *seed)
{
	while (w->reported < 60 && !w->disk.dead) {
		int rc = w->next < 60 ? send_line(w) : -EAGAIN;

		if (rc && rc != -EAGAIN)
			break;
		if (rc == -EAGAIN || rand_r(seed) % 4 == 0)
			w->now.steady_ns += 60 * MS;
		if (serve(w))
			break;
		if (rand_r(seed) % 8 == 0)
			save(w);
		else if (rand_r(seed) % 2) /* a disk of its own, which may refuse for a while */
			save_if_wanted(w);
	}
}

/*
 * Killed at each call to the disk, in turn, with and without what was never synced: the files must
 * end with every line once. A cut that is missed shows as a line twice or as half a line.
 */
static void kill_everywhere(bool power_cut)
{
	struct dp_file_config config = rotating();
	bool died = true;

	for (long at = 1; died; at++) {
		struct world w = {0};
		unsigned seed = (unsigned)at;

		cr_assert_eq(start(&w, &config), 0);
		save(&w); /* as a new output does before it sends */
		w.disk.die_at = w.disk.calls + at;
		live(&w, &seed);
		died = w.disk.dead;
		end(&w);
		/* The second start may be killed as well: what it cut must not confuse a third. */
		fake_disk_revive(&w.disk, power_cut);
		w.disk.die_at = w.disk.calls + 1 + rand_r(&seed) % 8;
		if (start(&w, &config) == 0)
			live(&w, &seed);
		end(&w);
		fake_disk_revive(&w.disk, power_cut);
		cr_assert_eq(start(&w, &config), 0);
		live(&w, &seed);
		cr_assert_eq(w.reported, 60);
		expect_lines(&w, 60);
		end(&w);
		fake_disk_fini(&w.disk);
	}
}

Test(file, killed_at_every_call_keeps_each_line_once)
{
	kill_everywhere(false);
}

Test(file, power_cut_at_every_call_keeps_each_line_once)
{
	kill_everywhere(true);
}

/* A disk that refuses for a while: after reopen the lines come again, and only once. */
Test(file, failed_write_is_cut_back)
{
	for (long at = 1; at < 40; at++) {
		struct dp_file_config config = rotating();
		struct world w = {0};
		unsigned seed = (unsigned)at;

		cr_assert_eq(start(&w, &config), 0);
		w.disk.die_at = w.disk.calls + at;
		live(&w, &seed);
		if (w.disk.dead) {
			w.disk.dead = false;
			cr_assert_eq(w.t.ops->reopen(w.t.ctx, &w.now, 0), 0);
			w.next = w.reported;
			w.life = 3 - w.life;
		}
		live(&w, &seed);
		cr_assert_eq(w.reported, 60);
		expect_lines(&w, 60);
		end(&w);
		fake_disk_fini(&w.disk);
	}
}

/* Sends and serves until that many lines are reported or it goes no further. */
static void report_lines(struct world *w, uint64_t n, bool with_saves)
{
	for (int i = 0; i < 200 && w->reported < n; i++) {
		if (w->next == n || send_line(w) == -EAGAIN)
			w->now.steady_ns += 60 * MS;
		cr_assert_eq(serve(w), 0);
		if (with_saves)
			save_if_wanted(w);
	}
}

static void put_file(struct world *w, const char *name, const char *text)
{
	struct iovec iov = {(void *)text, strlen(text)};
	int h = w->io.ops->open(w->io.ctx, name, DP_IO_WRITE | DP_IO_CREATE);

	cr_assert_geq(h, 0);
	w->io.ops->pwritev(w->io.ctx, h, &iov, 1, 0);
}

/* Else a kill could come after two rotations, and a start could not tell ours from a copy. */
Test(file, one_rotation_at_a_time_is_not_saved)
{
	struct dp_file_config config = rotating();
	struct world w = {0};

	cr_assert_eq(start(&w, &config), 0);
	save(&w);
	report_lines(&w, 60, false);
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.1"));
	cr_expect_not(fake_disk_file(&w.disk, "out.jsonl.2"));
	cr_expect(w.t.ops->wants_save(w.t.ctx));
	cr_expect_eq(w.next, 12, "two full files, the second waits");
	save(&w);
	cr_expect_eq(w.t.ops->deadline(w.t.ctx), 0, "and now it need not");
	report_lines(&w, 60, true);
	cr_assert_eq(w.reported, 60);
	expect_lines(&w, 60);
	end(&w);
	fake_disk_fini(&w.disk);
}

/* A copy with a date or the like: taken for ours it would say that our file is gone. */
Test(file, copies_beside_it_are_left_alone)
{
	static const char *const names[] = {"out.jsonl.20241121", "out.jsonl.2", "out.jsonl.1"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct world w = {0};

		cr_assert_eq(start(&w, &plain), 0);
		save(&w);
		report_lines(&w, 6, true);
		save(&w);
		put_file(&w, names[i], "a copy\n");
		end(&w);
		cr_assert_eq(start(&w, &plain), 0);
		cr_assert(fake_disk_file(&w.disk, names[i]), "%s", names[i]);
		report_lines(&w, 12, true);
		cr_assert_eq(w.reported, 12);
		cr_expect_eq(fake_disk_file(&w.disk, "out.jsonl")->bytes, 6 * 11 + 6 * 13);
		end(&w);
		fake_disk_fini(&w.disk);
	}
}

/* `path:` changed, or swapped with that of another output: its length says nothing of this file. */
Test(file, state_of_another_path_cuts_nothing)
{
	static const char lines[] = "one\ntwo\nthree is longer than the state says\nhalf";
	struct dp_file_config config = plain;
	struct world w = {0};
	const struct fake_file *f;

	config.place = 1;
	cr_assert_eq(start(&w, &config), 0);
	report_lines(&w, 3, true);
	save(&w);
	end(&w);
	put_file(&w, "other.jsonl", lines);
	strcpy(config.name, "other.jsonl");
	config.place = 2;
	cr_assert_eq(start(&w, &config), 0);
	f = fake_disk_file(&w.disk, "other.jsonl");
	cr_expect_eq(f->bytes, strlen(lines) - 4, "but for its half line");
	cr_expect(w.t.ops->wants_save(w.t.ctx), "or the next start would not know either");
	end(&w);
	fake_disk_fini(&w.disk);
}

/* Numbers that others have used do not make ours older. */
Test(file, keep_is_a_number_of_files)
{
	struct dp_file_config config = rotating();
	struct world w = {0};

	config.keep = 3;
	fake_disk_io(&w.disk, &w.io);
	put_file(&w, "out.jsonl.5", "5\n");
	put_file(&w, "out.jsonl.6", "6\n");
	put_file(&w, "out.jsonl.1000", "1000\n");
	cr_assert_eq(start(&w, &config), 0);
	report_lines(&w, 6, true);
	cr_assert_eq(serve(&w), 0);
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.1001"));
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.1000"));
	cr_expect(fake_disk_file(&w.disk, "out.jsonl.6"));
	cr_expect_not(fake_disk_file(&w.disk, "out.jsonl.5"));
	end(&w);
	fake_disk_fini(&w.disk);
}

/* The rename is done and not yet durable: what is saved then must be true of either. */
Test(file, rename_that_a_power_cut_takes_back)
{
	struct dp_file_config config = rotating();
	struct world w = {0};
	struct fake_file *f;

	cr_assert_eq(start(&w, &config), 0);
	save(&w);
	for (int i = 0; i < 6; i++)
		cr_assert_eq(send_line(&w), 0);
	cr_assert_eq(serve(&w), 0);
	w.disk.die_at = w.disk.calls + 3; /* poll, rename, open of the next */
	cr_assert_eq(serve(&w), -EIO);
	cr_assert_eq(w.reported, 6);
	cr_assert(fake_disk_file(&w.disk, "out.jsonl.1"));
	save(&w); /* as a stop does */
	end(&w);
	fake_disk_revive(&w.disk, true);
	f = (struct fake_file *)fake_disk_file(&w.disk, "out.jsonl.1");
	strcpy(f->name, "out.jsonl");
	cr_assert_eq(start(&w, &config), 0);
	cr_assert_eq(w.next, 6);
	report_lines(&w, 12, true);
	expect_lines(&w, 12);
	end(&w);
	fake_disk_fini(&w.disk);
}

/* State lost, file there: what it holds stays, but for the half line of a crash. */
Test(file, without_a_state_half_a_line_is_cut)
{
	struct world w = {0};
	int h;

	fake_disk_io(&w.disk, &w.io);
	h = w.io.ops->open(w.io.ctx, "out.jsonl", DP_IO_WRITE | DP_IO_CREATE);
	w.io.ops->pwritev(w.io.ctx, h, &(struct iovec){(char *)"line 000\nline 0", 15}, 1, 0);
	cr_assert_eq(start(&w, &plain), 0);
	w.next = w.reported = 1;
	cr_assert_eq(send_line(&w), 0);
	cr_assert_eq(send_line(&w), 0);
	w.now.steady_ns = 1;
	serve(&w);
	w.now.steady_ns = 1000 * MS;
	serve(&w);
	serve(&w);
	expect_lines(&w, 3);
	end(&w);
	fake_disk_fini(&w.disk);
}

/* ---- stdout ---- */

static void take_pipe_report(void *arg, uint64_t cookie, enum dp_report what, const char *why)
{
	uint64_t *reported = arg;

	(void)why;
	cr_assert_eq(what, DP_REPORT_DELIVERED);
	cr_assert_eq(cookie, (*reported)++);
}

/* A reader that stalls must hold up nothing but this output, and get every line whole. */
Test(file, stdout_does_not_wait_for_its_reader)
{
	char line[1000], got[1 << 16];
	uint64_t sent = 0, reported = 0;
	const struct dp_report_sink sink = {take_pipe_report, &reported};
	struct dp_now now = {0};
	struct dp_transport t;
	size_t bytes = 0;
	int fd[2];

	memset(line, 'x', sizeof(line));
	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(dp_stdout_new(fd[1], &t), 0);
	for (;;) {
		struct dp_message m = {
			.payload = line, .payload_bytes = sizeof(line), .cookie = sent};

		if (t.ops->send(t.ctx, &m) == -EAGAIN)
			break;
		sent++;
		cr_assert_eq(t.ops->serve(t.ctx, &now, &sink), 0);
	}
	cr_expect_gt(sent, reported);
	cr_expect_neq(t.ops->deadline(t.ctx), INT64_MAX, "nobody else would call it again");
	while (reported < sent) {
		ssize_t n = read(fd[0], got, sizeof(got));

		cr_assert_gt(n, 0);
		bytes += (size_t)n;
		cr_assert_eq(t.ops->serve(t.ctx, &now, &sink), 0);
	}
	while (bytes < sent * (sizeof(line) + 1))
		bytes += (size_t)read(fd[0], got, sizeof(got));
	cr_expect_eq(bytes, sent * (sizeof(line) + 1));
	t.ops->close(t.ctx);
	close(fd[0]);
	close(fd[1]);
}

Test(file, stdout_finishes_a_half_line_after_reopen)
{
	char line[6000], got[1 << 16];
	uint64_t reported = 0;
	const struct dp_report_sink sink = {take_pipe_report, &reported};
	struct dp_message m = {.payload = line, .payload_bytes = sizeof(line)};
	struct dp_now now = {0};
	struct dp_transport t;
	size_t filled = 0;
	int fd[2];
	ssize_t n;

	memset(line, 'x', sizeof(line));
	cr_assert_eq(pipe(fd), 0);
	cr_assert_eq(fcntl(fd[1], F_SETPIPE_SZ, 8192), 8192);
	cr_assert_eq(dp_stdout_new(fd[1], &t), 0);
	cr_assert_eq(write(fd[1], got, 4096), 4096); /* leaves room for one page */
	cr_assert_eq(t.ops->send(t.ctx, &m), 0);
	m.cookie = 1;
	cr_assert_eq(t.ops->send(t.ctx, &m), 0);
	cr_assert_eq(t.ops->serve(t.ctx, &now, &sink), 0);
	cr_assert_eq(reported, 0);
	cr_assert_eq(t.ops->reopen(t.ctx, &now, 0), 0);
	m.cookie = 0;
	cr_assert_eq(t.ops->send(t.ctx, &m), 0);
	while (reported < 1) {
		n = read(fd[0], got + filled, sizeof(got) - filled);
		cr_assert_gt(n, 0);
		filled += (size_t)n;
		cr_assert_eq(t.ops->serve(t.ctx, &now, &sink), 0);
	}
	n = read(fd[0], got + filled, sizeof(got) - filled);
	filled += n > 0 ? (size_t)n : 0;
	cr_expect_eq(filled, 4096 + 2 * (sizeof(line) + 1));
	cr_expect_eq(got[4096 + sizeof(line)], '\n');
	cr_expect_eq(got[4096 + 2 * sizeof(line) + 1], '\n');
	t.ops->close(t.ctx);
	close(fd[0]);
	close(fd[1]);
}

Test(file, stdout_without_a_reader_is_broken)
{
	const struct dp_report_sink sink = {take_pipe_report, NULL};
	struct dp_message m = {.payload = "x", .payload_bytes = 1};
	struct dp_now now = {0};
	struct dp_transport t;
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe(fd), 0);
	close(fd[0]);
	cr_assert_eq(dp_stdout_new(fd[1], &t), 0);
	cr_assert_eq(t.ops->send(t.ctx, &m), 0);
	cr_expect_eq(t.ops->serve(t.ctx, &now, &sink), -EPIPE);
	cr_expect_eq(t.ops->reopen(t.ctx, &now, 0), -EPIPE);
	t.ops->close(t.ctx);
	close(fd[1]);
}
