/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the keys lie that modules of this host are signed with. */
#ifndef KMODKEEP_KEY_PLACES_H
#define KMODKEEP_KEY_PLACES_H

#include <stdbool.h>

#define KEY_DIR "/var/lib/kmodkeep/keys"
/* While the key is changed for another: the one to come, the one that was. */
#define NEXT_KEY_DIR KEY_DIR ".next"
#define OLD_KEY_DIR KEY_DIR ".old"

/* Where keys lie, in the order of preference. Ends with cert == NULL. */
struct key_place {
	const char *origin;	/* "own" (twice), "ubuntu", "dkms" */
	const char *key, *cert;
};
extern const struct key_place key_places[];

struct host;

/*
 * The pair that dkms signs with for the running kernel: what its configuration
 * names, or else Ubuntu's on Ubuntu, or else its own. The key may be "pkcs11:...".
 */
struct dkms_pair {
	const char *origin;	/* "ubuntu" or "dkms" */
	char *key, *cert;
	char *where;	/* "FILE, line N" of the key's setting; NULL: it is a default */
	bool sure;	/* false: a guess, the configuration runs commands */
};

/* 0 or -ENOMEM. */
int dkms_pair_read(const struct host *h, struct dkms_pair *out);
void dkms_pair_free(struct dkms_pair *p);

/*
 * Certificates of keys that other builders of modules on this host sign with:
 * the one that dkms's configuration names for a kernel, and akmods'. Calls fn
 * with a path below the host's root; stops at what it returns, if not 0.
 */
int other_certs(const struct host *h, int (*fn)(void *arg, const char *path),
		void *arg);

#endif
