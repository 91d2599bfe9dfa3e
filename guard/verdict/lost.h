/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drivers that neither dkms nor a kernel has any more, though nobody took them away: an
 * upgrade ended between the removal of the old build and the new one, or files were
 * deleted. Their packages know of them, and the guard's state file says what served.
 */
#ifndef KMODKEEP_LOST_H
#define KMODKEEP_LOST_H

#include <json-c/json.h>

#include "guard/host/dpkg.h"
#include "guard/host/dropin.h"
#include "guard/host/kernels.h"

#define GUARD_SCHEMA 1
#define GUARD_DIR "/var/lib/kmodkeep"
#define GUARD_STATE GUARD_DIR "/state.json"

/* A module that served at the guard's last run, or did before and is lost since. */
struct served {
	char *module, *driver;
	char *dkms, *version;	/* what dkms called it; NULL: it knew nothing of it */
	char *file;		/* the module's file, without the host's root; or NULL */
};

struct record {
	struct served *list;
	size_t count;
};

/* 0 or -ENOMEM; where the guard has recorded nothing there is nothing. */
int record_read(const struct host *h, struct record *out);
void record_free(struct record *r);
bool record_has(const struct record *r, const char *module);
/* As record_read() reads it. */
struct json_object *served_json(const struct served *s);

/*
 * Adds the drivers whose package is here and that nothing else names: the source is in
 * /usr/src, or dpkg has not finished the package, or a recorded file of it is gone. One
 * that never served, and that dpkg is done with, is none; one that rpm installed may be:
 * it does not tell whose script failed. report: where a package manager does not say what
 * it has. 0 or -ENOMEM.
 */
int drivers_find_lost(const struct host *h, const struct kernels *k,
		      const struct packages *unfinished, const struct record *r,
		      struct drivers *drivers, dropin_error_fn *report, void *arg);

#endif
