// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Builds the new version for one kernel in a dkms tree of its own, and looks at
 * the result before anything that is installed changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/module/modfile.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"

#define LOG_MAX (64u << 20)
#define HOOK_SECONDS 1800

/* As a shell would find it, for dkms's scripts to start. */
static bool has_command(struct transaction *x, const char *name)
{
	const char *path = getenv("PATH");
	char *copy = text(x, "%s", path ? path : "/usr/bin:/bin"), *dir;

	while ((dir = strsep(&copy, ":")))
		if (access(text(x, "%s/%s", *dir ? dir : ".", name), X_OK) == 0)
			return true;
	return false;
}

/*
 * The compiler that dkms takes for the kernel: the kernel's own if it is there,
 * which is what its headers ask for, else gcc.
 */
static const char *kernel_compiler(struct transaction *x, const char *kernel)
{
	char *is = host_kernel_config(x->h, kernel, "CONFIG_CC_VERSION_TEXT");
	const char *own;

	if (is)
		is[strcspn(is, " ")] = '\0';
	own = is && *is && has_command(x, is) ? text(x, "%s", is) : "gcc";
	free(is);
	return own;
}

static void append_file(int to, const char *path)
{
	struct buf b = { 0 };
	const unsigned char *p;
	size_t left;

	if (to < 0 || file_read(path, LOG_MAX, &b))
		return;
	for (p = b.data, left = b.len; left;) {
		ssize_t n = write(to, p, left);

		if (n < 0 && errno != EINTR)
			break;	/* a full disk is found out by others */
		p += n > 0 ? n : 0;
		left -= n > 0 ? n : 0;
	}
	buf_free(&b);
}

static bool file_has(const char *path, const char *words)
{
	struct buf b = { 0 };
	bool has = !file_read(path, LOG_MAX, &b) && b.len &&
		   memmem(b.data, b.len, words, strlen(words));

	buf_free(&b);
	return has;
}

/*
 * Did the build fail for the disk? What it wrote may be gone again, and with it
 * the lack of room: then a tool's message has stayed.
 */
static bool blame_disk(struct transaction *x, struct work *w,
		       const char *make_log)
{
	static const struct {
		int err;
		const char *said;
	} messages[] = {
		{ -ENOSPC, "No space left on device" },
		{ -EDQUOT, "Disk quota exceeded" },
		{ -EROFS, "Read-only file system" },
	};
	const char *tmp = getenv("TMPDIR");
	const char *const paths[] = {
		x->stage, x->tree, tmp ? tmp : "/tmp", NULL,
	};

	w->why = trouble_with_disk(x, &w->next, paths);
	for (size_t i = 0; !w->why && i < ARRAY_SIZE(messages); i++)
		if (file_has(w->log, messages[i].said) ||
		    file_has(make_log, messages[i].said)) {
			trouble_of(x, messages[i].err, x->state, &w->next);
			w->why = text(x, "the build could not write: %s",
				      messages[i].said);
		}
	return w->why != NULL;
}

static void explain_failure(struct transaction *x, struct work *w,
			    const struct run_result *run)
{
	const char *make_log = text(x, "%s/%s/%s/build/make.log", x->stage,
				    x->name, x->version);
	const char *compiler = kernel_compiler(x, w->kernel);
	const char *retry = x->manager->retry(x);

	append_file(w->log_fd, make_log);
	if (blame_disk(x, w, make_log))
		return;
	if (!has_command(x, "dkms")) {
		w->why = "dkms is not installed";
		w->next = text(x, "%s, then %s", x->manager->install(x, "dkms"),
			       retry);
	} else if (!has_command(x, "make")) {
		w->why = "make is not installed";
		w->next = text(x, "%s, then %s", x->manager->install(x, "make"),
			       retry);
	} else if (!has_command(x, compiler)) {
		w->why = text(x, "the compiler %s is not installed", compiler);
		w->next = text(x, "%s, then %s",
			       x->manager->install(x, compiler), retry);
	} else if (run->timed_out || run->signal) {
		w->why = run->timed_out ? "the build did not end in time" :
			 text(x, "the build was ended by signal %d",
			      run->signal);
		w->next = retry;
	} else {
		w->why = text(x, "the build failed (dkms exit code %d)",
			      run->exit_code);
		w->next = text(x, "report the log to the maintainers of %s, or "
			       "install a version that supports this kernel",
			       x->name);
	}
}

