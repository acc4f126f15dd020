#include <criterion/criterion.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/egress/egress.h"
#include "dataplane/egress/file.h"
#include "dataplane/egress/json.h"
#include "dataplane/egress/position.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/sample.h"

#define MS DP_NS_PER_MS

enum {
	BLOCKS_MAX = 80,
	SENT_MAX = 20000,
	TAKEN_PER_BLOCK = SAMPLE_RECORDS - 2, /* a sample group holds two marks */
	BLOCKS_PER_SEGMENT = 8,
};

/* ---- a log that is there: what reader and writer would show of it ---- */

struct fake_block {
	struct dp_block *block;
	bool damaged, freed;
};

struct fake_log {
	struct sample_streams s;
	struct fake_block blocks[BLOCKS_MAX];
	uint32_t count;
	uint64_t records;
	struct dp_writer_stats stats;
	uint64_t needed; /* what dp_writer_need was told */
	int error;	 /* of the next dp_reader_next */
};

struct dp_reader {
	uint32_t at;
	struct dp_reader_counts counts;
};

struct dp_writer; /* only its address is used */

static struct fake_log *the_log; /* the reader is opened by its disk alone */

static uint64_t lp_of(uint32_t i)
{
	return DP_LP(1 + i / BLOCKS_PER_SEGMENT, 4096 * (1 + i % BLOCKS_PER_SEGMENT));
}

int dp_reader_open(const struct dp_io *io, uint64_t appliance, uint64_t lp, struct dp_reader **out)
{
	struct dp_reader *r = calloc(1, sizeof(*r));

	(void)io;
	cr_assert_eq(appliance, SAMPLE_APPLIANCE);
	while (r->at < the_log->count && lp_of(r->at) < lp)
		r->at++;
	*out = r;
	return 0;
}

void dp_reader_close(struct dp_reader *r)
{
	free(r);
}

int dp_reader_next(struct dp_reader *r, uint64_t limit, struct dp_reader_block *out)
{
	if (the_log->error)
		return the_log->error;
	while (r->at < the_log->count && lp_of(r->at) < limit) {
		const struct fake_block *b = &the_log->blocks[r->at];

		r->at++;
		if (b->damaged)
			r->counts.quarantined_records += b->block->record_count;
		if (b->freed)
			r->counts.missing_segments++;
		if (b->damaged || b->freed)
			continue;
		*out = (struct dp_reader_block){
			b->block, &the_log->s.set, lp_of(r->at - 1), lp_of(r->at)};
		return 1;
	}
	return 0;
}

const struct dp_reader_counts *dp_reader_counts(const struct dp_reader *r)
{
	return &r->counts;
}

const struct dp_writer_stats *dp_writer_stats(const struct dp_writer *w)
{
	return &((const struct fake_log *)(const void *)w)->stats;
}

void dp_writer_need(struct dp_writer *w, uint32_t slot, uint64_t serial)
{
	cr_assert_eq(slot, 3);
	((struct fake_log *)(void *)w)->needed = serial;
}

/* What the log's open block holds is the next block. */
static void add_block(struct fake_log *l, struct dp_log *log)
{
	struct dp_block *b;

	cr_assert(l->count < BLOCKS_MAX);
	dp_log_seal(log, 0, true);
	b = dp_log_take(log);
	l->blocks[l->count].block = malloc(b->bytes);
	memcpy(l->blocks[l->count].block, b, b->bytes);
	l->blocks[l->count++].block->records_before = l->records;
	l->records += b->record_count;
	atomic_store(&l->stats.records, l->records);
	atomic_store(&l->stats.readable, lp_of(l->count));
}

static void append(struct fake_log *l, uint32_t worker, uint64_t epoch, uint64_t sequence)
{
	struct dp_arena arena;
	struct dp_log log;

	sample_log_init(&log, &arena, worker);
	log.epoch = epoch;
	log.next_sequence = sequence;
	sample_group(&log, &l->s, l->count);
	add_block(l, &log);
	dp_arena_fini(&arena);
}

/* Blocks of two workers in turn, half of them of the epoch before. */
static void append_many(struct fake_log *l, uint32_t count)
{
	uint64_t sequence[2][2] = {{0}};

	for (uint32_t i = 0; i < count; i++) {
		uint32_t epoch = i >= count / 2, worker = (i / 3) % 2;

		append(l, worker, SAMPLE_EPOCH + epoch, ++sequence[epoch][worker]);
	}
}

/* ---- the other side ---- */

struct sent {
	uint64_t id[2], cookie;
	uint32_t block; /* in the log */
	uint8_t kind;
};

struct other_side {
	struct fake_log *log;
	unsigned seed;
	int fail_send, fail_serve, again, too_large, refuse, hold; /* one in so many; 0: never */
	bool reversed;
	struct sent way[SENT_MAX]; /* outstanding */
	uint32_t way_count;
	struct sent got[SENT_MAX]; /* delivered, in the order sent within a life */
	uint32_t got_count;
	uint32_t sent_count, last_block, refused;
	size_t way_most;
	char text[1 << 16]; /* last payload */
	uint8_t key[64];
	uint32_t key_bytes;
};

