// SPDX-License-Identifier: LGPL-2.1-or-later
/* Memory images by their format: ELF, raw and LiME; kdump's are handed to kdump.c. */
#include "recover.h"

#include <elf.h>
#include <endian.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PAGE 4096

/* A machine has a few; a forged file may claim any number. */
#define RANGES_MAX 65536

#define LIME_MAGIC 0x4c694d45U

static const struct refusal {
	const char *magic;
	size_t len;
	const char *problem;
} refusals[] = {
	{ "LUKS\xba\xbe", 6, "it is encrypted (LUKS): open it with cryptsetup first" },
	{ "age-encryption.org/", 19, "it is encrypted (age): decrypt it first" },
	{ "-----BEGIN PGP MESSAGE", 22, "it is encrypted (OpenPGP): decrypt it with gpg first" },
	{ "Salted__", 8, "it is encrypted (openssl enc): decrypt it first" },
	{ "\x1f\x8b", 2, "it is compressed: unpack it with gunzip first" },
	{ "\x28\xb5\x2f\xfd", 4, "it is compressed: unpack it with unzstd first" },
	{ "\xfd" "7zXZ\0", 6, "it is compressed: unpack it with unxz first" },
	{ "BZh", 3, "it is compressed: unpack it with bunzip2 first" },
	{ "\x04\x22\x4d\x18", 4, "it is compressed: unpack it with unlz4 first" },
	{ "PK\x03\x04", 4, "it is an archive: unpack it first" },
	{ "QFI\xfb", 4, "it is a qcow2 image: unpack it with \"qemu-img convert -O raw\" first" },
	{ "QEVM", 4, "it is QEMU's saved state: dump memory with dump-guest-memory instead" },
	{ "MDMP", 4, "it is a Windows minidump" },
	{ "PAGEDU64", 8, "it is a Windows crash dump" },
	{ "PAGEDUMP", 8, "it is a Windows crash dump" },
};

static int refuse(struct memory *memory, const char *format, const char *problem)
{
	memory->format = format;
	memory->problem = problem;
	return -ENOTSUP;
}

static int by_start(const void *one, const void *two)
{
	const struct memory_range *a = one, *b = two;

	return a->start < b->start ? -1 : a->start > b->start;
}

/*
 * Sorts, and cuts what would be there twice: memory, or bytes of the file, of
 * which a forged one could have the same read again and again.
 */
static void settle(struct memory *memory)
{
	struct memory_range *r = memory->ranges;
	uint64_t end = 0, sum = 0;
	uint64_t over;
	size_t i, n = 0;

	if (r)
		qsort(r, memory->nranges, sizeof(*r), by_start);
	for (i = 0; i < memory->nranges; i++) {
		over = n && r[i].start < end ? end - r[i].start : 0;
		if (over >= r[i].len)
			continue;
		r[n] = r[i];
		r[n].start += over;
		r[n].offset += over;
		r[n].len -= over;
		end = r[n].start + r[n].len;
		sum += r[n].len;
		if (sum > memory->store->size) {
			memory->problem = "it contradicts itself: it announces more memory than it has bytes";
			break;
		}
		n++;
	}
	memory->nranges = n;
}

static int add_range(struct memory *memory, uint64_t start, uint64_t len, uint64_t offset)
{
	const struct store *store = memory->store;
	struct memory_range *more;
	uint64_t there = offset < store->size ? store->size - offset : 0;

	if (len > INT64_MAX || start > INT64_MAX)
		return 0;
	if (len > there) {
		memory->problem = "it is cut: a part of the memory that it announces is missing";
		memory->unreadable += (len - there) / PAGE;
		len = there;
	}
	if (!len || memory->nranges >= RANGES_MAX)
		return 0;
	if (!(memory->nranges & (memory->nranges - 1))) {
		more = realloc(memory->ranges, (memory->nranges ? 2 * memory->nranges : 1) *
						       sizeof(*more));
		if (!more)
			return -ENOMEM;
		memory->ranges = more;
	}
	memory->ranges[memory->nranges++] = (struct memory_range) { start, len, offset };
	return 0;
}

