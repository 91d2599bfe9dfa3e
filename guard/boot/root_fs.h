/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the root file system of the next boot the one that is looked at? */
#ifndef KMODKEEP_ROOT_FS_H
#define KMODKEEP_ROOT_FS_H

#include "guard/boot/nextboot.h"

/* Where it is another one, or cannot be told, the kernel is not known. 0 or -ENOMEM. */
int root_fs_look(const struct host *h, struct next_boot *out);

#endif
