/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line that the recorder left in a kernel's log, word by word. */
#ifndef FLIGHTREC_LINE_H
#define FLIGHTREC_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What is left of a line to parse. */
struct line {
	const char *at, *end;
};

/* The next word, 1 to @max bytes of it, and the space behind it; @word has room for one more. */
bool line_word(struct line *cursor, char *word, size_t max);
/* The next word, if it is a decimal number up to @max. */
bool line_number(struct line *cursor, uint64_t max, uint64_t *number);
/* The next word, if it is of @len hexadecimal digits. */
bool line_hex(struct line *cursor, char *word, size_t len);
/*
 * Undoes the escapes up to @until, an unescaped quote or space, and passes over that. Bytes
 * that came out, or -1: no end, not escaped, more than @max.
 */
ssize_t line_unescape(struct line *cursor, char until, char *to, size_t max);
/* The value of a hexadecimal digit, or -1. */
int line_hex_digit(char c);
/* Is the next word the check of the text from @start to before the space in front of it? */
bool line_check_ok(const struct line *cursor, const char *start);

/* Is @text, without "flightrec: ", one that begins a set? Then of which boot. */
bool line_boot(const char *text, char boot_id[33]);
/* Copies up to the end of the line, without a terminal's escape sequences: bytes, at most @len. */
size_t line_plain(const char *from, size_t len, char *to);

#endif
