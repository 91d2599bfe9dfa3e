/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The drivers kmodkeep looks after, each a file NAME.conf of "key = value"
 * lines. A file in /etc replaces the one of the same name in /usr/lib; one that
 * is empty or a link to /dev/null switches it off.
 */
#ifndef KMODKEEP_DROPIN_H
#define KMODKEEP_DROPIN_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/host/host.h"

enum policy { POLICY_WARN, POLICY_PIN_LAST_GOOD };

struct driver {
	char *name;		/* of the file, without ".conf" */
	char **modules;
	size_t module_count;
	char *dkms;		/* its name in dkms, or NULL */
	char *smoke_test;	/* program, or NULL: loading is the test */
	unsigned int timeout;	/* seconds for the smoke test */
	enum policy policy;
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

/* Takes apart the text of one file; the name and defaults are set already. */
int driver_parse(struct driver *d, const char *file, char *text,
		 dropin_error_fn *report, void *arg);
void driver_free(struct driver *d);

#endif
