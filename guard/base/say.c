// SPDX-License-Identifier: GPL-2.0-or-later
/* Errors of the verbs, one line each, on standard error. */
#include "guard/base/say.h"

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
