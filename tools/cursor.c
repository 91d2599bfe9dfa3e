// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A cursor file: cursor.h.
 *
 *   flightrec-cursor 1
 *   boot 0123456789abcdef0123456789abcdef
 *   channel NAME SEQ BOOT-NS WALL-NS INODE MTIME-NS LOST     one line each: of the last
 *                                                            record that was taken
 *   output DEVICE INODE OFFSET LENGTH      of the piece; LENGTH 0: it was written
 *   (LENGTH bytes)
 *
 * The driver's channels have an instance, but do not tell it. A record of the same
 * number and the same times is the same; where it is gone, the node says whether it
 * was made anew.
 */
#include "cursor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "times.h"
#include "tool.h"

#define HEAD "flightrec-cursor 1\n"
/* A piece of output is written when it has this; a record has at most five times 4096 more. */
#define PIECE (64 * 1024)
#define PIECE_MAX (PIECE + 64 * 1024)
#define CHANNELS_MAX 64

struct place {
	char name[FLIGHTREC_NAME_MAX];
	uint64_t seq, boot_ns, wall_ns, inode, mtime_ns, lost;
};

struct cursor {
	const char *path;
	char boot_id[33];
	struct place places[CHANNELS_MAX];
	size_t nplaces;
	uint64_t device, inode, offset, length;	/* of the piece that may not be written */
	char *piece;
	FILE *out;
	char *text;
	size_t size;
	uint64_t written_ns;			/* the file, on the boot clock; 0: not yet */
	bool waits;				/* there is a newer place than the file has */
};

static uint64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000000ULL + st->st_mtim.tv_nsec;
}

static bool parse_line(struct cursor *cursor, const char *line, bool *last)
{
	struct place place;
	int used = 0;

	if (sscanf(line, "boot %32[0-9a-f]%n", cursor->boot_id, &used) == 1)
		return line[used] == '\n';
	if (sscanf(line, "channel %31[a-z0-9_-] %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64 " %" SCNu64 "%n", place.name, &place.seq, &place.boot_ns,
		   &place.wall_ns, &place.inode, &place.mtime_ns, &place.lost, &used) == 7) {
		if (cursor->nplaces == CHANNELS_MAX || line[used] != '\n')
			return false;
		cursor->places[cursor->nplaces++] = place;
		return true;
	}
	*last = sscanf(line, "output %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 "%n",
		       &cursor->device, &cursor->inode, &cursor->offset, &cursor->length,
		       &used) == 4;
	return *last && line[used] == '\n' && cursor->length <= PIECE_MAX;
}

static bool parse(struct cursor *cursor, FILE *file)
{
	char line[256];
	bool last = false;

	if (!fgets(line, sizeof(line), file) || strcmp(line, HEAD))
		return false;
	while (!last)
		if (!fgets(line, sizeof(line), file) || !parse_line(cursor, line, &last))
			return false;
	cursor->piece = malloc(cursor->length + 1);
	if (!cursor->piece)
		abort();
	return fread(cursor->piece, 1, cursor->length, file) == cursor->length &&
	       getc(file) == EOF && !ferror(file);
}

int cursor_open(struct cursor **out, const char *path)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));
	struct stat st;
	FILE *file;
	bool good;

	if (!cursor)
		abort();
	cursor->path = path;
	*out = cursor;
	file = fopen(path, "re");
	if (!file && errno == ENOENT)
		return EXIT_YES;
	if (!file || fstat(fileno(file), &st)) {
		complain("%s: %s", path, strerror(errno));
		return EXIT_NO;
	}
	/* Empty: made by mktemp(1), for instance. */
	good = S_ISREG(st.st_mode) && (!st.st_size || parse(cursor, file));
	fclose(file);
	if (good)
		return EXIT_YES;
	complain("%s: not a cursor file of this program; remove it to begin at the oldest record",
		 path);
	return EXIT_NO;
}

void cursor_free(struct cursor *cursor)
{
	if (!cursor)
		return;
	if (cursor->out)
		fclose(cursor->out);
	free(cursor->text);
	free(cursor->piece);
	free(cursor);
}

