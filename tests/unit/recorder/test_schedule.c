// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ring core, one access to shared words at a time. At each step of an
 * operation, one after another, something else happens as a whole, as an NMI
 * or another CPU would do it: what comes out must be right each time. And the
 * trace of steps shows each barrier, also where this machine needs none.
 */
#include <stdbool.h>

enum step {
	STEP_LOAD,
	STEP_STORE,
	STEP_ACQUIRE,
	STEP_RELEASE,
	STEP_RMB,
	STEP_WMB,
	STEP_FULL,
};

static void at_step(enum step kind, const void *address);
#define RING_STEP(kind, address) at_step(STEP_##kind, (const void *)(address))

static bool interrupted;
#define RING_INTERRUPTED() interrupted

/* How often others could run. */
static unsigned int relaxed;
#define RING_RELAX() ((void)relaxed++)

#include "ring.c"
#include "ring_init.c"
#include "fixture.h"

#define TRACED 16384	/* of a long operation, the first steps */
static struct trace {
	enum step kind;
	const u64 *at;
} trace[TRACED];
static u32 steps, act_at;
static void (*act)(void);
static bool idle = true;

static void at_step(enum step kind, const void *address)
{
	if (idle)
		return;
	if (steps < TRACED)
		trace[steps] = (struct trace) { kind, address };
	if (++steps != act_at)
		return;
	idle = true;
	act();
	idle = false;
}

/* Steps are seen from here on; at number @at, counted from 1, act. */
static void begin(u32 at, void (*what)(void))
{
	steps = 0;
	act_at = at;
	act = what;
	idle = false;
}

/* False when the operation had fewer steps: all have been tried. */
static bool end(void)
{
	idle = true;
	return steps >= act_at;
}

static struct fixture f;
static u64 count, inner_last;

static void write_some(u64 n, u32 cpu)
{
	while (n--)
		inner_last = append(&f, ++count, cpu);
}

static void overwrite_all(void) { write_some(700, 1); }
static void overwrite_a_block(void) { write_some(90, 1); }
static void one_from_an_nmi(void) { write_some(1, 0); }
static void block_from_an_nmi(void) { write_some(90, 0); }
static void drop_all(void) { flightrec_ring_clear(&f.ring); }

static void (* const writing[])(void) = {
	overwrite_all, overwrite_a_block, one_from_an_nmi, block_from_an_nmi, drop_all,
};
#define WAYS (sizeof(writing) / sizeof(writing[0]))

static int read_one(struct flightrec_cursor *cursor, bool whole_words,
		    struct flightrec_stamp *stamp, u8 *payload, u64 *lost)
{
	u64 words[FLIGHTREC_STAMP_WORDS + FLIGHTREC_RING_PAYLOAD_MAX / 8];
	int got;

	if (!whole_words)
		return flightrec_ring_read(&f.ring, cursor, stamp, payload, lost);
	got = flightrec_ring_read_words(&f.ring, cursor, words, 521, lost);
	if (got < 0)
		return got;
	memcpy(stamp, words, sizeof(*stamp));
	memcpy(payload, words + FLIGHTREC_STAMP_WORDS, stamp->len);
	return 0;
}

/* Read on to the end: whole, in order, each delivered or counted as lost. */
static void drain(struct flightrec_cursor *cursor, bool whole_words, u32 at, void (*what)(void),
		  bool *more)
{
	u64 expect = cursor->seq, lost;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	int err;

	begin(at, what);
	err = read_one(cursor, whole_words, &stamp, payload, &lost);
	*more = end();
	while (!err) {
		assert_true(intact(&stamp, payload));
		assert_int_equal(stamp.seq, expect + lost);
		expect = stamp.seq + 1;
		err = read_one(cursor, whole_words, &stamp, payload, &lost);
	}
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(cursor->seq, flightrec_ring_next(&f.ring));
	assert_int_equal(cursor->from, expect);
}

static void reader_at_each_step(void **state)
{
	struct flightrec_cursor cursor;
	bool more;
	u32 way, at;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	for (way = 0; way < 2 * WAYS; way++) {
		for (at = 1, more = true; more; at++) {
			write_some(way % WAYS == WAYS - 1 ? 20 : 400, 2);
			cursor = at_oldest(&f);
			drain(&cursor, way / WAYS, at, writing[way % WAYS], &more);
		}
	}
	fixture_free(&f);
}

