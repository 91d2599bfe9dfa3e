/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which file a module's name stands for, and the verdict on that file. */
#ifndef KMODKEEP_LOOKUP_H
#define KMODKEEP_LOOKUP_H

#include "guard/verdict/report.h"

/*
 * Finds the file of a module by name or alias as modprobe does. 0 and *path
 * (malloc'ed; NULL: built into the kernel), -ENOENT, or what went wrong.
 */
int module_find(const struct host *h, const char *kernel, const char *name,
		char **path);
/* module_find() and verify_file() in one; *path may be NULL afterwards. */
int verify_module(const struct host *h, const struct trust *t,
		  const char *name, const char *kernel, char **path,
		  struct report *r);

#endif
