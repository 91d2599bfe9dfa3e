// SPDX-License-Identifier: GPL-2.0-or-later
/* Unpacks the archives of an initramfs file one after the other. */
#include "guard/module/initramfs.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "guard/base/parallel.h"
#include "guard/host/bootfile.h"
#include "guard/module/lz.h"

#define CHUNK (128u << 10)
#define MEMORY_LIMIT (256u << 20)
/* Of the kernel's decoders (lib/decompress_unlz4.c, decompress_unlzo.c). */
#define LZ4_MAGIC 0x184c2102
#define LZ4_BLOCK (8u << 20)
#define LZ4_PACKED_MAX (LZ4_BLOCK + LZ4_BLOCK / 255 + 16)
#define LZO_BLOCK (256u << 10)
#define LZOP_HAS_FILTER 0x800
/* Of what comes out: no machine could boot with more. */
#define TOTAL_MAX ((uint64_t)4 << 30)

/* The file, and the archives that come out of it. */
struct source {
	int fd;
	unsigned char in[CHUNK];
	size_t pos, len;
	uint64_t left;		/* of the part of the file that is read */
	bool section;		/* that part is one of a PE image */
	bool end;
	unsigned char out[CHUNK];
	struct cpio *cpio;
	uint64_t total;
};

/* Has at least n bytes ahead if the file has; how many there are, or -errno. */
static ssize_t ahead(struct source *s, size_t n)
{
	if (s->len - s->pos >= n || s->end)
		return s->len - s->pos;
	memmove(s->in, s->in + s->pos, s->len - s->pos);
	s->len -= s->pos;
	s->pos = 0;
	while (s->len < n && !s->end) {
		size_t room = CHUNK - s->len;
		ssize_t got = read(s->fd, s->in + s->len, room < s->left ? room : s->left);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		s->end = !got;
		s->len += got;
		s->left -= got;
	}
	return s->len;
}

/* Archives that came out of a compressed part; zeros may lie between them. */
static int deliver_from(struct source *s, const unsigned char *p, size_t n)
{
	s->total += n;
	if (s->total > TOTAL_MAX)
		return -EFBIG;
	while (n) {
		size_t used;
		int err;

		if (cpio_ended(s->cpio) && !*p) {
			p++;
			n--;
			continue;
		}
		err = cpio_feed(s->cpio, p, n, &used);
		if (err)
			return err;
		p += used;
		n -= used;
	}
	return 0;
}

static int deliver(struct source *s, size_t n)
{
	return deliver_from(s, s->out, n);
}

static int unpack_gz(struct source *s)
{
	z_stream z = { 0 };
	int ret = Z_OK, err = 0;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -ENOMEM;
	while (!err && ret != Z_STREAM_END) {
		ssize_t n = ahead(s, 1);

		if (n <= 0) {
			err = n ? n : -EBADMSG;
			break;
		}
		z.next_in = s->in + s->pos;
		z.avail_in = n;
		z.next_out = s->out;
		z.avail_out = CHUNK;
		ret = inflate(&z, Z_NO_FLUSH);
		s->pos = s->len - z.avail_in;
		if (ret != Z_OK && ret != Z_STREAM_END && ret != Z_BUF_ERROR)
			err = -EBADMSG;
		else
			err = deliver(s, CHUNK - z.avail_out);
	}
	inflateEnd(&z);
	return err;
}

/* A file of many blocks, as dracut has them made, is read by several threads. */
static lzma_ret open_lzma(lzma_stream *z, bool old)
{
#if LZMA_VERSION >= 50040002
	lzma_mt mt = { .threads = parallel_cpus(),
		       .memlimit_threading = MEMORY_LIMIT / 4,
		       .memlimit_stop = MEMORY_LIMIT };

	if (!old && mt.threads > 1)
		return lzma_stream_decoder_mt(z, &mt);
#endif
	return old ? lzma_alone_decoder(z, MEMORY_LIMIT) :
		     lzma_stream_decoder(z, MEMORY_LIMIT, 0);
}

