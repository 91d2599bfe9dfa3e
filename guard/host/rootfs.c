// SPDX-License-Identifier: GPL-2.0-or-later
/* The root file system in mountinfo, and the devices above its disk in sysfs. */
#include "guard/host/rootfs.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define MOUNTS_MAX (1u << 20)
/* Of disks on disks: encryption on volumes on RAID on partitions. */
#define DEPTH_MAX 8

static bool same(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return !*a && !*b;
}

/* Is it the driver of this device, or of one that it hangs on? */
static bool drives(const char *device, const char *top, const char *module)
{
	char dir[PATH_MAX], link[PATH_MAX + 16], real[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", device);
	while (strlen(dir) > strlen(top)) {
		const char *name;

		snprintf(link, sizeof(link), "%s/driver/module", dir);
		name = realpath(link, real) ? strrchr(real, '/') : NULL;
		if (name && same(name + 1, module))
			return true;
		*strrchr(dir, '/') = '\0';
	}
	return false;
}

/* The same for a disk and for those that it is made of. */
static bool disk_needs(const char *disk, const char *top, const char *module, int depth)
{
	char real[PATH_MAX], slaves[PATH_MAX + 16];
	bool needs = realpath(disk, real) && !strncmp(real, top, strlen(top)) &&
		     drives(real, top, module);
	struct dirent *e;
	DIR *d;

	if (needs || depth == DEPTH_MAX)
		return needs;
	snprintf(slaves, sizeof(slaves), "%s/slaves", disk);
	d = opendir(slaves);
	while (d && !needs && (e = readdir(d))) {
		char *one = e->d_name[0] == '.' ? NULL : text_of("%s/%s", slaves, e->d_name);

		needs = one && disk_needs(one, top, module, depth + 1);
		free(one);
	}
	if (d)
		closedir(d);
	return needs;
}

/* A line of mountinfo: "36 35 98:0 /root / rw - ext4 /dev/x rw". */
static bool line_needs(const struct host *h, const char *line, const char *module)
{
	unsigned int major, minor;
	char where[16], type[64], *rel, *disk, *dir, top[PATH_MAX];
	const char *dash = strstr(line, " - ");
	bool needs = false;

	if (!dash || sscanf(line, "%*u %*u %u:%u %*s %15s ", &major, &minor, where) != 3 ||
	    (strcmp(where, "/") && strcmp(where, "/usr")) || sscanf(dash, " - %63s", type) != 1)
		return false;
	if (same(type, module))
		return true;
	rel = text_of("/sys/dev/block/%u:%u", major, minor);
	disk = rel ? host_path(h, rel) : NULL;
	dir = host_path(h, "/sys/devices");
	if (disk && dir && realpath(dir, top))
		needs = disk_needs(disk, top, module, 0);
	free(rel);
	free(disk);
	free(dir);
	return needs;
}

bool rootfs_needs(const struct host *h, const char *module)
{
	char *path = host_path(h, "/proc/self/mountinfo"), *text = NULL, *rest, *line;
	struct buf b = { 0 };
	bool needs = false;

	if (path && !file_read(path, MOUNTS_MAX, &b))
		text = strndup((char *)b.data, b.len);
	for (rest = text; !needs && (line = strsep(&rest, "\n")); )
		needs = line_needs(h, line, module);
	buf_free(&b);
	free(path);
	free(text);
	return needs;
}
