/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What packages and the administrator say of drivers, each a file NAME.conf of
 * "key = value" lines. A file in /etc replaces the one of the same name in
 * /usr/lib; one that is empty or a link to /dev/null switches the driver off.
 * Drivers exist without such a file, too: see discover.h.
 */
#ifndef KMODKEEP_DROPIN_H
#define KMODKEEP_DROPIN_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

enum policy { POLICY_WARN, POLICY_PIN_LAST_GOOD };

/* Must a kernel's initramfs have the modules? */
enum initramfs_need { INITRAMFS_AUTO, INITRAMFS_NO, INITRAMFS_REQUIRED };

/* Where a driver is known from. */
enum {
	SOURCE_DROPIN = 1, SOURCE_DKMS = 2, SOURCE_FILE = 4, SOURCE_LOADED = 8,
	SOURCE_PACKAGE = 16,	/* its package alone: see guard/verdict/lost.h */
};

struct driver {
	char *name;		/* of the file, without ".conf", or in dkms */
	char **modules;
	size_t module_count;
	char *dkms;		/* its name in dkms, or NULL */
	char *smoke_test;	/* program, or NULL: loading is the test */
	unsigned int timeout;	/* seconds for the smoke test */
	char *userspace;	/* file or command that tells its version, or NULL */
	enum policy policy;
	enum initramfs_need initramfs;
	unsigned int sources;
	char **aliases;		/* names of its modules in sysfs that differ */
	size_t alias_count;
	char *source;		/* version of a source that dkms does not know; or NULL */
	char *unfinished;	/* its package, "NAME is unpacked"; NULL: dpkg is done */
	char *untold;		/* RPM package of a source that dkms does not know; or NULL */
	char *gone;		/* a file that a package has, and the host has not; or NULL */
	bool load;		/* the smoke test may load it */
	bool ignore;		/* it is not to be judged */
	bool broken;		/* an error was reported: do not use it */
};

struct drivers {
	struct driver *list;
	size_t count;
};

/* Called with one line per error: "FILE:LINE: what is wrong". */
typedef void dropin_error_fn(void *arg, const char *message);

/* 0 or -ENOMEM; what is wrong with one file is reported and spares the rest. */
int drivers_read(const struct host *h, struct drivers *out,
		 dropin_error_fn *report, void *arg);
void drivers_free(struct drivers *d);
/* The same with those that are ignored, so that a search leaves them out. */
int drivers_read_all(const struct host *h, struct drivers *out,
		     dropin_error_fn *report, void *arg);
/*
 * What kmodkeep knows of drivers of others, in files of the same form. They make no
 * driver exist and ask for none: see drivers_discover().
 */
int drivers_read_known(const struct host *h, struct drivers *out,
		       dropin_error_fn *report, void *arg);
void drivers_drop_ignored(struct drivers *d);

/* Sets a driver's name and defaults. 0 or -ENOMEM. */
int driver_init(struct driver *d, const char *name);

/* Takes apart the text of one file; the name and defaults are set already. */
int driver_parse(struct driver *d, const char *file, char *text,
		 dropin_error_fn *report, void *arg);
void driver_free(struct driver *d);

#endif
