/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The boots that are kept, a directory for each in /var/lib/flightrec/boots:
 *
 *   boot.json           what is known of it; written last, so it is what counts
 *   records.jsonl.zst   its records by time, a JSON object on each line (docs/json.md)
 *   report.txt          for people
 *
 * Each file is replaced as a whole: written beside, forced to the disk, renamed.
 * Who is killed leaves the old one, and the next run does the work again.
 */
#ifndef TOOLS_ARCHIVE_H
#define TOOLS_ARCHIVE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <flightrec.h>

#include "format.h"

/* Tests have a place of their own. */
#ifndef FLIGHTREC_STATE
#define FLIGHTREC_STATE "/var/lib/flightrec"
#endif
#define BOOTS_DIR FLIGHTREC_STATE "/boots"

/* boot.json's "version"; files of a later one are left alone. */
#define ARCHIVE_VERSION 1

#define BOOT_NAME_MAX 48

/**
 * struct boot - one that is kept
 * @name: of its directory: the boot's id, or "unknown-..." where none is known
 * @json: the content of boot.json; NULL: there is none that can be used
 * @problem: why, or NULL
 * @order: by which boots are sorted, oldest first
 */
struct boot {
	char name[BOOT_NAME_MAX];
	struct json_object *json;
	const char *problem;
	uint64_t order;
};

/* All that are kept, oldest first: how many, or an error. */
int boots_load(struct boot **boots);
void boots_free(struct boot *boots, int count);

/* This boot's id, 32 digits: 0 or an error. */
int boot_id_now(char id[33]);

/*
 * The boot that an argument means: an id's beginning, "0" this one, "-1" the one
 * before; NULL is the last one that has ended. Its index, or -1 after saying why not.
 */
int boots_find(const struct boot *boots, int count, const char *text);

/* Can it be what boots_find() takes? */
bool boot_name_ok(const char *text);

/*
 * Does the id of a boot, or the name of its directory, begin so, with @digits of it at
 * least? Dashes do not count: /proc has some in an id, journalctl none.
 */
bool boot_same(const char *id, const char *text, size_t digits);

/* ---- boot.json */

/* Members, with a value for where they are not. */
const char *json_text(struct json_object *object, const char *key);
uint64_t json_number(struct json_object *object, const char *key);
void json_set_text(struct json_object *object, const char *key, const char *text);
void json_set_number(struct json_object *object, const char *key, uint64_t number);

/* Loads boot.json of a directory; see struct boot. */
void boot_load(struct boot *boot);
/* Makes the directory if it is not there, and replaces boot.json. */
int boot_store(const struct boot *boot);
int boot_make(const char *name);

/* Replaces a file of a boot, or with @boot NULL of FLIGHTREC_STATE. */
int state_replace(const char *boot, const char *file, const char *text, size_t len);

/* Takes the lock that collect and save share: a descriptor, or an error. */
int state_lock(void);

/* ---- records */

struct archive;

/* 0, -ENOENT, or another error. */
int archive_open(struct archive **archive, const char *boot);
/* As flightrec_recover_next(); -EBADMSG: what follows is damaged. */
int archive_next(struct archive *archive, const struct flightrec_recovered **found);
void archive_close(struct archive *archive);

/* What was written. */
struct archive_sum {
	uint64_t records, lost;
	uint64_t left_out;		/* oldest, because of the limit */
	uint64_t first_wall_ns, last_wall_ns, last_boot_ns;
	bool memory;			/* not only what the kernel had printed */
	char last_kernel[64];		/* the last text of the kernel's channel */
};

struct archive_writer;

/* Begins the records of a boot anew, at most @limit bytes on the disk. */
int archive_create(struct archive_writer **writer, const char *boot, uint64_t limit);
int archive_add(struct archive_writer *writer, const struct flightrec_recovered *found);
/* They take the place of those that were there: 0 or an error. Ends @writer in any case. */
int archive_commit(struct archive_writer *writer, struct archive_sum *sum);
void archive_abort(struct archive_writer *writer);

/*
 * The newest records of a boot, at most @max: how many, or an error; to be freed. What the
 * older ones say of control groups is learnt.
 */
struct kept {
	struct flightrec_recovered found;
	char channel[FLIGHTREC_NAME_MAX];
	char boot_id[33];
	struct flightrec_record record[];	/* the payload follows */
};
int archive_tail(const char *boot, size_t max, struct kept ***tail);
void archive_tail_free(struct kept **tail, int count);

#endif
