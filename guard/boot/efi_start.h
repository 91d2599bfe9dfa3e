/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the firmware of EFI starts at the next boot: what it started this time, or another. */
#ifndef KMODKEEP_EFI_START_H
#define KMODKEEP_EFI_START_H

#include "guard/host/host.h"

struct efi_start {
	/* Why it is another program, or not known, and what to do; NULL: it is the same. */
	char *other;
	char *program;	/* file of this host; NULL: not known or not to be seen */
	char *mount;	/* of its partition, below the root; NULL as above */
	char *note;	/* what is tried before, and had nothing to boot; NULL: nothing */
	bool once;	/* other is for the next boot alone */
	bool said;	/* program is what the administrator says, by firmware_starts */
};

/*
 * 0 or -ENOMEM. All NULL where there is no EFI, or it is not the running system; EFI without
 * variables to read is not known.
 */
int efi_start_read(const struct host *h, struct efi_start *out);
void efi_start_free(struct efi_start *s);

#endif
