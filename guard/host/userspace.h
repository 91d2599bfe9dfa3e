/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The version of a driver's user space: its libraries and programs. */
#ifndef KMODKEEP_USERSPACE_H
#define KMODKEEP_USERSPACE_H

#include "guard/host/dropin.h"

/*
 * What the drop-in's "userspace" names: a library, whose version stands behind
 * ".so." in the name that its links lead to; a text file; or a program, which is
 * run for at most 10 seconds, and on the running system alone. In a text the first
 * word that begins with a digit counts. 0 with *version malloc'ed, NULL: nothing is
 * named, or that user space is not installed; -ENOMEM; or what went wrong.
 */
int userspace_version(const struct host *h, const struct driver *d,
		      char **version);

#endif
