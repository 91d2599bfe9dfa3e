/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How records are found after a crash. Bytes come in from the left:
 *
 *   store.c    a file, undone from makedumpfile's flattened form
 *   memory.c   a store as physical memory: ELF, LiME, raw
 *   kdump.c    the same for makedumpfile's compressed form
 *   blocks.c   memory -> blocks of channels, merged to records in order
 *   text.c     a store -> lines of records, sorted
 *   death.c    the same bytes -> why the machine died
 *   line.c     a line of either, word by word
 *   found.c    what they fill in: the record found, the order of boots
 *   recover.c  which of them a file needs, and what the library offers
 *
 * None uses one that uses it: recover, blocks, text, death, line, found; and memory,
 * kdump, store.
 *
 * Nothing read is believed: each number is bounded before it is used, and what
 * is kept in memory has a limit whatever the file says.
 */
#ifndef FLIGHTREC_RECOVER_H
#define FLIGHTREC_RECOVER_H

#include "internal.h"

#include <linux/flightrec_crash.h>

/* Bytes of one read of a file, and what a walk through it holds at a time. */
#define CHUNK (1024 * 1024)

/* ---- store.c */

/* A piece of a flattened file: where its bytes belong, and where they are. */
struct extent {
	uint64_t to, from, len;
};

struct store {
	int fd;
	uint64_t size;			/* bytes that it seems to have */
	uint64_t file_size;
	struct extent *extents;		/* sorted by @to, none overlaps; NULL: a plain file */
	size_t nextents;
	uint64_t done;			/* bytes of the file looked at, for progress */
};

/* Takes over @fd. 0, -EINVAL (a directory and the like), -ENOMEM. */
int store_open(struct store *store, int fd);
void store_close(struct store *store);

/*
 * Reads at @offset: bytes read, fewer only at the end, or -errno. Of a flattened
 * file that was cut the end is that of the last piece.
 */
ssize_t store_read(const struct store *store, uint64_t offset, void *buffer, size_t size);

/* All @size bytes, or false. */
bool store_have(const struct store *store, uint64_t offset, void *buffer, size_t size);

/* The first byte at or after @offset that is not in a hole; the size if there is none. */
uint64_t store_data(const struct store *store, uint64_t offset);

/* Looks into an ELF note for when the machine died, since 1970; else *@seconds stays. */
void store_crash_time(const struct store *store, uint64_t offset, uint64_t size,
		      uint64_t *seconds);

/* ---- memory.c, kdump.c */

struct memory_range {
	uint64_t start, len;	/* physical */
	uint64_t offset;	/* in the store */
};

struct memory;

/* Called with the page at @addr, or with as much as there is of it; not 0: stop. */
typedef int (*memory_visit)(void *arg, uint64_t addr, const void *bytes, size_t len);

struct memory {
	const struct store *store;
	const char *format;
	const char *problem;		/* or NULL */
	unsigned int stride;		/* where a block may begin: multiples of this */
	bool only_blocks;		/* one range, of nothing else */
	struct memory_range *ranges;	/* sorted by @start; of all but kdump */
	size_t nranges;
	struct kdump *kdump;		/* or NULL */
	uint64_t unreadable;		/* pages that should be there and are not */
	uint64_t crash_seconds;		/* since 1970, as the dump says; or 0 */
};

/* 1: it is one; 0: it is none; -ENOTSUP with memory->problem, -ENOMEM. */
int memory_open(struct memory *memory, const struct store *store);
/* Takes anything for an image of memory, from 0 on. */
int memory_open_raw(struct memory *memory, const struct store *store);
void memory_close(struct memory *memory);

/* Reads physical memory; what is not there is zero. Bytes that were there. */
size_t memory_read(struct memory *memory, uint64_t addr, void *buffer, size_t size);

/*
 * Calls @visit for each place where a block may begin, in pieces of any size;
 * @progress with bytes of the file.
 */
int memory_walk(struct memory *memory, memory_visit visit, void *arg,
		void (*progress)(void *arg, uint64_t done), void *progress_arg);

