/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's own modules in an initramfs: are they of the build that is on disk? A
 * kernel that is installed again has the same release, and refuses those of before.
 */
#ifndef KMODKEEP_OWN_H
#define KMODKEEP_OWN_H

#include "guard/base/util.h"

struct own_modules {
	char *paths;		/* below the folder of the kernel, each with a line break */
	size_t len, room;	/* of paths */
	size_t count, compared;
	void *stamp;		/* as it is made, of the files as they were before they were read */
	char *other;		/* one of another build than that on disk; or NULL */
	char *unsure;		/* one of which that cannot be told; or NULL */
};

/*
 * Compares one with that on disk. folder: /lib/modules/RELEASE with the root before it;
 * path: below that, as "kernel/fs/x.ko.xz". Takes content over. 0 or -ENOMEM.
 */
int own_modules_take(struct own_modules *o, const char *folder, const char *path,
		     struct buf *content);
/* After the last one; hex: as own_modules_stamp(). 0 or -ENOMEM. */
int own_modules_end(struct own_modules *o, char hex[65]);
void own_modules_free(struct own_modules *o);

/* Is a module on disk, however it is packed there? As own_modules_take(). */
bool own_module_there(const char *folder, const char *path);

/* Equal for files on disk that nobody wrote to; false: it cannot be told. */
bool own_modules_stamp(const char *paths, const char *folder, char hex[65]);

#endif
