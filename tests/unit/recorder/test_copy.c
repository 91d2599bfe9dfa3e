// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One ring takes the place of another: what fits is there with its number, what is gone is
 * told exactly, and the numbers go on.
 */
#include <stdbool.h>
#include <stdlib.h>

static bool interrupted;
#define RING_INTERRUPTED() interrupted

#include "ring_copy.c"
#include "fixture.h"

#define LARGE	(64 * 1024 * 1024ULL)
#define MIDDLE	(4 * 1024 * 1024ULL)
#define CALM	6

static u8 scratch[FLIGHTREC_RING_PAYLOAD_MAX];

/* As append(), with the writer that the severity says. */
static u64 put(struct fixture *f, u64 n, u8 severity)
{
	struct flightrec_stamp stamp = {
		.len = length_of(n), .boot_ns = n, .cpu = n % CPUS, .severity = severity,
	};
	u8 payload[640];

	payload_of(n, stamp.cpu, payload);
	assert_int_equal(flightrec_ring_append(&f->ring,
					       flightrec_ring_writer(&f->ring, stamp.cpu, severity),
					       &stamp, payload), 0);
	return stamp.seq;
}

/* From @cursor on: each record whole, in order; returns how many, and the sum of losses. */
static u64 read_all(struct fixture *f, struct flightrec_cursor cursor, u64 *lost)
{
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	u64 count = 0, gone, last = 0;

	*lost = 0;
	while (!flightrec_ring_read(&f->ring, &cursor, &stamp, payload, &gone)) {
		assert_true(intact(&stamp, payload));
		assert_true(stamp.seq > last);
		last = stamp.seq;
		*lost += gone;
		count++;
	}
	assert_int_equal(cursor.seq, flightrec_ring_next(&f->ring));
	*lost += cursor.seq - cursor.from;
	return count;
}

static u64 retained(struct fixture *f)
{
	u64 n;

	flightrec_ring_oldest(&f->ring, &n);
	return n;
}

static void copy(struct fixture *to, struct fixture *from, struct flightrec_cursor *cursor)
{
	assert_int_equal(flightrec_ring_copy(&to->ring, &from->ring, cursor,
					     flightrec_ring_next(&from->ring), scratch), 0);
}

static void copy_all(struct fixture *to, struct fixture *from)
{
	struct flightrec_cursor cursor = at_oldest(from);

	copy(to, from, &cursor);
	flightrec_ring_succeed(&to->ring, &from->ring);
}

/* Of each place that a reader may be at: what it gets and what it lost is all there was. */
static void every_reader_comes_to_the_end(struct fixture *f, u64 step)
{
	u64 next = flightrec_ring_next(&f->ring), seq, lost, count;

	for (seq = 1; seq <= next; seq += step) {
		count = read_all(f, flightrec_cursor_at(seq), &lost);
		assert_int_equal(count + lost, next - seq);
	}
}

static void copied_whole_into(u64 bytes)
{
	struct fixture from, to;
	u64 n, next, had, lost, lost_there;

	fixture_init(&from, ring_bytes());
	fixture_init(&to, bytes);
	for (n = 0; n < 5000; n++)
		put(&from, n, CALM);
	had = retained(&from);
	next = flightrec_ring_next(&from.ring);
	assert_true(had < 5000);
	copy_all(&to, &from);
	assert_int_equal(flightrec_ring_next(&to.ring), next);
	assert_int_equal(flightrec_ring_oldest(&to.ring, NULL),
			 flightrec_ring_oldest(&from.ring, NULL));
	assert_int_equal(retained(&to), had);
	assert_int_equal(flightrec_ring_bytes(&to.ring), flightrec_ring_bytes(&from.ring));
	assert_int_equal(read_all(&from, at_oldest(&from), &lost_there), had);
	assert_int_equal(read_all(&to, at_oldest(&to), &lost), had);
	assert_int_equal(lost, lost_there);
	every_reader_comes_to_the_end(&to, 7);
	/* And the numbers go on. */
	assert_int_equal(put(&to, n, CALM), next);
	assert_int_equal(retained(&to), had + 1);
	every_reader_comes_to_the_end(&to, 101);
	fixture_free(&from);
	fixture_free(&to);
}

/* Also where the numbers before the first record are more than the index has. */
static void a_larger_ring_has_all(void **state)
{
	(void)state;
	copied_whole_into(2 * ring_bytes());
	copied_whole_into(MIDDLE);
}

