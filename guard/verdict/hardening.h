/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps a good module from being loaded on a host that is hardened, or whose modules
 * are not where early user space sees them: FIPS mode, LoadPin, IMA, the label of SELinux,
 * kernel.modules_disabled, a file system that is mounted late, or by hand.
 */
#ifndef KMODKEEP_HARDENING_H
#define KMODKEEP_HARDENING_H

#include "guard/verdict/doctor.h"

/* Where links lead from /lib/modules, below the root; malloc'ed, NULL: out of it, or no memory. */
char *modules_folder(const struct host *h);

/*
 * Sets another verdict on a module that is good. What this boot shows to work is not
 * doubted. 0 or -ENOMEM.
 */
int hardening_judge(const struct doctor *d, struct finding *f);

#endif
