// SPDX-License-Identifier: GPL-2.0-or-later
/* The root file system in mountinfo, and the devices above its disk in sysfs. */
#include "guard/host/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define MOUNTS_MAX (1u << 20)
#define NAMES_MAX 256
/* Of disks on disks: encryption on volumes on RAID on partitions. */
#define DEPTH_MAX 8

static bool same(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return !*a && !*b;
}

bool rootfs_needs(const struct rootfs *r, const char *module)
{
	for (size_t i = 0; i < r->count; i++)
		if (same(r->modules[i], module))
			return true;
	return false;
}

static int add(struct rootfs *r, const char *name)
{
	char **more;

	if (rootfs_needs(r, name) || r->count == NAMES_MAX)
		return 0;
	more = realloc(r->modules, (r->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->modules = more;
	more[r->count] = strdup(name);
	return more[r->count] ? (r->count++, 0) : -ENOMEM;
}

/* The drivers of a device, and of those that it hangs on up to the top. */
static int add_drivers(struct rootfs *r, const char *device, const char *top)
{
	char dir[PATH_MAX], link[PATH_MAX + 16], real[PATH_MAX];
	int err = 0;

	snprintf(dir, sizeof(dir), "%s", device);
	while (strlen(dir) > strlen(top) && !err) {
		snprintf(link, sizeof(link), "%s/driver/module", dir);
		if (realpath(link, real))
			err = add(r, strrchr(real, '/') + 1);
		*strrchr(dir, '/') = '\0';
	}
	return err;
}

/* The same for a disk and for those that it is made of. */
static int add_disk(struct rootfs *r, const char *disk, const char *top, int depth)
{
	char real[PATH_MAX], slaves[PATH_MAX + 16];
	struct dirent *e;
	int err = 0;
	DIR *d;

	if (realpath(disk, real) && !strncmp(real, top, strlen(top)))
		err = add_drivers(r, real, top);
	if (err || depth == DEPTH_MAX)
		return err;
	snprintf(slaves, sizeof(slaves), "%s/slaves", disk);
	d = opendir(slaves);
	while (d && !err && (e = readdir(d))) {
		char *one = e->d_name[0] == '.' ? NULL : text_of("%s/%s", slaves, e->d_name);

		if (one)
			err = add_disk(r, one, top, depth + 1);
		free(one);
	}
	if (d)
		closedir(d);
	return err;
}

/*
 * The disk of a file system that has a number of its own, as btrfs has: by the device
 * that it was mounted from. malloc'ed; NULL: it is none.
 */
static char *disk_of(const struct host *h, const char *source)
{
	char *file, *rel, *disk;

	if (strncmp(source, "/dev/", 5))
		return NULL;
	/* A name such as /dev/mapper/x or /dev/disk/by-uuid/x is a link. */
	file = host_resolve(h, source);
	rel = text_of("/sys/class/block/%s", strrchr(file ? file : source, '/') + 1);
	disk = rel ? host_path(h, rel) : NULL;
	free(rel);
	free(file);
	return disk;
}

/* A line of mountinfo: "36 35 98:0 /root / rw - ext4 /dev/x rw". */
static int add_mount(struct rootfs *r, const struct host *h, const char *line)
{
	unsigned int major, minor;
	char where[16], type[64], source[256] = "", *rel, *disk, *dir, top[PATH_MAX];
	const char *dash = strstr(line, " - ");
	int err;

	if (!dash || sscanf(line, "%*u %*u %u:%u %*s %15s ", &major, &minor, where) != 3 ||
	    (strcmp(where, "/") && strcmp(where, "/usr")) || sscanf(dash, " - %63s %255s", type, source) < 1)
		return 0;
	err = add(r, type);
	rel = text_of("/sys/dev/block/%u:%u", major, minor);
	disk = !rel ? NULL : major ? host_path(h, rel) : disk_of(h, source);
	dir = host_path(h, "/sys/devices");
	if (!err && disk && dir && realpath(dir, top))
		err = add_disk(r, disk, top, 0);
	free(rel);
	free(disk);
	free(dir);
	return err;
}

int rootfs_read(const struct host *h, struct rootfs *out)
{
	char *path = host_path(h, "/proc/self/mountinfo"), *text = NULL, *rest, *line;
	struct buf b = { 0 };
	int err = path ? 0 : -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (path && !file_read(path, MOUNTS_MAX, &b)) {
		text = strndup((char *)b.data, b.len);
		err = text ? 0 : -ENOMEM;
	}
	for (rest = text; !err && (line = strsep(&rest, "\n")); )
		err = add_mount(out, h, line);
	buf_free(&b);
	free(path);
	free(text);
	if (err)
		rootfs_free(out);
	return err;
}

void rootfs_free(struct rootfs *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->modules[i]);
	free(r->modules);
	memset(r, 0, sizeof(*r));
}