static void a_smaller_ring_has_the_newest(void **state)
{
	struct fixture from, to;
	u64 n, oldest, lost, count;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, ring_bytes());
	for (n = 0; n < 20000; n++)
		put(&from, n, CALM);
	copy_all(&to, &from);
	oldest = flightrec_ring_oldest(&to.ring, NULL);
	count = read_all(&to, flightrec_cursor_at(1), &lost);
	assert_int_equal(count + lost, 20000);
	assert_int_equal(lost, oldest - 1);
	assert_int_equal(count, retained(&to));
	assert_true(count > 50);
	every_reader_comes_to_the_end(&to, 1009);
	for (; n < 40000; n++)
		put(&to, n, CALM);
	every_reader_comes_to_the_end(&to, 1009);
	fixture_free(&from);
	fixture_free(&to);
}

/* Between an old urgent record and the others thousands are gone, and more than the index has. */
static void gaps_stay_gaps(void **state)
{
	struct fixture from, to;
	u64 n, first, had, lost, count;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, LARGE);
	for (n = 0; n < 30; n++)
		put(&from, n, CALM);
	first = put(&from, n++, 2);
	for (; n < 400000; n++)
		put(&from, n, n % 5000 ? CALM : 1);
	had = retained(&from);
	count = read_all(&from, flightrec_cursor_at(first), &lost);
	assert_true(lost > 100000);
	copy_all(&to, &from);
	assert_int_equal(retained(&to), had);
	assert_int_equal(flightrec_ring_oldest(&to.ring, NULL), first);
	assert_int_equal(read_all(&to, flightrec_cursor_at(first), &lost), count);
	assert_int_equal(count + lost, flightrec_ring_next(&to.ring) - first);
	every_reader_comes_to_the_end(&to, 14983);
	/* Gone numbers are not waited for, also once the ring is written on. */
	for (; n < 500000; n++)
		put(&to, n, CALM);
	every_reader_comes_to_the_end(&to, 49999);
	fixture_free(&from);
	fixture_free(&to);
}

static void urgent_ones_are_kept_on(void **state)
{
	struct fixture from, to;
	u64 n, first;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, MIDDLE);
	first = put(&from, 0, 3);
	for (n = 1; n < 1000; n++)
		put(&from, n, n % 10 ? CALM : 0);
	copy_all(&to, &from);
	assert_int_equal(flightrec_ring_bytes(&to.ring), flightrec_ring_bytes(&from.ring));
	for (; n < 40000; n++)
		put(&to, n, CALM);
	assert_int_equal(flightrec_ring_oldest(&to.ring, NULL), first);
	fixture_free(&from);
	fixture_free(&to);
}

/* In a large ring each number of a gap has its entry: none of them holds a reader up. */
static void each_number_of_a_gap_is_gone(void **state)
{
	struct fixture from, to;
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u64 n, first, lost;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, LARGE);
	first = put(&from, 0, 0);
	for (n = 1; n < 60000; n++)
		put(&from, n, CALM);
	copy_all(&to, &from);
	for (n = first + 1; n < first + 3000; n++) {
		cursor = flightrec_cursor_at(n);
		assert_true(flightrec_ring_readable(&to.ring, &cursor));
		assert_int_equal(flightrec_ring_read(&to.ring, &cursor, &stamp, NULL, &lost), 0);
	}
	fixture_free(&from);
	fixture_free(&to);
}

/* Copied in pieces while it is written to, also by one that was not finished at first. */
static void what_comes_meanwhile_comes_along(void **state)
{
	struct flightrec_place place;
	struct flightrec_cursor cursor;
	struct fixture from, to;
	u64 n, held, lost, copied;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, MIDDLE);
	for (n = 0; n < 3000; n++)
		put(&from, n, CALM);
	cursor = at_oldest(&from);
	copy(&to, &from, &cursor);
	copied = flightrec_ring_next(&to.ring);
	assert_int_equal(copied, 3001);
	/* As a writer that has its number, and has not published. */
	assert_true(flightrec_ring_try_reserve(&from.ring, 0, 0, &place));
	held = atomic64_fetch_add(1, &from.ring.next_seq);
	for (; n < 3100; n++)
		put(&from, n, CALM);
	copy(&to, &from, &cursor);
	assert_int_equal(cursor.seq, held);
	assert_int_equal(flightrec_ring_next(&to.ring), copied);
	memset((u64 *)place.stamp + 1, 0, sizeof(*place.stamp) - sizeof(u64));
	place.stamp->severity = CALM;
	flightrec_ring_finish(&from.ring, 0, held, &place);
	copy(&to, &from, &cursor);
	flightrec_ring_succeed(&to.ring, &from.ring);
	assert_int_equal(flightrec_ring_next(&to.ring), 3102);
	assert_int_equal(retained(&to), 3101);
	cursor = flightrec_cursor_at(held + 1);
	assert_int_equal(read_all(&to, cursor, &lost), 100);
	assert_int_equal(lost, 0);
	fixture_free(&from);
	fixture_free(&to);
}

