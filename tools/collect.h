/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of flightrec collect share:
 *
 *   collect.c   the commands, what is kept at most, where it is said
 *   places.c    where something may be left, and what is in it
 *   merge.c     that, merged with what is kept
 *   ending.c    how a boot ended
 */
#ifndef TOOLS_COLLECT_H
#define TOOLS_COLLECT_H

#include "archive.h"

struct collection {
	unsigned long long keep_boots, keep_mib;
	char now[33];
	struct json_object *sources;	/* path: fingerprint of what was taken in */
	struct boot *boots;
	int nboots;
	int status;
};

/* ---- places.c */

/* Says what went wrong with @what, and that the run failed. */
void failed(struct collection *c, const char *what, int err);
/* A file, or a directory in which each crash has one of its own; @named: by the user. */
void look_through(struct collection *c, const char *path, bool named);
/* Loads again what is kept. */
void reload(struct collection *c);
/* Says so of a boot that a later version wrote: it is left alone. */
bool too_new(struct collection *c, const struct boot *boot);

/* ---- merge.c */

/* Two rows of records of one boot; each has the next one, or NULL. */
struct merge {
	struct archive *kept;
	const struct flightrec_recovered *old, *found;
	int (*next)(void *arg, const struct flightrec_recovered **found);
	void *arg;
};

/* Merges a row with what is kept of the boot; records and boot->json are new then. */
int merge_into(struct collection *c, struct boot *boot, struct merge *m);

/* What is known of a boot, or a new beginning; boot->json is to be put. */
void load_one(struct boot *boot, const char *name);
/* A member that is an object, or the array of deaths: made if it is not there. */
struct json_object *child(struct json_object *object, const char *key);
struct json_object *deaths_of(struct boot *boot);
/* Once, however often it is found. */
void add_death(struct boot *boot, const struct flightrec_death *death);

/* ---- ending.c */

/* The boot before this one, if it is kept. */
const struct boot *boot_before(const struct collection *c);
/* Says how each boot ended of which that was not said, or more was found; writes its report. */
void finish_all(struct collection *c);

#endif
