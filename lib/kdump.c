// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * makedumpfile's and QEMU's compressed dumps. In blocks of one page each:
 *
 *   header | sub-header | bitmap 1, bitmap 2 | descriptors | pages
 *
 * A bit of bitmap 2 says that the page of that number is in the dump; the
 * descriptors of those pages follow each other in the same order. A dump that
 * was split over several files has the whole bitmap in each, and descriptors
 * from the sub-header's start_pfn on.
 *
 * A block of the recorder begins at a multiple of its size, so a walk unpacks
 * one page of four.
 */
#include "recover.h"

#include <endian.h>
#include <lzo/lzo1x.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define PAGE_MIN 4096
#define PAGE_MAX 65536

/* Of 64 TiB with pages of 4 KiB. */
#define BITMAP_MAX (2ULL << 30)

/* The bitmap is looked at in pieces; for each the table knows how many bits were set before. */
#define PIECE 4096
#define PIECE_BITS (PIECE * 8)

/* The fields of both headers that matter, as 64-bit machines have them. */
enum {
	HEAD_VERSION = 8,
	HEAD_MACHINE = 12 + 4 * 65,	/* utsname */
	HEAD_BLOCK_SIZE = 428,
	HEAD_SUB_BLOCKS = 432,
	HEAD_BITMAP_BLOCKS = 436,
	HEAD_PAGES = 440,
	HEAD_BYTES = 464,

	SUB_SPLIT = 12,
	SUB_START = 16,
	SUB_END = 24,
	SUB_NOTE = 32,
	SUB_START_64 = 80,
	SUB_END_64 = 88,
	SUB_PAGES_64 = 96,
	SUB_BYTES = 104,
};

struct descriptor {
	uint64_t offset;
	uint32_t size;
	uint32_t flags;
	uint64_t page_flags;
};

#define PACKED_ZLIB	0x01
#define PACKED_LZO	0x02
#define PACKED_SNAPPY	0x04
#define PACKED_ZSTD	0x20
#define PACKED		(PACKED_ZLIB | PACKED_LZO | PACKED_SNAPPY | PACKED_ZSTD)

struct kdump {
	uint32_t page;			/* bytes */
	uint64_t first, end;		/* numbers of pages that may have a descriptor */
	uint64_t bitmap, descriptors;	/* offsets in the file */
	uint64_t *before;		/* bits set before each piece, from @first on */
	uint64_t cached;		/* the piece in @bits */
	unsigned char bits[PIECE];
	unsigned char packed[2 * PAGE_MAX];
	unsigned char unpacked[PAGE_MAX];
	ZSTD_DCtx *zstd;
};