/* A task that is to die copies no further, and says so. */
static void who_is_to_die_gives_up(void **state)
{
	struct flightrec_cursor cursor;
	struct fixture from, to;
	u64 n;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, MIDDLE);
	for (n = 0; n < 3000; n++)
		put(&from, n, CALM);
	cursor = at_oldest(&from);
	interrupted = true;
	assert_int_equal(flightrec_ring_copy(&to.ring, &from.ring, &cursor,
					     flightrec_ring_next(&from.ring), scratch), -EINTR);
	interrupted = false;
	assert_true(cursor.seq < 1000);
	assert_int_equal(retained(&from), 3000);
	fixture_free(&from);
	fixture_free(&to);
}

static void what_was_cleared_stays_cleared(void **state)
{
	struct flightrec_cursor cursor;
	struct fixture from, to;
	u64 n, lost;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, MIDDLE);
	for (n = 0; n < 1000; n++)
		put(&from, n, n % 10 ? CALM : 3);
	cursor = at_oldest(&from);
	copy(&to, &from, &cursor);
	/* In between two copies. */
	assert_int_equal(flightrec_ring_clear(&from.ring), 1000);
	for (; n < 1010; n++)
		put(&from, n, CALM);
	copy(&to, &from, &cursor);
	flightrec_ring_succeed(&to.ring, &from.ring);
	assert_int_equal(read_all(&to, flightrec_cursor_at(1), &lost), 10);
	assert_int_equal(lost, 1000);
	assert_int_equal(retained(&to), 10);
	fixture_free(&from);
	fixture_free(&to);
}

/* An empty one, and one that has only numbers that are gone. */
static void nothing_is_copied_of_nothing(void **state)
{
	struct fixture from, to;
	u64 n, lost;

	(void)state;
	fixture_init(&from, ring_bytes());
	fixture_init(&to, MIDDLE);
	copy_all(&to, &from);
	assert_int_equal(flightrec_ring_next(&to.ring), 1);
	assert_int_equal(retained(&to), 0);
	fixture_free(&to);
	for (n = 0; n < 300; n++)
		put(&from, n, CALM);
	flightrec_ring_clear(&from.ring);
	fixture_init(&to, MIDDLE);
	copy_all(&to, &from);
	assert_int_equal(read_all(&to, flightrec_cursor_at(1), &lost), 0);
	assert_int_equal(lost, 300);
	assert_int_equal(put(&to, 0, CALM), 301);
	assert_int_equal(read_all(&to, flightrec_cursor_at(5), &lost), 1);
	assert_int_equal(lost, 296);
	fixture_free(&from);
	fixture_free(&to);
}

/* Whoever looks through the memory finds the records once. */
static void what_was_copied_is_forgotten(void **state)
{
	const u64 magic = FLIGHTREC_BLOCK_MAGIC;
	struct fixture from, to;
	u64 i, found = 0;

	(void)state;
	fixture_init(&from, MIDDLE);
	fixture_init(&to, MIDDLE);
	put(&from, 0, CALM);
	copy_all(&to, &from);
	flightrec_ring_forget(&from.ring);
	for (i = 0; i < from.ring.nblocks * RING_BLOCK_WORDS; i++) {
		assert_true(from.memory[i] != magic);
		found += to.memory[i] == magic;
	}
	assert_int_equal(found, to.ring.nblocks);
	fixture_free(&from);
	fixture_free(&to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_larger_ring_has_all),
		cmocka_unit_test(a_smaller_ring_has_the_newest),
		cmocka_unit_test(gaps_stay_gaps),
		cmocka_unit_test(urgent_ones_are_kept_on),
		cmocka_unit_test(each_number_of_a_gap_is_gone),
		cmocka_unit_test(what_comes_meanwhile_comes_along),
		cmocka_unit_test(who_is_to_die_gives_up),
		cmocka_unit_test(what_was_cleared_stays_cleared),
		cmocka_unit_test(nothing_is_copied_of_nothing),
		cmocka_unit_test(what_was_copied_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
