// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Blocks of channels in memory. A walk through memory notes where they are, 24
 * bytes for each, since the rings may be larger than what may be used here.
 * Then each channel's blocks are merged: sorted by their smallest number, a
 * block is loaded when its turn comes and dropped after its last record. A CPU
 * fills one block at a time, so there are about as many open as CPUs. Where all
 * channels are wanted in one row, they are merged in turn, by the boot clock.
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
#define STAMP_MAX (sizeof(struct flightrec_record) - STAMP_AT)
#define STAMP_MIN (FLIGHTREC_RECORD_MIN - STAMP_AT)
#define RECORDS_MAX (FLIGHTREC_BLOCK_BYTES / STAMP_MIN)

/* Limits against forged images: 16 GiB of rings, more CPUs than Linux knows. */
#define BLOCKS_MAX (1024 * 1024)
#define CHANNELS_MAX 1024
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
	/* While its blocks are merged. */
	size_t next, end;		/* of @found */
	struct open_block **heap;	/* the smallest number first */
	size_t nheap;
	/* What was given out last; for what is there twice. */
	struct flightrec_record *last;
};

struct entry {
	uint64_t seq, boot_ns;
	uint32_t off;		/* bytes */
};

/* A block whose records are being given out. */
struct open_block {
	const struct block *block;
	unsigned char *bytes;	/* NULL: loaded again for each record */
	unsigned int n, at;
	struct entry entries[];
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
	bool sorted;
	size_t nopen, nloaded;
	/* Channels that have something left; by time, the earliest first. */
	uint32_t *turn;
	size_t nturn;
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

/* Is what was reserved also committed, so that no writer was stopped in the middle? */
static bool all_committed(const union loaded *block)
{
	return lap_of(block) == block->head.committed >> 24 &&
	       (block->head.state & 0xfff) == (block->head.committed & 0xfff);
}

static bool version_known(const union loaded *block)
{
	return block->head.version >= FLIGHTREC_BLOCK_VERSION_72 &&
	       block->head.version <= FLIGHTREC_BLOCK_VERSION_SUMMED;
}

/* Does each record have a sum over all of it? */
static bool summed(const union loaded *block)
{
	return block->head.version == FLIGHTREC_BLOCK_VERSION_SUMMED ||
	       block->head.version == FLIGHTREC_BLOCK_VERSION_72_SUMMED;
}

/* Bytes of each stamp in it. */
static uint32_t stamp_bytes(const union loaded *block)
{
	return block->head.version >= FLIGHTREC_BLOCK_VERSION ? STAMP_MAX : STAMP_MIN;
}

/* The record's stamp, which may be anything, with its version, size and so on. */
static void get_stamp(const union loaded *block, uint32_t off, struct flightrec_record *record)
{
	memset(record, 0, sizeof(*record));
	memcpy((char *)record + STAMP_AT, block->bytes + off, stamp_bytes(block));
	record->version = FLIGHTREC_ABI_VERSION;
	record->header_size = sizeof(*record);
}

/* CRC-32C of whole words, four bits at a time. */
static uint32_t sum_words(uint32_t sum, const uint64_t *words, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	uint64_t word;
	int i;

	for (; n; n--)
		for (word = *words++, i = 0; i < 16; i++, word >>= 4)
			sum = sum >> 4 ^ table[(sum ^ word) & 15];
	return sum;
}

/* The check that a record has in memory that a reset leaves alone: over all of it. */
static uint32_t sum_record(const union loaded *block, uint32_t off,
			   const struct flightrec_record *record, uint32_t stamp_check)
{
	struct flightrec_record stamp = *record;
	uint32_t bytes = stamp_bytes(block);
	uint64_t words[STAMP_MAX / 8];
	uint32_t sum;

	stamp.reserved = stamp_check;
	memcpy(words, (char *)&stamp + STAMP_AT, STAMP_MAX);
	sum = sum_words(0xffffffff, words + 1, bytes / 8 - 1);
	sum = sum_words(sum, &block->words[(off + bytes) / 8], (record->len + 7) / 8);
	return sum_words(sum, words, 1);
}

/*
 * Bytes of a whole record at @off; 0 if there is none. @effort is how many bytes may
 * still be summed up in vain: forged ones could make each place look like a record.
 */
static uint32_t whole_record(const union loaded *block, uint32_t off, uint32_t end,
			     struct flightrec_record *record, uint32_t *effort)
{
	uint32_t bytes, check;

