// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Installs what was built for one kernel over the one that is installed, and
 * repairs what an interrupted run left behind.
 *
 * In dkms's tree ENTRY is a build's place VERSION/KERNEL/ARCH, and the link
 * kernel-KERNEL-ARCH, which leads to the one that is installed. While a version
 * is installed over itself the old build waits in VERSION/KERNEL/.kept-ARCH.
 *
 * What must hold after each step: the link leads to a whole build, and for each
 * module that the kernel had there is a whole file, or a whole copy in the build
 * that the link leads to.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"

#define DEPMOD_SECONDS 600

static bool is_kept(const char *path)
{
	return !strncmp(base_name(path), ".kept-", 6);
}

/* As dkms does: headers without their kernel have no list of modules to renew. */
static void run_depmod(struct transaction *x, struct work *w)
{
	char *const live[] = { (char *)"depmod", (char *)w->kernel, NULL };
	char *const image[] = { (char *)"depmod", (char *)"-b",
				(char *)host_root(x->h), (char *)w->kernel,
				NULL };
	const struct run_how how = {
		.seconds = DEPMOD_SECONDS, .log_fd = w->log_fd, .keep_fd = -1,
		.callers_environment = true,
	};
	struct run_result run;

	if (!is_file(text(x, "%s/%s/modules.dep", x->modules, w->kernel)))
		return;
	if (run_program_as(host_is_live(x->h) ? live : image, &how, &run) ||
	    run.exit_code)
		say(x, "kernel %s: depmod failed. Next: depmod %s, and see what "
		    "it says", w->kernel, w->kernel);
}

/*
 * Lets w->old be the build that is installed now, in a place where the new build
 * does not overwrite it: a reinstallation has both in one version. Changes
 * nothing but where the link leads, and that to an equal build.
 */
static int hold(struct transaction *x, struct work *w)
{
	struct words files;
	const char *kept;
	int err;

	if (!is_directory(text(x, "%s/module", w->link)))
		return 0;
	w->old = real_path(x, w->link);
	files = built_modules(x, w->old);
	for (size_t i = 0; i < files.count; i++) {
		const char *there = module_file(x, w->kernel,
						base_name(files.list[i]));

		if (there)
			words_add(&w->old_files, (char *)there);
	}
	words_free(&files);
	if (strcmp(w->old, real_path(x, w->new)))
		return 0;
	kept = text(x, "%s/%s/%s/.kept-%s", x->entry, x->version, w->kernel,
		    x->arch);
	err = tree_remove(kept);
	if (!err)
		err = tree_link(w->new, kept);
	if (!err)
		err = link_point(w->link, text(x, "%s/%s/.kept-%s", x->version,
					       w->kernel, x->arch));
	if (err) {
		w->why = trouble_of(x, err, kept, &w->next);
		tree_remove(kept);
	} else {
		w->old = kept;
	}
	return err;
}

/* What is staged becomes w->new. The first step may copy, between file systems. */
static bool move_in(struct transaction *x, struct work *w)
{
	const char *dir = text(x, "%s/%s/%s", x->entry, x->version, w->kernel);
	const char *beside = text(x, "%s/.staged", dir);
	int err = tree_make(dir);

	if (!err)
		err = tree_remove(beside);
	if (!err)
		err = tree_move(w->staged, beside);
	if (!err)
		err = tree_remove(w->new);
	if (!err && rename(beside, w->new) < 0)
		err = -errno;
	if (err) {
		w->why = trouble_of(x, err, dir, &w->next);
		tree_remove(beside);
	}
	return !err;
}

static bool leads_to(struct transaction *x, const char *link, const char *to)
{
	const char *real = real_path(x, link);

	return *real && !strcmp(real, real_path(x, to));
}

/* Does the kernel have each module of this build where it looks for it? */
static bool is_in_place(struct transaction *x, const char *kernel,
			const char *dir)
{
	struct words files = built_modules(x, dir);
	bool all = files.count > 0;

	for (size_t i = 0; i < files.count && all; i++) {
		const char *there = module_file(x, kernel,
						base_name(files.list[i]));

		all = there && files_equal(files.list[i], there);
	}
	words_free(&files);
	return all;
}

