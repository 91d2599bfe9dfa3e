// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whether a package has a file, as dpkg and rpm answer, or other programs of these names.
 * The linker wraps what runs them.
 */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/run.h"
#include "guard/host/dpkg.h"

#define FILE_ASKED "/usr/src/acme-1/dkms.conf"
#define DATABASE "/var/lib/rpm/rpmdb.sqlite"

int __wrap_run_program(char *const argv[], unsigned int seconds, struct run_result *out);
int __wrap_run_program_as(char *const argv[], const struct run_how *how, struct run_result *out);

/* How one of them ends; line: the last that it says. */
struct answer {
	int code;
	const char *line;
};
static struct answer dpkg, rpm;
static int rpm_runs;

static int ends(const struct answer *a, struct run_result *out)
{
	memset(out, 0, sizeof(*out));
	out->exit_code = a->code;
	snprintf(out->last_line, sizeof(out->last_line), "%s", a->line);
	return 0;
}

int __wrap_run_program(char *const argv[], unsigned int seconds, struct run_result *out)
{
	(void)seconds;
	assert_string_equal(argv[0], "dpkg-query");
	return ends(&dpkg, out);
}

int __wrap_run_program_as(char *const argv[], const struct run_how *how, struct run_result *out)
{
	assert_string_equal(argv[0], "rpm");
	rpm_runs++;
	dprintf(how->log_fd, "%s\n", rpm.line);
	return ends(&rpm, out);
}

/* A host that stands for the running one; database: a file of rpm's, or NULL. */
static struct host *make_host(char **tree, const char *database)
{
	struct host *h;

	*tree = make_tree();
	put_text(*tree, "/etc/kmodkeep-test-root", "");
	if (database)
		put_text(*tree, database, "");
	assert_int_equal(host_new(*tree, &h), 0);
	dpkg = (struct answer){ 127, "dpkg-query: No such file or directory" };
	rpm_runs = 0;
	return h;
}

static void free_host(struct host *h, char *tree)
{
	host_free(h);
	remove_tree(tree);
}

/* Debian's rpm would make one; busybox's fails. */
static void rpm_without_a_database(void **state)
{
	char *tree, *name = NULL;
	struct host *h = make_host(&tree, "/var/lib/rpm/.rpm.lock");

	(void)state;
	rpm = (struct answer){ 1, "rpm: invalid option -- 'f'" };
	assert_int_equal(rpm_owner(h, FILE_ASKED, &name), 0);
	assert_int_equal(package_owns(h, FILE_ASKED), 0);
	assert_int_equal(rpm_runs, 0);
	free_host(h, tree);
}

static void rpm_with_a_database(void **state)
{
	static const char *const databases[] = {
		DATABASE, "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/Packages.db",
		"/var/lib/rpm/Packages", "/usr/share/rpm/rpmdb.sqlite",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(databases); i++) {
		char *tree, *name = NULL;
		struct host *h = make_host(&tree, databases[i]);

		rpm = (struct answer){ 0, "acme-dkms" };
		assert_int_equal(rpm_owner(h, FILE_ASKED, &name), 1);
		assert_string_equal(name, "acme-dkms");
		rpm = (struct answer){ 1, "file " FILE_ASKED " is not owned by any package" };
		assert_int_equal(package_owns(h, FILE_ASKED), 0);
		rpm = (struct answer){ 1, "error: cannot open Packages database in /var/lib/rpm" };
		assert_int_equal(package_owns(h, FILE_ASKED), -EIO);
		free(name);
		free_host(h, tree);
	}
}

/* The dynamic loader and what finds no program end with the same code. */
static void one_that_does_not_start(void **state)
{
	char *tree;
	struct host *h = make_host(&tree, DATABASE);

	(void)state;
	rpm = (struct answer){ 127, "rpm: No such file or directory" };
	assert_int_equal(package_owns(h, FILE_ASKED), 0);
	rpm.line = "rpm: error while loading shared libraries: librpm.so.9: cannot open shared "
		   "object file: No such file or directory";
	assert_int_equal(package_owns(h, FILE_ASKED), -EIO);
	dpkg.line = "dpkg-query: Permission denied";
	assert_int_equal(package_owns(h, FILE_ASKED), -EIO);
	dpkg = (struct answer){ 1, "dpkg-query: no path found matching pattern" };
	rpm = (struct answer){ 1, "file " FILE_ASKED " is not owned by any package" };
	assert_int_equal(package_owns(h, FILE_ASKED), 0);
	free_host(h, tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpm_without_a_database),
		cmocka_unit_test(rpm_with_a_database),
		cmocka_unit_test(one_that_does_not_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
