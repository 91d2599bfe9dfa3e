// SPDX-License-Identifier: GPL-2.0-or-later
/* The way to the verbs that are written in shell. */
#include "guard/base/script.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/say.h"

/* The script is told where this program is, to ask it for what it knows. */
int run_script(const char *name, int argc, char **argv)
{
	char script[PATH_MAX], self[PATH_MAX];
	char **args = calloc(argc + 3, sizeof(*args));
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (!args)
		return complain_errno(-ENOMEM, name);
	if (n < 0)
		return complain_errno(-errno, "/proc/self/exe");
	self[n] = '\0';
	snprintf(script, sizeof(script), "%s/%s", LIBDIR, name);
	args[0] = script;
	args[1] = self;
	memcpy(args + 2, argv + 1, (argc - 1) * sizeof(*args));
	/* Run as root: only tools of the system, and messages as expected. */
	if (setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1) ||
	    setenv("LC_ALL", "C", 1))
		return complain_errno(-errno, name);
	fflush(stdout);
	execv(script, args);
	n = -errno;
	free(args);
	return complain_errno(n, script);
}

int run_self(const char *const words[], const char *root, unsigned int seconds,
	     struct run_result *out)
{
	char self[PATH_MAX];
	char *argv[12] = { self };
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t count = 1;

	if (n < 0)
		return -errno;
	self[n] = '\0';
	for (size_t i = 0; words[i] && i < 8; i++)
		argv[count++] = (char *)words[i];
	if (root) {
		argv[count++] = (char *)"--root";
		argv[count++] = (char *)root;
	}
	return run_program(argv, seconds, out);
}
