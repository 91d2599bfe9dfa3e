// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ring core, compiled as it is: its bookkeeping step by step, then
 * writers and readers at once. Every payload can be checked by itself, so a
 * torn one is seen whatever it is made of.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "fixture.h"

#define READERS 3

static void refuses_bad_sizes(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, ring_bytes());
	assert_int_equal(init_ring(&f, 0), -EINVAL);
	assert_int_equal(init_ring(&f, CPUS + 1), -EINVAL);
	assert_int_equal(init_ring(&f, (1 << 20) + 1), -EINVAL);
	assert_int_equal(flightrec_ring_blocks_in(0), 0);
	assert_int_equal(flightrec_ring_blocks_in(ring_bytes() - 1), CPUS + 1);
	assert_int_equal(flightrec_ring_blocks_in(ring_bytes()), CPUS + 2);
	assert_int_equal(flightrec_ring_blocks_in(flightrec_ring_max_bytes()), 1 << 20);
	fixture_free(&f);
}

static void empty_ring_has_nothing(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 lost;

	(void)state;
	fixture_init(&f, ring_bytes());
	cursor = at_oldest(&f);
	assert_false(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost),
			 -EAGAIN);
	fixture_free(&f);
}

static void largest_records_in_smallest_ring(void **state)
{
	static u8 big[FLIGHTREC_RING_PAYLOAD_MAX], got[FLIGHTREC_RING_PAYLOAD_MAX];
	struct flightrec_stamp stamp = { .len = sizeof(big) };
	struct flightrec_cursor cursor;
	struct fixture f;
	u64 lost, i;

	(void)state;
	fixture_init(&f, ring_bytes());
	for (i = 1; i <= 1000; i++) {
		memset(big, (int)i, sizeof(big));
		assert_int_equal(flightrec_ring_append(&f.ring, i % CPUS, &stamp, big), 0);
		assert_int_equal(stamp.seq, i);
		cursor = flightrec_cursor_at(i);
		assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, got,
						     &lost), 0);
		assert_int_equal(lost, 0);
		assert_memory_equal(big, got, sizeof(big));
	}
	fixture_free(&f);
}

/*
 * One busy CPU, the others with an open block each: of the newest data, all
 * blocks but one for each CPU and one more are there, and in one piece.
 */
static void retains_the_newest(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u64 lost, n, kept, bytes;
	u8 payload[4096];
	u32 cpu;

	(void)state;
	fixture_init(&f, 4 * ring_bytes());
	for (cpu = 0; cpu < CPUS; cpu++)
		append(&f, cpu + 1, cpu);
	for (n = CPUS + 1; n <= 60000; n++) {
		append(&f, n, 2);
		if (n < 5000 || n % 999)
			continue;
		cursor = flightrec_cursor_at(flightrec_ring_oldest(&f.ring, &kept));
		/* Nothing after the oldest of this lap is missing. */
		assert_int_equal(cursor.seq + kept, n + 1);
		bytes = 0;
		while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
			assert_true(intact(&stamp, payload));
			bytes += sizeof(stamp) + ((stamp.len + 7) & ~7U);
		}
		/* What ends a block unused is less than the largest record. */
		assert_true(bytes + f.ring.nblocks * 700 >=
			    (f.ring.nblocks - CPUS - 1) * FLIGHTREC_RING_BLOCK_BYTES);
	}
	fixture_free(&f);
}

/* Is record @seq there, and whole? */
static bool retained(struct fixture *f, u64 seq)
{
	struct flightrec_cursor cursor = flightrec_cursor_at(seq);
	struct flightrec_stamp stamp;
	u8 payload[4096];
	u64 lost;

	return !flightrec_ring_read(&f->ring, &cursor, &stamp, payload, &lost) &&
	       !lost && intact(&stamp, payload);
}

/* How many records of one busy CPU fit before the one with this number is gone. */
static u64 lives_for(struct fixture *f, u64 seq, u64 n, u32 busy)
{
	u64 i;

	for (i = 0; retained(f, seq); i++) {
		append(f, n + i, busy);
		assert_true(i < 100000);
	}
	return i;
}

/*
 * CPUs that write now and then, at any moment of the busy one's round, to a block
 * that they opened long before: their records live as long as the busy one's.
 */
