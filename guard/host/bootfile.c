// SPDX-License-Identifier: GPL-2.0-or-later
/* Headers of kernels for x86 (Documentation/arch/x86/boot.rst) and of PE images. */
#include "guard/host/bootfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "guard/base/util.h"
#include "guard/host/banner.h"

#define SETUP 0x1f1		/* sectors of the part that starts it */
#define SYSSIZE 0x1f4		/* of the rest, in 16 bytes */
#define MAGIC 0x202		/* "HdrS" */
#define VERSION 0x20e		/* where its text is, less one sector */
#define HEADER 0x210
#define SECTOR 512
#define TEXT_MAX 2048
#define BUILD_MAX 512
#define CHUNK (64u << 10)
/* No kernel or initramfs is larger when it is unpacked. */
#define UNPACKED_MAX (2048ull << 20)
#define SECTION 40		/* bytes of an entry in the table of sections */
#define SECTIONS_MAX 96

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t le16(const unsigned char *p)
{
	return p[0] | p[1] << 8;
}

static int open_file(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err;

	if (fd < 0)
		return -errno;
	err = fstat(fd, st) < 0 ? -errno : S_ISREG(st->st_mode) ? 0 : -EINVAL;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static bool read_at(int fd, off_t at, void *data, size_t len)
{
	return pread(fd, data, len, at) == (ssize_t)len;
}

static bool is_kernel(int fd, off_t at, unsigned char header[HEADER])
{
	return read_at(fd, at, header, HEADER) && !memcmp(header + MAGIC, "HdrS", 4);
}

/* The place of the table of sections, and how many there are; -EBADMSG: no PE. */
static int open_pe(int fd, off_t *table)
{
	unsigned char dos[64], pe[24];

	if (!read_at(fd, 0, dos, sizeof(dos)) || memcmp(dos, "MZ", 2))
		return -EBADMSG;
	*table = le32(dos + 60);
	if (!read_at(fd, *table, pe, sizeof(pe)) || memcmp(pe, "PE\0\0", 4))
		return -EBADMSG;
	*table += sizeof(pe) + le16(pe + 20);
	return le16(pe + 6) < SECTIONS_MAX ? le16(pe + 6) : SECTIONS_MAX;
}

/* The name, place and size in the file of section number i; false: cut short. */
static bool read_section(int fd, off_t table, int i, char name[9], off_t *at, uint64_t *size)
{
	unsigned char section[SECTION];
	uint32_t virtual, raw;

	if (!read_at(fd, table + i * (off_t)SECTION, section, SECTION))
		return false;
	memcpy(name, section, 8);
	name[8] = '\0';
	virtual = le32(section + 8);
	raw = le32(section + 16);
	*at = le32(section + 20);
	/* What is filled up to a whole block is no content. */
	*size = virtual && virtual < raw ? virtual : raw;
	return true;
}

#define SYMBOL 18
#define LONG_NAME 32

/* "/26" is a place among the long names, which come after the symbols. false: cut short. */
static bool long_name(int fd, const char *label, char out[LONG_NAME])
{
	unsigned char dos[64], pe[24];
	off_t at = strtoul(label + 1, NULL, 10);
	ssize_t n;

	if (!read_at(fd, 0, dos, sizeof(dos)) || !read_at(fd, le32(dos + 60), pe, sizeof(pe)) ||
	    !le32(pe + 12))
		return false;
	at += le32(pe + 12) + (off_t)SYMBOL * le32(pe + 16);
	n = pread(fd, out, LONG_NAME - 1, at);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

/* The header of the one section of this name; as boot_file_content(). */
static int find_once(int fd, const char *name, unsigned char found[SECTION])
{
	bool longer = strlen(name) > 8, any = false;
	off_t table;
	int count = open_pe(fd, &table);
	char label[LONG_NAME];

	if (count < 0 || count >= SECTIONS_MAX)
		return count < 0 ? count : -E2BIG;
	for (int i = 0; i < count; i++) {
		unsigned char section[SECTION];

		if (!read_at(fd, table + i * (off_t)SECTION, section, SECTION))
			return -EBADMSG;
		memcpy(label, section, 8);
		label[8] = '\0';
		if (longer && *label == '/' && !long_name(fd, label, label))
			return -EBADMSG;
		if (strcmp(label, name))
			continue;
		/* Their place, and how many they are. */
		if (any || le32(section + 24) || le16(section + 32))
			return -EEXIST;
		memcpy(found, section, SECTION);
		any = true;
	}
	return any && le32(found + 16) && le32(found + 16) >= le32(found + 8) ? 0 : -ENOENT;
}

int boot_file_content(const char *path, const char *name, size_t max, struct buf *out)
{
	unsigned char section[SECTION];
	struct stat st;
	int fd = open_file(path, &st), err;

	*out = (struct buf){ 0 };
	if (fd < 0)
		return fd;
	err = find_once(fd, name, section);
	out->len = err ? 0 : le32(section + 16);
	if (out->len > max)
		err = -EFBIG;
	if (!err)
		out->data = malloc(out->len);
	if (!err && !out->data)
		err = -ENOMEM;
	if (!err && !read_at(fd, le32(section + 20), out->data, out->len))
		err = -EBADMSG;
	if (err)
		buf_free(out);
	close(fd);
	return err;
}

#define OPTIONAL_MAX 152	/* of a PE header, up to the size of its certificates */

/* By the entry for certificates, the fifth of those at the end of the optional header. */
static int has_certificates(int fd)
{
	unsigned char dos[64], pe[24 + OPTIONAL_MAX], *optional = pe + 24, *directory;

	if (!read_at(fd, 0, dos, sizeof(dos)) || memcmp(dos, "MZ", 2) ||
	    !read_at(fd, le32(dos + 60), pe, sizeof(pe)) || memcmp(pe, "PE\0\0", 4))
		return -EBADMSG;
	switch (le16(optional)) {
	case 0x10b: directory = optional + 96; break;
	case 0x20b: directory = optional + 112; break;
	default: return -EBADMSG;
	}
	return le32(directory - 4) > 4 && le32(directory + 4 * 8 + 4);
}

int boot_file_signed(const char *path)
{
	struct stat st;
	int fd = open_file(path, &st), is;

	if (fd < 0)
		return fd;
	is = has_certificates(fd);
	close(fd);
	return is;
}

static bool starts_as_pe(int fd)
{
	char magic[2];

	return read_at(fd, 0, magic, 2) && !memcmp(magic, "MZ", 2);
}

/* Do all of its sections lie within the file? */
static int check_pe(int fd, off_t length)
{
	off_t table, at;
	int count = open_pe(fd, &table);
	char name[9];
	uint64_t size;

	for (int i = 0; i < count; i++)
		if (!read_section(fd, table, i, name, &at, &size) ||
		    (size && at + (off_t)size > length))
			return -EBADMSG;
	return count < 0 ? count : 0;
}

static int check_kernel(const unsigned char header[HEADER], off_t length)
{
	off_t whole = (off_t)((header[SETUP] ? header[SETUP] : 4) + 1) * SECTOR +
		      (off_t)le32(header + SYSSIZE) * 16;

	/* What is not counted in 16 bytes may be missing at the end. */
	return length + 16 < whole ? -EBADMSG : 0;
}

/* What gzip packed ends with a sum over all of it. */
static int check_gzip(int fd)
{
	int copy = dup(fd), n = -1;
	gzFile z = copy < 0 ? NULL : gzdopen(copy, "rb");
	char *out = z ? malloc(CHUNK) : NULL;
	uint64_t total = 0;

	while (out && total <= UNPACKED_MAX && (n = gzread(z, out, CHUNK)) > 0)
		total += n;
	if (!z) {
		if (copy >= 0)
			close(copy);
		return -ENOMEM;
	}
	if (gzclose_r(z) != Z_OK || n < 0)
		n = out ? -EBADMSG : -ENOMEM;
	free(out);
	return n > 0 ? -EFBIG : n;
}

int boot_file_check(const char *path, bool archive)
{
	unsigned char header[HEADER];
	struct stat st;
	int fd = open_file(path, &st), err = 0;

	if (fd < 0)
		return fd;
	if (!st.st_size)
		err = -ENODATA;
	else if (!read_at(fd, 0, header, 1))
		err = -EIO;
	else if (is_kernel(fd, 0, header))
		err = check_kernel(header, st.st_size);
	else if (starts_as_pe(fd))
		err = check_pe(fd, st.st_size);
	else if (!archive && read_at(fd, 0, header, 2) && !memcmp(header, "\x1f\x8b", 2))
		err = lseek(fd, 0, SEEK_SET) < 0 ? -errno : check_gzip(fd);
	close(fd);
	return err;
}

/* Text at a place, up to a character that ends it. */
static char *text_at(int fd, off_t at, size_t max, const char *ends)
{
	char text[TEXT_MAX + 1];
	ssize_t n = pread(fd, text, max < TEXT_MAX ? max : TEXT_MAX, at);
	char *found;

	if (n <= 0)
		return NULL;
	text[n] = '\0';
	text[strcspn(text, ends)] = '\0';
	for (char *p = text; (p = strpbrk(p, "\t\r\n"));)
		*p = ' ';
	for (size_t end = strlen(text); end && text[end - 1] == ' '; end--)
		text[end - 1] = '\0';
	found = *text ? strdup(text) : NULL;
	if (found)
		make_printable(found);
	return found;
}

int boot_file_find(int fd, const char *name, off_t *at, uint64_t *size)
{
	off_t table;
	int count = open_pe(fd, &table);
	char label[9];

	for (int i = 0; i < count; i++) {
		if (!read_section(fd, table, i, label, at, size))
			return -EBADMSG;
		if (!strcmp(label, name))
			return 0;
	}
	return count < 0 ? count : -ENOENT;
}

bool boot_file_has(const char *path, const char *name)
{
	struct stat st;
	uint64_t size;
	off_t at;
	int fd = open_file(path, &st);
	bool has = fd >= 0 && !boot_file_find(fd, name, &at, &size);

	if (fd >= 0)
		close(fd);
	return has;
}

char *boot_file_section(const char *path, const char *name)
{
	struct stat st;
	int fd = open_file(path, &st);
	char *text = NULL;
	uint64_t size;
	off_t at;

	if (fd < 0)
		return NULL;
	if (!boot_file_find(fd, name, &at, &size))
		text = text_at(fd, at, size, strcmp(name, ".cmdline") ? "\n" : "");
	close(fd);
	return text;
}

/* The kernel in a file: the file itself, or a section of a unified image. */
static int open_kernel(const char *path, off_t *at, uint64_t *size)
{
	struct stat st;
	int fd = open_file(path, &st), err;

	if (fd < 0)
		return fd;
	err = boot_file_find(fd, ".linux", at, size);
	if (!err)
		return fd;
	*at = 0;
	*size = st.st_size;
	return fd;
}

/* What the header of a kernel of x86 says of it, up to a character that ends it. */
static char *header_text(int fd, off_t at, const char *ends)
{
	unsigned char header[HEADER];

	return is_kernel(fd, at, header) && le16(header + VERSION) ?
	       text_at(fd, at + le16(header + VERSION) + SECTOR, BUILD_MAX, ends) : NULL;
}

static char *read_header(const char *path, const char *ends)
{
	uint64_t size;
	off_t at;
	int fd = open_kernel(path, &at, &size);
	char *text = fd < 0 ? NULL : header_text(fd, at, ends);

	if (fd >= 0)
		close(fd);
	return text;
}

char *boot_file_release(const char *path)
{
	return read_header(path, " \n");
}

char *boot_file_build(const char *path)
{
	uint64_t size;
	off_t at;
	int fd = open_kernel(path, &at, &size);
	char *build;

	if (fd < 0)
		return NULL;
	build = header_text(fd, at, "\n");
	if (!build)
		build = banner_read(fd, at, size);
	close(fd);
	return build;
}

/* Are these parts of two files the same bytes? 1, 0 or -errno. */
static int same_bytes(int a, off_t at_a, uint64_t size_a, int b, off_t at_b, uint64_t size_b)
{
	unsigned char *x = malloc(CHUNK), *y = malloc(CHUNK);
	int same = !x || !y ? -ENOMEM : size_a == size_b;

	for (uint64_t done = 0; same == 1 && done < size_a; done += CHUNK) {
		size_t n = size_a - done < CHUNK ? size_a - done : CHUNK;

		if (!read_at(a, at_a + done, x, n) || !read_at(b, at_b + done, y, n))
			same = -EBADMSG;
		else
			same = !memcmp(x, y, n);
	}
	free(x);
	free(y);
	return same;
}

/*
 * The place of the last bytes of a kernel of x86 behind its header; false: it is none.
 * They are the end of what is compressed, which no change of the kernel leaves alone,
 * and a signature leaves them alone.
 */
static bool find_end(int fd, off_t *at, uint64_t *size)
{
	unsigned char header[HEADER];
	uint64_t rest;

	if (!is_kernel(fd, *at, header))
		return false;
	rest = (uint64_t)le32(header + SYSSIZE) * 16;
	*at += (off_t)((header[SETUP] ? header[SETUP] : 4) + 1) * SECTOR;
	*size = rest < CHUNK ? rest : CHUNK;
	/* What is not counted in 16 bytes may be missing at the end. */
	*at += rest - *size;
	*size -= *size < 16 ? *size : 16;
	return true;
}

static int same_content(const char *a, const char *b)
{
	uint64_t size_a, size_b;
	off_t at_a, at_b;
	int x = open_kernel(a, &at_a, &size_a), y = x < 0 ? x : open_kernel(b, &at_b, &size_b);
	int same = y < 0 ? y : find_end(x, &at_a, &size_a) != find_end(y, &at_b, &size_b) ? 0 :
		   same_bytes(x, at_a, size_a, y, at_b, size_b);

	if (y >= 0)
		close(y);
	if (x >= 0)
		close(x);
	return same;
}

int boot_file_same_build(const char *a, const char *b)
{
	char *x = read_header(a, "\n"), *y = read_header(b, "\n");
	int same = x && y && strcmp(x, y) != 0 ? 0 : same_content(a, b);

	/* A signature, or another form of the same kernel, makes other bytes. */
	if (!same && !x && !y) {
		x = boot_file_build(a);
		y = boot_file_build(b);
		same = x && y ? !strcmp(x, y) : -ENODATA;
	} else if (!same && (!x || !y)) {
		same = -ENODATA;
	}
	free(x);
	free(y);
	return same;
}

bool boot_file_same_bytes(const char *a, const char *b)
{
	struct stat st_a, st_b;
	int x = open_file(a, &st_a), y = x < 0 ? x : open_file(b, &st_b);
	bool same = y >= 0 && same_bytes(x, 0, st_a.st_size, y, 0, st_b.st_size) == 1;

	if (y >= 0)
		close(y);
	if (x >= 0)
		close(x);
	return same;
}
