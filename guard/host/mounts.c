// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the mount point of a file system in mountinfo, by what udev calls its device. */
#include "guard/host/mounts.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

/* Those of a host with hundreds of containers have a few MiB. */
#define MOUNTS_MAX (16u << 20)

const char *const mount_esp_places[] = { "/boot/efi", "/efi", "/boot", NULL };

static char *resolve_name(const struct host *h, const char *kind, const char *id, int to_case(int))
{
	char *rel = text_of("/dev/disk/%s/%s", kind, id), *file;

	for (char *p = rel ? rel + strlen(rel) - strlen(id) : NULL; p && *p && to_case; p++)
		*p = to_case((unsigned char)*p);
	file = rel ? host_resolve(h, rel) : NULL;
	/* The live host's paths are left as they are: the link has to be followed. */
	if (file) {
		char *real = realpath(file, NULL);

		free(file);
		file = real;
	}
	free(rel);
	return file;
}

/* The device's name, "sda1"; malloc'ed, NULL: no device is called so. */
static char *device_of(const struct host *h, const char *id)
{
	static const char *const kinds[] = { "by-uuid", "by-partuuid", "by-label", "by-partlabel" };
	char *file = NULL, *name;

	if (!*id || strchr(id, '/') || *id == '.')
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && !file; i++) {
		file = resolve_name(h, kinds[i], id, NULL);
		/* A UUID may be written either way, and a link is written in one. */
		if (!file && i < 2)
			file = resolve_name(h, kinds[i], id, toupper);
		if (!file && i < 2)
			file = resolve_name(h, kinds[i], id, tolower);
	}
	name = file ? strdup(strrchr(file, '/') + 1) : NULL;
	free(file);
	return name;
}

static bool is_device(const struct host *h, const char *source, const char *device)
{
	char *file = strncmp(source, "/dev/", 5) ? NULL : host_resolve(h, source);
	char *real = file ? realpath(file, NULL) : NULL;
	bool is = !strcmp(strrchr(real ? real : "/", '/') + 1, device) ||
		  (!strncmp(source, "/dev/", 5) && !strcmp(source + 5, device));

	free(real);
	free(file);
	return is;
}

struct mount {
	unsigned int major, minor;
	char root[4096];	/* what of the file system */
	char where[4096];
	char type[64], source[4096];
	char options[8192];	/* of the file system; cut if they are longer */
};

/* Calls fn with each place where a device (NULL: any) is mounted. */
static void walk_mounts(const struct host *h, const char *device,
			void (*fn)(void *arg, const struct mount *m), void *arg)
{
	char *path = host_path(h, "/proc/self/mountinfo"), *text = NULL, *rest, *line;
	struct mount *m = malloc(sizeof(*m));
	struct buf b = { 0 };

	if (m && path && !file_read(path, MOUNTS_MAX, &b))
		text = strndup((char *)b.data, b.len);
	for (rest = text; (line = strsep(&rest, "\n")); ) {
		const char *dash = strstr(line, " - ");

		*m->options = '\0';
		if (dash &&
		    sscanf(line, "%*u %*u %u:%u %4095s %4095s ", &m->major, &m->minor, m->root,
			   m->where) == 4 &&
		    sscanf(dash, " - %63s %4095s %8191s", m->type, m->source, m->options) >= 2 &&
		    (!device || is_device(h, m->source, device)))
			fn(arg, m);
	}
	buf_free(&b);
	free(text);
	free(path);
	free(m);
}

int mounts_unread(const struct host *h)
{
	char *path = host_path(h, "/proc/self/mountinfo");
	struct buf b = { 0 };
	int err = path ? file_read(path, MOUNTS_MAX, &b) : -ENOMEM;

	buf_free(&b);
	free(path);
	/* A folder has no mounts, and a host where /proc is not mounted none to be seen. */
	return err == -ENOENT || err == -ENOTDIR ? 0 : err;
}

static void keep_place(void *arg, const struct mount *m)
{
	char **found = arg;

	if (strcmp(m->root, "/") || strchr(m->where, '\\'))
		return;
	free(*found);
	*found = strdup(m->where);
}

