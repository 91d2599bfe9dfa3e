// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks of channels in memory. A walk through memory notes where they are, 24
 * bytes for each, since the rings may be larger than what may be used here.
 * Then each channel's blocks are merged: sorted by their smallest number, a
 * block is loaded when its turn comes and dropped after its last record. A CPU
 * fills one block at a time, so there are about as many open as CPUs.
 */
#include "recover.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MAGIC_AT offsetof(struct flightrec_block, magic)
#define CHECK_AT offsetof(struct flightrec_block, check)

/* What a record in a block has of struct flightrec_record: from its number on. */
#define STAMP_AT offsetof(struct flightrec_record, seq)
#define STAMP_BYTES (sizeof(struct flightrec_record) - STAMP_AT)
#define RECORDS_MAX (FLIGHTREC_BLOCK_BYTES / STAMP_BYTES)

/* Limits against forged images: 16 GiB of rings, more CPUs than Linux knows. */
#define BLOCKS_MAX (1024 * 1024)
#define CHANNELS_MAX 4096
#define OPEN_MAX 4096
#define OPEN_LOADED_MAX 512	/* of which so many keep their 16 KiB */

struct block {
	uint64_t addr;
	uint64_t first_seq;
	uint32_t channel;
	uint32_t source;
};

struct channel {
	unsigned char boot_id[16];
	char name[FLIGHTREC_NAME_MAX];
	uint64_t instance;
	uint64_t clear_seq;
};

struct entry {
	uint64_t seq;
	uint32_t off;		/* bytes */
};

/* A block whose records are being given out. */
struct open_block {
	const struct block *block;
	unsigned char *bytes;	/* NULL: loaded again for each record */
	unsigned int n, at;
	struct entry entries[RECORDS_MAX];
};

union loaded {
	struct flightrec_block head;
	unsigned char bytes[FLIGHTREC_BLOCK_BYTES];
	uint64_t words[FLIGHTREC_BLOCK_BYTES / 8];
};

struct blocks {
	struct block *found;
	size_t nfound;
	struct channel *channels;
	uint32_t nchannels;
	uint32_t table[2 * CHANNELS_MAX];	/* hash of instances: index + 1 */
	size_t next;				/* of @found, in merging */
	bool sorted;
	struct open_block **heap;		/* the smallest number first */
	size_t nheap, nloaded;
	union loaded scratch;
};

/* ---- one block */

static uint64_t lap_of(const union loaded *block)
{
	return block->head.state >> 24;
}

/* Bytes in use; all of them if that is no sensible number. */
static uint32_t used_bytes(const union loaded *block)
{
	uint64_t words = block->head.state & ((1 << 23) - 1);

	return words <= FLIGHTREC_BLOCK_BYTES / 8 && words >= block->head.header_size / 8U ?
	       words * 8 : FLIGHTREC_BLOCK_BYTES;
}

/* The record's stamp, which may be anything, with its version, size and so on. */
static void get_stamp(const union loaded *block, uint32_t off, struct flightrec_record *record)
{
	memset(record, 0, STAMP_AT);
	memcpy((char *)record + STAMP_AT, block->bytes + off, STAMP_BYTES);
	record->version = FLIGHTREC_ABI_VERSION;
	record->header_size = sizeof(*record);
}

/* Bytes of a whole record at @off; 0 if there is none. */
static uint32_t whole_record(const union loaded *block, uint32_t off, uint32_t end,
			     struct flightrec_record *record)
{
	uint32_t bytes;

	if (end - off < STAMP_BYTES)
		return 0;
	get_stamp(block, off, record);
	if (!record->seq || record->len > FLIGHTREC_PAYLOAD_MAX ||
	    record->reserved != FLIGHTREC_CHECK(record->boot_ns, record->len, off / 8, lap_of(block)))
		return 0;
	bytes = STAMP_BYTES + (record->len + 7) / 8 * 8;
	return bytes <= end - off ? bytes : 0;
}

/*
 * Lists the whole records of a block, in the order in which they lie there;
 * counts what is in between.
 */
static unsigned int list_records(const union loaded *block, struct entry *entries,
				 uint64_t *unpublished, uint64_t *damaged)
{
	uint32_t end = used_bytes(block);
	uint32_t off = block->head.header_size;
	struct flightrec_record record;
	bool in_gap = false;
	unsigned int n = 0;
	uint32_t bytes;

	while (off + 8 <= end) {
		bytes = whole_record(block, off, end, &record);
		if (bytes) {
			entries[n++] = (struct entry) { record.seq, off };
			off += bytes;
			in_gap = false;
			continue;
		}
		if (!in_gap)
			++*(block->words[off / 8] ? damaged : unpublished);
		in_gap = true;
		off += 8;
	}
	return n;
}

