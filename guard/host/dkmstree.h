/* SPDX-License-Identifier: GPL-2.0-or-later */
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
	char *log;		/* of a failed build for this kernel; of VERSION if only added */
	/* Another version, which dkms could not build for this kernel; where one is installed. */
	char *beside;
};

/*
 * The directory of dkms's tree on this host, without the host's root: where
 * dkms's configuration has put it, which is parsed and never run. 0, with *tree
 * malloc'ed; -EINVAL: only dkms's shell can tell, and *tree (malloc'ed, may be
 * NULL) names the file and line; or -ENOMEM.
 */
int dkms_tree(const struct host *h, char **tree);

const char *dkms_word(enum dkms_state s);
/* Is it that of a version, of the names in a driver's folder of the tree? */
bool dkms_is_version(const char *name);
/* 0 or -ENOMEM. With a tree that cannot be found the state is unknown. */
int dkms_read(const struct host *h, const char *name, const char *kernel,
	      struct dkms *out);
void dkms_free(struct dkms *d);

/*
 * The file of a module in dkms's own tree, as VERSION of NAME was built for
 * KERNEL. 0 with *path malloc'ed, -ENOENT: there is none, or -ENOMEM.
 */
int dkms_built_file(const struct host *h, const char *name, const char *version,
		    const char *kernel, const char *module, char **path);

#endif