/* Is the record of that number the one that was taken? 1, 0, or -1 if it is gone. */
static int same_record(struct channel *channel, const struct place *place)
{
	const struct flightrec_record *record;
	int err;

	err = flightrec_seek_seq(channel->handle, place->seq);
	if (err)
		return 0;	/* a number that is yet to come */
	err = flightrec_next(channel->handle, &record);
	if (err <= 0 || record->seq != place->seq)
		return err <= 0 && err != -EAGAIN ? 0 : -1;
	return record->boot_ns == place->boot_ns && record->wall_ns == place->wall_ns;
}

static int seek_or_say(struct channel *channel, int err)
{
	if (!err)
		return EXIT_YES;
	complain("channel %s: %s", channel->name, flightrec_explain(err));
	return EXIT_NO;
}

int cursor_seek(struct cursor *cursor, const struct timeline *timeline, struct channel *channel)
{
	const struct place *place = NULL;
	const char *other = NULL;
	size_t i;
	int same;

	for (i = 0; i < cursor->nplaces; i++)
		if (!strcmp(cursor->places[i].name, channel->name))
			place = &cursor->places[i];
	if (!place || !place->seq)
		return EXIT_YES;
	if (strcmp(cursor->boot_id, timeline->boot_id)) {
		other = "another boot";
	} else {
		same = same_record(channel, place);
		if (!same || (same < 0 && (channel->node.st_ino != place->inode ||
					   mtime_ns(&channel->node) != place->mtime_ns)))
			other = "another load of the driver";
	}
	if (other) {
		complain("channel %s: %s is from %s: beginning at the oldest record",
			 channel->name, cursor->path, other);
		return seek_or_say(channel, flightrec_seek_oldest(channel->handle));
	}
	channel->last_seq = place->seq;
	channel->last_boot_ns = place->boot_ns;
	channel->last_wall_ns = place->wall_ns;
	channel->lost = place->lost;
	return seek_or_say(channel, flightrec_seek_seq(channel->handle, place->seq + 1));
}

static void print_place(FILE *file, const struct place *place)
{
	fprintf(file, "channel %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		" %" PRIu64 "\n", place->name, place->seq, place->boot_ns, place->wall_ns,
		place->inode, place->mtime_ns, place->lost);
}

/* Those of channels that are not read now are kept, unless they are of another boot. */
static void print_places(FILE *file, const struct cursor *cursor, const struct timeline *timeline)
{
	const struct channel *channel;
	struct place place;
	size_t i, k;

	for (i = 0; i < timeline->count; i++) {
		channel = &timeline->channels[i];
		place = (struct place) {
			.seq = channel->last_seq, .boot_ns = channel->last_boot_ns,
			.wall_ns = channel->last_wall_ns, .inode = channel->node.st_ino,
			.mtime_ns = mtime_ns(&channel->node), .lost = channel->lost,
		};
		snprintf(place.name, sizeof(place.name), "%s", channel->name);
		print_place(file, &place);
	}
	for (k = 0; k < cursor->nplaces && !strcmp(cursor->boot_id, timeline->boot_id); k++) {
		for (i = 0; i < timeline->count; i++)
			if (!strcmp(cursor->places[k].name, timeline->channels[i].name))
				break;
		if (i == timeline->count)
			print_place(file, &cursor->places[k]);
	}
}

/* Replaces the file by one that is whole, or leaves it: 0, or -1 after saying why not. */
static int save(const struct cursor *cursor, const struct timeline *timeline,
		const struct stat *st, uint64_t offset, const char *piece, size_t length)
{
	char path[4096];
	FILE *file;
	int fd;

	if (snprintf(path, sizeof(path), "%s.new", cursor->path) >= (int)sizeof(path)) {
		complain("%s: %s", cursor->path, strerror(ENAMETOOLONG));
		return -1;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file) {
		complain("%s: %s", path, strerror(errno));
		return -1;
	}
	fputs(HEAD, file);
	fprintf(file, "boot %s\n", timeline->boot_id);
	print_places(file, cursor, timeline);
	fprintf(file, "output %" PRIu64 " %" PRIu64 " %" PRIu64 " %zu\n", (uint64_t)st->st_dev,
		(uint64_t)st->st_ino, offset, length);
	fwrite(piece, 1, length, file);
	errno = EIO;
	if ((fflush(file) | ferror(file)) || rename(path, cursor->path)) {
		complain("%s: %s", cursor->path, strerror(errno));
		fclose(file);
		unlink(path);
		return -1;
	}
	fclose(file);
	return 0;
}