/* The machine writes numbers as this one does, 64 bits wide; or what to say. */
static const char *foreign(const unsigned char *ident)
{
	int ours = __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;

	if (ident[EI_CLASS] != ELFCLASS64)
		return "it is of a 32-bit machine, on which the recorder does not run";
	if (ident[EI_DATA] != ours)
		return "it is of a machine with the other byte order: use flightrec on a machine of its kind";
	return NULL;
}

/* More than 65534 segments are counted in the first section's header. */
static uint64_t segments_of(const struct store *store, const Elf64_Ehdr *elf)
{
	Elf64_Shdr first;

	if (elf->e_phnum != PN_XNUM)
		return elf->e_phnum;
	return store_have(store, elf->e_shoff, &first, sizeof(first)) ? first.sh_info : 0;
}

static int open_elf(struct memory *memory, const Elf64_Ehdr *elf)
{
	const char *problem = foreign(elf->e_ident);
	Elf64_Phdr segment;
	uint64_t i, n;
	int err;

	if (problem)
		return refuse(memory, "ELF", problem);
	if (elf->e_type != ET_CORE || elf->e_phentsize != sizeof(segment))
		return refuse(memory, "ELF", "it is no core dump of a machine");
	memory->format = "ELF core dump";
	memory->stride = FLIGHTREC_BLOCK_BYTES;
	n = segments_of(memory->store, elf);
	for (i = 0; i < n && i < RANGES_MAX; i++) {
		if (!store_have(memory->store, elf->e_phoff + i * sizeof(segment), &segment,
				sizeof(segment))) {
			memory->problem = "it is cut: it ends within its list of segments";
			break;
		}
		if (segment.p_type == PT_NOTE)
			store_crash_time(memory->store, segment.p_offset, segment.p_filesz,
					 &memory->crash_seconds);
		if (segment.p_type != PT_LOAD)
			continue;
		err = add_range(memory, segment.p_paddr, segment.p_filesz, segment.p_offset);
		if (err)
			return err;
	}
	return 1;
}

struct lime {
	uint32_t magic, version;
	uint64_t first, last;
	uint8_t reserved[8];
};

static int open_lime(struct memory *memory)
{
	const struct store *store = memory->store;
	uint64_t at = 0;
	struct lime head;
	int err;

	memory->format = "LiME image of memory";
	memory->stride = FLIGHTREC_BLOCK_BYTES;
	while (store_have(store, at, &head, sizeof(head))) {
		if (head.magic != LIME_MAGIC || head.version != 1 || head.last < head.first ||
		    head.last - head.first > INT64_MAX / 2 || memory->nranges >= RANGES_MAX) {
			memory->problem = "it is damaged: a range of memory does not begin where the one before it ends";
			break;
		}
		err = add_range(memory, head.first, head.last - head.first + 1, at + sizeof(head));
		if (err)
			return err;
		at += sizeof(head) + (head.last - head.first + 1);
	}
	return 1;
}

/* What /proc/flightrec/previous.image has. */
static int open_previous(struct memory *memory, const struct flightrec_image *image)
{
	const size_t checked = offsetof(struct flightrec_image, check);

	memory->format = "memory of the boot before";
	if (crc32(0, (const unsigned char *)image, checked) != image->check) {
		memory->problem = "its header is damaged";
		return -ENOTSUP;
	}
	if (image->version != FLIGHTREC_IMAGE_VERSION ||
	    image->block_bytes != FLIGHTREC_BLOCK_BYTES || image->nblocks > UINT32_MAX) {
		memory->problem = "it is of a version that this program does not know: use a newer one";
		return -ENOTSUP;
	}
	memory->stride = FLIGHTREC_BLOCK_BYTES;
	memory->only_blocks = true;
	return add_range(memory, 0, image->nblocks * FLIGHTREC_BLOCK_BYTES,
			 FLIGHTREC_IMAGE_HEADER) ?: 1;
}

