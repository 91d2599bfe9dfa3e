/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Initramfs files: one archive after another, each plain or compressed, with
 * zeros between them. Early microcode comes first and is plain. Of a unified kernel
 * image it is the section ".initrd" that is read.
 */
#ifndef KMODKEEP_INITRAMFS_H
#define KMODKEEP_INITRAMFS_H

#include "guard/module/cpio.h"

/*
 * 0; -ENOENT: a unified image without one; -ENOPKG: compressed in a way not known here;
 * -EBADMSG: damaged; -EFBIG: absurdly large; what the reader returns; or the error of
 * reading the file.
 */
int initramfs_read(const char *file, const struct cpio_reader *reader);
/* The same from an open descriptor. */
int initramfs_read_fd(int fd, const struct cpio_reader *reader);

#endif
