// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records in memory that a reset leaves alone. There the processor's cache is lost, and
 * with it what it had not written to memory: lines of 64 bytes of which the one is of
 * this record and the next of what was there before. So each record has a sum over all
 * of it, and its lines are sent to memory as soon as it is published. What is then lost
 * is what was on its way at that moment.
 *
 * The memory is mapped like any other, cached: that is what the atomic operations of
 * ring.c need, which would lock the bus otherwise.
 *
 * The sum is CRC-32C, for which x86 has an instruction that takes a word at a time. It
 * begins after the stamp is complete and ends with the number, of which only one step
 * is left when it is taken.
 */
#include "ring_write.h"
#include "sum.h"

u64 flightrec_ring_commit_summed(struct flightrec_ring *ring, u32 cpu, u32 len,
				 const struct flightrec_place *place)
{
	u32 words = flightrec_record_words(len);
	u32 sum = flightrec_sum(FLIGHTREC_SUM_FIRST, (u64 *)place->stamp + 1, words - 1);
	u64 seq = atomic64_fetch_add(1, &ring->next_seq);

	WRITE_ONCE(place->stamp->check, flightrec_sum(sum, &seq, 1));
	flightrec_ring_finish(ring, cpu, len, seq, place);
	ring_write_back(place->stamp, words * sizeof(u64));
	return seq;
}
