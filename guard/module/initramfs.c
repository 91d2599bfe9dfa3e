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

#define CHUNK (128u << 10)
#define MEMORY_LIMIT (256u << 20)
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
static int deliver(struct source *s, size_t n)
{
	const unsigned char *p = s->out;

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