/*
 * dkms has reasons not to copy what is in its tree to where the kernel looks for
 * it, and exits with 0.
 */
static bool install(struct transaction *x, struct work *w)
{
	const char *const paths[] = {
		text(x, "%s/%s", x->modules, w->kernel), x->entry, NULL,
	};
	struct run_result run;

	/* --force: else dkms compares versions to guess which module is better. */
	run_dkms(x, w->log_fd, &run, "install", "--force", "-m", x->name, "-v",
		 x->version, "-k", w->kernel, "-a", x->arch, NULL);
	if (run.exit_code == 0 && leads_to(x, w->link, w->new) &&
	    is_in_place(x, w->kernel, w->new))
		return true;
	w->why = trouble_with_disk(x, &w->next, paths);
	if (!w->why) {
		w->why = "dkms could not install it";
		w->next = text(x, "see the log, then %s", x->manager->retry(x));
	}
	return false;
}

/*
 * Files that the old version installed and the new one did not replace: a module
 * that is no more, or the same one compressed in another way.
 */
static void drop_stale(struct transaction *x, struct work *w)
{
	struct words files;
	bool dropped = false;

	if (!w->old)
		return;
	files = built_modules(x, w->old);
	for (size_t i = 0; i < files.count; i++) {
		const char *name = base_name(files.list[i]), *there;

		if (path_exists(text(x, "%s/module/%s", w->new, name)))
			continue;
		there = module_file(x, w->kernel, name);
		if (there && unlink(there) == 0)
			dropped = true;
	}
	words_free(&files);
	if (is_kept(w->old))
		tree_remove(w->old);
	if (dropped)
		run_depmod(x, w);
}

/* What dkms copied and did not register, nothing would ever remove. */
static void remove_copies(struct transaction *x, struct work *w)
{
	struct words files = built_modules(x, w->new);

	for (size_t i = 0; i < files.count; i++) {
		const char *there = module_file(x, w->kernel,
						base_name(files.list[i]));

		if (there && files_equal(files.list[i], there))
			unlink(there);
	}
	words_free(&files);
}

static void undo_first_installation(struct transaction *x, struct work *w)
{
	struct run_result run;

	if (!leads_to(x, w->link, w->new)) {
		remove_copies(x, w);
		return;
	}
	run_dkms(x, w->log_fd, &run, "uninstall", "-m", x->name, "-v",
		 x->version, "-k", w->kernel, "-a", x->arch, NULL);
	if (run.exit_code)
		dprintf(w->log_fd, "dkms uninstall failed too\n");
}

/* The part of a canonical path behind the driver's entry. */
static const char *behind_entry(struct transaction *x, const char *path)
{
	const char *real = real_path(x, x->entry);

	if (!strncmp(path, real, strlen(real)))
		return path + strlen(real) + 1;
	return path + strlen(x->entry) + 1;
}

/*
 * The switch failed half-way: the old module goes back to where it was, and only
 * then the new one's traces go.
 */
static void put_back(struct transaction *x, struct work *w)
{
	const char *old = w->old;

	if (!old) {
		undo_first_installation(x, w);
		return;
	}
	for (size_t i = 0; i < w->old_files.count; i++) {
		const char *there = w->old_files.list[i];
		const char *file = text(x, "%s/module/%s", old,
					base_name(there));
		int err;

		/* What dkms did not touch needs no room to be put back. */
		if (files_equal(file, there))
			continue;
		err = file_put(file, there);
		if (err) {
			/* It stays the version that is not to be forgotten. */
			w->lost = true;
			link_point(w->link, behind_entry(x, old));
			say(x, "kernel %s: cannot put %s back: %s; a copy is in "
			    "%s/module. Next: make room on its file system, "
			    "then %s", w->kernel, there, strerror(-err), old,
			    x->manager->retry(x));
			return;
		}
	}
	tree_remove(w->new);
	if (is_kept(old)) {
		if (rename(old, w->new) == 0) {
			old = w->new;
		} else {
			/* Still in use where it is; the next run moves it. */
			run_depmod(x, w);
			return;
		}
	}
	if (link_point(w->link, behind_entry(x, old)) && is_kept(w->old))
		/* The link leads to where it was: there it must stay. */
		if (rename(w->new, w->old) < 0)
			say(x, "kernel %s: %s leads to nothing. Next: %s",
			    w->kernel, w->link, x->manager->retry(x));
	run_depmod(x, w);
}

