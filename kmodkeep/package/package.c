// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs of the engine: configure, restore, remove. See transaction.h. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/lock.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/dkmstree.h"
#include "guard/trust/key_places.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"
#include "kmodkeep/package/update.h"
#include "kmodkeep/package/verbs.h"

/* Another package's drivers may be built for many kernels meanwhile. */
#define LOCK_SECONDS 3600

static const char usage[] =
"Usage: kmodkeep package configure|restore|remove NAME VERSION [--root DIR]\n"
"       kmodkeep package tree|dkms-key|manager|candidates [--root DIR]\n"
"       kmodkeep package version KERNEL [--root DIR]\n"
"       kmodkeep package headers KERNEL INTO [--root DIR]\n"
"For the maintainer scripts of a package whose driver DKMS builds, and preflight.\n"
"\n"
"  configure   put VERSION in place, for each kernel that it builds for\n"
"  restore     an upgrade failed: use the sources of the package again\n"
"  remove      remove every version that the package registered\n"
"  tree        say where dkms has its tree\n"
"  dkms-key    say what dkms signs with: a line each for its key, its certificate,\n"
"              and where its configuration names the key (empty: nowhere)\n"
"  manager     say which package manager is here: a line each for its name, the\n"
"              programs of it that preflight takes, those that it takes with a\n"
"              radar, and how to keep a kernel\n"
"  candidates  say which kernels apt or dnf would install now\n"
"  version     say which version the package of a kernel has there\n"
"  headers     download the headers of a kernel, and unpack them in INTO\n"
"  --root DIR  in the system installed under DIR, by the dkms of this one\n"
"\n"
"Exit code: 0 done, or said what is missing; 2 wrong usage, 3 could not tell.\n";

static const char *still(struct transaction *x, const struct work *w)
{
	return w->had && !w->lost ?
	       text(x, "; %s stays installed and loadable", w->had) : "";
}

static bool foreign_is_newer(struct transaction *x, const struct work *w)
{
	return w->had && !is_ours(x, w->had) &&
	       x->manager->at_least(x, w->had, x->version);
}

/*
 * What the verifier has to say on the modules that were installed, if it is not
 * "ok": on the first one.
 */
static const char *verdict(struct transaction *x, const struct work *w)
{
	struct words files = built_modules(x, w->link);
	const char *said = "";

	for (size_t i = 0; i < files.count && !*said; i++) {
		int code;
		const char *line = verify_line(x, w->kernel, files.list[i],
					       &code);

		if (code != EXIT_YES)
			said = text(x, ", but %s", line);
	}
	words_free(&files);
	return said;
}

static void say_failure(struct transaction *x, const struct work *w)
{
	struct stat st;
	bool logged = stat(w->log, &st) == 0 && st.st_size;

	say(x, "kernel %s: FAILED, %s%s.%s%s%s Next: %s", w->kernel, w->why,
	    still(x, w), logged ? " Log: " : "", logged ? w->log : "",
	    logged ? "." : "", w->next);
}

/* Logs of earlier versions for this kernel tell of nothing any more. */
static void drop_logs(struct transaction *x, const char *kernel)
{
	const char *dir = text(x, "%s/log", x->state);
	const char *end = text(x, "-%s.log", kernel);
	struct words all = entries_of(x, dir);

	for (size_t i = 0; i < all.count; i++)
		if (str_ends_with(all.list[i], end))
			unlink(text(x, "%s/%s", dir, all.list[i]));
	words_free(&all);
}

/* Removes directories of ours that have nothing in them. */
static void drop_empty(struct transaction *x)
{
	char *path = text(x, "%s/log", x->state);
	const char *root = text(x, "%s/var/lib",
				host_is_live(x->h) ? "" : host_root(x->h));

	while (strlen(path) > strlen(root)) {
		if (rmdir(path) < 0 && errno != ENOENT)
			return;
		*strrchr(path, '/') = '\0';
	}
}

