/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where file systems of the host are mounted. */
#ifndef KMODKEEP_MOUNTS_H
#define KMODKEEP_MOUNTS_H

#include "guard/host/host.h"

/*
 * The mount point of a whole file system by its UUID, its label, or the UUID or name of
 * its partition, which may be one of a mirror; malloc'ed, below the root. NULL: it is not
 * mounted, or not known.
 */
char *mount_of(const struct host *h, const char *id);

/*
 * What a file (below the root, no link) is called in the file system of that name, from its
 * top: of btrfs that is above its subvolumes. 1: it is in *out, malloc'ed; 0: the file is
 * not in it; -ENOENT: there is no such device.
 */
int mount_path(const struct host *h, const char *id, const char *file, char **out);

/*
 * Is a file (below the root, no link) in what each boot puts together anew, so that what is
 * there says nothing of the next one? A phrase on it; NULL: no, or not to be seen.
 */
const char *mount_made_anew(const struct host *h, const char *file);

/* Where an EFI partition mostly is mounted; the last one is NULL. */
extern const char *const mount_esp_places[];

/*
 * Where what a file is in is mounted, but for a folder that is mounted over itself; malloc'ed,
 * below the root. NULL: not to be seen.
 */
char *mount_point(const struct host *h, const char *file);

/* Is what is mounted there (as mount_point() has it) what this names: a device, "UUID=x", a server? */
bool mount_is(const struct host *h, const char *where, const char *name);

/* Why mountinfo, though it is there, cannot be read: -EFBIG, or another -errno; 0: no. */
int mounts_unread(const struct host *h);

/* Is it a file system of ZFS below that of the root, which what mounts that mounts, too? */
bool mount_is_of_root(const struct host *h, const char *where);

/* What is mounted as the root of the host. */
struct root_mount {
	unsigned int major, minor;
	char *tree;	/* what of the file system: of btrfs its subvolume, from the top */
	char *type, *source, *options;
};
/* false: it is not to be seen, as of a folder. */
bool mount_root(const struct host *h, struct root_mount *out);
void root_mount_free(struct root_mount *m);
/*
 * Is it on the device of this name ("UUID=x", "/dev/x"), or on several of which that is one?
 * 1, 0, or -ENOENT: there is no such device.
 */
int root_mount_is(const struct host *h, const struct root_mount *m, const char *name);

/* Calls fn with each mount point of a partition that has the type of an EFI partition. */
void mount_each_esp(const struct host *h, void (*fn)(void *arg, const char *where), void *arg);

#endif
