// SPDX-License-Identifier: GPL-2.0-or-later
/* The root file system in mountinfo, and the devices above its disks in sysfs. */
#include "guard/host/rootfs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/run.h"
#include "guard/base/util.h"

#define MOUNTS_MAX (1u << 20)
#define NAMES_MAX 256
/* Of disks on disks: encryption on volumes on RAID on partitions. */
#define DEPTH_MAX 8
/* For "zpool list", in seconds; it hangs where a pool does. */
#define PATIENCE 10
#define POOL_MAX (1u << 20)

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

/* Says what is not to be seen, once. 0 or -ENOMEM. */
static int unseen(struct rootfs *r, const char *what)
{
	if (r->unseen)
		return 0;
	r->unseen = strdup(what);
	if (!r->unseen)
		return -ENOMEM;
	make_printable(r->unseen);
	return 0;
}

static int add(struct rootfs *r, const char *name)
{
	char **more;

	if (rootfs_needs(r, name))
		return 0;
	if (r->count == NAMES_MAX)
		return unseen(r, "more devices than are looked at");
	more = realloc(r->modules, (r->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	r->modules = more;
	more[r->count] = strdup(name);
	return more[r->count] ? (r->count++, 0) : -ENOMEM;
}

/* That of the disk itself says nothing of what the disk hangs on, which may be a network. */
static bool is_scsi(const char *device)
{
	char link[PATH_MAX + 16], real[PATH_MAX];

	snprintf(link, sizeof(link), "%s/subsystem", device);
	return realpath(link, real) && !strcmp(strrchr(real, '/'), "/scsi");
}

/* The drivers of a device, and of those that it hangs on up to the top; *any: it has one. */
static int add_drivers(struct rootfs *r, const char *device, const char *top, bool *any)
{
	char dir[PATH_MAX], link[PATH_MAX + 16], real[PATH_MAX];
	int err = 0;

	snprintf(dir, sizeof(dir), "%s", device);
	while (strlen(dir) > strlen(top) && !err) {
		snprintf(link, sizeof(link), "%s/driver/module", dir);
		if (realpath(link, real))
			err = add(r, strrchr(real, '/') + 1);
		/* One that is built in may have no module to point to. */
		snprintf(link, sizeof(link), "%s/driver", dir);
		*any |= path_exists(link) && !is_scsi(dir);
		*strrchr(dir, '/') = '\0';
	}
	return err;
}

/* Several ways to one NVMe disk: the controllers are linked beside it. */
static int add_nvme_ways(struct rootfs *r, const char *disk, const char *top, bool *any)
{
	char dir[PATH_MAX], real[PATH_MAX];
	struct dirent *e;
	int err = 0;
	DIR *d;

	if (!strstr(disk, "/nvme-subsystem/"))
		return 0;
	snprintf(dir, sizeof(dir), "%s", disk);
	while (!strstr(strrchr(dir, '/'), "/nvme-subsys") && strrchr(dir, '/') > dir)
		*strrchr(dir, '/') = '\0';
	d = opendir(dir);
	while (d && !err && (e = readdir(d))) {
		char *one = !strncmp(e->d_name, "nvme", 4) ? text_of("%s/%s", dir, e->d_name) : NULL;
		bool driven = false;

		if (one && realpath(one, real) && !strncmp(real, top, strlen(top)) &&
		    !strstr(real, "/nvme-subsystem/")) {
			err = add_drivers(r, real, top, &driven);
			if (!err && !driven)
				err = unseen(r, e->d_name);
			*any = true;
		}
		free(one);
	}
	if (d)
		closedir(d);
	return err;
}

static int add_disk(struct rootfs *r, const char *disk, const char *top, int depth);

/* Those that a disk is made of; *any: there is one. */
static int add_slaves(struct rootfs *r, const char *disk, const char *top, int depth, bool *any)
{
	char slaves[PATH_MAX + 16];
	struct dirent *e;
	int err = 0;
	DIR *d;

	snprintf(slaves, sizeof(slaves), "%s/slaves", disk);
	d = opendir(slaves);
	while (d && !err && (e = readdir(d))) {
		char *one = e->d_name[0] == '.' ? NULL : text_of("%s/%s", slaves, e->d_name);

		if (one) {
			err = add_disk(r, one, top, depth + 1);
			*any = true;
		}
		free(one);
	}
	if (d)
		closedir(d);
	return err;
}

/* The drivers of a disk and of those that it is made of. */
static int add_disk(struct rootfs *r, const char *disk, const char *top, int depth)
{
	char real[PATH_MAX], part[PATH_MAX + 16];
	bool any = false;
	int err;

	if (depth == DEPTH_MAX || !realpath(disk, real) || strncmp(real, top, strlen(top)))
		return unseen(r, strrchr(disk, '/') + 1);
	/* What the whole disk is made of is what its partition is made of. */
	snprintf(part, sizeof(part), "%s/partition", real);
	if (path_exists(part) && strrchr(real, '/') > real + strlen(top))
		*strrchr(real, '/') = '\0';
	err = add_drivers(r, real, top, &any);
	if (!err)
		err = add_nvme_ways(r, real, top, &any);
	if (!err)
		err = add_slaves(r, real, top, depth, &any);
	return err || any ? err : unseen(r, strrchr(real, '/') + 1);
}

/* A device by its name in /dev, which may be a link: /dev/mapper/x, /dev/disk/by-id/x. */
static char *disk_of(const struct host *h, const char *source)
{
	char *file = host_resolve(h, source);
	char *rel = text_of("/sys/class/block/%s", strrchr(file ? file : source, '/') + 1);
	char *disk = rel ? host_path(h, rel) : NULL;

	free(rel);
	free(file);
	return disk;
}

static int add_source(struct rootfs *r, const struct host *h, const char *source, const char *top)
{
	char *disk = disk_of(h, source);
	int err = disk ? add_disk(r, disk, top, 0) : -ENOMEM;

	free(disk);
	return err;
}

/* All disks of a btrfs, of which one is the source. */
static int add_btrfs(struct rootfs *r, const struct host *h, const char *source, const char *top)
{
	char *all = host_path(h, "/sys/fs/btrfs"), *disk = disk_of(h, source);
	DIR *d = all ? opendir(all) : NULL;
	struct dirent *e, *one;
	bool found = false;
	int err = all && disk ? 0 : -ENOMEM;

	while (d && !err && !found && (e = readdir(d))) {
		char *dir = text_of("%s/%s/devices", all, e->d_name);
		char *mine = dir ? text_of("%s%s", dir, strrchr(disk, '/')) : NULL;
		DIR *list = mine && path_exists(mine) ? opendir(dir) : NULL;

		found = list != NULL;
		while (list && !err && (one = readdir(list))) {
			char *path = one->d_name[0] == '.' ? NULL :
				     text_of("%s/%s", dir, one->d_name);

			if (path)
				err = add_disk(r, path, top, 0);
			free(path);
		}
		if (list)
			closedir(list);
		free(mine);
		free(dir);
	}
	if (d)
		closedir(d);
	free(all);
	free(disk);
	return err || found ? err : unseen(r, "the devices of its btrfs");
}

/* A line of "zpool list -vHPL": a device, or what some of them make up. */
static int add_vdev(struct rootfs *r, const struct host *h, char *line, const char *top)
{
	char *name = line + strspn(line, "\t ");

	name[strcspn(name, "\t ")] = '\0';
	if (!strncmp(name, "/dev/", 5))
		return add_source(r, h, name, top);
	/* A file, or a device that is gone, which has a number in place of a name. */
	return *name == '/' || (*name && !name[strspn(name, "0123456789")]) ? unseen(r, name) : 0;
}

/* All disks of a pool of ZFS, which only its own tool knows. */
static int add_pool(struct rootfs *r, const struct host *h, const char *dataset, const char *top)
{
	static const char *const names[] = { "zpool", NULL };
	char *pool = strndup(dataset, strcspn(dataset, "/@"));
	char *tool = host_may_act(h) ? host_tool(h, names) : NULL, *text, *rest, *line;
	char *argv[] = { tool, (char *)"list", (char *)"-vHPL", pool, NULL };
	struct buf b = { 0 };
	int err = !pool ? -ENOMEM : tool ? run_output(argv, PATIENCE, POOL_MAX, &b) : -ENOENT;
	bool listed = !err && memmem(b.data, b.len, "/dev/", 5);

	text = listed ? strndup((char *)b.data, b.len) : NULL;
	if (err != -ENOMEM)
		err = !listed ? unseen(r, "the devices of its pool of ZFS") : text ? 0 : -ENOMEM;
	/* The first line is the pool itself, whatever it is called. */
	for (rest = text ? strchr(text, '\n') : NULL; !err && (line = strsep(&rest, "\n")); )
		err = add_vdev(r, h, line, top);
	buf_free(&b);
	free(text);
	free(tool);
	free(pool);
	return err;
}

/* "/dev/a:/dev/b", as bcachefs has it, or one. */
static int add_sources(struct rootfs *r, const struct host *h, const char *source, const char *top)
{
	char *all = strdup(source), *rest = all, *one;
	int err = all ? 0 : -ENOMEM;

	while (!err && (one = strsep(&rest, ":")))
		err = strncmp(one, "/dev/", 5) ? unseen(r, source) : add_source(r, h, one, top);
	free(all);
	return err;
}

/* Devices that options name: the journal of an XFS may be on another disk. */
static int add_options(struct rootfs *r, const struct host *h, const char *options,
		       const char *top)
{
	char *all = strdup(options), *rest = all, *one;
	int err = all ? 0 : -ENOMEM;

	while (!err && (one = strsep(&rest, ",\n"))) {
		char *value = strchr(one, '=');

		if (value && !strncmp(value, "=/dev/", 6))
			err = add_source(r, h, value + 1, top);
	}
	free(all);
	return err;
}

struct mount {
	unsigned int major, minor;
	char type[64], source[1024];
	const char *options;
};

static int add_mount(struct rootfs *r, const struct host *h, const struct mount *m,
		     const char *top)
{
	char *rel = text_of("/sys/dev/block/%u:%u", m->major, m->minor);
	char *disk = rel ? host_path(h, rel) : NULL;
	int err = disk ? add(r, m->type) : -ENOMEM;

	if (!err && m->major)
		err = add_disk(r, disk, top, 0);
	/* The other ones have a number that is no device's. */
	else if (!err && !strcmp(m->type, "zfs"))
		err = add_pool(r, h, m->source, top);
	else if (!err && !strcmp(m->type, "btrfs"))
		err = add_btrfs(r, h, m->source, top);
	else if (!err)
		err = add_sources(r, h, m->source, top);
	if (!err && m->options)
		err = add_options(r, h, m->options, top);
	free(rel);
	free(disk);
	return err;
}

/* A line of mountinfo: "36 35 98:0 /root / rw - ext4 /dev/x rw". */
static int read_line(struct rootfs *r, const struct host *h, const char *line)
{
	const char *dash = strstr(line, " - ");
	struct mount m = { 0 };
	char where[16], top[PATH_MAX], *dir;
	int at = 0, err;

	if (!dash || sscanf(line, "%*u %*u %u:%u %*s %15s ", &m.major, &m.minor, where) != 3 ||
	    (strcmp(where, "/") && strcmp(where, "/usr")) ||
	    sscanf(dash, " - %63s %1023s %n", m.type, m.source, &at) < 1)
		return 0;
	m.options = at ? dash + at : NULL;
	dir = host_path(h, "/sys/devices");
	err = !dir ? -ENOMEM : realpath(dir, top) ? add_mount(r, h, &m, top) :
	      unseen(r, "/sys/devices");
	free(dir);
	return err;
}

int rootfs_read(const struct host *h, struct rootfs *out)
{
	char *path = host_path(h, "/proc/self/mountinfo"), *text = NULL, *rest, *line;
	struct buf b = { 0 };
	int err = path ? file_read(path, MOUNTS_MAX, &b) : -ENOMEM;
	bool gone = err == -ENOENT && !host_is_live(h);

	memset(out, 0, sizeof(*out));
	if (!err) {
		text = strndup((char *)b.data, b.len);
		err = text ? 0 : -ENOMEM;
	} else if (err != -ENOMEM) {
		/* A folder is not mounted as a root by anybody. */
		err = gone ? 0 : unseen(out, "/proc/self/mountinfo");
	}
	for (rest = text; !err && (line = strsep(&rest, "\n")); )
		err = read_line(out, h, line);
	if (!err && text && !out->count)
		err = unseen(out, "no file system is mounted on /");
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
	free(r->unseen);
	memset(r, 0, sizeof(*r));
}
