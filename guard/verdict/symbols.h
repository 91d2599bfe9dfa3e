/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The symbols that a module wants: does a kernel have them, as it wants them? */
#ifndef KMODKEEP_SYMBOLS_H
#define KMODKEEP_SYMBOLS_H

#include "guard/host/host.h"
#include "guard/verdict/report.h"

/*
 * Looks for what would keep the kernel from linking a module that is otherwise
 * good: a symbol that is nowhere, has another version, or is in a namespace that
 * the module does not import. Where neither the headers nor a System.map of that
 * kernel are there, nothing is found. 0 or -ENOMEM.
 */
int symbols_judge(const struct host *h, const char *kernel,
		  const struct buf *elf, struct report *r);

#endif
