/* Position files: three slots in turn, and which blocks they say are delivered. */
#include "dataplane/egress/position.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define POSITION_MAGIC 0x534f5050u /* "PPOS" */

enum {
	POSITION_VERSION = 2,
	NAME_BYTES = DP_NAME_BYTES_MAX + 24,
	/* One is durable, one may be under way, and a stop does not wait for that. */
	SLOTS = 3,
	SLOT_BYTES = 4096, /* a torn write of one leaves the others alone */
};

_Static_assert(sizeof(struct dp_position) ==
		       8 + 13 * 8 - 8 + 8 + 24 * DP_LANES_MAX + DP_OUTPUT_STATE_BYTES_MAX + 8,
	"no padding in the file");
_Static_assert(sizeof(struct dp_position) <= SLOT_BYTES, "a slot holds it");

static uint64_t hash_of(const struct dp_position *p)
{
	return XXH3_64bits(p, offsetof(struct dp_position, hash));
}

static bool good(const struct dp_position *p, uint64_t appliance)
{
	return p->magic == POSITION_MAGIC && p->version == POSITION_VERSION &&
	       p->hash == hash_of(p) && p->appliance == appliance &&
	       p->lane_count <= DP_LANES_MAX && p->state_bytes <= sizeof(p->state);
}

static void name_of(const struct dp_position_file *f, const char *end, char name[NAME_BYTES])
{
	snprintf(name, NAME_BYTES, "output-%s.%s", f->output, end);
}

/* Was there one? Says so in *found. */
static int look_for_known(const struct dp_position_file *f, enum dp_position_found *found)
{
	char name[NAME_BYTES], known[2];
	ssize_t n;

	name_of(f, "known", name);
	n = dp_io_load(&f->io, name, known, sizeof(known));
	*found = n == -ENOENT ? DP_POSITION_NEW : DP_POSITION_LOST;
	return n < 0 && n != -ENOENT && n != -EFBIG ? (int)n : 0;
}

/* The newest good slot into *p, its index into *newest; -1: none is good. 0 or -errno. */
static int read_newest(struct dp_position_file *f, struct dp_position *p, int *newest)
{
	const uint64_t appliance = p->appliance;
	struct dp_position slot;

	*newest = -1;
	for (int i = 0; i < SLOTS; i++) {
		ssize_t n = f->io.ops->pread(
			f->io.ctx, f->handle, &slot, sizeof(slot), (uint64_t)i * SLOT_BYTES);

		if (n < 0)
			return (int)n;
		if (n != (ssize_t)sizeof(slot) || !good(&slot, appliance) ||
			(*newest >= 0 && slot.generation < p->generation))
			continue;
		*p = slot;
		*newest = i;
	}
	return 0;
}

int dp_position_open(struct dp_position_file *f, const struct dp_io *io, const char *output,
	struct dp_position *p, enum dp_position_found *found)
{
	char name[NAME_BYTES];
	int rc;

	*f = (struct dp_position_file){.io = *io, .handle = -1, .durable = -1, .saving = -1};
	snprintf(f->output, sizeof(f->output), "%s", output);
	name_of(f, "pos", name);
	rc = io->ops->open(io->ctx, name, DP_IO_READ | DP_IO_WRITE);
	if (rc == -ENOENT)
		return look_for_known(f, found);
	if (rc < 0)
		return rc;
	f->handle = rc;
	rc = read_newest(f, p, &f->durable);
	if (rc || f->durable < 0)
		dp_position_close(f);
	*found = f->durable < 0 ? DP_POSITION_LOST : DP_POSITION_FOUND;
	f->generation = f->durable < 0 ? 0 : p->generation;
	return rc;
}

void dp_position_close(struct dp_position_file *f)
{
	if (f->handle >= 0)
		f->io.ops->close(f->io.ctx, f->handle);
	f->handle = -1;
}

static void seal(struct dp_position_file *f, struct dp_position *p)
{
	p->magic = POSITION_MAGIC;
	p->version = POSITION_VERSION;
	p->generation = ++f->generation;
	p->hash = hash_of(p);
}

/* The file, with the position in its first slot; in place of what may be there. */
static int make_file(struct dp_position_file *f, const struct dp_position *p)
{
	char image[SLOTS * SLOT_BYTES] = {0}, name[NAME_BYTES];
	int rc;

	memcpy(image, p, sizeof(*p));
	name_of(f, "pos", name);
	rc = dp_io_save(&f->io, name, image, sizeof(image));
	if (rc)
		return rc;
	rc = f->io.ops->open(f->io.ctx, name, DP_IO_READ | DP_IO_WRITE);
	if (rc >= 0)
		f->handle = rc;
	return rc < 0 ? rc : 0;
}

/* After the position: a crash between the two leaves an output that is known by its position. */
static int make_known(struct dp_position_file *f)
{
	char name[NAME_BYTES], known;

	name_of(f, "known", name);
	if (dp_io_load(&f->io, name, &known, sizeof(known)) != -ENOENT)
		return 0;
	return dp_io_save(&f->io, name, "1", 1);
}

