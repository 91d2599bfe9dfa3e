/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small ring, and payloads that can be checked by themselves, for the tests
 * of the ring core.
 */
#ifndef RECORDER_FIXTURE_H
#define RECORDER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "ring_write.h"

#include <cmocka.h>

#define CPUS 4

/* Not 0: as in memory that a reset leaves alone. */
#ifndef GENERATION
#define GENERATION 0
#endif

/* The smallest ring: what wraps, wraps soon. */
static inline u64 ring_bytes(void)
{
	return flightrec_ring_min_bytes(CPUS);
}

struct fixture {
	struct flightrec_ring ring;
	struct flightrec_ring_cpu cpus[2 * CPUS];
	u64 *memory;
	u64 *index;
};

static const u8 boot_id[16] = "sixteen bytes...";
#define INSTANCE 0x1122334455667788ULL

static inline int init_ring(struct fixture *f, u32 nblocks)
{
	return flightrec_ring_init(&f->ring, &(struct flightrec_ring_setup) {
		.blocks = f->memory, .index = f->index, .cpus = f->cpus,
		.nblocks = nblocks, .ncpus = CPUS,
		.name = "test", .boot_id = boot_id, .instance = INSTANCE,
		.generation = GENERATION,
	});
}

static inline void fixture_init(struct fixture *f, u64 bytes)
{
	u32 nblocks = flightrec_ring_blocks_in(bytes);

	memset(f, 0, sizeof(*f));
	f->memory = calloc(nblocks, FLIGHTREC_RING_BLOCK_BYTES);
	f->index = malloc(flightrec_ring_index_bytes(nblocks));
	assert_non_null(f->memory);
	assert_non_null(f->index);
	assert_int_equal(init_ring(f, nblocks), 0);
}

static inline void fixture_free(struct fixture *f)
{
	free(f->memory);
	free(f->index);
}

static inline u32 length_of(u64 n)
{
	return (n * 2654435761u >> 7) % 601;
}

/* It is no part of what is tested, and half of the time would be the sanitizer's looking at it. */
__attribute__((unused, no_sanitize_address, no_sanitize_undefined, no_sanitize_thread))
static noinline void payload_of(u64 n, u32 writer, u8 *out)
{
	u32 i, len = length_of(n);

	for (i = 0; i < len; i++)
		out[i] = (u8)(n * 7 + writer * 13 + i);
}

/* What identifies a record is in its stamp: the writer's own count in boot_ns. */
static inline u64 append(struct fixture *f, u64 n, u32 cpu)
{
	struct flightrec_stamp stamp = {
		.len = length_of(n), .boot_ns = n, .cpu = cpu,
	};
	u8 payload[640];

	payload_of(n, cpu, payload);
	assert_int_equal(flightrec_ring_append(&f->ring, cpu, &stamp, payload), 0);
	return stamp.seq;
}

static inline int intact(const struct flightrec_stamp *stamp, const u8 *payload)
{
	u8 want[640];

	if (stamp->len != length_of(stamp->boot_ns))
		return 0;
	payload_of(stamp->boot_ns, stamp->cpu, want);
	return !memcmp(want, payload, stamp->len);
}

static inline struct flightrec_cursor at_oldest(struct fixture *f)
{
	return flightrec_cursor_at(flightrec_ring_oldest(&f->ring, NULL));
}

#endif
