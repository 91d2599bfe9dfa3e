// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring core, compiled as it is: its bookkeeping step by step, then
 * writers and readers at once. Every payload can be checked by itself, so a
 * torn one is seen whatever it is made of.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

#include <cmocka.h>

/* Not a power of two, so that records wrap at any word. */
#define RING_BYTES (6 * 1024 + 8 * 37)

struct fixture {
	struct flightrec_ring ring;
	pthread_mutex_t lock;
	u64 *words;
};

static void fixture_init(struct fixture *f, u64 bytes)
{
	f->words = calloc(1, bytes);
	assert_non_null(f->words);
	assert_int_equal(flightrec_ring_init(&f->ring, f->words, bytes), 0);
	pthread_mutex_init(&f->lock, NULL);
}

static void fixture_free(struct fixture *f)
{
	pthread_mutex_destroy(&f->lock);
	free(f->words);
}

static u32 length_of(u64 n)
{
	return (n * 2654435761u >> 7) % 601;
}

static void payload_of(u64 n, u32 writer, u8 *out)
{
	u32 i;

	for (i = 0; i < length_of(n); i++)
		out[i] = (u8)(n * 7 + writer * 13 + i);
}

/* What identifies a record is in its stamp: the writer's own count in boot_ns. */
static void append(struct fixture *f, u64 n, u32 writer)
{
	struct flightrec_stamp stamp = {
		.len = length_of(n), .boot_ns = n, .pid = writer,
	};
	u8 payload[640];

	payload_of(n, writer, payload);
	pthread_mutex_lock(&f->lock);
	flightrec_ring_append(&f->ring, &stamp, payload);
	pthread_mutex_unlock(&f->lock);
}

static int intact(const struct flightrec_stamp *stamp, const u8 *payload)
{
	u8 want[640];

	if (stamp->len != length_of(stamp->boot_ns))
		return 0;
	payload_of(stamp->boot_ns, stamp->pid, want);
	return !memcmp(want, payload, stamp->len);
}

static struct flightrec_cursor at_oldest(struct fixture *f)
{
	struct flightrec_snapshot snap;

	flightrec_ring_snapshot(&f->ring, &snap);
	return snap.oldest;
}

static void refuses_bad_sizes(void **state)
{
	struct flightrec_ring ring;
	u64 words[1024];

	(void)state;
	assert_int_equal(flightrec_ring_init(&ring, words, 0), -EINVAL);
	assert_int_equal(flightrec_ring_init(&ring, words, 4096), -EINVAL);
	assert_int_equal(flightrec_ring_init(&ring, words, 8191), -EINVAL);
	assert_int_equal(flightrec_ring_init(&ring, words, 8192), 0);
}

static void empty_ring_has_nothing(void **state)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	struct fixture f;
	u8 payload[4096];
	u64 lost;

	(void)state;
	fixture_init(&f, RING_BYTES);
	cursor = at_oldest(&f);
	assert_false(flightrec_ring_readable(&f.ring, &cursor));
	assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, payload, &lost),
			 -EAGAIN);
	fixture_free(&f);
}

static void largest_record_in_smallest_ring(void **state)
{
	static u8 big[FLIGHTREC_RING_PAYLOAD_MAX], got[FLIGHTREC_RING_PAYLOAD_MAX];
	struct flightrec_stamp stamp = { .len = sizeof(big) };
	struct flightrec_cursor cursor;
	struct fixture f;
	u64 lost, i;

	(void)state;
	fixture_init(&f, flightrec_ring_record_bytes(sizeof(big)));
	for (i = 1; i <= 100; i++) {
		memset(big, (int)i, sizeof(big));
		flightrec_ring_append(&f.ring, &stamp, big);
		cursor = at_oldest(&f);
		assert_int_equal(cursor.seq, i);
		assert_int_equal(flightrec_ring_read(&f.ring, &cursor, &stamp, got,
						     &lost), 0);
		assert_int_equal(lost, 0);
		assert_memory_equal(big, got, sizeof(big));
	}
	fixture_free(&f);
}

