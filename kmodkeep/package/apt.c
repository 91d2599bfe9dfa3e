// SPDX-License-Identifier: GPL-2.0-or-later
/* What the package engine and preflight have to know of dpkg and apt. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "kmodkeep/package/query.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/tree.h"

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

/* Preflight. */

/* PROGRAM with words (ended by NULL), asked about the host's packages. */
static struct words apt(struct transaction *x, const char *program, ...)
{
	static const struct {
		const char *name, *value;
	} places[] = {
		{ "State", "/var/lib/apt" },
		{ "State::status", "/var/lib/dpkg/status" },
		{ "Etc", "/etc/apt" },
		{ "Cache", "/var/cache/apt" },
	};
	struct words argv = { 0 };
	va_list ap;
	char *word;

	words_add(&argv, text(x, "%s", program));
	if (!host_is_live(x->h)) {
		for (size_t i = 0; i < ARRAY_SIZE(places); i++)
			words_add_all(&argv, "-o",
				      text(x, "Dir::%s=%s%s", places[i].name,
					   host_root(x->h), places[i].value),
				      NULL);
		/* Nothing is written there. */
		words_add_all(&argv, "-o", "Dir::Cache::pkgcache=", "-o",
			      "Dir::Cache::srcpkgcache=", NULL);
	}
	va_start(ap, program);
	while ((word = va_arg(ap, char *)))
		words_add(&argv, word);
	va_end(ap);
	words_add(&argv, NULL);
	return argv;
}

/* As query(), and frees argv. */
static bool ask_apt(struct transaction *x, const struct question *q,
		    struct words argv, struct said *a)
{
	bool known = query(x, q, &argv, a);

	words_free(&argv);
	return known;
}

/* The release, in "Inst linux-image-RELEASE ..."; NULL: it is another line. */
static char *image_of(char *line)
{
	static const char start[] = "Inst linux-image-";
	char *release = line + strlen(start), *end;

	if (strncmp(line, start, strlen(start)) || !isdigit(*release))
		return NULL;
	end = strchr(release, ' ');
	if (!end)
		return NULL;
	*end = '\0';
	return str_ends_with(release, "-dbg") ||
	       str_ends_with(release, "-unsigned") ? NULL : release;
}

/* The images that a full upgrade would install or replace. */
static bool candidates(struct transaction *x, struct words *out)
{
	static const struct question q = {
		.what = "apt-get -s full-upgrade", .next = "apt-get -f install",
		.seconds = ANSWER_SECONDS,
	};
	struct said a;
	char *rest, *line, *release;

	if (!ask_apt(x, &q, apt(x, "apt-get", "-s", "-q", "full-upgrade", NULL),
		     &a))
		return false;
	rest = text(x, "%s", a.out);
	while ((line = next_line(&rest))) {
		release = image_of(line);
		if (release)
			words_add(out, release);
	}
	return true;
}

static const char *version_of(struct transaction *x, const char *kernel)
{
	static const char field[] = "  Candidate: ";
	const char *package = text(x, "linux-image-%s", kernel);
	const struct question q = {
		.what = text(x, "apt-cache policy %s", package),
		.seconds = ANSWER_SECONDS,
	};
	struct said a;
	char *rest, *line;

	if (!ask_apt(x, &q, apt(x, "apt-cache", "policy", package, NULL), &a))
		return NULL;
	rest = text(x, "%s", a.out);
	while ((line = next_line(&rest)))
		/* "(none)" is no version. */
		if (!strncmp(line, field, strlen(field)) &&
		    line[strlen(field)] && line[strlen(field)] != '(')
			return line + strlen(field);
	return NULL;
}

/* A package of headers, or of the programs that they need. */
static bool is_of_headers(const char *name)
{
	static const char *const starts[] = {
		"linux-headers-", "linux-kbuild-",
	};

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		if (!strncmp(name, starts[i], strlen(starts[i])) &&
		    isdigit(name[strlen(starts[i])]))
			return true;
	return false;
}

/* The packages of a release's headers: its own, and those that they need. */
static bool header_packages(struct transaction *x, const char *kernel,
			    struct words *out)
{
	const char *package = text(x, "linux-headers-%s", kernel);
	const struct question q = {
		.what = text(x, "apt-cache depends %s", package),
		.seconds = ANSWER_SECONDS,
	};
	struct said a;
	char *rest, *line;

