/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted disks that a TPM unlocks. shim measures the list of enrolled keys
 * into a register of the TPM, so one that is bound to that register asks for
 * its recovery key after a key was enrolled.
 */
#ifndef KMODKEEP_TPM_H
#define KMODKEEP_TPM_H

#include "guard/base/util.h"
#include "guard/host/host.h"

/* The register that shim measures its lists of keys into. */
#define TPM_PCR_KEYS 14
#define TPM_VOLUMES_MAX 32

struct tpm_volume {
	char *name;		/* of the opened disk, as in /dev/mapper */
	const char *kind;	/* "systemd-tpm2", "clevis" */
	unsigned int pcrs;	/* bit n: register n */
};

struct tpm {
	bool present;
	struct tpm_volume list[TPM_VOLUMES_MAX];
	size_t count;
	char *gap;		/* what could not be read; NULL: nothing */
};

void tpm_free(struct tpm *t);

/* The bindings that the metadata of one disk (LUKS2's JSON) names. */
int tpm_take(struct tpm *t, const char *name, const struct buf *metadata);

/*
 * What enrolling or deleting a key does to these disks, or what could not be
 * seen of that; malloc'ed. NULL: nothing.
 */
char *tpm_warning(const struct tpm *t);
/* The same for a host, from reading it; NULL also without memory. */
char *tpm_warning_of(const struct host *h);

#endif