static bool one_in(struct other_side *o, int n)
{
	return n && rand_r(&o->seed) % n == 0;
}

static int side_send(void *ctx, const struct dp_message *m)
{
	struct other_side *o = ctx;
	struct sent *s = &o->way[o->way_count];
	uint32_t block = 0;

	if (one_in(o, o->again))
		return -EAGAIN;
	if (one_in(o, o->fail_send))
		return -ECONNRESET;
	while (block < o->log->count && o->log->blocks[block].block != m->block)
		block++;
	cr_assert_lt(block, o->log->count);
	cr_assert_geq(block, o->last_block, "blocks go out in log order");
	o->last_block = block;
	o->sent_count++;
	if (one_in(o, o->too_large)) {
		o->refused++;
		return -EMSGSIZE;
	}
	*s = (struct sent){{m->id[0], m->id[1]}, m->cookie, block, m->kind};
	o->way_count++;
	if (o->way_count > o->way_most)
		o->way_most = o->way_count;
	cr_assert_lt(m->payload_bytes, sizeof(o->text));
	memcpy(o->text, m->payload, m->payload_bytes);
	o->text[m->payload_bytes] = 0;
	o->key_bytes = m->key_bytes;
	if (m->key_bytes)
		memcpy(o->key, m->key, m->key_bytes);
	return 0;
}

static int side_serve(void *ctx, const struct dp_now *now, const struct dp_report_sink *sink)
{
	struct other_side *o = ctx;

	(void)now;
	if (one_in(o, o->fail_serve))
		return -ECONNRESET;
	while (o->way_count && !one_in(o, o->hold)) {
		uint32_t i = o->reversed ? o->way_count - 1 : 0;
		struct sent s;

		if (o->hold)
			i = (uint32_t)rand_r(&o->seed) % o->way_count;
		s = o->way[i];
		memmove(o->way + i, o->way + i + 1, (--o->way_count - i) * sizeof(s));
		if (one_in(o, o->refuse)) {
			o->refused++;
			sink->report(sink->arg, s.cookie, DP_REPORT_REFUSED, "not \"today\"");
			continue;
		}
		cr_assert_lt(o->got_count, SENT_MAX);
		o->got[o->got_count++] = s;
		sink->report(sink->arg, s.cookie, DP_REPORT_DELIVERED, NULL);
	}
	return 0;
}

static int side_reopen(void *ctx, const struct dp_now *now, uint64_t again)
{
	struct other_side *o = ctx;

	(void)now;
	(void)again;
	if (one_in(o, o->fail_send ? 2 : 0))
		return -ECONNREFUSED;
	o->way_count = 0;
	o->last_block = 0;
	return 0;
}

static int64_t side_deadline(void *ctx)
{
	(void)ctx;
	return INT64_MAX;
}

static void side_close(void *ctx)
{
	struct other_side *o = ctx;

	o->way_count = 0;
	o->last_block = 0;
}

static int side_wake_fd(void *ctx)
{
	(void)ctx;
	return 7;
}

static const struct dp_transport_ops side_ops = {
	.send = side_send,
	.serve = side_serve,
	.reopen = side_reopen,
	.deadline = side_deadline,
	.wake_fd = side_wake_fd,
	.close = side_close,
};

/* ---- the output between them ---- */

struct world {
	struct fake_log log;
	struct fake_disk disk;
	struct other_side side;
	struct dp_recovery recovery;
	struct dp_recovered_segment segment;
	struct dp_output_setup setup;
	struct dp_output *out;
	struct dp_now now;
};

static struct world *new_world(uint32_t blocks)
{
	struct world *w = calloc(1, sizeof(*w));

	the_log = &w->log;
	sample_streams_init(&w->log.s);
	append_many(&w->log, blocks);
	w->side.log = &w->log;
	w->segment = (struct dp_recovered_segment){.serial = 1};
	w->recovery = (struct dp_recovery){.appliance = SAMPLE_APPLIANCE,
		.end_lp = lp_of(w->log.count),
		.records = w->log.records,
		.segments = &w->segment,
		.segment_count = 1};
	w->setup = (struct dp_output_setup){
		.config = {.name = "test",
			.form = DP_FORM_JSON,
			.from_oldest = true,
			.kinds = DP_KINDS_DEFAULT,
			.window_blocks = 8,
			.window_bytes = 1 << 20,
			.save_interval_ns = 10 * MS,
			.slot = 3},
		.writer = (struct dp_writer *)(void *)&w->log,
		.recovery = &w->recovery,
		.transport = {&side_ops, &w->side},
	};
	fake_disk_io(&w->disk, &w->setup.io);
	w->setup.dead_io = w->setup.io;
	w->now.steady_ns = 1;
	return w;
}

static void free_world(struct world *w)
{
	dp_output_free(w->out);
	for (uint32_t i = 0; i < w->log.count; i++)
		free(w->log.blocks[i].block);
	fake_disk_fini(&w->disk);
	free(w);
}

static void start(struct world *w)
{
	dp_output_free(w->out);
	w->out = NULL;
	cr_assert_eq(dp_output_new(&w->setup, &w->now, &w->out), 0);
}

