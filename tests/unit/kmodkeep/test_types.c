// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Folders of file systems that do not say what their entries are (XFS made without
 * ftype, some of the network): drivers in them are found all the same. The linker wraps
 * the call that reads them.
 */
#include "fixture.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/host/discover.h"
#include "guard/host/kernels.h"

struct dirent64 *__real_readdir64(DIR *d);
struct dirent64 *__wrap_readdir64(DIR *d);

static bool hides_types;

struct dirent64 *__wrap_readdir64(DIR *d)
{
	struct dirent64 *e = __real_readdir64(d);

	if (e && hides_types)
		e->d_type = DT_UNKNOWN;
	return e;
}

static void fail_on(void *arg, const char *message)
{
	(void)arg;
	fail_msg("%s", message);
}

static const char *const files[] = {
	"extra/plain.ko", "updates/dkms/below.ko", "vendor/a/b/deep.ko.xz",
	"kernel/nvidia-535/prebuilt.ko",
};
static const char *const found[] = { "below", "deep", "linked", "plain", "prebuilt" };

static void look(const char *tree)
{
	struct kernels k;
	struct drivers d = { 0 };
	struct host *h;

	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(kernels_read(h, &k), 0);
	assert_int_equal(k.count, 1);
	assert_int_equal(drivers_discover(h, &k, &d, fail_on, NULL), 0);
	for (size_t i = 0; i < d.count; i++)
		print_message("%s\n", d.list[i].name);
	assert_int_equal(d.count, ARRAY_SIZE(found));
	for (size_t i = 0; i < d.count; i++)
		assert_string_equal(d.list[i].name, found[i]);
	drivers_free(&d);
	kernels_free(&k);
	host_free(h);
}

static void drivers_where_folders_do_not_say(void **state)
{
	char *tree = make_tree(), *link, *to;

	(void)state;
	put_text(tree, "/boot/vmlinuz-" KERNEL, "x");
	put_text(tree, "/lib/modules/" KERNEL "/modules.order", "kernel/fs/own.ko\n");
	put_text(tree, "/lib/modules/" KERNEL "/kernel/fs/own.ko", "x");
	put_text(tree, "/lib/modules/" KERNEL "/build/scripts/no.ko", "x");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char *path = text_of("/lib/modules/" KERNEL "/%s", files[i]);

		put_text(tree, path, "x");
		free(path);
	}
	put_text(tree, "/opt/vendor/linked.ko", "x");
	to = text_of("%s/opt/vendor", tree);
	link = text_of("%s/lib/modules/" KERNEL "/away", tree);
	assert_int_equal(symlink(to, link), 0);
	hides_types = false;
	look(tree);
	hides_types = true;
	look(tree);
	hides_types = false;
	free(link);
	free(to);
	remove_tree(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drivers_where_folders_do_not_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
