/* penstock journal dump: what a segment holds, read from the file, without a daemon. */
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/cli/cli.h"
#include "dataplane/egress/json.h"
#include "dataplane/journal/reader.h"

struct dump {
	const struct cli *cli;
	struct dp_segment_head head;
	struct dp_io_posix *posix;
	struct dp_io io;
	struct dp_reader *reader;
	struct dp_json_form *form;
	uint64_t serial, blocks, records;
	json_t *json; /* what --json prints; NULL: text, or records */
};

static int complain(const char *file, const char *why)
{
	fprintf(stderr, "penstock: %s: %s\n", file, why);
	return CLI_IO;
}

/* The header: whichever of its two copies is good. */
static int read_head(struct dump *d, const char *file, const char *name)
{
	struct dp_segment segment;
	int err = dp_segment_open(&d->io, name, 0, &segment);

	if (err == -EBADMSG)
		return complain(file, "is no segment of a journal");
	if (err == -EPROTO)
		return complain(file, "was written by a newer version");
	if (err)
		return complain(file, strerror(-err));
	d->head = segment.head;
	dp_segment_close(&segment);
	if (d->head.serial != d->serial)
		return complain(file, "is another segment than its name says");
	return CLI_OK;
}

static int open_segment(struct dump *d)
{
	const char *file = d->cli->file;
	const struct dp_attribute_lookup none = {NULL, NULL};
	char folder[PATH_MAX], path[PATH_MAX], *name, hex[17];
	int err, rc;

	if (strlen(file) >= PATH_MAX)
		return complain(file, strerror(ENAMETOOLONG));
	strcpy(folder, file);
	strcpy(path, file);
	name = basename(path);
	if (!dp_segment_serial(name, &d->serial))
		return complain(file, "segments are named by their serial: 0000000000000001.seg");
	err = dp_io_posix_open(dirname(folder), NULL, NULL, &d->posix, &d->io);
	if (err)
		return complain(file, strerror(-err));
	rc = read_head(d, file, name);
	if (rc)
		return rc;
	snprintf(hex, sizeof(hex), "%016" PRIx64, d->head.appliance);
	err = dp_json_form_new(hex, &none, &d->form);
	err = err ? err
		  : dp_reader_open(&d->io, d->head.appliance, DP_LP(d->serial, 0), &d->reader);
	return err ? complain(file, strerror(-err)) : CLI_OK;
}

static void close_segment(struct dump *d)
{
	if (d->reader)
		dp_reader_close(d->reader);
	if (d->form)
		dp_json_form_free(d->form);
	if (d->posix)
		dp_io_posix_close(d->posix);
	json_decref(d->json);
}

/* ---- what is printed ---- */

