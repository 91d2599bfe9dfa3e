/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the verbs that change keys share: the host, the lock, the refusals. */
#ifndef KMODKEEP_KEYVERB_H
#define KMODKEEP_KEYVERB_H

#include "guard/host/host.h"

int key_create(int argc, char **argv);
int key_rotate(int argc, char **argv);
int key_revoke(int argc, char **argv);
int key_retire(int argc, char **argv);
int key_setup_mode(int argc, char **argv);

/*
 * Opens the host for a verb that handles private keys: refuses where there is
 * none to have (containers, chroots: -1, which was said and is no failure) and
 * for other users than root, keeps this process out of dumps, and takes the
 * lock of all key verbs in *lock. EXIT_YES, -1, or the code to end with.
 */
int keyverb_open(const char *verb, const char *root, struct host **h,
		 int *lock);
void keyverb_close(struct host *h, int lock);

/* Says why a file could not be made or changed; returns EXIT_NO. */
int keyverb_failed(int err, const char *what);

#endif
