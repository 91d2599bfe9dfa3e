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

	/* For preflight, see update.h: the programs that it takes, with a blank between. */
	const char *name, *programs, *radar_programs;
	/* The releases of kernels that an update would install. false: has said why. */
	bool (*candidates)(struct transaction *x, struct words *out);
	/* The version of a kernel's package, as it would be installed; NULL: not known. */
	const char *(*version_of)(struct transaction *x, const char *kernel);
	/*
	 * Downloads a kernel's headers and unpacks them in root below dir, which exists.
	 * Where they are then; NULL: has said why not.
	 */
	const char *(*fetch_headers)(struct transaction *x, const char *kernel,
				     const char *dir);
	const char *(*look_for_headers)(struct transaction *x,
					const char *kernel);
	const char *(*keep_kernel)(struct transaction *x);
};

extern const struct manager manager_apt, manager_dnf;

/* Seconds that one command to start a unit may take. */
#define UNIT_SECONDS 1800

#endif
