/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the commands of flightrec(1) share. Each is a file of its own; main.c
 * has the table of them.
 */
#ifndef TOOLS_FLIGHTREC_H
#define TOOLS_FLIGHTREC_H

#include <stdbool.h>
#include <stdio.h>

#include "../src/uapi/flightrec.h"

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

/* Opens /dev/flightrec/<channel>: a descriptor, or -1 after saying why. */
int channel_open(const char *channel, int flags);

/* Says "flightrec: ..." on standard error. */
__attribute__((format(printf, 1, 2)))
void complain(const char *fmt, ...);

/* A severity as number or name ("err"); -1 if it is neither. */
int severity_parse(const char *text);
const char *severity_name(unsigned int severity);

/* A whole decimal number from @min to @max, or false. */
bool number_parse(const char *text, unsigned long long min,
		  unsigned long long max, unsigned long long *value);

/* Prints text so that it stays on its line and moves no cursor. */
void print_escaped(FILE *out, const char *text, size_t len);

/* One record, for people and as a JSON line; man/flightrec.1 has the schema. */
void print_record(FILE *out, const struct flightrec_record *record);
void print_record_json(FILE *out, const struct flightrec_record *record);

#endif
