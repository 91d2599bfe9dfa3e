// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring's records into another one that nobody else has yet, so that it can take the
 * place of the first: with their numbers, and what is gone stays gone.
 */
#include "ring_copy.h"
#include "ring_write.h"

#define RELAX_NUMBERS 256

/* A lap that no block has had, or has before its entries are long overwritten. */
#define NO_LAP (RING_FIRST_LAP - 2)

/*
 * Go on with number @to. A reader that looks for one in between finds its entry, and that
 * it is gone: entries of a round before would be taken for numbers not yet published.
 */
static void skip_to(struct flightrec_ring *ring, u64 to)
{
	u64 seq = flightrec_ring_next(ring);

	if (to > ring->nindex && seq < to - ring->nindex)
		seq = to - ring->nindex;
	for (; seq < to; seq++) {
		if (!(seq % RELAX_NUMBERS))
			ring_relax();
		WRITE_ONCE(ring->index[seq & ring->index_mask],
			   flightrec_ring_tag(ring, seq) | NO_LAP << RING_ENTRY_LAP_SHIFT |
			   RING_BLOCK_HEADER);
	}
	atomic64_set(&ring->next_seq, to);
}

int flightrec_ring_copy(struct flightrec_ring *ring, const struct flightrec_ring *from,
			struct flightrec_cursor *cursor, u64 end, void *payload)
{
	struct flightrec_stamp stamp;
	u8 copied = 0;
	u64 lost;
	int err;

	while (cursor->seq < end) {
		struct flightrec_cursor next = *cursor;

		err = flightrec_ring_read(from, &next, &stamp, payload, &lost);
		*cursor = next;
		if (err)
			return err == -EAGAIN ? 0 : err;
		skip_to(ring, stamp.seq);
		err = flightrec_ring_append(ring, flightrec_ring_writer(ring, 0, stamp.severity),
					    &stamp, payload);
		if (err)
			return err;
		/* It is 0 again after 256. */
		if (++copied)
			continue;
		if (ring_interrupted())
			return -EINTR;
		ring_relax();
	}
	return 0;
}

void flightrec_ring_succeed(struct flightrec_ring *ring, const struct flightrec_ring *from)
{
	u32 writer;

	skip_to(ring, flightrec_ring_next(from));
	atomic64_set(ring_clear_seq(ring), atomic64_read(ring_clear_seq(from)));
	for (writer = 0; writer < ring->ncpus + ring->kept_writers; writer++)
		atomic64_set(&ring->cpus[writer].bytes, 0);
	atomic64_set(&ring->cpus[0].bytes, flightrec_ring_bytes(from));
}

void flightrec_ring_forget(struct flightrec_ring *ring)
{
	u32 block;

	for (block = 0; block < ring->nblocks; block++) {
		u64 *words = &ring->words[(u64)block * RING_BLOCK_WORDS];

		WRITE_ONCE(((struct flightrec_block *)words)->magic, 0);
	}
}
