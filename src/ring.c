// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: the ring
 *
 * Memory is a pool of blocks. A CPU writes into its open block until a record
 * does not fit, and then claims the block that was claimed longest ago: so
 * the newest records are kept whichever CPU wrote them, and CPUs share
 * nothing but the counter of claims, once per block, and the counter of
 * records.
 *
 * A record is a stamp of eleven words and its payload, padded to whole words.
 * It is copied first and numbered last: numbers are dense, because after that
 * nothing can fail, and a record that was written before another was begun
 * has the smaller number. The index, a ring of its own, says for each number
 * where its record is.
 *
 * A block begins with a struct flightrec_block, by which it is found in an
 * image of the memory. Its first words change; the block's state is one:
 *
 *   lap (40 bits) | closed (1) | offset of the free space in words (23)
 *
 * Laps count how often the block was claimed. Reserving is a compare and
 * exchange of this word, so it fails once the block is closed or claimed. A
 * second word counts what is committed in the same form. A claimer of a
 * block closes it first, since its CPU may be idle and have it open. If more
 * is reserved than committed, a writer was stopped in the middle: the block
 * is left to it, and the next one is tried. There are two blocks more than
 * CPUs, so there is one to be had.
 *
 * The next block in turn is not always the one whose records are the oldest: a
 * CPU that had been idle may have just written into it. Each block has a mark
 * for that:
 *
 *   open (1 bit) | offset of its free space when it was last met, or
 *                | the claim with which its CPU left it
 *
 * A block that was left less than ring->fresh claims ago, or is open and was
 * written to since it was met a round ago, is passed over. Nobody relies on
 * marks: they choose among blocks, and after some tries any block will do.
 *
 * An entry of the index is one word:
 *
 *   tag (14 bits) | lap (19) | block (20) | offset (11)
 *
 * The tag tells numbers apart that share an entry; the lap, whether the block
 * still holds that record. A reader looks at the entry, copies the record,
 * and looks at the block's lap again: if it has changed, what was copied may
 * be torn and is counted as lost. A reader is deceived only if it is stopped in
 * between while the whole ring is overwritten 2^19 times, and finds the same
 * number afterwards.
 *
 * A writer that was stopped between its number and its publication for so long that
 * others have taken numbers beyond a whole index does not publish: no reader would
 * look for its record any more. Which of two writers has the entry is therefore told
 * by numbers; tags, which wrap, only tell readers.
 *
 * Urgent records have a share of their own. A CPU is a second writer for them, with a
 * second open block, and such writers take their blocks from a table (kept), in a turn of
 * their own: the block in the next place, which was claimed longest ago of those. A place
 * that is still empty gets the block whose turn it is in the ring, and from then on that
 * block is passed over by all others. So what is not urgent displaces nothing urgent, and the
 * other way round nothing but what fills the table once. A ring without urgent records is all
 * for the others, and one without others is all for urgent records: they take their blocks in
 * the ring's turn until the first other record claims one (make_shares), when those that were
 * claimed last go into the table. A claimer that fails to put its block into the table, because
 * somebody else was quicker, has a block like others.
 *
 * The index does not reach as far back as blocks then may: its entries are those of the
 * newest numbers, whatever their records. What is older is looked for in the blocks
 * themselves, from stamp to stamp. A record that is under way there does not hide those before
 * it: a CPU writes one at a time, with interrupts off, so they end at the offset that
 * RING_BLOCK_COMMITTED has. Where an NMI came in between they end before it, at a number that is
 * 0, or, for some instructions, at whatever was there: no user writes into a channel that
 * NMIs write to, and text does not look like a number that is sought.
 *
 * Readers that fell behind do not visit each number that is gone. Of each block
 * is known what its numbers do not precede (first, stored by its claimer) and, as
 * soon as its CPU left it, before which they end (last); of 64 blocks in a row
 * what they all do not precede (group_first, never too great, since firsts only
 * grow), but for those in the table, which are looked at by themselves. All are
 * bounds: a record that was numbered before the reader looked at the next number is
 * never outside those of its block, because they were stored before that number
 * was taken. Within a block that is partly of interest the
 * reader goes from stamp to stamp. What is committed counts records as well, and is
 * kept beside (count) when the block is left, so that how many there are is a sum
 * over a dense array, and over the headers of open blocks.
 *
 * Barriers:
 *
 *   writer                                reader
 *   A  lap, then words (cmpxchg)          words, then lap (smp_rmb)         B
 *   C  words, then entry (cmpxchg)        entry (acquire), then words       D
 *   H  entry (acquire), then next number
 *   E  seq 0, then words (smp_wmb)        a dump: seq, then words
 *   F  words, then committed (release)    committed (acquire), then lap     G
 *   I  open, then shares (smp_mb)
 *   J  is_kept, then group_first (release) group_first, then table (smp_rmb)  K
 *
 * A/B: a reader that sees an overwritten word sees the lap that gave it up.
 * C/D: a reader that sees an entry sees the record.
 * C/H: a reader that sees an entry sees that its number was taken.
 * E: a memory image never has a number before a record that is not whole.
 * F/G: between writers; the claimer of a block overwrites no store under way.
 * J/K: a reader that sees a group without a block sees that block in the table.
 * I/I: shares (cmpxchg), then open: one of the two sees that an urgent block is in no table.
 * Each load and store of shared words is a single relaxed access, so a race
 * has a defined outcome, which is then thrown away.
 */
