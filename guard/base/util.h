/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files, buffers and paths. Functions return 0 or -errno. */
#ifndef KMODKEEP_UTIL_H
#define KMODKEEP_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Exit codes of every verb. */
enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_UNSURE = 3 };

struct buf {
	unsigned char *data;
	size_t len;
};

void buf_free(struct buf *b);

/* Reads a regular file whole; -EFBIG beyond max, -EISDIR/-EINVAL if not one. */
int file_read(const char *path, size_t max, struct buf *out);

/* First line of a small file without its newline, malloc'ed. */
int file_read_line(const char *path, char **line);

/*
 * Replaces path in one step: a reader sees the old bytes or the new ones, also
 * after a power cut. Mode and owner are those of the file replaced, or mode if
 * there is none yet.
 */
int file_replace(const char *path, const void *data, size_t len, mode_t mode);

bool path_exists(const char *path);
/* Formatted text, malloc'ed; NULL without memory. */
char *text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool str_ends_with(const char *s, const char *suffix);

struct dirent;

/* For scandir(): the order of bytes, in any locale. */
int dirent_by_bytes(const struct dirent **a, const struct dirent **b);

/* Hexadecimal, lower case; out holds 2 * len + 1. */
void hex_encode(const unsigned char *in, size_t len, char *out);

/*
 * Replaces control and format characters (such as those that turn the direction) and what is
 * not UTF-8, so that no file can forge a line of output or spoil JSON.
 */
void make_printable(char *s);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
