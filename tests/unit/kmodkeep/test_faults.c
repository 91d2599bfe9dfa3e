// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each call of the package engine that changes the disk fails in turn, or is the
 * last one: no kernel has less of a driver than before, and the next run mends
 * all. The calls are wrapped by the linker; dkms is a function of this file, so a
 * run takes milliseconds. See test_package.py for dkms's own failures.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard/base/lock.h"
#include "guard/base/run.h"
#include "kmodkeep/package/tree.h"
#include "kmodkeep/package/verbs.h"

#define DKMS "/var/lib/dkms/sample"
/* How the engine's process ended. */
#define KILLED 77
#define MORE 50

/* Many short processes are forked off it: less to copy for each. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=1";
}

static struct {
	enum { NONE, KILL, FULL, READ_ONLY } how;
	int at, count;	/* the call from which on it is so; calls so far */
	bool off;	/* within dkms, and within the test */
	bool install_fails;
} fault = { .off = true };

static const char *host;	/* the host in a folder */
static char arch[65];

/* creates: does the call need room? */
static bool fails(bool creates)
{
	if (fault.off || fault.how == NONE)
		return false;
	if (fault.count++ < fault.at)
		return false;
	if (fault.how == KILL)
		_exit(KILLED);
	if (fault.how == FULL && !creates)
		return false;
	errno = fault.how == FULL ? ENOSPC : EROFS;
	return true;
}

#define WRAP(name, creates, params, args)				\
	int __real_##name params;					\
	int __wrap_##name params;					\
	int __wrap_##name params					\
	{								\
		return fails(creates) ? -1 : __real_##name args;	\
	}
WRAP(mkdir, true, (const char *path, mode_t mode), (path, mode))
WRAP(rename, true, (const char *a, const char *b), (a, b))
WRAP(link, true, (const char *a, const char *b), (a, b))
WRAP(symlink, true, (const char *a, const char *b), (a, b))
WRAP(unlink, false, (const char *path), (path))
WRAP(rmdir, false, (const char *path), (path))

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode)
{
	if (flags & O_CREAT && fails(true))
		return -1;
	return __real_open64(path, flags, mode);
}

/* --- dkms */

static char *at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A path of the host, from a ring of buffers. */
static char *at(const char *fmt, ...)
{
	static char ring[16][512];
	static int next;
	char *p = ring[next++ % 16];
	va_list ap;
	int n = snprintf(p, 512, "%s", host);

	va_start(ap, fmt);
	vsnprintf(p + n, 512 - n, fmt, ap);
	va_end(ap);
	return p;
}

static void module_of(const char *version, struct buf *out)
{
	char info[256];
	int n = snprintf(info, sizeof(info), "name=sample%cversion=%s%c"
			 "vermagic=" KERNEL " SMP ", 0, version, 0);

	make_elf(out, true, false, info, n + 1);
}

static void put_module(const char *path, const char *version)
{
	struct buf b;

	module_of(version, &b);
	put_file("", path, b.data, b.len);
	buf_free(&b);
}

static const char *option(char *const argv[], const char *name)
{
	for (; *argv; argv++)
		if (!strcmp(*argv, name))
			return argv[1];
	return NULL;
}

static void done(int err)
{
	/* A failed assertion of the engine's process would go on in the test. */
	if (err) {
		printf("the test's dkms: %s\n", strerror(-err));
		fflush(stdout);
		_exit(98);
	}
}

