/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring of variable-sized records: any number of writers and readers, none
 * waits for another, the oldest records are overwritten. See ring.c for how it
 * works.
 *
 * Who may run beside whom:
 *
 *             append on another CPU  append on this CPU  clear     read, oldest
 *   append    no lock needed         from an NMI only    no lock   no lock
 *   clear     no lock needed         no lock needed      no lock   no lock
 *   read      no lock needed         no lock needed      no lock   a cursor each
 *
 * append is called with interrupts off, or from an NMI, and finishes in a
 * bounded number of steps whatever other CPUs do. Readers run in tasks and may
 * be preempted; they write nothing that others read. Nothing here allocates.
 */
#ifndef FLIGHTREC_RING_H
#define FLIGHTREC_RING_H

#include "ring_port.h"

/* Bytes of payload in a record at most. */
#define FLIGHTREC_RING_PAYLOAD_MAX 4096

/* Memory is claimed in blocks of this size; a record lies within one. */
#define FLIGHTREC_RING_BLOCK_BYTES 16384

/**
 * struct flightrec_stamp - what is stored before each payload
 *
 * The fields of the ABI's struct flightrec_record from @seq on, in the same
 * layout: chardev.c asserts it. Nine 64-bit words, no padding.
 */
struct flightrec_stamp {
	u64 seq;	/* 0 until the record is whole */
	u64 boot_ns;
	u64 wall_ns;
	u32 len;
	u8 severity;
	u8 origin;
	u16 flags;
	u32 pid;
	u32 tgid;
	u32 uid;
	u32 euid;
	u32 cpu;
	u32 reserved;
	char comm[16];
};

#define FLIGHTREC_STAMP_WORDS (sizeof(struct flightrec_stamp) / sizeof(u64))

/* What a CPU writes to; only this CPU does. A cache line of its own. */
struct flightrec_ring_cpu {
	u64 open;		/* lap and number of its open block */
	atomic64_t bytes;	/* payload that it has written */
} __attribute__((aligned(64)));

/**
 * struct flightrec_ring - a ring over memory that the caller owns
 *
 * Private to ring.c, but for its size.
 */
struct flightrec_ring {
	/* Constant from init on. */
	u64 *words;			/* the blocks */
	u64 *index;			/* where the record of each number is */
	struct flightrec_ring_cpu *cpus;
	u32 nblocks;
	u32 ncpus;
	u64 nindex;			/* entries of @index, a power of two */
	u32 index_shift;		/* its logarithm */

	/* Written by every append and every claim of a block. */
	atomic64_t next_seq __attribute__((aligned(64)));
	atomic64_t next_claim __attribute__((aligned(64)));
	atomic64_t clear_seq;		/* records before it are dropped */
};

/**
 * struct flightrec_cursor - where one reader is
 * @seq: number to look at next
 * @from: number that the next record has if none is lost
 */
struct flightrec_cursor {
	u64 seq;
	u64 from;
};

/* The smallest ring: a block for each CPU and two more, with their index. */
u64 flightrec_ring_min_bytes(u32 ncpus);

/* The largest ring that can be numbered, 20 GiB. */
u64 flightrec_ring_max_bytes(void);

/**
 * flightrec_ring_init - make an empty ring
 * @memory: @bytes of zeroes, aligned to 8; stays the caller's
 * @bytes: at least flightrec_ring_min_bytes()
 * @cpus: an array of @ncpus zeroed elements; stays the caller's
 * @ncpus: CPUs that may append
 *
 * Return: 0, or -EINVAL if @bytes is too small, or too large to be numbered.
 */
int flightrec_ring_init(struct flightrec_ring *ring, u64 *memory, u64 bytes,
			struct flightrec_ring_cpu *cpus, u32 ncpus);

/**
 * flightrec_ring_append - add a record, overwriting the oldest as needed
 * @cpu: the CPU that this runs on; interrupts are off
 * @stamp: filled in but for @seq, which is set here
 * @payload: @stamp->len bytes, at most FLIGHTREC_RING_PAYLOAD_MAX
 *
 * Return: 0, or -ENOBUFS if no block could be had: writers that stopped in
 * the middle hold too many of them. Then nothing is recorded, no number taken.
 */
int flightrec_ring_append(struct flightrec_ring *ring, u32 cpu,
			  struct flightrec_stamp *stamp, const void *payload);

/* flightrec_ring_clear - drop all records; returns how many there were */
u64 flightrec_ring_clear(struct flightrec_ring *ring);

/* flightrec_ring_next - the number that the next record will get */
u64 flightrec_ring_next(const struct flightrec_ring *ring);

/**
 * flightrec_ring_oldest - the number of the oldest record, or the next one
 * @retained: if not NULL, how many records there are
 */
u64 flightrec_ring_oldest(const struct flightrec_ring *ring, u64 *retained);

/* Payload bytes of all records so far. */
u64 flightrec_ring_bytes(const struct flightrec_ring *ring);

static inline struct flightrec_cursor flightrec_cursor_at(u64 seq)
{
	return (struct flightrec_cursor) { .seq = seq, .from = seq };
}

/**
 * flightrec_ring_read - copy the next record out
 * @cursor: moved past the record; on -EAGAIN only past what is gone
 * @stamp: the record's stamp
 * @payload: room for FLIGHTREC_RING_PAYLOAD_MAX bytes, or NULL to skip it
 * @lost: records that this reader should have got before this one
 *
 * Return: 0, or -EAGAIN if the next number is not taken or not yet published.
 */
int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost);

/**
 * flightrec_ring_fetch - copy the record of a given number out
 * @seq: its number
 * @stamp: the record's stamp
 * @payload: room for FLIGHTREC_RING_PAYLOAD_MAX bytes
 *
 * For what is printed after a crash: any context, with any CPU stopped
 * anywhere; takes a bounded number of steps.
 *
 * Return: 0, -ENOENT if the record is gone, or -EAGAIN if its number is not
 * taken or not yet published.
 */
int flightrec_ring_fetch(const struct flightrec_ring *ring, u64 seq,
			 struct flightrec_stamp *stamp, void *payload);

/* flightrec_ring_readable - is there something to read at this cursor? */
bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor);

#endif
