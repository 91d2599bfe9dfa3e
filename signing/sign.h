/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signs module files in place. */
#ifndef KMODKEEP_SIGN_H
#define KMODKEEP_SIGN_H

#include "guard/host/host.h"
#include "guard/trust/trust.h"
#include "signing/signkey.h"

struct signing {
	const struct host *h;
	const struct signkey *key;
	const char *kernel;	/* release; NULL: the one it was built for */
	const char *hash;	/* NULL: the one that kernel was built with */
	bool if_needed;		/* leave files that bear the right signature */
	/* With if_needed, leave also what this kernel trusts; NULL: do not. */
	const struct trust *trust;
};

enum sign_result { SIGN_DONE, SIGN_NOT_NEEDED, SIGN_TRUSTED };

/*
 * Replaces every signature of the file by exactly one, keeping its
 * compression, and checks the new file before it takes the old one's place.
 * -ENOEXEC: not a module; -ENOPKG: unknown hash; -EBADMSG: damaged.
 * hash_used holds the name of the hash.
 */
int sign_file(const struct signing *s, const char *path,
	      enum sign_result *result, char hash_used[32]);

#endif