/* The same for one far behind: the head at which a look at the blocks ends is none any more. */
static void far_behind_at_each_step(void **state)
{
	struct flightrec_cursor cursor;
	bool more;
	u32 way, at;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	for (way = 0; way < 2 * WAYS; way++) {
		for (at = 1, more = true; more; at++) {
			write_some(700, 2);
			cursor = flightrec_cursor_at(flightrec_ring_next(&f.ring) - 690);
			drain(&cursor, way / WAYS, at, writing[way % WAYS], &more);
		}
	}
	fixture_free(&f);
}

/* All that the index leads to is what was written. */
static void all_intact(void)
{
	u64 next = flightrec_ring_next(&f.ring), seq, from, found = 0, kept;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];

	from = flightrec_ring_oldest(&f.ring, &kept);
	for (seq = from; seq < next; seq++) {
		int err = flightrec_ring_fetch(&f.ring, seq, &stamp, payload, sizeof(payload));

		assert_true(!err || err == -ENOENT);
		if (err)
			continue;
		assert_true(intact(&stamp, payload));
		found++;
	}
	assert_int_equal(found, kept);
}

/* Until the next record of CPU 0 begins a block. */
static void fill_block_of(u32 cpu)
{
	u64 next = count + 1;

	while ((f.memory[(f.cpus[cpu].open & RING_MASK(20)) * RING_BLOCK_WORDS] & RING_MASK(23)) +
	       flightrec_record_words(length_of(next)) <= RING_BLOCK_WORDS) {
		write_some(1, cpu);
		next = count + 1;
	}
}

static void fill_block(void) { fill_block_of(0); }

static void writer_at_each_step(void **state)
{
	bool more;
	u64 seq, n;
	u32 way, at;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(700, 0);
	for (way = 0; way < 2 * WAYS; way++) {
		for (at = 1, more = true; more; at++) {
			if (way < WAYS)
				fill_block();
			n = ++count;
			inner_last = 0;
			begin(at, writing[way % WAYS]);
			seq = append(&f, n, 0);
			more = end();
			assert_true(seq != inner_last);
			seq = append(&f, ++count, 0);
			assert_int_equal(seq, flightrec_ring_next(&f.ring) - 1);
			all_intact();
		}
	}
	fixture_free(&f);
}

/* A clear that is overtaken by another does not bring anything back. */
static void write_and_clear(void)
{
	write_some(10, 1);
	flightrec_ring_clear(&f.ring);
}

static void clear_at_each_step(void **state)
{
	bool more = true;
	u32 at;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	for (at = 1; more; at++) {
		write_some(5, 0);
		begin(at, write_and_clear);
		flightrec_ring_clear(&f.ring);
		more = end();
		assert_int_equal(flightrec_ring_oldest(&f.ring, NULL),
				 flightrec_ring_next(&f.ring));
	}
	fixture_free(&f);
}

/* Who finds no block takes no number. */
static void refused_takes_no_number(void **state)
{
	struct flightrec_stamp stamp = { .len = 8 };
	u64 next;
	u32 i;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(700, 0);
	for (i = 0; i < f.ring.nblocks; i++)
		f.memory[i * RING_BLOCK_WORDS + RING_BLOCK_COMMITTED] -= 1;
	f.cpus[1].open = 0;
	next = flightrec_ring_next(&f.ring);
	assert_int_equal(flightrec_ring_append(&f.ring, 1, &stamp, "8 bytes"), -ENOBUFS);
	assert_int_equal(flightrec_ring_next(&f.ring), next);
	fixture_free(&f);
}

/* Of the index: after half the range of tags, an older one looks newer. */
#define WRAPPED ((1ULL << (RING_ENTRY_TAG_BITS - 1)) + 8)

/* Who publishes a whole index later leaves the entry to whom it belongs. */
static void publishes_too_late(void **state)
{
	struct flightrec_place place = { 0 };
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 seq;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(1, 0);
	assert_true(flightrec_ring_reserve(&f.ring, 0, 8, &place));
	seq = atomic64_fetch_add(1, &f.ring.next_seq);
	write_some(f.ring.nindex, 1);
	flightrec_ring_publish(&f.ring, seq, &place);
	assert_int_equal(flightrec_ring_fetch(&f.ring, seq + f.ring.nindex, &stamp, payload,
					      sizeof(payload)), 0);
	assert_true(intact(&stamp, payload));
	/* Also where so many have come since that the tags have wrapped. */
	atomic64_add(WRAPPED * f.ring.nindex, &f.ring.next_seq);
	write_some(f.ring.nindex, 1);
	flightrec_ring_publish(&f.ring, seq, &place);
	seq += (WRAPPED + 2) * f.ring.nindex;
	assert_int_equal(flightrec_ring_next(&f.ring), seq + 1);
	assert_int_equal(flightrec_ring_fetch(&f.ring, seq, &stamp, payload, sizeof(payload)), 0);
	assert_true(intact(&stamp, payload));
	fixture_free(&f);
}

