/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which modules the root file system of the running system is reached through. */
#ifndef KMODKEEP_ROOTFS_H
#define KMODKEEP_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

/*
 * Names of its file system's type and of the drivers of all devices between its disks
 * and the processor, of every disk that it is on; the same for /usr.
 */
struct rootfs {
	char **modules;
	size_t count;
	/*
	 * What it is on and is not to be seen: a server on the network, a pool whose disks
	 * nothing lists. Any module may be needed for that. NULL: all was seen, or there is
	 * nothing to see, as in the folder of a host that does not run.
	 */
	char *unseen;
};

/* 0 or -ENOMEM. */
int rootfs_read(const struct host *h, struct rootfs *out);
void rootfs_free(struct rootfs *r);
bool rootfs_needs(const struct rootfs *r, const char *module);

#endif
