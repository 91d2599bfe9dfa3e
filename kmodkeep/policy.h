/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drop-ins that adopt writes for a driver's policy, and takes away again. */
#ifndef KMODKEEP_POLICY_H
#define KMODKEEP_POLICY_H

#include "guard/host/dropin.h"

/* 1: adopt may write it, or has written it; 0: somebody else's is there; -errno. */
int policy_is_ours(const struct host *h, const struct driver *d);
/*
 * Writes /etc/kmodkeep/drivers.d/NAME.conf: what the packaged drop-in says, if there
 * is one, with this policy. 0 or -errno; -EEXIST: somebody else's is there.
 */
int policy_set(const struct host *h, const struct driver *d, enum policy policy);
/* Takes it away. 1: it was there; 0: it was not, or is somebody else's; -errno. */
int policy_unset(const struct host *h, const struct driver *d);
const char *policy_word(enum policy policy);

#endif