#include "ring_write.h"

static __always_inline u64 lap_of(u64 state)
{
	return state >> RING_STATE_LAP_SHIFT;
}

/* Is lap @a before lap @b? They are never half a range apart. */
static bool lap_before(u64 a, u64 b)
{
	return a != b && ((b - a) & RING_LAP_MASK) <= RING_LAP_MASK / 2;
}

/* Is the entry for a number after the one with this tag? */
static __always_inline bool entry_newer(u64 entry, u64 tag)
{
	return !flightrec_entry_older(entry, tag) &&
	       entry >> RING_ENTRY_TAG_SHIFT != tag >> RING_ENTRY_TAG_SHIFT;
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
		if (*state & RING_STATE_CLOSED)
			return true;
		if (atomic64_try_cmpxchg(word, state, *state | RING_STATE_CLOSED)) {
			*state |= RING_STATE_CLOSED;
			return true;
		}
	}
	return false;
}

/* How many records have been committed. */
static __always_inline u64 records_of(u64 committed)
{
	return (committed & RING_RECORDS_MASK) >> RING_RECORDS_SHIFT;
}

/* Has all that was reserved in a block of this state been committed? */
static __always_inline bool all_committed(u64 committed, u64 state)
{
	return (committed & ~RING_RECORDS_MASK) == (state & ~RING_STATE_CLOSED);
}

/*
 * The smallest of the numbers that the blocks of a group begin with. Those only
 * grow, so what is stored late is too small, never too great.
 */
static noinline void sum_up_group(struct flightrec_ring *ring, u32 group)
{
	u32 block = group * RING_GROUP_BLOCKS;
	u32 end = block + RING_GROUP_BLOCKS < ring->nblocks ? block + RING_GROUP_BLOCKS :
							      ring->nblocks;
	u64 least = ~0ULL;

	for (; block < end; block++) {
		u64 first = READ_ONCE(ring->first[block]);

		if (!READ_ONCE(ring->is_kept[block]))
			least = first < least ? first : least;
	}
	smp_store_release(&ring->group_first[group], least);	/* J, pairs with K */
}

/* Does this writer take its blocks from the table? */
static bool has_share(struct flightrec_ring *ring, u32 writer)
{
	return writer >= ring->ncpus && atomic64_read(&ring->shares);
}

/* The turn in which a writer's blocks are claimed. */
static atomic64_t *turn_of(struct flightrec_ring *ring, u32 writer)
{
	return has_share(ring, writer) ? &ring->next_kept : &ring->next_claim;
}

/*
 * This writer's open block, if it still is, is full: from now on it grows old. It is
 * closed, so that no writer whom an NMI interrupted before it reserved comes
 * back to it, and if all that was reserved is committed, then every number in
 * it is known to be before the next one. Only this CPU writes there, so nothing
 * needs an order.
 */
static void leave_block(struct flightrec_ring *ring, u32 writer)
{
	u64 open = READ_ONCE(ring->cpus[writer].open);
	u32 block = open & RING_MASK(RING_ENTRY_BLOCK_BITS);
	u64 lap = open >> RING_OPEN_LAP_SHIFT;
	s64 unknown = RING_LAST_UNKNOWN | lap;
	s64 uncounted = lap << RING_COUNT_LAP_SHIFT;
	s64 state, committed;

	if (!close_block(ring_block_word(ring, block, RING_BLOCK_STATE), lap + 1, &state) ||
	    lap_of(state) != lap)
		return;
	/* Of another lap it is another claimer's, who has said so here. */
	committed = atomic64_read(ring_block_word(ring, block, RING_BLOCK_COMMITTED));
	if (all_committed(committed, state)) {
		atomic64_try_cmpxchg(&ring->last[block], &unknown,
				     atomic64_read(&ring->next_seq));
		atomic64_try_cmpxchg(&ring->count[block], &uncounted,
				     uncounted | RING_COUNT_KNOWN | records_of(committed));
	}
	atomic64_set(&ring->marks[block],
		     atomic64_read(turn_of(ring, writer)) & ~RING_MARK_OPEN);
	if (ring->summed)
		ring_write_back(ring_block_word(ring, block, RING_BLOCK_STATE), 2 * sizeof(u64));
}

/* A block whose turn has come. */
struct turn {
	u64 claim;	/* the how manieth turn it is */
	u64 lap;	/* that the block gets */
	u32 block;
	u32 fresh;	/* turns for which a full block is */
};

