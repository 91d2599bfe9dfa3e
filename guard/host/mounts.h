/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where file systems of the host are mounted. */
#ifndef KMODKEEP_MOUNTS_H
#define KMODKEEP_MOUNTS_H

#include "guard/host/host.h"

/*
 * The mount point of a whole file system by its UUID, its label, or the UUID or name of
 * its partition; malloc'ed, below the root. NULL: it is not mounted, or not known.
 */
char *mount_of(const struct host *h, const char *id);

/*
 * Is that file system mounted at one of these places (the end is NULL), whole or a part
 * of it, as btrfs is? 1; 0: not there; -ENOENT: there is no such device.
 */
int mount_is_at(const struct host *h, const char *id, const char *const *places);

/* Is any file system mounted there? */
bool mount_is_point(const struct host *h, const char *where);

#endif
