/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The menu of a boot loader whose configuration is a list: each label has the files of a
 * kernel, and one of them is the default.
 */
#ifndef KMODKEEP_LABELS_H
#define KMODKEEP_LABELS_H

#include "guard/boot/loader.h"

#define LABELS_MAX 256

struct label {
	char *name, *image, *initrds, *cmdline;
	bool unified;		/* the image is a program that may have all in it */
	bool other;		/* it starts no Linux */
	bool unclear;		/* it has files that are not known here */
};

struct labels {
	const struct host *h;
	const char *place;	/* of the configuration, for messages */
	struct label *list;
	size_t count;
	bool full;		/* there are more than LABELS_MAX */
	/* A file that the configuration names, of this host; malloc'ed, NULL: not found. */
	char *(*find)(const void *labels, const char *name);
};

void labels_free(struct labels *l);
/* Adds one with nothing but a name. 0 or -ENOMEM. */
int labels_add(struct labels *l, const char *name);
/* Printable, in place of what it was. 0 or -ENOMEM. */
int label_set(char **field, const char *value);
/* The same behind a blank. */
int label_append(char **field, const char *value);

/* Fills in what is booted by one of them, which is the default. 0 or -ENOMEM. */
int labels_fill(const struct labels *l, const struct kernels *k, const struct label *one,
		struct next_boot *out);
/* What to choose to boot a kernel; malloc'ed, NULL: there is nothing. */
char *labels_choice(const struct labels *l, const struct kernels *k, const char *release);

#endif