/* Were records written to the block not long ago, though its turn has come? */
static bool is_fresh(struct flightrec_ring *ring, const struct turn *turn)
{
	u32 block = turn->block;
	u64 state = atomic64_read(ring_block_word(ring, block, RING_BLOCK_STATE));
	u64 mark = atomic64_read(&ring->marks[block]);
	u64 now = RING_MARK_OPEN | (state & RING_MASK(RING_STATE_OFF_BITS));

	if (!(mark & RING_MARK_OPEN))
		return ((turn->claim - mark) & ~RING_MARK_OPEN) < turn->fresh;
	atomic64_set(&ring->marks[block], now);
	return mark != now;
}

/*
 * The next block in turn. Those in the table are passed over: no more than they are, also
 * where others take the turns in between. So it may be one of them nevertheless, of which
 * the caller keeps off.
 */
static noinline __cold struct turn next_turn(struct flightrec_ring *ring)
{
	struct turn turn = { .fresh = ring->fresh };
	u32 passed = 0;

	do {
		turn.claim = atomic64_fetch_add(1, &ring->next_claim);
		turn.lap = RING_FIRST_LAP + ring_div(turn.claim, ring->nblocks, &turn.block);
		/* Once in a round: the turn has just passed over the group before. */
		if (!(turn.block % RING_GROUP_BLOCKS))
			sum_up_group(ring, ((turn.block ?: ring->nblocks) - 1) / RING_GROUP_BLOCKS);
	} while (unlikely(READ_ONCE(ring->is_kept[turn.block])) && passed++ < ring->nkept);
	return turn;
}

/*
 * Try to take the block whose turn it is, unless @choosy and it is fresh: then it is
 * open and empty, and the caller's alone to write to.
 *
 * Two words are to change, and a claimer may be stopped between any two of these
 * lines, so there are three exchanges once the block is closed:
 *
 * 1. The state gets the new lap, still closed. One claimer wins; readers see
 *    from here on that the old records are gone. A claimer that stops here leaves
 *    a block whose two words are of different laps: for others that looks like a
 *    record that is not committed, so they pass over it until it goes on. What
 *    is stored here (first, last) has therefore one writer.
 * 2. What is committed gets the new lap. No store of the old lap is under way
 *    (G), and reserving fails while the block is closed, so nothing is added in
 *    between. A claimer that stops here leaves an empty closed block that
 *    matches: a claimer of the next round may take it.
 * 3. The state is opened. That must fail if somebody has taken the block since
 *    step 2: hence an exchange, not a store. A claimer that stops behind it leaves
 *    an open, empty block, which the next round closes and takes.
 *
 * An NMI on the same CPU may come between any two lines, too, and claim by
 * itself. It gets another turn, so another block or a later lap, and the
 * exchanges decide as between CPUs. Afterwards this claimer overwrites the CPU's
 * open block with its own: what the NMI had opened is then nobody's, keeps its
 * records, and is closed and taken in its turn like the block of an idle CPU.
 */
static noinline __cold bool take_block(struct flightrec_ring *ring, const struct turn *turn,
				       bool choosy)
{
	u64 lap = turn->lap;
	u32 block = turn->block;
	atomic64_t *state_word = ring_block_word(ring, block, RING_BLOCK_STATE);
	atomic64_t *committed_word = ring_block_word(ring, block, RING_BLOCK_COMMITTED);
	s64 state, committed;

	if (choosy && is_fresh(ring, turn))
		return false;
	if (!close_block(state_word, lap, &state))
		return false;
	committed = atomic64_read_acquire(committed_word);	/* G, pairs with F */
	if (!all_committed(committed, state))
		return false;
	/* A, pairs with B. Closed still: nobody may reserve before the next line. */
	if (!atomic64_try_cmpxchg(state_word, &state,
				  ring_make_state(lap, RING_BLOCK_HEADER) | RING_STATE_CLOSED))
		return false;
	/* Before the exchange below, and so before any number in this lap is taken. */
	WRITE_ONCE(ring->first[block], atomic64_read(&ring->next_seq));
	atomic64_set(&ring->last[block], RING_LAST_UNKNOWN | lap);
	atomic64_set(&ring->count[block], lap << RING_COUNT_LAP_SHIFT);
	if (!atomic64_try_cmpxchg(committed_word, &committed,
				  ring_make_state(lap, RING_BLOCK_HEADER)))
		return false;
	atomic64_set(&ring->marks[block], RING_MARK_OPEN);
	state = ring_make_state(lap, RING_BLOCK_HEADER) | RING_STATE_CLOSED;
	if (!atomic64_try_cmpxchg(state_word, &state, ring_make_state(lap, RING_BLOCK_HEADER)))
		return false;
	if (ring->summed)
		ring_write_back(state_word, sizeof(*state_word));
	return true;
}

