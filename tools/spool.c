// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Records put into one timeline: spool.h.
 *
 * The file has one item after the other: what an entry has beside its record, the
 * record, and the item's size again, so that it can be walked both ways. Items that
 * were added in a row from one channel are a run, which is in order by itself. A
 * heap of runs, sorted by what each has next, merges them.
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct item {
	uint64_t size;		/* from here to the next item, a multiple of 8 */
	uint64_t lost;
	uint32_t full_len, flags, file;
	uint32_t recovered;	/* there is a struct flightrec_recovered */
	struct flightrec_record record;
	/* its payload, and the size again */
};

struct run {
	char channel[FLIGHTREC_NAME_MAX], boot_id[33];
	bool boot_known;
	uint64_t first_wall_ns;
	uint64_t boot_wall_ns;		/* the least of all runs of the boot */
	uint64_t last_seq;
	size_t start, end;		/* in the file */
	size_t at;			/* what comes next begins, in reverse ends, here */
	size_t rank;
};

struct spool {
	FILE *file;
	size_t size;
	char *map;
	struct run *runs;
	size_t nruns, room;
	struct run **heap;
	size_t nheap;
	bool reverse;
	uint64_t left;			/* in reverse: how many are still wanted */
	struct flightrec_recovered found;
};

static int open_unnamed(void)
{
	const char *dirs[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	char path[4096];
	size_t i;
	int fd;

	for (i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		if (!dirs[i] || !*dirs[i])
			continue;
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
		if (snprintf(path, sizeof(path), "%s/flightrec-XXXXXX", dirs[i]) >=
		    (int)sizeof(path))
			continue;
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0) {
			unlink(path);
			return fd;
		}
	}
	/* A system without a writable disk, as in an initramfs. */
	fd = memfd_create("flightrec", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int unnamed_file(FILE **file)
{
	int fd = open_unnamed();

	*file = fd < 0 ? NULL : fdopen(fd, "w+");
	if (*file)
		return 0;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : -ENOMEM;
}

int spool_new(struct spool **out)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int err;

	if (!spool)
		return -ENOMEM;
	err = unnamed_file(&spool->file);
	if (err) {
		free(spool);
		return err;
	}
	*out = spool;
	return 0;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	if (spool->map)
		munmap(spool->map, spool->size);
	fclose(spool->file);
	free(spool->runs);
	free(spool->heap);
	free(spool);
}

static bool goes_on(const struct run *run, const struct entry *entry)
{
	return !strcmp(run->channel, entry->channel) &&
	       run->boot_known == (entry->boot_id != NULL) &&
	       (!entry->boot_id || !strcmp(run->boot_id, entry->boot_id)) &&
	       entry->record->seq >= run->last_seq;
}

static struct run *run_of(struct spool *spool, const struct entry *entry)
{
	struct run *run = spool->nruns ? &spool->runs[spool->nruns - 1] : NULL;

	if (run && goes_on(run, entry))
		return run;
	if (spool->nruns == spool->room) {
		run = reallocarray(spool->runs, spool->room * 2 + 16, sizeof(*run));
		if (!run)
			return NULL;
		spool->runs = run;
		spool->room = spool->room * 2 + 16;
	}
	run = &spool->runs[spool->nruns++];
	*run = (struct run) {
		.boot_known = entry->boot_id,
		.first_wall_ns = entry->record->wall_ns,
		.start = spool->size,
	};
	snprintf(run->channel, sizeof(run->channel), "%s", entry->channel);
	snprintf(run->boot_id, sizeof(run->boot_id), "%s", entry->boot_id ? entry->boot_id : "");
	return run;
}

int spool_add(struct spool *spool, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	struct run *run = run_of(spool, entry);
	static const char zeros[8];
	struct item item = {
		.lost = entry->lost,
		.recovered = entry->found != NULL,
	};
	size_t padding = -record->len & 7;

	if (!run)
		return -ENOMEM;
	/* One of an earlier driver is shorter. */
	memcpy(&item.record, record, record->header_size < sizeof(item.record) ?
	       record->header_size : sizeof(item.record));
	if (entry->found) {
		item.full_len = entry->found->full_len;
		item.flags = entry->found->flags;
		item.file = entry->found->file;
	}
	/* Members that a later driver has are left out, so that all have one form. */
	item.record.header_size = sizeof(item.record);
	item.record.size = sizeof(item.record) + record->len + padding;
	item.size = sizeof(item) + record->len + padding + sizeof(item.size);
	errno = 0;
	fwrite(&item, sizeof(item), 1, spool->file);
	fwrite(flightrec_payload(record), 1, record->len, spool->file);
	fwrite(zeros, 1, padding, spool->file);
	fwrite(&item.size, sizeof(item.size), 1, spool->file);
	if (ferror(spool->file))
		return errno ? -errno : -EIO;
	spool->size += item.size;
	run->end = spool->size;
	run->last_seq = record->seq;
	return 0;
}

static int by_boot(const void *one, const void *two)
{
	const struct run *a = one, *b = two;
	int order = (int)a->boot_known - b->boot_known;

	return order ? order : strcmp(a->boot_id, b->boot_id);
}

/* All runs of a boot get the wall clock of its first record. */
static void place_boots(struct spool *spool)
{
	size_t from, to, i;
	uint64_t first;

	if (spool->nruns)
		qsort(spool->runs, spool->nruns, sizeof(*spool->runs), by_boot);
	for (from = 0; from < spool->nruns; from = to) {
		first = UINT64_MAX;
		for (to = from; to < spool->nruns &&
		     !by_boot(&spool->runs[from], &spool->runs[to]); to++)
			if (spool->runs[to].first_wall_ns < first)
				first = spool->runs[to].first_wall_ns;
		for (i = from; i < to; i++)
			spool->runs[i].boot_wall_ns = first;
	}
}

static const struct item *item_of(const struct spool *spool, const struct run *run)
{
	uint64_t size;

	if (!spool->reverse)
		return (const void *)(spool->map + run->at);
	memcpy(&size, spool->map + run->at - sizeof(size), sizeof(size));
	return (const void *)(spool->map + run->at - size);
}

/* Is the next of @a older than that of @b? */
static bool older(const struct spool *spool, const struct run *a, const struct run *b)
{
	uint64_t when_a, when_b;
	int boots;

	if (a->boot_wall_ns != b->boot_wall_ns)
		return a->boot_wall_ns < b->boot_wall_ns;
	boots = strcmp(a->boot_id, b->boot_id);
	if (boots)
		return boots < 0;
	when_a = item_of(spool, a)->record.boot_ns;
	when_b = item_of(spool, b)->record.boot_ns;
	return when_a != when_b ? when_a < when_b : a->rank < b->rank;
}

static bool first(const struct spool *spool, const struct run *a, const struct run *b)
{
	return spool->reverse ? older(spool, b, a) : older(spool, a, b);
}

static void sift_down(struct spool *spool, size_t i)
{
	struct run *moved = spool->heap[i];
	size_t child;

	for (; (child = 2 * i + 1) < spool->nheap; i = child) {
		if (child + 1 < spool->nheap &&
		    first(spool, spool->heap[child + 1], spool->heap[child]))
			child++;
		if (first(spool, moved, spool->heap[child]))
			break;
		spool->heap[i] = spool->heap[child];
	}
	spool->heap[i] = moved;
}

/* Takes the runs' places as they are. */
static void build_heap(struct spool *spool, bool reverse)
{
	struct run *run;
	size_t i;

	spool->reverse = reverse;
	spool->nheap = 0;
	for (i = 0; i < spool->nruns; i++) {
		run = &spool->runs[i];
		if (run->at != (reverse ? run->start : run->end))
			spool->heap[spool->nheap++] = run;
	}
	for (i = spool->nheap / 2; i--; )
		sift_down(spool, i);
}

/* The next item, and the run that it is of; NULL at the end. */
static const struct item *take(struct spool *spool, struct run **from)
{
	struct run *run = spool->nheap ? spool->heap[0] : NULL;
	const struct item *item;

	if (!run)
		return NULL;
	item = item_of(spool, run);
	run->at = spool->reverse ? run->at - item->size : run->at + item->size;
	if (run->at == (spool->reverse ? run->start : run->end))
		spool->heap[0] = spool->heap[--spool->nheap];
	if (spool->nheap)
		sift_down(spool, 0);
	*from = run;
	return item;
}

int spool_sort(struct spool *spool, uint64_t newest, bool reverse)
{
	struct run *run;
	size_t i;

	if (fflush(spool->file))
		return -errno;
	spool->heap = calloc(spool->nruns + 1, sizeof(struct run *));
	if (!spool->heap)
		return -ENOMEM;
	if (spool->size) {
		spool->map = mmap(NULL, spool->size, PROT_READ, MAP_SHARED,
				  fileno(spool->file), 0);
		if (spool->map == MAP_FAILED) {
			spool->map = NULL;
			return -errno;
		}
	}
	place_boots(spool);
	for (i = 0; i < spool->nruns; i++) {
		run = &spool->runs[i];
		run->rank = i;
		run->at = reverse || newest != UINT64_MAX ? run->end : run->start;
	}
	spool->left = newest;
	if (newest == UINT64_MAX || reverse) {
		build_heap(spool, reverse);
		return 0;
	}
	/* Back to where the newest begin, then the other way. */
	build_heap(spool, true);
	while (newest-- && take(spool, &run))
		;
	build_heap(spool, false);
	return 0;
}

bool spool_next(struct spool *spool, struct entry *entry)
{
	const struct item *item;
	struct run *run;

	item = spool->left ? take(spool, &run) : NULL;
	if (!item)
		return false;
	spool->left--;
	*entry = (struct entry) {
		.record = &item->record,
		.channel = run->channel,
		.boot_id = run->boot_known ? run->boot_id : NULL,
		.lost = item->lost,
	};
	if (!item->recovered)
		return true;
	spool->found = (struct flightrec_recovered) {
		.record = &item->record, .channel = run->channel, .boot_id = run->boot_id,
		.full_len = item->full_len, .flags = item->flags, .file = item->file,
	};
	entry->found = &spool->found;
	return true;
}
