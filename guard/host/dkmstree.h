/* SPDX-License-Identifier: GPL-2.0-only */
/* What dkms has done about a module for a kernel, from its tree. */
#ifndef KMODKEEP_DKMSTREE_H
#define KMODKEEP_DKMSTREE_H

#include "guard/host/host.h"

enum dkms_state {
	DKMS_UNKNOWN,		/* not registered, or it cannot be read */
	DKMS_NO_SOURCE,		/* its link to the source leads nowhere */
	DKMS_ADDED, DKMS_BUILT, DKMS_INSTALLED,
};

struct dkms {
	enum dkms_state state;
	char *version;		/* NULL where the state is unknown */
	char *log;		/* of a build for this kernel that failed */
};

const char *dkms_word(enum dkms_state s);
/* 0 or -ENOMEM. */
int dkms_read(const struct host *h, const char *name, const char *kernel,
	      struct dkms *out);
void dkms_free(struct dkms *d);

#endif
