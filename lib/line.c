// SPDX-License-Identifier: LGPL-2.1-or-later
/* A line that the recorder left in a kernel's log, word by word. */
#include "line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

bool line_word(struct line *cursor, char *word, size_t max)
{
	const char *space = memchr(cursor->at, ' ', cursor->end - cursor->at);
	size_t len = space ? (size_t)(space - cursor->at) : 0;

	if (!len || len > max)
		return false;
	memcpy(word, cursor->at, len);
	word[len] = '\0';
	cursor->at = space + 1;
	return true;
}

bool line_number(struct line *cursor, uint64_t max, uint64_t *number)
{
	char word[21];
	char *end;

	if (!line_word(cursor, word, sizeof(word) - 1) || word[0] < '0' || word[0] > '9')
		return false;
	errno = 0;
	*number = strtoull(word, &end, 10);
	return !*end && !errno && *number <= max;
}

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len;
}

bool line_hex(struct line *cursor, char *word, size_t len)
{
	return line_word(cursor, word, len) && strlen(word) == len && is_hex(word, len);
}

int line_hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ssize_t line_unescape(struct line *cursor, char until, char *to, size_t max)
{
	const char *at = cursor->at;
	size_t n = 0;
	int high, low;

	for (; at < cursor->end && *at != until; n++) {
		if (n >= max || (unsigned char)*at < ' ' || (unsigned char)*at > '~')
			return -1;
		if (*at != '\\') {
			to[n] = *at++;
		} else if (cursor->end - at >= 2 && (at[1] == '\\' || at[1] == '"')) {
			to[n] = at[1];
			at += 2;
		} else {
			high = cursor->end - at >= 4 && at[1] == 'x' ? line_hex_digit(at[2]) : -1;
			low = high >= 0 ? line_hex_digit(at[3]) : -1;
			if (low < 0)
				return -1;
			to[n] = high << 4 | low;
			at += 4;
		}
	}
	if (at >= cursor->end)
		return -1;
	cursor->at = at + 1;
	return n;
}

bool line_check_ok(const struct line *cursor, const char *start)
{
	char word[9] = "";
	uint32_t check;

	if (cursor->end - cursor->at < 8)
		return false;
	memcpy(word, cursor->at, 8);
	if (!is_hex(word, 8))
		return false;
	check = crc32(0, (const unsigned char *)start, cursor->at - 1 - start);
	return strtoul(word, NULL, 16) == check;
}

bool line_boot(const char *line, char boot_id[33])
{
	struct line cursor = { line + 2, line + strlen(line) };
	uint64_t number;
	char id[33], reason[9];

	if (strncmp(line, "B ", 2) || !line_number(&cursor, UINT32_MAX, &number) ||
	    !line_hex(&cursor, id, 32) || !line_number(&cursor, UINT64_MAX, &number) ||
	    !line_word(&cursor, reason, 8) || !line_check_ok(&cursor, line))
		return false;
	strcpy(boot_id, id);
	return true;
}

size_t line_plain(const char *from, size_t len, char *to)
{
	size_t i, n = 0;

	for (i = 0; i < len && from[i] && from[i] != '\n' && from[i] != '\r'; i++) {
		if (from[i] != '\033') {
			to[n++] = from[i];
			continue;
		}
		if (i + 1 < len && from[i + 1] == '[')
			for (i += 2; i < len && (unsigned char)from[i] < 0x40 && from[i] >= ' ';)
				i++;
	}
	return n;
}
