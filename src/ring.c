// SPDX-License-Identifier: GPL-2.0-only
/*
 * DOC: the ring
 *
 * Memory is a pool of blocks. A CPU writes into its open block until a record
 * does not fit, and then claims the block that was claimed longest ago: so
 * the newest records are kept whichever CPU wrote them, and CPUs share
 * nothing but the counter of claims, once per block, and the counter of
 * records.
 *
 * A record is a stamp of nine words and its payload, padded to whole words.
 * It is copied first and numbered last: numbers are dense, because after that
 * nothing can fail, and a record that was written before another was begun
 * has the smaller number. The index, a ring of its own, says for each number
 * where its record is.
 *
 * A block's state is one word:
 *
 *   lap (40 bits) | closed (1) | offset of the free space in words (23)
 *
 * Laps count how often the block was claimed. Reserving is a compare and
 * exchange of this word, so it fails once the block is closed or claimed. A
 * second word counts what is committed in the same form. Whoever claims a
 * block closes it first, since its CPU may be idle and have it open. If more
 * is reserved than committed, somebody was stopped in the middle: the block
 * is left to him, and the next one is tried. There are two blocks more than
 * CPUs, so there is one to be had.
 *
 * An entry of the index is one word:
 *
 *   tag (14 bits) | lap (19) | block (20) | offset (11)
 *
 * The tag tells numbers apart that share an entry; the lap, whether the block
 * still holds that record. A reader looks at the entry, copies the record,
 * and looks at the block's lap again: if it has changed, what was copied may
 * be torn and is counted as lost. To be deceived, he would have to be stopped
 * in between while the whole ring is overwritten 2^19 times, and to find the
 * same number afterwards.
 *
 * Barriers:
 *
 *   writer                                reader
 *   A  lap, then words (cmpxchg)          words, then lap (smp_rmb)         B
 *   C  words, then entry (cmpxchg)        entry (acquire), then words       D
 *   E  seq 0, then words (smp_wmb)        a dump: seq, then words
 *   F  words, then committed (release)    committed (acquire), then lap     G
 *
 * A/B: whoever sees an overwritten word sees the lap that gave it up.
 * C/D: whoever sees an entry sees the record.
 * E: a memory image never has a number before a record that is not whole.
 * F/G: between writers; whoever claims a block overwrites no store under way.
 * Each load and store of shared words is a single relaxed access, so a race
 * has a defined outcome, which is then thrown away.
 */
#include "ring.h"

#define BLOCK_WORDS	(FLIGHTREC_RING_BLOCK_BYTES / sizeof(u64))

/* A block's first words; records follow. */
enum {
	BLOCK_STATE,
	BLOCK_COMMITTED,
	BLOCK_HEADER = 8,	/* a cache line; the rest is for self-description */
};

/* State words. */
#define OFF_BITS	23
#define OFF_MASK	((1ULL << OFF_BITS) - 1)
#define CLOSED		(1ULL << OFF_BITS)
#define LAP_SHIFT	(OFF_BITS + 1)
#define LAP_MASK	((1ULL << 40) - 1)

/* Index entries. */
#define ENTRY_OFF_BITS		11
#define ENTRY_BLOCK_BITS	20
#define ENTRY_LAP_BITS		19
#define ENTRY_TAG_BITS		14
#define ENTRY_LAP_SHIFT		(ENTRY_OFF_BITS + ENTRY_BLOCK_BITS)
#define ENTRY_TAG_SHIFT		(ENTRY_LAP_SHIFT + ENTRY_LAP_BITS)
#define MASK(bits)		((1ULL << (bits)) - 1)

#define BLOCKS_MAX	(1U << ENTRY_BLOCK_BITS)

/* What a CPU has open: lap and block in one word. 0: nothing yet. */
#define OPEN_BLOCK_BITS	24

/*
 * Laps start shortly before they wrap in an entry, so that what breaks there
 * breaks in the first minute rather than after weeks.
 */
#define FIRST_LAP	((1ULL << ENTRY_LAP_BITS) - 3)

