/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This program again, and its verbs that are shell scripts of LIBDIR. */
#ifndef KMODKEEP_SCRIPT_H
#define KMODKEEP_SCRIPT_H

#include "guard/base/run.h"

/*
 * Replaces this process by a script of LIBDIR with argv's words after its own;
 * returns (an exit code) only if that cannot be started.
 */
int run_script(const char *name, int argc, char **argv);

/*
 * Runs this program with these words (at most 8, ended by NULL), and --root root
 * unless that is NULL. As run_program().
 */
int run_self(const char *const words[], const char *root, unsigned int seconds,
	     struct run_result *out);

#endif
