/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of lines with the newest records of some channels: the text of
 * uapi/flightrec_crash.h. Also compiled in user space, so it knows neither
 * notifiers nor printk; crash.c does.
 *
 * Needs no lock and no memory but the struct, and ends with any CPU stopped
 * anywhere.
 */
#ifndef FLIGHTREC_CRASH_TEXT_H
#define FLIGHTREC_CRASH_TEXT_H

#include "ring.h"
#include "uapi/flightrec_crash.h"

/**
 * struct flightrec_crash_channel - a channel as crash text sees it
 * @next: the channel after it in the text, or NULL
 * @name: its name
 * @ring: its ring
 * @from: the first number that no earlier set has printed; shared by sets
 * @to: private: the next number when the set began
 * @wanted: private: bytes that all its lines would take
 * @share: private: bytes that they may take
 */
struct flightrec_crash_channel {
	struct flightrec_crash_channel *next;
	const char *name;
	const struct flightrec_ring *ring;
	u64 *from;
	u64 to;
	u32 wanted;
	u32 share;
};

/**
 * struct flightrec_crash_set - what a set is made of, and room to make it
 * @boot_id: 16 bytes
 * @number: of the set, from 1
 * @reason: "oops" or "panic"
 * @bytes: that it may have, FLIGHTREC_CRASH_TEXT_MIN to FLIGHTREC_CRASH_TEXT_MAX
 * @print: takes a line, terminated, without a newline
 */
struct flightrec_crash_set {
	const u8 *boot_id;
	u32 number;
	const char *reason;
	u32 bytes;
	void (*print)(const char *line, size_t len);

	/* private: records so far, those skipped as their writers had not finished */
	u32 printed;
	u32 unpublished;
	/* private: the record at hand, the one before it and how many in the line in the making */
	struct flightrec_stamp stamp, last;
	u8 payload[FLIGHTREC_CRASH_LINE_MAX];	/* no line shows more of it */
	char line[FLIGHTREC_CRASH_LINE_MAX + 1];
	u32 used;
	u32 in_line;
};

/**
 * flightrec_crash_print - print a set
 * @set: its first five fields filled in; the rest is overwritten
 * @first: a list; each channel gets an equal share of the set's bytes, and more
 *	where others need less; *@from moves behind each line printed
 */
void flightrec_crash_print(struct flightrec_crash_set *set,
			   struct flightrec_crash_channel *first);

#endif
