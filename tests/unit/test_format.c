/*
 * Format v1 to the byte: a segment made here must equal tests/fixtures/segment-v1.seg, and the ids
 * of its records those in segment-v1.ids.  Both are read by the Python package's tests too, and
 * stay as they are for as long as v1 is read.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "dataplane/journal/schema.h"
#include "dataplane/journal/segment.h"
#include "tests/unit/sample.h"

enum { IMAGE_BYTES_MAX = 64 << 10, BLOCKS = 4, IDS_BYTES_MAX = 8192 };

#define SERIAL 0x2aull
#define SALT   0x5a175a17ull

/* Who wrote which rounds: the third block is larger than a page. */
static const struct {
	uint32_t worker, first, last;
} plan[BLOCKS] = {{0, 0, 1}, {1, 2, 2}, {0, 3, 12}, {1, 13, 13}};

struct image {
	_Alignas(8) char bytes[IMAGE_BYTES_MAX];
	size_t used;
	uint64_t records;
	struct sample_streams streams;
	struct dp_log logs[2];
	struct dp_footer_entry entries[BLOCKS];
};

static void *append(struct image *im, const void *from, size_t n)
{
	char *at = im->bytes + im->used;

	cr_assert_leq(im->used + n, sizeof(im->bytes));
	memcpy(at, from, n);
	im->used = dp_rec_pad(im->used + n, DP_DISK_ALIGN);
	return at;
}

static void put_head(struct image *im)
{
	_Alignas(8) char copy[DP_DISK_ALIGN] = {0};
	struct dp_segment_head *h = (struct dp_segment_head *)copy;

	*h = (struct dp_segment_head){
		.magic = DP_SEGMENT_MAGIC,
		.version = DP_SEGMENT_VERSION,
		.endian = 0x1234,
		.serial = SERIAL,
		.salt = SALT,
		.appliance = SAMPLE_APPLIANCE,
		.epoch = SAMPLE_EPOCH,
		.created_ns = SAMPLE_TIME_NS,
		.copy_bytes = sizeof(copy),
		.schema_hash = im->streams.set.hash,
		.segment_bytes = DP_SEGMENT_BYTES_MIN,
		.records_before = 1000,
	};
	h->schema_bytes =
		(uint32_t)dp_schema_write(&im->streams.set, h + 1, sizeof(copy) - sizeof(*h));
	h->hash = XXH3_64bits(copy, sizeof(copy));
	append(im, copy, sizeof(copy));
	append(im, copy, sizeof(copy));
	im->records = h->records_before;
}

static void put_block(struct image *im, uint32_t n)
{
	const struct dp_block_spot spot = {.serial = SERIAL, .offset = im->used, .salt = SALT};
	struct dp_log *log = &im->logs[plan[n].worker];
	struct dp_block *b;

	for (uint32_t round = plan[n].first; round <= plan[n].last; round++)
		sample_group(log, &im->streams, round);
	dp_log_seal(log, 0, true);
	b = dp_log_take(log);
	b->records_before = im->records;
	dp_block_finish(b, &spot);
	append(im, b, b->bytes);
	im->records += b->record_count;
	im->entries[n] = (struct dp_footer_entry){
		.epoch = b->epoch,
		.sequence = b->sequence,
		.event_min_ns = b->event_min_ns,
		.event_max_ns = b->event_max_ns,
		.offset_pages = (uint32_t)(spot.offset / DP_DISK_ALIGN),
		.bytes = b->bytes,
		.record_count = b->record_count,
		.worker = b->worker,
	};
}

static void put_footer(struct image *im)
{
	const uint32_t bytes = sizeof(struct dp_footer) + sizeof(im->entries);
	struct dp_footer *f = calloc(1, bytes);

	*f = (struct dp_footer){
		.magic = DP_FOOTER_MAGIC,
		.version = DP_SEGMENT_VERSION,
		.serial = SERIAL,
		.offset = im->used,
		.records_after = im->records,
		.block_count = BLOCKS,
		.bytes = bytes,
		.sealed_ns = SAMPLE_TIME_NS + 20 * DP_NS_PER_S,
	};
	memcpy(f->entries, im->entries, sizeof(im->entries));
	f->hash = XXH3_64bits_withSeed(f, bytes, SALT);
	append(im, f, bytes);
	free(f);
}

static struct image *image_new(void)
{
	struct image *im = calloc(1, sizeof(*im));
	struct dp_arena arena[2];

	cr_assert(im);
	sample_streams_init(&im->streams);
	for (uint32_t w = 0; w < 2; w++)
		sample_log_init(&im->logs[w], &arena[w], w);
	put_head(im);
	for (uint32_t n = 0; n < BLOCKS; n++)
		put_block(im, n);
	put_footer(im);
	for (uint32_t w = 0; w < 2; w++)
		dp_arena_fini(&arena[w]);
	return im;
}

/* The file's bytes, their count in *n; meson says where the fixtures are. */
static char *load(const char *name, size_t size, size_t *n)
{
	const char *dir = getenv("PENSTOCK_FIXTURES");
	char path[PATH_MAX], *bytes = calloc(1, size + 1);
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir ? dir : "tests/fixtures", name);
	file = fopen(path, "rb");
	cr_assert(file && bytes, "cannot read %s", path);
	*n = fread(bytes, 1, size, file);
	fclose(file);
	return bytes;
}

static size_t ids_of(const struct image *im, char *text)
{
	size_t used = 0;

	for (uint32_t n = 0; n < BLOCKS; n++) {
		const struct dp_block *b =
			(const struct dp_block *)(im->bytes + (size_t)im->entries[n].offset_pages *
								      DP_DISK_ALIGN);
		struct dp_rec_place place = {.appliance = b->appliance,
			.epoch = b->epoch,
			.sequence = b->sequence,
			.worker = b->worker};
		const struct dp_rec *rec;
		size_t cursor = 0;
		bool bad;

		for (; (rec = dp_block_next(b, &im->streams.set, &cursor, &bad)); place.index++) {
			uint64_t id[2];

			dp_rec_id(rec, &im->streams.set, &place, id);
			cr_assert_lt(used + 34, IDS_BYTES_MAX);
			used += (size_t)sprintf(text + used, "%016lx%016lx\n", id[1], id[0]);
		}
		cr_assert_not(bad);
	}
	return used;
}

Test(format, segment_v1_is_what_it_was)
{
	struct image *im = image_new();
	size_t n;
	char *kept = load("segment-v1.seg", IMAGE_BYTES_MAX, &n);

	cr_expect_eq(im->used, n);
	for (size_t i = 0; i < n && i < im->used; i++)
		cr_assert_eq(im->bytes[i], kept[i], "byte %zu of page %zu", i % DP_DISK_ALIGN,
			i / DP_DISK_ALIGN);
	free(kept);
	free(im);
}

Test(format, ids_are_what_they_were)
{
	struct image *im = image_new();
	char text[IDS_BYTES_MAX];
	size_t n, used = ids_of(im, text);
	char *kept = load("segment-v1.ids", IDS_BYTES_MAX, &n);

	cr_expect_eq(used, n);
	cr_expect_str_eq(text, kept);
	free(kept);
	free(im);
}
