/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cursor file: where a reader goes on that was ended, however it was ended.
 *
 * Output is made in pieces. Before a piece is written, the file is replaced by one
 * that has the piece itself, the place of the output where it belongs, and for each
 * channel the record that comes after it; when it has been written, by one without
 * it. If the reader was killed in between, the next one sees from the size of the
 * output what is still to be written, and writes it: in a regular file each record
 * is there once. Of a pipe nobody knows what went through; then the piece is
 * written again, and that is said.
 *
 * It belongs to one reader at a time, and so does the file that is written.
 */
#ifndef TOOLS_CURSOR_H
#define TOOLS_CURSOR_H

#include <stdio.h>

#include "timeline.h"

struct cursor;

/* Reads the file, if there is one: 0, or the exit status after saying why not. */
int cursor_open(struct cursor **cursor, const char *path);
void cursor_free(struct cursor *cursor);

/*
 * Moves a channel that is open to where the last reader stopped: 0, or the exit
 * status. A channel that the file does not know stays where it is, so does one of
 * another boot or another load of the driver, and that is said.
 */
int cursor_seek(struct cursor *cursor, const struct timeline *timeline, struct channel *channel);

/* Writes what an ended reader had not: 0, or the exit status. Before anything else. */
int cursor_complete(struct cursor *cursor);

/* Where output is to be printed, to be written by cursor_write(). */
FILE *cursor_output(struct cursor *cursor);
/* Is it time for that? Pieces have a size that the file can have. */
bool cursor_due(struct cursor *cursor);

/*
 * Was nothing printed, and the file written less than @pause_ms ago? Then cursor_write() may
 * wait, and cursor_waits() is true until it was called.
 */
bool cursor_may_wait(struct cursor *cursor, unsigned int pause_ms);
bool cursor_waits(const struct cursor *cursor);

/*
 * Writes what was printed, and the file: 0, or -1 with the exit status, which is
 * EXIT_YES if nobody listens any more.
 */
int cursor_write(struct cursor *cursor, const struct timeline *timeline, int *status);

#endif