	if (!ask_apt(x, &q, apt(x, "apt-cache", "depends", "--recurse",
				"--no-recommends", "--no-suggests",
				"--no-conflicts", "--no-breaks",
				"--no-replaces", "--no-enhances", package,
				NULL), &a))
		return false;
	rest = text(x, "%s", a.out);
	while ((line = next_line(&rest))) {
		bool known = !is_of_headers(line);

		for (size_t i = 0; i < out->count && !known; i++)
			known = !strcmp(out->list[i], line);
		if (!known)
			words_add(out, line);
	}
	if (!out->count)
		complain(0, "preflight: %s: names no package of headers",
			 q.what);
	return out->count;
}

static bool download(struct transaction *x, const char *kernel, const char *dir)
{
	const struct question q = {
		.what = text(x, "apt-get download linux-headers-%s", kernel),
		.seconds = DOWNLOAD_SECONDS, .dir = dir,
	};
	struct words packages = { 0 };
	/* The user that apt would take for it may not write there. */
	struct words argv = apt(x, "apt-get", "-q", "-o",
				"APT::Sandbox::User=root", "download", NULL);
	bool known = header_packages(x, kernel, &packages);
	struct said a;

	argv.count--;
	for (size_t i = 0; i < packages.count; i++)
		words_add(&argv, packages.list[i]);
	words_add(&argv, NULL);
	words_free(&packages);
	known = known && query(x, &q, &argv, &a);
	words_free(&argv);
	return known;
}

static bool unpack(struct transaction *x, const char *dir, const char *root)
{
	struct words debs = entries_of(x, dir);
	bool good = true;

	for (size_t i = 0; i < debs.count && good; i++) {
		const struct question q = {
			.what = text(x, "dpkg-deb -x %s", debs.list[i]),
			.seconds = UNPACK_SECONDS,
		};
		struct words argv = { 0 };
		struct said a;

		if (!str_ends_with(debs.list[i], ".deb"))
			continue;
		words_add_all(&argv, "dpkg-deb", "-x",
			      text(x, "%s/%s", dir, debs.list[i]), root, NULL);
		words_add(&argv, NULL);
		good = ask_apt(x, &q, argv, &a);
	}
	words_free(&debs);
	return good;
}

static const char *fetch_headers(struct transaction *x, const char *kernel,
				 const char *dir)
{
	const char *packages = text(x, "%s/packages", dir);
	const char *root = text(x, "%s/root", dir);
	const char *headers = text(x, "%s/usr/src/linux-headers-%s", root,
				   kernel);
	int err = tree_make(packages);

	if (err) {
		complain_errno(err, packages);
		return NULL;
	}
	if (!download(x, kernel, packages) || !unpack(x, packages, root))
		return NULL;
	if (is_file(text(x, "%s/Makefile", headers)))
		return headers;
	complain(0, "preflight: linux-headers-%s has no Makefile", kernel);
	return NULL;
}

static const char *look_for_headers(struct transaction *x, const char *kernel)
{
	return text(x, "apt-get update, then look at: apt-get download "
		       "linux-headers-%s", kernel);
}

static const char *keep_kernel(struct transaction *x)
{
	static const struct question q = {
		.what = "dpkg --print-architecture", .seconds = 60,
	};
	struct words argv = { 0 };
	struct said a;

	words_add_all(&argv, "dpkg", "--print-architecture", NULL);
	words_add(&argv, NULL);
	return ask_apt(x, &q, argv, &a) && *a.out ?
	       text(x, "apt-mark hold linux-image-%.*s",
		    (int)strcspn(a.out, "\n"), a.out) :
	       "apt-mark hold linux-image-$(dpkg --print-architecture)";
}

const struct manager manager_apt = {
	.at_least = at_least, .start_unit = start_unit, .retry = retry,
	.resume = resume, .install = install, .get_headers = get_headers,
	.reinstall_headers = reinstall_headers,
	.name = "apt", .programs = "apt-get apt-cache dpkg-deb",
	.radar_programs = "apt-get apt-cache", .candidates = candidates,
	.version_of = version_of, .fetch_headers = fetch_headers,
	.look_for_headers = look_for_headers, .keep_kernel = keep_kernel,
};