/*
 * Try to make a block this writer's open one. That it may fail is left to the caller,
 * which looks whether it has an open block now.
 */
static void claim_block(struct flightrec_ring *ring, u32 writer, bool choosy)
{
	struct turn turn = next_turn(ring);

	if (READ_ONCE(ring->is_kept[turn.block]) || !take_block(ring, &turn, choosy))
		return;
	WRITE_ONCE(ring->cpus[writer].open, turn.lap << RING_OPEN_LAP_SHIFT | turn.block);
	smp_mb();	/* I: the block may have come too late for the table */
	if (has_share(ring, writer))
		WRITE_ONCE(ring->cpus[writer].open, 0);
}

/*
 * The first record comes that is not urgent: from here on there are shares. The blocks claimed
 * last are the urgent ones' share, in the places whose turn comes last, the oldest of them first.
 * What their writers have open may be older: so they all claim anew. An urgent block that
 * is claimed between the first two lines has no share.
 */
static noinline __cold void make_shares(struct flightrec_ring *ring)
{
	u64 claim = atomic64_read(&ring->next_claim);
	s64 none = 0;
	u32 at, block;
	u64 lap;

	/* I. From here on others fill the table with later claims: no block comes there twice. */
	if (!atomic64_try_cmpxchg(&ring->shares, &none, 1))
		return;
	for (at = claim < ring->nkept ? ring->nkept - claim : 0; at < ring->nkept; at++) {
		lap = RING_FIRST_LAP +
		      ring_div(claim - ring->nkept + at, ring->nblocks, &block);
		/* Others were a round ahead: what is there now may be the newest of theirs. */
		if (lap_before(lap, lap_of(atomic64_read(ring_block_word(ring, block,
									 RING_BLOCK_STATE)))))
			continue;
		none = 0;
		if (!atomic64_try_cmpxchg(&ring->kept[at], &none, block + 1))
			continue;
		WRITE_ONCE(ring->is_kept[block], 1);
		/* Left a round before the first turn of the table. */
		atomic64_set(&ring->marks[block], (0 - (u64)ring->nkept) & ~RING_MARK_OPEN);
	}
	for (at = ring->ncpus; at < 2 * ring->ncpus; at++)
		WRITE_ONCE(ring->cpus[at].open, 0);
}

/*
 * The same for urgent records: the block in the next place of the table. Its lap follows
 * the one that it has, since it left the ring's turn. Two who met it in the same lap want the
 * same next one, and the exchanges decide. The block goes into the table before its first
 * number is taken, so a reader that knows of that number finds it there.
 */
static void claim_kept(struct flightrec_ring *ring, u32 writer, bool choosy)
{
	struct turn turn = { .claim = atomic64_fetch_add(1, &ring->next_kept),
			     .fresh = ring->kept_fresh };
	s64 held, none = 0;
	u32 at;

	ring_div(turn.claim, ring->nkept, &at);
	held = atomic64_read(&ring->kept[at]);
	if (held) {
		turn.block = held - 1;
		turn.lap = (lap_of(atomic64_read(ring_block_word(ring, turn.block,
								 RING_BLOCK_STATE))) + 1) &
			   RING_LAP_MASK;
	} else {
		turn = next_turn(ring);
		if (READ_ONCE(ring->is_kept[turn.block]))
			return;
	}
	if (!take_block(ring, &turn, choosy))
		return;
	if (held || atomic64_try_cmpxchg(&ring->kept[at], &none, turn.block + 1))
		WRITE_ONCE(ring->is_kept[turn.block], 1);
	WRITE_ONCE(ring->cpus[writer].open, turn.lap << RING_OPEN_LAP_SHIFT | turn.block);
}

/*
 * Each claim that fails met a block that is fresh, or that a stopped writer
 * holds, of both of which each CPU has at most a few, or lost it to a writer
 * that went on.
 */
bool __cold flightrec_ring_claim(struct flightrec_ring *ring, u32 writer, u32 tries)
{
	bool choosy = tries < 2 * ring->ncpus + 4;

	if (tries >= 6 * ring->ncpus + 12)
		return false;
	if (!tries)
		leave_block(ring, writer);
	if (writer < ring->ncpus && !atomic64_read(&ring->shares))
		make_shares(ring);
	if (has_share(ring, writer))
		claim_kept(ring, writer, choosy);
	else
		claim_block(ring, writer, choosy);
	return true;
}

static __always_inline void get_words(void *to, const u64 *from, u64 n)
{
	/* One pointer to step, and an end to compare it with. */
	const ptrdiff_t apart = (u8 *)to - (const u8 *)from;
	const u64 *end = from + n;
	u64 word;

#define GET_WORD(i) do {						\
	word = READ_ONCE(from[i]);					\
	__builtin_memcpy((u8 *)&from[i] + apart, &word, sizeof(word));	\
} while (0)
	for (; end - from >= 8; from += 8) {
		GET_WORD(0);
		GET_WORD(1);
		GET_WORD(2);
		GET_WORD(3);
		GET_WORD(4);
		GET_WORD(5);
		GET_WORD(6);
		GET_WORD(7);
	}
	if (end - from >= 2) {
		GET_WORD(0);
		GET_WORD(1);
		from += 2;
	}
	for (; from != end; from++)
		GET_WORD(0);
