/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * flightrec: what is left of a channel after a crash, in two forms.
 *
 * 1. Text, printed into the kernel's log on an oops and on a panic
 * -----------------------------------------------------------------
 * Each line can be understood alone, in any order, among other messages:
 *
 *   flightrec: B <version> <boot-id> <set> <reason> <check>
 *   flightrec: G <boot-id8> <channel> <seq> <boot-ns> <wall-ns> <record>... <check>
 *   flightrec: E <boot-id8> <set> <printed> <unpublished> <check>
 *
 * (Each is one line.) B begins a set, E ends it; a boot may have several: an oops
 * prints one, a panic after it another with only what is newer. A panic may cut
 * an oops' set short: then that has no E.
 *
 *   version      FLIGHTREC_CRASH_VERSION
 *   boot-id      32 hexadecimal digits; boot-id8 the first eight of them
 *   set          counts the sets since the driver was loaded, from 1
 *   reason       "oops" or "panic"
 *   seq, boot-ns, wall-ns   of the first record, decimal like all numbers
 *   printed      records in the G lines of this set
 *   unpublished  records whose writers had not finished, and so were skipped
 *   check        8 hexadecimal digits: CRC-32 (IEEE 802.3, as zlib's crc32())
 *                of all bytes from the line's letter to the one before the
 *                space that precedes the check
 *
 * A record is any number of words that each say in what it differs from the record before
 * it in the line, and one with its time and payload, <ns>"<payload>": nanoseconds since
 * that record on the boot clock, negative if this one's number was taken later. If the
 * payload's end was cut, + and the bytes of the whole one follow. Before a line's first
 * record all is 0 and the name is empty. The words, in this order:
 *
 *   +n  numbers that are left out before this one
 *   Sn  severity, 0 to 7
 *   On  origin, FLIGHTREC_ORIGIN_*
 *   Fn  flags, FLIGHTREC_F_*
 *   Pn  pid, and tgid if no Q follows
 *   Qn  tgid
 *   Un  uid, and euid if no V follows
 *   Vn  euid
 *   Cn  cpu
 *   Gn  cgroup
 *   Bn  start_ns
 *   Nt  comm, escaped
 *   Wn  nanoseconds, signed, by which the wall clock moved against the boot clock
 *
 * Earlier drivers, whose version is 1, have one record in each line, complete:
 *
 *   flightrec: R <boot-id8> <channel> <seq> <boot-ns> <wall-ns> <severity>
 *              <origin> <pid> <tgid> <uid> <euid> <cpu> <len> <mark>
 *              <comm> "<payload>" <check>
 *
 *   origin       u (user), k (kernel) or i (kernel, from an interrupt)
 *   len          bytes of the whole payload
 *   mark         "=" if the whole payload follows, "+" if its end was cut
 *   comm         escaped; "-" if empty, and "\x2d" if it is that
 *
 * Escaped: bytes 0x21 to 0x7e stand for themselves, and so does the space in a
 * payload; a backslash is "\\", a double quote "\"", every other byte "\xNN".
 * No line is longer than FLIGHTREC_CRASH_LINE_MAX bytes, no set longer than the
 * driver's parameter crash_kb says, at most FLIGHTREC_CRASH_TEXT_MAX; both count
 * "flightrec: ", and not what the log adds.
 * A check tells damage, not forgery: a program that may write to the kernel's
 * log can write such lines.
 *
 * 2. Blocks, in an image of the machine's memory
 * ----------------------------------------------
 * A channel's records lie in blocks of FLIGHTREC_BLOCK_BYTES, each physically
 * contiguous and aligned to its own size, in any order. A block begins with a
 * struct flightrec_block; records follow it without gaps, up to the offset in
 * @state. Each is a struct flightrec_record from @seq on, with FLIGHTREC_CHECK
 * in place of @reserved, then its payload, zero-padded to a multiple of 8. In blocks of
 * the two older versions the records end with @comm, as their stamps have it.
 *
 * A record is whole if its @seq is not 0 and its check is right. @seq is 0
 * while a record is being written. The check binds the stamp to its place and
 * to the block's lap, so neither a half-written stamp nor what an earlier lap
 * left behind passes for a record. It does not cover the payload: that is
 * complete before @seq is written, and a sum over it would cost each write more
 * than all other stamps together. Where a stamp's check is wrong, nobody knows
 * how long its record is: go on at each following multiple of 8 bytes until one
 * is right.
 *
 * Several blocks may hold numbers of one channel in any order: sort by @seq.
 * Numbers below the largest @clear_seq of a channel were cleared: their payload may
 * still be there, since clearing overwrites nothing.
 *
 * Where the memory is one that a reset left alone, lines of the processor's cache may
 * not have reached it, or be older than those beside them. Blocks there have
 * FLIGHTREC_BLOCK_VERSION_SUMMED, and the check of a record is a sum over all of it:
 * CRC-32C (Castagnoli; 0xffffffff at first, not inverted at the end) of its 64-bit
 * words in order of their addresses, from the one after @seq to the last of the
 * payload with its zeroes, FLIGHTREC_CHECK in place of the check, and then of @seq. The
 * header's first words may be older than the records: go on behind the offset in
 * @state, where what has no right check is nothing.
 *
 * 3. The memory of the boot before, as /proc/flightrec/previous.image
 * -------------------------------------------------------------------
 * A struct flightrec_image in the first FLIGHTREC_IMAGE_HEADER bytes, then blocks side by
 * side, without a gap. Those of zeroes were never used; one that has no right header
 * is damaged.
 *
 * All integers are in the byte order of the machine that crashed.
 */
#ifndef _UAPI_FLIGHTREC_CRASH_H
#define _UAPI_FLIGHTREC_CRASH_H

#include <linux/types.h>

#define FLIGHTREC_CRASH_VERSION		2
#define FLIGHTREC_CRASH_VERSION_LINES	1	/* a record in each line */
#define FLIGHTREC_CRASH_LINE_MAX	900	/* bytes, without the newline */
#define FLIGHTREC_CRASH_TEXT_MIN	1024	/* bytes of a set, newlines counted */
#define FLIGHTREC_CRASH_TEXT_MAX	65536

#define FLIGHTREC_BLOCK_BYTES		16384
#define FLIGHTREC_BLOCK_MAGIC		0x31636572746c4662ULL	/* "bFltrec1" in little endian */
#define FLIGHTREC_BLOCK_VERSION		3
#define FLIGHTREC_BLOCK_VERSION_SUMMED	4
/* The same, of earlier drivers, with stamps of 72 bytes, which end with @comm. */
#define FLIGHTREC_BLOCK_VERSION_72	1
#define FLIGHTREC_BLOCK_VERSION_72_SUMMED 2

#define FLIGHTREC_IMAGE_MAGIC		0x31676d4972746c46ULL	/* "FltrImg1" in little endian */
#define FLIGHTREC_IMAGE_VERSION		1
#define FLIGHTREC_IMAGE_HEADER		4096

/**
 * struct flightrec_block - what each block begins with, 128 bytes
 * @state: lap (40 bits), closed (1 bit), and in the low 23 bits how many
 *	64-bit words of the block are in use, this header counted
 * @committed: the same for what writers have finished, but closed is 0 and the
 *	offset has the low 12 bits, below the number of those records (11 bits);
 *	the offset is less than @state's if a writer was stopped in the middle
 * @clear_seq: numbers below it were cleared; kept in the first block only,
 *	0 in the others
 * @magic: FLIGHTREC_BLOCK_MAGIC
 * @version: FLIGHTREC_BLOCK_VERSION or one of the others
 * @header_size: bytes from here to the first record
 * @block_bytes: FLIGHTREC_BLOCK_BYTES
 * @block: which of the channel's blocks this is, from 0
 * @nblocks: how many it has
 * @boot_id: of the boot that wrote it, as /proc/sys/kernel/random/boot_id has
 *	it, in the order in which it is printed; a random one if the driver was loaded
 *	without a /proc
 * @name: the channel's name, zero-padded
 * @instance: random, the same in all blocks of a channel; tells it from one of
 *	the same name before the driver was loaded again
 * @generation: counts the boots that wrote into this memory, where a reset leaves it
 *	alone; else 0
 * @reserved: 0
 * @reserved2: 0
 * @check: CRC-32, as above, of the bytes from @magic to before this field
 */
struct flightrec_block {
	__u64 state;
	__u64 committed;
	__u64 clear_seq;
	__u64 magic;
	__u16 version;
	__u16 header_size;
	__u32 block_bytes;
	__u32 block;
	__u32 nblocks;
	__u8 boot_id[16];
	char name[32];
	__u64 instance;
	__u64 generation;
	__u64 reserved;
	__u32 reserved2;
	__u32 check;
};

/*
 * The check of a record's stamp: @boot_ns and @len are its own, @off is the
 * record's distance from the start of its block in 64-bit words, @lap is the
 * block's.
 */
#define FLIGHTREC_CHECK(boot_ns, len, off, lap) \
	((__u32)(boot_ns) ^ (__u32)(len) << 19 ^ (__u32)(off) << 8 ^ \
	 (__u32)(lap) * 0x9e3779b1U ^ 0x5a5a5a5aU)

/**
 * struct flightrec_image - what an image of the previous boot begins with, 64 bytes
 * @magic: FLIGHTREC_IMAGE_MAGIC
 * @version: FLIGHTREC_IMAGE_VERSION
 * @block_bytes: FLIGHTREC_BLOCK_BYTES
 * @nblocks: how many blocks follow
 * @address: where in physical memory the first one lies
 * @generation: the greatest of its blocks
 * @boot_id: of the boot that wrote them
 * @reserved: 0
 * @check: CRC-32 of the bytes before this field
 */
struct flightrec_image {
	__u64 magic;
	__u32 version;
	__u32 block_bytes;
	__u64 nblocks;
	__u64 address;
	__u64 generation;
	__u8 boot_id[16];
	__u32 reserved;
	__u32 check;
};

#endif /* _UAPI_FLIGHTREC_CRASH_H */
