/* Between disk.c, which keeps the bytes, and disk_io.c, which is the table of calls. */
#pragma once

#include "tests/sim/disk.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512 };

void sim_file_reserve(struct sim_file *f, uint64_t size);
void sim_file_write(struct sim_file *f, const void *from, size_t n, uint64_t offset);
void sim_file_read(const struct sim_file *f, void *to, size_t n, uint64_t offset);
void sim_file_cut(struct sim_file *f, uint64_t size);
void sim_file_flush(struct sim_file *f);
void sim_file_write_back(struct sim *s, struct sim_file *f, uint32_t per_10000);
void sim_file_lose(struct sim *s, struct sim_file *f);

struct sim_entry *sim_dir_find(struct sim_dir *dir, const char *name);
/* `from` "": made; `to` "": removed. */
void sim_dir_change(struct sim_disk *d, const char *from, const char *to, int file);
void sim_dir_sync(struct sim_disk *d);
/* Frees what neither a name nor an open handle holds. */
void sim_disk_collect(struct sim_disk *d);
