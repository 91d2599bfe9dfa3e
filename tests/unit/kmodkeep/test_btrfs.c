// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The default subvolume, and whether the next boot takes the one that is mounted. The
 * linker wraps the call that asks the file system.
 */
#include "fixture.h"

#include <endian.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "guard/boot/root_fs.h"
#include "guard/host/btrfs.h"

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* What the file system answers: error, or this in its buffer. */
static int error;
static struct btrfs_ioctl_search_args answer;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct btrfs_ioctl_search_args *args;
	va_list ap;

	va_start(ap, request);
	args = va_arg(ap, void *);
	va_end(ap);
	if (request != BTRFS_IOC_TREE_SEARCH)
		return __real_ioctl(fd, request, args);
	assert_int_equal(args->key.tree_id, BTRFS_ROOT_TREE_OBJECTID);
	errno = error;
	if (error)
		return -1;
	*args = answer;
	return 0;
}

static size_t add_entry(char *at, const char *name, uint64_t id)
{
	struct btrfs_dir_item entry = {
		.location.objectid = htole64(id), .name_len = htole16(strlen(name)),
	};

	memcpy(at, &entry, sizeof(entry));
	memcpy(at + sizeof(entry), name, strlen(name));
	return sizeof(entry) + strlen(name);
}

/* One item, with these entries; len of it is said to be that much longer. */
static void answers(const char *first, uint64_t first_id, const char *second, uint64_t id, int more)
{
	struct btrfs_ioctl_search_header head = {
		.objectid = BTRFS_ROOT_TREE_DIR_OBJECTID, .type = BTRFS_DIR_ITEM_KEY,
	};
	char *at = answer.buf + sizeof(head);

	memset(&answer, 0, sizeof(answer));
	error = 0;
	answer.key.nr_items = 1;
	at += add_entry(at, first, first_id);
	if (second)
		at += add_entry(at, second, id);
	head.len = at - answer.buf - sizeof(head) + more;
	memcpy(answer.buf, &head, sizeof(head));
}

static void default_subvolume(void **state)
{
	uint64_t id;

	(void)state;
	answers("default", 262, NULL, 0, 0);
	assert_int_equal(btrfs_default_subvolume("/", &id), 0);
	assert_int_equal(id, 262);
	answers("other", 7, "default", 300, 0);
	assert_int_equal(btrfs_default_subvolume("/", &id), 0);
	assert_int_equal(id, 300);
	answers("other", 7, NULL, 0, 0);
	assert_int_equal(btrfs_default_subvolume("/", &id), 0);
	assert_int_equal(id, BTRFS_FS_TREE_OBJECTID);
	answer.key.nr_items = 0;
	assert_int_equal(btrfs_default_subvolume("/", &id), 0);
	assert_int_equal(id, BTRFS_FS_TREE_OBJECTID);
}

static void answer_that_is_damaged(void **state)
{
	uint64_t id;

	(void)state;
	answers("default", 262, NULL, 0, sizeof(answer.buf));
	assert_int_equal(btrfs_default_subvolume("/", &id), -EBADMSG);
	answers("x", 7, NULL, 0, 0);
	answer.key.nr_items = 500;
	assert_int_equal(btrfs_default_subvolume("/", &id), -EBADMSG);
	/* A name that is longer than its item. */
	answers("x", 7, "default", 262, -1);
	assert_int_equal(btrfs_default_subvolume("/", &id), -EBADMSG);
	for (error = 1; error < 3; error++)
		assert_int_equal(btrfs_default_subvolume("/", &id), -error);
	error = 0;
	assert_int_equal(btrfs_default_subvolume("/no-such-folder", &id), -ENOENT);
}

static const char *look(const char *tree, const char *line, struct next_boot *out)
{
	struct host *h;

	memset(out, 0, sizeof(*out));
	out->kernel = strdup("6.1.0");
	out->cmdline = strdup(line);
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(root_fs_look(h, out), 0);
	host_free(h);
	return out->kernel;
}

static void next_boot_takes_the_default_subvolume(void **state)
{
	char *tree = make_tree();
	struct next_boot next;

	(void)state;
	put_text(tree, "/etc/kmodkeep-test-root", "");
	put_text(tree, "/proc/self/mountinfo", "22 1 0:30 /@/.snapshots/1/snapshot / rw - btrfs "
		       "/dev/sda2 rw,subvolid=262,subvol=/@/.snapshots/1/snapshot\n");
	answers("default", 262, NULL, 0, 0);
	assert_non_null(look(tree, "root=UUID=x splash", &next));
	next_boot_free(&next);
	/* transactional-update made the next snapshot the default. */
	answers("default", 263, NULL, 0, 0);
	assert_null(look(tree, "root=UUID=x splash", &next));
	assert_non_null(strstr(next.why, "transactional-update"));
	next_boot_free(&next);
	/* Named, it is what the entry says. */
	assert_non_null(look(tree, "rootflags=subvol=@/.snapshots/1/snapshot", &next));
	next_boot_free(&next);
	error = EPERM;
	assert_null(look(tree, "root=UUID=x", &next));
	assert_non_null(strstr(next.why, "ask again as root"));
	next_boot_free(&next);
	remove_tree(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_subvolume),
		cmocka_unit_test(answer_that_is_damaged),
		cmocka_unit_test(next_boot_takes_the_default_subvolume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
