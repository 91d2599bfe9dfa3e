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
#include "uapi/flightrec_crash.h"

/* Bytes of payload in a record at most. */
#define FLIGHTREC_RING_PAYLOAD_MAX 4096

/* Memory is claimed in blocks of this size; a record lies within one. */
#define FLIGHTREC_RING_BLOCK_BYTES FLIGHTREC_BLOCK_BYTES

/*
 * Records of this severity and more urgent ones have blocks of their own, which no others
 * displace: one in so many, where the ring is large enough, and at most so many and two for
 * each CPU; all, as long as there are no others. A claimer may have to pass over all of them
 * in turn, hence the limit.
 */
#define FLIGHTREC_RING_KEPT_SEVERITY	3
#define FLIGHTREC_RING_KEPT_PART	4
#define FLIGHTREC_RING_KEPT_MAX		512

/**
 * struct flightrec_stamp - what is stored before each payload
 *
 * The fields of the ABI's struct flightrec_record from @seq on, in the same
 * layout: read.c asserts it. Eleven 64-bit words, no padding.
 */
struct flightrec_stamp {
	/* private: described there */
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
	u32 check;	/* FLIGHTREC_CHECK() in the ring, 0 outside */
	char comm[16];
	u64 cgroup;
	u64 start_ns;
};

#define FLIGHTREC_STAMP_WORDS (sizeof(struct flightrec_stamp) / sizeof(u64))

/*
 * What a writer has: a CPU is one, and another one when it writes what is kept. Only this
 * CPU uses it. A cache line of its own.
 */
struct flightrec_ring_cpu {
	u64 open;		/* the open block, see ring_write.h */
	atomic64_t bytes;	/* payload that it has written */
} __attribute__((aligned(64)));

/**
 * struct flightrec_ring - a ring over memory that the caller owns
 *
 * Private to ring.c and ring_write.h, but for its size.
 */
struct flightrec_ring {
	/* private: constant from init on */
	u64 *words;			/* the blocks */
	u64 *index;			/* where the record of each number is */
	atomic64_t *marks;		/* how fresh each block is, see ring.c */
	u64 *first;			/* no number in each block is before this */
	atomic64_t *last;		/* nor after this one, once it is left */
	atomic64_t *count;		/* nor are there other than so many, then */
	u64 *group_first;		/* the least of @first in each group of blocks */
	atomic64_t *kept;		/* the blocks of urgent records, see ring.c */
	u64 *is_kept;			/* of each block: is it one of @kept? */
	struct flightrec_ring_cpu *cpus;
	u64 nindex;			/* entries of @index, a power of two */
	u64 index_mask;			/* one less */
	u32 index_shift;		/* its logarithm */
	u32 nblocks;
	u32 ncpus;
	u32 fresh;			/* claims for which a full block is */
	u32 nkept;			/* places in @kept, 0 if the ring is too small */
	u32 kept_fresh;			/* as @fresh, among those */
	u32 kept_writers;		/* how far those of urgent records are in @cpus */
	bool summed;			/* records have a sum, see ring_write.h */

	/* Written by every append and every claim of a block. */
	atomic64_t next_seq __attribute__((aligned(64)));
	atomic64_t next_claim __attribute__((aligned(64)));
	atomic64_t next_kept;
	atomic64_t shares;		/* not before a record came that is not urgent */
};

/**
 * struct flightrec_ring_setup - what a ring is made of
 * @blocks: @nblocks * FLIGHTREC_RING_BLOCK_BYTES of zeroes, aligned to 8
 * @index: flightrec_ring_index_bytes(), aligned to 8, with any content
 * @cpus: an array of 2 * @ncpus zeroed elements
 * @nblocks: at least two more than @ncpus
 * @ncpus: CPUs that may append
 * @name: for readers of a memory image that find the blocks, as are:
 * @boot_id: 16 bytes
 * @instance: a random number
 * @generation: if not 0, the memory is one that a reset leaves alone, and records get a
 *	sum: counts its boots
 *
 * The memory stays the caller's, the name and the boot id are copied.
 */