#undef GET_WORD
}

/* Without a loop: these lengths are known. */
static __always_inline void get_stamp(u64 *to, const u64 *from)
{
	_Static_assert(FLIGHTREC_STAMP_WORDS == 8 + 2 + 1, "each word of a stamp is copied");
	get_words(to, from, 8);
	get_words(to + 8, from + 8, 2);
	get_words(to + 10, from + 10, 1);
}

/* Out of line, for those that have the time. */
static noinline void get_words_slowly(void *to, const u64 *from, u64 n)
{
	get_words(to, from, n);
}

static noinline void put_words_slowly(u64 *to, const void *from, u64 n)
{
	flightrec_put_words(to, from, n);
}

static void get_payload(void *payload, const u64 *from, u32 len)
{
	u64 last;

	get_words_slowly(payload, from, len / sizeof(u64));
	if (len % sizeof(u64)) {
		last = READ_ONCE(from[len / sizeof(u64)]);
		memcpy((u8 *)payload + (len & ~7U), &last, len % sizeof(u64));
	}
}

/* Whole words, then what is left over, padded with zeroes. */
static void put_payload(const struct flightrec_place *place, const void *payload, u32 len)
{
	u64 *to = (u64 *)(place->stamp + 1);
	u64 last = 0;

	put_words_slowly(to, payload, len / sizeof(u64));
	if (len % sizeof(u64)) {
		memcpy(&last, (const u8 *)payload + (len & ~7U), len % sizeof(u64));
		WRITE_ONCE(to[len / sizeof(u64)], last);
	}
}

int flightrec_ring_append(struct flightrec_ring *ring, u32 writer,
			  struct flightrec_stamp *stamp, const void *payload)
{
	struct flightrec_place place;

	if (!flightrec_ring_reserve(ring, writer, stamp->len, &place))
		return -ENOBUFS;
	stamp->check = flightrec_ring_check(&place, stamp->boot_ns, stamp->len);
	/* All but the number. */
	put_words_slowly((u64 *)place.stamp + 1, (u64 *)stamp + 1,
			 FLIGHTREC_STAMP_WORDS - 1);
	stamp->check = 0;
	put_payload(&place, payload, stamp->len);
	stamp->seq = flightrec_ring_commit(ring, stamp->len, &place);
	return 0;
}

u64 flightrec_ring_next(const struct flightrec_ring *ring)
{
	return atomic64_read_acquire((atomic64_t *)&ring->next_seq);
}

u64 flightrec_ring_bytes(const struct flightrec_ring *ring)
{
	u64 sum = 0;
	u32 writer;

	for (writer = 0; writer < ring->ncpus + ring->kept_writers; writer++)
		sum += atomic64_read(&ring->cpus[writer].bytes);
	return sum;
}

/* The first number that has an entry of the index when @next is the next one. */
static __always_inline u64 reach(const struct flightrec_ring *ring, u64 next)
{
	return next > ring->nindex ? next - ring->nindex : 1;
}

/* The first that is to be looked for there. */
static __always_inline u64 horizon(const struct flightrec_ring *ring, u64 next)
{
	u64 cleared = atomic64_read(ring_clear_seq(ring));
	u64 far = reach(ring, next);

	return far > cleared ? far : cleared;
}

/* Where a record is. */
struct spot {
	u64 lap;
	u32 block;
	u32 off;
};

static __always_inline struct spot spot_of(u64 entry)
{
	return (struct spot) {
		.off = entry & RING_MASK(RING_ENTRY_OFF_BITS),
		.block = entry >> RING_ENTRY_OFF_BITS & RING_MASK(RING_ENTRY_BLOCK_BITS),
		.lap = entry >> RING_ENTRY_LAP_SHIFT & RING_MASK(RING_ENTRY_LAP_BITS),
	};
}

enum lookup {
	LOOKUP_HERE,
	LOOKUP_GONE,
	LOOKUP_NOT_YET,		/* taken, not yet published */
};

static __always_inline enum lookup look_up(const struct flightrec_ring *ring, u64 seq,
			   struct spot *place)
{
	/* D, pairs with C */
	u64 entry = smp_load_acquire(&ring->index[seq & ring->index_mask]);
	u64 tag = flightrec_ring_tag(ring, seq);

	if (flightrec_entry_older(entry, tag))
		return LOOKUP_NOT_YET;
	if (unlikely(entry_newer(entry, tag)))
		return LOOKUP_GONE;
	*place = spot_of(entry);
	return LOOKUP_HERE;
}