/* The smallest record: more never fit into a block. */
#define RECORD_WORDS_MIN (FLIGHTREC_STAMP_WORDS + 1)
#define RECORDS_PER_BLOCK ((BLOCK_WORDS - BLOCK_HEADER) / RECORD_WORDS_MIN)

static u64 record_words(u32 len)
{
	return FLIGHTREC_STAMP_WORDS + (len + 7) / sizeof(u64);
}

/* The index has an entry for each record that may be retained. */
static u64 index_entries(u64 nblocks)
{
	return roundup_pow_of_two(nblocks * RECORDS_PER_BLOCK);
}

static u64 layout_bytes(u64 nblocks)
{
	return nblocks * FLIGHTREC_RING_BLOCK_BYTES +
	       index_entries(nblocks) * sizeof(u64);
}

u64 flightrec_ring_min_bytes(u32 ncpus)
{
	return layout_bytes(ncpus + 2ULL);
}

u64 flightrec_ring_max_bytes(void)
{
	return layout_bytes(BLOCKS_MAX);
}

/* The most blocks that fit into @bytes together with their index. */
static u64 fitting_blocks(u64 bytes)
{
	u64 nblocks = bytes / FLIGHTREC_RING_BLOCK_BYTES;

	while (nblocks && layout_bytes(nblocks) > bytes)
		nblocks--;
	return nblocks;
}

static atomic64_t *block_word(const struct flightrec_ring *ring, u32 block, u32 word)
{
	return (atomic64_t *)&ring->words[block * BLOCK_WORDS + word];
}

static u64 lap_of(u64 state)
{
	return state >> LAP_SHIFT;
}

static u64 make_state(u64 lap, u64 off)
{
	return (lap & LAP_MASK) << LAP_SHIFT | off;
}

/* Is lap @a before lap @b? They are never half a range apart. */
static bool lap_before(u64 a, u64 b)
{
	return a != b && ((b - a) & LAP_MASK) <= LAP_MASK / 2;
}

static u64 tag_of(const struct flightrec_ring *ring, u64 seq)
{
	return seq >> ring->index_shift & MASK(ENTRY_TAG_BITS);
}

static u64 make_entry(u64 tag, u64 lap, u32 block, u64 off)
{
	return tag << ENTRY_TAG_SHIFT |
	       (lap & MASK(ENTRY_LAP_BITS)) << ENTRY_LAP_SHIFT |
	       (u64)block << ENTRY_OFF_BITS | off;
}

/* Less, equal or greater than 0 as the entry is for an older number, @seq, or a newer one. */
static int entry_age(const struct flightrec_ring *ring, u64 entry, u64 seq)
{
	u64 ahead = (entry >> ENTRY_TAG_SHIFT) - tag_of(ring, seq);

	ahead &= MASK(ENTRY_TAG_BITS);
	if (!ahead)
		return 0;
	return ahead <= MASK(ENTRY_TAG_BITS) / 2 ? 1 : -1;
}

int flightrec_ring_init(struct flightrec_ring *ring, u64 *memory, u64 bytes,
			struct flightrec_ring_cpu *cpus, u32 ncpus)
{
	u64 nblocks = fitting_blocks(bytes);
	u64 state = make_state(FIRST_LAP - 1, BLOCK_HEADER);
	u64 i;

	if (nblocks < ncpus + 2ULL || nblocks > BLOCKS_MAX)
		return -EINVAL;
	memset(ring, 0, sizeof(*ring));
	ring->words = memory;
	ring->index = memory + nblocks * BLOCK_WORDS;
	ring->cpus = cpus;
	ring->nblocks = nblocks;
	ring->ncpus = ncpus;
	ring->nindex = index_entries(nblocks);
	ring->index_shift = ilog2(ring->nindex);
	atomic64_set(&ring->next_seq, 1);
	atomic64_set(&ring->clear_seq, 1);
	for (i = 0; i < nblocks; i++) {
		atomic64_set(block_word(ring, i, BLOCK_STATE), state | CLOSED);
		atomic64_set(block_word(ring, i, BLOCK_COMMITTED), state);
	}
	/* As if each entry's number of one round before had been there. */
	for (i = 0; i < ring->nindex; i++)
		ring->index[i] = make_entry((tag_of(ring, i ? i : ring->nindex) - 1) &
					    MASK(ENTRY_TAG_BITS), 0, 0, 0);
	return 0;
}

