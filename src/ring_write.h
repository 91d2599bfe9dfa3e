/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way of a record into the ring, inline: a write(2) of a few dozen bytes
 * costs little more than its system call, so that a call here and a copy
 * there would show. ring.c explains how the ring works and names the
 * barriers.
 *
 *   reserve   room in this writer's open block
 *   (the caller stores the stamp and the payload)
 *   commit    take a number, publish
 *
 * All with interrupts off, or in an NMI. Each store into the ring is a single
 * relaxed access, of whatever width. RING_ and ring_ are the ring's own names, which
 * write.c and the ring's tests know besides; FLIGHTREC_RING_ and flightrec_ring_ are
 * what others use.
 */
#ifndef FLIGHTREC_RING_WRITE_H
#define FLIGHTREC_RING_WRITE_H

#include "ring.h"
#include "sum.h"

#define RING_MASK(bits)			((1ULL << (bits)) - 1)
#define RING_BLOCK_WORDS		(FLIGHTREC_RING_BLOCK_BYTES / sizeof(u64))

/* A block's words that change, as in struct flightrec_block. */
enum {
	RING_BLOCK_STATE,
	RING_BLOCK_COMMITTED,
	RING_BLOCK_CLEAR_SEQ,
	RING_BLOCK_HEADER = sizeof(struct flightrec_block) / sizeof(u64),
};

/* State words: lap, closed, offset. */
#define RING_STATE_OFF_BITS		23
#define RING_STATE_CLOSED		(1ULL << RING_STATE_OFF_BITS)
#define RING_STATE_LAP_SHIFT		(RING_STATE_OFF_BITS + 1)

/* Index entries: tag, lap, block, offset. */
#define RING_ENTRY_OFF_BITS		11
#define RING_ENTRY_BLOCK_BITS		20
#define RING_ENTRY_LAP_BITS		19
#define RING_ENTRY_TAG_BITS		14
#define RING_ENTRY_LAP_SHIFT		(RING_ENTRY_OFF_BITS + RING_ENTRY_BLOCK_BITS)
#define RING_ENTRY_TAG_SHIFT		(RING_ENTRY_LAP_SHIFT + RING_ENTRY_LAP_BITS)

/*
 * What a writer has open: lap (40 bits), block, so that its lower part is that of
 * an entry. 0, nothing yet, is a lap that no block ever has.
 */
#define RING_OPEN_LAP_SHIFT		RING_ENTRY_BLOCK_BITS

#define RING_LAP_MASK			RING_MASK(40)

#define RING_MARK_OPEN			(1ULL << 63)

/* The last number of a block is not known: with its lap, until it is left. */
#define RING_LAST_UNKNOWN		(1ULL << 63)

/* How many records a block has: lap (40 bits), known once it is left, and the count. */
#define RING_COUNT_BITS			23
#define RING_COUNT_LAP_SHIFT		24
#define RING_COUNT_KNOWN		(1ULL << RING_COUNT_BITS)

/* What is committed counts the records as well, in bits that no offset needs. */
#define RING_RECORDS_SHIFT		12
#define RING_RECORDS_MASK		(RING_MASK(RING_STATE_OFF_BITS) & \
					 ~RING_MASK(RING_RECORDS_SHIFT))

/* Blocks in a row of which it is known together what they begin with. */
#define RING_GROUP_BLOCKS		64

/*
 * Laps start shortly before they wrap in an entry, so that what breaks there
 * breaks in the first minute rather than after weeks.
 */
#define RING_FIRST_LAP			(RING_MASK(RING_ENTRY_LAP_BITS) - 2)

/**
 * struct flightrec_place - where a record goes
 * @block: the first word of its block
 * @stamp: the record
 * @own: what this writer has of the ring
 * @open: the block as there
 * @off: the record's distance from @block in words
 * @words: its length, and one record, as RING_BLOCK_COMMITTED counts them
 */
struct flightrec_place {
	u64 *block;
	struct flightrec_stamp *stamp;
	struct flightrec_ring_cpu *own;
	u64 open;
	u64 off;
	u32 words;
};

