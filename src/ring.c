// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: the ring
 *
 * Memory is an array of 64-bit words. A record is a stamp of nine words and
 * its payload, padded with zero bytes to whole words; it may wrap around the
 * end of the array. Positions count words and only grow; the records between
 * tail and head are retained. Numbers are dense, so what a reader lost is
 * the difference of two numbers and needs no bookkeeping per reader.
 *
 * append makes room by moving tail over the oldest records, writes the words
 * and then moves head. A reader copies a record out and afterwards looks
 * whether tail has passed it: if so, what it copied may be torn, and it
 * starts again at the new tail. Readers write nothing that others read.
 *
 * Barriers:
 *
 *   writer                              reader
 *   A  tail, then words (smp_wmb)       words, then tail (smp_rmb)       B
 *   C  words, then head (release)       head (acquire), then words       D
 *   E  gen odd, then ends (smp_wmb)     ends, then gen (smp_rmb)         F
 *   G  ends, then gen even (release)    gen (acquire), then ends         H
 *
 * A/B: whoever sees an overwritten word sees the tail that gave it up.
 * C/D: whoever sees a head sees all words before it.
 * E/F, G/H: positions and numbers are read as pairs; gen is a sequence
 * count. Each load and store of shared words is a single relaxed access, so
 * a race has a defined outcome, which is then thrown away.
 */
#include "ring.h"

/*
 * Positions start shortly before 2^32, so that code which cuts one to 32
 * bits fails within the first laps rather than after months.
 */
#define START_NEAR 0xffffffffULL

int flightrec_ring_init(struct flightrec_ring *ring, u64 *words, u64 bytes)
{
	u64 start;

	if (bytes % sizeof(u64) ||
	    bytes < flightrec_ring_record_bytes(FLIGHTREC_RING_PAYLOAD_MAX))
		return -EINVAL;
	memset(ring, 0, sizeof(*ring));
	ring->words = words;
	ring->nwords = bytes / sizeof(u64);
	start = START_NEAR - ring_mod(START_NEAR, ring->nwords);
	ring->head = start;
	ring->tail = start;
	ring->next_seq = 1;
	ring->tail_seq = 1;
	return 0;
}

static u64 record_words(u32 len)
{
	return flightrec_ring_record_bytes(len) / sizeof(u64);
}

static u64 advance(const struct flightrec_ring *ring, u64 off, u64 n)
{
	off += n;
	return off < ring->nwords ? off : off - ring->nwords;
}

/* Store @n words at @off; returns the offset after them. */
static u64 put_words(struct flightrec_ring *ring, u64 off, const void *from,
		     u64 n)
{
	const u8 *src = from;
	u64 word;
	u64 i;

	for (i = 0; i < n; i++) {
		memcpy(&word, src + i * sizeof(word), sizeof(word));
		WRITE_ONCE(ring->words[off], word);
		if (++off == ring->nwords)
			off = 0;
	}
	return off;
}

static u64 get_words(const struct flightrec_ring *ring, u64 off, void *to,
		     u64 n)
{
	u8 *dst = to;
	u64 word;
	u64 i;

	for (i = 0; i < n; i++) {
		word = READ_ONCE(ring->words[off]);
		memcpy(dst + i * sizeof(word), &word, sizeof(word));
		if (++off == ring->nwords)
			off = 0;
	}
	return off;
}

static void put_payload(struct flightrec_ring *ring, u64 off,
			const void *payload, u32 len)
{
	u64 last = 0;

	off = put_words(ring, off, payload, len / sizeof(u64));
	if (len % sizeof(u64)) {
		memcpy(&last, (const u8 *)payload + (len & ~7U),
		       len % sizeof(u64));
		put_words(ring, off, &last, 1);
	}
}

static void get_payload(const struct flightrec_ring *ring, u64 off,
			void *payload, u32 len)
{
	u64 last;

	off = get_words(ring, off, payload, len / sizeof(u64));
	if (len % sizeof(u64)) {
		get_words(ring, off, &last, 1);
		memcpy((u8 *)payload + (len & ~7U), &last, len % sizeof(u64));
	}
}

/* Between these two, head, tail and their numbers may disagree. */
static void ends_begin(struct flightrec_ring *ring)
{
	WRITE_ONCE(ring->gen, ring->gen + 1);
	smp_wmb();	/* E, pairs with F */
}