static bool says(const struct host *h, const char *md, const char *what, const char *value)
{
	char *rel = text_of("/sys/class/block/%s/md/%s", md, what);
	char *line = rel ? host_line(h, rel) : NULL;
	bool so = line && !strcmp(line, value);

	free(line);
	free(rel);
	return so;
}

/*
 * The mirror (md) that a partition is of, if its file system begins where the partition does:
 * firmware reads the one, and the other is what is mounted. Malloc'ed; NULL: none.
 */
static char *mirror_of(const struct host *h, const char *device)
{
	char *rel = text_of("/sys/class/block/%s/holders", device);
	char *dir = rel ? host_path(h, rel) : NULL, *mirror = NULL;
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && !mirror && (e = readdir(d)))
		if (says(h, e->d_name, "level", "raid1") &&
		    (says(h, e->d_name, "metadata_version", "1.0") ||
		     says(h, e->d_name, "metadata_version", "0.90")))
			mirror = strdup(e->d_name);
	if (d)
		closedir(d);
	free(dir);
	free(rel);
	return mirror;
}

/* What systemd mounts when it is looked into, as it does with EFI partitions, is mounted then. */
static void wake_automounts(const struct host *h)
{
	for (const char *const *place = mount_esp_places; *place; place++) {
		char *inside = text_of("%s/.", *place);

		if (inside)
			host_has(h, inside);
		free(inside);
	}
}

char *mount_of(const struct host *h, const char *id)
{
	char *device = device_of(h, id), *found = NULL, *mirror;

	if (device)
		walk_mounts(h, device, keep_place, &found);
	if (device && !found) {
		wake_automounts(h);
		walk_mounts(h, device, keep_place, &found);
	}
	mirror = device && !found ? mirror_of(h, device) : NULL;
	if (mirror)
		walk_mounts(h, mirror, keep_place, &found);
	free(mirror);
	free(device);
	return found;
}

struct esp_walk {
	const struct host *h;
	void (*fn)(void *arg, const char *where);
	void *arg;
};

/* By what udev read from the table of the disk: its type in GPT, or in the old kind. */
static bool has_esp_type(const struct host *h, const struct mount *m)
{
	static const char *const types[] = {
		"\nE:ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\n",
		"\nE:ID_PART_ENTRY_TYPE=0xef\n",
	};
	char *rel = text_of("/run/udev/data/b%u:%u", m->major, m->minor);
	char *path = rel ? host_path(h, rel) : NULL;
	struct buf b = { 0 };
	bool is = false;

	if (path && !file_read(path, MOUNTS_MAX, &b))
		for (size_t i = 0; i < ARRAY_SIZE(types) && !is; i++)
			is = memmem(b.data, b.len, types[i], strlen(types[i])) != NULL;
	buf_free(&b);
	free(path);
	free(rel);
	return is;
}

static void take_esp(void *arg, const struct mount *m)
{
	const struct esp_walk *w = arg;

	if (!strcmp(m->root, "/") && !strchr(m->where, '\\') && has_esp_type(w->h, m))
		w->fn(w->arg, m->where);
}

void mount_each_esp(const struct host *h, void (*fn)(void *arg, const char *where), void *arg)
{
	struct esp_walk w = { h, fn, arg };

	walk_mounts(h, NULL, take_esp, &w);
}

/* The mount that a file is in: the last one of the longest fitting point. */
struct wanted {
	const char *file;
	size_t above;	/* with a shorter point than that alone; 0: any */
	unsigned int major, minor;
	char *root, *where, *type, *source, *options;
};

static bool is_below(const char *file, const char *where)
{
	size_t len = strlen(where);

	return !strcmp(where, "/") || (!strncmp(file, where, len) && strchr("/", file[len]));
}

static void free_wanted(struct wanted *w)
{
	free(w->root);
	free(w->where);
	free(w->type);
	free(w->source);
	free(w->options);
}