static void idle_cpus_records_are_as_new(void **state)
{
	u64 sizes[] = { ring_bytes(), 2 * ring_bytes(), 12 * ring_bytes() };
	u64 n = 1, seq, per_block;
	struct fixture f;
	u32 i, gap;

	(void)state;
	for (i = 0; i < 3; i++) {
		fixture_init(&f, sizes[i]);
		/* Records in a block, roughly. */
		per_block = FLIGHTREC_RING_BLOCK_BYTES / (300 + sizeof(struct flightrec_stamp));
		for (gap = 1; gap < 2 * f.ring.nblocks * per_block; gap = gap * 5 / 4 + 1) {
			u32 cpu = 1 + gap % (CPUS - 1), k;

			append(&f, n++, cpu);
			for (k = 0; k < gap; k++)
				append(&f, n++, 0);
			seq = append(&f, n++, cpu);
			assert_true(lives_for(&f, seq, n, 0) + per_block / 2 >=
				    (f.ring.nblocks - CPUS - 1) * per_block);
			n += 100000;
		}
		fixture_free(&f);
	}
}

/* Bytes of the newest records, back to the first that is gone. */
static u64 newest_bytes(struct fixture *f)
{
	u64 seq = flightrec_ring_next(&f->ring) - 1, lost, bytes = 0;
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;

	for (; seq; seq--) {
		cursor = flightrec_cursor_at(seq);
		if (flightrec_ring_read(&f->ring, &cursor, &stamp, NULL, &lost) || lost)
			break;
		bytes += sizeof(stamp) + ((stamp.len + 7) & ~7U);
	}
	return bytes;
}

/* CPUs of different speeds, which change: two thirds of the blocks hold the newest. */
static void random_loads_keep_the_newest(void **state)
{
	u32 speed[CPUS] = { 1, 1, 1, 1 };
	struct fixture f;
	u32 seed, cpu;
	u64 n;

	(void)state;
	for (seed = 0; seed < 12; seed++) {
		srand(seed);
		fixture_init(&f, 10 * ring_bytes());
		for (n = 1; n < 30000; n++) {
			u32 turn = rand() % (speed[0] + speed[1] + speed[2] + speed[3]);

			for (cpu = 0; turn >= speed[cpu]; cpu++)
				turn -= speed[cpu];
			append(&f, n, cpu);
			if (n % 1500 == 0)
				for (cpu = 0; cpu < CPUS; cpu++)
					speed[cpu] = 1 << rand() % 12;
			if (n > 10000 && n % 499 == 0)
				assert_true(newest_bytes(&f) >= f.ring.nblocks * 2 / 3 *
					    FLIGHTREC_RING_BLOCK_BYTES);
		}
		fixture_free(&f);
	}
}

/* Every size, so that each way to fill a block's end is met. */
static void fills_blocks_to_the_end(void **state)
{
	static u8 payload[FLIGHTREC_RING_PAYLOAD_MAX], got[FLIGHTREC_RING_PAYLOAD_MAX];
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u64 lost;
	u32 len;

	(void)state;
	fixture_init(&f, ring_bytes());
	for (len = 0; len <= FLIGHTREC_RING_PAYLOAD_MAX; len++) {
		memset(payload, (int)len, sizeof(payload));
		stamp = (struct flightrec_stamp) { .len = len };
		assert_int_equal(flightrec_ring_append(&f.ring, 0, &stamp, payload), 0);
		cursor = flightrec_cursor_at(stamp.seq);
		assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, got, &lost), 0);
		assert_int_equal(stamp.len, len);
		assert_memory_equal(payload, got, len);
	}
	fixture_free(&f);
}

/* A reader that comes by now and then accounts for every record. */
static void loss_is_exact(void **state)
{
	u64 delivered = 0, lost_sum = 0, lost, n, last = 0;
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];

	(void)state;
	fixture_init(&f, ring_bytes());
	cursor = at_oldest(&f);
	for (n = 1; n <= 30000; n++) {
		append(&f, n, 1);
		if (n % 1997 > 20 && n != 30000)
			continue;
		while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
			assert_true(intact(&stamp, payload));
			assert_int_equal(stamp.seq, last + lost + 1);
			last = stamp.seq;
			lost_sum += lost;
			delivered++;
		}
	}
	assert_int_equal(delivered + lost_sum, 30000);
	assert_true(lost_sum > 0);
	fixture_free(&f);
}

static void clear_counts_as_lost(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 lost;

	(void)state;
	fixture_init(&f, ring_bytes());
	cursor = at_oldest(&f);
	append(&f, 1, 0);
	append(&f, 2, 0);
	assert_int_equal(flightrec_ring_clear(&f.ring), 2);
	assert_false(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost),
			 -EAGAIN);
	append(&f, 3, 0);
	assert_true(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_int_equal(lost, 2);
	assert_int_equal(stamp.seq, 3);
	fixture_free(&f);
}

