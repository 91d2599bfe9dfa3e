// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * To be preloaded: a program is killed as soon as it has renamed a file KILL_AT times, so
 * that each try gets one step further than the one before.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

int rename(const char *from, const char *to)
{
	static int count;
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	const char *at = getenv("KILL_AT");
	int ret = real(from, to);

	if (!ret && at && ++count == atoi(at))
		kill(getpid(), SIGKILL);
	return ret;
}