int kdump_open(struct memory *memory, const struct store *store);
void kdump_close(struct kdump *kdump);
size_t kdump_read(struct memory *memory, uint64_t addr, void *buffer, size_t size);
int kdump_walk(struct memory *memory, memory_visit visit, void *arg,
	       void (*progress)(void *arg, uint64_t done), void *progress_arg);

/* ---- blocks.c */

struct flightrec_recover;

/* Where a record belongs in the row of all: the boots by their last time of day. */
struct moment {
	uint64_t boot_wall;
	uint32_t boot;		/* its id's first eight digits */
	uint64_t boot_ns;
};

/* Looks for blocks in @memory, which stays open until blocks_free(). */
int blocks_scan(struct flightrec_recover *recover, struct memory *memory);
/* When the next record was written: 1, 0 at the end. Only where the order is by time. */
int blocks_peek(struct flightrec_recover *recover, struct moment *moment);
/* 1 with the next record, 0 at the end. */
int blocks_next(struct flightrec_recover *recover);
void blocks_free(struct flightrec_recover *recover);

/* ---- text.c */

/* Looks for lines in @store. */
int text_scan(struct flightrec_recover *recover, const struct store *store);
/* Sorts what was found; before the first of the next two. */
void text_sort(struct flightrec_recover *recover);
/* As blocks_peek(). */
int text_peek(struct flightrec_recover *recover, struct moment *moment);
/* 1 with the next record, 0 at the end. */
int text_next(struct flightrec_recover *recover);
/* Marks the same record as already given out; true if it was there. */
bool text_take(struct flightrec_recover *recover, const char *boot_id, const char *channel,
	       const struct flightrec_record *record);
void text_free(struct flightrec_recover *recover);

/* ---- death.c */

/* The bytes of a log between the first two, as they come; 0 or -ENOMEM. */
int death_begin(struct flightrec_recover *recover);
int death_bytes(struct flightrec_recover *recover, const char *bytes, size_t n);
void death_end(struct flightrec_recover *recover);
/* A dump says when it was taken. */
void death_dump(struct flightrec_recover *recover, const char *boot_id, uint64_t wall_ns);
/* After the last file. */
void death_sort(struct flightrec_recover *recover);
/* The one of that number, once sorted; false: there are not so many. */
bool death_get(const struct flightrec_recover *recover, size_t number,
	       const struct flightrec_death **death);
void death_free(struct flightrec_recover *recover);

/* ---- found.c */

#define FILES_MAX 4096
#define COUNTS (FLIGHTREC_RECOVER_OVERFLOW + 1)

struct source {
	struct store store;
	struct memory memory;
	unsigned int file;
};

struct flightrec_recover {
	struct source **sources;	/* that hold memory, as blocks point into them */
	size_t nsources;
	unsigned int file;		/* number of the file that is being added */
	unsigned int nfiles;
	const char *format, *problem;

	struct blocks *blocks;
	struct text *text;
	struct deaths *deaths;
	enum flightrec_recover_order order;

	uint64_t counts[COUNTS];
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
	uint64_t total;			/* bytes of the file that is being added */

	int stage;			/* of flightrec_recover_next() */
	/* What it returned last. */
	struct flightrec_recovered found;
	char boot_id[33];
	char channel[FLIGHTREC_NAME_MAX];
	union {
		struct flightrec_record record;
		char bytes[FLIGHTREC_READ_MIN];
	} buffer;

	struct boot_seen *boots;	/* table by the id's first eight digits */
	size_t nboots;
};

/* False: no memory. To be freed as recover->boots. */
bool recover_boots_new(struct flightrec_recover *recover);
/* A record of that boot was seen. */
void recover_boot_seen(struct flightrec_recover *recover, uint32_t boot, uint64_t boot_ns,
		       uint64_t wall_ns);
/* The time of day of the last one; by it boots are sorted. */
uint64_t recover_boot_wall(const struct flightrec_recover *recover, uint32_t boot);
bool moment_before(const struct moment *a, const struct moment *b);

/*
 * Fills in what flightrec_recover_next() returns, from the record in
 * recover->buffer.
 */
void recover_found(struct flightrec_recover *recover, const char *boot_id, const char *channel,
		   uint32_t full_len, unsigned int flags, unsigned int file);

/* Says how far the file that is being added is. */
void recover_progress(void *arg, uint64_t done);

#endif