#define STAT(w, name) atomic_load(&dp_output_stats((w)->out)->name)

static uint64_t sums(const struct world *w)
{
	return STAT(w, delivered) + STAT(w, dead_letter) + STAT(w, filtered) + STAT(w, expired) +
	       STAT(w, quarantined);
}

/* The ledger of an output, design: sum (c). */
static void expect_ledger(const struct world *w)
{
	uint64_t spooled = w->log.records - STAT(w, read) + STAT(w, in_flight);

	cr_assert_eq(w->log.records - STAT(w, baseline), sums(w) + spooled);
	cr_assert_leq(STAT(w, in_flight), w->log.records);
}

static void run(struct world *w, int steps)
{
	for (int i = 0; i < steps && !dp_output_drained(w->out); i++) {
		if (!dp_output_step(w->out, &w->now))
			w->now.steady_ns += 5 * MS;
		expect_ledger(w);
	}
}

static void drain(struct world *w)
{
	for (int i = 0; i < 200000 && !dp_output_drained(w->out); i++)
		run(w, 1);
	cr_assert(dp_output_drained(w->out));
	cr_assert_eq(STAT(w, in_flight), 0);
	cr_assert_eq(sums(w), w->log.records - STAT(w, baseline));
}

static bool got(const struct world *w, uint32_t block)
{
	for (uint32_t i = 0; i < w->side.got_count; i++)
		if (w->side.got[i].block == block)
			return true;
	return false;
}

/* ---- tests ---- */

Test(egress, delivers_every_record_once_and_in_order)
{
	struct world *w = new_world(40);

	start(w);
	drain(w);
	cr_assert_eq(w->side.got_count, 40 * TAKEN_PER_BLOCK);
	for (uint32_t i = 0; i < w->side.got_count; i++) {
		cr_assert_eq(w->side.got[i].block, i / TAKEN_PER_BLOCK);
		cr_assert_neq(w->side.got[i].kind, DP_REC_MARK);
		for (uint32_t k = 0; k < i; k++)
			cr_assert(w->side.got[k].cookie != w->side.got[i].cookie ||
				  w->side.got[k].block != w->side.got[i].block);
	}
	cr_expect_eq(STAT(w, delivered), 40 * TAKEN_PER_BLOCK);
	cr_expect_eq(STAT(w, filtered), 40 * 2);
	cr_expect_eq(STAT(w, messages), 40 * TAKEN_PER_BLOCK);
	cr_expect_eq(STAT(w, resends), 0);
	cr_expect_eq(STAT(w, oldest_ns), 0);
	free_world(w);
}

/*
 * Everything at once, many times: nothing lost, nothing reordered within a life, the sums right
 * after every step, dead letters in their file once.
 */
static void storm(unsigned seed, enum dp_output_form form)
{
	struct world *w = new_world(60);
	const struct fake_file *dead;
	uint64_t lines = 0;

	w->setup.config.form = form;
	w->side.seed = seed;
	w->side.again = 5;
	w->side.hold = 4;
	w->side.refuse = seed % 3 ? 12 : 0;
	w->side.too_large = seed % 2 ? 20 : 0;
	w->side.fail_send = seed % 4 ? 40 : 0;
	w->side.fail_serve = seed % 5 ? 50 : 0;
	start(w);
	for (int life = 0; life < 4; life++) {
		run(w, rand_r(&w->side.seed) % 150);
		if (rand_r(&w->side.seed) % 2) {
			w->disk.die_at = w->disk.calls + 1 + rand_r(&w->side.seed) % 6;
			run(w, rand_r(&w->side.seed) % 40);
			fake_disk_revive(&w->disk, rand_r(&w->side.seed) % 2);
		}
		if (rand_r(&w->side.seed) % 3 == 0)
			(void)dp_output_stop(w->out, &w->now);
		start(w);
		expect_ledger(w);
	}
	drain(w);
	if (form == DP_FORM_PACKED)
		cr_assert_eq(STAT(w, filtered), 0);
	else
		cr_assert_eq(STAT(w, filtered), 60 * 2);
	dead = fake_disk_file(&w->disk, "dead-test.jsonl");
	for (size_t i = 0; dead && i < dead->bytes; i++)
		lines += dead->data[i] == '\n';
	cr_assert_eq(STAT(w, dead_letter), lines * (form == DP_FORM_PACKED ? SAMPLE_RECORDS : 1),
		"seed %u", seed);
	for (uint32_t i = 0; i < 60 && !lines; i++)
		cr_assert(got(w, i), "seed %u: block %u", seed, i);
	cr_assert_eq(STAT(w, expired) + STAT(w, quarantined), 0);
	free_world(w);
}

Test(egress, storm_json)
{
	for (unsigned seed = 1; seed <= 150; seed++)
		storm(seed, DP_FORM_JSON);
}

Test(egress, storm_packed)
{
	for (unsigned seed = 1; seed <= 150; seed++)
		storm(seed, DP_FORM_PACKED);
}