static int dkms(char *const argv[])
{
	const char *verb = argv[1], *v = option(argv, "-v");
	const char *entry = at(DKMS "/%s", v);
	const char *link = at(DKMS "/kernel-" KERNEL "-%s", arch);
	const char *file = at("/lib/modules/" KERNEL "/updates/dkms/sample.ko");
	char target[128] = "";

	if (!strcmp(verb, "add")) {
		done(tree_make(entry));
		done(link_point(at(DKMS "/%s/source", v),
				at("/usr/src/sample-%s", v)));
	} else if (!strcmp(verb, "build")) {
		put_module(at("%s/sample/%s/" KERNEL "/%s/module/sample.ko",
			      option(argv, "--dkmstree") + strlen(host), v,
			      arch), v);
	} else if (!strcmp(verb, "install") && fault.install_fails) {
		/* As where depmod fails. */
		unlink(file);
		unlink(link);
		return 6;
	} else if (!strcmp(verb, "install")) {
		done(file_put(at(DKMS "/%s/" KERNEL "/%s/module/sample.ko", v,
				 arch), file));
		snprintf(target, sizeof(target), "%s/" KERNEL "/%s", v, arch);
		done(link_point(link, target));
	} else {
		done(strcmp(verb, "remove") ? -ENOSYS : 0);
		if (readlink(link, target, sizeof(target) - 1) > 0 &&
		    !strncmp(target, v, strlen(v))) {
			unlink(link);
			unlink(file);
		}
		done(tree_remove(entry));
	}
	return 0;
}

int __wrap_run_program_as(char *const argv[], const struct run_how *how,
			  struct run_result *out);
int __wrap_run_program_as(char *const argv[], const struct run_how *how,
			  struct run_result *out)
{
	(void)how;
	memset(out, 0, sizeof(*out));
	fault.off = true;
	out->exit_code = dkms(argv);
	fault.off = false;
	return 0;
}

/* PRE_INSTALL, of which there is none. */
int __wrap_run_output(char *const argv[], unsigned int seconds, size_t max,
		      struct buf *out);
int __wrap_run_output(char *const argv[], unsigned int seconds, size_t max,
		      struct buf *out)
{
	(void)argv;
	(void)seconds;
	(void)max;
	memset(out, 0, sizeof(*out));
	return 0;
}

/* --- the host */

static void make_host(char *template)
{
	struct utsname uts;

	uname(&uts);
	snprintf(arch, sizeof(arch), "%s", uts.machine);
	host = template;
	put_text(template, "/lib/modules/" KERNEL "/kernel/x", "");
	put_text(template, "/lib/modules/" KERNEL "/build/include/x", "");
	put_text(template, "/run/kmodkeep/x", "");
	put_text(template, "/var/lib/x", "");
	put_text(template, "/usr/src/sample-1.0/dkms.conf", "1");
	put_text(template, "/usr/src/sample-2.0/dkms.conf", "2");
}

static int call_engine(const char *version)
{
	char *argv[] = { (char *)"package", (char *)"configure",
			 (char *)"sample", (char *)version, (char *)"--root",
			 (char *)host, NULL };
	int code;

	optind = 0;
	fault.count = 0;
	fault.off = false;
	code = verb_package(6, argv);
	fault.off = true;
	fflush(stdout);
	return code;
}