static void keep_longest(void *arg, const struct mount *m)
{
	struct wanted *w = arg;

	if (!is_below(w->file, m->where) || (w->where && strlen(m->where) < strlen(w->where)) ||
	    (w->above && strlen(m->where) >= w->above))
		return;
	free_wanted(w);
	w->root = strdup(m->root);
	w->where = strdup(m->where);
	w->type = strdup(m->type);
	w->source = strdup(m->source);
	w->options = strdup(m->options);
	w->major = m->major;
	w->minor = m->minor;
}

int mount_path(const struct host *h, const char *id, const char *file, char **out)
{
	struct wanted any = { .file = file }, ours = { .file = file };
	char *device = device_of(h, id);
	int is = device ? 0 : -ENOENT;

	*out = NULL;
	if (device) {
		walk_mounts(h, NULL, keep_longest, &any);
		walk_mounts(h, device, keep_longest, &ours);
	}
	/* The same mount, and not one that is hidden below another. */
	if (any.root && any.where && ours.root && ours.where && !strcmp(any.where, ours.where) &&
	    !strcmp(any.root, ours.root))
		*out = text_of("%s%s", strcmp(ours.root, "/") ? ours.root : "",
			       file + (strcmp(ours.where, "/") ? strlen(ours.where) : 0));
	is = *out ? 1 : is;
	free_wanted(&any);
	free_wanted(&ours);
	free(device);
	return is;
}

static bool is_memory(const struct wanted *w)
{
	return w->type && (!strcmp(w->type, "tmpfs") || !strcmp(w->type, "ramfs"));
}

/* Where an overlay keeps what is written; malloc'ed, NULL: it is only read, or not known. */
static char *upper_of(const struct wanted *w)
{
	const char *at = w->options ? strstr(w->options, "upperdir=") : NULL;

	return at ? strndup(at + 9, strcspn(at + 9, ",")) : NULL;
}

const char *mount_made_anew(const struct host *h, const char *file)
{
	struct wanted at = { .file = file }, below = { 0 };
	const char *what = NULL;
	char *upper;

	walk_mounts(h, NULL, keep_longest, &at);
	upper = upper_of(&at);
	if (is_memory(&at)) {
		what = "in memory";
	} else if (at.type && !strcmp(at.type, "overlay") && !upper) {
		what = "put together of several trees (systemd-sysext, or an image)";
	} else if (at.type && !strcmp(at.type, "overlay")) {
		below.file = upper;
		walk_mounts(h, NULL, keep_longest, &below);
		/* Seen in an overlay, it was mounted before the root was, as of a live system. */
		what = is_memory(&below) ? "in an overlay whose changes are in memory" :
		       below.type && !strcmp(below.type, "overlay") ?
		       "in an overlay, and where its changes are kept is not to be seen" : NULL;
	}
	free_wanted(&at);
	free_wanted(&below);
	free(upper);
	return what;
}

/*
 * Shows it what would be seen there without it? systemd mounts folders over themselves for what
 * a unit may not write (ProtectSystem=), and in the unit's sight alone.
 */
static bool is_over_itself(const struct wanted *w, const struct wanted *below)
{
	const char *rest = w->where + (strcmp(below->where, "/") ? strlen(below->where) : 0);
	size_t n = strcmp(below->root, "/") ? strlen(below->root) : 0;

	return w->major == below->major && w->minor == below->minor &&
	       !strncmp(w->root, below->root, n) && !strcmp(w->root + n, rest);
}

char *mount_point(const struct host *h, const char *file)
{
	struct wanted w = { .file = file }, below;
	char *where = NULL;

	walk_mounts(h, NULL, keep_longest, &w);
	while (w.where && w.root) {
		below = (struct wanted){ .file = file, .above = strlen(w.where) };
		walk_mounts(h, NULL, keep_longest, &below);
		if (!below.where || !below.root || !is_over_itself(&w, &below)) {
			where = w.where;
			w.where = NULL;
			free_wanted(&below);
			break;
		}
		free_wanted(&w);
		w = below;
	}
	free_wanted(&w);
	return where;
}

