/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands of flightrec(1) share: tool.c has it, and main.c the table of
 * commands. Nothing uses main.c.
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
int command_run(int argc, char **argv);
int command_read(int argc, char **argv);
int command_channel(int argc, char **argv);
int command_stats(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_collect(int argc, char **argv);
int command_save(int argc, char **argv);
int command_boots(int argc, char **argv);
int command_report(int argc, char **argv);

/* Reserved for smoke tests; never holds anything of value. */
#define SELFTEST_CHANNEL "selftest"
/* Written by the kernel alone. */
#define KERNEL_CHANNEL "kernel"

/* As in the library; tests have a place of their own. */
#ifndef FLIGHTREC_DEV
#define FLIGHTREC_DEV "/dev/flightrec"
#endif

/* Opens a channel: 0, or the exit status after saying why not. */
int channel_open(struct flightrec **handle, const char *channel, unsigned int flags);

/* Why a channel could not be opened, and what helps; static text. */
const char *channel_explain(const char *channel, unsigned int flags, int err);

/* What SIGPIPE did in the process that started this program. */
extern void (*sigpipe_before)(int);

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

#endif
