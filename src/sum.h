/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CRC-32C of whole words, as x86's instruction has it: what a record in memory that a
 * reset leaves alone is checked by. Also compiled in user space.
 */
#ifndef FLIGHTREC_SUM_H
#define FLIGHTREC_SUM_H

#include "ring_port.h"

#if defined(__KERNEL__) && defined(CONFIG_X86_64)
#include <asm/cpufeature.h>
#endif

#define FLIGHTREC_SUM_FIRST	0xffffffffU

/* Four bits at a time: where the processor has no better way, small matters. */
static noinline u32 flightrec_sum_slowly(u32 sum, u64 word)
{
	static const u32 table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	int i;

	for (i = 0; i < 16; i++, word >>= 4)
		sum = sum >> 4 ^ table[(sum ^ word) & 15];
	return sum;
}

#if defined(__KERNEL__) && defined(CONFIG_X86_64)
#define SUM_HAS_INSTRUCTION() cpu_feature_enabled(X86_FEATURE_XMM4_2)
#define SUM_WORD(sum, word) asm("crc32q %1, %0" : "+r" (sum) : "rm" (word))
#else
#define SUM_HAS_INSTRUCTION() false
#define SUM_WORD(sum, word) ((sum) = flightrec_sum_slowly(sum, word))
#endif

static __always_inline u32 flightrec_sum_word(u32 sum, u64 word)
{
	u64 crc = sum;

	if (!SUM_HAS_INSTRUCTION())
		return flightrec_sum_slowly(sum, word);
	SUM_WORD(crc, word);
	return crc;
}

static __always_inline u32 flightrec_sum(u32 sum, const u64 *words, u32 n)
{
	u64 crc = sum;
	u32 at;

	if (!SUM_HAS_INSTRUCTION()) {
		for (at = 0; at < n; at++)
			crc = flightrec_sum_slowly(crc, READ_ONCE(words[at]));
		return crc;
	}
	for (; n >= 8; n -= 8, words += 8) {
		SUM_WORD(crc, words[0]);
		SUM_WORD(crc, words[1]);
		SUM_WORD(crc, words[2]);
		SUM_WORD(crc, words[3]);
		SUM_WORD(crc, words[4]);
		SUM_WORD(crc, words[5]);
		SUM_WORD(crc, words[6]);
		SUM_WORD(crc, words[7]);
	}
	for (; n; n--, words++)
		SUM_WORD(crc, *words);
	return crc;
}

#undef SUM_WORD
#undef SUM_HAS_INSTRUCTION

#endif
