// SPDX-License-Identifier: GPL-2.0-or-later
/* dkms's entries of the package's versions: register, keep, forget. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"

/* What must end at last; a big driver on a small machine builds for long. */
#define BUILD_SECONDS 7200
#define VERB_SECONDS 1800

int run_dkms(struct transaction *x, int log_fd, struct run_result *run,
	     const char *verb, ...)
{
	struct run_how how = {
		.seconds = strcmp(verb, "build") ? VERB_SECONDS : BUILD_SECONDS,
		.log_fd = log_fd,
		/* It goes on when this process is killed: so does the lock. */
		.keep_fd = x->lock,
		/* The compilers that a maintainer script finds. */
		.callers_environment = true,
	};
	bool has_tree = false;
	struct words w = { 0 };
	va_list ap;
	char *word;
	int err;

	words_add(&w, (char *)"dkms");
	words_add(&w, (char *)verb);
	va_start(ap, verb);
	while ((word = va_arg(ap, char *))) {
		has_tree = has_tree || !strcmp(word, "--dkmstree");
		words_add(&w, word);
	}
	va_end(ap);
	if (!host_is_live(x->h)) {
		if (!has_tree) {
			words_add(&w, (char *)"--dkmstree");
			words_add(&w, x->tree);
		}
		words_add(&w, (char *)"--sourcetree");
		words_add(&w, text(x, "%s/usr/src", host_root(x->h)));
		words_add(&w, (char *)"--installtree");
		words_add(&w, x->modules);
	}
	words_add(&w, NULL);
	err = run_program_as(w.list, &how, run);
	words_free(&w);
	if (err) {
		run->exit_code = -1;
		snprintf(run->last_line, sizeof(run->last_line), "%s",
			 strerror(-err));
	}
	return err;
}

/* Make dkms know the version, with the package's source. */
void register_version(struct transaction *x)
{
	const char *entry = text(x, "%s/%s", x->entry, x->version);
	const char *next, *why;
	struct run_result run;
	int err;

	if (is_directory(entry)) {
		const char *link = text(x, "%s/source", entry);

		err = link_point(link, x->source);
		if (err) {
			why = trouble_of(x, err, link, &next);
			say(x, "%s. Next: %s", why, next);
		}
		return;
	}
	run_dkms(x, -1, &run, "add", "-m", x->name, "-v", x->version, NULL);
	if (run.exit_code)
		say(x, "dkms add failed: %s. Next: dkms add %s/%s",
		    *run.last_line ? run.last_line : "it said nothing",
		    x->name, x->version);
}

bool older_in_use(struct transaction *x)
{
	struct words all = entries_of(x, x->entry);
	bool found = false;

	for (size_t i = 0; i < all.count && !found; i++)
		found = is_directory(text(x, "%s/%s/kept-source", x->entry,
					  all.list[i])) &&
			in_use(x, all.list[i]);
	words_free(&all);
	return found;
}

/* Of a version that some kernel still uses: the builds for other kernels. */
static void drop_builds(struct transaction *x, const char *version)
{
	for (size_t i = 0; i < x->kernels.count; i++) {
		const char *kernel = x->kernels.list[i];
		const char *has = installed_version(x, kernel);

		/* With none, it may be this build that could not go back. */
		if (has && strcmp(has, version))
			tree_remove(text(x, "%s/%s/%s", x->entry, version,
					 kernel));
	}
}

static bool has_line(const struct buf *b, const char *line)
{
	const char *p = (const char *)b->data, *end = p + b->len;
	size_t n = strlen(line);

	while (p < end) {
		const char *newline = memchr(p, '\n', end - p);
		size_t len = (newline ? newline : end) - p;

		if (len == n && !memcmp(p, line, n))
			return true;
		p += len + 1;
	}
	return false;
}

/* After a downgrade: dkms must not take the kept version for the newest. */
static void build_no_more(struct transaction *x, const char *version)
{
	static const char line[] = "AUTOINSTALL=\"\"";
	const char *conf = text(x, "%s/%s/kept-source/dkms.conf", x->entry,
				version);
	struct buf b = { 0 };
	char *longer = NULL;
	int err;

	if (!is_directory(text(x, "%s/%s", x->entry, x->version)) ||
	    !x->manager->at_least(x, version, x->version))
		return;
	err = file_read(conf, 1 << 20, &b);
	if (!err && !has_line(&b, line)) {
		longer = text_of("%.*s%s%s\n", (int)b.len,
				 b.len ? (const char *)b.data : "",
				 b.len && b.data[b.len - 1] != '\n' ? "\n" : "",
				 line);
		err = longer ? file_replace(conf, longer, strlen(longer),
					    0644) : -ENOMEM;
	}
	if (err)
		say(x, "version %s stays one that dkms builds for new kernels: "
		    "%s: %s. Next: add the line %s to that file", version, conf,
		    strerror(-err), line);
	free(longer);
	buf_free(&b);
}

static const char *link_target(struct transaction *x, const char *link)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n < 0)
		return "";
	target[n] = '\0';
	return text(x, "%s", target);
}

/*
 * Does a kernel use it, or might one that has nothing after a failed switch, for
 * which there is a build of it?
 */
static bool is_needed(struct transaction *x, const char *version)
{
	if (in_use(x, version))
		return true;
	for (size_t i = 0; x->failed && i < x->kernels.count; i++)
		if (!installed_version(x, x->kernels.list[i]) &&
		    is_directory(text(x, "%s/%s/%s/%s/module", x->entry,
				      version, x->kernels.list[i], x->arch)))
			return true;
	return false;
}

/* Forget what nothing needs any more: kept copies, old versions, old builds. */
void tidy(struct transaction *x)
{
	struct words all;

	if (x->failed && !x->served && older_in_use(x) &&
	    !in_use(x, x->version))
		forget(x, x->version, "--no-depmod");
	all = entries_of(x, x->entry);
	for (size_t i = 0; i < all.count; i++) {
		const char *version = all.list[i];
		const char *link = text(x, "%s/%s/source", x->entry, version);

		if (!is_link(link) || !is_ours(x, version))
			continue;
		if (!strcmp(link_target(x, link), x->source)) {
			tree_remove(text(x, "%s/%s/kept-source", x->entry,
					 version));
		} else if (is_needed(x, version)) {
			drop_builds(x, version);
			build_no_more(x, version);
		} else {
			forget(x, version, "--no-depmod");
		}
	}
	words_free(&all);
}

void forget(struct transaction *x, const char *version, const char *option)
{
	const char *dir = text(x, "%s/%s", x->entry, version);
	struct run_result run;
	int err;

	if (!is_directory(dir))
		return;
	run_dkms(x, -1, &run, "remove", "-m", x->name, "-v", version, "--all",
		 option, NULL);
	if (run.exit_code)
		say(x, "dkms could not remove version %s: %s", version,
		    *run.last_line ? run.last_line : "it said nothing");
	err = tree_remove(dir);
	if (err)
		say(x, "%s could not be removed: %s. Next: rm -r %s", dir,
		    strerror(-err), dir);
	rmdir(x->entry);	/* unless another version is in it */
}
