/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs module files in place. */
#ifndef KMODKEEP_SIGN_H
#define KMODKEEP_SIGN_H

#include "guard/base/util.h"
#include "guard/host/host.h"
#include "guard/trust/trust.h"
#include "signing/signkey.h"

#define SIGN_KEYS_MAX 2

struct signing {
	const struct host *h;
	const struct signkey *keys[SIGN_KEYS_MAX];	/* each signs */
	size_t count;
	const char *kernel;	/* release; NULL: the one it was built for */
	const char *hash;	/* NULL: the one that kernel was built with */
	bool add;		/* keep the signers that are there */
	bool if_needed;		/* leave files that bear the right signatures */
	bool dry_run;		/* find out what would be done, and change nothing */
	/* With if_needed, leave also what this kernel trusts; NULL: do not. */
	const struct trust *trust;
};

enum sign_result { SIGN_DONE, SIGN_NOT_NEEDED, SIGN_TRUSTED };

/*
 * Replaces every signature of the file by one with exactly these signers, or
 * with those that were there too, keeping its compression, and checks the new
 * file before it takes the old one's place. The old one stays, whole, whatever
 * fails. -ENOEXEC: not a module; -EAFNOSUPPORT: that kernel does not know the
 * algorithm of the key; -ENOPKG: unknown hash; -EBADMSG: damaged;
 * -EKEYREJECTED: it was changed after a signer that would stay had signed it;
 * -EPROTO: a signer that would stay is one that no kernel accepts beside
 * another; -ESTALE: something else replaced the file meanwhile; -EIO: what
 * the key gave is no signature of this file. hash_used holds the name of the
 * hash.
 */
int sign_file(const struct signing *s, const char *path,
	      enum sign_result *result, char hash_used[32]);

/* Which of these two certificates must have signed a file. */
struct sign_goal {
	const struct host *h;
	X509 *cert[2];
	const struct signkey *key[2];	/* NULL: it cannot sign */
	bool wanted[2];
};

enum goal_state {
	GOAL_OTHER,	/* signed by neither, or not at all */
	GOAL_BOTH, GOAL_FIRST, GOAL_SECOND,
	GOAL_DAMAGED,	/* it does not fit its signature */
};

/* Who has signed the bytes of a file. */
enum goal_state sign_state(const struct sign_goal *g, const char *path);
enum goal_state sign_state_of(const struct sign_goal *g,
			      const struct buf *bytes);
/*
 * 1: cert is a signer of the file, and *others are how many more; 0: it is not;
 * or -errno.
 */
int sign_by(const char *path, X509 *cert, size_t *others);
/*
 * Adds and takes away these two signers until those wanted are there, and
 * leaves all others. A file that neither has signed stays as it is, and so does
 * one that would be left without a signer since the key cannot sign (-ENOKEY).
 * 1: it was changed; 0: there was no need; or as sign_file().
 */
int sign_reach(const struct sign_goal *g, const char *path);

#endif