/* Does the block still hold what the entry was for? */
static __always_inline bool still_there(const struct flightrec_ring *ring, const struct spot *place)
{
	u64 state = atomic64_read(ring_block_word(ring, place->block, RING_BLOCK_STATE));

	return (lap_of(state) & RING_MASK(RING_ENTRY_LAP_BITS)) == place->lap;
}

/* How many words a record of this length has there; 0 if none can. */
static __always_inline u32 bounded_words(u32 len, const struct spot *place)
{
	/* A torn stamp may hold any length: bound it before use. */
	if (unlikely(len > FLIGHTREC_RING_PAYLOAD_MAX ||
		     place->off + flightrec_record_words(len) > RING_BLOCK_WORDS))
		return 0;
	return flightrec_record_words(len);
}

static __always_inline const u64 *record_at(const struct flightrec_ring *ring,
					    const struct spot *place)
{
	return &ring->words[place->block * RING_BLOCK_WORDS + place->off];
}

/* Copy a record out; false if it was overwritten before that was done. */
static bool copy_out(const struct flightrec_ring *ring, const struct spot *place,
		     u64 seq, struct flightrec_stamp *stamp, void *payload,
		     u32 room)
{
	const u64 *record = record_at(ring, place);

	get_words_slowly(stamp, record, FLIGHTREC_STAMP_WORDS);
	if (stamp->seq != seq || !bounded_words(stamp->len, place)) {
		stamp->len = 0;
		return false;
	}
	stamp->check = 0;
	if (payload)
		get_payload(payload, record + FLIGHTREC_STAMP_WORDS,
			    stamp->len < room ? stamp->len : room);
	smp_rmb();	/* B, pairs with A */
	return still_there(ring, place);
}

/* The same in whole words: how many, 0 if it was overwritten, or -EMSGSIZE. */
static __always_inline int copy_words(const struct flightrec_ring *ring,
				      const struct spot *place, u64 seq, u64 *to,
				      u64 room)
{
	const u64 *record = record_at(ring, place);
	const struct flightrec_stamp *stamp = (const struct flightrec_stamp *)record;
	u32 words = bounded_words(READ_ONCE(stamp->len), place);

	if (unlikely(!words))
		return 0;
	if (likely(words <= room)) {
		get_stamp(to, record);
		get_words(to + FLIGHTREC_STAMP_WORDS, record + FLIGHTREC_STAMP_WORDS,
			  words - FLIGHTREC_STAMP_WORDS);
	}
	smp_rmb();	/* B, pairs with A */
	if (unlikely(!still_there(ring, place)))
		return 0;
	if (unlikely(words > room))
		return -EMSGSIZE;
	/* Here the record was whole all the time, its number for certain. */
	return likely(to[0] == seq) ? (int)words : 0;
}

/* Of the records in a block. */
struct in_block {
	u64 first;	/* the smallest number from the wanted one on, if any */
	u32 records;	/* how many there are from it on */
	struct spot place;	/* of the first */
};

/*
 * Look at each record of a block for those with numbers from @seq on; false if
 * there may be more because one is being written. A block that is overwritten
 * meanwhile has none: what comes instead has numbers that were not yet taken
 * when the caller looked.
 */
static bool look_through(const struct flightrec_ring *ring, u32 block, u64 seq,
			 struct in_block *found)
{
	/* G, pairs with F */
	u64 committed = atomic64_read_acquire(ring_block_word(ring, block, RING_BLOCK_COMMITTED));
	u64 state = atomic64_read(ring_block_word(ring, block, RING_BLOCK_STATE));
	struct spot place = {
		.block = block, .lap = lap_of(state) & RING_MASK(RING_ENTRY_LAP_BITS),
		.off = RING_BLOCK_HEADER,
	};
	u32 end = committed & RING_MASK(RING_RECORDS_SHIFT);
	u32 words;

	*found = (struct in_block) { .first = ~0ULL };
	if (lap_of(committed) != lap_of(state))
		return true;
	for (; place.off < end; place.off += words) {
		const struct flightrec_stamp *stamp =
			(const struct flightrec_stamp *)record_at(ring, &place);
		u64 number = READ_ONCE(stamp->seq);

		words = bounded_words(READ_ONCE(stamp->len), &place);
		if (!words || !number)
			break;
		if (number < seq)
			continue;
		found->records++;
		if (number < found->first) {
			found->first = number;
			found->place = place;
		}
	}
	smp_rmb();	/* B, pairs with A */
	if (!still_there(ring, &place))
		*found = (struct in_block) { .first = ~0ULL };
	return all_committed(committed, state);
}

/* Do the numbers in a block end before @seq? */
static __always_inline bool ends_before(const struct flightrec_ring *ring, u32 block, u64 seq)
{
	u64 last = atomic64_read(&ring->last[block]);

	return !(last & RING_LAST_UNKNOWN) && last <= seq;
}