	if (end - off < stamp_bytes(block))
		return 0;
	get_stamp(block, off, record);
	bytes = stamp_bytes(block) + (record->len + 7) / 8 * 8;
	if (!record->seq || record->len > FLIGHTREC_PAYLOAD_MAX || bytes > end - off)
		return 0;
	check = FLIGHTREC_CHECK(record->boot_ns, record->len, off / 8, lap_of(block));
	if (summed(block)) {
		if (*effort < bytes)
			return 0;
		check = sum_record(block, off, record, check);
		if (record->reserved != check)
			*effort -= bytes;
	}
	return record->reserved == check ? bytes : 0;
}

/*
 * Lists the whole records of a block, in the order in which they lie there;
 * counts what is in between.
 */
static unsigned int list_records(const union loaded *block, struct entry *entries,
				 uint64_t *unpublished, uint64_t *damaged)
{
	uint32_t used = used_bytes(block);
	/* The header of one that a reset left may be older than its records. */
	uint32_t end = summed(block) ? FLIGHTREC_BLOCK_BYTES : used;
	uint32_t off = block->head.header_size;
	bool committed = all_committed(block);
	uint32_t effort = 8 * FLIGHTREC_BLOCK_BYTES;
	struct flightrec_record record;
	bool in_gap = false;
	unsigned int n = 0;
	uint32_t bytes;

	while (off + 8 <= end) {
		bytes = whole_record(block, off, end, &record, &effort);
		if (bytes) {
			entries[n++] = (struct entry) { record.seq, record.boot_ns, off };
			off += bytes;
			in_gap = false;
			continue;
		}
		if (!in_gap && off < used)
			++*(committed || block->words[off / 8] ? damaged : unpublished);
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
		more = realloc(blocks->found,
			       (blocks->nfound ? 2 * blocks->nfound : 1) * sizeof(*more));
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
	/* Of the newest record: an image may have memory of a boot before, too. */
	uint64_t wall_ns;
	unsigned char boot_id[16];
};

/* What the boots are told apart by where text has eight digits only. */
static uint32_t boot_key(const unsigned char boot_id[16])
{
	return (uint32_t)boot_id[0] << 24 | boot_id[1] << 16 | boot_id[2] << 8 | boot_id[3];
}

static void hex_of(const unsigned char *bytes, size_t n, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (; n; n--, bytes++) {
		*text++ = digits[*bytes >> 4];
		*text++ = digits[*bytes & 15];
	}
	*text = '\0';
}

/* The magic number stands at @addr + MAGIC_AT: look at the whole. */
static int look_at(struct scan *scan, uint64_t addr)
{
	struct flightrec_recover *recover = scan->recover;
	struct blocks *blocks = recover->blocks;
	union loaded *block = &blocks->scratch;
	uint64_t *counts = recover->counts;
	struct entry entries[RECORDS_MAX];
	struct flightrec_record newest;
	uint64_t unpublished = 0, damaged = 0;
	size_t last = 0;
	struct block found = { .addr = addr, .source = recover->nsources - 1 };
	int64_t channel;
	unsigned int n, i;
	bool whole = load_used(scan->memory, addr, block);

	if (!version_known(block)) {
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
		damaged += unpublished;
		unpublished = 0;
		if (!damaged)
			damaged = 1;
	}
	counts[FLIGHTREC_RECOVER_UNPUBLISHED] += unpublished;
	counts[FLIGHTREC_RECOVER_DAMAGED] += damaged;
	if (!n)
		return 0;
	found.channel = channel;
	found.first_seq = entries[0].seq;
	for (i = 1; i < n; i++) {
		if (entries[i].seq < found.first_seq)
			found.first_seq = entries[i].seq;
		if (entries[i].seq > entries[last].seq)
			last = i;
	}
	get_stamp(block, entries[last].off, &newest);
	recover_boot_seen(recover, boot_key(block->head.boot_id), newest.boot_ns, newest.wall_ns);
	if (!scan->wall_ns || newest.wall_ns > scan->wall_ns) {
		scan->wall_ns = newest.wall_ns;
		memcpy(scan->boot_id, block->head.boot_id, sizeof(scan->boot_id));
	}
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

static bool all_zero(const union loaded *block)
{
	return !block->words[0] &&
	       !memcmp(block->words, block->words + 1, sizeof(*block) - sizeof(*block->words));
}

/* The previous boot's memory is nothing but blocks: what is none is damaged. */
static int scan_image(struct scan *scan)
{
	struct flightrec_recover *recover = scan->recover;
	union loaded *block = &recover->blocks->scratch;
	uint64_t end = scan->memory->nranges ? scan->memory->ranges->len : 0;
	uint64_t addr;
	int err = 0;

	for (addr = 0; addr < end && !err; addr += sizeof(*block)) {
		memory_read(scan->memory, addr, block, sizeof(*block));
		if (block->head.magic == FLIGHTREC_BLOCK_MAGIC)
			err = look_at(scan, addr);
		else if (!all_zero(block))
			recover->counts[FLIGHTREC_RECOVER_DAMAGED]++;
	}
	return err;
}

int blocks_scan(struct flightrec_recover *recover, struct memory *memory)
{
	struct scan scan = { .recover = recover, .memory = memory };
	char boot_id[33];
	int err;

	if (!recover->blocks) {
		recover->blocks = calloc(1, sizeof(*recover->blocks));
		if (!recover->blocks)
			return -ENOMEM;
		recover->blocks->channels = calloc(CHANNELS_MAX, sizeof(struct channel));
		if (!recover->blocks->channels)
			return -ENOMEM;
	}
	err = memory->only_blocks ? scan_image(&scan) :
	      memory_walk(memory, visit, &scan, recover_progress, recover);
	if (memory->crash_seconds && scan.wall_ns) {
		hex_of(scan.boot_id, sizeof(scan.boot_id), boot_id);
		death_dump(recover, boot_id, memory->crash_seconds * 1000000000);
	}
	return err;
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

static void sift_down(struct channel *channel, size_t i)
{
	struct open_block **heap = channel->heap;
	struct open_block *held;
	size_t child;

	for (;; i = child) {
		child = 2 * i + 1;
		if (child >= channel->nheap)
			return;
		if (child + 1 < channel->nheap && head_seq(heap[child + 1]) < head_seq(heap[child]))
			child++;
		if (head_seq(heap[i]) <= head_seq(heap[child]))
			return;
		held = heap[i];
		heap[i] = heap[child];
		heap[child] = held;
	}
}

static int push(struct channel *channel, struct open_block *open)
{
	struct open_block **heap = channel->heap;
	size_t i = channel->nheap;

	if (!(i & (i - 1))) {
		heap = realloc(heap, (i ? 2 * i : 1) * sizeof(*heap));
		if (!heap)
			return -ENOMEM;
		channel->heap = heap;
	}
	channel->nheap++;
	for (; i && head_seq(heap[(i - 1) / 2]) > head_seq(open); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = open;
	return 0;
}

static void drop(struct blocks *blocks, struct open_block *open)
{
	blocks->nloaded -= open->bytes != NULL;
	blocks->nopen--;
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

/* Opens the next block of @channel. */
static int open_next(struct flightrec_recover *recover, struct channel *channel)
{
	struct blocks *blocks = recover->blocks;
	const struct block *block = &blocks->found[channel->next++];
	struct entry entries[RECORDS_MAX];
	uint64_t ignored = 0;
	struct open_block *open;
	unsigned int n;

	if (blocks->nopen >= OPEN_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	load(recover, block, &blocks->scratch);
	n = list_records(&blocks->scratch, entries, &ignored, &ignored);
	if (!n)		/* a file that changes while it is read */
		return 0;
	open = malloc(sizeof(*open) + n * sizeof(*entries));
	if (!open)
		return -ENOMEM;
	*open = (struct open_block) { .block = block, .n = n };
	memcpy(open->entries, entries, n * sizeof(*entries));
	qsort(open->entries, n, sizeof(*entries), by_seq);
	blocks->nopen++;
	if (blocks->nloaded < OPEN_LOADED_MAX) {
		open->bytes = malloc(sizeof(blocks->scratch));
		if (open->bytes) {
			memcpy(open->bytes, &blocks->scratch, sizeof(blocks->scratch));
			blocks->nloaded++;
		}
	}
	if (push(channel, open)) {
		drop(blocks, open);
		return -ENOMEM;
	}
	return 0;
}

/*
 * Opens what may have the next number: all blocks of the channel that begin
 * before the smallest open one.
 */
static int open_due(struct flightrec_recover *recover, struct channel *channel)
{
	const struct block *found = recover->blocks->found;
	int err;

	while (channel->next < channel->end) {
		if (channel->nheap && found[channel->next].first_seq > head_seq(channel->heap[0]))
			break;
		err = open_next(recover, channel);
		if (err)
			return err;
	}
	return 0;
}

/* Takes the smallest number out of the heap. */
static struct entry take(struct flightrec_recover *recover, struct channel *channel,
			 const struct block **block, const union loaded **bytes)
{
	struct blocks *blocks = recover->blocks;
	struct open_block *open = channel->heap[0];
	struct entry entry = open->entries[open->at];

	*block = open->block;
	*bytes = &blocks->scratch;
	if (open->bytes)
		memcpy(&blocks->scratch, open->bytes, sizeof(blocks->scratch));
	else
		load(recover, open->block, &blocks->scratch);
	if (++open->at == open->n) {
		drop(blocks, open);
		channel->heap[0] = channel->heap[--channel->nheap];
	}
	if (channel->nheap)
		sift_down(channel, 0);
	return entry;
}

/* Is it the one that was given out before, or one that claims its number? */
static bool same_bytes(const struct flightrec_record *last, const struct flightrec_record *record,
		       const unsigned char *payload)
{
	struct flightrec_record stamp = *last;

	stamp.lost = record->lost;
	return !memcmp(&stamp, record, sizeof(stamp)) && !memcmp(last + 1, payload, record->len);
}

/* Gives out one record, unless it was cleared, or is the one before again: 1, 0, -ENOMEM. */
static int give(struct flightrec_recover *recover, struct channel *channel,
		const struct block *block, const union loaded *bytes, struct entry entry)
{
	const unsigned char *payload = bytes->bytes + entry.off + stamp_bytes(bytes);
	uint32_t effort = FLIGHTREC_BLOCK_BYTES;
	struct flightrec_record record;
	unsigned int flags = 0;
	char boot_id[33];

	/* Of an image that changes meanwhile, the length may be another now. */
	if (!whole_record(bytes, entry.off, FLIGHTREC_BLOCK_BYTES, &record, &effort))
		return 0;
	if (record.seq < channel->clear_seq) {
		recover->counts[FLIGHTREC_RECOVER_CLEARED]++;
		return 0;
	}
	record.reserved = 0;
	record.size = sizeof(record) + (record.len + 7) / 8 * 8;
	if (channel->last && channel->last->seq == record.seq) {
		if (same_bytes(channel->last, &record, payload)) {
			recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
			return 0;
		}
		recover->counts[FLIGHTREC_RECOVER_CONFLICTS]++;
		flags = FLIGHTREC_RECOVERED_CONFLICT;
	} else if (channel->last && channel->last->seq < record.seq) {
		record.lost = record.seq - channel->last->seq - 1;
	}
	if (!channel->last) {
		channel->last = malloc(sizeof(recover->buffer));
		if (!channel->last)
			return -ENOMEM;
	}
	memset(recover->buffer.bytes, 0, record.size);
	memcpy(&recover->buffer.record, &record, sizeof(record));
	memcpy(recover->buffer.bytes + sizeof(record), payload, record.len);
	memcpy(channel->last, &recover->buffer, record.size);
	hex_of(channel->boot_id, sizeof(channel->boot_id), boot_id);
	recover_found(recover, boot_id, channel->name, record.len, flags,
		      recover->sources[block->source]->file);
	if (text_take(recover, boot_id, channel->name, &recover->buffer.record))
		recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
	return 1;
}

/* ---- whose turn it is */

static struct moment moment_of(struct flightrec_recover *recover, uint32_t number)
{
	const struct channel *channel = &recover->blocks->channels[number];
	const struct open_block *open = channel->heap[0];
	uint32_t boot = boot_key(channel->boot_id);

	return (struct moment) { recover_boot_wall(recover, boot), boot,
				 open->entries[open->at].boot_ns };
}

static bool is_before(struct flightrec_recover *recover, uint32_t one, uint32_t two)
{
	struct moment a, b;

	if (recover->order == FLIGHTREC_RECOVER_BY_CHANNEL)
		return one < two;
	a = moment_of(recover, one);
	b = moment_of(recover, two);
	return moment_before(&a, &b) || (!moment_before(&b, &a) && one < two);
}

static void settle_turn(struct flightrec_recover *recover, size_t i)
{
	struct blocks *blocks = recover->blocks;
	uint32_t *turn = blocks->turn;
	uint32_t held;
	size_t child;

	for (;; i = child) {
		child = 2 * i + 1;
		if (child >= blocks->nturn)
			return;
		if (child + 1 < blocks->nturn && is_before(recover, turn[child + 1], turn[child]))
			child++;
		if (!is_before(recover, turn[child], turn[i]))
			return;
		held = turn[i];
		turn[i] = turn[child];
		turn[child] = held;
	}
}

/* Opens what the first one needs, or drops it if it has nothing left. */
static int next_turn(struct flightrec_recover *recover, size_t i)
{
	struct blocks *blocks = recover->blocks;
	struct channel *channel = &blocks->channels[blocks->turn[i]];
	int err = open_due(recover, channel);

	if (!err && !channel->nheap)
		blocks->turn[i] = blocks->turn[--blocks->nturn];
	return err;
}

/* By channel, only the one whose turn it is has blocks open. */
static int first_turn(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	size_t i;
	int err;

	blocks->turn = calloc(blocks->nchannels + 1, sizeof(*blocks->turn));
	if (!blocks->turn)
		return -ENOMEM;
	if (blocks->nfound)
		qsort(blocks->found, blocks->nfound, sizeof(*blocks->found), by_channel_and_seq);
	for (i = 0; i < blocks->nfound; i++) {
		if (!i || blocks->found[i].channel != blocks->found[i - 1].channel) {
			blocks->channels[blocks->found[i].channel].next = i;
			blocks->turn[blocks->nturn++] = blocks->found[i].channel;
		}
		blocks->channels[blocks->found[i].channel].end = i + 1;
	}
	blocks->sorted = true;
	if (recover->order == FLIGHTREC_RECOVER_BY_CHANNEL)
		return 0;
	for (i = blocks->nturn; i--;) {
		err = next_turn(recover, i);
		if (err)
			return err;
	}
	for (i = blocks->nturn / 2; i--;)
		settle_turn(recover, i);
	return 0;
}

int blocks_peek(struct flightrec_recover *recover, struct moment *moment)
{
	struct blocks *blocks = recover->blocks;
	int err = blocks && !blocks->sorted ? first_turn(recover) : 0;

	if (err || !blocks || !blocks->nturn)
		return err;
	*moment = moment_of(recover, blocks->turn[0]);
	return 1;
}

int blocks_next(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	struct channel *channel;
	const struct block *block;
	const union loaded *bytes;
	struct entry entry;
	int got = 0;

	if (!blocks)
		return 0;
	if (!blocks->sorted)
		got = first_turn(recover);
	while (!got && blocks->nturn) {
		channel = &blocks->channels[blocks->turn[0]];
		got = open_due(recover, channel);
		if (got)
			break;
		if (channel->nheap) {
			entry = take(recover, channel, &block, &bytes);
			got = give(recover, channel, block, bytes, entry);
		}
		if (got >= 0 && next_turn(recover, 0))
			return -ENOMEM;
		settle_turn(recover, 0);
	}
	return got;
}

void blocks_free(struct flightrec_recover *recover)
{
	struct blocks *blocks = recover->blocks;
	size_t i;

	if (!blocks)
		return;
	for (i = 0; i < blocks->nchannels; i++) {
		while (blocks->channels[i].nheap)
			drop(blocks, blocks->channels[i].heap[--blocks->channels[i].nheap]);
		free(blocks->channels[i].heap);
		free(blocks->channels[i].last);
	}
	free(blocks->channels);
	free(blocks->turn);
	free(blocks->found);
	free(blocks);
}