/*
 * Close a block of a lap before @lap, so that its state changes only by being
 * claimed; false if a later lap has it.
 */
static bool close_block(atomic64_t *word, u64 lap, s64 *state)
{
	*state = atomic64_read(word);
	/* Fails only when a record was reserved in it: no more than fit. */
	while (lap_before(lap_of(*state), lap)) {
		if (*state & CLOSED)
			return true;
		if (atomic64_try_cmpxchg(word, state, *state | CLOSED)) {
			*state |= CLOSED;
			return true;
		}
	}
	return false;
}

/*
 * Try to make the next block in turn this CPU's open one. That it may fail is
 * left to the caller, who looks whether he has an open block now.
 */
static void claim_block(struct flightrec_ring *ring, u32 cpu)
{
	atomic64_t *state_word, *committed_word;
	s64 state, committed;
	u32 block;
	u64 lap;

	lap = FIRST_LAP + ring_div(atomic64_fetch_add(1, &ring->next_claim),
				   ring->nblocks, &block);
	state_word = block_word(ring, block, BLOCK_STATE);
	committed_word = block_word(ring, block, BLOCK_COMMITTED);

	if (!close_block(state_word, lap, &state))
		return;
	committed = atomic64_read_acquire(committed_word);	/* G, pairs with F */
	if (committed != (s64)(state & ~CLOSED))
		return;
	/* A, pairs with B. Closed still: nobody may reserve before the next line. */
	if (!atomic64_try_cmpxchg(state_word, &state,
				  make_state(lap, BLOCK_HEADER) | CLOSED))
		return;
	if (!atomic64_try_cmpxchg(committed_word, &committed,
				  make_state(lap, BLOCK_HEADER)))
		return;
	state = make_state(lap, BLOCK_HEADER) | CLOSED;
	if (!atomic64_try_cmpxchg(state_word, &state, make_state(lap, BLOCK_HEADER)))
		return;
	WRITE_ONCE(ring->cpus[cpu].open, lap << OPEN_BLOCK_BITS | block);
}

/* Where a record goes. */
struct place {
	u64 lap;
	u32 block;
	u32 off;
};

/* Reserve @need words in this CPU's open block, if it has one and they fit. */
static bool reserve_in_open(struct flightrec_ring *ring, u32 cpu, u64 need,
			    struct place *place)
{
	u64 open = READ_ONCE(ring->cpus[cpu].open);
	atomic64_t *word;
	s64 state;

	if (!open)
		return false;
	place->block = open & MASK(OPEN_BLOCK_BITS);
	place->lap = open >> OPEN_BLOCK_BITS;
	word = block_word(ring, place->block, BLOCK_STATE);
	state = atomic64_read(word);
	do {
		place->off = state & OFF_MASK;
		if ((state & CLOSED) || lap_of(state) != place->lap ||
		    place->off + need > BLOCK_WORDS)
			return false;
	} while (!atomic64_try_cmpxchg(word, &state, state + need));
	return true;
}

/*
 * Each claim that fails met a block that a stopped writer holds, of which
 * each CPU has at most a few, or lost it to a writer that went on.
 */
static bool reserve(struct flightrec_ring *ring, u32 cpu, u64 need,
		    struct place *place)
{
	u32 tries = 4 * ring->ncpus + 8;

	while (!reserve_in_open(ring, cpu, need, place)) {
		if (!tries--)
			return false;
		claim_block(ring, cpu);
	}
	return true;
}

static void put_words(u64 *to, const void *from, u64 n)
{
	const u8 *src = from;
	u64 word;
	u64 i;

	for (i = 0; i < n; i++) {
		memcpy(&word, src + i * sizeof(word), sizeof(word));
		WRITE_ONCE(to[i], word);
	}
}

