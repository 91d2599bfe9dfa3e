/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine has to know of a package manager; one file for each. */
#ifndef KMODKEEP_PACKAGE_MANAGER_H
#define KMODKEEP_PACKAGE_MANAGER_H

#include "kmodkeep/package/transaction.h"

struct manager {
	/* Is version A as new as B? */
	bool (*at_least)(struct transaction *x, const char *a, const char *b);
	/*
	 * Starts a unit, if this host starts services by itself: exit code 0
	 * also where it does not.
	 */
	int (*start_unit)(const char *unit);
	/* What to do next, for the administrator. */
	const char *(*retry)(struct transaction *x);
	const char *(*resume)(struct transaction *x);
	const char *(*install)(struct transaction *x, const char *package);
	const char *(*get_headers)(struct transaction *x, const char *kernel);
	const char *(*reinstall_headers)(struct transaction *x,
					 const char *kernel);
};

extern const struct manager manager_apt, manager_dnf;

/* Seconds that one command to start a unit may take. */
#define UNIT_SECONDS 1800

#endif
