/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records put into one timeline: added channel by channel, as they are found, taken
 * in the order of time, the newest or the oldest first. They lie in a file that has
 * no name, so that their number is not bounded by memory; TMPDIR says where, else
 * /var/tmp.
 *
 * Boots come one after the other, by the wall clock of their first record; within a
 * boot the boot clock decides, and records of one channel stay in the order of their
 * numbers.
 */
#ifndef TOOLS_SPOOL_H
#define TOOLS_SPOOL_H

#include "format.h"

struct spool;

/* A file without a name, open for reading and writing: 0, or why there can be none. */
int unnamed_file(FILE **file);

/* 0, -ENOMEM, or why there can be no file. */
int spool_new(struct spool **spool);
void spool_free(struct spool *spool);

/* Adds a copy: 0, or an error of the file, -ENOSPC for instance. */
int spool_add(struct spool *spool, const struct entry *entry);

/*
 * To be called after the last record: 0 or an error. What is taken begins with the
 * oldest of the newest @newest records (UINT64_MAX: all), or with @reverse ends there.
 */
int spool_sort(struct spool *spool, uint64_t newest, bool reverse);

/* The next one, valid until spool_free(): true, or false at the end. */
bool spool_next(struct spool *spool, struct entry *entry);

#endif
