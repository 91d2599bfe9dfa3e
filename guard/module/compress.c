// SPDX-License-Identifier: GPL-2.0-or-later
/* Unpacks and packs module files: gzip, xz and zstd, through their libraries. */
#include "guard/module/compress.h"

#include <errno.h>
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* More than any module's dictionary needs, less than a bomb would like. */
#define XZ_MEMORY_LIMIT (256u << 20)

enum compression compression_of(const unsigned char *data, size_t len)
{
	if (len >= 6 && !memcmp(data, "\xfd" "7zXZ\0", 6))
		return COMPRESS_XZ;
	if (len >= 4 && !memcmp(data, "\x28\xb5\x2f\xfd", 4))
		return COMPRESS_ZST;
	if (len >= 2 && !memcmp(data, "\x1f\x8b", 2))
		return COMPRESS_GZ;
	return COMPRESS_NONE;
}

/* The second byte of the flags behind the magic bytes names the check. */
bool compress_kernel_refuses(const unsigned char *data, size_t len)
{
	unsigned int check;

	if (compression_of(data, len) != COMPRESS_XZ || len < 8)
		return false;
	check = data[7] & 15;
	return check != LZMA_CHECK_NONE && check != LZMA_CHECK_CRC32;
}

/* Makes room for more output; -EFBIG once max bytes are full. */
static int grow(struct buf *out, size_t *room, size_t max)
{
	unsigned char *bigger;
	size_t want = *room ? *room * 2 : 65536;

	if (*room >= max)
		return -EFBIG;
	if (want > max)
		want = max;
	bigger = realloc(out->data, want);
	if (!bigger)
		return -ENOMEM;
	out->data = bigger;
	*room = want;
	return 0;
}

static int unpack_gz(const unsigned char *in, size_t len, size_t max,
		     struct buf *out)
{
	z_stream z = { .next_in = (unsigned char *)in, .avail_in = len };
	size_t room = 0;
	int err = 0, ret;

	if (len > UINT32_MAX)
		return -EFBIG;
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -ENOMEM;
	do {
		if (out->len == room) {
			err = grow(out, &room, max);
			if (err)
				break;
		}
		z.next_out = out->data + out->len;
		z.avail_out = room - out->len;
		ret = inflate(&z, Z_NO_FLUSH);
		out->len = room - z.avail_out;
		if (ret != Z_OK && ret != Z_STREAM_END)
			err = -EBADMSG;
	} while (!err && ret != Z_STREAM_END);
	if (!err && z.avail_in)
		err = -EBADMSG;
	inflateEnd(&z);
	return err;
}

static int unpack_xz(const unsigned char *in, size_t len, size_t max,
		     struct buf *out)
{
	lzma_stream s = LZMA_STREAM_INIT;
	size_t room = 0;
	lzma_ret ret;
	int err = 0;

	if (lzma_stream_decoder(&s, XZ_MEMORY_LIMIT, 0) != LZMA_OK)
		return -ENOMEM;
	s.next_in = in;
	s.avail_in = len;
	do {
		if (out->len == room) {
			err = grow(out, &room, max);
			if (err)
				break;
		}
		s.next_out = out->data + out->len;
		s.avail_out = room - out->len;
		ret = lzma_code(&s, LZMA_FINISH);
		out->len = room - s.avail_out;
		if (ret == LZMA_MEM_ERROR)
			err = -ENOMEM;
		else if (ret == LZMA_MEMLIMIT_ERROR)
			err = -EFBIG;
		else if (ret != LZMA_OK && ret != LZMA_STREAM_END)
			err = -EBADMSG;
	} while (!err && ret != LZMA_STREAM_END);
	if (!err && s.avail_in)
		err = -EBADMSG;
	lzma_end(&s);
	return err;
}

static int unpack_zst(const unsigned char *in, size_t len, size_t max,
		      struct buf *out)
{
	ZSTD_inBuffer src = { in, len, 0 };
	ZSTD_DStream *z = ZSTD_createDStream();
	size_t room = 0, ret = 1;
	int err = 0;

