/* The fake disk: what it keeps, what a failing sync or a power cut takes. The calls are in
 * disk_io.c.
 */
#include "tests/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/core/limits.h"
#include "tests/sim/disk_store.h"

enum { SECTORS = SIM_PAGE / SIM_SECTOR };

/* ---- pages ---- */

static uint8_t *buffer(uint8_t **at)
{
	if (!*at)
		*at = calloc(1, SIM_PAGE);
	if (!*at)
		abort();
	return *at;
}

void sim_file_reserve(struct sim_file *f, uint64_t size)
{
	uint32_t need = (uint32_t)((size + SIM_PAGE - 1) / SIM_PAGE);

	if (need <= f->page_count)
		return;
	need += need / 2;
	f->pages = realloc(f->pages, need * sizeof(*f->pages));
	if (!f->pages)
		abort();
	memset(f->pages + f->page_count, 0, (need - f->page_count) * sizeof(*f->pages));
	f->page_count = need;
}

void sim_file_write(struct sim_file *f, const void *from, size_t n, uint64_t offset)
{
	const uint8_t *src = from;

	sim_file_reserve(f, offset + n);
	while (n) {
		struct sim_page *p = &f->pages[offset / SIM_PAGE];
		size_t in = offset % SIM_PAGE, part = SIM_PAGE - in < n ? SIM_PAGE - in : n;

		memcpy(buffer(&p->cached) + in, src, part);
		for (size_t s = in / SIM_SECTOR; s <= (in + part - 1) / SIM_SECTOR; s++)
			p->dirty |= (uint8_t)(1u << s);
		src += part;
		offset += part;
		n -= part;
	}
	if (offset > f->size)
		f->size = offset;
}

void sim_file_read(const struct sim_file *f, void *to, size_t n, uint64_t offset)
{
	uint8_t *dst = to;

	while (n) {
		const struct sim_page *p = &f->pages[offset / SIM_PAGE];
		size_t in = offset % SIM_PAGE, part = SIM_PAGE - in < n ? SIM_PAGE - in : n;

		if (p->cached)
			memcpy(dst, p->cached + in, part);
		else
			memset(dst, 0, part);
		dst += part;
		offset += part;
		n -= part;
	}
}

/* Bytes from `size` on become zeros that are not synced. */
void sim_file_cut(struct sim_file *f, uint64_t size)
{
	sim_file_reserve(f, size);
	for (uint32_t i = (uint32_t)(size / SIM_PAGE); i < f->page_count; i++) {
		struct sim_page *p = &f->pages[i];
		size_t in = (uint64_t)i * SIM_PAGE < size ? size % SIM_PAGE : 0;

		if (!p->cached)
			continue;
		memset(p->cached + in, 0, SIM_PAGE - in);
		for (size_t s = in / SIM_SECTOR; s < SECTORS; s++)
			p->dirty |= (uint8_t)(1u << s);
	}
	f->size = size;
}

static void put_durable(struct sim_page *p, uint32_t sector, const uint8_t *bytes)
{
	if (!bytes && !p->durable)
		return;
	buffer(&p->durable);
	if (bytes)
		memcpy(p->durable + sector * SIM_SECTOR, bytes, SIM_SECTOR);
	else
		memset(p->durable + sector * SIM_SECTOR, 0, SIM_SECTOR);
}

static void flush_sector(struct sim_page *p, uint32_t sector)
{
	put_durable(p, sector, p->cached ? p->cached + sector * SIM_SECTOR : NULL);
	p->dirty &= (uint8_t) ~(1u << sector);
}

void sim_file_flush(struct sim_file *f)
{
	for (uint32_t i = 0; i < f->page_count; i++)
		for (uint32_t s = 0; f->pages[i].dirty && s < SECTORS; s++)
			if (f->pages[i].dirty >> s & 1)
				flush_sector(&f->pages[i], s);
	f->durable_size = f->size;
}

/* As the kernel does when it likes: part of what is dirty goes to the disk. */
void sim_file_write_back(struct sim *s, struct sim_file *f, uint32_t per_10000)
{
	for (uint32_t i = 0; i < f->page_count; i++)
		for (uint32_t k = 0; f->pages[i].dirty && k < SECTORS; k++)
			if (f->pages[i].dirty >> k & 1 && sim_chance(s, per_10000))
				flush_sector(&f->pages[i], k);
}

/* A sync that failed: some is written; the rest is clean now, and may have left the cache. */
void sim_file_lose(struct sim *s, struct sim_file *f)
{
	bool evict = sim_chance(s, 5000);

	sim_file_write_back(s, f, sim_below(s, 10000));
	for (uint32_t i = 0; i < f->page_count; i++) {
		struct sim_page *p = &f->pages[i];

		for (uint32_t k = 0; p->dirty && k < SECTORS; k++) {
			if (!(p->dirty >> k & 1) || sim_chance(s, 2000))
				continue;
			p->dirty &= (uint8_t) ~(1u << k);
			if (!evict || !p->cached)
				continue;
			if (p->durable)
				memcpy(p->cached + k * SIM_SECTOR, p->durable + k * SIM_SECTOR,
					SIM_SECTOR);
			else
				memset(p->cached + k * SIM_SECTOR, 0, SIM_SECTOR);
		}
	}
}

static void free_file(struct sim_file *f)
{
	for (uint32_t i = 0; i < f->page_count; i++) {
		free(f->pages[i].cached);
		free(f->pages[i].durable);
	}
	free(f->pages);
	memset(f, 0, sizeof(*f));
}

