/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /etc/kmodkeep/signing.conf: a key on a token that this host signs with, and who must
 * have signed what it loads.
 */
#ifndef KMODKEEP_SIGNING_CONF_H
#define KMODKEEP_SIGNING_CONF_H

#include <stddef.h>

#include "guard/host/host.h"

#define SIGNING_CONF "/etc/kmodkeep/signing.conf"
#define SIGNERS_REQUIRED_MAX 4

struct signing_conf {
	char *key;		/* "pkcs11:..." */
	char *certificate;	/* full path, below the host's root */
	char *pin_file;		/* full path; NULL: a systemd credential, or none */
	unsigned int required;	/* so many of these signers; 0: nothing is required */
	char *signers[SIGNERS_REQUIRED_MAX];	/* certificates, full paths */
	size_t signer_count;
};

/*
 * The key: 0; -ENOENT: it names none; -EINVAL: a line that is none, of which *line
 * (from 1) is the number, or 0 for a missing key or certificate; or -errno.
 */
int signing_conf_read(const struct host *h, struct signing_conf *c,
		      unsigned int *line);
/*
 * Who must have signed, from the same file: 0, also without one; -EINVAL: a line that
 * is none, or 0 where more signers are required than are named; or -errno.
 */
int signing_policy_read(const struct host *h, struct signing_conf *c,
			unsigned int *line);
void signing_conf_free(struct signing_conf *c);

#endif