/* Urgent records are written by CPUs of numbers beyond all others. */
#define URGENT CPUS

/* How many of @n records of a CPU from @seq on are there, in order and whole. */
static u64 there(struct fixture *f, u64 seq, u64 n, u32 cpu)
{
	struct flightrec_cursor cursor = flightrec_cursor_at(seq);
	struct flightrec_stamp stamp;
	u64 lost, found = 0, last = seq - 1;
	u8 payload[4096];

	while (!flightrec_ring_read(&f->ring, &cursor, &stamp, payload, &lost)) {
		assert_true(intact(&stamp, payload));
		assert_int_equal(stamp.seq, last + lost + 1);
		last = stamp.seq;
		found += stamp.cpu == cpu && stamp.seq < seq + n;
	}
	return found;
}

/* A flood of others, of whatever length, displaces nothing of their share. */
static void urgent_ones_outlive_a_flood(void **state)
{
	u64 n, seq, kept, bytes, all = 0;
	struct fixture f;
	u32 cpu;

	(void)state;
	fixture_init(&f, 4 * ring_bytes());
	assert_int_equal(f.ring.nkept, f.ring.nblocks / 4);
	for (n = 1; n <= 2000; n++)
		append(&f, n, n % CPUS);
	seq = flightrec_ring_next(&f.ring);
	bytes = flightrec_ring_bytes(&f.ring);
	for (n = 1; n <= 150; n++) {
		append(&f, n, URGENT + 1);
		bytes += length_of(n);
	}
	assert_int_equal(flightrec_ring_bytes(&f.ring), bytes);
	for (n = 1; n <= 10 * f.ring.nindex; n++)
		append(&f, n, n % CPUS);
	assert_int_equal(flightrec_ring_oldest(&f.ring, &kept), seq);
	assert_int_equal(there(&f, seq, 150, URGENT + 1), 150);
	for (cpu = 0; cpu < CPUS; cpu++)
		all += there(&f, seq, ~0ULL - seq, cpu);
	assert_int_equal(kept, 150 + all);
	assert_int_equal(flightrec_ring_clear(&f.ring), kept);
	assert_int_equal(flightrec_ring_oldest(&f.ring, &kept), flightrec_ring_next(&f.ring));
	assert_int_equal(kept, 0);
	fixture_free(&f);
}

/* And the other way round: of all others' blocks, all but those that are open and one. */
static void a_flood_of_urgent_ones_displaces_its_share(void **state)
{
	const u64 per_block = FLIGHTREC_RING_BLOCK_BYTES / (300 + sizeof(struct flightrec_stamp));
	u64 n, seq, fit, found = 0, urgent = 0;
	struct fixture f;

	(void)state;
	fixture_init(&f, 4 * ring_bytes());
	for (n = 1; n <= 2000; n++)
		append(&f, n, n % CPUS);
	fit = (f.ring.nblocks - f.ring.nkept - CPUS - 1) * per_block * 9 / 10;
	seq = flightrec_ring_next(&f.ring) - fit;
	for (n = 1; n <= 10 * f.ring.nindex; n++)
		append(&f, n, URGENT + n % CPUS);
	for (n = 0; n < CPUS; n++)
		found += there(&f, seq, fit, n);
	assert_int_equal(found, fit);
	/* Of themselves the newest are there, as in a ring of that size. */
	seq = flightrec_ring_next(&f.ring) - (f.ring.nkept - CPUS - 1) * per_block * 9 / 10;
	for (n = 0; n < CPUS; n++)
		urgent += there(&f, seq, ~0ULL - seq, URGENT + n);
	assert_int_equal(urgent, flightrec_ring_next(&f.ring) - seq);
	fixture_free(&f);
}