/* The oldest record and how many there are, by looking at each number. */
static void by_each_number(u64 *oldest, u64 *kept)
{
	u64 next = flightrec_ring_next(&f.ring), seq = horizon(&f.ring, next);
	struct flightrec_stamp stamp;

	for (*oldest = next, *kept = 0; seq < next; seq++)
		if (!flightrec_ring_fetch(&f.ring, seq, &stamp, NULL, 0) && !(*kept)++)
			*oldest = seq;
}

/* Of how many blocks the memory itself was touched in the steps that were traced. */
static u32 blocks_touched(void)
{
	static bool touched[2000];
	u32 i, sum = 0;

	assert_true(steps <= TRACED && f.ring.nblocks <= 2000);
	memset(touched, 0, sizeof(touched));
	for (i = 0; i < steps; i++)
		if (trace[i].at >= f.memory &&
		    trace[i].at < f.memory + f.ring.nblocks * RING_BLOCK_WORDS)
			touched[(trace[i].at - f.memory) / RING_BLOCK_WORDS] = true;
	for (i = 0; i < f.ring.nblocks; i++)
		sum += touched[i];
	return sum;
}

/*
 * A reader that was left far behind, and who asks for the oldest record: in as many
 * steps as there are blocks, or groups of them, and never past a record.
 */
static void skips_by_blocks(void **state)
{
	struct flightrec_cursor cursor;
	u64 oldest, kept, all, seq, lost;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u32 round, i;

	(void)state;
	srand(1);
	count = 0;
	fixture_init(&f, 1000 * FLIGHTREC_RING_BLOCK_BYTES);
	for (round = 0; round < 30; round++) {
		for (i = 0; i < 20000; i++)
			write_some(1, rand() % 3 ? 1 : rand() % 200 ? 2 : rand() % CPUS);
		if (round == 7 || round == 20)
			flightrec_ring_clear(&f.ring);
		by_each_number(&oldest, &kept);
		begin(0, NULL);
		assert_int_equal(flightrec_ring_oldest(&f.ring, NULL), oldest);
		end();
		assert_true(steps < 1000);
		begin(0, NULL);
		assert_int_equal(flightrec_ring_oldest(&f.ring, &all), oldest);
		end();
		assert_int_equal(all, kept);
		/* The first one has clear_seq; of the others the open ones, and the oldest. */
		assert_true(blocks_touched() <= 1 + 4 * CPUS);
		cursor = flightrec_cursor_at(1);
		for (seq = 1; seq < flightrec_ring_next(&f.ring); seq = stamp.seq + 1) {
			begin(0, NULL);
			if (flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost))
				break;
			end();
			assert_int_equal(stamp.seq, seq + lost);
			assert_true(intact(&stamp, payload));
			assert_true(steps < 8 * f.ring.nblocks);
			/* What is there is not skipped. */
			if (round % 10 == 9)
				assert_int_equal(skip_gone(&f.ring, stamp.seq, stamp.seq + 1, NULL),
						 stamp.seq);
			kept--;
		}
		end();
		assert_int_equal(kept, 0);
	}
	fixture_free(&f);
}

/* Urgent records are written by CPUs of numbers beyond all others. */
#define URGENT CPUS

static void overwrite_urgent(void) { write_some(400, URGENT + 1); }
static void urgent_from_an_nmi(void) { write_some(1, URGENT); }
static void urgent_block_from_an_nmi(void) { write_some(90, URGENT); }
static void overwrite_others(void) { write_some(1200, 1); }
static void flood_beyond_the_index(void) { write_some(f.ring.nindex + 10, 1); }

static void (* const beside_urgent[])(void) = {
	overwrite_urgent, urgent_from_an_nmi, urgent_block_from_an_nmi, overwrite_others,
	flood_beyond_the_index, drop_all,
};
#define URGENT_WAYS (sizeof(beside_urgent) / sizeof(beside_urgent[0]))

/* Each step of the first ones, then fewer: an operation has many. */
static u32 later(u32 at)
{
	return at + 1 + at / 16;
}