int memory_open(struct memory *memory, const struct store *store)
{
	union {
		Elf64_Ehdr elf;
		struct flightrec_image image;
		uint32_t lime;
		unsigned char bytes[64];
	} head = { .bytes = "" };
	int err = 0;
	size_t i;

	*memory = (struct memory) { .store = store };
	if (store_read(store, 0, &head, sizeof(head)) < 32)
		return 0;
	for (i = 0; i < sizeof(refusals) / sizeof(*refusals); i++)
		if (!memcmp(head.bytes, refusals[i].magic, refusals[i].len))
			return refuse(memory, "unknown", refusals[i].problem);
	if (!memcmp(head.bytes, ELFMAG, SELFMAG))
		err = open_elf(memory, &head.elf);
	else if (!memcmp(head.bytes, "KDUMP   ", 8))
		err = kdump_open(memory, store);
	else if (le32toh(head.lime) == LIME_MAGIC)
		err = open_lime(memory);
	else if (head.image.magic == FLIGHTREC_IMAGE_MAGIC)
		err = open_previous(memory, &head.image);
	settle(memory);
	return err;
}

int memory_open_raw(struct memory *memory, const struct store *store)
{
	*memory = (struct memory) { .store = store, .format = "raw image of memory" };
	/* Nobody knows what its first byte is. */
	memory->stride = 8;
	return add_range(memory, 0, store->size, 0);
}

void memory_close(struct memory *memory)
{
	kdump_close(memory->kdump);
	free(memory->ranges);
	*memory = (struct memory) { .store = NULL };
}

/* The range that has @addr; NULL if none does. */
static const struct memory_range *range_at(const struct memory *memory, uint64_t addr)
{
	size_t low = 0, high = memory->nranges;
	size_t mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (memory->ranges[mid].start <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || addr - memory->ranges[low - 1].start >= memory->ranges[low - 1].len)
		return NULL;
	return &memory->ranges[low - 1];
}

size_t memory_read(struct memory *memory, uint64_t addr, void *buffer, size_t size)
{
	const struct memory_range *range;
	size_t at, part, have = 0;
	uint64_t skip;
	ssize_t n;

	if (memory->kdump)
		return kdump_read(memory, addr, buffer, size);
	memset(buffer, 0, size);
	for (at = 0; at < size; at += part) {
		range = range_at(memory, addr + at);
		if (!range) {
			part = PAGE - (addr + at) % PAGE;
			continue;
		}
		skip = addr + at - range->start;
		part = size - at;
		if (part > range->len - skip)
			part = range->len - skip;
		n = store_read(memory->store, range->offset + skip, (char *)buffer + at, part);
		if (n > 0)
			have += n;
	}
	return have;
}

/* One range, holes left out. */
static int walk_range(struct memory *memory, const struct memory_range *range, char *chunk,
		      memory_visit visit, void *arg,
		      void (*progress)(void *arg, uint64_t done), void *progress_arg)
{
	const struct store *store = memory->store;
	uint64_t at = 0;
	uint64_t data, want;
	ssize_t n;
	int err;

	while (at < range->len) {
		data = store_data(store, range->offset + at) - range->offset;
		if (data >= range->len)
			break;
		/* Only whole pages, as a block's magic number is in its first one. */
		if (data - data % PAGE > at)
			at = data - data % PAGE;
		want = range->len - at < CHUNK ? range->len - at : CHUNK;
		n = store_read(store, range->offset + at, chunk, want);
		if (n < 0 && n != -EIO)
			return (int)n;
		if (n <= 0) {
			memory->unreadable += (want + PAGE - 1) / PAGE;
			n = want;	/* a bad sector does not hide the rest */
		} else {
			err = visit(arg, range->start + at, chunk, n);
			if (err)
				return err;
		}
		at += n;
		progress(progress_arg, range->offset + at);
	}
	return 0;
}

int memory_walk(struct memory *memory, memory_visit visit, void *arg,
		void (*progress)(void *arg, uint64_t done), void *progress_arg)
{
	char *chunk;
	int err = 0;
	size_t i;

	if (memory->kdump)
		return kdump_walk(memory, visit, arg, progress, progress_arg);
	chunk = aligned_alloc(PAGE, CHUNK);
	if (!chunk)
		return -ENOMEM;
	for (i = 0; i < memory->nranges && !err; i++)
		err = walk_range(memory, &memory->ranges[i], chunk, visit, arg, progress,
				 progress_arg);
	free(chunk);
	return err;
}
