/* SPDX-License-Identifier: GPL-2.0-or-later */
/* systemd-boot, also where another program keeps its partitions. */
#ifndef KMODKEEP_SD_BOOT_H
#define KMODKEEP_SD_BOOT_H

#include "guard/boot/loader.h"

/* As next_boot of struct loader_ops, from these mount points; they end with NULL. */
int sd_boot_read(const struct host *h, const struct kernels *k, const char *saved,
		 const char *const *places, struct next_boot *out);

#endif
