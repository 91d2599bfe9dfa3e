// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The default subvolume of a btrfs is an entry named "default" in a directory of its tree
 * of roots. It is asked for as btrfs-progs do, which need not be installed.
 */
#include "guard/host/btrfs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char name[] = { 'd', 'e', 'f', 'a', 'u', 'l', 't' };

/* Entries whose names have the same hash are in one item. 1: *id is set, 0, -EBADMSG. */
static int take_item(const char *item, size_t len, uint64_t *id)
{
	struct btrfs_dir_item entry;

	while (len >= sizeof(entry)) {
		size_t size;

		memcpy(&entry, item, sizeof(entry));
		size = sizeof(entry) + le16toh(entry.name_len) + le16toh(entry.data_len);
		if (size > len)
			return -EBADMSG;
		if (le16toh(entry.name_len) == sizeof(name) &&
		    !memcmp(item + sizeof(entry), name, sizeof(name))) {
			*id = le64toh(entry.location.objectid);
			return 1;
		}
		item += size;
		len -= size;
	}
	return 0;
}

/* Without such an entry it is the top. */
static int take_answer(const struct btrfs_ioctl_search_args *args, uint64_t *id)
{
	const char *at = args->buf, *end = args->buf + sizeof(args->buf);
	struct btrfs_ioctl_search_header head;
	int found = 0;

	*id = BTRFS_FS_TREE_OBJECTID;
	for (uint32_t i = 0; i < args->key.nr_items && !found; i++) {
		if ((size_t)(end - at) < sizeof(head))
			return -EBADMSG;
		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		if ((size_t)(end - at) < head.len)
			return -EBADMSG;
		if (head.objectid == BTRFS_ROOT_TREE_DIR_OBJECTID &&
		    head.type == BTRFS_DIR_ITEM_KEY)
			found = take_item(at, head.len, id);
		at += head.len;
	}
	return found < 0 ? found : 0;
}

int btrfs_default_subvolume(const char *path, uint64_t *id)
{
	struct btrfs_ioctl_search_args args = {
		.key = {
			.tree_id = BTRFS_ROOT_TREE_OBJECTID,
			.min_objectid = BTRFS_ROOT_TREE_DIR_OBJECTID,
			.max_objectid = BTRFS_ROOT_TREE_DIR_OBJECTID,
			.min_type = BTRFS_DIR_ITEM_KEY, .max_type = BTRFS_DIR_ITEM_KEY,
			.max_offset = UINT64_MAX, .max_transid = UINT64_MAX, .nr_items = 16,
		},
	};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args))
		err = -errno;
	close(fd);
	return err ? err : take_answer(&args, id);
}
