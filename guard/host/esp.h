/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where files of EFI partitions are to be seen on this host. */
#ifndef KMODKEEP_ESP_H
#define KMODKEEP_ESP_H

#include "guard/host/host.h"

/*
 * A file of an EFI partition, by its path there. partition: the PARTUUID of the one that is
 * meant, which counts alone where udev names partitions; NULL: it is not known. Then it is
 * the one that the boot loader says it was started from, or else those in the usual places,
 * and last all that are mounted and are of that type. *mount (may be NULL): where it is
 * mounted. Both malloc'ed; NULL: the file is not to be seen, or no memory.
 */
char *esp_file(const struct host *h, const char *partition, const char *file, char **mount);

#endif
