/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernels that are installed on a host, and what belongs to each. */
#ifndef KMODKEEP_KERNELS_H
#define KMODKEEP_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

struct kernel {
	char *release;
	char *image;		/* file of the boot image; NULL: none found */
	char *initramfs;	/* its file; NULL: none found */
	bool modules;		/* it has a directory in /lib/modules */
	bool running;
};

struct kernels {
	struct kernel *list;	/* the newest first */
	size_t count;
	bool boot_readable;	/* false: images and initramfs were not seen */
	bool uses_initramfs;	/* some kernel here has one */
};

/*
 * Those with a boot image, and the running one. What dkms or a removed package
 * left in /lib/modules is no kernel. 0 or -ENOMEM.
 */
int kernels_read(const struct host *h, struct kernels *out);
void kernels_free(struct kernels *k);

const struct kernel *kernels_find(const struct kernels *k, const char *release);
/* Adds one that was asked about but is not installed. 0 or -ENOMEM. */
int kernels_add(const struct host *h, struct kernels *k, const char *release);

/*
 * The same where its file is known (NULL: it is not): what the file says of itself
 * counts, then its name, the one that it is a link to, and the package that put it
 * there, as with /boot/vmlinuz-linux.
 */
const struct kernel *kernels_by_file(const struct kernels *k, const char *file,
				     const char *path);

/* Order of releases: "6.1.0-9" < "6.1.0-10", "6.2~rc1" < "6.2". */
int release_compare(const char *a, const char *b);

#endif
