/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the maintainer scripts of a DKMS package do, so that no kernel ever has
 * less of a driver than it had before.
 *
 *   configure   postinst configure, abort-remove; %posttrans: put VERSION in place
 *   restore     postinst abort-upgrade: link to the package's sources again
 *   remove      prerm remove, %preun: unload, and remove every version of it
 *
 * and, before an upgrade is unpacked, keep_source (system/dkms-keep-source.sh).
 * prerm does nothing on an upgrade: the old version stays until the new one is
 * there.
 *
 * For each kernel on its own:
 *   build    in a dkms tree beside dkms's own: what is registered stays untouched
 *   check    the result, as dkms would before it installs
 *   switch   move it into dkms's tree ("built"; the old version is still the
 *            installed one), then let dkms install it over the old one
 * A kernel where any of these fails keeps its module, registered and loadable.
 * What a run leaves that was interrupted, at any step, is repaired by the next
 * one: dpkg --configure -a, dnf reinstall.
 *
 * An old version stays registered, with the copy of its source that keep_source
 * made, until no kernel uses it. dkms builds the newest registered version for
 * each new kernel, and that must be the package's, and one that builds: so a new
 * version that serves no kernel, and failed on one, is not registered, and one
 * that is kept after a downgrade is not built again.
 *
 * Nothing here makes the package manager fail because of a kernel: each gets one
 * line that says what it has now and what to do next.
 */
#ifndef KMODKEEP_PACKAGE_TRANSACTION_H
#define KMODKEEP_PACKAGE_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/base/run.h"
#include "guard/host/host.h"
#include "guard/trust/trust.h"

struct manager;

struct words {
	char **list;
	size_t count;
};

struct transaction {
	const struct host *h;
	struct trust *t;	/* made when it is first asked for */
	const struct manager *manager;
	const char *name, *version;
	const char *package;	/* as the package manager calls it */
	char *tree;		/* dkms's */
	char *entry;		/* in it: /VERSION/KERNEL/ARCH, and the links
				 * /kernel-KERNEL-ARCH to what is installed */
	char *source;		/* of VERSION */
	char *state, *stage;	/* ours; a dkms tree of its own */
	char *modules;		/* the directory of all kernels' modules */
	char arch[65];		/* as dkms names it */
	struct words kernels;	/* installed, or with headers */
	bool served, failed;	/* some kernel was, or failed */
	int lock;		/* held as long as a dkms of ours runs; or -1 */
	struct texts *texts;
};

/* The work for one kernel. Texts belong to the transaction. */
struct work {
	const char *kernel;
	const char *had;	/* the version that was installed; NULL: none */
	const char *log;
	int log_fd;		/* -1: it could not be opened */
	const char *staged;	/* what was built */
	const char *link;	/* leads to what is installed */
	const char *new;	/* where the new build goes */
	const char *old;	/* what was installed; NULL: nothing */
	struct words old_files;	/* ... and where its files are */
	bool excluded;		/* by BUILD_EXCLUSIVE */
	bool lost;		/* what it had could not be put back */
	const char *why, *next;
};

/* 0, or -errno with a line said. */
int transaction_open(const struct host *h, const struct manager *manager,
		     const char *name, const char *version, struct transaction *x);
void transaction_close(struct transaction *x);

/* One line for the administrator, "NAME VERSION: ...". */
void say(const struct transaction *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * Formatted text that lives as long as the transaction. Without memory the
 * process ends: to the next run that is as if it had been killed.
 */
char *text(struct transaction *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void words_add(struct words *w, char *word);
void words_free(struct words *w);
/* The entries of a directory in order; for one that is not there, none. */
struct words entries_of(struct transaction *x, const char *dir);

/* What there is (have.c). */
const char *installed_version(struct transaction *x, const char *kernel);
bool in_use(struct transaction *x, const char *version);
/* The package's, now or before; not what the administrator registered. */
bool is_ours(struct transaction *x, const char *version);
/* Where the kernel has the module file of that name; NULL: nowhere. */
const char *module_file(struct transaction *x, const char *kernel,
			const char *name);
/* The module files below DIR/module; full paths. */
struct words built_modules(struct transaction *x, const char *dir);
/* The canonical path, "" if it leads to nothing. */
const char *real_path(struct transaction *x, const char *path);
const char *base_name(const char *path);
/* VERDICT: WHY[. Next: ...]; *code is the verdict's exit code. */
const char *verify_line(struct transaction *x, const char *kernel,
			const char *file, int *code);
/*
 * Why something could not be written below one of these (NULL at the end): no
 * space, no inodes, read-only. NULL: it is none of these. *next: what to do.
 */
const char *trouble_with_disk(struct transaction *x, const char **next,
			      const char *const *paths);
/* The same from an error number. */
const char *trouble_of(struct transaction *x, int err, const char *path,
		       const char **next);

/* dkms's entries (entries.c). */
int run_dkms(struct transaction *x, int log_fd, struct run_result *run,
	     const char *verb, ...) __attribute__((sentinel));
void register_version(struct transaction *x);
void tidy(struct transaction *x);
bool older_in_use(struct transaction *x);
/* Removes a version from dkms, from all kernels; option may be NULL. */
void forget(struct transaction *x, const char *version, const char *option);

/* One kernel (build.c, switch.c). */
bool build(struct transaction *x, struct work *w);
bool check(struct transaction *x, struct work *w);
bool switch_over(struct transaction *x, struct work *w);
/* Repairs what an interrupted run left behind. */
void mend(struct transaction *x);

/* What runs now (loaded.c). */
void unload(struct transaction *x);
void note_loaded(struct transaction *x);
void try_out(struct transaction *x);

#endif
