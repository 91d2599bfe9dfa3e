// SPDX-License-Identifier: GPL-2.0-or-later
/* What the package engine and preflight have to know of RPM and dnf. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/kernels.h"
#include "kmodkeep/package/query.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/tree.h"

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

/* Preflight. */

/* Runs dnf with words (ended by NULL), about the host's packages; as query(). */
static bool ask_dnf(struct transaction *x, const struct question *q,
		    struct said *a, ...)
{
	struct words argv = { 0 };
	bool known;
	va_list ap;
	char *word;

	words_add_all(&argv, "dnf", "-q", NULL);
	if (!host_is_live(x->h))
		words_add(&argv, text(x, "--installroot=%s", host_root(x->h)));
	va_start(ap, a);
	while ((word = va_arg(ap, char *)))
		words_add(&argv, word);
	va_end(ap);
	words_add(&argv, NULL);
	known = query(x, q, &argv, a);
	words_free(&argv);
	return known;
}

/* The first line that tells of trouble; NULL: there is none. */
static const char *trouble_in(struct transaction *x, const char *said)
{
	static const char *const words[] = {
		"gpg key", "is this ok", "error", "fail", "ignor", "skipp",
	};
	char *rest = text(x, "%s", said), *line;

	while ((line = next_line(&rest)))
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strcasestr(line, words[i]))
				return line;
	return NULL;
}

/* VERSION-RELEASE.ARCH, which is what the kernel of that package calls itself. */
static bool is_package_version(const char *line)
{
	const char *arch = strrchr(line, '.');

	return isdigit(*line) && !strchr(line, ' ') && arch && arch[1] &&
	       !arch[1 + strspn(arch + 1, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

/*
 * The newest kernel among the updates. A key that nobody has accepted yet is not
 * accepted here.
 */
static bool candidates(struct transaction *x, struct words *out)
{
	static const struct question q = {
		.what = "dnf repoquery", .next = "dnf check-update",
		.seconds = ANSWER_SECONDS,
	};
	struct said a;
	const char *trouble;
	char *rest, *line;

	if (!ask_dnf(x, &q, &a, "--assumeno", "repoquery", "--upgrades",
		     "--latest-limit=1", "--qf",
		     "%{version}-%{release}.%{arch}\\n", "kernel-core", NULL))
		return false;
	/* dnf goes on without a repository that it may not use: that is no "no update". */
	trouble = trouble_in(x, a.err);
	if (!trouble)
		trouble = trouble_in(x, a.out);
	if (trouble)
		return complain(false, "preflight: %s: %s. Next: %s", q.what,
				trouble, q.next);
	rest = text(x, "%s", a.out);
	while ((line = next_line(&rest)))
		if (is_package_version(line))
			words_add(out, line);
	return true;
}

/* The release without its architecture. */
static const char *version_of(struct transaction *x, const char *kernel)
{
	const char *arch = strrchr(kernel, '.');

	return text(x, "%.*s", arch ? (int)(arch - kernel) :
		    (int)strlen(kernel), kernel);
}

static bool unpack_one(struct transaction *x, const char *name, const char *dir,
		       const char *root)
{
	const char *archive = text(x, "%s/%s.cpio", dir, name);
	const struct question extract = {
		.what = text(x, "rpm2cpio %s", name),
		.seconds = UNPACK_SECONDS, .file = archive,
	};
	const struct question copy = {
		.what = text(x, "cpio -idm, of %s", name),
		.seconds = UNPACK_SECONDS, .dir = root,
	};
	struct words first = { 0 }, second = { 0 };
	struct said a;
	bool good;

	words_add_all(&first, "rpm2cpio", text(x, "%s/%s", dir, name), NULL);
	words_add(&first, NULL);
	words_add_all(&second, "cpio", "-idm", "--quiet",
		      "--no-absolute-filenames", "--force-local", "-F", archive,
		      NULL);
	words_add(&second, NULL);
	good = query(x, &extract, &first, &a) && query(x, &copy, &second, &a);
	words_free(&first);
	words_free(&second);
	return good;
}

/* Where it is that the kernel's release stands in a file; NULL: nowhere. */
static const char *find_headers(struct transaction *x, const char *dir,
				int deeper)
{
	struct words all = entries_of(x, dir);
	const char *found = NULL;

	for (size_t i = 0; i < all.count && !found; i++) {
		const char *path = text(x, "%s/%s", dir, all.list[i]);

		if (is_file(text(x, "%s/include/config/kernel.release", path)))
			found = path;
		else if (deeper && is_directory(path))
			found = find_headers(x, path, deeper - 1);
	}
	words_free(&all);
	return found;
}

static const char *fetch_headers(struct transaction *x, const char *kernel,
				 const char *dir)
{
	const char *packages = text(x, "%s/packages", dir);
	const char *root = text(x, "%s/root", dir), *headers;
	const char *package = text(x, "kernel-devel-%s", kernel);
	const struct question q = {
		.what = text(x, "dnf install --downloadonly %s", package),
		.seconds = DOWNLOAD_SECONDS,
	};
	struct words rpms;
	struct said a;
	bool good = true;
	int err = tree_make(root);

	if (err)
		complain_errno(err, root);
	if (err || !ask_dnf(x, &q, &a, "-y", "install", "--downloadonly",
			    text(x, "--destdir=%s", packages), package, NULL))
		return NULL;
	rpms = entries_of(x, packages);
	for (size_t i = 0; i < rpms.count && good; i++)
		if (!strncmp(rpms.list[i], "kernel-devel-", 13) &&
		    str_ends_with(rpms.list[i], ".rpm"))
			good = unpack_one(x, rpms.list[i], packages, root);
	words_free(&rpms);
	if (!good)
		return NULL;
	headers = find_headers(x, text(x, "%s/usr/src", root), 1);
	if (headers && is_file(text(x, "%s/Makefile", headers)))
		return headers;
	complain(0, "preflight: %s has no headers", package);
	return NULL;
}

static const char *look_for_headers(struct transaction *x, const char *kernel)
{
	return text(x, "look at: dnf install --downloadonly kernel-devel-%s",
		    kernel);
}

static const char *keep_kernel(struct transaction *x)
{
	(void)x;
	return "put excludepkgs=kernel* into /etc/dnf/dnf.conf";
}

const struct manager manager_dnf = {
	.at_least = at_least, .start_unit = start_unit, .retry = retry,
	.resume = retry, .install = install, .get_headers = get_headers,
	.reinstall_headers = reinstall_headers,
	.name = "dnf", .programs = "dnf rpm2cpio cpio", .radar_programs = "dnf",
	.candidates = candidates, .version_of = version_of,
	.fetch_headers = fetch_headers, .look_for_headers = look_for_headers,
	.keep_kernel = keep_kernel,
};
