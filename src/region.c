// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that a reset leaves alone, as the kernel's command line set it aside:
 *
 *   reserve_mem=SIZE:ALIGN:flightrec    found by its name (6.12 and later)
 *   memmap=SIZE$ADDRESS                 named by address (x86; not in 7.2 and later)
 *
 * It has two halves of whole blocks, each described by its own header: whose half it
 * is shows in any of them, so that no block counts more than another when some are
 * damaged. The half whose blocks with records have the greatest generation is that of
 * the boot before; this boot writes into the other one. A boot that recorded nothing
 * takes nobody's place. When the driver is loaded again in the same boot, it writes
 * into the half that it had.
 *
 * The memory of others is never written to. That named by a name is ours by its name.
 * That named by an address must be what the firmware calls memory, nothing else may
 * have claimed it, and the kernel must have left it out.
 */
#define pr_fmt(fmt) "flightrec: " fmt

#include <linux/err.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uuid.h>
#ifdef FLIGHTREC_HAVE_E820
#include <asm/e820/api.h>
#endif

#include "bootid.h"
#include "compat/compat.h"
#include "crc.h"
#include "region.h"
#include "ring_port.h"
#include "uapi/flightrec_crash.h"

static char *reserved;
module_param(reserved, charp, 0444);
MODULE_PARM_DESC(reserved, "memory that a reset leaves alone: SIZE@ADDRESS or a name that reserve_mem= has (default: flightrec, if there is such)");

#define OWN_NAME "flightrec"

/* What ramoops begins its memory with. It does not always claim it. */
#define RAMOOPS_MAGIC 0x43474244

/* More is not read at once, so that a reader can be stopped. */
#define READ_MAX (1U << 20)

static struct {
	phys_addr_t start;	/* of whole blocks, from here on */
	u64 half_blocks;
	void *mapped;		/* by us, if it was */
	struct resource *claim;	/* likewise */
	u8 *halves[2];
	int own;		/* the half that this boot writes */
	u64 taken;		/* blocks of it */
	u64 generation;
	struct flightrec_image previous;	/* of the other one; all 0: none */
} region;

static bool __init is_block(const struct flightrec_block *block)
{
	const size_t from = offsetof(struct flightrec_block, magic);

	return block->magic == FLIGHTREC_BLOCK_MAGIC &&
	       flightrec_crc32((const u8 *)block + from,
			       offsetof(struct flightrec_block, check) - from) == block->check;
}

/* Does a block have room that is in use? Also one of a version that is not known here. */
static bool __init has_records(const struct flightrec_block *block)
{
	return (block->state & 0x7fffff) > block->header_size / sizeof(u64);
}

/* The newest block of a half in which something was recorded; NULL if there is none. */
static const struct flightrec_block * __init newest_in(const u8 *half)
{
	const struct flightrec_block *newest = NULL;
	u64 i;

	for (i = 0; i < region.half_blocks; i++) {
		const struct flightrec_block *block =
			(const void *)(half + i * FLIGHTREC_BLOCK_BYTES);

		if (is_block(block) && has_records(block) &&
		    (!newest || block->generation > newest->generation))
			newest = block;
	}
	return newest;
}

static void __init describe_previous(const struct flightrec_block *newest, int half)
{
	struct flightrec_image *image = &region.previous;

	image->magic = FLIGHTREC_IMAGE_MAGIC;
	image->version = FLIGHTREC_IMAGE_VERSION;
	image->block_bytes = FLIGHTREC_BLOCK_BYTES;
	image->nblocks = region.half_blocks;
	image->address = region.start + half * region.half_blocks * FLIGHTREC_BLOCK_BYTES;
	image->generation = newest->generation;
	memcpy(image->boot_id, newest->boot_id, sizeof(image->boot_id));
	image->check = flightrec_crc32(image, offsetof(struct flightrec_image, check));
}

/* False if this boot has no identifier: then each load counts as a boot. */
static bool __init of_this_boot(const struct flightrec_block *block)
{
	const u8 *id = flightrec_boot_id();

	return block && memchr_inv(id, 0, FLIGHTREC_BOOT_ID_BYTES) &&
	       !memcmp(block->boot_id, id, FLIGHTREC_BOOT_ID_BYTES);
}

/* Whose half is which. */
static void __init look_at_halves(void)
{
	const struct flightrec_block *newest[2];
	int i, previous;

	for (i = 0; i < 2; i++)
		newest[i] = newest_in(region.halves[i]);
	if (of_this_boot(newest[0]) || of_this_boot(newest[1]))
		previous = of_this_boot(newest[0]);
	else
		previous = newest[1] && (!newest[0] ||
					 newest[1]->generation > newest[0]->generation);
	region.own = !previous;
	region.generation = 1;
	for (i = 0; i < 2; i++)
		if (newest[i] && newest[i]->generation >= region.generation)
			region.generation = newest[i]->generation + 1;
	if (newest[previous])
		describe_previous(newest[previous], previous);
}