/* Of what a full share leaves: all but the open blocks, as many that seem fresh, and one. */
static void others_have_what_a_full_share_leaves(void **state)
{
	/* With what does not fit at the end of a block. */
	const u64 per_block = FLIGHTREC_RING_BLOCK_BYTES / 400;
	u64 n, fit, newest;
	struct flightrec_stamp stamp;
	struct fixture f;

	(void)state;
	fixture_init(&f, 16 * ring_bytes());
	for (n = 1; n <= f.ring.nindex; n++)
		append(&f, n, URGENT + n % CPUS);
	fit = (f.ring.nblocks - f.ring.nkept - 2 * CPUS - 1) * per_block;
	for (n = 1; n <= 5 * f.ring.nindex; n++) {
		append(&f, n, n % CPUS);
		if (n < f.ring.nindex || n % 1009)
			continue;
		for (newest = 0; newest < fit; newest++)
			assert_int_equal(flightrec_ring_fetch(
				&f.ring, flightrec_ring_next(&f.ring) - 1 - newest,
				&stamp, NULL, 0), 0);
	}
	fixture_free(&f);
}

/* Without urgent ones the whole ring is for the others; the smallest ring has no shares. */
static void no_urgent_ones_no_share(void **state)
{
	struct fixture f;
	u64 n, kept;

	(void)state;
	fixture_init(&f, 4 * ring_bytes());
	for (n = 1; n <= 5000; n++)
		append(&f, n, 0);
	flightrec_ring_oldest(&f.ring, &kept);
	assert_true(kept > (f.ring.nblocks - 2) * (FLIGHTREC_RING_BLOCK_BYTES / 420));
	fixture_free(&f);
	fixture_init(&f, ring_bytes());
	assert_int_equal(f.ring.nkept, 0);
	assert_int_equal(flightrec_ring_writer(&f.ring, 3, 0), 3);
	fixture_free(&f);
	fixture_init(&f, 4 * ring_bytes());
	assert_int_equal(flightrec_ring_writer(&f.ring, 3, 3), 3 + CPUS);
	assert_int_equal(flightrec_ring_writer(&f.ring, 3, 4), 3);
	fixture_free(&f);
}

static bool is_there(struct fixture *f, u64 seq)
{
	struct flightrec_cursor cursor = flightrec_cursor_at(seq);
	struct flightrec_stamp stamp;
	u8 payload[4096];
	u64 lost;

	return !flightrec_ring_read(&f->ring, &cursor, &stamp, payload, &lost) &&
	       stamp.seq == seq;
}

/* Urgent ones alone have the whole ring; the first other one leaves them the newest of a share. */
static void urgent_ones_alone_have_the_whole_ring(void **state)
{
	const u64 per_block = FLIGHTREC_RING_BLOCK_BYTES / 400;
	u64 n, seq, next, kept, least, idle;
	struct fixture f;
	u32 writers;

	(void)state;
	for (writers = 1; writers <= CPUS; writers++) {
		fixture_init(&f, 16 * ring_bytes());
		/* One that has a block open from long ago. */
		append(&f, 1, URGENT + CPUS - 1);
		for (n = 1; n <= 2 * f.ring.nindex; n++)
			append(&f, n, URGENT + n % writers);
		next = flightrec_ring_next(&f.ring);
		flightrec_ring_oldest(&f.ring, &kept);
		least = (f.ring.nblocks - CPUS - 1) * per_block;
		assert_true(kept > least);
		for (seq = next - least; seq < next; seq++)
			assert_true(is_there(&f, seq));
		append(&f, 1, 0);
		idle = append(&f, 2, URGENT + CPUS - 1);
		for (n = 1; n <= 5 * f.ring.nindex; n++)
			append(&f, n, n % CPUS);
		/* All but the open blocks, as many that were not full, and the idle one's. */
		least = (f.ring.nkept - 2 * CPUS - 1) * per_block;
		for (seq = next - least; seq < next; seq++)
			assert_true(is_there(&f, seq));
		assert_true(is_there(&f, idle));
		/* And from then on they have that share, and the oldest goes first. */
		for (n = 1; n <= f.ring.nkept * per_block; n++)
			append(&f, n, URGENT + n % writers);
		next = flightrec_ring_next(&f.ring);
		for (seq = next - least; seq < next; seq++)
			assert_true(is_there(&f, seq));
		fixture_free(&f);
	}
}

/* However many blocks the urgent ones had before: the oldest of them goes first. */
static void a_share_that_begins_goes_on_in_turn(void **state)
{
	const u64 per_block = FLIGHTREC_RING_BLOCK_BYTES / 400;
	u64 n, k, seq, first, least, newest;
	struct fixture f;
	u32 blocks;

	(void)state;
	for (blocks = 1; blocks < 30; blocks += 4) {
		fixture_init(&f, 16 * ring_bytes());
		least = (f.ring.nkept - CPUS - 1) * per_block;
		for (n = 1; n <= blocks * per_block; n++)
			append(&f, n, URGENT);
		append(&f, n++, 0);
		first = flightrec_ring_next(&f.ring);
		for (k = 0; k < 3 * f.ring.nkept * per_block; k++) {
			newest = append(&f, n++, URGENT);
			if (k % 50)
				continue;
			seq = newest > least ? newest - least : 1;
			for (; seq <= newest; seq++)
				assert_true(is_there(&f, seq) || seq == first - 1);
		}
		fixture_free(&f);
	}
}

