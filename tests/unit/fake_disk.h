/*
 * A disk in memory for tests of what writes files: counts its calls, dies at a given one (a write
 * then is half done), and comes back as after kill -9 or as after a power cut.
 */
#pragma once

#include "dataplane/journal/io.h"

enum { FAKE_FILES_MAX = 64, FAKE_NAME_BYTES = 256 };

struct fake_file {
	char name[FAKE_NAME_BYTES]; /* "": free */
	char *data, *durable;	    /* durable: as of its last sync */
	size_t bytes, durable_bytes;
};

struct fake_disk {
	struct fake_file files[FAKE_FILES_MAX];
	long calls, die_at; /* die_at 0: never */
	bool dead;
	int fail;    /* every call returns this, if not 0 */
	int syncing; /* file + 1; 0: none */
	int polls;   /* until the running sync has ended */
	/* bytes that cannot be read; in no file: "" */
	char bad_name[FAKE_NAME_BYTES];
	size_t bad_from, bad_bytes;
};

void fake_disk_io(struct fake_disk *d, struct dp_io *io);
void fake_disk_fini(struct fake_disk *d);

/* The machine is back: open files are closed; after a power cut only what was synced is there. */
void fake_disk_revive(struct fake_disk *d, bool power_cut);

/* NULL: there is none. */
const struct fake_file *fake_disk_file(const struct fake_disk *d, const char *name);
