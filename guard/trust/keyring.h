/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys that the running kernel trusts for modules, by name and identifier. */
#ifndef KMODKEEP_KEYRING_H
#define KMODKEEP_KEYRING_H

#include <stdbool.h>
#include <stddef.h>

struct ring_key {
	char *subject;	/* as the kernel prints it: "CN" or "O: CN" */
	char *id;	/* subject key identifier or serial number, hex */
	bool of_kernel;	/* built into this kernel, not enrolled on the host */
};

struct ring {
	struct ring_key *keys;
	size_t count;
	bool readable;	/* false: nothing is known, not "no keys" */
};

/* Reads the trusted keyrings of the running kernel. 0 or -ENOMEM. */
int ring_read(struct ring *r);
void ring_free(struct ring *r);

/* Takes apart "asymmetric;0;0;perm;subject: id". 0, -EINVAL or -ENOMEM. */
int ring_add(struct ring *r, const char *description, bool of_kernel);

const struct ring_key *ring_by_id(const struct ring *r, const char *id);
const struct ring_key *ring_by_subject(const struct ring *r, const char *cn);

#endif
