/*
 * A disk in memory.  Knows of each 512-byte sector and each directory entry what is cached and what
 * is synced; a power cut keeps the synced and any part of the rest.  One directory; several tables
 * of calls may stand on it, each with its own sync under way.
 */
#pragma once

#include "dataplane/journal/io.h"
#include "tests/sim/sim.h"

enum { SIM_FILES_MAX = 512, SIM_NAME_BYTES = 64, SIM_TABLES_MAX = 8, SIM_DIR_OPS_MAX = 256 };

struct sim_page { /* 4,096 bytes; NULL: zeros */
	uint8_t *cached, *durable;
	uint8_t dirty; /* bit per sector */
};

struct sim_file {
	bool used;
	uint32_t opens; /* by the process that runs */
	struct sim_page *pages;
	uint32_t page_count;
	uint64_t size, durable_size;
};

struct sim_entry {
	char name[SIM_NAME_BYTES];
	int file;
};

struct sim_dir {
	struct sim_entry entries[SIM_FILES_MAX];
	uint32_t count;
};

/* A change of the directory that is not synced. */
struct sim_dir_op {
	char from[SIM_NAME_BYTES], to[SIM_NAME_BYTES]; /* "": made, or removed */
	int file;
};

struct sim_faults { /* per 10,000 calls */
	uint32_t write, sync, read, directory;
	int64_t sync_ns_max; /* how long a started sync takes at most */
};

struct sim_disk;

struct sim_saved_sector {
	uint32_t page, sector;
	uint8_t bytes[512];
};

struct sim_table { /* ctx of a struct dp_io */
	struct sim_disk *disk;
	bool honest; /* the checker's own: never fails, is no step, leaves no trace */
	int syncing; /* file under a started sync; -1: none */
	int64_t sync_due_ns;
	int sync_rc;
	struct sim_saved_sector *saved; /* as they were when the sync was started */
	uint32_t saved_count, saved_max;
	uint64_t saved_size;
};

struct sim_disk {
	struct sim *sim;
	struct sim_faults faults;
	uint64_t capacity;
	struct sim_file files[SIM_FILES_MAX];
	struct sim_dir dir, durable_dir;
	struct sim_dir_op ops[SIM_DIR_OPS_MAX];
	uint32_t op_count;
	struct sim_table tables[SIM_TABLES_MAX];
	uint32_t table_count;
	bool locked;
	uint64_t failed_syncs;
};

struct sim_disk *sim_disk_new(struct sim *s, uint64_t capacity);
void sim_disk_free(struct sim_disk *d);

/* A table of calls on that directory, until the process ends. */
struct dp_io sim_disk_io(struct sim_disk *d, bool honest);

/* The process has ended; after a power cut also what the cache held. */
void sim_disk_crash(struct sim_disk *d, bool power_cut);

uint64_t sim_disk_used(const struct sim_disk *d);
