/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signed updates of the firmware's lists of keys (UEFI 2.10, 8.2.2): a descriptor
 * EFI_VARIABLE_AUTHENTICATION_2, then signature lists. With the four bytes of
 * attributes before it, it is what efivarfs takes.
 */
#ifndef KMODKEEP_AUTHVAR_H
#define KMODKEEP_AUTHVAR_H

#include <openssl/x509.h>
#include <time.h>

#include "guard/base/util.h"
#include "guard/host/host.h"

/* A list of the firmware: PK, KEK, db or dbx. */
struct authvar {
	const char *name, *guid;
};

/* Adds a certificate to signature lists, as a list of its own. 0 or -ENOMEM. */
int siglist_add(struct buf *list, X509 *cert);
/* Is it in well-formed lists? */
bool siglist_has(const struct buf *list, X509 *cert);

/*
 * The update that replaces a variable by lists, signed at that time (UTC); later
 * updates must be of a later one. The certificate is put into it. 0, -ENOMEM, or -EIO:
 * the key did not sign.
 */
int authvar_sign(const struct authvar *v, const struct buf *lists, X509 *cert, EVP_PKEY *key,
		 time_t when, struct buf *out);

/*
 * Has the firmware take an update, and reads back what it made of it. 0; -EACCES: the
 * firmware refused it; -EREMOTEIO: it took something else; or the error of writing.
 */
int authvar_write(const struct host *h, const struct authvar *v, const struct buf *update,
		  const struct buf *lists);

#endif
