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

#endif