/* A later block that is there first must not carry the position over an earlier one. */
Test(egress, position_waits_for_the_oldest_block)
{
	struct world *w = new_world(3);

	start(w);
	w->side.hold = 1; /* no reports */
	run(w, 4);
	cr_assert_eq(w->side.way_count, 3 * TAKEN_PER_BLOCK);
	cr_expect_eq(STAT(w, in_flight), 3 * SAMPLE_RECORDS);
	cr_expect_eq(STAT(w, oldest_ns), (uint64_t)w->log.blocks[0].block->arrival_min_ns);
	/* All but the very first message is reported. */
	memmove(w->side.way, w->side.way + 1, --w->side.way_count * sizeof(w->side.way[0]));
	w->side.hold = 0;
	run(w, 3);
	cr_expect_eq(STAT(w, delivered), 0);
	w->now.steady_ns += 100 * MS;
	run(w, 1);
	w->side.got_count = w->side.sent_count = 0;
	start(w);
	drain(w);
	cr_expect_eq(w->side.sent_count, 3 * TAKEN_PER_BLOCK);
	free_world(w);
}

Test(egress, restart_goes_on_behind_what_was_saved)
{
	struct world *w = new_world(40);
	uint64_t delivered;

	start(w);
	run(w, 3);
	cr_assert_eq(dp_output_stop(w->out, &w->now), 0);
	delivered = STAT(w, delivered);
	cr_assert(delivered > 0 && delivered < 40 * TAKEN_PER_BLOCK);
	w->side.sent_count = 0;
	start(w);
	cr_expect_eq(STAT(w, delivered), delivered, "sums go on over a restart");
	drain(w);
	cr_expect_eq(w->side.sent_count, 40 * TAKEN_PER_BLOCK - delivered);
	free_world(w);
}

Test(egress, new_output_begins_at_the_end)
{
	struct world *w = new_world(10);

	w->setup.config.from_oldest = false;
	start(w);
	cr_expect_eq(STAT(w, baseline), 10 * SAMPLE_RECORDS);
	drain(w);
	cr_expect_eq(w->side.sent_count, 0);
	append(&w->log, 0, SAMPLE_EPOCH + 9, 1);
	drain(w);
	cr_expect_eq(w->side.sent_count, TAKEN_PER_BLOCK);
	/* Its position is there from the start: nothing of the old log comes after a crash. */
	start(w);
	cr_expect_eq(STAT(w, baseline), 10 * SAMPLE_RECORDS);
	free_world(w);
}

/* At least once beats silence: an output whose position is gone begins at the oldest. */
Test(egress, lost_position_begins_at_the_oldest)
{
	static const char *const how[] = {"damaged", "gone"};

	for (size_t i = 0; i < 2; i++) {
		struct world *w = new_world(10);
		struct fake_file *f;

		w->setup.config.from_oldest = false;
		start(w);
		f = (struct fake_file *)fake_disk_file(&w->disk, "output-test.pos");
		cr_assert(f);
		if (i == 0)
			f->data[40] ^= 1;
		else
			f->name[0] = '~';
		start(w);
		cr_expect_eq(STAT(w, positions_lost), 1, "%s", how[i]);
		cr_expect_eq(STAT(w, baseline), 0);
		drain(w);
		cr_expect_eq(w->side.got_count, 10 * TAKEN_PER_BLOCK);
		free_world(w);
	}
}

static bool is_other(void *arg, const char *output)
{
	(void)arg;
	return strcmp(output, "other") == 0;
}

/* An output that left the config for a while begins anew, and not with months of resends. */
Test(egress, position_of_who_is_gone_is_dropped)
{
	struct world *w = new_world(10);
	char dropped[DP_NAME_BYTES_MAX + 1];

	start(w);
	strcpy(w->setup.config.name, "other");
	start(w);
	cr_expect_eq(dp_position_drop(&w->setup.io, is_other, NULL, dropped), 1);
	cr_expect_str_eq(dropped, "test");
	cr_expect_eq(dp_position_drop(&w->setup.io, is_other, NULL, dropped), 0);
	cr_expect_null(fake_disk_file(&w->disk, "output-test.pos"));
	cr_expect_null(fake_disk_file(&w->disk, "output-test.known"));
	cr_expect(fake_disk_file(&w->disk, "output-other.pos"));
	cr_expect(fake_disk_file(&w->disk, "output-other.known"));
	strcpy(w->setup.config.name, "test");
	w->setup.config.from_oldest = false;
	start(w);
	cr_expect_eq(STAT(w, positions_lost), 0);
	cr_expect_eq(STAT(w, baseline), 10 * SAMPLE_RECORDS);
	free_world(w);
}

Test(egress, damage_and_freed_segments_are_counted)
{
	struct world *w = new_world(20);

	w->log.blocks[0].freed = w->log.blocks[1].freed = true;
	w->log.blocks[7].damaged = w->log.blocks[8].damaged = true;
	w->log.blocks[12].damaged = w->log.blocks[13].freed = true;
	start(w);
	drain(w);
	cr_expect_eq(STAT(w, expired), 3 * SAMPLE_RECORDS);
	cr_expect_eq(STAT(w, quarantined), 3 * SAMPLE_RECORDS);
	cr_expect_eq(STAT(w, delivered), 14 * TAKEN_PER_BLOCK);
	free_world(w);
}