/* A large ring keeps no more than a claimer may pass over in a row. */
static void a_flood_of_urgent_ones_in_a_large_ring(void **state)
{
	struct flightrec_ring ring;
	struct fixture f;
	u64 n, seq;

	(void)state;
	fixture_init(&f, 40ULL << 20);
	assert_int_equal(f.ring.nkept, FLIGHTREC_RING_KEPT_MAX + 2 * CPUS);
	append(&f, 1, 0);
	for (n = 1; n <= 40000; n++)
		append(&f, n, URGENT);
	seq = append(&f, n, 0);
	ring = f.ring;
	/* The table is full of blocks in a row, and their turn comes. */
	atomic64_set(&f.ring.next_claim, f.ring.nblocks);
	f.ring.cpus[0].open = 0;
	append(&f, n + 1, 0);
	assert_true((u64)f.ring.next_claim.counter <= f.ring.nblocks + f.ring.nkept + 2 * CPUS);
	assert_int_equal(ring.nkept, f.ring.nkept);
	assert_int_equal(there(&f, seq, 2, 0), 2);
	fixture_free(&f);
}

/*
 * Among themselves, too: the last record of a CPU that wrote now and then, to a block that
 * it opened long before, and that it has left since or not.
 */
static void idle_cpus_urgent_records_are_as_new(void **state)
{
	const u64 per_block = FLIGHTREC_RING_BLOCK_BYTES / (300 + sizeof(struct flightrec_stamp));
	u64 n = 1, seq, last, open, least;
	struct fixture f;
	u32 size, gap, k;

	(void)state;
	for (size = 8; size <= 16; size *= 2) {
		fixture_init(&f, size * ring_bytes());
		for (gap = 1; gap < 2 * f.ring.nkept * per_block; gap = gap * 5 / 4 + 1) {
			u32 cpu = URGENT + 1 + gap % (CPUS - 1);
			bool leaves = gap % 2;

			append(&f, n++, cpu);
			for (k = 0; k < gap; k++) {
				append(&f, n++, URGENT);
				append(&f, n++, k % CPUS);
			}
			open = f.cpus[cpu].open;
			last = seq = append(&f, n++, cpu);
			for (; leaves && f.cpus[cpu].open == open; seq = append(&f, n++, cpu))
				last = seq;
			/* All but the open blocks and one; but as many again, for one left. */
			least = f.ring.nkept - CPUS - 1 - (leaves ? CPUS : 0);
			assert_true(lives_for(&f, last, n, URGENT) + per_block / 2 >=
				    least * per_block);
			n += 100000;
		}
		fixture_free(&f);
	}
}

/* The least number that the index does not reach, and a hole behind it. */
static void reads_the_last_that_the_index_does_not_reach(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 lost, n, seq;

	(void)state;
	fixture_init(&f, 4 * ring_bytes());
	seq = append(&f, 1, URGENT);
	f.ring.next_seq.counter++;
	for (n = 2; n <= f.ring.nindex; n++)
		append(&f, n, n % CPUS);
	cursor = flightrec_cursor_at(seq);
	assert_true(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_int_equal(stamp.seq, seq);
	assert_int_equal(lost, 0);
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), -EAGAIN);
	assert_int_equal(cursor.seq, seq + 1);
	fixture_free(&f);
}

/* CPUs that stopped in the middle of an urgent record: the others go on. */
static void urgent_writers_stopped(void **state)
{
	struct fixture f;
	u64 n, seq;
	u32 cpu;

	(void)state;
	/* The smallest ring that has a share. */
	fixture_init(&f, ring_bytes());
	while (!f.ring.nkept) {
		n = f.ring.nblocks + 1;
		fixture_free(&f);
		fixture_init(&f, flightrec_ring_bytes_of(n));
	}
	append(&f, 1, 0);
	for (cpu = 0; cpu < CPUS - 1; cpu++) {
		append(&f, 1, URGENT + cpu);
		f.memory[(f.cpus[URGENT + cpu].open & 0xfffff) *
			 FLIGHTREC_RING_BLOCK_BYTES / 8] += 100;
	}
	for (n = 1; n <= 20000; n++)
		append(&f, n, URGENT + CPUS - 1);
	seq = flightrec_ring_next(&f.ring) - 30;
	assert_int_equal(there(&f, seq, 30, URGENT + CPUS - 1), 30);
	fixture_free(&f);
}

