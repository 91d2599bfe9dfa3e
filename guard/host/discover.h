/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The out-of-tree drivers of a host, found without being told of: what dkms
 * knows, module files outside the kernel's own folder, and what is loaded.
 * Drop-ins refine what is found; they do not make it exist.
 */
#ifndef KMODKEEP_DISCOVER_H
#define KMODKEEP_DISCOVER_H

#include "guard/host/dkmsconf.h"
#include "guard/host/dropin.h"
#include "guard/host/kernels.h"

/*
 * Adds what is found to the drivers of the drop-ins, and drops the ignored
 * ones. report: for what cannot be read, as a driver may be left out then.
 * "discovery = no" in guard.conf leaves the drop-ins alone. 0 or -ENOMEM.
 */
int drivers_discover(const struct host *h, const struct kernels *k,
		     struct drivers *drivers, dropin_error_fn *report,
		     void *arg);

/* Does guard.conf say that only drop-ins make a driver exist? */
bool drivers_discovery_off(const struct host *h);

/*
 * What dkms would build of a driver for a kernel, by the newest version that
 * has its source. 0, -ENOMEM, or why there is nothing to read.
 */
int driver_conf(const struct host *h, const char *dkms,
		const struct dkmsconf_kernel *k, struct dkmsconf *out);

/*
 * The newest version of a driver that dkms has the source of, and the folder of
 * that source; both malloc'ed. 0, -ENOENT: there is none, -ENOMEM, or why dkms's
 * tree cannot be found.
 */
int driver_source(const struct host *h, const char *dkms, char **version,
		  char **path);

/* Where a driver is known from: "dkms, loaded"; malloc'ed. */
char *driver_sources(const struct driver *d);

/* The same module: dashes and underscores are one. */
bool same_module(const char *a, const char *b);

/* Is it one of the driver's modules, or a name that one of them has besides? */
bool driver_has(const struct driver *d, const char *module);

#endif
