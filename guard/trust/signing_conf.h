/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /etc/kmodkeep/signing.conf: a key on a token that this host signs with. */
#ifndef KMODKEEP_SIGNING_CONF_H
#define KMODKEEP_SIGNING_CONF_H

#include "guard/host/host.h"

#define SIGNING_CONF "/etc/kmodkeep/signing.conf"

struct signing_conf {
	char *key;		/* "pkcs11:..." */
	char *certificate;	/* full path, below the host's root */
	char *pin_file;		/* full path; NULL: a systemd credential, or none */
};

/*
 * 0; -ENOENT: there is none; -EINVAL: a line that is none, of which *line
 * (from 1) is the number, or 0 for a missing key or certificate; or -errno.
 */
int signing_conf_read(const struct host *h, struct signing_conf *c,
		      unsigned int *line);
void signing_conf_free(struct signing_conf *c);

#endif