static void get_words(void *to, const u64 *from, u64 n)
{
	u8 *dst = to;
	u64 word;
	u64 i;

	for (i = 0; i < n; i++) {
		word = READ_ONCE(from[i]);
		memcpy(dst + i * sizeof(word), &word, sizeof(word));
	}
}

/* Whole words, then what is left over, padded with zeroes. */
static void put_payload(u64 *to, const void *payload, u32 len)
{
	u64 last = 0;

	put_words(to, payload, len / sizeof(u64));
	if (len % sizeof(u64)) {
		memcpy(&last, (const u8 *)payload + (len & ~7U), len % sizeof(u64));
		WRITE_ONCE(to[len / sizeof(u64)], last);
	}
}

static void get_payload(void *payload, const u64 *from, u32 len)
{
	u64 last;

	get_words(payload, from, len / sizeof(u64));
	if (len % sizeof(u64)) {
		last = READ_ONCE(from[len / sizeof(u64)]);
		memcpy((u8 *)payload + (len & ~7U), &last, len % sizeof(u64));
	}
}

/* Let readers find the record, unless a later one has taken the entry. */
static void publish(struct flightrec_ring *ring, u64 seq, const struct place *place)
{
	atomic64_t *word = (atomic64_t *)&ring->index[seq & (ring->nindex - 1)];
	u64 entry = make_entry(tag_of(ring, seq), place->lap, place->block, place->off);
	s64 old = atomic64_read(word);

	while (entry_age(ring, old, seq) < 0)
		if (atomic64_try_cmpxchg(word, &old, entry)) /* C, pairs with D */
			return;
}

int flightrec_ring_append(struct flightrec_ring *ring, u32 cpu,
			  struct flightrec_stamp *stamp, const void *payload)
{
	u64 need = record_words(stamp->len);
	struct place place;
	u64 *record;

	if (!reserve(ring, cpu, need, &place))
		return -ENOBUFS;
	record = &ring->words[place.block * BLOCK_WORDS + place.off];
	WRITE_ONCE(record[0], 0);
	smp_wmb();	/* E */
	put_words(record + 1, (u64 *)stamp + 1, FLIGHTREC_STAMP_WORDS - 1);
	put_payload(record + FLIGHTREC_STAMP_WORDS, payload, stamp->len);
	stamp->seq = atomic64_fetch_add(1, &ring->next_seq);
	smp_store_release(&record[0], stamp->seq);
	publish(ring, stamp->seq, &place);
	/* F, pairs with G. */
	atomic64_add_return_release(need, block_word(ring, place.block, BLOCK_COMMITTED));
	atomic64_add(stamp->len, &ring->cpus[cpu].bytes);
	return 0;
}

u64 flightrec_ring_next(const struct flightrec_ring *ring)
{
	return atomic64_read_acquire((atomic64_t *)&ring->next_seq);
}

u64 flightrec_ring_bytes(const struct flightrec_ring *ring)
{
	u64 sum = 0;
	u32 cpu;

	for (cpu = 0; cpu < ring->ncpus; cpu++)
		sum += atomic64_read(&ring->cpus[cpu].bytes);
	return sum;
}

/* The first number that may still be there when @next is the next one. */
static u64 horizon(const struct flightrec_ring *ring, u64 next)
{
	u64 cleared = atomic64_read((atomic64_t *)&ring->clear_seq);
	u64 far = next > ring->nindex ? next - ring->nindex : 1;

	return far > cleared ? far : cleared;
}

enum lookup {
	LOOKUP_HERE,
	LOOKUP_GONE,
	LOOKUP_NOT_YET,		/* taken, not yet published */
};

static enum lookup look_up(const struct flightrec_ring *ring, u64 seq,
			   struct place *place)
{
	/* D, pairs with C */
	u64 entry = smp_load_acquire(&ring->index[seq & (ring->nindex - 1)]);
	int age = entry_age(ring, entry, seq);

	if (age)
		return age < 0 ? LOOKUP_NOT_YET : LOOKUP_GONE;
	place->off = entry & MASK(ENTRY_OFF_BITS);
	place->block = entry >> ENTRY_OFF_BITS & MASK(ENTRY_BLOCK_BITS);
	place->lap = entry >> ENTRY_LAP_SHIFT & MASK(ENTRY_LAP_BITS);
	return LOOKUP_HERE;
}

