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

#include "guard/base/util.h"

#define SETUP 0x1f1		/* sectors of the part that starts it */
#define SYSSIZE 0x1f4		/* of the rest, in 16 bytes */
#define MAGIC 0x202		/* "HdrS" */
#define VERSION 0x20e		/* where its text is, less one sector */
#define HEADER 0x210
#define SECTOR 512
#define TEXT_MAX 2048
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

static bool is_kernel(int fd, unsigned char header[HEADER])
{
	return read_at(fd, 0, header, HEADER) && !memcmp(header + MAGIC, "HdrS", 4);
}

int boot_file_check(const char *path)
{
	unsigned char header[HEADER];
	struct stat st;
	int fd = open_file(path, &st), err = 0;
	off_t whole;

	if (fd < 0)
		return fd;
	if (!st.st_size) {
		err = -ENODATA;
	} else if (is_kernel(fd, header)) {
		whole = (off_t)((header[SETUP] ? header[SETUP] : 4) + 1) * SECTOR +
			(off_t)le32(header + SYSSIZE) * 16;
		/* What is not counted in 16 bytes may be missing at the end. */
		if (st.st_size + 16 < whole)
			err = -EBADMSG;
	}
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
	found = *text ? strdup(text) : NULL;
	if (found)
		make_printable(found);
	return found;
}

char *boot_file_release(const char *path)
{
	unsigned char header[HEADER];
	struct stat st;
	int fd = open_file(path, &st);
	char *release = NULL;

	if (fd < 0)
		return NULL;
	if (is_kernel(fd, header) && le16(header + VERSION))
		release = text_at(fd, le16(header + VERSION) + SECTOR, 128, " \n");
	close(fd);
	return release;
}

char *boot_file_section(const char *path, const char *name)
{
	unsigned char dos[64], pe[24], section[40];
	struct stat st;
	int fd = open_file(path, &st);
	char *text = NULL;
	off_t at;

	if (fd < 0)
		return NULL;
	if (!read_at(fd, 0, dos, sizeof(dos)) || memcmp(dos, "MZ", 2))
		goto out;
	at = le32(dos + 60);
	if (!read_at(fd, at, pe, sizeof(pe)) || memcmp(pe, "PE\0\0", 4))
		goto out;
	at += sizeof(pe) + le16(pe + 20);
	for (int i = 0; i < le16(pe + 6) && i < SECTIONS_MAX; i++) {
		char label[9] = { 0 };
		uint32_t size, raw;

		if (!read_at(fd, at + i * (off_t)sizeof(section), section, sizeof(section)))
			break;
		memcpy(label, section, 8);
		size = le32(section + 8);
		raw = le32(section + 16);
		if (strcmp(label, name))
			continue;
		text = text_at(fd, le32(section + 20), size < raw ? size : raw, "\n");
		break;
	}
out:
	close(fd);
	return text;
}
