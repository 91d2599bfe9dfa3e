/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What modprobe of an initramfs does, unlike that of the host: it has a copy of modprobe.d
 * and of the index as they were when it was made. There, what the host refuses may be
 * loaded for a driver's device, and what the host loads be refused.
 */
#ifndef KMODKEEP_EARLY_RULES_H
#define KMODKEEP_EARLY_RULES_H

#include "guard/module/copies.h"
#include "guard/verdict/doctor.h"

struct early_rules {
	char *why;	/* NULL: it does as the host does */
	char *rival;	/* the module that it loads instead; or NULL */
	bool unsure;
};

/*
 * Is the copy of the driver in an initramfs not loaded there? To be asked where early boot
 * needs it: what the host has is loaded after that. 0 or -ENOMEM.
 */
int early_rules_of_copy(const struct doctor *d, const struct finding *f,
			const struct copies *copies, const struct copy *copy,
			struct early_rules *out);

/*
 * Is another module loaded there for its devices, which the host refuses? line: what
 * the kernel is started with, NULL: not known. 0 or -ENOMEM.
 */
int early_rules_of_rivals(const struct doctor *d, const struct finding *f,
			  const struct copies *copies, const char *line,
			  struct early_rules *out);

void early_rules_free(struct early_rules *r);

#endif