static void ends_end(struct flightrec_ring *ring)
{
	smp_store_release(&ring->gen, ring->gen + 1);	/* G, pairs with H */
}

/* Give up the oldest records until @need words are free. */
static void make_room(struct flightrec_ring *ring, u64 need)
{
	struct flightrec_stamp oldest;
	u64 tail = ring->tail;
	u64 seq = ring->tail_seq;
	u64 n;

	while (ring->head + need - tail > ring->nwords) {
		get_words(ring, ring->tail_off, &oldest, FLIGHTREC_STAMP_WORDS);
		n = record_words(oldest.len);
		ring->tail_off = advance(ring, ring->tail_off, n);
		tail += n;
		seq++;
	}
	WRITE_ONCE(ring->tail, tail);
	WRITE_ONCE(ring->tail_seq, seq);
	smp_wmb();	/* A, pairs with B */
}

void flightrec_ring_append(struct flightrec_ring *ring,
			   struct flightrec_stamp *stamp, const void *payload)
{
	u64 need = record_words(stamp->len);
	u64 off;

	stamp->seq = ring->next_seq;
	ends_begin(ring);
	make_room(ring, need);
	off = put_words(ring, ring->head_off, stamp, FLIGHTREC_STAMP_WORDS);
	put_payload(ring, off, payload, stamp->len);
	ring->head_off = advance(ring, ring->head_off, need);
	WRITE_ONCE(ring->next_seq, stamp->seq + 1);
	smp_store_release(&ring->head, ring->head + need); /* C, pairs with D */
	ends_end(ring);
}

void flightrec_ring_clear(struct flightrec_ring *ring)
{
	ends_begin(ring);
	WRITE_ONCE(ring->tail, ring->head);
	WRITE_ONCE(ring->tail_seq, ring->next_seq);
	ring->tail_off = ring->head_off;
	ends_end(ring);
}

void flightrec_ring_snapshot(const struct flightrec_ring *ring,
			     struct flightrec_snapshot *snap)
{
	u64 gen;

	for (;;) {
		gen = smp_load_acquire(&ring->gen);	/* H, pairs with G */
		snap->oldest.pos = READ_ONCE(ring->tail);
		snap->oldest.seq = READ_ONCE(ring->tail_seq);
		snap->end.pos = READ_ONCE(ring->head);
		snap->end.seq = READ_ONCE(ring->next_seq);
		smp_rmb();	/* F, pairs with E */
		if (!(gen & 1) && READ_ONCE(ring->gen) == gen)
			break;
		cpu_relax();
	}
	snap->oldest.off = ring_mod(snap->oldest.pos, ring->nwords);
	snap->end.off = ring_mod(snap->end.pos, ring->nwords);
}

/* Move a cursor that was overtaken to the oldest record. */
static void catch_up(const struct flightrec_ring *ring,
		     struct flightrec_cursor *cursor)
{
	u64 tail = smp_load_acquire(&ring->tail);

	if (cursor->pos >= tail)
		return;
	cursor->pos = tail;
	cursor->off = ring_mod(tail, ring->nwords);
}

int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost)
{
	u64 off, n;

	for (;;) {
		catch_up(ring, cursor);
		if (smp_load_acquire(&ring->head) == cursor->pos) /* D, pairs with C */
			return -EAGAIN;
		off = get_words(ring, cursor->off, stamp, FLIGHTREC_STAMP_WORDS);
		/* A torn stamp may hold any length: bound it before use. */
		if (payload && stamp->len <= FLIGHTREC_RING_PAYLOAD_MAX)
			get_payload(ring, off, payload, stamp->len);
		smp_rmb();	/* B, pairs with A */
		if (READ_ONCE(ring->tail) <= cursor->pos)
			break;
		cpu_relax();
	}
	n = record_words(stamp->len);
	*lost = stamp->seq - cursor->seq;
	cursor->pos += n;
	cursor->off = advance(ring, cursor->off, n);
	cursor->seq = stamp->seq + 1;
	return 0;
}

bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor)
{
	u64 tail = smp_load_acquire(&ring->tail);
	u64 pos = READ_ONCE(cursor->pos);

	return smp_load_acquire(&ring->head) != (pos > tail ? pos : tail);
}