static uint32_t get32(const unsigned char *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

static uint64_t get64(const unsigned char *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* Bits @from to before @to, both within the piece. */
static uint64_t count_bits(const unsigned char *bits, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	while (from < to && from % 8)
		n += bits[from / 8] >> from % 8 & 1, from++;
	for (; from + 8 <= to; from += 8)
		n += __builtin_popcount(bits[from / 8]);
	while (from < to)
		n += bits[from / 8] >> from % 8 & 1, from++;
	return n;
}

/* The bits of a piece that may have a descriptor. */
static void piece_bounds(const struct kdump *kdump, uint64_t piece, uint64_t *from, uint64_t *to)
{
	uint64_t start = piece * PIECE_BITS;

	*from = kdump->first > start ? kdump->first - start : 0;
	*to = kdump->end > start ? kdump->end - start : 0;
	if (*from > PIECE_BITS)
		*from = PIECE_BITS;
	if (*to > PIECE_BITS)
		*to = PIECE_BITS;
}

static bool load_piece(const struct store *store, struct kdump *kdump, uint64_t piece)
{
	if (kdump->cached == piece)
		return true;
	memset(kdump->bits, 0, PIECE);
	kdump->cached = piece;
	return store_read(store, kdump->bitmap + piece * PIECE, kdump->bits, PIECE) > 0;
}

static int count_all(const struct store *store, struct kdump *kdump)
{
	uint64_t pieces = (kdump->end + PIECE_BITS - 1) / PIECE_BITS;
	uint64_t sum = 0;
	uint64_t i, from, to;

	kdump->before = calloc(pieces + 1, sizeof(*kdump->before));
	if (!kdump->before)
		return -ENOMEM;
	for (i = 0; i < pieces; i++) {
		kdump->before[i] = sum;
		load_piece(store, kdump, i);
		piece_bounds(kdump, i, &from, &to);
		sum += count_bits(kdump->bits, from, to);
	}
	kdump->before[pieces] = sum;
	return 0;
}

static int refuse(struct memory *memory, const char *problem)
{
	memory->format = "kdump-compressed dump";
	memory->problem = problem;
	return -ENOTSUP;
}

/* Sizes and places, bounded; what is wrong, or NULL. */
static const char *lay_out(const struct store *store, struct kdump *kdump,
			   const unsigned char *head, const unsigned char *sub)
{
	uint64_t bitmap_bytes, pages;
	bool wide = get32(head + HEAD_VERSION) >= 6;

	kdump->page = get32(head + HEAD_BLOCK_SIZE);
	pages = get32(head + HEAD_PAGES);
	if (wide && get64(sub + SUB_PAGES_64))
		pages = get64(sub + SUB_PAGES_64);
	bitmap_bytes = (uint64_t)get32(head + HEAD_BITMAP_BLOCKS) * kdump->page;
	kdump->bitmap = (1 + (uint64_t)get32(head + HEAD_SUB_BLOCKS)) * kdump->page;
	kdump->descriptors = kdump->bitmap + bitmap_bytes;
	/* Two bitmaps, unless one is all that there is room for. */
	if (pages <= bitmap_bytes / 2 * 8)
		kdump->bitmap += bitmap_bytes / 2;
	else if (pages > bitmap_bytes * 8)
		return "it contradicts itself: its bitmap is smaller than its memory";
	if (bitmap_bytes > BITMAP_MAX || kdump->descriptors > store->size)
		return "it is cut: it ends before its pages begin";
	kdump->end = pages;
	if (get32(sub + SUB_SPLIT)) {
		kdump->first = get64(sub + (wide ? SUB_START_64 : SUB_START));
		if (get64(sub + (wide ? SUB_END_64 : SUB_END)) < kdump->end)
			kdump->end = get64(sub + (wide ? SUB_END_64 : SUB_END));
	}
	return NULL;
}

int kdump_open(struct memory *memory, const struct store *store)
{
	unsigned char head[HEAD_BYTES], sub[SUB_BYTES];
	struct kdump *kdump;
	uint32_t page;

	if (!store_have(store, 0, head, sizeof(head)))
		return refuse(memory, "it is cut: it ends within its header");
	page = get32(head + HEAD_BLOCK_SIZE);
	if (page < PAGE_MIN || page > PAGE_MAX || page & (page - 1))
		return refuse(memory, __builtin_bswap32(page) >= PAGE_MIN &&
			      __builtin_bswap32(page) <= PAGE_MAX ?
			      "it is of a machine with the other byte order: use flightrec on a machine of its kind" :
			      "it is of a 32-bit machine, or damaged");
	if (!store_have(store, page, sub, sizeof(sub)))
		return refuse(memory, "it is cut: it ends within its header");
	kdump = calloc(1, sizeof(*kdump));
	if (!kdump)
		return -ENOMEM;
	memory->kdump = kdump;
	memory->format = "kdump-compressed dump";
	memory->stride = FLIGHTREC_BLOCK_BYTES;
	kdump->cached = UINT64_MAX;
	memory->problem = lay_out(store, kdump, head, sub);
	if (memory->problem)
		return -ENOTSUP;
	/* From version 3 on the sub-header says where the kernel's note is. */
	if (get32(head + HEAD_VERSION) >= 3)
		store_crash_time(store, get64(sub + SUB_NOTE), get64(sub + SUB_NOTE + 8),
				 &memory->crash_seconds);
	kdump->zstd = ZSTD_createDCtx();
	if (!kdump->zstd || lzo_init() != LZO_E_OK)
		return -ENOMEM;
	return count_all(store, kdump) ? -ENOMEM : 1;
}

void kdump_close(struct kdump *kdump)
{
	if (!kdump)
		return;
	ZSTD_freeDCtx(kdump->zstd);
	free(kdump->before);
	free(kdump);
}

static bool unpack(struct kdump *kdump, const struct descriptor *desc)
{
	const unsigned char *in = kdump->packed;
	unsigned char *out = kdump->unpacked;
	uLongf zlib_len = kdump->page;
	lzo_uint lzo_len = kdump->page;
	size_t snappy_len = kdump->page;

	switch (desc->flags & PACKED) {
	case 0:
		if (desc->size != kdump->page)
			return false;
		memcpy(out, in, kdump->page);
		return true;
	case PACKED_ZLIB:
		return uncompress(out, &zlib_len, in, desc->size) == Z_OK &&
		       zlib_len == kdump->page;
	case PACKED_LZO:
		return lzo1x_decompress_safe(in, desc->size, out, &lzo_len, NULL) == LZO_E_OK &&
		       lzo_len == kdump->page;
	case PACKED_SNAPPY:
		return snappy_uncompress((const char *)in, desc->size, (char *)out, &snappy_len) ==
			       SNAPPY_OK && snappy_len == kdump->page;
	case PACKED_ZSTD:
		return ZSTD_decompressDCtx(kdump->zstd, out, kdump->page, in, desc->size) ==
		       kdump->page;
	default:
		return false;
	}
}

/* A page into kdump->unpacked. */
static bool load_page(struct memory *memory, const struct descriptor *desc)
{
	struct kdump *kdump = memory->kdump;

	if (desc->size && desc->size <= sizeof(kdump->packed) &&
	    store_have(memory->store, desc->offset, kdump->packed, desc->size) &&
	    unpack(kdump, desc))
		return true;
	memory->unreadable++;
	return false;
}

static bool find_page(struct memory *memory, uint64_t number)
{
	struct kdump *kdump = memory->kdump;
	uint64_t piece = number / PIECE_BITS, bit = number % PIECE_BITS;
	struct descriptor desc;
	uint64_t from, to, rank;

	if (number < kdump->first || number >= kdump->end)
		return false;
	load_piece(memory->store, kdump, piece);
	if (!(kdump->bits[bit / 8] >> bit % 8 & 1))
		return false;
	piece_bounds(kdump, piece, &from, &to);
	rank = kdump->before[piece] + count_bits(kdump->bits, from, bit);
	if (!store_have(memory->store, kdump->descriptors + rank * sizeof(desc), &desc,
			sizeof(desc))) {
		memory->unreadable++;
		return false;
	}
	return load_page(memory, &desc);
}

size_t kdump_read(struct memory *memory, uint64_t addr, void *buffer, size_t size)
{
	struct kdump *kdump = memory->kdump;
	size_t at, part, skip, have = 0;

	memset(buffer, 0, size);
	for (at = 0; at < size; at += part) {
		skip = (addr + at) % kdump->page;
		part = size - at < kdump->page - skip ? size - at : kdump->page - skip;
		if (!find_page(memory, (addr + at) / kdump->page))
			continue;
		memcpy((char *)buffer + at, kdump->unpacked + skip, part);
		have += part;
	}
	return have;
}

struct walk {
	memory_visit visit;
	void *arg;
	struct descriptor *descs;	/* of a whole piece */
	uint64_t zero;			/* where the page of zeroes is that many share */
};

static int walk_piece(struct memory *memory, uint64_t piece, struct walk *walk)
{
	struct kdump *kdump = memory->kdump;
	uint32_t every = kdump->page < FLIGHTREC_BLOCK_BYTES ?
			 FLIGHTREC_BLOCK_BYTES / kdump->page : 1;
	uint64_t n = kdump->before[piece + 1] - kdump->before[piece];
	uint64_t bit, to, number, have, i = 0;
	ssize_t bytes;
	int err;

	if (!n)
		return 0;
	load_piece(memory->store, kdump, piece);
	bytes = store_read(memory->store, kdump->descriptors +
			   kdump->before[piece] * sizeof(*walk->descs),
			   walk->descs, n * sizeof(*walk->descs));
	have = bytes > 0 ? bytes / sizeof(*walk->descs) : 0;
	memory->unreadable += n - have;
	piece_bounds(kdump, piece, &bit, &to);
	for (; bit < to && i < have; bit++) {
		if (!(kdump->bits[bit / 8] >> bit % 8 & 1))
			continue;
		number = piece * PIECE_BITS + bit;
		i++;
		if (number % every || walk->descs[i - 1].offset == walk->zero ||
		    !load_page(memory, &walk->descs[i - 1]))
			continue;
		if (!memcmp(kdump->unpacked, kdump->unpacked + 8, kdump->page - 8)) {
			walk->zero = walk->descs[i - 1].offset;
			continue;
		}
		err = walk->visit(walk->arg, number * kdump->page, kdump->unpacked, kdump->page);
		if (err)
			return err;
		/* The visit may have read elsewhere. */
		load_piece(memory->store, kdump, piece);
	}
	return 0;
}

int kdump_walk(struct memory *memory, memory_visit visit, void *arg,
	       void (*progress)(void *arg, uint64_t done), void *progress_arg)
{
	struct kdump *kdump = memory->kdump;
	uint64_t pieces = (kdump->end + PIECE_BITS - 1) / PIECE_BITS;
	struct walk walk = { visit, arg, NULL, 0 };
	uint64_t all = kdump->before[pieces];
	int err = 0;
	uint64_t i;

	walk.descs = malloc(PIECE_BITS * sizeof(*walk.descs));
	if (!walk.descs)
		return -ENOMEM;
	for (i = 0; i < pieces && !err; i++) {
		err = walk_piece(memory, i, &walk);
		if (all)
			progress(progress_arg, (double)kdump->before[i + 1] / all *
				 memory->store->size);
	}
	free(walk.descs);
	if (memory->unreadable && !memory->problem)
		memory->problem = "it is cut or damaged: pages that it announces cannot be read";
	return err;
}
