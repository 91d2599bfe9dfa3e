/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verbs written in C. Each gets its own arguments with argv[0] the verb,
 * and returns an exit code (EXIT_ in util.h).
 */
#ifndef KMODKEEP_VERBS_H
#define KMODKEEP_VERBS_H

int verb_verify(int argc, char **argv);
int verb_sign(int argc, char **argv);
int verb_smoke(int argc, char **argv);
int verb_key(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_preflight(int argc, char **argv);
int verb_guard(int argc, char **argv);
int verb_pin(int argc, char **argv);

/* "kmodkeep: " and a message on stderr; returns code. */
int complain(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* For a failed call: the same with the text of -err; returns EXIT_UNSURE. */
int complain_errno(int err, const char *what);

/*
 * Replaces this process by a script of LIBDIR with argv's words after its own;
 * returns only if that cannot be started.
 */
int run_script(const char *name, int argc, char **argv);

#endif