/*
 * The least that the first number from @seq on in a block may be, if that is
 * before @best. Not before @seq, and @seq itself if nothing better is known. With
 * @place it is the first that is there, and gets where.
 */
static noinline __cold u64 first_in_block(const struct flightrec_ring *ring, u32 block, u64 seq,
				   u64 best, struct spot *place)
{
	u64 first = READ_ONCE(ring->first[block]);
	struct in_block found;

	if (first >= best)
		return best;
	if (first >= seq && !place)
		return first;
	if (ends_before(ring, block, seq))
		return best;
	if (!look_through(ring, block, seq, &found) && !place)
		return seq;
	if (found.first >= best)
		return best;
	if (place)
		*place = found.place;
	return found.first;
}

/* As skip_gone(), of the blocks in the table alone; @full: it has no empty place. */
static noinline __cold u64 skip_gone_kept(const struct flightrec_ring *ring, u64 seq, u64 next,
				   struct spot *place, bool *full)
{
	u32 left;
	s64 kept;

	*full = true;
	for (left = 0; left < ring->nkept && next > seq; left++) {
		kept = atomic64_read(&ring->kept[left]);
		if (kept)
			next = first_in_block(ring, kept - 1, seq, next, place);
		else
			*full = false;
	}
	return next;
}

/*
 * The first number from @seq on that may be there, @next if there is none:
 * from what is known of blocks, not from the index, so it takes as many steps
 * as there are blocks at most, however many records are gone. From the group
 * whose turn it is: it has the oldest records as a rule, and then all others
 * are seen to be younger at a glance. With @place it is one that is there, and where.
 */
static noinline __cold u64 skip_gone(const struct flightrec_ring *ring, u64 seq, u64 next,
			      struct spot *place)
{
	u32 ngroups = flightrec_ring_groups(ring->nblocks);
	u32 group, left, block, end;
	bool full;

	next = skip_gone_kept(ring, seq, next, place, &full);
	ring_div(atomic64_read(&ring->next_claim), ring->nblocks, &block);
	group = block / RING_GROUP_BLOCKS;
	for (left = ngroups; left && next > seq; left--, group++) {
		if (group == ngroups)
			group = 0;
		if (READ_ONCE(ring->group_first[group]) >= next)
			continue;
		ring_relax();
		block = group * RING_GROUP_BLOCKS;
		end = block + RING_GROUP_BLOCKS < ring->nblocks ? block + RING_GROUP_BLOCKS :
								  ring->nblocks;
		for (; block < end && next > seq; block++)
			next = first_in_block(ring, block, seq, next, place);
	}
	/* What make_shares() put into the table meanwhile may be out of its group already. */
	smp_rmb();	/* K, pairs with J */
	return full ? next : skip_gone_kept(ring, seq, next, place, &full);
}

/*
 * Go to the first number that is there, though the index does not reach so far back, or to
 * @end, the first that the index has. Returns what an entry would say of where the record is,
 * but for its tag, or 0.
 */
static noinline __cold u64 find_old(const struct flightrec_ring *ring,
				    struct flightrec_cursor *cursor, u64 end)
{
	u64 cleared = atomic64_read(ring_clear_seq(ring));
	struct spot place = { 0 };
	u64 seq = cursor->seq;

	seq = seq > cleared ? seq : cleared;
	cursor->seq = ring->nkept && seq < end ? skip_gone(ring, seq, end, &place) : end;
	return cursor->seq == end ? 0 : place.lap << RING_ENTRY_LAP_SHIFT |
	       (u64)place.block << RING_ENTRY_OFF_BITS | place.off;
}

/*
 * How many numbers a reader finds gone one by one, before it looks at the blocks.
 * A look at the blocks that told nothing makes it twice as many.
 */
#define SKIP_AFTER	32

/*
 * Go to the next record that is published: 0, -EAGAIN if there is none, or
 * -EINTR if the task is to die. Where nothing was lost so far, the record will be
 * there: its block is looked at when it has been copied, and not before.
 *
 * Writers that overwrite the whole ring during one look at the blocks make that
 * look end at a head which is no longer one: so it is compared with today's.
 */
static __always_inline int find_next(const struct flightrec_ring *ring,
		      struct flightrec_cursor *cursor, struct spot *place)
{
	u64 skip_after = SKIP_AFTER, gone = 0, next, first, seq, entry;

	for (;;) {
		next = flightrec_ring_next(ring);
		first = horizon(ring, next);
		if (unlikely(cursor->seq < first)) {
			entry = find_old(ring, cursor, first);
			if (entry) {
				*place = spot_of(entry);
				return 0;
			}
		}
		if (cursor->seq >= next)
			return -EAGAIN;
		if (unlikely(gone++ == skip_after)) {
			if (ring_interrupted())
				return -EINTR;
			gone = 0;
			seq = cursor->seq;
			cursor->seq = skip_gone(ring, seq, next, NULL);
			if (cursor->seq != seq)
				continue;
			skip_after *= 2;
		}
		switch (look_up(ring, cursor->seq, place)) {
		case LOOKUP_NOT_YET:
			return -EAGAIN;
		case LOOKUP_GONE:
			/* It may be there, only that the index no longer reaches so far. */
			if (cursor->seq < reach(ring, flightrec_ring_next(ring)))
				continue;
			break;
		case LOOKUP_HERE:
			if (likely(cursor->seq == cursor->from) || still_there(ring, place))
				return 0;
		}
		cursor->seq++;
	}
}

