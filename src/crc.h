/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The check of what is left after a crash. Bit by bit and without a table: it
 * runs once for each block and each line of crash text. The kernel's own
 * crc32 would need CRC32 in its configuration. Also compiled in user space.
 */
#ifndef FLIGHTREC_CRC_H
#define FLIGHTREC_CRC_H

#include "ring_port.h"

/* CRC-32 of IEEE 802.3, as zlib's crc32(). */
static inline u32 flightrec_crc32(const void *data, size_t len)
{
	const u8 *bytes = data;
	u32 crc = ~0U;
	int bit;

	while (len--) {
		crc ^= *bytes++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
	}
	return ~crc;
}

#endif