/* As loss_is_exact(), with urgent ones among them and a reader that comes by late. */
static void loss_is_exact_with_shares(void **state)
{
	u64 delivered = 0, lost_sum = 0, lost, n, last = 0;
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];

	(void)state;
	srand(1);
	fixture_init(&f, 4 * ring_bytes());
	cursor = at_oldest(&f);
	for (n = 1; n <= 100000; n++) {
		append(&f, n, n % 3000 < 500 ? URGENT + rand() % 2 : rand() % CPUS);
		if (n % 17001 > 20 && n != 100000)
			continue;
		while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
			assert_true(intact(&stamp, payload));
			assert_int_equal(stamp.seq, last + lost + 1);
			last = stamp.seq;
			lost_sum += lost;
			delivered++;
		}
	}
	assert_int_equal(delivered + lost_sum, 100000);
	assert_true(lost_sum > 0);
	fixture_free(&f);
}

struct stress {
	struct fixture f;
	u64 each;
	int writers_left;
};

struct worker {
	struct stress *stress;
	u32 id;
	u64 delivered, lost, torn, disordered;
	struct flightrec_cursor cursor;
};

static void *stress_writer(void *arg)
{
	struct worker *w = arg;
	u64 n, last = 0;

	for (n = 1; n <= w->stress->each; n++) {
		u64 seq = append(&w->stress->f, n,
				 n % 8 || !w->stress->f.ring.nkept ? w->id : URGENT + w->id);

		/* Written later, so a greater number. */
		w->disordered += seq <= last;
		last = seq;
		if (n % 64 == 0)
			sched_yield();
	}
	__atomic_sub_fetch(&w->stress->writers_left, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void account(struct worker *w, u64 *next, u64 *expect,
		    const struct flightrec_stamp *stamp, const u8 *payload, u64 lost)
{
	w->torn += !intact(stamp, payload);
	w->disordered += stamp->seq != *expect + lost;
	if (stamp->cpu < 2 * CPUS) {
		w->disordered += stamp->boot_ns <= next[stamp->cpu];
		next[stamp->cpu] = stamp->boot_ns;
	}
	*expect = stamp->seq + 1;
	w->lost += lost;
	w->delivered++;
}

static void *stress_reader(void *arg)
{
	struct worker *w = arg;
	struct flightrec_stamp stamp;
	u64 next[2 * CPUS] = { 0 };
	u64 expect = w->cursor.seq;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	int done;
	u64 lost;

	do {
		done = !__atomic_load_n(&w->stress->writers_left, __ATOMIC_ACQUIRE);
		while (!flightrec_ring_read(&w->stress->f.ring, &w->cursor, &stamp,
					    payload, &lost))
			account(w, next, &expect, &stamp, payload, lost);
		sched_yield();
	} while (!done);
	/* What was overwritten at the very end is lost, too. */
	w->lost += flightrec_ring_next(&w->stress->f.ring) - w->cursor.from;
	return NULL;
}

static void stress_ring(u64 bytes)
{
	const char *scale = getenv("RING_STRESS_RECORDS");
	struct stress stress = { .writers_left = CPUS };
	struct worker workers[CPUS + READERS];
	pthread_t threads[CPUS + READERS];
	u32 i;

	stress.each = (scale ? strtoull(scale, NULL, 10) : 100000) / 2;
	fixture_init(&stress.f, bytes);
	for (i = 0; i < CPUS + READERS; i++) {
		workers[i] = (struct worker) {
			.stress = &stress, .id = i, .cursor = at_oldest(&stress.f),
		};
	}
	for (i = 0; i < CPUS + READERS; i++)
		pthread_create(&threads[i], NULL,
			       i < CPUS ? stress_writer : stress_reader, &workers[i]);
	for (i = 0; i < CPUS + READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(flightrec_ring_next(&stress.f.ring), CPUS * stress.each + 1);
	for (i = 0; i < CPUS + READERS; i++) {
		assert_int_equal(workers[i].torn, 0);
		assert_int_equal(workers[i].disordered, 0);
		if (i >= CPUS)
			assert_int_equal(workers[i].delivered + workers[i].lost,
					 CPUS * stress.each);
	}
	fixture_free(&stress.f);
}

/* In the smallest ring, and in one where urgent records have a share. */
static void writers_beside_readers(void **state)
{
	(void)state;
	stress_ring(ring_bytes());
	stress_ring(4 * ring_bytes());
}

/*
 * A signal stands in for an NMI: it interrupts an append anywhere and appends
 * itself, on the same CPU.
 */
static struct fixture *nmi_fixture;
static u64 nmi_count;

static void nmi(int sig)
{
	(void)sig;
	append(nmi_fixture, ++nmi_count, 0);
}

static void append_from_an_nmi(void **state)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u64 n, lost, seen = 0, lost_sum = 0;
	u8 payload[4096];
	struct fixture f;

	(void)state;
	fixture_init(&f, ring_bytes());
	nmi_fixture = &f;
	nmi_count = 0;
	cursor = at_oldest(&f);
	signal(SIGALRM, nmi);
	setitimer(ITIMER_REAL, &often, NULL);
	for (n = 1; n <= 100000; n++) {
		append(&f, n, 0);
		/* Both say that they are CPU 0: one interrupts the other there. */
		if (n % 50)
			continue;
		while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
			assert_true(intact(&stamp, payload));
			lost_sum += lost;
			seen++;
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
		lost_sum += lost;
		seen++;
	}
	assert_true(nmi_count > 0);
	assert_int_equal(seen + lost_sum, n - 1 + nmi_count);
	fixture_free(&f);
}

/*
 * A CPU that stopped for good between reserving and committing: the others
 * go on, and nobody writes where it was.
 */
static void one_cpu_stopped(void **state)
{
	u64 *words, before[2];
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u64 n, lost, count = 0;
	struct fixture f;
	u8 payload[4096];
	u32 block;

	(void)state;
	fixture_init(&f, ring_bytes());
	append(&f, 1, 0);
	block = f.cpus[0].open & 0xfffff;
	words = &f.memory[block * FLIGHTREC_RING_BLOCK_BYTES / 8];
	/* As after the compare and exchange that reserves 100 words. */
	words[0] += 100;
	memcpy(before, words, sizeof(before));
	for (n = 2; n <= 50000; n++)
		append(&f, n, 1 + n % (CPUS - 1));
	/* Closed by those who came by, and otherwise as it was. */
	assert_int_equal(words[0] & ~(1ULL << 23), before[0]);
	assert_int_equal(words[1], before[1]);
	cursor = at_oldest(&f);
	while (!flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost)) {
		assert_true(intact(&stamp, payload));
		count++;
	}
	assert_true(count > 50);
	assert_int_equal(stamp.seq, 50000);
	fixture_free(&f);
}

/* A number that is taken and not published holds readers, and nobody else. */
static void reader_waits_at_a_hole(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 lost, n, hole;

	(void)state;
	fixture_init(&f, ring_bytes());
	append(&f, 1, 0);
	hole = f.ring.next_seq.counter++;
	append(&f, 2, 1);
	cursor = at_oldest(&f);
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_false(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost),
			 -EAGAIN);
	assert_int_equal(cursor.seq, hole);
	/* A whole index later it is given up. */
	for (n = 3; n < f.ring.nindex + 10; n++)
		append(&f, n, 1);
	assert_true(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost), 0);
	assert_int_equal(stamp.seq - lost, hole);
	fixture_free(&f);
}