static bool open_log(struct transaction *x, struct work *w)
{
	const char *dir = text(x, "%s/log", x->state), *at = dir;
	int err = tree_make(dir);

	if (!err) {
		at = x->stage;
		err = tree_make(x->stage);
	}
	if (!err) {
		at = w->log;
		w->log_fd = open(w->log, O_WRONLY | O_CREAT | O_TRUNC |
				 O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
		err = w->log_fd < 0 ? -errno : 0;
	}
	if (err)
		w->why = trouble_of(x, err, at, &w->next);
	return !err;
}

bool build(struct transaction *x, struct work *w)
{
	struct run_result run;

	if (!open_log(x, w))
		return false;
	run_dkms(x, w->log_fd, &run, "build", "--dkmstree", x->stage, "-m",
		 x->name, "-v", x->version, "-k", w->kernel, "-a", x->arch,
		 NULL);
	w->staged = text(x, "%s/%s/%s/%s/%s", x->stage, x->name, x->version,
			 w->kernel, x->arch);
	if (run.exit_code == 0)
		return true;
	if (run.exit_code == 9 || run.exit_code == 77)	/* 9: dkms 2.8 */
		w->excluded = true;
	else
		explain_failure(x, w, &run);
	return false;
}

/* The release that a module file was built for; "nothing" if it is none. */
static const char *made_for(struct transaction *x, const char *file)
{
	struct modinfo info = { 0 };
	struct modfile m = { 0 };
	char *release = NULL;
	const char *kept;
	int err = modfile_read(file, &m);

	if (!err && !modinfo_read(m.bytes.data, m.bytes.len, &info)) {
		release = modinfo_release(&info);
		modinfo_free(&info);
	}
	if (!err)
		modfile_free(&m);
	kept = text(x, "%s", release ? release : "nothing");
	free(release);
	return kept;
}

/*
 * PRE_INSTALL of dkms.conf, read by the shell that dkms reads it with. What that
 * file runs it runs in each call of dkms.
 */
static const char *pre_install_command(struct transaction *x, struct work *w)
{
	static const char ask[] =
		"kernelver=$2 arch=$3; . \"$1\" >/dev/null; "
		"printf '%s' \"${PRE_INSTALL-}\"";
	char *const argv[] = {
		(char *)"bash", (char *)"-c", (char *)ask, (char *)"bash",
		text(x, "%s/dkms.conf", x->source), (char *)w->kernel, x->arch,
		NULL,
	};
	struct buf out = { 0 };
	const char *command = "";

	if (!run_output(argv, 60, 65536, &out) && out.len)
		command = text(x, "%.*s", (int)out.len, (char *)out.data);
	buf_free(&out);
	return command;
}

/*
 * dkms 2.8 and 3.0 go on when POST_BUILD fails, and no version minds PRE_INSTALL
 * when it is forced to install: so it is asked here, before anything changes.
 */
static bool ask_pre_install(struct transaction *x, struct work *w)
{
	char *command = text(x, "%s", pre_install_command(x, w)), *word;
	const char *dir = text(x, "%s/%s/%s/source", x->stage, x->name,
			       x->version);
	const struct run_how how = {
		.seconds = HOOK_SECONDS, .log_fd = w->log_fd,
		.keep_fd = x->lock, .dir = dir, .callers_environment = true,
	};
	struct words argv = { 0 };
	struct run_result run;
	int err;

	/* Words, as dkms takes it. */
	while ((word = strsep(&command, " \t\n")))
		if (*word)
			words_add(&argv, argv.count ? word :
				  text(x, "%s/%s", dir, word));
	if (!argv.count)
		return true;
	words_add(&argv, NULL);
	err = run_program_as(argv.list, &how, &run);
	words_free(&argv);
	if (!err && run.exit_code == 0)
		return true;
	w->why = text(x, "what was built would not load: %s",
		      err ? strerror(-err) :
		      run.timed_out ? "PRE_INSTALL did not end in time" :
		      *run.last_line ? run.last_line : "PRE_INSTALL failed");
	return false;
}

/*
 * PRE_INSTALL accepts what loads once a key is enrolled. Not in place of what
 * loads today.
 */
static bool loads_where_the_old_does(struct transaction *x, struct work *w,
				     const struct words *files)
{
	for (size_t i = 0; i < files->count; i++) {
		const char *there = module_file(x, w->kernel,
						base_name(files->list[i]));
		const char *line;
		int code = EXIT_NO;

		if (there)
			verify_line(x, w->kernel, there, &code);
		if (code != EXIT_YES)
			continue;
		line = verify_line(x, w->kernel, files->list[i], &code);
		dprintf(w->log_fd, "%s: %s\n", files->list[i], line);
		if (code == EXIT_NO) {
			w->why = text(x, "what was built would not load, unlike "
				      "what is there: %s", line);
			return false;
		}
	}
	return true;
}

bool check(struct transaction *x, struct work *w)
{
	struct words files = built_modules(x, w->staged);
	bool good = files.count > 0;

	w->why = "dkms built no module";
	w->next = text(x, "see the log, then %s", x->manager->retry(x));
	for (size_t i = 0; i < files.count && good; i++) {
		const char *release = made_for(x, files.list[i]);

		good = !strcmp(release, w->kernel);
		if (good)
			continue;
		w->why = text(x, "%s was built for %s",
			      base_name(files.list[i]), release);
		w->next = text(x, "%s, then %s",
			       x->manager->reinstall_headers(x, w->kernel),
			       x->manager->retry(x));
	}
	if (good) {
		w->next = text(x, "kmodkeep key status, then %s",
			       x->manager->retry(x));
		good = ask_pre_install(x, w) &&
		       loads_where_the_old_does(x, w, &files);
	}
	words_free(&files);
	return good;
}
