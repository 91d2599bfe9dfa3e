// SPDX-License-Identifier: GPL-2.0-or-later
/* What the package engine has to know of dpkg and apt. */
#include "kmodkeep/package/manager.h"

static bool at_least(struct transaction *x, const char *a, const char *b)
{
	char *const argv[] = {
		(char *)"dpkg", (char *)"--compare-versions", (char *)a,
		(char *)"ge", (char *)b, NULL,
	};
	struct run_result run;

	(void)x;
	return !run_program(argv, 60, &run) && run.exit_code == 0;
}

/* It asks policy-rc.d. */
static int start_unit(const char *unit)
{
	char *const argv[] = {
		(char *)"deb-systemd-invoke", (char *)"start", (char *)unit,
		NULL,
	};
	struct run_result run;
	int err = run_program(argv, UNIT_SECONDS, &run);

	return err ? err : run.exit_code;
}

static const char *retry(struct transaction *x)
{
	return text(x, "dpkg-reconfigure %s", x->package);
}

static const char *resume(struct transaction *x)
{
	return text(x, "dpkg --configure -a");
}

static const char *install(struct transaction *x, const char *package)
{
	return text(x, "apt install %s", package);
}

static const char *get_headers(struct transaction *x, const char *kernel)
{
	return text(x, "apt install linux-headers-%s", kernel);
}

static const char *reinstall_headers(struct transaction *x,
				     const char *kernel)
{
	return text(x, "apt install --reinstall linux-headers-%s", kernel);
}

const struct manager manager_apt = {
	.at_least = at_least, .start_unit = start_unit, .retry = retry,
	.resume = resume, .install = install, .get_headers = get_headers,
	.reinstall_headers = reinstall_headers,
};
