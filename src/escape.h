/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Text of unknown origin, made safe for a terminal and a log. Also compiled
 * in user space.
 */
#ifndef FLIGHTREC_ESCAPE_H
#define FLIGHTREC_ESCAPE_H

#include "ring_port.h"

/* The longest output for one unit of input: a UTF-8 sequence of 4 bytes. */
#define FLIGHTREC_ESCAPE_MIN 4

/**
 * flightrec_escape - copy text so that it stays on its line and harmless
 * @dst: output, not terminated
 * @room: bytes of @dst, at least FLIGHTREC_ESCAPE_MIN
 * @src: any bytes
 * @len: bytes of @src
 * @space: escape the space, too, for a field that ends at one
 * @used: bytes of @src consumed; fewer than @len when @dst is full
 *
 * Valid UTF-8 is kept. Control characters (C0, DEL, C1), bytes that are not
 * UTF-8 and the backslash come out as \xHH, each byte by itself.
 *
 * Return: bytes in @dst.
 */
size_t flightrec_escape(char *dst, size_t room, const u8 *src, size_t len,
			bool space, size_t *used);

#endif
