/* SPDX-License-Identifier: GPL-2.0-only */
/* One ring takes the place of another, with its records and their numbers. */
#ifndef FLIGHTREC_RING_COPY_H
#define FLIGHTREC_RING_COPY_H

#include "ring.h"

/**
 * flightrec_ring_copy - copy records, with their numbers
 * @ring: one that nobody else has yet; its next number is not after @cursor's
 * @from: where they are; others may write to it meanwhile
 * @cursor: where in @from; moved past what was copied or is gone
 * @end: the number to stop before
 * @payload: room for FLIGHTREC_RING_PAYLOAD_MAX bytes
 *
 * The oldest are overwritten in @ring as it is full. Stops before a record that is not yet
 * published. May sleep.
 *
 * Return: 0, -EINTR if the calling task is to die, or -ENOBUFS, which a ring that nobody
 * else has does not give.
 */
int flightrec_ring_copy(struct flightrec_ring *ring, const struct flightrec_ring *from,
			struct flightrec_cursor *cursor, u64 end, void *payload);

/**
 * flightrec_ring_succeed - go on where another ring ends
 * @ring: has what flightrec_ring_copy() copied of @from, up to its end
 * @from: nobody writes to it any more, nor clears it
 *
 * From here on the numbers, the count of bytes and what was cleared are those of @from. May
 * sleep.
 */
void flightrec_ring_succeed(struct flightrec_ring *ring, const struct flightrec_ring *from);

/*
 * Nobody uses the ring any more, and another one has its records: they are not to be found
 * twice in an image of the memory, of which this is a part until others overwrite it.
 */
void flightrec_ring_forget(struct flightrec_ring *ring);

#endif