static int __init set_bounds(phys_addr_t start, phys_addr_t size, u8 *mapped)
{
	phys_addr_t skip = ALIGN(start, FLIGHTREC_BLOCK_BYTES) - start;

	if (size > skip)
		region.half_blocks = div_u64(size - skip, 2 * FLIGHTREC_BLOCK_BYTES);
	if (!region.half_blocks) {
		pr_err("parameter reserved: %llu bytes are too few\n", (u64)size);
		return -EINVAL;
	}
	region.start = start + skip;
	region.halves[0] = mapped + skip;
	region.halves[1] = region.halves[0] + region.half_blocks * FLIGHTREC_BLOCK_BYTES;
	return 0;
}

/*
 * What has claimed a part of that range. The kernel lends no lock for its list; it is
 * read only when a load is refused, and entries go when devices do.
 */
static const char * __init owner_of(phys_addr_t start, phys_addr_t end)
{
	const struct resource *res = iomem_resource.child;

	while (res && res->start <= end) {
		if (res->end < start)
			res = res->sibling;
		else if (res->flags & IORESOURCE_BUSY || !res->child)
			return res->name ?: "something without a name";
		else
			res = res->child;
	}
	return "something else";
}

#ifdef FLIGHTREC_HAVE_E820
/* Does the firmware say of all of it that it is memory? */
static bool __init is_memory(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t page;

	if (e820__mapped_raw_any(start, end + 1, E820_TYPE_RESERVED) ||
	    e820__mapped_raw_any(start, end + 1, E820_TYPE_ACPI) ||
	    e820__mapped_raw_any(start, end + 1, E820_TYPE_NVS) ||
	    e820__mapped_raw_any(start, end + 1, E820_TYPE_UNUSABLE))
		return false;
	for (page = start & PAGE_MASK; page <= end; page += PAGE_SIZE)
		if (!e820__mapped_raw_any(page, page + 1, E820_TYPE_RAM))
			return false;
	return true;
}
#else
static bool __init is_memory(phys_addr_t start, phys_addr_t end)
{
	return false;	/* this kernel has nobody who could be asked */
}
#endif

/* The memory is claimed: may it be ours? */
static int __init check_claimed(phys_addr_t start, phys_addr_t end)
{
	const struct resource *parent = region.claim->parent;

	if (!is_memory(start, end)) {
		pr_err("parameter reserved: %pa to %pa is not memory by what the firmware says%s\n",
		       &start, &end, IS_ENABLED(FLIGHTREC_HAVE_E820) ? "" :
		       ", which this kernel does not tell drivers; use reserve_mem= and its name");
		return -EINVAL;
	}
	if (parent != &iomem_resource && strcasecmp(parent->name, "Reserved")) {
		pr_err("parameter reserved: %pa to %pa belongs to \"%s\"\n", &start, &end,
		       parent->name);
		return -EBUSY;
	}
	return 0;
}

static int __init check_content(phys_addr_t start)
{
	if (*(const u32 *)region.mapped != RAMOOPS_MAGIC)
		return 0;
	pr_err("parameter reserved: the memory at %pa has records of \"ramoops\"; give each its own\n",
	       &start);
	return -EBUSY;
}

static int __init open_address(phys_addr_t start, phys_addr_t size)
{
	phys_addr_t end = start + size - 1;
	int err;

	if (!size || end < start) {
		pr_err("parameter reserved: \"%s\" is no range of memory\n", reserved);
		return -EINVAL;
	}
	region.claim = request_mem_region(start, size, "flightrec");
	if (!region.claim) {
		pr_err("parameter reserved: %pa to %pa belongs to \"%s\"; reserve it with memmap=%lluK$%pa\n",
		       &start, &end, owner_of(start, end), (u64)size >> 10, &start);
		return -EBUSY;
	}
	err = check_claimed(start, end);
	if (err)
		return err;
	region.mapped = memremap(start, size, MEMREMAP_WB);
	if (!region.mapped) {
		pr_err("parameter reserved: cannot map %pa to %pa\n", &start, &end);
		return -ENOMEM;
	}
	err = check_content(start);
	return err ?: set_bounds(start, size, region.mapped);
}

