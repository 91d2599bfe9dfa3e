// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Images of memory. The input as a file; and as what lies in a block whose
 * header is right, and whose records have right checks, so that the fuzzer gets
 * behind them.
 */
#include "fuzz.h"

#include <linux/flightrec_crash.h>
#include <stddef.h>
#include <zlib.h>

static uint32_t sum(uint32_t crc, const unsigned char *bytes, size_t n)
{
	int bit;

	while (n--)
		for (crc ^= *bytes++, bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	return crc;
}

static size_t stamp_of(int version)
{
	return version >= FLIGHTREC_BLOCK_VERSION ? 88 : 72;
}

static void set_check(unsigned char *block, size_t off, uint64_t lap, int version)
{
	size_t end;
	uint64_t boot_ns;
	uint32_t len, check;

	memcpy(&boot_ns, block + off + 8, sizeof(boot_ns));
	memcpy(&len, block + off + 24, sizeof(len));
	check = FLIGHTREC_CHECK(boot_ns, len, off / 8, lap);
	memcpy(block + off + 52, &check, sizeof(check));
	end = off + stamp_of(version) + (len + 7ULL) / 8 * 8;
	if ((version != FLIGHTREC_BLOCK_VERSION_SUMMED &&
	     version != FLIGHTREC_BLOCK_VERSION_72_SUMMED) ||
	    end > FLIGHTREC_BLOCK_BYTES)
		return;
	check = sum(sum(0xffffffff, block + off + 8, end - off - 8), block + off, 8);
	memcpy(block + off + 52, &check, sizeof(check));
}

static void in_block(const uint8_t *data, size_t size, int version)
{
	static _Alignas(8) unsigned char file[2 * FLIGHTREC_BLOCK_BYTES];
	unsigned char *block = file;
	struct flightrec_block head = {
		.magic = FLIGHTREC_BLOCK_MAGIC, .version = version,
		.header_size = sizeof(head), .block_bytes = FLIGHTREC_BLOCK_BYTES,
		.nblocks = 2, .name = "fuzz",
	};
	size_t off = sizeof(head);
	uint32_t len;

	memset(file, 0, sizeof(file));
	head.check = crc32(0, (unsigned char *)&head.magic,
			   offsetof(struct flightrec_block, check) -
			   offsetof(struct flightrec_block, magic));
	/* State, committed and the number of the first that is not cleared are the input's. */
	memcpy(&head, data, size < 24 ? size : 24);
	memcpy(block, &head, sizeof(head));
	if (size > 24)
		memcpy(block + off, data + 24, size - 24 < FLIGHTREC_BLOCK_BYTES - off ?
		       size - 24 : FLIGHTREC_BLOCK_BYTES - off);
	for (; off + stamp_of(version) <= FLIGHTREC_BLOCK_BYTES;
	     off += stamp_of(version) + (len + 7) / 8 * 8) {
		set_check(block, off, head.state >> 24, version);
		memcpy(&len, block + off + 24, sizeof(len));
		if (len > FLIGHTREC_PAYLOAD_MAX)
			break;
	}
	memcpy(file + FLIGHTREC_BLOCK_BYTES, file, FLIGHTREC_BLOCK_BYTES);
	recover_from(file, sizeof(file));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int version;

	if (!size)	/* then there may be no data either */
		return 0;
	recover_from(data, size);
	for (version = FLIGHTREC_BLOCK_VERSION_72; version <= FLIGHTREC_BLOCK_VERSION_SUMMED;
	     version++)
		in_block(data, size, version);
	return 0;
}
