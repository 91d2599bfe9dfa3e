/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a dkms.conf says it builds for one kernel, without running it. dkms
 * sources the file as root in bash; here assignments, conditions and the
 * kernel's configuration are followed, and nothing is started. What only bash
 * could tell is "maybe", and the caller looks at what dkms has built.
 */
#ifndef KMODKEEP_DKMSCONF_H
#define KMODKEEP_DKMSCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

/* The kernel that a file is read for; its configuration is read once. */
struct dkmsconf_kernel {
	const struct host *h;
	const char *release;
	char *config;		/* text; NULL: not known */
	char arch[32];		/* as dkms calls it: "x86_64" */
};

int dkmsconf_kernel_read(const struct host *h, const char *release,
			 struct dkmsconf_kernel *out);
void dkmsconf_kernel_free(struct dkmsconf_kernel *k);

struct dkmsconf_module {
	char *name;		/* of the installed file, without suffix */
	char *built;		/* of the file that make leaves */
	bool maybe;		/* a condition decides that was not followed */
};

struct dkmsconf {
	struct dkmsconf_module *modules;
	size_t count;
	char *excluded;		/* the BUILD_EXCLUSIVE line that forbids it here */
	bool excluded_maybe;	/* a condition decides whether it does */
	unsigned int not_followed;	/* first line of that kind; 0: none */
};

/*
 * Reads the files (NULL ends the list; those that are not there are left out)
 * one after the other, as dkms does with a package's dkms.conf and
 * /etc/dkms/NAME.conf. 0, -ENOMEM, or why the first cannot be read.
 */
int dkmsconf_read(const struct dkmsconf_kernel *k, const char *name,
		  char *const *files, struct dkmsconf *out);
/* The same for one text, of len bytes. */
int dkmsconf_parse(const struct dkmsconf_kernel *k, const char *name,
		   const char *text, size_t len, struct dkmsconf *out);
void dkmsconf_free(struct dkmsconf *c);

#endif
