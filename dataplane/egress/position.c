/* Position files: load and save, and which blocks they say are delivered. */
#include "dataplane/egress/position.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define POSITION_MAGIC 0x534f5050u /* "PPOS" */

enum { POSITION_VERSION = 1, NAME_BYTES = DP_NAME_BYTES_MAX + 24 };

_Static_assert(sizeof(struct dp_position) ==
		       8 + 12 * 8 - 8 + 8 + 24 * DP_LANES_MAX + DP_OUTPUT_STATE_BYTES_MAX + 8,
	"no padding in the file");

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

int dp_position_load(const struct dp_io *io, const char *output, struct dp_position *p,
	enum dp_position_found *found)
{
	const uint64_t appliance = p->appliance;
	char name[NAME_BYTES];
	char known[2];
	ssize_t n;

	snprintf(name, sizeof(name), "output-%s.pos", output);
	n = dp_io_load(io, name, p, sizeof(*p));
	if (n < 0 && n != -ENOENT && n != -EFBIG)
		return (int)n;
	*found = DP_POSITION_FOUND;
	if (n == (ssize_t)sizeof(*p) && good(p, appliance))
		return 0;
	memset(p, 0, sizeof(*p));
	p->appliance = appliance;
	*found = DP_POSITION_LOST;
	if (n != -ENOENT)
		return 0;
	snprintf(name, sizeof(name), "output-%s.known", output);
	n = dp_io_load(io, name, known, sizeof(known));
	if (n == -ENOENT)
		*found = DP_POSITION_NEW;
	return n < 0 && n != -ENOENT && n != -EFBIG ? (int)n : 0;
}

int dp_position_save(const struct dp_io *io, const char *output, struct dp_position *p)
{
	char name[NAME_BYTES];
	char known;
	int rc;

	p->magic = POSITION_MAGIC;
	p->version = POSITION_VERSION;
	p->hash = hash_of(p);
	snprintf(name, sizeof(name), "output-%s.pos", output);
	rc = dp_io_save(io, name, p, sizeof(*p));
	if (rc)
		return rc;
	/* Second: a crash between the two leaves an output that is known by its position. */
	snprintf(name, sizeof(name), "output-%s.known", output);
	if (dp_io_load(io, name, &known, sizeof(known)) != -ENOENT)
		return 0;
	return dp_io_save(io, name, "1", 1);
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
	if (rc && rc != -ENOENT)
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
