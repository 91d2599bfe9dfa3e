/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compressions that module files come in. What is packed here must be
 * readable by kmod and by the kernel's own decompressor.
 */
#ifndef KMODKEEP_COMPRESS_H
#define KMODKEEP_COMPRESS_H

#include "guard/base/util.h"

enum compression { COMPRESS_NONE, COMPRESS_GZ, COMPRESS_XZ, COMPRESS_ZST };

/* By content, as kmod does; the file name may be anything. */
enum compression compression_of(const unsigned char *data, size_t len);

/*
 * May a kernel that unpacks modules itself refuse this stream? Its decoder of xz
 * knows no integrity check but CRC32 (and none); a dictionary of any size is
 * right. false for what is not compressed.
 */
bool compress_kernel_refuses(const unsigned char *data, size_t len);

/* -EBADMSG: damaged, or bytes follow the stream; -EFBIG: larger than max. */
int decompress(enum compression type, const unsigned char *in, size_t len,
	       size_t max, struct buf *out);
/* The first n bytes of what it unpacks to, or all if that is less; in may be cut short. */
int decompress_head(enum compression type, const unsigned char *in, size_t len, size_t n,
		    struct buf *out);
int compress_bytes(enum compression type, const unsigned char *in, size_t len,
		   struct buf *out);

#endif
