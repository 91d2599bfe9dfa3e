/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which drivers the root file system of the running system is reached through. */
#ifndef KMODKEEP_ROOTFS_H
#define KMODKEEP_ROOTFS_H

#include "guard/host/host.h"

/*
 * Is the module its file system, or the driver of a device between its disks and the
 * processor? false also where that is not to be seen: a network, a host that is a
 * folder.
 */
bool rootfs_needs(const struct host *h, const char *module);

#endif