/* Each number by itself: there, gone, cleared, a hole, or not yet taken. */
static void fetches_by_number(void **state)
{
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 n, hole;

	(void)state;
	fixture_init(&f, ring_bytes());
	assert_int_equal(flightrec_ring_fetch(&f.ring, 0, &stamp, payload, sizeof(payload)),
			 -ENOENT);
	assert_int_equal(flightrec_ring_fetch(&f.ring, 1, &stamp, payload, sizeof(payload)),
			 -EAGAIN);
	for (n = 1; n <= 5000; n++)
		append(&f, n, n % CPUS);
	for (n = 5000; !flightrec_ring_fetch(&f.ring, n, &stamp, payload, sizeof(payload)); n--) {
		assert_int_equal(stamp.seq, n);
		assert_true(intact(&stamp, payload));
	}
	assert_true(n > 1 && n < 5000);
	assert_int_equal(flightrec_ring_fetch(&f.ring, n, &stamp, payload, sizeof(payload)),
			 -ENOENT);
	hole = f.ring.next_seq.counter++;
	append(&f, 1, 0);
	assert_int_equal(flightrec_ring_fetch(&f.ring, hole, &stamp, payload, sizeof(payload)),
			 -EAGAIN);
	assert_int_equal(flightrec_ring_fetch(&f.ring, hole + 1, &stamp, payload, sizeof(payload)),
			 0);
	assert_int_equal(flightrec_ring_fetch(&f.ring, hole + 2, &stamp, payload, sizeof(payload)),
			 -EAGAIN);
	memset(payload, 0xee, sizeof(payload));
	assert_int_equal(flightrec_ring_fetch(&f.ring, hole + 1, &stamp, payload, 5), 0);
	assert_true(stamp.len > 5 && payload[4] != 0xee && payload[5] == 0xee);
	flightrec_ring_clear(&f.ring);
	assert_int_equal(flightrec_ring_fetch(&f.ring, hole + 1, &stamp, payload, sizeof(payload)),
			 -ENOENT);
	fixture_free(&f);
}

