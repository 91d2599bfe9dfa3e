/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What decides in an initramfs which modules are loaded there: its modprobe.d, its index
 * of modules, and which modules it has beside those that are asked about.
 */
#ifndef KMODKEEP_INSIDE_H
#define KMODKEEP_INSIDE_H

#include <stdbool.h>

#include "guard/base/util.h"

struct inside {
	char *config;	/* the lines of its modprobe.d, in the order in which they count */
	char *others;	/* its modules outside of kernel/, by their paths, each with a line break */
	char *gone;	/* aliases of those that are not on disk: lines of "MODULE ALIAS" */
	char *forced;	/* what it loads by name: conf/modules, rd.driver.pre= in cmdline.d */
	char *unsure;	/* what of that is not known; or NULL */
	char *dangling;	/* links that lead to nothing in it, each with a line break */
	bool indexed;	/* it has an index */

	/* While it is read: small files and links, by their paths. */
	struct inside_file *files;
	size_t count, bytes;
	struct buf index;
};

/* Is the content of this file of an archive asked for? release: the kernel that it is of. */
bool inside_wants(const char *path, const char *release);
/* Such a file; a later one takes the place of an earlier one. Takes content over. 0 or -ENOMEM. */
int inside_take(struct inside *in, const char *path, struct buf *content);
int inside_take_link(struct inside *in, const char *path, const char *target);
/* One without content; elsewhere: another name of the same file has it. */
int inside_take_empty(struct inside *in, const char *path, bool elsewhere);

/*
 * A module of that kernel; path: below its folder, in which it may be on disk. content:
 * may be NULL, if it is there. 0 or -ENOMEM.
 */
int inside_take_module(struct inside *in, const char *folder, const char *path,
		       const struct buf *content);

/* Has its index this file, by its path below the folder of the kernel? Before the end. */
bool inside_lists(const struct inside *in, const char *path);

/* After the last file: makes config and forced. 0 or -ENOMEM. */
int inside_end(struct inside *in);
void inside_free(struct inside *in);

#endif
