/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands of flightrec(1) share. Each is a file of its own; main.c
 * has the table of them.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <flightrec.h>

/* Exit status of every command. */
enum {
	EXIT_YES = 0,
	EXIT_NO = 1,		/* it failed, or there was nothing */
	EXIT_USAGE = 2,
	EXIT_UNKNOWN = 3,	/* could not be told: no driver, no permission */
};

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

int command_write(int argc, char **argv);
int command_read(int argc, char **argv);
int command_stats(int argc, char **argv);
int command_recover(int argc, char **argv);

/* ---- main.c */

/* Opens a channel: 0, or the exit status after saying why not. */
int channel_open(struct flightrec **handle, const char *channel, unsigned int flags);

/* Says "flightrec: ..." on standard error. */
__attribute__((format(printf, 1, 2)))
void complain(const char *fmt, ...);

/* Says that an argument is unexpected, and returns EXIT_USAGE. */
int surplus(const char *command, const char *argument);

/*
 * Names the option that getopt_long() refused, with ':' first in its string, and
 * returns EXIT_USAGE.
 */
int bad_option(const char *command, char **argv, int opt);

/* Takes the value of --channel: 0, or EXIT_USAGE after saying that there was one already. */
int channel_once(const char *command, const char **channel, const char *name);

/*
 * Writes out what was printed: 0, or -1 if nothing more can be. Somebody who
 * stopped listening is no error, so then *status becomes EXIT_YES.
 */
int flush_output(int *status);

/* A severity as number or name ("err"); -1 if it is neither. */
int severity_parse(const char *text);
const char *severity_name(unsigned int severity);

/* A whole decimal number from @min to @max, or false. */
bool number_parse(const char *text, unsigned long long min,
		  unsigned long long max, unsigned long long *value);

/* ---- times.c */

enum clock_style {
	CLOCK_AUTO,
	CLOCK_RELATIVE,		/* how long ago */
	CLOCK_WALL,		/* date and time of day here */
	CLOCK_SHORT,		/* time of day only, for what has just come */
	CLOCK_BOOT,		/* seconds since boot */
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

/*
 * A point in time on the boot clock: "90s", "5m", "2h", "3d" ago; "14:30",
 * "14:30:05" today; "2026-01-31", "2026-01-31 14:30[:05]"; "@SECONDS" since
 * 1970. False if it is none of them.
 */
bool since_parse(const char *text, uint64_t *boot_ns);

/* ---- print.c, json.c */

struct style {
	enum clock_style clock;	/* not CLOCK_AUTO */
	bool colour;
	bool json;
};

/* Are colours wanted on @out? */
bool colour_wanted(FILE *out);

/* Prints text so that it stays on its line and moves no cursor. */
void print_escaped(FILE *out, const char *text, size_t len);

/* One record, for people. */
void print_record(FILE *out, const struct style *style, const struct flightrec_record *record);

/* Records that are not there, before the next one. */
void print_lost(FILE *out, const struct style *style, uint64_t lost, const char *why);

/* How json-c prints on a line; a slash needs no escape. */
#define JSON_STYLE (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/*
 * One record as a line of JSON; docs/json.md has the schema. @found is NULL for
 * one that was read from a channel.
 */
void print_record_json(FILE *out, const char *channel, const struct flightrec_record *record,
		       const struct flightrec_recovered *found);

#endif
