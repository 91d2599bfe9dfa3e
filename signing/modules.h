/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of out-of-tree modules on a host: all that a rotation must reach. */
#ifndef KMODKEEP_MODULES_H
#define KMODKEEP_MODULES_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

struct host_module {
	char *path;
	char *kernel;		/* the release that it is for */
	bool in_dkms;		/* what dkms would install again */
};

struct host_modules {
	struct host_module *list;
	size_t count;
	char *gap;	/* a place that could not be read, for people; or NULL */
};

/*
 * Files outside the kernels' own folders, files of drivers inside those, and
 * the builds in dkms's tree; links are not followed. 0 or -ENOMEM.
 */
int host_modules_read(const struct host *h, struct host_modules *out);
void host_modules_free(struct host_modules *m);

#endif
