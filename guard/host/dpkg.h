/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packages that dpkg left half-way: a failed hook of a kernel, for example. */
#ifndef KMODKEEP_DPKG_H
#define KMODKEEP_DPKG_H

#include "guard/base/util.h"
#include "guard/host/host.h"

struct package {
	char *name;
	char *state;	/* "half-configured", ... */
	char *why;	/* what makes it matter: "kernel" or "driver" */
};

struct packages {
	struct package *list;
	size_t count;
};

/*
 * Kernels, their headers and dkms drivers that are not configured; none where
 * there is no dpkg. 0 or -ENOMEM.
 */
int dpkg_unfinished(const struct host *h, struct packages *out);
/* From lines of "name<tab>state". */
int dpkg_parse(const struct buf *listing, struct packages *out);
void packages_free(struct packages *p);

#endif