bool mount_is_of_root(const struct host *h, const char *where)
{
	struct wanted root = { .file = "/" }, w = { .file = where };
	size_t n;
	bool is;

	walk_mounts(h, NULL, keep_longest, &root);
	walk_mounts(h, NULL, keep_longest, &w);
	n = root.source ? strlen(root.source) : 0;
	is = n && root.type && w.type && w.source && w.where && !strcmp(root.type, "zfs") &&
	     !strcmp(w.type, "zfs") && !strcmp(w.where, where) &&
	     !strncmp(w.source, root.source, n) && w.source[n] == '/';
	free_wanted(&root);
	free_wanted(&w);
	return is;
}

bool mount_root(const struct host *h, struct root_mount *out)
{
	struct wanted w = { .file = "/" };

	walk_mounts(h, NULL, keep_longest, &w);
	*out = (struct root_mount){ w.major, w.minor, w.root, w.type, w.source, w.options };
	free(w.where);
	if (out->tree && out->type && out->source && out->options)
		return true;
	root_mount_free(out);
	return false;
}

void root_mount_free(struct root_mount *m)
{
	free(m->tree);
	free(m->type);
	free(m->source);
	free(m->options);
	memset(m, 0, sizeof(*m));
}

/* A device by one of its names: "UUID=x", "/dev/x". Its name in sysfs, malloc'ed; NULL: none. */
static char *device_named(const struct host *h, const char *name)
{
	const char *equals = strchr(name, '=');
	char *file, *real, *device = NULL;

	if (*name != '/')
		return equals ? device_of(h, equals + 1) : NULL;
	file = host_resolve(h, name);
	real = file ? realpath(file, NULL) : NULL;
	if (real)
		device = strdup(strrchr(real, '/') + 1);
	free(real);
	free(file);
	return device;
}

/* Are both disks of one btrfs? */
static bool in_one_btrfs(const struct host *h, const char *a, const char *b)
{
	char *dir = host_path(h, "/sys/fs/btrfs"), *one, *other;
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;
	bool are = false;

	while (d && !are && (e = readdir(d))) {
		one = text_of("%s/%s/devices/%s", dir, e->d_name, a);
		other = text_of("%s/%s/devices/%s", dir, e->d_name, b);
		are = one && other && path_exists(one) && path_exists(other);
		free(one);
		free(other);
	}
	if (d)
		closedir(d);
	free(dir);
	return are;
}

/* Is it the device of this number? The kernel itself calls it /dev/root, which is none. */
static bool has_number(const struct host *h, const struct root_mount *m, const char *device)
{
	char *rel = text_of("/sys/dev/block/%u:%u", m->major, m->minor);
	char *path = rel ? host_path(h, rel) : NULL, *real = path ? realpath(path, NULL) : NULL;
	bool has = real && !strcmp(strrchr(real, '/') + 1, device);

	free(real);
	free(path);
	free(rel);
	return has;
}

int root_mount_is(const struct host *h, const struct root_mount *m, const char *name)
{
	char *device = device_named(h, name), *all = strdup(m->source), *rest = all, *one;
	int is = device ? has_number(h, m, device) : -ENOENT;

	/* bcachefs has all its devices there. */
	while (device && !is && (one = strsep(&rest, ":"))) {
		char *source = device_named(h, one);

		is = is_device(h, one, device) ||
		     (source && !strcmp(m->type, "btrfs") && in_one_btrfs(h, source, device));
		free(source);
	}
	free(all);
	free(device);
	return is;
}

bool mount_is(const struct host *h, const char *where, const char *name)
{
	struct wanted w = { .file = where };
	struct root_mount m;
	bool is;

	walk_mounts(h, NULL, keep_longest, &w);
	m = (struct root_mount){ w.major, w.minor, w.root, w.type, w.source, w.options };
	is = w.where && w.type && w.source && !strcmp(w.where, where) &&
	     (!strcmp(w.source, name) || root_mount_is(h, &m, name) == 1);
	free_wanted(&w);
	return is;
}