static const char *time_text(int64_t ns, char text[CLI_NUMBER_BYTES])
{
	time_t s = ns / DP_NS_PER_S;
	struct tm tm;

	strcpy(text, "-");
	if (ns > 0 && gmtime_r(&s, &tm))
		strftime(text, CLI_NUMBER_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

/* The document that --json prints: the header, every block, the sums. */
static json_t *head_json(const struct dump *d)
{
	const struct dp_segment_head *h = &d->head;
	char created[CLI_NUMBER_BYTES], appliance[17];

	snprintf(appliance, sizeof(appliance), "%016" PRIx64, h->appliance);
	return json_pack("{s:I, s:i, s:s, s:I, s:s, s:I, s:I, s:I, s:[]}", "serial",
		(json_int_t)h->serial, "version", (int)h->version, "appliance", appliance, "epoch",
		(json_int_t)h->epoch, "created", time_text(h->created_ns, created), "bytes",
		(json_int_t)h->segment_bytes, "records_before", (json_int_t)h->records_before,
		"supersedes", (json_int_t)h->supersedes, "blocks");
}

static void print_head(const struct dump *d)
{
	const struct dp_segment_head *h = &d->head;
	char created[CLI_NUMBER_BYTES];

	printf("segment %" PRIu64 ", version %u, appliance %016" PRIx64 ", epoch %" PRIu64
	       ", created %s\n%" PRIu64 " bytes, %" PRIu64 " records in the log before it%s\n",
		h->serial, h->version, h->appliance, h->epoch, time_text(h->created_ns, created),
		h->segment_bytes, h->records_before,
		h->supersedes ? ", holds blocks of earlier segments again" : "");
	printf("\n%10s %6s %12s %10s %8s %8s  %-20s\n", "offset", "worker", "sequence", "bytes",
		"records", "readings", "first arrival");
}

static void show_block(struct dump *d, const struct dp_reader_block *at)
{
	const struct dp_block *b = at->block;
	char arrival[CLI_NUMBER_BYTES];

	time_text(b->arrival_min_ns, arrival);
	if (d->json)
		json_array_append_new(json_object_get(d->json, "blocks"),
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "offset",
				(json_int_t)DP_LP_OFFSET(at->lp), "epoch", (json_int_t)b->epoch,
				"worker", (json_int_t)b->worker, "sequence",
				(json_int_t)b->sequence, "bytes", (json_int_t)b->bytes, "records",
				(json_int_t)b->record_count, "readings",
				(json_int_t)b->reading_count, "arrival", arrival));
	else
		printf("%10u %6u %12" PRIu64 " %10u %8u %8u  %-20s\n", DP_LP_OFFSET(at->lp),
			b->worker, b->sequence, b->bytes, b->record_count, b->reading_count,
			arrival);
}

/* False: a record that makes no sense, or no memory. */
static bool print_records(const struct dump *d, const struct dp_reader_block *at)
{
	const struct dp_block *b = at->block;
	const struct dp_rec *rec;
	size_t cursor = 0, bytes;
	bool bad = false;

	for (uint32_t i = 0; (rec = dp_block_next(b, at->streams, &cursor, &bad)); i++) {
		struct dp_rec_place place = {b->appliance, b->epoch, b->sequence, b->worker, i};
		const char *text;
		uint64_t id[2];

		dp_rec_id(rec, at->streams, &place, id);
		text = dp_json_form_record(d->form, rec, at->streams, id, &bytes);
		if (!text)
			return false;
		fwrite(text, 1, bytes, stdout);
		putchar('\n');
	}
	return !bad;
}

static int show_end(const struct dump *d)
{
	const struct dp_reader_counts *c = dp_reader_counts(d->reader);
	int rc = CLI_OK;

	if (d->json) {
		json_object_set_new(d->json, "records", json_integer((json_int_t)d->records));
		json_object_set_new(
			d->json, "damaged_regions", json_integer((json_int_t)c->damaged_regions));
		json_object_set_new(d->json, "quarantined_records",
			json_integer((json_int_t)c->quarantined_records));
		rc = cli_print_json(d->json);
	} else if (!d->cli->records) {
		printf("\n%" PRIu64 " blocks, %" PRIu64 " records, %" PRIu64 " damaged places\n",
			d->blocks, d->records, c->damaged_regions);
	}
	if (c->damaged_regions)
		fprintf(stderr, "penstock: %s: %" PRIu64 " damaged places\n", d->cli->file,
			c->damaged_regions);
	return rc ? rc : c->damaged_regions || c->quarantined_records ? CLI_NO : CLI_OK;
}

static int walk(struct dump *d)
{
	struct dp_reader_block at;
	bool sense = true;
	int rc;

	if (d->cli->json && !d->cli->records)
		d->json = head_json(d);
	else if (!d->cli->records)
		print_head(d);
	while ((rc = dp_reader_next(d->reader, DP_LP(d->serial + 1, 0), &at)) == 1) {
		/* a segment that holds later blocks again takes the reader there */
		if (DP_LP_SERIAL(at.lp) != d->serial)
			break;
		d->blocks++;
		d->records += at.block->record_count;
		if (d->cli->records)
			sense &= print_records(d, &at);
		else
			show_block(d, &at);
	}
	if (rc < 0 && rc != -EAGAIN)
		return complain(d->cli->file, strerror(-rc));
	/* damage where the segment was never sealed: a daemon would write it again */
	sense &= rc != -EAGAIN;
	rc = show_end(d);
	return sense ? rc : CLI_NO;
}

int cli_dump(const struct cli *cli)
{
	struct dump d = {.cli = cli};
	int rc = open_segment(&d);

	if (rc == CLI_OK)
		rc = walk(&d);
	close_segment(&d);
	return rc;
}
