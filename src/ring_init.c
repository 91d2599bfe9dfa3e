// SPDX-License-Identifier: GPL-2.0-only
/*
 * How large a ring is, and how it begins; ring.c explains the words.
 */
#include "crc.h"
#include "ring_write.h"

#define BLOCKS_MAX	(1U << RING_ENTRY_BLOCK_BITS)

/* A channel is made while others run: of its index, so much is filled before they may. */
#define RELAX_ENTRIES	65536

/* The smallest record: more never fit into a block. */
#define RECORD_WORDS_MIN (FLIGHTREC_STAMP_WORDS + 1)
#define RECORDS_PER_BLOCK ((RING_BLOCK_WORDS - RING_BLOCK_HEADER) / RECORD_WORDS_MIN)

/* The index has an entry for each record that may be retained. */
static u64 index_entries(u64 nblocks)
{
	return roundup_pow_of_two(nblocks * RECORDS_PER_BLOCK);
}

u64 flightrec_ring_index_bytes(u64 nblocks)
{
	/* A mark, the first and the last number, the count of each, and whether it is kept. */
	return (index_entries(nblocks) + 5 * nblocks + flightrec_ring_groups(nblocks) +
		nblocks / FLIGHTREC_RING_KEPT_PART) * sizeof(u64);
}

u64 flightrec_ring_bytes_of(u64 nblocks)
{
	return nblocks * FLIGHTREC_RING_BLOCK_BYTES +
	       flightrec_ring_index_bytes(nblocks);
}

u64 flightrec_ring_min_bytes(u32 ncpus)
{
	return flightrec_ring_bytes_of(ncpus + 2ULL);
}

u64 flightrec_ring_max_bytes(void)
{
	return flightrec_ring_bytes_of(BLOCKS_MAX);
}

u64 flightrec_ring_blocks_in(u64 bytes)
{
	u64 nblocks = bytes / FLIGHTREC_RING_BLOCK_BYTES;

	while (nblocks && flightrec_ring_bytes_of(nblocks) > bytes)
		nblocks--;
	return nblocks;
}

/*
 * For how many claims a block stays fresh after its CPU left it: most of a
 * round, but so few that those which are full in due time never are when their
 * turn comes, and in the smallest ring one of the two that are not open is not.
 */
static u32 fresh_claims(u32 nblocks, u32 ncpus)
{
	u32 spare = nblocks - ncpus;

	return spare - (ncpus < spare / 2 ? ncpus : spare / 2);
}

/*
 * How many blocks are kept for urgent records: enough that there is always one to be had
 * among them, or none.
 */
static u32 kept_blocks(u32 nblocks, u32 ncpus)
{
	u32 most = FLIGHTREC_RING_KEPT_MAX + 2 * ncpus;
	u32 kept = nblocks / FLIGHTREC_RING_KEPT_PART;

	kept = kept < most ? kept : most;
	return kept < ncpus + 2 ? 0 : kept;
}

/* All that never changes. */
static void describe_block(u64 *words, u32 i, const struct flightrec_ring_setup *setup)
{
	struct flightrec_block *block = (struct flightrec_block *)words;
	const size_t from = offsetof(struct flightrec_block, magic);

	block->magic = FLIGHTREC_BLOCK_MAGIC;
	block->version = setup->generation ? FLIGHTREC_BLOCK_VERSION_SUMMED :
			 FLIGHTREC_BLOCK_VERSION;
	block->header_size = sizeof(*block);
	block->block_bytes = FLIGHTREC_BLOCK_BYTES;
	block->block = i;
	block->nblocks = setup->nblocks;
	memcpy(block->boot_id, setup->boot_id, sizeof(block->boot_id));
	memcpy(block->name, setup->name, strnlen(setup->name, sizeof(block->name) - 1));
	block->instance = setup->instance;
	block->generation = setup->generation;
	block->check = flightrec_crc32((u8 *)block + from,
				       offsetof(struct flightrec_block, check) - from);
}

int flightrec_ring_init(struct flightrec_ring *ring,
			const struct flightrec_ring_setup *setup)
{
	u64 state = ring_make_state(RING_FIRST_LAP - 1, RING_BLOCK_HEADER);
	u64 i;

	if (setup->nblocks < setup->ncpus + 2ULL || setup->nblocks > BLOCKS_MAX)
		return -EINVAL;
	memset(ring, 0, sizeof(*ring));
	ring->words = setup->blocks;
	ring->index = setup->index;
	ring->cpus = setup->cpus;
	ring->nblocks = setup->nblocks;
	ring->ncpus = setup->ncpus;
	ring->nindex = index_entries(setup->nblocks);
	ring->index_mask = ring->nindex - 1;
	ring->index_shift = ilog2(ring->nindex);
	ring->marks = (atomic64_t *)&ring->index[ring->nindex];
	ring->first = (u64 *)&ring->marks[ring->nblocks];
	ring->last = (atomic64_t *)&ring->first[ring->nblocks];
	ring->count = &ring->last[ring->nblocks];
	ring->group_first = (u64 *)&ring->count[ring->nblocks];
	ring->kept = (atomic64_t *)&ring->group_first[flightrec_ring_groups(ring->nblocks)];
	ring->is_kept = (u64 *)&ring->kept[ring->nblocks / FLIGHTREC_RING_KEPT_PART];
	ring->summed = setup->generation != 0;
	ring->fresh = fresh_claims(ring->nblocks, ring->ncpus);
	ring->nkept = kept_blocks(ring->nblocks, ring->ncpus);
	if (ring->nkept) {
		ring->kept_fresh = fresh_claims(ring->nkept, ring->ncpus);
		ring->kept_writers = ring->ncpus;
	}
	for (i = 0; i < ring->nkept; i++)
		atomic64_set(&ring->kept[i], 0);
	atomic64_set(&ring->next_seq, 1);
	for (i = 0; i < ring->nblocks; i++) {
		if (!(i % RING_GROUP_BLOCKS))
			ring_relax();
		describe_block(&ring->words[i * RING_BLOCK_WORDS], i, setup);
		atomic64_set(ring_block_word(ring, i, RING_BLOCK_STATE), state | RING_STATE_CLOSED);
		atomic64_set(ring_block_word(ring, i, RING_BLOCK_COMMITTED), state);
		/* Empty, as if it ended before number 1. */
		ring->first[i] = 0;
		atomic64_set(&ring->last[i], 0);
		atomic64_set(&ring->count[i], RING_COUNT_KNOWN);
		ring->group_first[i / RING_GROUP_BLOCKS] = 0;
		ring->is_kept[i] = 0;
		/* Left a round before the first claim. */
		atomic64_set(&ring->marks[i], (0 - ring->nblocks) & ~RING_MARK_OPEN);
	}
	atomic64_set(ring_clear_seq(ring), 1);
	/* As if each entry's number of one round before had been there. */
	for (i = 0; i < ring->nindex; i++) {
		if (!(i % RELAX_ENTRIES))
			ring_relax();
		ring->index[i] = flightrec_ring_tag(ring, i ? i : ring->nindex) -
				 (1ULL << RING_ENTRY_TAG_SHIFT);
	}
	return 0;
}
