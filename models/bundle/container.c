/*
 * Header, table, hashes: every byte of the file is hashed or zero, and every section lies where the
 * one before it ends.  What a section says is not looked at here.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "models/bundle/load.h"
#include "models/bundle/parts.h"
#include "models/bundle/verify.h"

static uint64_t align_up(uint64_t n)
{
	return (n + MDL_FILE_ALIGN - 1) / MDL_FILE_ALIGN * MDL_FILE_ALIGN;
}

static int check_hash(const struct mdl_load *l, enum mdl_section section,
	const struct mdl_piece *pieces, size_t count, const uint8_t *stored)
{
	uint8_t hash[MDL_SHA256_BYTES];

	if (mdl_sha256(pieces, count, hash))
		return mdl_no_memory(l);
	if (memcmp(hash, stored, sizeof(hash)))
		return mdl_refuse(l, section, "its SHA-256 is another than the file says: damaged");
	return 0;
}

static int read_head(struct mdl_load *l, struct mdl_file_head *head)
{
	size_t n = l->file.bytes, table;

	if (n > MDL_FILE_BYTES_MAX)
		return mdl_refuse(l, 0, "the file has more than 64 MiB");
	if (n < sizeof(*head))
		return mdl_refuse(l, 0, "the file has %zu bytes, the header alone 64", n);
	memcpy(head, l->file.at, sizeof(*head));
	if (memcmp(head->magic, MDL_FILE_MAGIC, sizeof(head->magic)))
		return mdl_refuse(l, 0, "not a model bundle");
	if (head->version > MDL_FILE_VERSION) {
		mdl_refuse(l, 0, "format version %u, this program reads 1", head->version);
		return -EPROTO;
	}
	if (head->version != MDL_FILE_VERSION)
		return mdl_refuse(l, 0, "format version %u", head->version);
	if (head->bytes != n)
		return mdl_refuse(
			l, 0, "the file has %zu bytes, its header says %" PRIu64, n, head->bytes);
	if (n % MDL_FILE_ALIGN)
		return mdl_refuse(l, 0, "the file has %zu bytes, not a multiple of 64", n);
	if (!head->section_count || head->section_count > MDL_FILE_SECTIONS_MAX)
		return mdl_refuse(l, 0, "%u sections", head->section_count);
	table = head->section_count * sizeof(struct mdl_file_entry);
	if (n < sizeof(*head) + table)
		return mdl_refuse(l, 0, "the file ends in its table");
	if (head->zero)
		return mdl_refuse(l, 0, "reserved bytes are not zero");
	return check_hash(l, 0,
		(struct mdl_piece[]){
			{l->file.at, MDL_FILE_HASHED_BYTES}, {l->file.at + sizeof(*head), table}},
		2, head->sha256);
}

/* The entry's section must begin at `at`, where the one before it ends. */
static int read_entry(struct mdl_load *l, const struct mdl_file_entry *e, uint64_t at)
{
	const uint8_t *bytes = l->file.at;
	uint64_t padded;

	if (!e->type || e->type >= MDL_SECTION_END)
		return mdl_refuse(l, 0, "section type %u is not known", e->type);
	if (e->zero || e->zero2)
		return mdl_refuse(l, e->type, "reserved bytes of its entry are not zero");
	if (e->offset != at)
		return mdl_refuse(
			l, e->type, "begins at %" PRIu64 ", not at %" PRIu64, e->offset, at);
	if (!e->bytes)
		return mdl_refuse(l, e->type, "is empty");
	if (e->bytes > l->file.bytes - at)
		return mdl_refuse(l, e->type, "has %" PRIu64 " bytes, the file %" PRIu64 " there",
			e->bytes, l->file.bytes - at);
	padded = align_up(e->bytes); /* the file ends at a multiple too, so this is in it */
	if (!mdl_all_zero(bytes + at + e->bytes, padded - e->bytes))
		return mdl_refuse(l, e->type, "the gap behind it is not zero");
	l->sections[e->type] = (struct mdl_span){bytes + at, e->bytes};
	return check_hash(l, e->type, &(struct mdl_piece){bytes + at, e->bytes}, 1, e->sha256);
}

int mdl_load_container(struct mdl_load *l)
{
	struct mdl_file_head head;
	struct mdl_file_entry e;
	uint32_t last_type = 0;
	uint64_t at;
	int rc = read_head(l, &head);

	if (rc)
		return rc;
	at = sizeof(head) + head.section_count * sizeof(e);
	for (uint32_t i = 0; i < head.section_count; i++) {
		memcpy(&e, l->file.at + sizeof(head) + i * sizeof(e), sizeof(e));
		if (e.type <= last_type)
			return mdl_refuse(l, 0, "section type %u behind %u", e.type, last_type);
		rc = read_entry(l, &e, at);
		if (rc)
			return rc;
		last_type = e.type;
		at += align_up(e.bytes);
	}
	if (at != l->file.bytes)
		return mdl_refuse(l, 0, "the file goes on behind its last section");
	l->section_count = head.section_count;
	return 0;
}