/* Go past the record that was delivered; returns how many were lost before it. */
static __always_inline u64 step_over(struct flightrec_cursor *cursor)
{
	u64 lost = cursor->seq - cursor->from;

	cursor->seq++;
	cursor->from = cursor->seq;
	return lost;
}

int flightrec_ring_read(const struct flightrec_ring *ring,
			struct flightrec_cursor *cursor,
			struct flightrec_stamp *stamp, void *payload,
			u64 *lost)
{
	struct spot place;
	int err;

	for (;; cursor->seq++) {
		err = find_next(ring, cursor, &place);
		if (err)
			return err;
		if (copy_out(ring, &place, cursor->seq, stamp, payload,
			     FLIGHTREC_RING_PAYLOAD_MAX))
			break;
	}
	*lost = step_over(cursor);
	return 0;
}

int flightrec_ring_read_words(const struct flightrec_ring *ring,
			      struct flightrec_cursor *cursor, u64 *to,
			      u64 room, u64 *lost)
{
	struct spot place;
	int words;

	for (;; cursor->seq++) {
		words = find_next(ring, cursor, &place);
		if (unlikely(words))
			return words;
		words = copy_words(ring, &place, cursor->seq, to, room);
		if (words)
			break;
	}
	if (unlikely(words < 0))
		return words;
	((struct flightrec_stamp *)to)->check = 0;
	*lost = step_over(cursor);
	return words;
}

int flightrec_ring_fetch(const struct flightrec_ring *ring, u64 seq,
			 struct flightrec_stamp *stamp, void *payload, u32 room)
{
	u64 next = flightrec_ring_next(ring);
	struct spot place;

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
	return copy_out(ring, &place, seq, stamp, payload, room) ? 0 : -ENOENT;
}

bool flightrec_ring_readable(const struct flightrec_ring *ring,
			     const struct flightrec_cursor *cursor)
{
	u64 next = flightrec_ring_next(ring);
	u64 cleared = atomic64_read(ring_clear_seq(ring));
	u64 seq = READ_ONCE(cursor->seq);
	struct spot place;

	if (seq < cleared)
		seq = cleared;
	if (seq < reach(ring, next)) {
		/* Who reads finds out, and is past it then. */
		if (ring->nkept)
			return true;
		seq = reach(ring, next);
	}
	return seq < next && look_up(ring, seq, &place) != LOOKUP_NOT_YET;
}

static u64 records_in_block(const struct flightrec_ring *ring, u32 block, u64 seq)
{
	u64 count = atomic64_read(&ring->count[block]);
	struct in_block found;
	u64 committed, state;

	if (ends_before(ring, block, seq))
		return 0;
	if (READ_ONCE(ring->first[block]) < seq && look_through(ring, block, seq, &found))
		return found.records;
	if (count & RING_COUNT_KNOWN)
		return count & RING_MASK(RING_COUNT_BITS);
	committed = atomic64_read(ring_block_word(ring, block, RING_BLOCK_COMMITTED));
	state = atomic64_read(ring_block_word(ring, block, RING_BLOCK_STATE));
	return lap_of(committed) == lap_of(state) ? records_of(committed) : 0;
}

u64 __cold flightrec_ring_oldest(const struct flightrec_ring *ring, u64 *retained)
{
	/* From before all of them, so that each block is looked at. */
	struct flightrec_cursor cursor = { .seq = 0, .from = ~0ULL };
	u64 first = ring->nkept ? (u64)atomic64_read(ring_clear_seq(ring)) :
		    horizon(ring, flightrec_ring_next(ring));
	struct spot place;
	u32 block;

	if (retained)
		for (*retained = 0, block = 0; block < ring->nblocks; block++) {
			if (!(block % RING_GROUP_BLOCKS))
				ring_relax();
			*retained += records_in_block(ring, block, first);
		}
	find_next(ring, &cursor, &place);
	return cursor.seq;
}

u64 __cold flightrec_ring_clear(struct flightrec_ring *ring)
{
	s64 cleared = atomic64_read(ring_clear_seq(ring));
	s64 next = flightrec_ring_next(ring);
	u64 retained;

	flightrec_ring_oldest(ring, &retained);
	while (cleared < next)
		if (atomic64_try_cmpxchg(ring_clear_seq(ring), &cleared, next))
			break;
	if (ring->summed)
		ring_write_back(ring_clear_seq(ring), sizeof(u64));
	return retained;
}
