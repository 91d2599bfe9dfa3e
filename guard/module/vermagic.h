/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a module fit a kernel: its release, its settings, its symbols? */
#ifndef KMODKEEP_VERMAGIC_H
#define KMODKEEP_VERMAGIC_H

#include "guard/host/host.h"
#include "guard/module/modfile.h"
#include "guard/trust/rules.h"

/*
 * As the kernel decides: with symbol versions on both sides the release does
 * not count, but each symbol's version does. *why (malloc'ed) explains all but a
 * plain yes. Returns 0 or -ENOMEM.
 */
int vermagic_fits(const struct host *h, const char *kernel,
		  const struct buf *elf, const struct modinfo *info,
		  enum answer *fits, char **why);

/*
 * The kernel's list of symbols, of its headers or, unpacked, of its own package; *out is
 * the caller's to free. 0 or -errno.
 */
int symvers_read(const struct host *h, const char *kernel, struct buf *out);

/* The version of module_layout that a kernel's own modules have; -1: none. */
long long vermagic_layout(const struct host *h, const char *kernel);

#endif