static bool head_ok(const struct flightrec_block *head)
{
	const unsigned char *from = (const unsigned char *)&head->magic;

	return head->block_bytes == FLIGHTREC_BLOCK_BYTES && head->header_size >= sizeof(*head) &&
	       head->header_size % 8 == 0 && head->header_size <= FLIGHTREC_BLOCK_BYTES / 2 &&
	       crc32(0, from, CHECK_AT - MAGIC_AT) == head->check &&
	       !head->name[FLIGHTREC_NAME_MAX - 1] && flightrec_name_ok(head->name);
}

/* ---- finding them */

static int64_t channel_of(struct blocks *blocks, const struct flightrec_block *head)
{
	uint32_t slot = (head->instance ^ head->instance >> 32) % (2 * CHANNELS_MAX);
	struct channel *channel;

	for (; blocks->table[slot]; slot = (slot + 1) % (2 * CHANNELS_MAX)) {
		channel = &blocks->channels[blocks->table[slot] - 1];
		if (channel->instance == head->instance && !strcmp(channel->name, head->name) &&
		    !memcmp(channel->boot_id, head->boot_id, sizeof(head->boot_id)))
			return blocks->table[slot] - 1;
	}
	if (blocks->nchannels >= CHANNELS_MAX)
		return -1;
	channel = &blocks->channels[blocks->nchannels++];
	memcpy(channel->boot_id, head->boot_id, sizeof(channel->boot_id));
	strcpy(channel->name, head->name);
	channel->instance = head->instance;
	channel->clear_seq = 0;
	blocks->table[slot] = blocks->nchannels;
	return blocks->nchannels - 1;
}

