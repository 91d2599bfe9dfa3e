// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kernels of other machines than x86 have no version in their header. Unpacked, they
 * have the line that they print first.
 */
#include "guard/host/banner.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "guard/base/util.h"

#define CHUNK (128u << 10)
#define BANNER_MAX 512		/* what one piece keeps of the piece before */
#define TOTAL_MAX ((uint64_t)256 << 20)

static const char words[] = "Linux version ";

struct scan {
	int fd;
	off_t at;
	uint64_t left;		/* of the part of the file */
	unsigned char in[CHUNK];
	size_t have;		/* in text */
	uint64_t total;
	char *line;		/* found */
	unsigned char text[BANNER_MAX + CHUNK];
};

static size_t more(struct scan *s)
{
	size_t want = s->left < CHUNK ? s->left : CHUNK;
	ssize_t n = want ? pread(s->fd, s->in, want, s->at) : 0;

	if (n <= 0)
		return 0;
	s->at += n;
	s->left -= n;
	return n;
}

/* The whole line that begins here; NULL: its end is not there. */
static char *line_at(const unsigned char *p, size_t n)
{
	const unsigned char *end = memchr(p, '\n', n < BANNER_MAX ? n : BANNER_MAX);
	char *line = end ? strndup((const char *)p, end - p) : NULL;

	if (line)
		make_printable(line);
	return line;
}

/* Looks at what came out, of which the end of the piece before is kept. */
static bool goes_on(struct scan *s, size_t n)
{
	const unsigned char *p = s->text;
	size_t skip = sizeof(words) - 1;

	s->have += n;
	s->total += n;
	while (!s->line && (p = memmem(p, s->text + s->have - p, words, skip))) {
		p += skip;
		/* The pattern that the line is printed with has no digit there. */
		if (p < s->text + s->have && *p >= '0' && *p <= '9')
			s->line = line_at(p, s->text + s->have - p);
	}
	if (s->have > BANNER_MAX) {
		memmove(s->text, s->text + s->have - BANNER_MAX, BANNER_MAX);
		s->have = BANNER_MAX;
	}
	return !s->line && s->total < TOTAL_MAX;
}

static void scan_plain(struct scan *s)
{
	size_t n;

	do {
		n = more(s);
		memcpy(s->text + s->have, s->in, n);
	} while (n && goes_on(s, n));
}

static void scan_gz(struct scan *s)
{
	z_stream z = { 0 };
	int ret = Z_OK;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return;
	do {
		if (!z.avail_in) {
			z.next_in = s->in;
			z.avail_in = more(s);
			if (!z.avail_in)
				break;
		}
		z.next_out = s->text + s->have;
		z.avail_out = CHUNK;
		ret = inflate(&z, Z_NO_FLUSH);
	} while ((ret == Z_OK || ret == Z_STREAM_END) && goes_on(s, CHUNK - z.avail_out) &&
		 ret == Z_OK);
	inflateEnd(&z);
}

static void scan_zst(struct scan *s)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = { s->in, 0, 0 };
	ZSTD_outBuffer out;
	size_t ret = 1;

	while (z && ret) {
		if (in.pos == in.size) {
			in.size = more(s);
			in.pos = 0;
			if (!in.size)
				break;
		}
		out = (ZSTD_outBuffer){ s->text + s->have, CHUNK, 0 };
		ret = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(ret) || !goes_on(s, out.pos))
			break;
	}
	ZSTD_freeDStream(z);
}

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

char *banner_read(int fd, off_t at, uint64_t size)
{
	struct scan *s = calloc(1, sizeof(*s));
	unsigned char head[64] = "";
	char *line;

	if (!s)
		return NULL;
	s->fd = fd;
	s->at = at;
	s->left = size;
	if (pread(fd, head, sizeof(head), at) == sizeof(head) && !memcmp(head, "MZ", 2) &&
	    !memcmp(head + 4, "zimg", 4)) {
		/* A program that unpacks what lies here (drivers/firmware/efi/libstub). */
		uint64_t from = le32(head + 8), length = le32(head + 12);

		if (from < size && length <= size - from) {
			s->at += from;
			s->left = length;
		}
		memset(head, 0, sizeof(head));
		if (pread(fd, head, 4, s->at) != 4)
			s->left = 0;
	}
	if (!memcmp(head, "\x1f\x8b", 2))
		scan_gz(s);
	else if (!memcmp(head, "\x28\xb5\x2f\xfd", 4))
		scan_zst(s);
	else
		scan_plain(s);
	line = s->line;
	free(s);
	return line;
}
