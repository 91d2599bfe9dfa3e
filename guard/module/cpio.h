/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads "newc" cpio archives as they come in, piece by piece, and keeps only
 * the files asked for. All input is hostile.
 */
#ifndef KMODKEEP_CPIO_H
#define KMODKEEP_CPIO_H

#include <stdbool.h>

#include "guard/base/util.h"

struct cpio_reader {
	/* Is this file wanted? Then found() gets its content; 0 or -errno. */
	bool (*want)(void *arg, const char *path);
	int (*found)(void *arg, const char *path, struct buf *content);
	/* NULL, or called in place of found() for a symbolic link. */
	int (*link)(void *arg, const char *path, const char *target);
	/* NULL, or called for an empty file, or (elsewhere) a hard link whose other has it. */
	int (*empty)(void *arg, const char *path, bool elsewhere);
	void *arg;
};

struct cpio;

int cpio_new(const struct cpio_reader *reader, struct cpio **out);
void cpio_free(struct cpio *c);

/*
 * Takes the next bytes; *used says how many of them belong to the archive: all
 * of them, unless it ends among them. -EBADMSG: not an archive, or damaged.
 */
int cpio_feed(struct cpio *c, const unsigned char *p, size_t n, size_t *used);
/* After the trailer, and ready for the next archive. */
bool cpio_ended(const struct cpio *c);

#endif
