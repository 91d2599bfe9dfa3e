/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hands a verb over to a shell script of LIBDIR. */
#ifndef KMODKEEP_SCRIPT_H
#define KMODKEEP_SCRIPT_H

/*
 * Replaces this process by a script of LIBDIR with argv's words after its own;
 * returns (an exit code) only if that cannot be started.
 */
int run_script(const char *name, int argc, char **argv);

#endif
