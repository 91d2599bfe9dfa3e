// SPDX-License-Identifier: GPL-2.0-or-later
/* Files, buffers, paths and text: what every folder uses. */
#include "guard/base/util.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

void buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = 0;
}

static int read_all(int fd, size_t max, struct buf *out)
{
	size_t room = 0, len = 0;
	unsigned char *data = NULL;
	ssize_t n;

	/* Not by st_size: files of sysfs, procfs and efivarfs lie about it. */
	for (;;) {
		if (len == room) {
			unsigned char *bigger;

			room = room ? room * 2 : 4096;
			bigger = realloc(data, room);
			if (!bigger) {
				free(data);
				return -ENOMEM;
			}
			data = bigger;
		}
		n = read(fd, data + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = -errno;

			free(data);
			return err;
		}
		if (n == 0)
			break;
		len += n;
		if (len > max) {
			free(data);
			return -EFBIG;
		}
	}
	out->data = data;
	out->len = len;
	return 0;
}

int file_read(const char *path, size_t max, struct buf *out)
{
	struct stat st;
	int fd, err;

	/* O_NONBLOCK: a FIFO put in the way must not stop us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		err = read_all(fd, max, out);
	close(fd);
	return err;
}

int file_read_line(const char *path, char **line)
{
	struct buf b;
	size_t len;
	int err;

	err = file_read(path, 1 << 20, &b);
	if (err)
		return err;
	for (len = 0; len < b.len && b.data[len] != '\n' && b.data[len]; len++)
		;
	*line = strndup((char *)b.data, len);
	buf_free(&b);
	return *line ? 0 : -ENOMEM;
}

static int write_all(int fd, const unsigned char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= n;
	}
	return 0;
}

static int sync_directory_of(const char *path)
{
	char *copy = strdup(path);
	int fd, err = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

/* A module without its label could not be loaded under SELinux. */
static int copy_label(const char *from, int to)
{
	char label[256];
	ssize_t n = getxattr(from, "security.selinux", label, sizeof(label));

	if (n <= 0)
		return 0;
	return fsetxattr(to, "security.selinux", label, n, 0) < 0 ? -errno : 0;
}

static int inherit_attributes(const char *path, int fd, mode_t mode)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return -errno;
		return fchmod(fd, mode) < 0 ? -errno : 0;
	}
	if ((st.st_uid != geteuid() || st.st_gid != getegid()) &&
	    fchown(fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	if (fchmod(fd, st.st_mode & 07777) < 0)
		return -errno;
	return copy_label(path, fd);
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode)
{
	char *tmp;
	int fd, err;

	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(tmp);
		return err;
	}
	err = write_all(fd, data, len);
	if (!err)
		err = inherit_attributes(path, fd, mode);
	if (!err && fsync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(tmp, path) < 0)
		err = -errno;
	if (err)
		unlink(tmp);
	else
		err = sync_directory_of(path);
	free(tmp);
	return err;
}

char *text_of(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : text;
}

bool path_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

bool str_ends_with(const char *s, const char *suffix)
{
	size_t a = strlen(s), b = strlen(suffix);

	return a >= b && strcmp(s + a - b, suffix) == 0;
}

int dirent_by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

void hex_encode(const unsigned char *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", in[i]);
	out[2 * len] = '\0';
}

/* Shown as nothing, or as another line or order of what is around it. */
static bool is_format(unsigned int c)
{
	return c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* Length of the UTF-8 character at s that may be shown; 0: there is none. */
static size_t character(const unsigned char *s)
{
	static const unsigned int least[] = { 0, 0, 0xa0, 0x800, 0x10000 };
	size_t n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
	unsigned int c = *s & (0xff >> (n + 1));

	if (n == 1)
		return !iscntrl(*s);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	/* Not longer than need be, no controls (C1), surrogates or beyond. */
	if (*s < 0xc2 || c < least[n] || c > 0x10ffff || c >> 11 == 0x1b || is_format(c))
		return 0;
	return n;
}

void make_printable(char *s)
{
	while (*s) {
		size_t n = character((unsigned char *)s);

		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
}