/* As all_intact(), also where the index does not reach. */
static void all_readable(void)
{
	struct flightrec_cursor cursor;
	u64 kept, found = 0, lost;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];

	cursor = flightrec_cursor_at(flightrec_ring_oldest(&f.ring, &kept));
	while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
		assert_true(intact(&stamp, payload));
		found++;
	}
	assert_int_equal(cursor.seq, flightrec_ring_next(&f.ring));
	assert_int_equal(found, kept);
}

static void urgent_writer_at_each_step(void **state)
{
	bool more;
	u64 seq, n;
	u32 way, at;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	assert_true(f.ring.nkept >= CPUS + 2);
	write_some(1, 0);
	for (way = 0; way < URGENT_WAYS; way++) {
		for (at = 1, more = true; more; at = later(at)) {
			/* To the end of a block, whose next one is claimed. */
			f.ring.cpus[URGENT].open = 0;
			n = ++count;
			inner_last = 0;
			begin(at, beside_urgent[way]);
			seq = append(&f, n, URGENT);
			more = end();
			assert_true(seq != inner_last);
			seq = append(&f, ++count, URGENT);
			assert_int_equal(seq, flightrec_ring_next(&f.ring) - 1);
			all_readable();
		}
	}
	fixture_free(&f);
}

/* Records that the index does not reach any more. */
static void reader_of_old_ones_at_each_step(void **state)
{
	struct flightrec_cursor cursor;
	bool more;
	u32 way, at;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	for (way = 0; way < URGENT_WAYS; way++) {
		for (at = 1, more = true; more; at = later(at)) {
			write_some(60, URGENT + 2);
			write_some(f.ring.nindex + 10, 2);
			cursor = at_oldest(&f);
			assert_true(cursor.seq < reach(&f.ring, flightrec_ring_next(&f.ring)));
			drain(&cursor, true, at, beside_urgent[way], &more);
		}
	}
	fixture_free(&f);
}

/* What is kept is read, also if the index comes to reach no more so far meanwhile. */
static void kept_one_while_the_index_goes_on(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	bool more;
	u32 way, at;
	u64 lost;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	for (way = 0; way < 2; way++) {
		for (at = 1, more = true; more; at++) {
			write_some(1, URGENT + 2);
			cursor = flightrec_cursor_at(inner_last);
			begin(at, flood_beyond_the_index);
			assert_int_equal(read_one(&cursor, way, &stamp, payload, &lost), 0);
			more = end();
			assert_true(intact(&stamp, payload));
			assert_int_equal(lost, 0);
			assert_int_equal(stamp.cpu, URGENT + 2);
		}
	}
	fixture_free(&f);
}

/* A block is passed over by others if it is in the table, and only then. */
static void table_has_what_is_kept(void)
{
	u64 i, in_table = 0, kept = 0;

	for (i = 0; i < f.ring.nblocks; i++)
		kept += f.ring.is_kept[i];
	for (i = 0; i < f.ring.nkept; i++) {
		if (!f.ring.kept[i].counter)
			continue;
		in_table++;
		assert_true(f.ring.is_kept[f.ring.kept[i].counter - 1]);
	}
	assert_int_equal(in_table, kept);
}

/* Two who fill the same place of the table. */
static void first_urgent_one_at_each_step(void **state)
{
	bool more;
	u32 at;

	(void)state;
	count = 0;
	for (at = 1, more = true; more; at++) {
		fixture_init(&f, 4 * ring_bytes());
		write_some(1, 0);
		begin(at, overwrite_urgent);
		append(&f, ++count, URGENT);
		more = end();
		table_has_what_is_kept();
		all_readable();
		fixture_free(&f);
	}
}

static void first_other_one(void) { write_some(1, 1); }

static bool is_there(u64 seq)
{
	struct flightrec_cursor cursor = flightrec_cursor_at(seq);
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 lost;

	return !read_one(&cursor, true, &stamp, payload, &lost) && stamp.seq == seq &&
	       intact(&stamp, payload);
}

/*
 * Urgent ones were alone so far, and the first other one comes while one is written, or one
 * while that is, also from an NMI: no flood displaces it, nor the next ones. But for one
 * that claims a block just before there are shares.
 */
