/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The key that dkms itself signs with, and a drop-in of its configuration that
 * names this host's. It holds for all drivers of dkms's.
 */
#ifndef KMODKEEP_DKMS_KEY_H
#define KMODKEEP_DKMS_KEY_H

#include "signing/signkey.h"

#define DKMS_DROP_IN "/etc/dkms/framework.conf.d/kmodkeep.conf"

enum dkms_key {
	DKMS_KEY_NONE,		/* there is no dkms here */
	DKMS_KEY_SAME,		/* it signs with this one */
	DKMS_KEY_OTHER,
	DKMS_KEY_UNSURE,	/* only its shell could tell */
	DKMS_KEY_DEAF,		/* another, and it is too old to read the drop-in */
};

/* Does dkms sign with this key? 0 or -ENOMEM. */
int dkms_key_is(const struct host *h, const struct signkey *k, enum dkms_key *out);
/* Writes the drop-in, in one step. 0 or -errno; -ENOTSUP: the key is in a token. */
int dkms_key_set(const struct host *h, const struct signkey *k);
/* Takes it away. 1: it was there; 0: it was not; -EEXIST: it is somebody else's. */
int dkms_key_unset(const struct host *h);

#endif
