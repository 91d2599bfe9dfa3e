/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Will each guarded module load on each kernel of this host? One reading of
 * everything, which doctor, status and guard all look at.
 */
#ifndef KMODKEEP_DOCTOR_H
#define KMODKEEP_DOCTOR_H

#include "guard/boot/nextboot.h"
#include "guard/host/dkmstree.h"
#include "guard/host/dpkg.h"
#include "guard/host/dropin.h"
#include "guard/host/kernels.h"
#include "guard/module/copies.h"
#include "guard/verdict/lost.h"
#include "guard/verdict/report.h"
#include "guard/verdict/signers.h"

/* One module on one kernel. */
struct finding {
	const struct driver *driver;	/* NULL: asked about by its name */
	const char *module;
	const struct kernel *kernel;
	char *file;		/* NULL: none, or built in */
	struct report report;
	struct dkms dkms;
	const char *initramfs;	/* "none", "same", "other", "unread", or NULL */
	char *loaded;		/* srcversion of the build that is loaded */
	bool note;		/* it has it as little elsewhere: no loss */
};

struct doctor {
	struct host *h;
	struct trust *t;
	enum place place;
	struct drivers drivers;
	struct kernels kernels;
	struct next_boot next;
	struct packages unfinished;
	struct record record;	/* what served, by the guard's last run */
	struct signers policy;	/* who must have signed what this host loads */
	struct copies_cache *cache;
	struct finding *findings;
	size_t count;
	bool asked;		/* about all drivers, on one kernel at least */
	bool unseen;		/* a place where drivers may be cannot be read */
	bool broken;		/* a drop-in has an error: a driver may be left out */
};

/* report: for what is wrong with drop-ins. 0, -ENOMEM, or why there is no @root. */
int doctor_new(const char *root, dropin_error_fn *report, void *arg,
	       struct doctor **out);
/* The same of h, which it takes over, also where it fails. */
int doctor_of(struct host *h, dropin_error_fn *report, void *arg, struct doctor **out);
void doctor_free(struct doctor *d);

/* Adds the findings on n kernels for all drivers, or for one module or driver. */
int doctor_ask(struct doctor *d, const struct kernel *const *list, size_t n,
	       const char *only);
/* The same on all kernels that are installed. */
int doctor_ask_all(struct doctor *d);
const struct kernel *doctor_kernel(struct doctor *d, const char *release);

/* What installs packages here: PACKAGES_ of struct subject. */
int doctor_manager(const struct doctor *d);

/* Is it one that will serve after a boot of that kernel? */
enum answer finding_serves(const struct finding *f);
/* The worst of a driver's findings on a kernel; NULL: it was not asked. */
const struct finding *doctor_worst(const struct doctor *d,
				   const struct driver *driver,
				   const struct kernel *k);
/* Do all drivers (or those with this policy) load on a kernel? */
enum answer doctor_serves(const struct doctor *d, const struct kernel *k,
			  bool pinned_only);

#endif
