// SPDX-License-Identifier: GPL-2.0-or-later
/* What the package engine has to know of RPM and dnf. */
#include "guard/host/kernels.h"
#include "kmodkeep/package/manager.h"

/* The form of a release and of a version is the same. */
static bool at_least(struct transaction *x, const char *a, const char *b)
{
	(void)x;
	return release_compare(a, b) >= 0;
}

/* Where it starts at boot: presets and the administrator say so. */
static int start_unit(const char *unit)
{
	char *const asked[] = {
		(char *)"systemctl", (char *)"--quiet", (char *)"is-enabled",
		(char *)unit, NULL,
	};
	char *const start[] = {
		(char *)"systemctl", (char *)"start", (char *)unit, NULL,
	};
	struct run_result run;
	int err = run_program(asked, 60, &run);

	if (err || run.exit_code)
		return err;
	err = run_program(start, UNIT_SECONDS, &run);
	return err ? err : run.exit_code;
}

static const char *retry(struct transaction *x)
{
	return text(x, "dnf reinstall %s", x->package);
}

static const char *install(struct transaction *x, const char *package)
{
	return text(x, "dnf install %s", package);
}

static const char *get_headers(struct transaction *x, const char *kernel)
{
	(void)kernel;
	return text(x, "install its kernel-devel package, then %s", retry(x));
}

static const char *reinstall_headers(struct transaction *x,
				     const char *kernel)
{
	return text(x, "dnf reinstall the kernel-devel package of %s", kernel);
}

const struct manager manager_dnf = {
	.at_least = at_least, .start_unit = start_unit, .retry = retry,
	.resume = retry, .install = install, .get_headers = get_headers,
	.reinstall_headers = reinstall_headers,
};
