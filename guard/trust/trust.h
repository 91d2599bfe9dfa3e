/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The certificates known on a host, and what its kernel thinks of each: those
 * enrolled (MOK, db), waiting (MokNew), revoked (MokListX, dbx), those that the
 * host signs with, and the names of the keys in the kernel's keyrings.
 */
#ifndef KMODKEEP_TRUST_H
#define KMODKEEP_TRUST_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "guard/host/host.h"
#include "guard/trust/keyring.h"
#include "guard/trust/rules.h"

struct trust;

/* What is known on this host. */
int trust_new(const struct host *h, struct trust **out);
/* A kernel that trusts this one certificate, wherever the host stands. */
int trust_new_pinned(const char *cert_file, struct trust **out);
/* One more, to one made so. */
int trust_pin(struct trust *t, const char *cert_file);
/* One that is enrolled as a machine owner key where an image will boot. */
int trust_enroll(struct trust *t, const char *cert_file);
void trust_free(struct trust *t);

enum {
	CERT_MOK = 1, CERT_DB = 2, CERT_PENDING = 4, CERT_MOKX = 8,
	CERT_DBX = 16, CERT_HOST = 32, CERT_PINNED = 64,
	CERT_REMOVAL = 128,	/* waits for the reboot: out of MokList, or into MokListX */
};

struct trust_cert {
	X509 *x509;
	unsigned int from;	/* CERT_ bits: where it was found */
	char *path;		/* its file on this host; NULL: none */
};

size_t trust_certs(const struct trust *t);
const struct trust_cert *trust_cert(const struct trust *t, size_t i);
/* The entry equal to cert, NULL if there is none. */
const struct trust_cert *trust_find(const struct trust *t, X509 *cert);

enum standing {
	STANDING_TRUSTED, STANDING_PENDING, STANDING_REVOKED,
	STANDING_UNTRUSTED, STANDING_UNSURE,
};

/*
 * What a kernel with these rules makes of a certificate. running: it is the
 * kernel whose keyrings were read. *why: a phrase for people.
 */
enum standing trust_standing(const struct trust *t,
			     const struct trust_cert *cert,
			     const struct kernel_rules *rules, bool running,
			     const char **why);

/*
 * Is it enrolled? The running kernel trusts it, or would with Secure Boot on,
 * without which it does not look at the list of machine owner keys.
 */
bool trust_enrolled(const struct trust *t, const struct trust_cert *cert,
		    const struct kernel_rules *rules);

/* Is the hash of this certificate, whose it may be, in MokListX or dbx? */
bool trust_revokes(const struct trust *t, X509 *cert);
/* Is this SHA-256 of a module file in MokListX or dbx? */
bool trust_hash_listed(const struct trust *t, const unsigned char hash[32]);

bool trust_pinned(const struct trust *t);
/*
 * Is LIST ("MokNew", "MokDel", "MokXNew") there without its password? So it is where mokutil was
 * killed between the two; MokManager then shows the request, and cannot grant it.
 */
bool mok_request_is_half(const struct host *h, const char *list);

/* Does some certificate wait in MokNew, whichever? */
bool trust_any_pending(const struct trust *t);
const struct ring *trust_ring(const struct trust *t);
/* What could not be read, for people; NULL if nothing is missing. */
const char *trust_gap(const struct trust *t);

#endif