/* `lazy`: a power cut takes blocks that were delivered; their records left the log, and the sums.
 */
Test(egress, log_that_lost_its_end)
{
	struct world *w = new_world(20);

	start(w);
	drain(w);
	cr_assert_eq(dp_output_stop(w->out, &w->now), 0);
	for (int i = 0; i < 4; i++)
		free(w->log.blocks[--w->log.count].block);
	w->log.records -= 4 * SAMPLE_RECORDS;
	atomic_store(&w->log.stats.readable, lp_of(w->log.count));
	w->recovery.end_lp = lp_of(w->log.count);
	w->recovery.records = w->log.records;
	w->side.sent_count = 0;
	start(w);
	expect_ledger(w);
	append(&w->log, 0, SAMPLE_EPOCH + 5, 1);
	drain(w);
	cr_expect_eq(w->side.sent_count, TAKEN_PER_BLOCK);
	free_world(w);
}

/* Segments go by what is saved: a crash comes back to that, not to where we are. */
Test(egress, needs_the_log_from_the_saved_position)
{
	struct world *w = new_world(40);

	w->setup.config.save_interval_ns = 1000 * MS;
	start(w);
	while (!dp_output_drained(w->out))
		dp_output_step(w->out, &w->now);
	cr_expect_eq(w->log.needed, 0);
	cr_expect_eq(dp_output_deadline(w->out), 1 + 1000 * MS);
	w->now.steady_ns = 1 + 1000 * MS;
	dp_output_step(w->out, &w->now);
	cr_expect_eq(w->log.needed, DP_LP_SERIAL(lp_of(40)));
	free_world(w);
}

/* A save under way holds nothing up, and what it covers counts when it has ended. */
Test(egress, work_goes_on_beside_a_save)
{
	struct world *w = new_world(40);

	start(w);
	w->disk.polls = 1000;
	w->now.steady_ns += 10 * MS;
	drain(w);
	cr_expect_eq(w->side.got_count, 40 * TAKEN_PER_BLOCK);
	cr_expect_eq(STAT(w, saves), 1, "that of the start");
	cr_expect_eq(w->log.needed, 0);
	cr_expect_gt(dp_output_deadline(w->out), w->now.steady_ns + 1000 * MS,
		"the disk wakes it, not the clock");
	w->disk.polls = 0;
	w->now.steady_ns += 10 * MS;
	for (int i = 0; i < 3; i++)
		dp_output_step(w->out, &w->now);
	cr_expect_eq(STAT(w, saves), 3, "the one that ran, and one of what came meanwhile");
	cr_expect_eq(w->log.needed, DP_LP_SERIAL(lp_of(40)));
	free_world(w);
}

/* Reports do not wake it one by one; a window that fills, or a message that waits, lets them. */
Test(egress, reports_wait_while_there_is_room)
{
	struct world *w = new_world(4);

	w->setup.config.form = DP_FORM_PACKED;
	w->setup.config.save_interval_ns = 1000 * MS;
	w->side.hold = 1;
	start(w);
	cr_expect_eq(dp_output_wake_fd(w->out), 7, "nothing is on its way");
	while (dp_output_step(w->out, &w->now))
		;
	cr_expect_eq(dp_output_wake_fd(w->out), -1);
	cr_expect_eq(dp_output_deadline(w->out), w->now.steady_ns + 20 * MS);
	w->setup.config.window_blocks = 4;
	start(w);
	while (dp_output_step(w->out, &w->now))
		;
	cr_expect_eq(dp_output_wake_fd(w->out), 7, "more than half of the window is on its way");
	w->setup.config.window_blocks = 8;
	w->side.again = 1;
	start(w);
	while (dp_output_step(w->out, &w->now))
		;
	cr_expect_eq(dp_output_wake_fd(w->out), 7, "the other side takes no more");
	w->side.again = w->side.hold = 0;
	drain(w);
	cr_expect_eq(dp_output_wake_fd(w->out), 7);
	free_world(w);
}

/* What was reported before it broke is saved; a deadline that has passed would make it spin. */
Test(egress, saves_while_it_is_broken)
{
	struct world *w = new_world(40);

	start(w);
	dp_output_step(w->out, &w->now);
	w->side.fail_send = 1;
	dp_output_step(w->out, &w->now);
	cr_assert_eq(STAT(w, state), 1);
	cr_assert_gt(STAT(w, delivered), 0);
	cr_assert_eq(STAT(w, saves), 1);
	w->now.steady_ns += 10 * MS;
	dp_output_step(w->out, &w->now);
	cr_expect_eq(STAT(w, saves), 2);
	cr_expect_gt(dp_output_deadline(w->out), w->now.steady_ns);
	free_world(w);
}

Test(egress, failed_save_is_tried_again)
{
	struct world *w = new_world(10);

	start(w);
	w->disk.fail = -ENOSPC;
	for (int i = 0; i < 20; i++) {
		dp_output_step(w->out, &w->now);
		w->now.steady_ns += 5 * MS;
	}
	cr_expect_gt(STAT(w, save_failures), 2);
	cr_expect_eq(STAT(w, state), 2);
	cr_expect_eq(STAT(w, delivered), 10 * TAKEN_PER_BLOCK, "delivery goes on");
	cr_expect_eq(w->log.needed, 0);
	w->disk.fail = 0;
	w->now.steady_ns += 20 * MS;
	dp_output_step(w->out, &w->now);
	cr_expect_eq(STAT(w, state), 0);
	cr_expect_gt(w->log.needed, 0);
	free_world(w);
}