static void shares_begin_at_each_step(void **state)
{
	static void (* const acts[])(void) = {
		first_other_one, urgent_from_an_nmi, urgent_block_from_an_nmi, overwrite_urgent,
		first_other_one,
	};
	u64 outer, inner, next, way;
	bool more;
	u32 at, gone;

	(void)state;
	count = 0;
	for (way = 0; way < 5; way++) {
		gone = 0;
		for (at = 1, more = true; more; at++) {
			fixture_init(&f, 4 * ring_bytes());
			/* The last way with fewer than the share. */
			write_some(way < 4 ? 1000 : 100, URGENT);
			fill_block_of(URGENT);
			begin(at, acts[way]);
			outer = append(&f, ++count, way ? 0 : URGENT);
			more = end();
			inner = inner_last;
			write_some(1, 1);
			next = append(&f, ++count, URGENT);
			write_some(10, URGENT + 1);
			table_has_what_is_kept();
			write_some(f.ring.nindex, 1);
			gone += way < 4 && !is_there(way ? inner : outer);
			assert_true(is_there(next) && is_there(next + 10));
			all_readable();
			fixture_free(&f);
		}
		assert_true(gone <= (way ? 1 : 0));
	}
}

/* All blocks have their turn, and those of the share an urgent writer, but for the first. */
static void others_are_a_round_ahead(void)
{
	u64 claim = f.ring.next_claim.counter;

	while ((u64)f.ring.next_claim.counter < claim + f.ring.nblocks - f.ring.nkept + 1)
		write_some(1, 1);
	f.ring.cpus[URGENT + 1].open = 0;
	write_some(1, URGENT + 1);
	write_some(200, 1);
}

/*
 * The first other one stops, and others go on for a round: what they have by then is not taken
 * from them, but for the block at which it stopped.
 */
static void shares_begin_too_late_at_each_step(void **state)
{
	u64 last, i, gone;
	bool more;
	u32 at;

	(void)state;
	count = 0;
	for (at = 1, more = true; more; at++) {
		fixture_init(&f, 4 * ring_bytes());
		write_some(1000, URGENT);
		begin(at, others_are_a_round_ahead);
		append(&f, ++count, 0);
		more = end();
		last = inner_last;
		write_some(1000, URGENT);
		for (i = gone = 0; i < 180; i++)
			gone += !is_there(last - i);
		/* No block has more. */
		assert_true(!more || gone < 45);
		all_readable();
		fixture_free(&f);
	}
}

/* A whole group of blocks is claimed, and the first one of the next. */
static void shares_begin_and_a_group_is_passed(void)
{
	u32 block;

	write_some(1, 1);
	do {
		write_some(1, 1);
		ring_div(f.ring.next_claim.counter, f.ring.nblocks, &block);
	} while (block % RING_GROUP_BLOCKS != 1);
}

/* What was urgent before there were shares is not skipped by a reader that looks meanwhile. */
static void shares_begin_while_a_reader_skips(void **state)
{
	struct spot place;
	bool more;
	u64 seq, next;
	u32 at;

	(void)state;
	for (at = 1, more = true; more; at += 3) {
		count = 0;
		fixture_init(&f, 500 * FLIGHTREC_RING_BLOCK_BYTES);
		assert_true(f.ring.nkept > RING_GROUP_BLOCKS);
		/* To the end of a group, all of which will be kept. */
		while (f.ring.next_claim.counter < 2 * RING_GROUP_BLOCKS)
			write_some(1, URGENT);
		fill_block_of(URGENT);
		next = flightrec_ring_next(&f.ring);
		seq = next - 100;
		begin(at, shares_begin_and_a_group_is_passed);
		assert_int_equal(skip_gone(&f.ring, seq, next, at % 2 ? &place : NULL), seq);
		more = end();
		assert_true(is_there(seq));
		fixture_free(&f);
	}
}

/* As if others took each turn that is not of a kept block, while somebody tries once. */
static s64 turn_of_others;
static u32 turns_of_kept;

static void others_take_the_turns_between(void)
{
	u32 block;

	if (f.ring.next_claim.counter != turn_of_others && turns_of_kept++ > f.ring.nkept)
		return;
	while (ring_div(f.ring.next_claim.counter, f.ring.nblocks, &block),
	       !f.ring.is_kept[block])
		f.ring.next_claim.counter++;
	turn_of_others = f.ring.next_claim.counter;
	act_at = steps + 1;
}

