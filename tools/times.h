/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Times: how a record's is printed, and what --since and --until understand.
 */
#ifndef TOOLS_TIMES_H
#define TOOLS_TIMES_H

#include <stdbool.h>
#include <stdint.h>

enum clock_style {
	CLOCK_AUTO,
	CLOCK_RELATIVE,		/* how long ago */
	CLOCK_WALL,		/* date and time of day here */
	CLOCK_SHORT,		/* time of day only, for what has just come */
	CLOCK_BOOT,		/* seconds since boot */
	CLOCK_ISO,		/* as ISO 8601, with the offset from UTC */
};

#define CLOCK_TEXT_MAX 48

/* "relative", "wall" or "boot"; false if it is none. */
bool clock_style_parse(const char *text, enum clock_style *style);

/* The time of a record, in a fixed width for each style; @now is of the boot clock. */
void clock_text(char text[CLOCK_TEXT_MAX], enum clock_style style, uint64_t boot_ns,
		uint64_t wall_ns, uint64_t now);

/* How long, in at most six characters: "0.4s", "12s", "3m05s", "2h10m", "4d03h". */
void duration_text(char text[CLOCK_TEXT_MAX], uint64_t ns);

/* The boot clock now, in nanoseconds. */
uint64_t boot_now(void);

/**
 * struct moment - a point in time, on both clocks, in nanoseconds
 * @wall_ns: since 1970 UTC; for records of other boots
 * @boot_ns: since this boot, 0 if it was before; for records of this boot, since
 *	the boot clock never jumps
 */
struct moment {
	uint64_t wall_ns, boot_ns;
};

/*
 * A point in time as systemd.time(7) has it: "2026-01-31 14:30:05.5 Europe/Berlin",
 * "Sat 2026-01-31", "14:30", "2026-01-31T14:30:05Z", "now", "today", "yesterday",
 * "tomorrow", "@SECONDS" since 1970, "-1h30m", "+5min", "2 weeks ago"; and a
 * length of time alone, "1h30m", which is ago. False if it is none of them.
 */
bool moment_parse(const char *text, struct moment *moment);

#endif
