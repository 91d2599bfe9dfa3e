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
	char *owners;	/* lines "PACKAGE: /usr/src/NAME-VERSION/dkms.conf"; or NULL */
};

/*
 * Kernels, their headers and dkms drivers that are not configured; none where
 * there is no dpkg. 0, -ENOMEM, or -EIO: whether there are more drivers cannot be told,
 * and it was said.
 */
int dpkg_unfinished(const struct host *h, struct packages *out);
/*
 * From lines of "name<tab>state" and, or NULL, of who brings which source of dkms's,
 * which it keeps. 0 or -ENOMEM.
 */
int dpkg_parse(const struct buf *listing, const struct buf *owners, struct packages *out);
/* Does this one bring /usr/src/FOLDER/dkms.conf? */
bool package_brings(const struct packages *all, const struct package *one, const char *folder);
/*
 * Does a package that is installed have a file of this path, be it there or not? 1, 0,
 * -ENOMEM, or why dpkg or rpm does not say.
 */
int package_owns(const struct host *h, const char *path);
/*
 * As package_owns(), of rpm alone, which marks no package whose script failed. 1: the
 * caller frees *name, a package that has it. It is asked about the running system only.
 */
int rpm_owner(const struct host *h, const char *path, char **name);
void packages_free(struct packages *p);

#endif