/* Does the block still hold what the entry was for? */
static bool still_there(const struct flightrec_ring *ring, const struct place *place)
{
	u64 state = atomic64_read(block_word(ring, place->block, BLOCK_STATE));

	return (lap_of(state) & MASK(ENTRY_LAP_BITS)) == place->lap;
}

/* Copy a record out; false if it was overwritten before that was done. */
static bool copy_out(const struct flightrec_ring *ring, const struct place *place,
		     u64 seq, struct flightrec_stamp *stamp, void *payload)
{
	const u64 *record = &ring->words[place->block * BLOCK_WORDS + place->off];

	get_words(stamp, record, FLIGHTREC_STAMP_WORDS);
	/* A torn stamp may hold any length: bound it before use. */
	if (stamp->seq != seq || stamp->len > FLIGHTREC_RING_PAYLOAD_MAX ||
	    place->off + record_words(stamp->len) > BLOCK_WORDS) {
		stamp->len = 0;
		return false;
	}
	if (payload)
		get_payload(payload, record + FLIGHTREC_STAMP_WORDS, stamp->len);
	smp_rmb();	/* B, pairs with A */
	return still_there(ring, place);
}

int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost)
{
	struct place place;
	u64 next, first;

	for (;; cursor->seq++) {
		ring_relax(cursor->seq);
		next = flightrec_ring_next(ring);
		first = horizon(ring, next);
		if (cursor->seq < first)
			cursor->seq = first;
		if (cursor->seq >= next)
			return -EAGAIN;
		switch (look_up(ring, cursor->seq, &place)) {
		case LOOKUP_NOT_YET:
			return -EAGAIN;
		case LOOKUP_GONE:
			continue;
		case LOOKUP_HERE:
			break;
		}
		if (copy_out(ring, &place, cursor->seq, stamp, payload))
			break;
	}
	*lost = cursor->seq - cursor->from;
	cursor->seq++;
	cursor->from = cursor->seq;
	return 0;
}

int flightrec_ring_fetch(const struct flightrec_ring *ring, u64 seq,
			 struct flightrec_stamp *stamp, void *payload)
{
	u64 next = flightrec_ring_next(ring);
	struct place place;

	if (seq >= next)
		return -EAGAIN;
	if (seq < horizon(ring, next))
		return -ENOENT;
	switch (look_up(ring, seq, &place)) {
	case LOOKUP_NOT_YET:
		return -EAGAIN;
	case LOOKUP_GONE:
		return -ENOENT;
	case LOOKUP_HERE:
		break;
	}
	return copy_out(ring, &place, seq, stamp, payload) ? 0 : -ENOENT;
}

bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor)
{
	u64 next = flightrec_ring_next(ring);
	u64 first = horizon(ring, next);
	u64 seq = READ_ONCE(cursor->seq);
	struct place place;

	if (seq < first)
		seq = first;
	return seq < next && look_up(ring, seq, &place) != LOOKUP_NOT_YET;
}

u64 flightrec_ring_oldest(const struct flightrec_ring *ring, u64 *retained)
{
	u64 next = flightrec_ring_next(ring);
	u64 oldest = next;
	u64 count = 0;
	struct place place;
	u64 seq;

	for (seq = horizon(ring, next); seq < next; seq++) {
		ring_relax(seq);
		if (look_up(ring, seq, &place) != LOOKUP_HERE ||
		    !still_there(ring, &place))
			continue;
		if (!count++)
			oldest = seq;
		if (!retained)
			break;
	}
	if (retained)
		*retained = count;
	return oldest;
}

u64 flightrec_ring_clear(struct flightrec_ring *ring)
{
	s64 cleared = atomic64_read(&ring->clear_seq);
	s64 next = flightrec_ring_next(ring);
	u64 retained;

	flightrec_ring_oldest(ring, &retained);
	while (cleared < next)
		if (atomic64_try_cmpxchg(&ring->clear_seq, &cleared, next))
			break;
	return retained;
}