/* Both ways to read give the same, and one that does not fit stays. */
static void reads_whole_words(void **state)
{
	struct flightrec_cursor a, b, before;
	u64 words[FLIGHTREC_STAMP_WORDS + 512], n, lost_a, lost_b, padding;
	struct flightrec_stamp stamp, *same = (struct flightrec_stamp *)words;
	struct fixture f;
	u8 payload[4096];
	int got;

	(void)state;
	fixture_init(&f, ring_bytes());
	a = at_oldest(&f);
	b = a;
	for (n = 1; n <= 20000; n++) {
		append(&f, n, n % CPUS);
		if (n % 977 > 30)
			continue;
		while (!flightrec_ring_read(&f.ring, &a, &stamp, payload, &lost_a)) {
			before = b;
			assert_int_equal(flightrec_ring_read_words(&f.ring, &b, words, 8, &lost_b),
					 -EMSGSIZE);
			assert_int_equal(b.from, before.from);
			got = flightrec_ring_read_words(&f.ring, &b, words, sizeof(words) / 8,
							&lost_b);
			assert_int_equal(got, FLIGHTREC_STAMP_WORDS + (stamp.len + 7) / 8);
			assert_int_equal(lost_a, lost_b);
			assert_memory_equal(same, &stamp, sizeof(stamp));
			assert_memory_equal(same + 1, payload, stamp.len);
			padding = 0;
			assert_memory_equal((u8 *)(same + 1) + stamp.len, &padding,
					    -stamp.len & 7);
		}
		assert_int_equal(
			flightrec_ring_read_words(&f.ring, &b, words, sizeof(words) / 8, &lost_b),
			-EAGAIN);
	}
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_bad_sizes),
		cmocka_unit_test(empty_ring_has_nothing),
		cmocka_unit_test(largest_records_in_smallest_ring),
		cmocka_unit_test(retains_the_newest),
		cmocka_unit_test(idle_cpus_records_are_as_new),
		cmocka_unit_test(random_loads_keep_the_newest),
		cmocka_unit_test(fills_blocks_to_the_end),
		cmocka_unit_test(loss_is_exact),
		cmocka_unit_test(clear_counts_as_lost),
		cmocka_unit_test(urgent_ones_outlive_a_flood),
		cmocka_unit_test(a_flood_of_urgent_ones_displaces_its_share),
		cmocka_unit_test(others_have_what_a_full_share_leaves),
		cmocka_unit_test(no_urgent_ones_no_share),
		cmocka_unit_test(urgent_ones_alone_have_the_whole_ring),
		cmocka_unit_test(a_share_that_begins_goes_on_in_turn),
		cmocka_unit_test(a_flood_of_urgent_ones_in_a_large_ring),
		cmocka_unit_test(idle_cpus_urgent_records_are_as_new),
		cmocka_unit_test(reads_the_last_that_the_index_does_not_reach),
		cmocka_unit_test(urgent_writers_stopped),
		cmocka_unit_test(loss_is_exact_with_shares),
		cmocka_unit_test(append_from_an_nmi),
		cmocka_unit_test(one_cpu_stopped),
		cmocka_unit_test(reader_waits_at_a_hole),
		cmocka_unit_test(fetches_by_number),
		cmocka_unit_test(reads_whole_words),
		cmocka_unit_test(writers_beside_readers),
	};

	/* Of one name alone, for TSan: NULL is all. */
	cmocka_set_test_filter(getenv("CASE"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
