/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs programs with a time limit. */
#ifndef KMODKEEP_RUN_H
#define KMODKEEP_RUN_H

#include "guard/base/util.h"

struct run_result {
	int exit_code;		/* -1: ended by a signal, or never started */
	int signal;
	int timed_out;
	/* Of what it wrote, printable, with the indented lines that go on with it. */
	char last_line[256];
};

/*
 * Runs argv[0] (looked up in the system's directories) in a process group and
 * an environment of its own, and ends the whole group when it is done or after
 * the given seconds. 0, or -errno if it could not be started; a program that
 * does not exist gives exit code 127.
 */
int run_program(char *const argv[], unsigned int seconds,
		struct run_result *out);

/* How a program is run that is not run as run_program() does. */
struct run_how {
	unsigned int seconds;
	int log_fd;		/* all that it writes goes there too; -1: nowhere */
	int keep_fd;		/* stays open in it, as a lock; -1: none */
	const char *input;	/* text that it reads; NULL: none */
	const char *dir;	/* where it is started; NULL: here */
	int output_fd;		/* its standard output goes there alone; 0: with all else */
	bool ends_with_caller;	/* it is ended when this process is */
	/* PATH and all else are the caller's, but messages are in English. */
	bool callers_environment;
};

/* As run_program(). What the log does not take is lost without an error. */
int run_program_as(char *const argv[], const struct run_how *how,
		   struct run_result *out);

/*
 * Runs a program in an environment of its own, and keeps what it writes to its
 * standard output. 0; -ENOENT: there is no such program; -EFBIG: more than max
 * bytes; -ETIMEDOUT: it was ended after these seconds; -EIO: it failed; or
 * -errno.
 */
int run_output(char *const argv[], unsigned int seconds, size_t max,
	       struct buf *out);

#endif
