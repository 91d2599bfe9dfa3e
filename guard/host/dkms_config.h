/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dkms's own configuration, /etc/dkms/framework.conf and the drop-ins in
 * framework.conf.d, which dkms runs in bash. Here nothing is run: plain
 * assignments are read as bash would read them, and what only a shell could
 * tell is reported as unsure.
 *
 * dkmsconf.h is not the same for another file. It follows a driver's dkms.conf for one
 * kernel, through conditions and arrays, and has what is built. Here no kernel is given
 * ($kernelver stays), each value keeps its file and line for people, and a value below any
 * command is unsure: these are the places of keys and of dkms's tree, where a guess that
 * followed a condition would be worse than none.
 */
#ifndef KMODKEEP_DKMS_CONFIG_H
#define KMODKEEP_DKMS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

struct dkms_setting {
	char *key, *value;
	char *where;	/* "FILE, line N" of the assignment, for people */
	/* A command decides on it, or its value has parts only a shell knows. */
	bool unsure;
};

struct dkms_config {
	struct dkms_setting *list;	/* each key once, with its last value */
	size_t count;
	/* The first thing that could not be read plainly, for people; NULL: none. */
	char *gap;
};

/*
 * Reads the files in dkms's order; files that are not there are as good as
 * empty. 0 or -ENOMEM: all else is in gap.
 */
int dkms_config_read(const struct host *h, struct dkms_config *out);
void dkms_config_free(struct dkms_config *c);

/*
 * The value of a key; NULL: not set, or set to nothing, which dkms takes for
 * the same. *sure false: the value, or that there is none, is a guess.
 * $kernelver in a value is left as it stands, for the caller to replace.
 */
const char *dkms_config_get(const struct dkms_config *c, const char *key,
			    bool *sure);

/* The assignment itself; NULL: there is none. */
const struct dkms_setting *dkms_config_find(const struct dkms_config *c,
					    const char *key);

/* Adds the assignments of one file. name is for gap. 0 or -ENOMEM. */
int dkms_config_parse(struct dkms_config *c, const char *name,
		      const char *text);

#endif