/* Whoever meets none but kept blocks takes none of them, and tries again. */
static void none_but_kept_ones_in_turn(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 first, i, lost;
	u32 urgent;

	(void)state;
	for (urgent = 0; urgent < 2; urgent++) {
		count = 0;
		fixture_init(&f, 4 * ring_bytes());
		write_some(1, URGENT + 1);
		first = inner_last;
		write_some(60, URGENT + 1);
		write_some(2 * f.ring.nindex, 1);
		turn_of_others = 0;
		turns_of_kept = 0;
		begin(1, others_take_the_turns_between);
		append(&f, ++count, urgent ? URGENT : 0);
		end();
		assert_true(turns_of_kept > f.ring.nkept);
		cursor = flightrec_cursor_at(first);
		for (i = 0; i <= 60; i++) {
			assert_int_equal(read_one(&cursor, true, &stamp, payload, &lost), 0);
			assert_int_equal(lost, 0);
			assert_int_equal(stamp.seq, first + i);
		}
		table_has_what_is_kept();
		fixture_free(&f);
	}
}

/* A reader that is past all urgent ones looks at no group for the sake of those. */
static void skips_groups_that_have_kept_ones(void **state)
{
	u64 seq, next;
	u32 i;

	(void)state;
	count = 0;
	fixture_init(&f, 1000 * FLIGHTREC_RING_BLOCK_BYTES);
	/* An urgent block in each group. */
	for (i = 0; i < f.ring.nkept; i++) {
		f.ring.cpus[URGENT].open = 0;
		write_some(1, URGENT);
		write_some(120, 1);
	}
	write_some(2 * f.ring.nindex, 1);
	next = flightrec_ring_next(&f.ring);
	seq = reach(&f.ring, next);
	assert_true(flightrec_ring_oldest(&f.ring, NULL) < seq);
	begin(0, NULL);
	assert_true(skip_gone(&f.ring, seq, next, NULL) < next);
	end();
	/* Half of what it takes to look at each group. */
	assert_true(steps < 3 * f.ring.nblocks);
	fixture_free(&f);
}

/* A record under way in an old block is passed over, those before it are not. */
static void old_ones_beside_one_under_way(void **state)
{
	struct flightrec_place place = { 0 };
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 lost, seq;
	u32 i;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	write_some(1, 0);
	/* What was there before must not be taken for what is not there yet. */
	write_some(2000, URGENT);
	f.ring.cpus[URGENT].open = 0;
	write_some(1, URGENT);
	seq = inner_last;
	write_some(19, URGENT);
	assert_true(flightrec_ring_reserve(&f.ring, URGENT, 100, &place));
	/* As if the writer had not got to its first store. */
	place.stamp->seq = seq + 25;
	place.stamp->len = 64;
	write_some(f.ring.nindex + 10, 1);
	cursor = flightrec_cursor_at(seq);
	assert_true(flightrec_ring_readable(&f.ring, &cursor));
	for (i = 0; i < 20; i++) {
		assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
		assert_int_equal(lost, 0);
		assert_int_equal(stamp.seq, seq + i);
		assert_true(intact(&stamp, payload));
	}
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_int_equal(stamp.seq - lost, seq + 20);
	assert_true(stamp.seq >= reach(&f.ring, flightrec_ring_next(&f.ring)));
	fixture_free(&f);
}

/* Who is to die gives up, with the place where it was. */
static void ends_when_interrupted(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 lost;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(3000, 1);
	cursor = flightrec_cursor_at(flightrec_ring_next(&f.ring) - 1000);
	interrupted = true;
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), -EINTR);
	interrupted = false;
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_int_equal(stamp.seq - lost, flightrec_ring_next(&f.ring) - 1000);
	fixture_free(&f);
}

/* A large ring is made while others run: they may as often as its size asks for. */
static void others_run_while_a_ring_is_made(void **state)
{
	(void)state;
	fixture_init(&f, 40ULL << 20);
	relaxed = 0;
	assert_int_equal(init_ring(&f, f.ring.nblocks), 0);
	assert_true(f.ring.nindex >= 4 * 65536);
	assert_int_equal(relaxed, flightrec_ring_groups(f.ring.nblocks) + f.ring.nindex / 65536);
	fixture_free(&f);
}

/* A torn stamp with a length that wraps when it is rounded up. */
static void torn_length_is_bounded(void **state)
{
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	struct flightrec_stamp stamp, *torn;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(1, 0);
	torn = (void *)&f.memory[(f.cpus[0].open & RING_MASK(20)) * RING_BLOCK_WORDS +
				 RING_BLOCK_HEADER];
	torn->len = ~0U;
	assert_int_equal(flightrec_ring_fetch(&f.ring, 1, &stamp, payload, sizeof(payload)),
			 -ENOENT);
	fixture_free(&f);
}

static bool is_load(enum step kind)
{
	return kind == STEP_LOAD || kind == STEP_ACQUIRE;
}

static bool is_store(enum step kind)
{
	return kind == STEP_STORE || kind == STEP_RELEASE;
}

