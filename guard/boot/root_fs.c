// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The root file system of the next boot: by the command line of its entry, and of btrfs
 * without a subvolume in it, the default one. Hosts that make a new system beside the
 * running one (transactional-update, snapper rollback, two partitions in turn) boot
 * another one than what is mounted here, and its drivers are not those that are seen.
 */
#include "guard/boot/root_fs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/param.h"
#include "guard/base/util.h"
#include "guard/boot/loader.h"
#include "guard/host/btrfs.h"
#include "guard/host/mounts.h"

#define DISKS "/dev/disk"

static int forget(struct next_boot *out, char *why)
{
	free(out->kernel);
	out->kernel = NULL;
	free(out->why);
	out->why = why;
	return why ? 0 : -ENOMEM;
}

/* Does the running system have the same of this parameter, or none as well? */
static bool runs_with(const struct host *h, const char *name, const char *value)
{
	char *line = host_line(h, "/proc/cmdline");
	char *now = line ? param_value(line, name) : NULL;
	bool same = now && value ? !strcmp(now, value) : line && now == value;

	free(now);
	free(line);
	return same;
}

static bool begins(const char *text, const char *with)
{
	return !strncasecmp(text, with, strlen(with));
}

/* 1: root= names what is mounted, 0: another one, -ENOENT: nothing that is here, -EAGAIN. */
static int is_mounted(const struct host *h, const struct root_mount *m, const char *root)
{
	static const char *const kinds[] = { "UUID=", "PARTUUID=", "LABEL=", "PARTLABEL=" };

	/* Without a name it is the pool's property bootfs. */
	if (!strcasecmp(root, "zfs") || !strcasecmp(root, "zfs:AUTO") || !strcasecmp(root, "zfs=AUTO"))
		return -EAGAIN;
	if (begins(root, "ZFS=") || begins(root, "zfs:"))
		return !strcmp(m->type, "zfs") && !strcmp(root + 4, m->source);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (begins(root, kinds[i]))
			return root_mount_is(h, m, root);
	return begins(root, "/dev/") ? root_mount_is(h, m, root) : -ENOENT;
}

static int look_at_device(const struct host *h, const struct root_mount *m, const char *root,
			  struct next_boot *out)
{
	int is = is_mounted(h, m, root);

	/* Where nothing here has names, or it is none of a device, the same words do. */
	if (is == 1 || (is == -ENOENT && (!host_has(h, DISKS) || runs_with(h, "root", root))))
		return 0;
	if (is == -EAGAIN)
		return forget(out, text_of("the next boot has root=%s, so the property bootfs of a pool "
					   "decides, which is not looked at: have the entry name it, as "
					   "root=ZFS=%s", root, m->source));
	return forget(out, text_of("the next boot has root=%s, which is %s, so its drivers are not "
				   "those that are seen here: mend its entry, or ask again after "
				   "that boot", root, is ? "not here" : "not what is mounted on /"));
}

/* The value of an option in a list like "rw,subvol=@"; the last counts. Malloc'ed; NULL: none. */
static char *option_of(const char *list, const char *name)
{
	char *all = strdup(list), *rest = all, *one, *value = NULL;
	size_t n = strlen(name);

	while (all && (one = strsep(&rest, ",\n")))
		if (!strncmp(one, name, n) && one[n] == '=') {
			free(value);
			value = strdup(one + n + 1);
		}
	free(all);
	return value;
}

/* By the name of a subvolume, from the top. */
static bool same_tree(const char *a, const char *b)
{
	return !strcmp(a + strspn(a, "/"), b + strspn(b, "/"));
}

static int look_at_default(const struct host *h, const char *mounted, struct next_boot *out)
{
	char *path = host_path(h, "/"), *end = NULL;
	uint64_t id = 0, now = mounted ? strtoull(mounted, &end, 10) : 0;
	int err = path ? btrfs_default_subvolume(path, &id) : -ENOMEM;

	free(path);
	if (err == -ENOMEM)
		return err;
	if (err || !end || end == mounted || *end)
		return forget(out, text_of("the next boot takes the default subvolume of the btrfs "
					   "on /, which cannot be read (%s): ask again as root",
					   err ? strerror(-err) : "/ has no subvolid"));
	if (id == now)
		return 0;
	return forget(out, text_of("the next boot takes the default subvolume of the btrfs on /, with "
				   "the ID %" PRIu64 ", and this system runs in another one, %" PRIu64
				   ", as after transactional-update or snapper rollback; ask again "
				   "after that boot, or of the folder of its snapshot: kmodkeep doctor "
				   "--root /.snapshots/NUMBER/snapshot", id, now));
}

static int look_at_subvolume(const struct host *h, const struct root_mount *m, const char *flags,
			     struct next_boot *out)
{
	char *tree = option_of(flags, "subvol"), *id = option_of(flags, "subvolid");
	char *mounted = option_of(m->options, "subvolid");
	int err = 0;

	if ((tree && !same_tree(tree, m->tree)) || (id && (!mounted || strcmp(id, mounted))))
		err = forget(out, text_of("the next boot has rootflags=%s, and %s is what is mounted "
					  "on /, so its drivers are not those that are seen here: mend "
					  "its entry, or ask again after that boot", flags, m->tree));
	else if (!tree && !id)
		err = look_at_default(h, mounted, out);
	free(mounted);
	free(tree);
	free(id);
	return err;
}

/* What names a whole system: the same as now, or it is another one. */
static int look_at_images(const struct host *h, const char *line, struct next_boot *out)
{
	static const char *const names[] = {
		"ostree", "composefs", "roothash", "usrhash", "mount.usr", "mount.usrflags",
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !err && out->kernel; i++) {
		char *value = param_value(line, names[i]);

		if (value && !runs_with(h, names[i], value))
			err = forget(out, text_of("the next boot has %s=%s, and this system runs without "
						  "that, so the drivers of the next one are not those "
						  "that are seen here: ask again after that boot",
						  names[i], value));
		free(value);
	}
	return err;
}

int root_fs_look(const struct host *h, struct next_boot *out)
{
	const char *line = out->cmdline ? out->cmdline : "";
	struct root_mount m;
	char *root, *flags;
	int err = 0;

	/* A folder is nobody's root. */
	if (!out->kernel || !host_may_act(h) || !mount_root(h, &m))
		return 0;
	root = param_value(line, "root");
	flags = param_value(line, "rootflags");
	/* Of an overlay, what is below it is not to be seen. */
	if (root && strcmp(m.type, "overlay"))
		err = look_at_device(h, &m, root, out);
	if (!err && out->kernel && !strcmp(m.type, "btrfs"))
		err = look_at_subvolume(h, &m, flags ? flags : "", out);
	if (!err && out->kernel)
		err = look_at_images(h, line, out);
	free(flags);
	free(root);
	root_mount_free(&m);
	return err;
}
