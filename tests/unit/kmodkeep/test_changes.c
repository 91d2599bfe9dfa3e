// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A host that changes while it is looked at: a module that is written, a kernel that is
 * removed. What was seen in parts is never "safe". The linker wraps read(), so that the
 * change comes between two of them.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/module/modfile.h"
#include "guard/verdict/doctor.h"
#include "guard/verdict/safety.h"

#define MODULES "/lib/modules/" KERNEL
#define MODULE MODULES "/updates/dkms/sample.ko"

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);

/* The file whose first read is followed by a change; NULL: no change. */
static const char *watched;
static void (*change)(const char *path);

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	ssize_t got = __real_read(fd, buf, n);
	struct stat a, b;

	if (watched && !fstat(fd, &a) && !stat(watched, &b) && a.st_ino == b.st_ino) {
		const char *path = watched;

		watched = NULL;
		change(path);
	}
	return got;
}

static void put_module(const char *tree)
{
	struct buf b;

	make_module(&b);
	put_file(tree, MODULE, b.data, b.len);
	buf_free(&b);
}

/* One kernel, without an initramfs, and one driver; GRUB boots it. */
static char *make_host(void)
{
	char *tree = make_tree(), command[4200];

	put_text(tree, "/proc/sys/kernel/osrelease", KERNEL "\n");
	put_text(tree, "/boot/vmlinuz-" KERNEL, "kernel");
	put_text(tree, "/boot/grub/grub.cfg",
		 "menuentry 'one' {\nlinux /boot/vmlinuz-" KERNEL " ro\n}\n");
	put_text(tree, "/boot/config-" KERNEL, "CONFIG_MODULES=y\n");
	put_text(tree, MODULES "/modules.order", "");
	put_text(tree, MODULES "/modules.builtin", "");
	put_text(tree, MODULES "/modules.builtin.modinfo", "");
	put_module(tree);
	snprintf(command, sizeof(command), "depmod -b %s " KERNEL, tree);
	assert_int_equal(system(command), 0);
	return tree;
}

static void fail_on(void *arg, const char *message)
{
	(void)arg;
	fail_msg("%s", message);
}

static char *below(const char *tree, const char *path)
{
	char *file = text_of("%s%s", tree, path);

	assert_non_null(file);
	return file;
}

/* The answer, if this is done after the kernels were listed. */
static enum answer answer_after(const char *tree, void (*act)(const char *tree))
{
	struct safety s;
	struct doctor *d;
	enum answer safe;

	assert_int_equal(doctor_new(tree, fail_on, NULL, &d), 0);
	assert_int_equal(d->drivers.count, 1);
	act(tree);
	assert_int_equal(safety_judge(d, &s), 0);
	print_message("%s\n", s.line);
	safe = s.safe;
	safety_free(&s);
	doctor_free(d);
	return safe;
}

static void nothing(const char *tree)
{
	(void)tree;
}

static void remove_below(const char *tree, const char *what)
{
	char command[4200];

	snprintf(command, sizeof(command), "rm -r %s%s", tree, what);
	assert_int_equal(system(command), 0);
}

static void remove_module(const char *tree)
{
	remove_below(tree, MODULE);
}

static void remove_modules(const char *tree)
{
	remove_below(tree, MODULES);
}

static void remove_image(const char *tree)
{
	remove_below(tree, "/boot/vmlinuz-" KERNEL);
}

static void kernel_that_is_removed(void **state)
{
	static void (*const acts[])(const char *) = { remove_module, remove_modules, remove_image };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		char *tree = make_host();

		assert_int_equal(answer_after(tree, nothing), ANSWER_YES);
		assert_int_not_equal(answer_after(tree, acts[i]), ANSWER_YES);
		remove_tree(tree);
	}
}

/* As long as it was, so that only its times tell. */
static void overwrite(const char *path)
{
	struct buf b;
	FILE *f;

	assert_int_equal(file_read(path, 1 << 20, &b), 0);
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
	assert_int_equal(fclose(f), 0);
	buf_free(&b);
}

static void grow(const char *path)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	assert_true(fputs("more", f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void replace(const char *path)
{
	struct buf b;

	assert_int_equal(file_read(path, 1 << 20, &b), 0);
	assert_int_equal(file_replace(path, b.data, b.len, 0644), 0);
	buf_free(&b);
}

static void take_away(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void (*const changes[])(const char *) = { overwrite, grow, replace, take_away };

/* Long ago, so that a change of now has another time on every file system. */
static void make_old(const char *path)
{
	const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void module_that_changes(void **state)
{
	char *tree = make_host(), *path = below(tree, MODULE);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct modfile m;

		put_module(tree);
		make_old(path);
		assert_int_equal(modfile_read(path, &m), 0);
		modfile_free(&m);
		change = changes[i];
		watched = path;
		assert_int_equal(modfile_read(path, &m), -EAGAIN);
		assert_null(watched);
	}
	free(path);
	remove_tree(tree);
}

static void watch(const char *tree)
{
	static char path[4200];

	snprintf(path, sizeof(path), "%s" MODULE, tree);
	make_old(path);
	watched = path;
}

static void answer_on_a_module_that_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		char *tree = make_host();

		change = changes[i];
		assert_int_not_equal(answer_after(tree, watch), ANSWER_YES);
		assert_null(watched);
		remove_tree(tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_that_is_removed),
		cmocka_unit_test(module_that_changes),
		cmocka_unit_test(answer_on_a_module_that_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
