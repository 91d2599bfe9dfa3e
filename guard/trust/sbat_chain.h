/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does shim start itself and what comes after it, by SBAT? Asked of the level that will hold
 * at the next boot, which a new shim may raise by itself.
 */
#ifndef KMODKEEP_SBAT_CHAIN_H
#define KMODKEEP_SBAT_CHAIN_H

#include "guard/host/host.h"

/* What boots, files of this host. */
struct sbat_boot {
	const char *shim;	/* what the firmware starts; it may be something else than shim */
	bool same;		/* it started this boot as well, with the same options */
	bool checks;		/* shim was not told to pass over signatures */
	const char *image;	/* the kernel or unified image at the end; NULL: not known */
};

struct sbat_answer {
	enum { SBAT_STARTS, SBAT_STOPS, SBAT_UNKNOWN } state;
	char *line;	/* what is not started or not known, and why; NULL if all starts */
	char *next;	/* what to do; NULL as above */
};

/* 0 or -ENOMEM; all else is in the answer. Secure Boot must be on. */
int sbat_judge(const struct host *h, const struct sbat_boot *boot, struct sbat_answer *out);
void sbat_answer_free(struct sbat_answer *a);

#endif
