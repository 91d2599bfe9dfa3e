/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key that this host signs modules with. */
#ifndef KMODKEEP_SIGNKEY_H
#define KMODKEEP_SIGNKEY_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "guard/host/host.h"
#include "guard/trust/key_places.h"

struct trust;

struct signkey {
	const char *origin;	/* as above, "token" or "given" */
	char *key_path, *cert_path;	/* the former may be "pkcs11:..." */
	char *pin_file;		/* of a token; NULL: none is named */
	X509 *cert;
	EVP_PKEY *key;
	/* Why it must not be used and what to do, in full; else NULL. */
	char *problem, *next_step;
};

/*
 * The token key that signing.conf names; without one, the first pair that can
 * sign and is enrolled, else what lies in the first
 * place with a key or a certificate in it, fit or not: this program's own, what dkms
 * signs with, then Ubuntu's and dkms's default. t NULL: the latter,
 * enrolled or not. -ENOENT: the host has no key. The pair is not read yet.
 */
int signkey_find(const struct host *h, const struct trust *t,
		 struct signkey **out);
/* The pair in one place. -ENOENT: nothing lies there. The pair is not read yet. */
int signkey_at(const struct host *h, const struct key_place *p,
	       struct signkey **out);
/* A key named by the user; the certificate belongs to it. */
int signkey_given(const char *key, const char *cert, const char *pin_file,
		  struct signkey **out);
/*
 * The certificate alone, to be enrolled: 0, or -EKEYREJECTED with problem and
 * next_step set, or -ENOMEM. *out is set but for -ENOMEM.
 */
int signkey_cert_only(const char *cert, struct signkey **out);
void signkey_free(struct signkey *k);

/*
 * Reads the pair and checks what makes it fit to sign with. 0; -EACCES: this
 * user may not read it; -EKEYREJECTED: problem and next_step say why not.
 */
int signkey_load(const struct host *h, struct signkey *k);

#endif
