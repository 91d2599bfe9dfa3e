/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The default subvolume of a btrfs: what a mount takes that names none. */
#ifndef KMODKEEP_BTRFS_H
#define KMODKEEP_BTRFS_H

#include <stdint.h>

/* Its ID; path: a directory in it. 0, or -errno: -EPERM for who is not root, -ENOTTY: no btrfs. */
int btrfs_default_subvolume(const char *path, uint64_t *id);

#endif