static int __init open_name(const char *name)
{
#ifdef FLIGHTREC_HAVE_RESERVE_MEM
	phys_addr_t start, size;

	if (strncmp(name, OWN_NAME, strlen(OWN_NAME))) {
		pr_err("parameter reserved: memory named \"%s\" belongs to something else: the name must begin with \"" OWN_NAME "\"\n",
		       name);
		return -EBUSY;
	}
	/* It is memory that the kernel has mapped like any other. */
	if (reserve_mem_find_by_name(name, &start, &size))
		return set_bounds(start, size, phys_to_virt(start));
#endif
	if (!reserved)
		return 0;
	pr_err("parameter reserved: there is no memory named \"%s\"; %s\n", name,
	       IS_ENABLED(FLIGHTREC_HAVE_RESERVE_MEM) ?
	       "the kernel's command line needs reserve_mem=SIZE:16K:NAME" :
	       "this kernel cannot name it: use SIZE@ADDRESS");
	return -EINVAL;
}

/* SIZE@ADDRESS, as in crashkernel=; false if it is no such thing. */
static bool __init parse_address(const char *text, phys_addr_t *start, phys_addr_t *size)
{
	char *end;

	*size = memparse(text, &end);
	if (*end != '@' || end == text)
		return false;
	text = end + 1;
	*start = memparse(text, &end);
	return !*end && end != text;
}

int __init flightrec_region_open(void)
{
	phys_addr_t start, size;
	int err;

	if (!reserved)
		err = open_name(OWN_NAME);
	else if (*reserved && !strchr(reserved, '@'))
		err = open_name(reserved);
	else if (parse_address(reserved, &start, &size))
		err = open_address(start, size);
	else
		err = -EDOM;
	if (err == -EDOM) {
		pr_err("parameter reserved: \"%s\" is neither SIZE@ADDRESS, like 4M@0x10000000, nor a name\n",
		       reserved);
		err = -EINVAL;
	}
	if (err) {
		flightrec_region_close();
		return err;
	}
	if (!region.half_blocks)
		return 0;
	look_at_halves();
	if (region.previous.magic)
		pr_info("records of boot %pUb are in /proc/flightrec/previous.image, from memory at %pa\n",
			region.previous.boot_id, &region.start);
	else
		pr_info("no records of a boot before are in the memory at %pa\n", &region.start);
	return 0;
}

u64 flightrec_region_blocks(void)
{
	return region.half_blocks;
}

void __init flightrec_region_wipe(void)
{
	u64 i;

	for (i = 0; i < region.half_blocks; i++) {
		u8 *block = region.halves[region.own] + i * FLIGHTREC_BLOCK_BYTES;

		memset(block, 0, FLIGHTREC_BLOCK_BYTES);
		ring_write_back(block, FLIGHTREC_BLOCK_BYTES);
		cond_resched();
	}
}

u64 *flightrec_region_take(u32 nblocks)
{
	u8 *blocks = region.halves[region.own] + region.taken * FLIGHTREC_BLOCK_BYTES;

	if (WARN_ON(region.taken + nblocks > region.half_blocks))
		return NULL;
	region.taken += nblocks;
	return (u64 *)blocks;
}

u64 flightrec_region_generation(void)
{
	return region.generation;
}

void flightrec_region_close(void)
{
	if (region.mapped)
		memunmap(region.mapped);
	if (region.claim)
		release_mem_region(region.claim->start, resource_size(region.claim));
}

u64 flightrec_region_image_bytes(void)
{
	if (!region.previous.magic)
		return 0;
	return FLIGHTREC_IMAGE_HEADER + region.half_blocks * FLIGHTREC_BLOCK_BYTES;
}

/* The header, with zeroes behind it, then the blocks as they lie there. */
ssize_t flightrec_region_image_read(char __user *buf, size_t count, loff_t *pos)
{
	loff_t at = *pos - FLIGHTREC_IMAGE_HEADER;
	ssize_t n;

	count = min_t(size_t, count, READ_MAX);
	if (*pos >= 0 && at < 0) {
		if (*pos < sizeof(region.previous))
			return simple_read_from_buffer(buf, count, pos, &region.previous,
						       sizeof(region.previous));
		n = min_t(size_t, count, -at);
		if (clear_user(buf, n))
			return -EFAULT;
	} else {
		n = simple_read_from_buffer(buf, count, &at, region.halves[!region.own],
					    region.half_blocks * FLIGHTREC_BLOCK_BYTES);
	}
	if (n > 0)
		*pos += n;
	return n;
}

void flightrec_region_stats(struct seq_file *m)
{
	seq_printf(m, " reserved_kb=%llu previous_boot=",
		   2 * region.half_blocks * (FLIGHTREC_BLOCK_BYTES >> 10));
	if (region.previous.magic)
		seq_printf(m, "%*phN", (int)sizeof(region.previous.boot_id),
			   region.previous.boot_id);
	else
		seq_puts(m, "none");
}