/* The cache is gone: what is read from now on is what the disk holds. */
static void drop_cache(struct sim_file *f, uint64_t size)
{
	for (uint32_t i = 0; i < f->page_count; i++) {
		struct sim_page *p = &f->pages[i];

		p->dirty = 0;
		if (!p->durable) {
			free(p->cached);
			p->cached = NULL;
		} else {
			memcpy(buffer(&p->cached), p->durable, SIM_PAGE);
		}
	}
	f->size = f->durable_size = size;
	sim_file_cut(f, size);
	sim_file_flush(f);
}

/* ---- directory ---- */

struct sim_entry *sim_dir_find(struct sim_dir *dir, const char *name)
{
	for (uint32_t i = 0; i < dir->count; i++)
		if (strcmp(dir->entries[i].name, name) == 0)
			return &dir->entries[i];
	return NULL;
}

static void set_name(char to[SIM_NAME_BYTES], const char *name)
{
	if (strlen(name) >= SIM_NAME_BYTES)
		abort();
	strcpy(to, name);
}

static void remove_entry(struct sim_dir *dir, const char *name, int file)
{
	struct sim_entry *e = sim_dir_find(dir, name);

	if (e && e->file == file)
		*e = dir->entries[--dir->count];
}

static void link_entry(struct sim_dir *dir, const char *name, int file)
{
	struct sim_entry *e = sim_dir_find(dir, name);

	if (!e) {
		if (dir->count == SIM_FILES_MAX)
			abort();
		e = &dir->entries[dir->count++];
		set_name(e->name, name);
	}
	e->file = file;
}

static void apply(struct sim_dir *dir, const struct sim_dir_op *op)
{
	if (op->to[0])
		link_entry(dir, op->to, op->file);
	if (op->from[0])
		remove_entry(dir, op->from, op->file);
}

void sim_dir_change(struct sim_disk *d, const char *from, const char *to, int file)
{
	struct sim_dir_op op = {.file = file};

	set_name(op.from, from);
	set_name(op.to, to);
	apply(&d->dir, &op);
	if (d->op_count == SIM_DIR_OPS_MAX) { /* the kernel has written the oldest meanwhile */
		apply(&d->durable_dir, &d->ops[0]);
		memmove(d->ops, d->ops + 1, --d->op_count * sizeof(d->ops[0]));
	}
	d->ops[d->op_count++] = op;
}

void sim_dir_sync(struct sim_disk *d)
{
	for (uint32_t i = 0; i < d->op_count; i++)
		apply(&d->durable_dir, &d->ops[i]);
	d->op_count = 0;
}

static bool named(const struct sim_dir *dir, int file)
{
	for (uint32_t i = 0; i < dir->count; i++)
		if (dir->entries[i].file == file)
			return true;
	return false;
}

/* ---- the end of a process ---- */

/* What a sync that is under way has written by now, when the power goes. */
static void cut_sync(struct sim *s, struct sim_disk *d, struct sim_table *t)
{
	uint32_t part = sim_below(s, 10001);

	for (uint32_t i = 0; t->syncing >= 0 && i < t->saved_count; i++) {
		const struct sim_saved_sector *saved = &t->saved[i];

		if (sim_chance(s, part))
			put_durable(&d->files[t->syncing].pages[saved->page], saved->sector,
				saved->bytes);
	}
}

static void cut_power(struct sim *s, struct sim_disk *d)
{
	static const uint32_t parts[] = {0, 500, 5000, 9500, 10000};
	uint32_t keep = parts[sim_below(s, 5)], dir_keep = parts[sim_below(s, 5)];

	for (uint32_t i = 0; i < d->table_count; i++)
		cut_sync(s, d, &d->tables[i]);
	for (uint32_t i = 0; i < d->op_count; i++)
		if (sim_chance(s, dir_keep))
			apply(&d->durable_dir, &d->ops[i]);
	d->op_count = 0;
	d->dir = d->durable_dir;
	for (int i = 0; i < SIM_FILES_MAX; i++) {
		struct sim_file *f = &d->files[i];
		uint64_t size = f->durable_size;

		if (!f->used)
			continue;
		sim_file_write_back(s, f, keep);
		if (sim_chance(s, 5000))
			size = f->size;
		drop_cache(f, size);
	}
}

void sim_disk_collect(struct sim_disk *d)
{
	for (int i = 0; i < SIM_FILES_MAX; i++) {
		bool held = d->files[i].opens || named(&d->dir, i) || named(&d->durable_dir, i);

		for (uint32_t k = 0; k < d->op_count; k++)
			held |= d->ops[k].file == i;
		if (d->files[i].used && !held)
			free_file(&d->files[i]);
	}
}

void sim_disk_crash(struct sim_disk *d, bool power_cut)
{
	if (power_cut)
		cut_power(d->sim, d);
	for (uint32_t i = 0; i < d->table_count; i++)
		free(d->tables[i].saved);
	memset(d->tables, 0, sizeof(d->tables));
	d->table_count = 0;
	d->locked = false;
	for (int i = 0; i < SIM_FILES_MAX; i++)
		d->files[i].opens = 0;
	sim_disk_collect(d);
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
	uint64_t used = 0;

	for (uint32_t i = 0; i < d->dir.count; i++)
		used += (d->files[d->dir.entries[i].file].size + SIM_PAGE - 1) / SIM_PAGE *
			SIM_PAGE;
	return used;
}

struct sim_disk *sim_disk_new(struct sim *s, uint64_t capacity)
{
	struct sim_disk *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->sim = s;
	d->capacity = capacity;
	return d;
}

void sim_disk_free(struct sim_disk *d)
{
	sim_disk_crash(d, false);
	for (int i = 0; i < SIM_FILES_MAX; i++)
		free_file(&d->files[i]);
	free(d);
}
