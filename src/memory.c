// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of channels' rings: from where it comes, and how much of it there is.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "bootid.h"
#include "channel.h"
#include "memory.h"
#include "region.h"

/* A ring with what it is made of. */
struct memory {
	struct flightrec_ring ring;
	struct flightrec_ring_cpu *cpus;
	u64 *blocks;
	u64 *index;
	u64 bytes;
	bool reserved;
};

static atomic64_t bytes_of_all = ATOMIC64_INIT(0);

u64 flightrec_memory_bytes(void)
{
	return atomic64_read(&bytes_of_all);
}

static void free_parts(struct memory *memory)
{
	if (!memory->reserved)
		vfree(memory->blocks);
	vfree(memory->index);
	kvfree(memory->cpus);
	kfree(memory);
}

void flightrec_memory_free(struct flightrec_ring *ring)
{
	struct memory *memory = container_of(ring, struct memory, ring);

	atomic64_sub(memory->bytes, &bytes_of_all);
	free_parts(memory);
}

/* No retry: better no recorder than a machine that starts to swap. */
#define RING_GFP	(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

static void free_pages_of(struct page **pages, unsigned long count)
{
	while (count--)
		__free_page(pages[count]);
	kvfree(pages);
}

/*
 * Each block in one piece of physical memory, so that it is found whole in an
 * image of it, and all in one range of addresses. From all nodes in turn, since
 * any CPU comes to write into any block. Freed by vfree().
 */
static u64 *alloc_blocks(u32 nblocks)
{
	unsigned int order = get_order(FLIGHTREC_RING_BLOCK_BYTES);
	unsigned long count = ALIGN(DIV_ROUND_UP((u64)nblocks * FLIGHTREC_RING_BLOCK_BYTES,
						 PAGE_SIZE), 1UL << order);
	int node = first_memory_node;
	struct page **pages, *page;
	unsigned long at, i;
	void *blocks;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (at = 0; at < count; at += 1UL << order) {
		page = alloc_pages_node(node, RING_GFP | __GFP_ZERO, order);
		if (!page) {
			free_pages_of(pages, at);
			return NULL;
		}
		/* From here on they are pages by themselves, as vfree() has it. */
		split_page(page, order);
		for (i = 0; i < 1UL << order; i++)
			pages[at + i] = page + i;
		node = next_node_in(node, node_states[N_MEMORY]);
		cond_resched();
	}
	blocks = vmap(pages, count, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (!blocks)
		free_pages_of(pages, count);
	return blocks;
}

static int make_ring(struct memory *memory, const struct flightrec_config *config)
{
	u32 nblocks = flightrec_ring_blocks_in(config->bytes);
	u64 instance;

	memory->reserved = config->reserved;
	memory->bytes = config->bytes;
	memory->cpus = kvcalloc(2 * nr_cpu_ids, sizeof(*memory->cpus), GFP_KERNEL);
	memory->blocks = config->reserved ? flightrec_region_take(nblocks) : alloc_blocks(nblocks);
	memory->index = __vmalloc(flightrec_ring_index_bytes(nblocks), RING_GFP);
	if (!memory->cpus || !memory->blocks || !memory->index)
		return -ENOMEM;
	get_random_bytes(&instance, sizeof(instance));
	return flightrec_ring_init(&memory->ring, &(struct flightrec_ring_setup) {
		.blocks = memory->blocks,
		.index = memory->index,
		.cpus = memory->cpus,
		.nblocks = nblocks,
		.ncpus = nr_cpu_ids,
		.name = config->name,
		.boot_id = flightrec_boot_id(),
		.instance = instance,
		.generation = config->reserved ? flightrec_region_generation() : 0,
	});
}

struct flightrec_ring *flightrec_memory_new(const struct flightrec_config *config)
{
	struct memory *memory = kzalloc(sizeof(*memory), GFP_KERNEL);
	int err;

	if (!memory)
		return ERR_PTR(-ENOMEM);
	err = make_ring(memory, config);
	if (err) {
		free_parts(memory);
		return ERR_PTR(err);
	}
	atomic64_add(config->bytes, &bytes_of_all);
	return &memory->ring;
}
