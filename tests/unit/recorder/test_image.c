// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A ring's memory as an image of it has it after a crash.
 */
#include "crc.h"
#include "fixture.h"

/*
 * What a program that knows uapi/flightrec_crash.h and nothing else finds in a
 * piece of memory: the records of whole blocks, by their checks.
 */
struct found {
	u64 records, bad, blocks;
	u64 clear_seq;
	u8 *seen;		/* by number */
	u64 most;
};

/* The check as flightrec_crash.h has it. */
static u32 check_of(const struct flightrec_stamp *stamp, u32 off, u32 lap)
{
	u32 check = FLIGHTREC_CHECK(stamp->boot_ns, stamp->len, off, lap);
	struct flightrec_stamp copy = *stamp;
	u32 sum = 0xffffffff;
	u32 i, bit;

	if (!GENERATION)
		return check;
	copy.check = check;
	for (i = 8; i < sizeof(copy) + (stamp->len + 7) / 8 * 8 + 8; i++) {
		if (i < sizeof(copy))
			sum ^= ((u8 *)&copy)[i];
		else if (i < sizeof(copy) + (stamp->len + 7) / 8 * 8)
			sum ^= ((u8 *)stamp)[i];
		else
			sum ^= ((u8 *)stamp)[i % 8];
		for (bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ (sum & 1 ? 0x82f63b78 : 0);
	}
	return sum;
}

static void walk_block(const u64 *words, struct found *found)
{
	const struct flightrec_block *block = (const void *)words;
	u32 lap = block->state >> 24;
	u32 end = block->state & 0x7fffff;
	u32 off = block->header_size / 8;

	if (block->clear_seq > found->clear_seq)
		found->clear_seq = block->clear_seq;
	assert_true(end <= block->block_bytes / 8);
	while (off + FLIGHTREC_STAMP_WORDS <= end) {
		const struct flightrec_stamp *stamp = (const void *)&words[off];

		if (stamp->len > FLIGHTREC_RING_PAYLOAD_MAX ||
		    stamp->check != check_of(stamp, off, lap)) {
			found->bad++;
			off++;
			continue;
		}
		if (stamp->seq) {
			assert_true(stamp->seq < found->most);
			assert_false(found->seen[stamp->seq]);
			found->seen[stamp->seq] = 1;
			assert_true(intact(stamp, (const u8 *)(stamp + 1)));
			found->records++;
		}
		off += FLIGHTREC_STAMP_WORDS + (stamp->len + 7) / 8;
	}
}

static void walk(const struct fixture *f, struct found *found, u64 most)
{
	const u64 from = offsetof(struct flightrec_block, magic);
	u64 nwords = f->ring.nblocks * FLIGHTREC_BLOCK_BYTES / 8;
	u64 at;

	*found = (struct found) { .most = most, .seen = calloc(1, most) };
	for (at = 0; at < nwords; at += FLIGHTREC_BLOCK_BYTES / 8) {
		const struct flightrec_block *block = (const void *)&f->memory[at];

		assert_int_equal(block->magic, FLIGHTREC_BLOCK_MAGIC);
		assert_int_equal(block->check,
				 flightrec_crc32((const u8 *)block + from,
						 sizeof(*block) - from - 4));
		assert_int_equal(block->version, GENERATION ? FLIGHTREC_BLOCK_VERSION_SUMMED :
				 FLIGHTREC_BLOCK_VERSION);
		assert_int_equal(block->generation, GENERATION);
		assert_int_equal(block->header_size, 128);
		assert_int_equal(block->block, found->blocks);
		assert_int_equal(block->nblocks, f->ring.nblocks);
		assert_int_equal(block->instance, INSTANCE);
		assert_string_equal(block->name, "test");
		assert_memory_equal(block->boot_id, boot_id, 16);
		walk_block(&f->memory[at], found);
		found->blocks++;
	}
	assert_int_equal(found->blocks, f->ring.nblocks);
}

/* A dump has every record that a reader would get, whole, and no other ones. */
static void has_every_record(void **state)
{
	struct found found;
	struct fixture f;
	u64 n, seq, kept, oldest;

	(void)state;
	fixture_init(&f, ring_bytes());
	for (n = 1; n <= 20000; n++) {
		append(&f, n, n % CPUS);
		if (n != 1 && n != 100 && n % 5000)
			continue;
		walk(&f, &found, n + 1);
		oldest = flightrec_ring_oldest(&f.ring, &kept);
		assert_int_equal(found.records, kept);
		for (seq = oldest; seq <= n; seq++)
			assert_int_equal(found.seen[seq],
					 !flightrec_ring_fetch(&f.ring, seq,
							       &(struct flightrec_stamp) {},
							       (u8[4096]) {}, 4096));
		assert_int_equal(found.bad, 0);
		free(found.seen);
	}
	flightrec_ring_clear(&f.ring);
	walk(&f, &found, n + 1);
	assert_int_equal(found.clear_seq, flightrec_ring_next(&f.ring));
	free(found.seen);
	fixture_free(&f);
}

/*
 * Writers stopped at each step of an append: a dump has all other records,
 * and of theirs nothing. What earlier laps left in the room they reserved is
 * not taken for records.
 */
static void has_no_half_record(void **state)
{
	struct flightrec_place place = { 0 };
	struct found found;
	struct fixture f;
	u64 n, kept;
	u32 step, word;

	(void)state;
	for (step = 0; step < 4; step++) {
		fixture_init(&f, ring_bytes());
		for (n = 1; n <= 5000 + step; n++)
			append(&f, n, n % CPUS);
		if (!flightrec_ring_reserve(&f.ring, 1, 300, &place))
			fail();
		/* Reserved; half the stamp; the stamp; the payload, but no number. */
		for (word = 1; word < (step == 0 ? 1 : step == 1 ? 5 : 9); word++)
			((u64 *)place.stamp)[word] = 0x4141414141414141ULL;
		if (step >= 2) {
			place.stamp->len = 300;
			place.stamp->check = flightrec_ring_check(&place,
								  place.stamp->boot_ns, 300);
		}
		if (step == 3)
			memset(place.stamp + 1, 'x', 300);
		append(&f, n, 1);	/* an NMI, say, right behind it */
		append(&f, n + 1, 2);
		walk(&f, &found, n + 2);
		flightrec_ring_oldest(&f.ring, &kept);
		assert_int_equal(found.records, kept);
		assert_true(found.seen[n] && found.seen[n + 1]);
		/* A sum is not right before the number is there. */
		assert_true(step >= 2 && !GENERATION ? !found.bad : found.bad > 0);
		free(found.seen);
		fixture_free(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_every_record),
		cmocka_unit_test(has_no_half_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
