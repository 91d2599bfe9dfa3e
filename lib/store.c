// SPDX-License-Identifier: LGPL-2.1-or-later
/* The bytes of a dump, by offset: plain files, and what makedumpfile -F wrote to a pipe. */
#include "recover.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * makedumpfile -F writes to a pipe, and so cannot go back: a header of 4 KiB,
 * then pieces, each with its offset and size in front, big endian; both are -1
 * at the end. A later piece replaces an earlier one at the same place.
 */
#define FLAT_SIGNATURE "makedumpfile\0\0\0\0"
#define FLAT_HEADER 4096
#define FLAT_PIECE_MAX (1ULL << 32)
#define EXTENTS_MAX (1024 * 1024)	/* 24 MiB of them */

/* What the kernel says of itself in a note (VMCOREINFO) is a few KiB. */
#define NOTE_MAX (64 * 1024)

static ssize_t read_at(int fd, uint64_t offset, void *buffer, size_t size)
{
	size_t have = 0;
	ssize_t n;

	if (offset > INT64_MAX - size)
		return 0;
	while (have < size) {
		n = pread(fd, (char *)buffer + have, size - have, offset + have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return have ? (ssize_t)have : -errno;
		if (!n)
			break;
		have += n;
	}
	return have;
}

/* Neighbours whose bytes follow each other in both worlds are one. */
static bool joined(struct extent *last, const struct extent *next)
{
	if (last->to + last->len != next->to || last->from + last->len != next->from)
		return false;
	last->len += next->len;
	return true;
}

static int by_place(const void *one, const void *two)
{
	const struct extent *a = one, *b = two;

	if (a->to != b->to)
		return a->to < b->to ? -1 : 1;
	/* Later in the file is newer. */
	return a->from < b->from ? 1 : -1;
}

/*
 * Cuts extents so that none overlaps another. Of two the newer wins, but where
 * an older one reaches past a newer's end its rest is dropped: makedumpfile
 * rewrites whole headers and bitmaps only.
 */
static void resolve_overlaps(struct store *store)
{
	struct extent *e = store->extents;
	uint64_t over;
	size_t i, n = 0;

	if (e)
		qsort(e, store->nextents, sizeof(*e), by_place);
	for (i = 0; i < store->nextents; i++) {
		if (n && e[n - 1].to + e[n - 1].len > e[i].to) {
			over = e[n - 1].to + e[n - 1].len - e[i].to;
			if (e[n - 1].from < e[i].from) {
				e[n - 1].len -= over;
			} else {
				if (over >= e[i].len)
					continue;
				e[i].to += over;
				e[i].from += over;
				e[i].len -= over;
			}
		}
		if (n && !e[n - 1].len)
			n--;
		e[n++] = e[i];
	}
	store->nextents = n;
}

static int add_extent(struct store *store, size_t *room, const struct extent *extent)
{
	struct extent *more;

	if (store->nextents && joined(&store->extents[store->nextents - 1], extent))
		return 0;
	if (store->nextents == *room) {
		if (*room >= EXTENTS_MAX)
			return -E2BIG;
		*room = *room ? 2 * *room : 1024;
		more = realloc(store->extents, *room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		store->extents = more;
	}
	store->extents[store->nextents++] = *extent;
	return 0;
}

static int map_flattened(struct store *store)
{
	uint64_t at = FLAT_HEADER;
	struct extent extent;
	uint64_t head[2];
	size_t room = 0;
	int err;

	store->size = 0;
	while (read_at(store->fd, at, head, sizeof(head)) == sizeof(head)) {
		extent = (struct extent) { be64toh(head[0]), at + sizeof(head), be64toh(head[1]) };
		if (extent.to > INT64_MAX / 2 || !extent.len || extent.len > FLAT_PIECE_MAX)
			break;	/* the end, or damaged from here on */
		at = extent.from + extent.len;
		if (at > store->file_size)
			extent.len -= at - store->file_size;	/* cut */
		err = extent.len ? add_extent(store, &room, &extent) : 0;
		if (err == -E2BIG)
			break;
		if (err)
			return err;
		if (extent.to + extent.len > store->size)
			store->size = extent.to + extent.len;
	}
	resolve_overlaps(store);
	return 0;
}

int store_open(struct store *store, int fd)
{
	char signature[sizeof(FLAT_SIGNATURE) - 1];
	struct stat st;
	off_t end;

	*store = (struct store) { .fd = fd };
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	store->size = store->file_size = end;
	if (read_at(fd, 0, signature, sizeof(signature)) != sizeof(signature) ||
	    memcmp(signature, FLAT_SIGNATURE, sizeof(signature)))
		return 0;
	return map_flattened(store);
}

void store_close(struct store *store)
{
	free(store->extents);
	if (store->fd >= 0)
		close(store->fd);
	store->fd = -1;
	store->extents = NULL;
}

/* The last extent that begins at or before @offset; NULL if none does. */
static const struct extent *extent_at(const struct store *store, uint64_t offset)
{
	size_t low = 0, high = store->nextents;
	size_t mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (store->extents[mid].to <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &store->extents[low - 1] : NULL;
}

/* The first byte at or after @offset that a piece brought; the size if there is none. */
static uint64_t extent_data(const struct store *store, uint64_t offset)
{
	const struct extent *extent = extent_at(store, offset);
	const struct extent *next = extent ? extent + 1 : store->extents;

	if (extent && offset - extent->to < extent->len)
		return offset;
	return next < store->extents + store->nextents ? next->to : store->size;
}

/* As of a sparse file: what no piece brought is zero, up to the last one. */
static ssize_t read_extents(const struct store *store, uint64_t offset, void *buffer, size_t size)
{
	const struct extent *extent;
	size_t have, part;
	uint64_t at;
	ssize_t n;

	for (have = 0; have < size && offset + have < store->size; have += part) {
		at = offset + have;
		part = size - have;
		extent = extent_at(store, at);
		if (extent && at - extent->to < extent->len) {
			if (part > extent->len - (at - extent->to))
				part = extent->len - (at - extent->to);
			n = read_at(store->fd, extent->from + (at - extent->to),
				    (char *)buffer + have, part);
			if (n < (ssize_t)part)
				return n < 0 && !have ? n : (ssize_t)have + (n > 0 ? n : 0);
		} else {
			at = extent_data(store, at) - at;
			if (part > at)
				part = at;
			memset((char *)buffer + have, 0, part);
		}
	}
	return have;
}

ssize_t store_read(const struct store *store, uint64_t offset, void *buffer, size_t size)
{
	return store->extents ? read_extents(store, offset, buffer, size) :
				read_at(store->fd, offset, buffer, size);
}

bool store_have(const struct store *store, uint64_t offset, void *buffer, size_t size)
{
	return store_read(store, offset, buffer, size) == (ssize_t)size;
}

uint64_t store_data(const struct store *store, uint64_t offset)
{
	off_t at;

	if (store->extents)
		return extent_data(store, offset);
	if (offset > INT64_MAX)
		return offset;
	at = lseek(store->fd, offset, SEEK_DATA);
	if (at >= 0)
		return at;
	/* Only this says that nothing follows; others, that holes are not known. */
	return errno == ENXIO ? store->size : offset;
}

void store_crash_time(const struct store *store, uint64_t offset, uint64_t size, uint64_t *seconds)
{
	static const char key[] = "\nCRASHTIME=";
	char note[NOTE_MAX + 1];
	ssize_t n = store_read(store, offset, note, size < NOTE_MAX ? size : NOTE_MAX);
	const char *at = n > 0 ? memmem(note, n, key, strlen(key)) : NULL;
	unsigned long long said;

	if (!at)
		return;
	note[n] = '\0';
	said = strtoull(at + strlen(key), NULL, 10);
	/* A nonsense time is none: nanoseconds must fit 64 bits. */
	if (said < UINT64_MAX / 1000000000)
		*seconds = said;
}