Test(egress, window_bounds_what_is_on_its_way)
{
	struct world *w = new_world(40);

	w->setup.config.window_blocks = 3;
	w->side.hold = 1;
	start(w);
	for (int i = 0; i < 100; i++)
		dp_output_step(w->out, &w->now);
	cr_expect_eq(w->side.way_count, 3 * TAKEN_PER_BLOCK);
	free_world(w);
	w = new_world(40);
	w->setup.config.window_bytes = 4000; /* a block's messages take some 1,900 */
	w->side.hold = 1;
	start(w);
	for (int i = 0; i < 100; i++)
		dp_output_step(w->out, &w->now);
	cr_expect_leq(w->side.way_count, 3 * TAKEN_PER_BLOCK);
	cr_expect_geq(w->side.way_count, TAKEN_PER_BLOCK);
	free_world(w);
}

Test(egress, dead_letter_says_what_and_why)
{
	struct world *w = new_world(1);
	const struct fake_file *f;
	json_t *root;

	w->side.refuse = 1;
	start(w);
	drain(w);
	cr_expect_eq(STAT(w, dead_letter), TAKEN_PER_BLOCK);
	cr_expect_eq(STAT(w, delivered), 0);
	f = fake_disk_file(&w->disk, "dead-test.jsonl");
	cr_assert(f);
	cr_expect_eq(f->durable_bytes, f->bytes);
	root = json_loadb(f->data, f->bytes, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert(root);
	cr_expect_str_eq(json_string_value(json_object_get(root, "reason")), "not \"today\"");
	cr_expect_str_eq(json_string_value(json_object_get(root, "output")), "test");
	cr_expect_eq(json_integer_value(json_object_get(root, "index")), SAMPLE_WINDOW);
	cr_expect_str_eq(
		json_string_value(json_object_get(json_object_get(root, "record"), "sensor")),
		"pump-7");
	json_decref(root);
	free_world(w);
}

/*
 * The log has freed the block since it was sent, or it is damaged: the letter says where and why,
 * and the output goes on. Waiting for it would be for ever.
 */
Test(egress, dead_letter_of_a_block_that_is_gone)
{
	for (int damaged = 0; damaged <= 1; damaged++) {
		struct world *w = new_world(2);
		const struct fake_file *f;
		json_t *root;

		w->side.refuse = 1;
		start(w);
		dp_output_step(w->out, &w->now);
		cr_assert_eq(w->side.way_count, 2 * TAKEN_PER_BLOCK);
		w->log.blocks[0].freed = !damaged;
		w->log.blocks[0].damaged = damaged;
		drain(w);
		cr_expect_eq(STAT(w, dead_letter), 2 * TAKEN_PER_BLOCK);
		f = fake_disk_file(&w->disk, "dead-test.jsonl");
		cr_assert(f);
		root = json_loadb(f->data, f->bytes, JSON_DISABLE_EOF_CHECK, NULL);
		cr_assert(root);
		cr_expect_str_eq(
			json_string_value(json_object_get(root, "reason")), "not \"today\"");
		cr_expect_eq(json_integer_value(json_object_get(root, "sequence")), 1);
		cr_expect_eq(json_integer_value(json_object_get(root, "index")), SAMPLE_WINDOW);
		cr_expect_null(json_object_get(root, "record"));
		json_decref(root);
		free_world(w);
	}
}

/* No directory at all: in memory they would grow until there is no more of it. */
Test(egress, dead_letters_without_a_place_are_counted)
{
	struct world *w = new_world(2);

	w->setup.dead_io = (struct dp_io){0};
	w->side.refuse = 1;
	start(w);
	drain(w);
	cr_expect_eq(STAT(w, dead_letter), 2 * TAKEN_PER_BLOCK);
	cr_expect_null(fake_disk_file(&w->disk, "dead-test.jsonl"));
	free_world(w);
}

/* The position must not pass a dead letter that is not on the disk. */
Test(egress, dead_letter_holds_the_position)
{
	struct world *w = new_world(3);

	w->side.refuse = 1;
	start(w);
	w->setup.dead_io = w->setup.io;
	w->disk.fail = -ENOSPC;
	for (int i = 0; i < 50; i++) {
		dp_output_step(w->out, &w->now);
		w->now.steady_ns += 5 * MS;
		expect_ledger(w);
	}
	cr_expect_eq(STAT(w, dead_letter), 0);
	cr_expect_eq(STAT(w, in_flight), 3 * SAMPLE_RECORDS);
	cr_expect_eq(STAT(w, state), 2);
	w->disk.fail = 0;
	drain(w);
	cr_expect_eq(STAT(w, dead_letter), 3 * TAKEN_PER_BLOCK);
	free_world(w);
}

Test(egress, packed_sends_whole_blocks)
{
	struct world *w = new_world(5);
	const struct dp_block *b = w->log.blocks[4].block;

	w->setup.config.form = DP_FORM_PACKED;
	start(w);
	drain(w);
	cr_expect_eq(w->side.got_count, 5);
	cr_expect_eq(STAT(w, delivered), 5 * SAMPLE_RECORDS);
	cr_expect_eq(STAT(w, filtered), 0);
	cr_expect_eq(memcmp(w->side.text, b, b->bytes), 0);
	cr_expect_eq(w->side.key_bytes, 12);
	cr_expect_eq(memcmp(w->side.key, &b->appliance, 8), 0);
	cr_expect_eq(memcmp(w->side.key + 8, &b->worker, 4), 0);
	free_world(w);
}

Test(egress, packed_dead_letter_is_the_block)
{
	struct world *w = new_world(1);
	const struct fake_file *f;
	const char *text;
	size_t chars;
	json_t *root;

	w->setup.config.form = DP_FORM_PACKED;
	w->side.too_large = 1;
	start(w);
	drain(w);
	cr_expect_eq(STAT(w, dead_letter), SAMPLE_RECORDS);
	f = fake_disk_file(&w->disk, "dead-test.jsonl");
	root = json_loadb(f->data, f->bytes, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert(root);
	text = json_string_value(json_object_get(root, "block"));
	chars = (w->log.blocks[0].block->bytes + 2) / 3 * 4;
	cr_expect_eq(strlen(text), chars);
	cr_expect_eq(strncmp(text, "UEJMSw", 5), 0, "\"PBLK\": %.8s", text);
	json_decref(root);
	free_world(w);
}

/* A disk or a broker that stays away is asked again, at longer and longer times, up to a bound. */
Test(egress, backoff_grows_and_is_bounded)
{
	struct world *w = new_world(10);
	int64_t waited = 0;

	start(w);
	w->log.error = -EIO;
	for (int i = 0; i < 20; i++) {
		int64_t deadline;

		cr_assert_not(dp_output_step(w->out, &w->now));
		deadline = dp_output_deadline(w->out);
		cr_assert_geq(deadline - w->now.steady_ns, waited);
		waited = deadline - w->now.steady_ns;
		cr_assert_leq(waited, 5 * DP_NS_PER_S);
		w->now.steady_ns = deadline;
	}
	cr_expect_eq(waited, 5 * DP_NS_PER_S);
	cr_expect_eq(STAT(w, state), 2);
	cr_expect_eq(STAT(w, error), EIO);
	w->log.error = 0;
	drain(w);
	cr_expect_eq(STAT(w, state), 0);
	free_world(w);
}

/* After a failed write the writer brings the same positions again; the reader may show them. */
Test(egress, repeated_positions_are_not_sent_again)
{
	struct world *w = new_world(6);
	struct dp_block *again = w->log.blocks[2].block;

	start(w);
	drain(w);
	w->side.got_count = w->side.sent_count = 0;
	w->log.blocks[w->log.count].block = malloc(again->bytes);
	memcpy(w->log.blocks[w->log.count++].block, again, again->bytes);
	atomic_store(&w->log.stats.readable, lp_of(w->log.count));
	run(w, 10);
	expect_ledger(w);
	cr_expect_eq(w->side.sent_count, 0);
	append(&w->log, 1, SAMPLE_EPOCH + 2, 1);
	drain(w);
	cr_expect_eq(w->side.sent_count, TAKEN_PER_BLOCK);
	free_world(w);
}

/* ---- output and file together ---- */

/* The files, oldest first, hold every record that the output takes once and in log order. */
static void expect_file(const struct world *w, const struct fake_disk *disk, unsigned seed)
{
	char name[32], id_text[40];
	size_t at = 0;
	int n = 1;
	const struct fake_file *f = NULL;

	for (uint32_t b = 0; b < w->log.count; b++) {
		const struct dp_block *block = w->log.blocks[b].block;

		for (uint32_t i = 0; i < SAMPLE_RECORDS; i++) {
			const struct dp_rec *rec = sample_record(block, &w->log.s.set, i);
			struct dp_rec_place place = {
				block->appliance, block->epoch, block->sequence, block->worker, i};
			uint64_t id[2];
			const char *line_end;

			if (rec->kind == DP_REC_MARK)
				continue;
			while (!f || at == f->bytes) { /* a file that is empty, or at its end */
				snprintf(name, sizeof(name), "out.%d", n);
				at = 0;
				f = fake_disk_file(disk, name);
				n++;
				if (!f) {
					f = fake_disk_file(disk, "out");
					cr_assert(f && f->bytes && n < 1000, "seed %u: block %u",
						seed, b);
					n = 1000;
				}
			}
			dp_rec_id(rec, &w->log.s.set, &place, id);
			dp_id_text(id, id_text);
			line_end = memchr(f->data + at, '\n', f->bytes - at);
			cr_assert(line_end, "seed %u: half a line", seed);
			cr_assert(memmem(f->data + at, (size_t)(line_end - f->data) - at, id_text,
					  32),
				"seed %u: block %u record %u", seed, b, i);
			at = (size_t)(line_end - f->data) + 1;
		}
	}
	f = fake_disk_file(disk, "out");
	cr_assert(n == 1000 ? at == f->bytes : !f || f->bytes == 0, "seed %u: more", seed);
}

static void storm_file(unsigned first)
{
	static const struct dp_file_config config = {.name = "out",
		.rotate_bytes = 9000,
		.keep = 1000,
		.sync_interval_ns = 20 * MS,
		.sync_bytes = 5000};
	struct world *w = new_world(60);
	struct fake_disk *disk = calloc(1, sizeof(*disk));
	unsigned seed = first;
	struct dp_io io;

	fake_disk_io(disk, &io);
	for (int life = 0; life < 6; life++) {
		bool last = life == 5;

		dp_output_free(w->out);
		w->out = NULL;
		cr_assert_eq(dp_file_new(&config, &io, &w->setup.transport), 0);
		if (!last && rand_r(&seed) % 2)
			disk->die_at = disk->calls + 1 + rand_r(&seed) % 30;
		if (!last && rand_r(&seed) % 3 == 0)
			w->disk.die_at = w->disk.calls + 1 + rand_r(&seed) % 30;
		if (dp_output_new(&w->setup, &w->now, &w->out) == 0) {
			run(w, rand_r(&seed) % 60);
			/* A disk that only refused for a while is there again in the same life. */
			if (rand_r(&seed) % 2)
				disk->dead = false;
			run(w, rand_r(&seed) % 300);
		}
		if (last)
			break;
		disk->dead |= rand_r(&seed) % 2;
		fake_disk_revive(disk, rand_r(&seed) % 2);
		fake_disk_revive(&w->disk, rand_r(&seed) % 2);
	}
	drain(w);
	expect_file(w, disk, first);
	free_world(w);
	fake_disk_fini(disk);
	free(disk);
}

/* Kills, power cuts and disks that refuse, of the file and of the position: each record once. */
Test(egress, file_holds_each_record_once)
{
	for (unsigned seed = 1; seed <= 400; seed++)
		storm_file(seed);
}

/* ---- raw payloads ---- */

static const char datagram[] = "{\"id\":\"pump-7\"}\n";

/* A log of one block with one payload. */
static struct world *new_raw_world(void)
{
	struct world *w = new_world(0);
	struct dp_arena arena;
	struct dp_log log;
	struct dp_rec_raw *r;
	uint32_t index;

	sample_log_init(&log, &arena, 0);
	dp_log_group(&log, SAMPLE_GROUP_BYTES, 0);
	r = dp_log_record(&log, DP_REC_RAW, dp_rec_raw_bytes(6, sizeof(datagram) - 1), &index);
	r->arrival_ns = SAMPLE_TIME_NS;
	r->payload_bytes = sizeof(datagram) - 1;
	r->head.id_len = 6;
	memcpy((char *)dp_rec_sensor(&r->head), "pump-7", 6);
	memcpy((char *)dp_rec_payload(r), datagram, sizeof(datagram) - 1);
	dp_log_arrival_time(&log, SAMPLE_TIME_NS);
	add_block(&w->log, &log);
	dp_arena_fini(&arena);
	return w;
}

Test(egress, payloads_are_filtered_unless_they_are_asked_for)
{
	struct world *w = new_raw_world();

	start(w);
	drain(w);
	cr_expect_eq(w->side.got_count, 0);
	cr_expect_eq(STAT(w, filtered), 1);
	free_world(w);
}

Test(egress, payload_goes_out_as_it_came_or_in_json)
{
	for (int as_it_came = 0; as_it_came <= 1; as_it_came++) {
		struct world *w = new_raw_world();

		w->setup.config.kinds |= 1u << DP_REC_RAW;
		w->setup.config.raw_as_it_came = as_it_came;
		start(w);
		drain(w);
		cr_assert_eq(w->side.got_count, 1);
		cr_expect_eq(w->side.got[0].kind, DP_REC_RAW);
		cr_expect_eq(w->side.key_bytes, 6);
		cr_expect_arr_eq(w->side.key, "pump-7", 6);
		if (as_it_came)
			cr_expect_str_eq(w->side.text, datagram);
		else
			cr_expect(strstr(w->side.text, "\"kind\":\"raw\"") &&
					  strstr(w->side.text,
						  "\"payload\":\"eyJpZCI6InB1bXAtNyJ9Cg==\""),
				"%s", w->side.text);
		free_world(w);
	}
}

/* Bytes of any kind would break the file's lines. */
Test(egress, refused_payload_is_a_dead_letter_in_json)
{
	static const char base64[] = "\"payload\":\"eyJpZCI6InB1bXAtNyJ9Cg==\"";
	struct world *w = new_raw_world();
	const struct fake_file *dead;

	w->setup.config.kinds |= 1u << DP_REC_RAW;
	w->setup.config.raw_as_it_came = true;
	w->side.refuse = 1;
	start(w);
	drain(w);
	cr_expect_eq(STAT(w, dead_letter), 1);
	dead = fake_disk_file(&w->disk, "dead-test.jsonl");
	cr_assert(dead);
	cr_expect(memmem(dead->data, dead->bytes, base64, strlen(base64)));
	free_world(w);
}