static __always_inline atomic64_t *ring_block_word(const struct flightrec_ring *ring, u32 block,
						   u32 word)
{
	return (atomic64_t *)&ring->words[block * RING_BLOCK_WORDS + word];
}

static __always_inline atomic64_t *ring_clear_seq(const struct flightrec_ring *ring)
{
	return ring_block_word(ring, 0, RING_BLOCK_CLEAR_SEQ);
}

static inline u64 flightrec_ring_groups(u64 nblocks)
{
	return (nblocks + RING_GROUP_BLOCKS - 1) / RING_GROUP_BLOCKS;
}

static __always_inline u64 ring_make_state(u64 lap, u64 off)
{
	return (lap & RING_LAP_MASK) << RING_STATE_LAP_SHIFT | off;
}

static __always_inline u32 flightrec_record_words(u32 len)
{
	return (sizeof(struct flightrec_stamp) + len + 7) / sizeof(u64);
}

static __always_inline u64 flightrec_ring_tag(const struct flightrec_ring *ring, u64 seq)
{
	/* The mask is for the sanitizer, which else looks at the shift each time. */
	return seq >> (ring->index_shift & 63) << RING_ENTRY_TAG_SHIFT;
}

/* Is the entry for a number before the one with this tag? */
static __always_inline bool flightrec_entry_older(u64 entry, u64 tag)
{
	/* The difference of two tags, as a signed number, is in the top bits. */
	return (s64)(entry - tag) < 0;
}

/* The builtin, because a fortified memcpy() checks each word by itself. */
static __always_inline void flightrec_put_words(u64 *to, const void *from, u64 n)
{
	const ptrdiff_t apart = (const u8 *)from - (u8 *)to;
	u64 *end = to + n;
	u64 word;

#define PUT_WORD(i) do {						\
	__builtin_memcpy(&word, (const u8 *)&to[i] + apart, sizeof(word)); \
	WRITE_ONCE(to[i], word);					\
} while (0)
	/* Unrolled: the compiler leaves loops of single accesses as they are. */
	for (; end - to >= 8; to += 8) {
		PUT_WORD(0);
		PUT_WORD(1);
		PUT_WORD(2);
		PUT_WORD(3);
		PUT_WORD(4);
		PUT_WORD(5);
		PUT_WORD(6);
		PUT_WORD(7);
	}
	for (; to != end; to++)
		PUT_WORD(0);
#undef PUT_WORD
}

/* Reserve room in this writer's open block, if it has one and the record fits. */
static __always_inline bool flightrec_ring_try_reserve(struct flightrec_ring *ring, u32 writer,
					      u32 len, struct flightrec_place *place)
{
	struct flightrec_ring_cpu *own = &ring->cpus[writer];
	u64 open = READ_ONCE(own->open);
	u64 *block = ring->words + (open & RING_MASK(RING_ENTRY_BLOCK_BITS)) * RING_BLOCK_WORDS;
	u64 lap = open >> RING_OPEN_LAP_SHIFT << RING_STATE_LAP_SHIFT;
	atomic64_t *word = (atomic64_t *)&block[RING_BLOCK_STATE];
	s64 state = atomic64_read(word);
	u64 off;

	u32 words = flightrec_record_words(len);

	place->words = words + (1U << RING_RECORDS_SHIFT);
	do {
		/* Of another lap, or closed, it is far beyond the block's end. */
		off = (u64)state - lap;
		if (unlikely(off + words > RING_BLOCK_WORDS))
			return false;
	} while (unlikely(!atomic64_try_cmpxchg(word, &state, state + words)));
	place->block = block;
	place->own = own;
	place->open = open;
	place->off = off;
	place->stamp = (struct flightrec_stamp *)&block[off];
	WRITE_ONCE(place->stamp->seq, 0);
	smp_wmb();	/* E */
	return true;
}

/*
 * Claim another block for this writer; whether that worked shows by the next try
 * to reserve. False if it was tried often enough. ring.c has it.
 */
