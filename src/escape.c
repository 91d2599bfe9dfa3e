// SPDX-License-Identifier: GPL-2.0-only
/* Escapes control characters and what is not UTF-8. */
#include "escape.h"

static bool continues(u8 byte)
{
	return (byte & 0xc0) == 0x80;
}

/*
 * Length of the UTF-8 sequence at @s, 0 if it is none: too short, overlong,
 * a surrogate, or past U+10FFFF.
 */
static size_t utf8_len(const u8 *s, size_t len)
{
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (len < n)
		return 0;
	for (i = 1; i < n; i++)
		if (!continues(s[i]))
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static bool printable(const u8 *s, size_t n, bool space)
{
	if (n == 1)
		return s[0] > ' ' ? s[0] != 0x7f && s[0] != '\\' :
				    s[0] == ' ' && !space;
	/* C1 is U+0080 to U+009F. */
	return !(n == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

size_t flightrec_escape(char *dst, size_t room, const u8 *src, size_t len,
			bool space, size_t *used)
{
	static const char hex[] = "0123456789abcdef";
	size_t out = 0;
	size_t in = 0;
	size_t n;

	while (in < len && room - out >= FLIGHTREC_ESCAPE_MIN) {
		n = utf8_len(src + in, len - in);
		if (n && printable(src + in, n, space)) {
			memcpy(dst + out, src + in, n);
			out += n;
			in += n;
			continue;
		}
		/* The rest of a C1 sequence is then no UTF-8, so escaped too. */
		dst[out++] = '\\';
		dst[out++] = 'x';
		dst[out++] = hex[src[in] >> 4];
		dst[out++] = hex[src[in] & 15];
		in++;
	}
	*used = in;
	return out;
}
