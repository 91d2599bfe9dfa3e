/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of rEFInd as text. */
#ifndef KMODKEEP_REFIND_H
#define KMODKEEP_REFIND_H

#include "guard/boot/labels.h"

/* Zero, with labels.find and labels.h set, before it is read. */
struct refind {
	struct labels labels;	/* stanzas that are not disabled; their files are "VOLUME:/x" */
	char *selection;	/* default_selection; NULL: not set */
	char *scanfor;		/* NULL: not set */
	bool unclear;		/* it has what is not read here */
	/* Of the stanza that is being read. */
	struct label now;
	char *volume;
	bool disabled;
	unsigned int depth;	/* in how many braces */
};

/* 0 or -ENOMEM; to be freed in both cases. */
int refind_read(struct refind *x, const char *bytes, size_t len);
void refind_free(struct refind *x);
/* The stanza that is the default for certain; NULL: none is. */
const struct label *refind_chosen(const struct refind *x);
/* The options of the first line of refind_linux.conf; malloc'ed, NULL: it has none. */
char *refind_options(const char *bytes, size_t len);

#endif
