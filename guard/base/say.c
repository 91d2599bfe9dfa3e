// SPDX-License-Identifier: GPL-2.0-or-later
/* Errors of the verbs, one line each, on standard error. */
#include "guard/base/say.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "guard/base/util.h"

int complain(int code, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("kmodkeep: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

void complain_message(void *arg, const char *message)
{
	(void)arg;
	complain(0, "%s", message);
}

int complain_errno(int err, const char *what)
{
	return complain(EXIT_UNSURE, "%s: %s", what, strerror(-err));
}

int complain_root(int err, const char *root, const char *what)
{
	if (!root)
		return complain_errno(err, what);
	return complain(EXIT_UNSURE, "--root %s: %s", root, strerror(-err));
}

int complain_option(const char *verb, char **argv, int c)
{
	/* A short option is in optopt; of a long one only its word is known. */
	const char *word = argv[optind - 1], *value = strchr(word, '=');
	const char letter[] = { '-', (char)optopt, '\0' };
	/* getopt_long() is still at that word if more letters are in it. */
	const char *next = argv[optind];
	const char *at = next && next[0] == '-' && next[1] != '-' && optopt ?
			 strchr(next, optopt) : NULL;
	bool is_long = !(at && at[1]) && !strncmp(word, "--", 2);

	if (c == ':')
		return complain(EXIT_USAGE, "%s: %s needs a value", verb,
				is_long ? word : letter);
	/* Of one that is known optopt has the number. */
	if (is_long && optopt && value)
		return complain(EXIT_USAGE, "%s: %.*s takes no value", verb,
				(int)(value - word), word);
	return complain(EXIT_USAGE, "%s: unknown option '%s'", verb,
			is_long ? word : letter);
}
