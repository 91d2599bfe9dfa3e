/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines for the person at the terminal. */
#ifndef KMODKEEP_SAY_H
#define KMODKEEP_SAY_H

/* Prints "kmodkeep: " and a message on stderr; returns code. */
int complain(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for what reports through a function and its argument, which is not looked at. */
void complain_message(void *arg, const char *message);
/* For a failed call: the same with the text of -err; returns EXIT_UNSURE. */
int complain_errno(int err, const char *what);
/* The same of a host that could not be opened at --root (NULL: none was given). */
int complain_root(int err, const char *root, const char *what);

/*
 * An option that getopt_long() did not take: c is what it returned, '?' or, where the
 * short options begin with a colon, ':'. Returns EXIT_USAGE.
 */
int complain_option(const char *verb, char **argv, int c);

#endif
