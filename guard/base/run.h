/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs a program with a time limit. */
#ifndef KMODKEEP_RUN_H
#define KMODKEEP_RUN_H

#include "guard/base/util.h"

struct run_result {
	int exit_code;		/* -1: ended by a signal, or never started */
	int signal;
	int timed_out;
	char last_line[256];	/* of what it wrote, printable */
};

/*
 * Runs argv[0] (looked up in the system's directories) in a process group and
 * an environment of its own, and ends the whole group when it is done or after
 * the given seconds. 0, or -errno if it could not be started; a program that
 * does not exist gives exit code 127.
 */
int run_program(char *const argv[], unsigned int seconds,
		struct run_result *out);

/*
 * Runs a program that ends by itself, in an environment of its own, and keeps
 * what it writes to its standard output. 0; -ENOENT: there is no such program;
 * -EFBIG: more than max; -EIO: it failed; or -errno.
 */
int run_output(char *const argv[], size_t max, struct buf *out);

#endif