/* Does the kernel's memory model keep the steps @a < @b in order for others? */
static bool ordered(u32 a, u32 b)
{
	u32 i;

	if (trace[a].kind == STEP_ACQUIRE || trace[b].kind == STEP_RELEASE)
		return true;
	for (i = a; i <= b; i++)
		if (trace[i].kind == STEP_FULL ||
		    (trace[i].kind == STEP_RMB && is_load(trace[a].kind) &&
		     is_load(trace[b].kind)) ||
		    (trace[i].kind == STEP_WMB && is_store(trace[a].kind) &&
		     is_store(trace[b].kind)))
			return true;
	return false;
}

static u32 find(const void *at, bool last)
{
	u32 i, found = ~0U;

	for (i = 0; i < steps; i++)
		if (trace[i].at == at && (last || found == ~0U))
			found = i;
	assert_true(found != ~0U);
	return found;
}

static bool within(const u64 *at, const u64 *from, u32 words)
{
	return at >= from && at < from + words;
}

static void writer_barriers(void **state)
{
	const u64 *record, *block, *entry;
	u32 words, number, index, commit, zero, seq, i;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(1, 0);
	while (length_of(++count) < 100)
		;
	words = flightrec_record_words(length_of(count));
	block = &f.memory[(f.cpus[0].open & RING_MASK(20)) * RING_BLOCK_WORDS];
	record = &block[block[RING_BLOCK_STATE] & RING_MASK(23)];
	entry = &f.index[flightrec_ring_next(&f.ring) & (f.ring.nindex - 1)];
	begin(0, NULL);
	append(&f, count, 0);
	end();
	number = find(&f.ring.next_seq, false);
	index = find(entry, true);
	commit = find(&block[RING_BLOCK_COMMITTED], true);
	zero = find(record, false);
	seq = find(record, true);
	assert_true(zero < seq && number < seq && seq < index && index < commit);
	assert_true(ordered(seq, index) && ordered(seq, commit));
	/* H: the entry, then the next number, before the entry is replaced. */
	assert_true(find(entry, false) < find(&f.ring.next_seq, true) &&
		    find(&f.ring.next_seq, true) < index &&
		    ordered(find(entry, false), find(&f.ring.next_seq, true)));
	for (i = 0; i < steps; i++) {
		if (!within(trace[i].at, record + 1, words - 1))
			continue;
		assert_true(zero < i && ordered(zero, i));		/* E */
		assert_true(i < number && ordered(i, seq));
		assert_true(trace[seq].kind == STEP_RELEASE);
		assert_true(ordered(i, index));				/* C */
		assert_true(trace[commit].kind == STEP_RELEASE);	/* F */
	}
	fixture_free(&f);
}

/* I: that the block is open is seen before it is looked whether there are shares by now. */
static void share_barriers(void **state)
{
	u32 i, opened = ~0U, looked = ~0U;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	write_some(1000, URGENT);
	fill_block_of(URGENT);
	begin(0, NULL);
	append(&f, ++count, URGENT);
	end();
	for (i = 0; i < steps; i++) {
		if (trace[i].at == &f.cpus[URGENT].open && is_store(trace[i].kind))
			opened = i;
		if (trace[i].at == (u64 *)&f.ring.shares && opened != ~0U && looked == ~0U)
			looked = i;
	}
	assert_true(looked != ~0U && ordered(opened, looked));
	fixture_free(&f);
}

/* J, K: what a group no longer counts is seen in the table. */
static void table_barriers(void **state)
{
	u32 group, table;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	write_some(1000, 1);
	begin(0, NULL);
	sum_up_group(&f.ring, 0);
	end();
	assert_int_equal(trace[find(&f.ring.group_first[0], true)].kind, STEP_RELEASE);
	begin(0, NULL);
	skip_gone(&f.ring, 1, flightrec_ring_next(&f.ring), NULL);
	end();
	group = find(&f.ring.group_first[0], true);
	table = find(&f.ring.kept[0], true);
	assert_true(group < table && ordered(group, table));
	fixture_free(&f);
}

