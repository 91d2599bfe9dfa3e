/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kernel says of itself when it starts, read from its file. */
#ifndef KMODKEEP_BANNER_H
#define KMODKEEP_BANNER_H

#include <stdint.h>
#include <sys/types.h>

/*
 * The line "Linux version ..." of a kernel that lies in part of an open file, as it is
 * or compressed with gzip or zstd, also one that EFI starts and that unpacks itself;
 * what follows the first two words, malloc'ed, printable. NULL: it is not found.
 */
char *banner_read(int fd, off_t at, uint64_t size);

#endif