/* Whatever a ring gave up was needed: what is left nearly fills it. */
static void retains_all_that_fits(void **state)
{
	struct flightrec_snapshot snap;
	struct fixture f;
	u64 used, need, n;

	(void)state;
	fixture_init(&f, RING_BYTES);
	for (n = 1; n <= 20000; n++) {
		append(&f, n, 0);
		flightrec_ring_snapshot(&f.ring, &snap);
		used = (snap.end.pos - snap.oldest.pos) * 8;
		assert_true(used <= RING_BYTES);
		need = flightrec_ring_record_bytes(600);
		if (n > 200)
			assert_true(used + need > RING_BYTES - need);
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
	fixture_init(&f, RING_BYTES);
	cursor = at_oldest(&f);
	for (n = 1; n <= 30000; n++) {
		append(&f, n, 1);
		if (n % 97 > 20 && n != 30000)
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
	fixture_init(&f, RING_BYTES);
	cursor = at_oldest(&f);
	append(&f, 1, 0);
	append(&f, 2, 0);
	flightrec_ring_clear(&f.ring);
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

#define WRITERS 3
#define READERS 3

struct stress {
	struct fixture f;
	u64 each;
	int writers_left;
};

struct worker {
	struct stress *stress;
	u32 id;
	u64 start, delivered, lost, torn, disordered;
	struct flightrec_cursor cursor;
};

static void *stress_writer(void *arg)
{
	struct worker *w = arg;
	u64 n;

	for (n = 1; n <= w->stress->each; n++) {
		append(&w->stress->f, n, w->id);
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
	if (stamp->pid < WRITERS) {
		w->disordered += stamp->boot_ns <= next[stamp->pid];
		next[stamp->pid] = stamp->boot_ns;
	}
	*expect = stamp->seq + 1;
	w->lost += lost;
	w->delivered++;
}

static void *stress_reader(void *arg)
{
	struct worker *w = arg;
	struct flightrec_stamp stamp;
	struct flightrec_snapshot snap;
	u64 next[WRITERS] = { 0 };
	u64 expect = w->cursor.seq;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	int done;
	u64 lost;

	do {
		done = !__atomic_load_n(&w->stress->writers_left, __ATOMIC_ACQUIRE);
		while (!flightrec_ring_read(&w->stress->f.ring, &w->cursor, &stamp,
					    payload, &lost))
			account(w, next, &expect, &stamp, payload, lost);
		flightrec_ring_snapshot(&w->stress->f.ring, &snap);
		/* Ends are a pair: so many numbers take at least so many words. */
		w->disordered += snap.end.seq - snap.oldest.seq >
			(snap.end.pos - snap.oldest.pos) / FLIGHTREC_STAMP_WORDS;
		sched_yield();
	} while (!done);
	return NULL;
}

static void writers_beside_readers(void **state)
{
	const char *scale = getenv("RING_STRESS_RECORDS");
	struct stress stress = { .writers_left = WRITERS };
	struct worker workers[WRITERS + READERS];
	pthread_t threads[WRITERS + READERS];
	u32 i;

	(void)state;
	stress.each = scale ? strtoull(scale, NULL, 10) : 200000;
	fixture_init(&stress.f, RING_BYTES);
	for (i = 0; i < WRITERS + READERS; i++) {
		workers[i] = (struct worker) {
			.stress = &stress, .id = i, .cursor = at_oldest(&stress.f),
		};
	}
	for (i = 0; i < WRITERS + READERS; i++)
		pthread_create(&threads[i], NULL,
			       i < WRITERS ? stress_writer : stress_reader, &workers[i]);
	for (i = 0; i < WRITERS + READERS; i++)
		pthread_join(threads[i], NULL);
	for (i = WRITERS; i < WRITERS + READERS; i++) {
		assert_int_equal(workers[i].torn, 0);
		assert_int_equal(workers[i].disordered, 0);
		assert_int_equal(workers[i].delivered + workers[i].lost,
				 WRITERS * stress.each);
	}
	fixture_free(&stress.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_bad_sizes),
		cmocka_unit_test(empty_ring_has_nothing),
		cmocka_unit_test(largest_record_in_smallest_ring),
		cmocka_unit_test(retains_all_that_fits),
		cmocka_unit_test(loss_is_exact),
		cmocka_unit_test(clear_counts_as_lost),
		cmocka_unit_test(writers_beside_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
