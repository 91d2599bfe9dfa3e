/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of LZ4 and LZO, which few hosts have their initramfs packed with. A host
 * that packs with them has their libraries, so these are loaded when they are needed
 * and are no dependency of the program.
 */
#ifndef KMODKEEP_LZ_H
#define KMODKEEP_LZ_H

#include <stddef.h>

/*
 * Unpacks a block of len bytes into room bytes at out. The number that came out;
 * -EBADMSG: damaged; -ELIBACC: the library is not installed.
 */
long lz4_block(const unsigned char *in, size_t len, unsigned char *out, size_t room);
long lzo_block(const unsigned char *in, size_t len, unsigned char *out, size_t room);

#endif