/*
 * dkms may fail half-way, and removes the module when depmod fails: then the old
 * one is put back.
 */
bool switch_over(struct transaction *x, struct work *w)
{
	bool done = false;

	w->why = "dkms could not install it";
	w->next = text(x, "see the log, then %s", x->manager->retry(x));
	w->link = text(x, "%s/kernel-%s-%s", x->entry, w->kernel, x->arch);
	w->new = text(x, "%s/%s/%s/%s", x->entry, x->version, w->kernel,
		      x->arch);
	register_version(x);
	if (!hold(x, w)) {
		done = move_in(x, w) && install(x, w);
		if (done)
			drop_stale(x, w);
		else
			put_back(x, w);
	}
	words_free(&w->old_files);
	return done;
}

/*
 * An interrupted run left a build put aside: if it is the installed one it goes
 * back to its place, else it is rubbish. Where that cannot be written it stays
 * the installed one, where it is.
 */
static void mend_kept(struct transaction *x, const char *version,
		      const char *kernel)
{
	const char *dir = text(x, "%s/%s/%s", x->entry, version, kernel);
	const char *kept = text(x, "%s/.kept-%s", dir, x->arch);
	const char *place = text(x, "%s/%s", dir, x->arch);
	const char *link = text(x, "%s/kernel-%s-%s", x->entry, kernel,
				x->arch);
	const char *why, *next;
	int err = 0;

	if (!is_directory(kept))
		return;
	if (leads_to(x, link, kept)) {
		err = tree_remove(place);
		if (!err)
			err = tree_link(kept, place);
		if (!err)
			err = link_point(link, text(x, "%s/%s/%s", version,
						    kernel, x->arch));
		if (err)
			tree_remove(place);
	}
	if (!err)
		err = tree_remove(kept);
	if (!err)
		return;
	why = trouble_of(x, err, dir, &next);
	say(x, "kernel %s: the module that an interrupted run put aside stays "
	    "in %s, installed and loadable: %s. Next: %s", kernel, kept, why,
	    next);
}

/*
 * dkms was interrupted between removing its link and making it again. Without
 * one, some versions take our module for the distribution's and put it aside.
 */
static void mend_link(struct transaction *x, const struct words *versions,
		      const char *kernel)
{
	const char *link = text(x, "%s/kernel-%s-%s", x->entry, kernel,
				x->arch);
	const char *why, *next;
	int err;

	if (path_exists(text(x, "%s/module", link)))
		return;
	for (size_t i = 0; i < versions->count; i++) {
		const char *target = text(x, "%s/%s/%s", versions->list[i],
					  kernel, x->arch);
		const char *dir = text(x, "%s/%s", x->entry, target);

		if (!is_in_place(x, kernel, dir))
			continue;
		err = link_point(link, target);
		if (err) {
			why = trouble_of(x, err, link, &next);
			say(x, "kernel %s: %s. Next: %s", kernel, why, next);
		}
		return;
	}
}

void mend(struct transaction *x)
{
	struct words versions = entries_of(x, x->entry);

	for (size_t i = 0; i < versions.count; i++) {
		const char *version = versions.list[i];
		struct words kernels;

		if (is_link(text(x, "%s/%s", x->entry, version)))
			continue;
		kernels = entries_of(x, text(x, "%s/%s", x->entry, version));
		for (size_t k = 0; k < kernels.count; k++)
			mend_kept(x, version, kernels.list[k]);
		words_free(&kernels);
	}
	for (size_t i = 0; i < x->kernels.count; i++)
		mend_link(x, &versions, x->kernels.list[i]);
	words_free(&versions);
}
