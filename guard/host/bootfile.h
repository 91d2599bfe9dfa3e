/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file that a boot loader reads tells of itself: kernels, unified images. */
#ifndef KMODKEEP_BOOTFILE_H
#define KMODKEEP_BOOTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;

/*
 * 0; -ENODATA: it is empty; -EBADMSG: it is cut short, as far as its own header or sum
 * tells (a kernel of x86 or packed with gzip, a program of EFI; others do not say how
 * long they are); or -errno. archive: it is an initramfs, which is not unpacked here.
 */
int boot_file_check(const char *path, bool archive);

/*
 * The release that a kernel of x86 names in its header, also in a unified image;
 * malloc'ed, NULL: none.
 */
char *boot_file_release(const char *path);

/*
 * The same with who built it, which build it is and when. Of kernels without such a
 * header it is looked for in what they unpack to, which takes a while.
 */
char *boot_file_build(const char *path);

/*
 * Are these two files the same build of a kernel, by what they say of themselves or,
 * where they say nothing, by their bytes? 1, 0, -ENODATA: it cannot be told; or -errno.
 */
int boot_file_same_build(const char *a, const char *b);
/* false also if one cannot be read. */
bool boot_file_same_bytes(const char *a, const char *b);

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
/*
 * What a section has in the file, filled up to a block, as shim reads it. 0; -ENOENT: it has
 * no such section, or one that is shorter in the file than in memory, which shim passes over;
 * -EEXIST: more than one, or one with relocations; -EFBIG: it is larger than max; -E2BIG: there
 * are more sections than are looked at; -EBADMSG: it is no PE image, or cut short; or -errno.
 * Names of more than 8 characters are looked up as the linker keeps them.
 */
int boot_file_content(const char *path, const char *name, size_t max, struct buf *out);
/* Does a PE image bring a signature, whosesoever? 1, 0, -EBADMSG: it is no PE image; or -errno. */
int boot_file_signed(const char *path);
/* Is there such a section in the file? */
bool boot_file_has(const char *path, const char *name);

#endif