/* Lets what is printed go to the host's "said". */
static void hear(void)
{
	int fd = open(at("/said"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	fflush(stdout);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(99);
	close(fd);
}

/* The engine in a process of its own, which a fault may end. */
static int engine(const char *version)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		hear();
		status = call_engine(version);
		/* Some call was reached: there are more to try. */
		if (!status && fault.how && fault.count > fault.at)
			status = MORE;
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The next run, without faults. */
static int engine_again(const char *version)
{
	int out = dup(1), err = dup(2), code;

	fault.how = NONE;
	fault.install_fails = false;
	hear();
	code = call_engine(version);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	return code;
}

static bool is_version(const char *path, const char *version)
{
	struct buf have, want;
	bool is;

	if (file_read(path, 1 << 20, &have))
		return false;
	module_of(version, &want);
	is = have.len == want.len && !memcmp(have.data, want.data, want.len);
	buf_free(&have);
	buf_free(&want);
	return is;
}

static bool is_either(const char *path)
{
	return is_version(path, "1.0") || is_version(path, "2.0");
}

static void print_said(const char *what)
{
	struct buf b = { 0 };

	if (!file_read(at("/said"), 1 << 20, &b))
		print_error("%s, fault %d at %d:\n%.*s\n", what, fault.how,
			    fault.at, (int)b.len, (char *)b.data);
	buf_free(&b);
}

#define MUST(condition) do {						\
	if (!(condition)) {						\
		print_said(#condition);					\
		fail();							\
	}								\
} while (0)

static void check_nothing_less(const char *version)
{
	const char *file = at("/lib/modules/" KERNEL "/updates/dkms/sample.ko");
	const char *link = at(DKMS "/kernel-" KERNEL "-%s/module/sample.ko", arch);
	bool both = is_either(file) && is_either(link);

	/* dkms took both away, and what puts them back is what a fault hit. */
	if (fault.install_fails)
		MUST(both || is_version(at(DKMS "/1.0/" KERNEL "/%s%s/module/"
					   "sample.ko", strcmp(version, "1.0") ?
					   "" : ".kept-", arch), "1.0") ||
		     is_version(at(DKMS "/1.0/" KERNEL "/%s/module/sample.ko",
				   arch), "1.0"));
	else
		MUST(both);
	for (int v = 1; v <= 2; v++) {
		struct stat st;

		if (!lstat(at(DKMS "/%d.0/source", v), &st))
			MUST(path_exists(at(DKMS "/%d.0/source/dkms.conf", v)));
	}
}

static int entries;

static int look_at(const char *path, const struct stat *st, int type,
		   struct FTW *where)
{
	const char *name = path + where->base;
	size_t len = strlen(name);

	(void)st;
	(void)type;
	if (strstr(name, "kept") || strstr(name, "staged") ||
	    !strcmp(name, "stage") || !strcmp(name, "log") ||
	    (len > 4 && !strcmp(name + len - 4, ".new"))) {
		print_error("left over: %s\n", path);
		return 1;
	}
	entries += strstr(path, DKMS "/") && !strchr(strstr(path, DKMS "/") +
						     strlen(DKMS "/"), '/');
	return 0;
}

static void check_all_done(const char *version)
{
	MUST(is_version(at("/lib/modules/" KERNEL "/updates/dkms/sample.ko"),
			version));
	MUST(is_version(at(DKMS "/kernel-" KERNEL "-%s/module/sample.ko", arch),
			version));
	entries = 0;
	MUST(nftw(host, look_at, 16, FTW_PHYS) == 0);
	/* Of dkms: the version, and the link of the kernel. */
	MUST(entries == 2);
	MUST(!path_exists(at("/var/lib/kmodkeep/dkms")));
}

static void check_line(void)
{
	struct buf b = { 0 };
	const char *errno_text = strerror(fault.how == FULL ? ENOSPC : EROFS);

	MUST(!file_read(at("/said"), 1 << 20, &b));
	/* Done all the same, or the reason and the next step. */
	MUST(memmem(b.data, b.len, errno_text, strlen(errno_text)) ||
	     memmem(b.data, b.len, "installed in place of", 21) ||
	     fault.install_fails);
	if (memmem(b.data, b.len, "FAILED", 6) && !fault.install_fails)
		MUST(memmem(b.data, b.len, "stays installed and loadable. ", 30) &&
		     memmem(b.data, b.len, "Next: ", 6));
	buf_free(&b);
}

/* From 1.0 to version, with each fault at each call. */
static void try_all(const char *version, bool install_fails)
{
	char *top = make_tree(), *template = NULL, *copy = NULL;

	memset(&fault, 0, sizeof(fault));
	fault.off = true;
	assert_true(asprintf(&template, "%s/template", top) > 0);
	assert_true(asprintf(&copy, "%s/host", top) > 0);
	setenv("DPKG_MAINTSCRIPT_PACKAGE", "sample-dkms", 1);
	/* Links have the host's name in them: it always has the same one. */
	make_host(copy);
	MUST(engine("1.0") == 0);
	check_all_done("1.0");
	if (!strcmp(version, "2.0")) {
		assert_int_equal(rename(at("/usr/src/sample-1.0"),
					at(DKMS "/1.0/kept-source")), 0);
		assert_int_equal(link_point(at(DKMS "/1.0/source"),
					    "kept-source"), 0);
	}
	assert_int_equal(rename(copy, template), 0);
	for (int how = KILL; how <= READ_ONLY; how++) {
		int n = 0, code;

		do {
			assert_int_equal(tree_remove(copy), 0);
			assert_int_equal(tree_link(template, copy), 0);
			unlink(at("/said"));
			fault.how = how;
			fault.at = n;
			/* What fails from a call on, fails from the next on. */
			n += how == KILL || getenv("FULL") ? 1 : 3;
			fault.install_fails = install_fails;
			code = engine(version);
			MUST(code == 0 || code == MORE || code == KILLED);
			check_nothing_less(version);
			if (code == MORE)
				check_line();
			MUST(engine_again(version) == 0);
			check_all_done(version);
		} while (code);
		assert_true(n > 20);
	}
	free(template);
	free(copy);
	remove_tree(top);
}

static void faults_of_a_reinstallation(void **state)
{
	(void)state;
	try_all("1.0", false);
}

static void faults_of_an_upgrade(void **state)
{
	(void)state;
	try_all("2.0", false);
}

static void faults_while_a_module_is_put_back(void **state)
{
	(void)state;
	try_all("1.0", true);
	try_all("2.0", true);
}

/* --- waits have a bound */

static void lock_is_waited_for_so_long(void **state)
{
	char *tree = make_tree(), *path = NULL;
	struct stat st;
	int first, fd;

	(void)state;
	fault.off = true;
	assert_true(asprintf(&path, "%s/dir/lock", tree) > 0);
	first = lock_take(path, 0);
	assert_true(first >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(lock_take(path, 1), -ETIMEDOUT);
	close(first);
	fd = lock_take(path, 0);
	assert_true(fd >= 0);
	close(fd);
	/* What others could change is not used. */
	assert_int_equal(chmod(path, 0644), 0);
	fd = lock_take(path, 0);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_true(lock_take(path, 0) < 0);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(chmod(path, 0777), 0);
	*(path + strlen(path)) = '/';
	assert_int_equal(lock_take(path, 0), -EPERM);
	free(path);
	remove_tree(tree);
}

int __real_run_output(char *const argv[], unsigned int seconds, size_t max,
		      struct buf *out);

static void program_that_does_not_end(void **state)
{
	char *const silent[] = { (char *)"sleep", (char *)"100", NULL };
	char *const closed[] = { (char *)"sh", (char *)"-c",
				 (char *)"echo x; exec >&- 2>&-; sleep 100",
				 NULL };
	char *const child[] = { (char *)"sh", (char *)"-c",
				(char *)"sleep 100 & echo x; exit 0", NULL };
	char *const good[] = { (char *)"echo", (char *)"x", NULL };
	struct buf out;

	(void)state;
	assert_int_equal(__real_run_output(silent, 1, 100, &out), -ETIMEDOUT);
	assert_int_equal(__real_run_output(closed, 1, 100, &out), -ETIMEDOUT);
	assert_int_equal(__real_run_output(child, 1, 100, &out), -ETIMEDOUT);
	assert_int_equal(__real_run_output(good, 60, 100, &out), 0);
	assert_int_equal(out.len, 2);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_of_a_reinstallation),
		cmocka_unit_test(faults_of_an_upgrade),
		cmocka_unit_test(faults_while_a_module_is_put_back),
		cmocka_unit_test(lock_is_waited_for_so_long),
		cmocka_unit_test(program_that_does_not_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
