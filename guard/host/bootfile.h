/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file that a boot loader reads tells of itself: kernels, unified images. */
#ifndef KMODKEEP_BOOTFILE_H
#define KMODKEEP_BOOTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * 0; -ENODATA: it is empty; -EBADMSG: it is cut short, as far as its own header
 * tells (a kernel of x86, a program of EFI; others do not say how long they are); or
 * -errno.
 */
int boot_file_check(const char *path);

/* The release that a kernel of x86 names in its header; malloc'ed, NULL: none. */
char *boot_file_release(const char *path);

/*
 * The text in a section of a unified kernel image, as ".uname" or ".cmdline", up
 * to its first line's end; malloc'ed, printable. NULL: it has none.
 */
char *boot_file_section(const char *path, const char *name);

/*
 * Where a section of an open PE image is. 0; -ENOENT: it has no such section;
 * -EBADMSG: it is no PE image, or cut short.
 */
int boot_file_find(int fd, const char *name, off_t *at, uint64_t *size);
/* Is there such a section in the file? */
bool boot_file_has(const char *path, const char *name);

#endif
