/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UTF-8, whatever the locale says: records are bytes of any program.
 */
#ifndef TOOLS_UTF8_H
#define TOOLS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The character at @text and its bytes, 1 to 4; 0 if there is none. @len is not 0. */
static inline size_t utf8_get(const char *text, size_t len, uint32_t *character)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 :
		   s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
	size_t i;

	if (!n || n > len)
		return 0;
	*character = n == 1 ? s[0] : s[0] & (0x7f >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*character = *character << 6 | (s[i] & 0x3f);
	}
	/* In more bytes than it needs, half of a pair of UTF-16, or past the last one. */
	if ((n == 3 && *character < 0x800) || (n == 4 && *character < 0x10000) ||
	    (*character >= 0xd800 && *character <= 0xdfff) || *character > 0x10ffff)
		return 0;
	return n;
}

/* Is all of it UTF-8, with no zero byte? */
static inline bool utf8_valid(const char *text, size_t len)
{
	uint32_t character;
	uint64_t word;
	size_t n;

	for (; len; text += n, len -= n) {
		/* Mostly ASCII: eight bytes at once, none of which is 0 or has its high bit. */
		while (len >= sizeof(word)) {
			memcpy(&word, text, sizeof(word));
			if ((word | (word - 0x0101010101010101)) & 0x8080808080808080)
				break;
			text += sizeof(word);
			len -= sizeof(word);
		}
		if (!len)
			break;
		n = utf8_get(text, len, &character);
		if (!n || !character)
			return false;
	}
	return true;
}

#endif