static int unpack_lzma(struct source *s, bool old)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret ret = open_lzma(&z, old);
	int err = ret == LZMA_OK ? 0 : -ENOMEM;

	while (!err && ret != LZMA_STREAM_END) {
		ssize_t n = ahead(s, 1);

		if (n < 0) {
			err = n;
			break;
		}
		z.next_in = s->in + s->pos;
		z.avail_in = n;
		z.next_out = s->out;
		z.avail_out = CHUNK;
		/* All was read, but there may still be some to come out. */
		ret = lzma_code(&z, n ? LZMA_RUN : LZMA_FINISH);
		s->pos = s->len - z.avail_in;
		if (ret == LZMA_MEM_ERROR)
			err = -ENOMEM;
		else if (ret == LZMA_MEMLIMIT_ERROR)
			err = -EFBIG;
		else if (ret != LZMA_OK && ret != LZMA_STREAM_END)
			err = -EBADMSG;
		else
			err = deliver(s, CHUNK - z.avail_out);
	}
	lzma_end(&z);
	return err;
}

static int unpack_zst(struct source *s)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	size_t ret = 1;
	int err = z ? 0 : -ENOMEM;

	while (!err && ret) {
		ssize_t n = ahead(s, 1);
		ZSTD_inBuffer in;
		ZSTD_outBuffer out = { s->out, CHUNK, 0 };

		if (n <= 0) {
			err = n ? n : -EBADMSG;
			break;
		}
		in = (ZSTD_inBuffer){ s->in + s->pos, n, 0 };
		ret = ZSTD_decompressStream(z, &out, &in);
		s->pos += in.pos;
		err = ZSTD_isError(ret) ? -EBADMSG : deliver(s, out.pos);
	}
	ZSTD_freeDStream(z);
	return err;
}

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* Takes n bytes of the file, more than are held ahead. 0 or -errno. */
static int take(struct source *s, unsigned char *to, size_t n)
{
	while (n) {
		ssize_t got = ahead(s, 1);
		size_t now = got < 0 || (size_t)got < n ? (size_t)got : n;

		if (got <= 0)
			return got ? got : -EBADMSG;
		if (to) {
			memcpy(to, s->in + s->pos, now);
			to += now;
		}
		s->pos += now;
		n -= now;
	}
	return 0;
}

/* Two blocks at once: as packed, and as unpacked. */
struct blocks {
	unsigned char *in, *out;
};

static int blocks_new(struct blocks *b, size_t in, size_t out)
{
	b->in = malloc(in);
	b->out = malloc(out);
	return b->in && b->out ? 0 : -ENOMEM;
}

static void blocks_free(struct blocks *b)
{
	free(b->in);
	free(b->out);
}

/*
 * The form that the kernel knows, "lz4 -l": a magic number, then blocks with their
 * length before each. Nothing says where it ends: zeros do, or what is no length.
 */
static int unpack_lz4(struct source *s)
{
	struct blocks b;
	int err = blocks_new(&b, LZ4_PACKED_MAX, LZ4_BLOCK);
	bool any = false;
	ssize_t n;
	long out;

	s->pos += 4;
	while (!err && (n = ahead(s, 4)) >= 4) {
		uint32_t length = le32(s->in + s->pos);

		if (length == LZ4_MAGIC) {
			s->pos += 4;
			continue;
		}
		if (!length || length > LZ4_PACKED_MAX)
			break;
		s->pos += 4;
		err = take(s, b.in, length);
		out = err ? err : lz4_block(b.in, length, b.out, LZ4_BLOCK);
		err = out < 0 ? out : deliver_from(s, b.out, out);
		any = true;
	}
	if (!err && (!any || (n < 4 && n)))
		err = n < 0 ? n : -EBADMSG;
	blocks_free(&b);
	return err;
}