struct flightrec_ring_setup {
	u64 *blocks;
	u64 *index;
	struct flightrec_ring_cpu *cpus;
	u32 nblocks;
	u32 ncpus;
	const char *name;
	const u8 *boot_id;
	u64 instance;
	u64 generation;
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

/* Bytes of so many blocks with their index. */
u64 flightrec_ring_bytes_of(u64 nblocks);

/* The most blocks that fit into @bytes together with their index. */
u64 flightrec_ring_blocks_in(u64 bytes);

/* Bytes of the index of so many blocks, and of what is known of each. */
u64 flightrec_ring_index_bytes(u64 nblocks);

/**
 * flightrec_ring_init - make an empty ring
 * @ring: overwritten
 * @setup: what it is made of; not needed afterwards
 *
 * Return: 0, or -EINVAL if there are too few blocks, or too many to be numbered.
 */
int flightrec_ring_init(struct flightrec_ring *ring,
			const struct flightrec_ring_setup *setup);

/**
 * flightrec_ring_writer - by which writer a record is written
 * @ring: the ring
 * @cpu: the CPU that this runs on
 * @severity: the record's
 *
 * Return: the writer, a number below that of all writers of @ring.
 */
static inline u32 flightrec_ring_writer(const struct flightrec_ring *ring, u32 cpu, u8 severity)
{
	return severity <= FLIGHTREC_RING_KEPT_SEVERITY ? cpu + ring->kept_writers : cpu;
}

/**
 * flightrec_ring_append - add a record, overwriting the oldest as needed
 * @ring: the ring
 * @writer: flightrec_ring_writer() of the CPU that this runs on; interrupts are off
 * @stamp: filled in but for @seq, which is set here
 * @payload: @stamp->len bytes, at most FLIGHTREC_RING_PAYLOAD_MAX
 *
 * Return: 0, or -ENOBUFS if no block could be had: writers that stopped in
 * the middle hold too many of them. Then nothing is recorded, no number taken.
 */
int flightrec_ring_append(struct flightrec_ring *ring, u32 writer,
			  struct flightrec_stamp *stamp, const void *payload);

/* flightrec_ring_clear - drop all records; returns how many there were */
u64 flightrec_ring_clear(struct flightrec_ring *ring);

/* flightrec_ring_next - the number that the next record will get */
u64 flightrec_ring_next(const struct flightrec_ring *ring);

/**
 * flightrec_ring_oldest - find the oldest record
 * @ring: the ring
 * @retained: if not NULL, how many records there are: a sum over what is known of
 *	blocks, a tenth of a millisecond for each GiB
 *
 * Without @retained a few groups of blocks are looked at: microseconds, whatever
 * the size.
 *
 * Return: its number, or the next one if there is none. A number that is taken and
 * not yet published counts as one that is there.
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
 * @ring: the ring
 * @cursor: moved past the record; on -EAGAIN only past what is gone
 * @stamp: the record's stamp
 * @payload: room for FLIGHTREC_RING_PAYLOAD_MAX bytes, or NULL to skip it
 * @lost: records that this reader should have got before this one
 *
 * What is gone is passed over in at most as many steps as there are blocks, and a
 * few; more only while a writer is stopped in the middle of a record.
 *
 * Return: 0, -EAGAIN if the next number is not taken or not yet published, or
 * -EINTR if the calling task is to die.
 */
int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost);

/**
 * flightrec_ring_read_words - copy the next record out as it lies in the ring
 * @ring: the ring
 * @cursor: moved past the record; on an error only past what is gone
 * @to: the record's stamp, then its payload, zero-padded to whole words
 * @room: how many words fit
 * @lost: records that this reader should have got before this one
 *
 * Return: how many words were copied, -EAGAIN and -EINTR as
 * flightrec_ring_read(), or -EMSGSIZE if the record has more than @room.
 */
int flightrec_ring_read_words(const struct flightrec_ring *ring,
			      struct flightrec_cursor *cursor, u64 *to,
			      u64 room, u64 *lost);

/**
 * flightrec_ring_fetch - copy the record of a given number out
 * @ring: the ring
 * @seq: its number
 * @stamp: the record's stamp
 * @payload: gets the first bytes of the payload, up to @room
 * @room: bytes of @payload
 *
 * Only as far back as the index reaches: what is kept for longer is found by
 * flightrec_ring_read() alone.
 *
 * For what is printed after a crash: any context, with any CPU stopped
 * anywhere; takes a bounded number of steps.
 *
 * Return: 0, -ENOENT if the record is gone, or -EAGAIN if its number is not
 * taken or not yet published.
 */
int flightrec_ring_fetch(const struct flightrec_ring *ring, u64 seq,
			 struct flightrec_stamp *stamp, void *payload, u32 room);

/* flightrec_ring_readable - is there something to read at this cursor? */
bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor);

#endif
