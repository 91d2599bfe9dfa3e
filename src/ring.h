/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring of variable-sized records: one writer at a time, any number of
 * readers, oldest records overwritten. See ring.c for how it works.
 *
 * Who may run beside whom:
 *
 *                 append, clear       read, snapshot
 *   append, clear caller's lock       no lock needed
 *   read          no lock needed      no lock needed (a cursor each)
 *
 * Nothing here sleeps or allocates. append and clear finish in a number of
 * steps bounded by the records they drop; they may be called in any context
 * in which the caller can take its lock. read and snapshot retry while
 * writers overtake them, so a crash handler must not call them.
 */
#ifndef FLIGHTREC_RING_H
#define FLIGHTREC_RING_H

#include "ring_port.h"

/* Bytes of payload in a record at most. */
#define FLIGHTREC_RING_PAYLOAD_MAX 4096

/**
 * struct flightrec_stamp - what is stored before each payload
 *
 * The fields of the ABI's struct flightrec_record from @seq on, in the same
 * layout: chardev.c asserts it. Nine 64-bit words, no padding.
 */
struct flightrec_stamp {
	u64 seq;
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

/* Bytes that one record of @len payload bytes takes in a ring. */
static inline u64 flightrec_ring_record_bytes(u32 len)
{
	return sizeof(struct flightrec_stamp) + ((u64)(len + 7) & ~7ULL);
}

/**
 * struct flightrec_ring - a ring over memory that the caller owns
 *
 * Private to ring.c, but for its size. Positions count words from an
 * arbitrary start and only grow.
 */
struct flightrec_ring {
	u64 *words;		/* the records */
	u64 nwords;		/* how many words @words has */
	u64 gen;		/* odd while head, tail and their numbers change */
	u64 head;		/* position after the newest record */
	u64 tail;		/* position of the oldest record */
	u64 next_seq;		/* number of the next record */
	u64 tail_seq;		/* number of the oldest record */
	u64 head_off;		/* head modulo nwords; writer only */
	u64 tail_off;		/* tail modulo nwords; writer only */
};

/**
 * struct flightrec_cursor - where one reader is
 * @pos: position of the next record
 * @off: @pos modulo the ring's words
 * @seq: number that the next record has if none is lost
 */
struct flightrec_cursor {
	u64 pos;
	u64 off;
	u64 seq;
};

/**
 * struct flightrec_snapshot - both ends of a ring at one moment
 */
struct flightrec_snapshot {
	struct flightrec_cursor oldest;
	struct flightrec_cursor end;
};

/**
 * flightrec_ring_init - make an empty ring
 * @words: memory of @bytes, aligned to 8; stays the caller's
 * @bytes: a multiple of 8, large enough for one record of
 *	FLIGHTREC_RING_PAYLOAD_MAX
 *
 * Return: 0, or -EINVAL if @bytes does not fit the above.
 */
int flightrec_ring_init(struct flightrec_ring *ring, u64 *words, u64 bytes);

/**
 * flightrec_ring_append - add a record, overwriting the oldest as needed
 * @stamp: filled in but for @seq, which is set here
 * @payload: @stamp->len bytes, at most FLIGHTREC_RING_PAYLOAD_MAX
 *
 * The caller holds the lock that serialises append and clear.
 */
void flightrec_ring_append(struct flightrec_ring *ring,
			   struct flightrec_stamp *stamp, const void *payload);

/**
 * flightrec_ring_clear - drop all records
 *
 * The caller holds the lock that serialises append and clear.
 */
void flightrec_ring_clear(struct flightrec_ring *ring);

/* flightrec_ring_snapshot - where the oldest record is, and the end */
void flightrec_ring_snapshot(const struct flightrec_ring *ring,
			     struct flightrec_snapshot *snap);

/**
 * flightrec_ring_read - copy the next record out
 * @cursor: moved past the record; on -EAGAIN only past what is gone
 * @stamp: the record's stamp
 * @payload: room for FLIGHTREC_RING_PAYLOAD_MAX bytes, or NULL to skip it
 * @lost: records that this reader should have got before this one
 *
 * Return: 0, or -EAGAIN if there is no record.
 */
int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost);

/* flightrec_ring_readable - is there a record for this cursor? */
bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor);

#endif