bool flightrec_ring_claim(struct flightrec_ring *ring, u32 writer, u32 tries);

static __always_inline bool flightrec_ring_reserve(struct flightrec_ring *ring, u32 writer,
						   u32 len, struct flightrec_place *place)
{
	u32 tries = 0;

	while (unlikely(!flightrec_ring_try_reserve(ring, writer, len, place)))
		if (!flightrec_ring_claim(ring, writer, tries++))
			return false;
	return true;
}

static __always_inline u32 flightrec_ring_check(const struct flightrec_place *place,
				       u64 boot_ns, u32 len)
{
	return FLIGHTREC_CHECK(boot_ns, len, place->off, place->open >> RING_OPEN_LAP_SHIFT);
}

/*
 * Let readers find the record, unless a later one has the entry, or may have taken it:
 * one that took a number a whole index later is beyond all readers' horizon anyway.
 * That is looked at after the entry (H): so what is replaced is older for certain,
 * however long a writer was stopped.
 */
static __always_inline void flightrec_ring_publish(struct flightrec_ring *ring, u64 seq,
					  const struct flightrec_place *place)
{
	atomic64_t *word = (atomic64_t *)&ring->index[seq & ring->index_mask];
	u64 tag = flightrec_ring_tag(ring, seq);
	u64 entry = tag | place->off |
		    /* Shifted twice, it needs no mask of 64 bits. */
		    place->open << (64 - RING_ENTRY_BLOCK_BITS - RING_ENTRY_LAP_BITS) >>
			RING_ENTRY_TAG_BITS;
	s64 old;

	do {
		old = atomic64_read_acquire(word);	/* H, pairs with C */
		if (unlikely((u64)atomic64_read(&ring->next_seq) - seq > ring->nindex))
			return;
	} while (unlikely(!atomic64_try_cmpxchg(word, &old, entry)));	/* C, pairs with D */
}

/* Publish the record that has its number, give the room back. */
static __always_inline void flightrec_ring_finish(struct flightrec_ring *ring, u32 len, u64 seq,
						  const struct flightrec_place *place)
{
	smp_store_release(&place->stamp->seq, seq);
	flightrec_ring_publish(ring, seq, place);
	/* F, pairs with G. */
	atomic64_add_return_release(place->words,
				    (atomic64_t *)&place->block[RING_BLOCK_COMMITTED]);
	atomic64_add(len, &place->own->bytes);
}

/*
 * In memory that a reset leaves alone the processor's cache is lost nevertheless, and
 * with it what it had not written to memory: of two lines of 64 bytes one may be of this
 * record, and the other of what was there before. So a record has a sum over all of
 * it there, and its lines are sent to memory as soon as it is published: what a reset
 * takes is what was on its way then. The memory is mapped like any other, cached: atomic
 * operations on memory that is not would lock the bus.
 *
 * Once the number is taken, one step of the sum is left.
 */
static __always_inline u64 flightrec_ring_commit_summed(struct flightrec_ring *ring, u32 len,
							const struct flightrec_place *place)
{
	u32 words = flightrec_record_words(len);
	u32 sum = flightrec_sum(FLIGHTREC_SUM_FIRST, (u64 *)place->stamp + 1, words - 1);
	u64 seq = atomic64_fetch_add(1, &ring->next_seq);

	WRITE_ONCE(place->stamp->check, flightrec_sum_word(sum, seq));
	flightrec_ring_finish(ring, len, seq, place);
	ring_write_back(place->stamp, words * sizeof(u64));
	return seq;
}

/* Take a number, publish, give the room back; returns the number. */
static __always_inline u64 flightrec_ring_commit(struct flightrec_ring *ring, u32 len,
					const struct flightrec_place *place)
{
	u64 seq;

	if (unlikely(ring->summed))
		return flightrec_ring_commit_summed(ring, len, place);
	seq = atomic64_fetch_add(1, &ring->next_seq);
	flightrec_ring_finish(ring, len, seq, place);
	return seq;
}

#endif