/* What stands before the first block of lzop. 0 or -errno. */
static int skip_lzop_header(struct source *s)
{
	unsigned char fixed[16], filter[4], length;
	bool recent;
	int err = take(s, fixed, sizeof(fixed));

	if (err)
		return err;
	recent = fixed[9] > 9 || (fixed[9] == 9 && fixed[10] >= 0x40);
	/* Newer ones have a level, and half of a time, more. */
	err = take(s, NULL, recent);
	if (!err)
		err = take(s, filter, sizeof(filter));
	if (!err)
		err = take(s, NULL, 8 + (recent ? 4 : 0) +
			   (be32(filter) & LZOP_HAS_FILTER ? 4 : 0));
	if (!err)
		err = take(s, &length, 1);
	return err ? err : take(s, NULL, length + 4);
}

static int unpack_lzo(struct source *s)
{
	unsigned char head[12];
	struct blocks b;
	int err = blocks_new(&b, LZO_BLOCK, LZO_BLOCK);
	uint32_t whole, length;
	long out;

	if (!err)
		err = skip_lzop_header(s);
	while (!err) {
		err = take(s, head, 4);
		whole = be32(head);
		if (err || !whole)
			break;
		err = take(s, head + 4, 8);	/* its length, and a sum */
		length = be32(head + 4);
		if (!err && (whole > LZO_BLOCK || !length || length > whole))
			err = -EBADMSG;
		if (!err)
			err = take(s, b.in, length);
		if (err)
			break;
		/* What does not become shorter is left as it is. */
		out = length == whole ? (long)length : lzo_block(b.in, length, b.out, whole);
		err = out < 0 ? out : deliver_from(s, length == whole ? b.in : b.out, out);
	}
	blocks_free(&b);
	return err;
}

static int unpack_plain(struct source *s)
{
	do {
		ssize_t n = ahead(s, 1);
		size_t used;
		int err;

		if (n <= 0)
			return n ? n : -EBADMSG;
		err = cpio_feed(s->cpio, s->in + s->pos, n, &used);
		if (err)
			return err;
		s->pos += used;
	} while (!cpio_ended(s->cpio));
	return 0;
}

static int read_part(struct source *s)
{
	const unsigned char *p = s->in + s->pos;

	if (!memcmp(p, "07070", 5))
		return unpack_plain(s);
	if (!memcmp(p, "\x1f\x8b", 2))
		return unpack_gz(s);
	if (!memcmp(p, "\xfd" "7zXZ", 5))
		return unpack_lzma(s, false);
	if (!memcmp(p, "\x28\xb5\x2f\xfd", 4))
		return unpack_zst(s);
	if (!memcmp(p, "\x5d\0\0", 3))
		return unpack_lzma(s, true);
	if (le32(p) == LZ4_MAGIC)
		return unpack_lz4(s);
	if (!memcmp(p, "\x89LZO\0\r", 6))
		return unpack_lzo(s);
	return -ENOPKG;
}

static int read_parts(struct source *s)
{
	ssize_t n;

	while ((n = ahead(s, 6)) > 0) {
		int err;

		if (!s->in[s->pos]) {
			s->pos++;
			continue;
		}
		if (n < 6)
			return -EBADMSG;
		err = read_part(s);
		if (err)
			return err;
	}
	return n;
}

/* A unified image has its initramfs in a section. */
static int find_part(int fd, bool *section, uint64_t *size)
{
	char magic[2];
	off_t at;
	int err;

	*size = UINT64_MAX;
	*section = pread(fd, magic, 2, 0) == 2 && !memcmp(magic, "MZ", 2);
	if (!*section)
		return 0;
	err = boot_file_find(fd, ".initrd", &at, size);
	if (!err && lseek(fd, at, SEEK_SET) < 0)
		err = -errno;
	return err;
}

int initramfs_read_fd(int fd, const struct cpio_reader *reader)
{
	struct source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->fd = fd;
	err = find_part(fd, &s->section, &s->left);
	if (!err)
		err = cpio_new(reader, &s->cpio);
	if (!err)
		err = read_parts(s);
	/* A file ends where it ends, a section where its header says. */
	if (!err && (!cpio_ended(s->cpio) || (s->section && s->left)))
		err = -EBADMSG;
	cpio_free(s->cpio);
	free(s);
	return err;
}

int initramfs_read(const char *file, const struct cpio_reader *reader)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int err;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		err = initramfs_read_fd(fd, reader);
	close(fd);
	return err;
}