	if (!z)
		return -ENOMEM;
	while (ret) {
		ZSTD_outBuffer dst;

		if (out->len == room) {
			err = grow(out, &room, max);
			if (err)
				break;
		}
		dst = (ZSTD_outBuffer){ out->data, room, out->len };
		ret = ZSTD_decompressStream(z, &dst, &src);
		if (ZSTD_isError(ret) ||
		    (ret && src.pos == len && dst.pos < room)) {
			err = -EBADMSG;
			break;
		}
		out->len = dst.pos;
	}
	if (!err && src.pos != len)
		err = -EBADMSG;
	ZSTD_freeDStream(z);
	return err;
}

static int unpack(enum compression type, const unsigned char *in, size_t len, size_t max,
		  struct buf *out)
{
	out->data = NULL;
	out->len = 0;
	if (type == COMPRESS_GZ)
		return unpack_gz(in, len, max, out);
	if (type == COMPRESS_XZ)
		return unpack_xz(in, len, max, out);
	return type == COMPRESS_ZST ? unpack_zst(in, len, max, out) : -EINVAL;
}

int decompress(enum compression type, const unsigned char *in, size_t len,
	       size_t max, struct buf *out)
{
	int err = unpack(type, in, len, max, out);

	if (err)
		buf_free(out);
	return err;
}

int decompress_head(enum compression type, const unsigned char *in, size_t len, size_t n,
		    struct buf *out)
{
	int err = unpack(type, in, len, n, out);

	if (err == -EFBIG && out->len == n)
		err = 0;
	if (err)
		buf_free(out);
	return err;
}

/*
 * A host's modules are signed again while somebody waits: these levels take a
 * fifth of the time of the best ones, for files some 7 % larger.
 */
#define GZ_LEVEL 6
#define XZ_LEVEL 2
#define ZST_LEVEL 12

static int pack_gz(const unsigned char *in, size_t len, struct buf *out)
{
	z_stream z = { .next_in = (unsigned char *)in, .avail_in = len };
	uLong room;
	int ret;

	if (len > UINT32_MAX / 2)
		return -EFBIG;
	if (deflateInit2(&z, GZ_LEVEL, Z_DEFLATED, 15 + 16, 9,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	room = deflateBound(&z, len);
	out->data = malloc(room);
	if (!out->data) {
		deflateEnd(&z);
		return -ENOMEM;
	}
	z.next_out = out->data;
	z.avail_out = room;
	ret = deflate(&z, Z_FINISH);
	out->len = room - z.avail_out;
	deflateEnd(&z);
	return ret == Z_STREAM_END ? 0 : -EIO;
}

static int pack_xz(const unsigned char *in, size_t len, struct buf *out)
{
	lzma_options_lzma options;
	lzma_filter chain[] = {
		{ LZMA_FILTER_LZMA2, &options },
		{ LZMA_VLI_UNKNOWN, NULL },
	};
	size_t room = lzma_stream_buffer_bound(len);

	/* The kernel's decoder knows CRC32 only; 1 MiB as the kernel build. */
	if (!room || lzma_lzma_preset(&options, XZ_LEVEL))
		return -EINVAL;
	options.dict_size = 1u << 20;
	out->data = malloc(room);
	if (!out->data)
		return -ENOMEM;
	if (lzma_stream_buffer_encode(chain, LZMA_CHECK_CRC32, NULL, in, len,
				      out->data, &out->len, room) != LZMA_OK)
		return -EIO;
	return 0;
}

static int pack_zst(const unsigned char *in, size_t len, struct buf *out)
{
	size_t room = ZSTD_compressBound(len), ret;

	out->data = malloc(room);
	if (!out->data)
		return -ENOMEM;
	ret = ZSTD_compress(out->data, room, in, len,
			    ZST_LEVEL);
	if (ZSTD_isError(ret))
		return -EIO;
	out->len = ret;
	return 0;
}

int compress_bytes(enum compression type, const unsigned char *in, size_t len,
		   struct buf *out)
{
	int err = -EINVAL;

	out->data = NULL;
	out->len = 0;
	if (type == COMPRESS_GZ)
		err = pack_gz(in, len, out);
	else if (type == COMPRESS_XZ)
		err = pack_xz(in, len, out);
	else if (type == COMPRESS_ZST)
		err = pack_zst(in, len, out);
	if (err)
		buf_free(out);
	return err;
}