/* Gives the kernel the new version, or says in one line why not. */
static void serve(struct transaction *x, const char *kernel)
{
	struct work w = {
		.kernel = kernel,
		.had = installed_version(x, kernel),
		.log = text(x, "%s/log/%s-%s.log", x->state, x->version,
			    kernel),
		.log_fd = -1,
	};

	if (foreign_is_newer(x, &w)) {
		say(x, "kernel %s: left alone, it has %s %s, which this package "
		    "did not install. To replace it: dkms remove %s/%s -k %s, "
		    "then %s", kernel, x->name, w.had, x->name, w.had, kernel,
		    x->manager->resume(x));
	} else if (!path_exists(text(x, "%s/%s/build/include", x->modules,
				     kernel))) {
		say(x, "kernel %s: not built, its headers are missing%s. Next: "
		    "%s", kernel, still(x, &w),
		    x->manager->get_headers(x, kernel));
	} else if (build(x, &w) && check(x, &w) && switch_over(x, &w)) {
		x->served = true;
		drop_logs(x, kernel);
		say(x, "kernel %s: installed%s%s%s", kernel,
		    w.had ? " in place of " : "", w.had ? w.had : "",
		    verdict(x, &w));
	} else if (w.excluded) {
		unlink(w.log);
		say(x, "kernel %s: not built, this version is not made for it "
		    "(BUILD_EXCLUSIVE in dkms.conf)%s", kernel, still(x, &w));
	} else {
		x->failed = true;
		say_failure(x, &w);
	}
	if (w.log_fd >= 0)
		close(w.log_fd);
	tree_remove(x->stage);
	drop_empty(x);
}

static void serve_all(struct transaction *x)
{
	if (!x->kernels.count)
		say(x, "nothing to build: no kernel is installed here. dkms "
		    "builds it when a kernel and its headers are installed");
	for (size_t i = 0; i < x->kernels.count; i++)
		serve(x, x->kernels.list[i]);
	if (x->served || !x->failed || !older_in_use(x))
		register_version(x);
}

/* The verbs. Exit codes. */

static int package_configure(struct transaction *x)
{
	/* Of an interrupted run. What is not removed is built over. */
	tree_remove(x->stage);
	mend(x);
	if (host_has(x->h, "/etc/dkms/no-autoinstall")) {
		register_version(x);
		say(x, "registered, not built: /etc/dkms/no-autoinstall says "
		    "so. To build it: dkms install %s/%s -k KERNEL", x->name,
		    x->version);
	} else {
		serve_all(x);
	}
	tidy(x);
	note_loaded(x);
	try_out(x);
	return EXIT_YES;
}

static int package_restore(struct transaction *x)
{
	struct words all;

	mend(x);
	all = entries_of(x, x->entry);
	for (size_t i = 0; i < all.count; i++) {
		const char *dir = text(x, "%s/%s", x->entry, all.list[i]);
		const char *kept = text(x, "%s/kept-source", dir);
		const char *link = text(x, "%s/source", dir);
		const char *original = text(x, "%s/usr/src/%s-%s",
					    host_is_live(x->h) ? "" :
					    host_root(x->h), x->name,
					    all.list[i]);
		int err;

		if (!is_directory(kept) ||
		    !is_file(text(x, "%s/dkms.conf", original)))
			continue;
		/* The copy goes when nothing leads to it any more. */
		err = link_point(link, original);
		if (!err)
			err = tree_remove(kept);
		if (err)
			say(x, "%s: %s; version %s is built from its copy in "
			    "%s meanwhile. Next: %s", link, strerror(-err),
			    all.list[i], kept, x->manager->retry(x));
	}
	words_free(&all);
	return EXIT_YES;
}

static int package_remove(struct transaction *x)
{
	struct words all;

	unload(x);
	mend(x);
	all = entries_of(x, x->entry);
	for (size_t i = 0; i < all.count; i++) {
		const char *version = all.list[i];

		if (!is_link(text(x, "%s/%s/source", x->entry, version)))
			continue;
		if (is_ours(x, version))
			forget(x, version, NULL);
		else
			say(x, "version %s stays: this package did not register "
			    "it. To remove it: dkms remove %s/%s --all",
			    version, x->name, version);
	}
	words_free(&all);
	tree_remove(x->state);
	unlink(text(x, "%s/var/lib/kmodkeep/smoke/%s.json",
		    host_is_live(x->h) ? "" : host_root(x->h), x->name));
	return EXIT_YES;
}