static int add_block(struct flightrec_recover *recover, const struct block *block)
{
	struct blocks *blocks = recover->blocks;
	struct block *more;

	if (blocks->nfound >= BLOCKS_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	if (!(blocks->nfound & (blocks->nfound - 1))) {
		more = realloc(blocks->found, (blocks->nfound ? 2 * blocks->nfound : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		blocks->found = more;
	}
	blocks->found[blocks->nfound++] = *block;
	return 0;
}

/*
 * Loads the block at @addr; false if bytes that are in use are missing. In an ELF
 * file makedumpfile leaves out pages of zeros: those that a block did not get to.
 */
static bool load_used(struct memory *memory, uint64_t addr, union loaded *block)
{
	size_t have = memory_read(memory, addr, block, sizeof(*block));
	uint32_t used = used_bytes(block);

	return have == sizeof(*block) || memory_read(memory, addr, block, used) == used;
}

struct scan {
	struct flightrec_recover *recover;
	struct memory *memory;
};

/* The magic number stands at @addr + MAGIC_AT: look at the whole. */
static int look_at(struct scan *scan, uint64_t addr)
{
	struct flightrec_recover *recover = scan->recover;
	struct blocks *blocks = recover->blocks;
	union loaded *block = &blocks->scratch;
	uint64_t *counts = recover->counts;
	struct entry entries[RECORDS_MAX];
	uint64_t unpublished = 0, damaged = 0;
	struct block found = { .addr = addr, .source = recover->nsources - 1 };
	int64_t channel;
	unsigned int n, i;
	bool whole = load_used(scan->memory, addr, block);

	if (block->head.version != FLIGHTREC_BLOCK_VERSION) {
		counts[FLIGHTREC_RECOVER_OTHER_VERSION]++;
		return 0;
	}
	counts[FLIGHTREC_RECOVER_BLOCKS]++;
	if (!head_ok(&block->head)) {
		counts[FLIGHTREC_RECOVER_DAMAGED]++;
		return 0;
	}
	channel = channel_of(blocks, &block->head);
	if (channel < 0) {
		counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	if (block->head.clear_seq > blocks->channels[channel].clear_seq)
		blocks->channels[channel].clear_seq = block->head.clear_seq;
	n = list_records(block, entries, &unpublished, &damaged);
	/* Where bytes are missing nobody knows why a number is 0. */
	if (!whole) {
		damaged += unpublished ? unpublished : 1;
		unpublished = 0;
	}
	counts[FLIGHTREC_RECOVER_UNPUBLISHED] += unpublished;
	counts[FLIGHTREC_RECOVER_DAMAGED] += damaged;
	if (!n)
		return 0;
	found.channel = channel;
	found.first_seq = entries[0].seq;
	for (i = 1; i < n; i++)
		if (entries[i].seq < found.first_seq)
			found.first_seq = entries[i].seq;
	return add_block(recover, &found);
}

static int visit(void *arg, uint64_t addr, const void *bytes, size_t len)
{
	struct scan *scan = arg;
	uint64_t stride = scan->memory->stride;
	uint64_t at = (MAGIC_AT + stride - addr % stride) % stride;
	const uint64_t magic = FLIGHTREC_BLOCK_MAGIC;
	uint64_t word;
	int err;

	for (; at + sizeof(word) <= len; at += stride) {
		memcpy(&word, (const char *)bytes + at, sizeof(word));
		if (word != magic || addr + at < MAGIC_AT)
			continue;
		err = look_at(scan, addr + at - MAGIC_AT);
		/* Of kdump, @bytes are another page now: it held one place only, or the first. */
		if (err || scan->memory->kdump)
			return err;
	}
	return 0;
}

int blocks_scan(struct flightrec_recover *recover, struct memory *memory)
{
	struct scan scan = { recover, memory };

	if (!recover->blocks) {
		recover->blocks = calloc(1, sizeof(*recover->blocks));
		if (!recover->blocks)
			return -ENOMEM;
		recover->blocks->channels = calloc(CHANNELS_MAX, sizeof(struct channel));
		if (!recover->blocks->channels)
			return -ENOMEM;
	}
	return memory_walk(memory, visit, &scan, recover_progress, recover);
}

/* ---- merging them */

static int by_channel_and_seq(const void *one, const void *two)
{
	const struct block *a = one, *b = two;

	if (a->channel != b->channel)
		return a->channel < b->channel ? -1 : 1;
	if (a->first_seq != b->first_seq)
		return a->first_seq < b->first_seq ? -1 : 1;
	return 0;
}

static uint64_t head_seq(const struct open_block *open)
{
	return open->entries[open->at].seq;
}

static void sift_down(struct blocks *blocks, size_t i)
{
	struct open_block **heap = blocks->heap;
	struct open_block *held;
	size_t child;

	for (;; i = child) {
		child = 2 * i + 1;
		if (child >= blocks->nheap)
			return;
		if (child + 1 < blocks->nheap && head_seq(heap[child + 1]) < head_seq(heap[child]))
			child++;
		if (head_seq(heap[i]) <= head_seq(heap[child]))
			return;
		held = heap[i];
		heap[i] = heap[child];
		heap[child] = held;
	}
}

static void push(struct blocks *blocks, struct open_block *open)
{
	struct open_block **heap = blocks->heap;
	size_t i = blocks->nheap++;

	for (; i && head_seq(heap[(i - 1) / 2]) > head_seq(open); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = open;
}

static void drop(struct blocks *blocks, struct open_block *open)
{
	blocks->nloaded -= open->bytes != NULL;
	free(open->bytes);
	free(open);
}

static int by_seq(const void *one, const void *two)
{
	const struct entry *a = one, *b = two;

	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return a->off < b->off ? -1 : 1;
}

static void load(struct flightrec_recover *recover, const struct block *block, union loaded *into)
{
	memory_read(&recover->sources[block->source]->memory, block->addr, into, sizeof(*into));
}

/* Opens the next block of @found. */
static int open_next(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	const struct block *block = &blocks->found[blocks->next++];
	uint64_t ignored = 0;
	struct open_block *open;

	if (blocks->nheap >= OPEN_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	open = malloc(sizeof(*open));
	if (!open)
		return -ENOMEM;
	*open = (struct open_block) { .block = block };
	load(recover, block, &blocks->scratch);
	open->n = list_records(&blocks->scratch, open->entries, &ignored, &ignored);
	if (!open->n) {		/* a file that changes while it is read */
		free(open);
		return 0;
	}
	qsort(open->entries, open->n, sizeof(*open->entries), by_seq);
	if (blocks->nloaded < OPEN_LOADED_MAX) {
		open->bytes = malloc(sizeof(blocks->scratch));
		if (open->bytes) {
			memcpy(open->bytes, &blocks->scratch, sizeof(blocks->scratch));
			blocks->nloaded++;
		}
	}
	push(blocks, open);
	return 0;
}

/*
 * Opens what may have the next number: all blocks of this channel that begin
 * before the smallest open one.
 */
static int open_due(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	const struct block *next;
	int err;

	while (blocks->next < blocks->nfound) {
		next = &blocks->found[blocks->next];
		if (blocks->nheap && (next->channel != blocks->heap[0]->block->channel ||
				      next->first_seq > head_seq(blocks->heap[0])))
			break;
		err = open_next(recover);
		if (err)
			return err;
	}
	return 0;
}

/* Takes the smallest number out of the heap. */
static struct entry take(struct flightrec_recover *recover, const struct block **block,
			 const union loaded **bytes)
{
	struct blocks *blocks = recover->blocks;
	struct open_block *open = blocks->heap[0];
	struct entry entry = open->entries[open->at];

	*block = open->block;
	*bytes = &blocks->scratch;
	if (open->bytes)
		memcpy(&blocks->scratch, open->bytes, sizeof(blocks->scratch));
	else
		load(recover, open->block, &blocks->scratch);
	if (++open->at == open->n) {
		drop(blocks, open);
		blocks->heap[0] = blocks->heap[--blocks->nheap];
	}
	if (blocks->nheap)
		sift_down(blocks, 0);
	return entry;
}

static void hex_of(const unsigned char *bytes, size_t n, char *text)
{
	while (n--) {
		snprintf(text, 3, "%02x", *bytes++);
		text += 2;
	}
}

/* Gives out one record, unless it was cleared, or is the one before again. */
static bool give(struct flightrec_recover *recover, const struct channel *channel,
		 const struct block *block, const union loaded *bytes, struct entry entry)
{
	static const char zeroes[8];
	struct flightrec_record record;
	unsigned int flags = 0;
	char boot_id[33];
	bool same;

	/* Of an image that changes meanwhile, the length may be another now. */
	if (!whole_record(bytes, entry.off, FLIGHTREC_BLOCK_BYTES, &record))
		return false;
	if (record.seq < channel->clear_seq) {
		recover->counts[FLIGHTREC_RECOVER_CLEARED]++;
		return false;
	}
	record.reserved = 0;
	record.size = sizeof(record) + (record.len + 7) / 8 * 8;
	hex_of(channel->boot_id, sizeof(channel->boot_id), boot_id);
	same = record.seq == recover->last_seq && channel->instance == recover->last_instance &&
	       !strcmp(channel->name, recover->last_channel) &&
	       !strcmp(boot_id, recover->last_boot_id);
	if (same) {
		record.lost = recover->buffer.record.lost;
		if (!memcmp(&record, &recover->buffer.record, sizeof(record)) &&
		    !memcmp(bytes->bytes + entry.off + STAMP_BYTES,
			    recover->buffer.bytes + sizeof(record), record.len)) {
			recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
			return false;
		}
		recover->counts[FLIGHTREC_RECOVER_CONFLICTS]++;
		flags = FLIGHTREC_RECOVERED_CONFLICT;
	}
	memcpy(&recover->buffer.record, &record, sizeof(record));
	memcpy(recover->buffer.bytes + sizeof(record), bytes->bytes + entry.off + STAMP_BYTES,
	       record.len);
	memcpy(recover->buffer.bytes + sizeof(record) + record.len, zeroes,
	       record.size - sizeof(record) - record.len);
	recover_found(recover, boot_id, channel->name, channel->instance, record.len, flags,
		      recover->sources[block->source]->file);
	if (text_take(recover, boot_id, channel->name, &recover->buffer.record))
		recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
	return true;
}

static void sort_found(struct blocks *blocks)
{
	if (blocks->nfound)
		qsort(blocks->found, blocks->nfound, sizeof(*blocks->found), by_channel_and_seq);
	blocks->sorted = true;
}

int blocks_next(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	const struct block *block;
	const union loaded *bytes;
	struct entry entry;
	int err;

	if (!blocks)
		return 0;
	if (!blocks->sorted) {
		blocks->heap = calloc(OPEN_MAX, sizeof(struct open_block *));
		if (!blocks->heap)
			return -ENOMEM;
		sort_found(blocks);
	}
	for (;;) {
		err = open_due(recover);
		if (err)
			return err;
		if (!blocks->nheap)
			return 0;
		entry = take(recover, &block, &bytes);
		if (give(recover, &blocks->channels[block->channel], block, bytes, entry))
			return 1;
	}
}

void blocks_free(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;

	if (!blocks)
		return;
	while (blocks->nheap)
		drop(blocks, blocks->heap[--blocks->nheap]);
	free(blocks->heap);
	free(blocks->channels);
	free(blocks->found);
	free(blocks);
}