/* Writes a slot that nobody needs; its index or -errno. */
static int write_slot(struct dp_position_file *f, struct dp_position *p)
{
	struct iovec iov = {p, sizeof(*p)};
	int slot = (f->durable + 1) % SLOTS, rc;

	if (slot == f->saving)
		slot = (slot + 1) % SLOTS;
	seal(f, p);
	rc = f->io.ops->pwritev(f->io.ctx, f->handle, &iov, 1, (uint64_t)slot * SLOT_BYTES);
	return rc ? rc : slot;
}

int dp_position_save(struct dp_position_file *f, struct dp_position *p)
{
	int slot = 0, rc;

	if (f->handle < 0) {
		seal(f, p);
		rc = make_file(f, p);
	} else {
		slot = write_slot(f, p);
		rc = slot < 0 ? slot : f->io.ops->sync(f->io.ctx, f->handle);
	}
	if (rc)
		return rc;
	f->durable = slot;
	f->saving = -1; /* older than what is durable now */
	return make_known(f);
}

int dp_position_save_start(struct dp_position_file *f, struct dp_position *p)
{
	int slot = write_slot(f, p);
	int rc = slot < 0 ? slot : f->io.ops->sync_start(f->io.ctx, f->handle);

	if (rc == 0)
		f->saving = slot;
	return rc;
}

int dp_position_save_poll(struct dp_position_file *f)
{
	int rc = f->io.ops->sync_poll(f->io.ctx);

	if (rc == -EAGAIN)
		return rc;
	if (rc == 0 && f->saving >= 0)
		f->durable = f->saving;
	f->saving = -1;
	return rc;
}

struct stranger {
	bool (*named)(void *arg, const char *output);
	void *arg;
	char *output;
};

/* `output-NAME.pos` or `output-NAME.known` of an output that nobody names: 1. */
static int note_stranger(void *arg, const char *name)
{
	static const char *const ends[] = {".pos", ".known"};
	const char *begin = "output-";
	struct stranger *s = arg;
	size_t skip = strlen(begin), n = strlen(name);

	for (size_t i = 0; i < 2; i++) {
		size_t end = strlen(ends[i]);

		if (strncmp(name, begin, skip) != 0 || n <= skip + end ||
			n - skip - end > DP_NAME_BYTES_MAX || strcmp(name + n - end, ends[i]) != 0)
			continue;
		memcpy(s->output, name + skip, n - skip - end);
		s->output[n - skip - end] = 0;
		if (!s->named(s->arg, s->output))
			return 1;
	}
	return 0;
}

int dp_position_drop(const struct dp_io *io, bool (*named)(void *arg, const char *output),
	void *arg, char output[DP_NAME_BYTES_MAX + 1])
{
	struct stranger s = {named, arg, output};
	char name[NAME_BYTES];
	int rc = io->ops->list(io->ctx, note_stranger, &s);

	if (rc != 1)
		return rc;
	/* In this order: a crash between the two leaves no output that seems to have lost it. */
	snprintf(name, sizeof(name), "output-%s.known", output);
	rc = io->ops->unlink(io->ctx, name);
	if (rc == 0 || rc == -ENOENT)
		rc = io->ops->sync_dir(io->ctx);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "output-%s.pos", output);
	rc = io->ops->unlink(io->ctx, name);
	return rc && rc != -ENOENT ? rc : 1;
}

static struct dp_lane *find_lane(struct dp_position *p, uint64_t epoch, uint32_t worker)
{
	for (uint32_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].epoch == epoch && p->lanes[i].worker == worker)
			return &p->lanes[i];
	return NULL;
}

bool dp_position_delivered(
	const struct dp_position *p, uint64_t epoch, uint32_t worker, uint64_t sequence)
{
	if (epoch < p->epoch_floor)
		return true;
	for (uint32_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].epoch == epoch && p->lanes[i].worker == worker)
			return sequence <= p->lanes[i].sequence;
	return false;
}

/* The log goes epoch by epoch: once a later one passes, the oldest epoch's lanes are done with. */
static void drop_oldest_epoch(struct dp_position *p)
{
	uint64_t oldest = UINT64_MAX;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].epoch < oldest)
			oldest = p->lanes[i].epoch;
	for (uint32_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].epoch != oldest)
			p->lanes[kept++] = p->lanes[i];
	memset(p->lanes + kept, 0, (p->lane_count - kept) * sizeof(p->lanes[0]));
	p->lane_count = kept;
	p->epoch_floor = oldest + 1;
}

void dp_position_pass(struct dp_position *p, uint64_t epoch, uint32_t worker, uint64_t sequence)
{
	struct dp_lane *lane = find_lane(p, epoch, worker);

	if (!lane) {
		if (p->lane_count == DP_LANES_MAX)
			drop_oldest_epoch(p);
		lane = &p->lanes[p->lane_count++];
		*lane = (struct dp_lane){.epoch = epoch, .worker = worker};
	}
	if (sequence > lane->sequence)
		lane->sequence = sequence;
}