/* Where the next byte of a regular file comes; 0 for what has no places. */
static uint64_t place_of(const struct stat *st)
{
	off_t at;

	if (!S_ISREG(st->st_mode))
		return 0;
	if (fcntl(STDOUT_FILENO, F_GETFL) & O_APPEND)
		return st->st_size;
	at = lseek(STDOUT_FILENO, 0, SEEK_CUR);
	return at < 0 ? 0 : at;
}

/* All of it: 0, or -1 with the exit status. */
static int write_out(const char *text, size_t size, int *status)
{
	ssize_t n;

	while (size) {
		n = write(STDOUT_FILENO, text, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*status = errno == EPIPE ? EXIT_YES : EXIT_NO;
			if (*status)
				complain("standard output: %s", strerror(errno));
			return -1;
		}
		text += n;
		size -= n;
	}
	return 0;
}

int cursor_complete(struct cursor *cursor)
{
	int status = EXIT_YES;
	uint64_t done = 0;
	struct stat st;

	if (!cursor->length)
		return EXIT_YES;
	if (fstat(STDOUT_FILENO, &st)) {
		complain("standard output: %s", strerror(errno));
		return EXIT_NO;
	}
	if (S_ISREG(st.st_mode) && st.st_dev == cursor->device && st.st_ino == cursor->inode &&
	    (uint64_t)st.st_size >= cursor->offset) {
		done = st.st_size - cursor->offset;
		done = done < cursor->length ? done : cursor->length;
	} else {
		complain("%s: the last reader was ended while it wrote: its last %" PRIu64
			 " bytes are written again", cursor->path, cursor->length);
	}
	/* Killed while this is written, the next one goes on from there in the same way. */
	if (write_out(cursor->piece + done, cursor->length - done, &status))
		return status ? status : EXIT_NO;
	cursor->length = 0;
	return EXIT_YES;
}

FILE *cursor_output(struct cursor *cursor)
{
	if (!cursor->out)
		cursor->out = open_memstream(&cursor->text, &cursor->size);
	if (!cursor->out)
		abort();
	return cursor->out;
}

bool cursor_due(struct cursor *cursor)
{
	return cursor->out && ftell(cursor->out) >= PIECE;
}

bool cursor_may_wait(struct cursor *cursor, unsigned int pause_ms)
{
	cursor->waits = !ftell(cursor_output(cursor)) && cursor->written_ns &&
			boot_now() - cursor->written_ns < pause_ms * 1000000ULL;
	return cursor->waits;
}

bool cursor_waits(const struct cursor *cursor)
{
	return cursor->waits;
}

int cursor_write(struct cursor *cursor, const struct timeline *timeline, int *status)
{
	struct stat st;
	uint64_t at;
	int err = 0;

	fclose(cursor_output(cursor));
	cursor->out = NULL;
	if (fstat(STDOUT_FILENO, &st)) {
		complain("standard output: %s", strerror(errno));
		*status = EXIT_NO;
		err = -1;
	}
	at = err ? 0 : place_of(&st);
	if (!err && cursor->size &&
	    save(cursor, timeline, &st, at, cursor->text, cursor->size)) {
		*status = EXIT_NO;
		err = -1;
	}
	if (!err)
		err = write_out(cursor->text, cursor->size, status);
	if (!err && save(cursor, timeline, &st, at + cursor->size, "", 0)) {
		*status = EXIT_NO;
		err = -1;
	}
	cursor->written_ns = boot_now();
	cursor->waits = false;
	free(cursor->text);
	cursor->text = NULL;
	cursor->size = 0;
	return err;
}
