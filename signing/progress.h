/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far a rotation is: for each kernel, on the disk and in its initramfs. */
#ifndef KMODKEEP_PROGRESS_H
#define KMODKEEP_PROGRESS_H

#include <json-c/json.h>

#include "signing/rotation.h"

/* How many modules are signed by whom; indexed by enum goal_state. */
struct tally {
	size_t n[GOAL_DAMAGED + 1];
};

struct kernel_progress {
	char *kernel;
	struct tally files, copies;
	const char *initramfs_error;	/* why it could not be read; NULL */
	bool has_initramfs;
};

struct progress {
	struct host_modules modules;
	struct kernel_progress *kernels;
	size_t count;
};

/* 0 or -ENOMEM; what cannot be read is in modules.gap and initramfs_error. */
int progress_read(const struct rotation *r, struct progress *out);
void progress_free(struct progress *p);

/* Files that are not yet signed as the phase wants. */
size_t progress_left(const struct progress *p, enum rotation_phase phase);
/*
 * The first kernel whose initramfs has a module that the new key has not
 * signed, or could not be read; NULL: none.
 */
const char *progress_stale_initramfs(const struct progress *p,
				     enum rotation_phase phase);

void progress_print(const struct progress *p);
struct json_object *progress_json(const struct progress *p);

#endif
