/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the boot itself keeps a good module from being there: files that do not
 * boot, an initramfs without it or with another copy, the kernel's command line.
 */
#ifndef KMODKEEP_EARLY_H
#define KMODKEEP_EARLY_H

#include "guard/host/rootfs.h"
#include "guard/module/copies.h"
#include "guard/verdict/doctor.h"

/*
 * What is unpacked for a kernel: what its entry of the menu names, with what is in a
 * unified image, or else the file in /boot that is called after it. The files belong to
 * next and k. 0 or -ENOMEM.
 */
int boot_archives(const struct next_boot *next, const struct kernel *k, struct archives *out);
void boot_archives_free(struct archives *a);

/* Why what boots is not the kernel that its modules are of. */
struct early_build {
	char *why;		/* NULL: it is that kernel */
	char *next;
	bool unsure;		/* it may be */
};

/* What the initramfs of some kernels has; the running one is always among them. */
struct early {
	struct archives *kernels;
	struct copies *copies;	/* as kernels */
	struct early_build *builds;	/* as kernels */
	size_t count;
	size_t running;		/* index; count: no kernel runs */
	struct rootfs root;
};

/* Reads the initramfs of n kernels for these modules. 0 or -ENOMEM. */
int early_read(const struct doctor *d, const struct kernel *const *list, size_t n,
	       char *const *modules, size_t count, struct early *out);
void early_free(struct early *e);

/* Sets another verdict on a module that is good as it is installed. 0 or -ENOMEM. */
int early_judge(const struct doctor *d, const struct early *e, struct finding *f);

#endif