/* G: what is committed is known before the block is taken. */
static void claim_barriers(void **state)
{
	u32 i, left, checked = 0;

	(void)state;
	count = 0;
	fixture_init(&f, ring_bytes());
	write_some(700, 0);
	fill_block();
	left = f.cpus[0].open & RING_MASK(20);
	begin(0, NULL);
	append(&f, ++count, 0);
	end();
	for (i = 0; i < steps; i++) {
		u64 word = trace[i].at - f.memory;

		/* The block that it leaves was written by this CPU alone. */
		if (word / RING_BLOCK_WORDS == left)
			continue;
		if (word >= f.ring.nblocks * RING_BLOCK_WORDS ||
		    word % RING_BLOCK_WORDS != RING_BLOCK_COMMITTED ||
		    !is_load(trace[i].kind))
			continue;
		assert_int_equal(trace[i].kind, STEP_ACQUIRE);
		/* A: and the lap is a full barrier before the first word. */
		assert_true(trace[i + 1].kind == STEP_FULL && trace[i + 1].at == trace[i].at - 1);
		checked++;
	}
	assert_int_equal(checked, 1);
	fixture_free(&f);
}

static void reader_barriers(void **state)
{
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	const u64 *record, *block;
	u32 index, lap, i, words, way;
	u64 lost;

	(void)state;
	for (way = 0; way < 2; way++) {
		count = 0;
		fixture_init(&f, ring_bytes());
		write_some(3, 0);
		cursor = flightrec_cursor_at(1);
		block = &f.memory[(f.cpus[0].open & RING_MASK(20)) * RING_BLOCK_WORDS];
		record = &block[RING_BLOCK_HEADER];
		begin(0, NULL);
		assert_int_equal(read_one(&cursor, way, &stamp, payload, &lost), 0);
		end();
		words = stamp.len / 8 + FLIGHTREC_STAMP_WORDS;
		index = find(&f.index[1], false);
		lap = find(&block[RING_BLOCK_STATE], true);
		for (i = 0; i < steps; i++) {
			if (!within(trace[i].at, record, words))
				continue;
			assert_true(index < i && ordered(index, i));	/* D */
			assert_true(i < lap && ordered(i, lap));	/* B */
		}
		fixture_free(&f);
	}
}

/* The same where the block says what it has: what is committed comes first there. */
static void old_reader_barriers(void **state)
{
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u32 committed, lap, i, looked = 0;
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	const u64 *block;
	u64 lost;

	(void)state;
	count = 0;
	fixture_init(&f, 4 * ring_bytes());
	write_some(1, 0);
	write_some(3, URGENT);
	write_some(f.ring.nindex + 10, 1);
	cursor = flightrec_cursor_at(2);
	block = &f.memory[(f.cpus[URGENT].open & RING_MASK(20)) * RING_BLOCK_WORDS];
	begin(0, NULL);
	assert_int_equal(read_one(&cursor, true, &stamp, payload, &lost), 0);
	end();
	assert_int_equal(stamp.seq, 2);
	assert_true(steps <= TRACED);
	committed = find(&block[RING_BLOCK_COMMITTED], false);
	for (i = 0; i < steps; i++) {
		if (!within(trace[i].at, block + RING_BLOCK_HEADER,
			    RING_BLOCK_WORDS - RING_BLOCK_HEADER))
			continue;
		assert_true(committed < i && ordered(committed, i));	/* G */
		for (lap = i; trace[lap].at != block; lap++)
			assert_true(lap < steps);
		assert_true(ordered(i, lap));				/* B */
		looked++;
	}
	assert_true(looked > 3 * 2);
	fixture_free(&f);
}

/* After a test that failed within an operation. */
static int rest(void **state)
{
	(void)state;
	idle = true;
	return 0;
}

#define CASE(name) cmocka_unit_test_teardown(name, rest)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(reader_at_each_step),
		CASE(far_behind_at_each_step),
		CASE(writer_at_each_step),
		CASE(clear_at_each_step),
		CASE(refused_takes_no_number),
		CASE(publishes_too_late),
		CASE(torn_length_is_bounded),
		CASE(skips_by_blocks),
		CASE(urgent_writer_at_each_step),
		CASE(reader_of_old_ones_at_each_step),
		CASE(kept_one_while_the_index_goes_on),
		CASE(first_urgent_one_at_each_step),
		CASE(shares_begin_at_each_step),
		CASE(shares_begin_too_late_at_each_step),
		CASE(shares_begin_while_a_reader_skips),
		CASE(none_but_kept_ones_in_turn),
		CASE(skips_groups_that_have_kept_ones),
		CASE(old_ones_beside_one_under_way),
		CASE(ends_when_interrupted),
		CASE(others_run_while_a_ring_is_made),
		CASE(writer_barriers),
		CASE(claim_barriers),
		CASE(share_barriers),
		CASE(table_barriers),
		CASE(reader_barriers),
		CASE(old_reader_barriers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