static const struct {
	const char *name;
	int (*run)(struct transaction *x);
} verbs[] = {
	{ "configure", package_configure },
	{ "restore", package_restore },
	{ "remove", package_remove },
};

/* It becomes a part of paths. */
static bool is_name(const char *s)
{
	return *s && *s != '.' && *s != '-' && strlen(s) < 128 &&
	       !strpbrk(s, "/ \t\n");
}

/*
 * One at a time: a package manager that was killed may have left one running,
 * or a dkms of it.
 */
static int take_lock(struct transaction *x)
{
	char *path = host_path(x->h, "/run/kmodkeep/package.lock");
	char *run = host_path(x->h, "/run");
	int fd = -ENOMEM;

	if (path && run) {
		tree_make(run);
		fd = lock_take(path, LOCK_SECONDS);
	}
	if (fd == -ETIMEDOUT)
		say(x, "nothing was done. Next: %s", x->manager->retry(x));
	else if (fd < 0)
		complain(0, "%s: %s; going on without a lock",
			 path ? path : "package", strerror(-fd));
	x->lock = fd < 0 ? -1 : fd;
	free(path);
	free(run);
	return fd == -ETIMEDOUT ? fd : 0;
}

static int tree(const struct host *h, char **words)
{
	char *path = NULL;
	int err = dkms_tree(h, &path), code = EXIT_YES;

	(void)words;
	if (err == -EINVAL)
		code = complain(EXIT_UNSURE, "%s sets dkms_tree by more than a "
				"plain path. Next: write the path itself there",
				path ? path : "dkms's configuration");
	else if (err)
		code = complain_errno(err, "package tree");
	else
		puts(path);
	free(path);
	return code;
}

static int dkms_key(const struct host *h, char **words)
{
	struct dkms_pair pair;
	int err = dkms_pair_read(h, &pair);

	(void)words;
	if (err)
		return complain_errno(err, "package dkms-key");
	printf("%s\n%s\n%s\n", pair.key, pair.cert, pair.where ? pair.where :
	       pair.sure ? "" : "dkms's configuration, which runs commands");
	dkms_pair_free(&pair);
	return EXIT_YES;
}

/* What preflight asks, too. */
static const struct {
	const char *name;
	int words;
	int (*answer)(const struct host *h, char **words);
} questions[] = {
	{ "tree", 0, tree },
	{ "dkms-key", 0, dkms_key },
	{ "manager", 0, update_manager },
	{ "candidates", 0, update_candidates },
	{ "version", 1, update_version },
	{ "headers", 2, update_headers },
};

/* By apt if its maintainer script runs this, or it is here. */
static const struct manager *manager_of(const struct host *h)
{
	if (getenv("DPKG_MAINTSCRIPT_PACKAGE") ||
	    host_has(h, "/usr/bin/apt-get"))
		return &manager_apt;
	return &manager_dnf;
}

static int run(const struct host *h, char **words)
{
	struct transaction x;
	int code = EXIT_USAGE;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(words[0], verbs[i].name))
			continue;
		umask(022);
		/* What cannot be done has been said: the package is whole. */
		code = EXIT_YES;
		if (!transaction_open(h, manager_of(h), words[1], words[2], &x) &&
		    !take_lock(&x))
			code = verbs[i].run(&x);
		transaction_close(&x);
	}
	if (code == EXIT_USAGE)
		fputs(usage, stderr);
	return code;
}

int verb_package(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL;
	struct host *h;
	size_t asked = 0;
	int c, err, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("package", argv, c);
		}
	}
	argv += optind;
	argc -= optind;
	while (asked < ARRAY_SIZE(questions) &&
	       (argc != questions[asked].words + 1 ||
		strcmp(argv[0], questions[asked].name)))
		asked++;
	if (asked == ARRAY_SIZE(questions) &&
	    !(argc == 3 && is_name(argv[1]) && is_name(argv[2]))) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "package");
	code = asked < ARRAY_SIZE(questions) ?
	       questions[asked].answer(h, argv + 1) : run(h, argv);
	host_free(h);
	return code;
}
