/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes a key pair for this host; nothing secret leaves this process. */
#ifndef KMODKEEP_NEWKEY_H
#define KMODKEEP_NEWKEY_H

#include <openssl/x509.h>

#include "guard/host/host.h"

/*
 * Makes an RSA key, a certificate that is fit for nothing but signing modules,
 * and the record of the machine, as the directory dir below the host's root.
 * The three files appear in one step or not at all; a directory with files in
 * it is never replaced. 0; -EEXIST: there is such a directory; or -errno, with
 * *what (malloc'ed, or NULL) the path or step that failed.
 *
 * The caller holds the lock of the key verbs.
 */
int newkey_make(const struct host *h, const char *dir, char **what);

/* A pair that is nowhere but in memory: 0, -EIO: it could not be made. */
int newkey_in_memory(const struct host *h, EVP_PKEY **key, X509 **cert);

/*
 * Is the directory that holds the keys fit for them? It is made if it is not
 * there. 0; -ELOOP, -ENOTDIR, -EPERM (another user's) or -errno, with *what
 * the path.
 */
int newkey_prepare(const struct host *h, char **what);

/*
 * Moves a directory of keys without a pair in it aside. *aside: where it is
 * now, NULL if there was nothing in it.
 */
int newkey_clear(const struct host *h, const char *dir, char **aside);

/* Removes a directory of keys; path is one of the running system. */
int newkey_remove(const char *path);

/* Keeps the memory of this process, and so its keys, out of dumps. */
int no_dumps(void);

#endif
