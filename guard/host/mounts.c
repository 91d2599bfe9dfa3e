// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the mount point of a file system in mountinfo, by what udev calls its device. */
#include "guard/host/mounts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define MOUNTS_MAX (1u << 20)

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

/* Calls fn with each place where a device (NULL: any) is mounted: what of it, and where. */
static void walk_mounts(const struct host *h, const char *device,
			void (*fn)(void *arg, const char *root, const char *where), void *arg)
{
	char *path = host_path(h, "/proc/self/mountinfo"), *text = NULL, *rest, *line;
	char root[4096], where[4096], source[4096];
	struct buf b = { 0 };

	if (path && !file_read(path, MOUNTS_MAX, &b))
		text = strndup((char *)b.data, b.len);
	for (rest = text; (line = strsep(&rest, "\n")); ) {
		const char *dash = strstr(line, " - ");

		if (dash && sscanf(line, "%*u %*u %*u:%*u %4095s %4095s ", root, where) == 2 &&
		    sscanf(dash, " - %*s %4095s", source) == 1 &&
		    (!device || is_device(h, source, device)))
			fn(arg, root, where);
	}
	buf_free(&b);
	free(text);
	free(path);
}

static void keep_place(void *arg, const char *root, const char *where)
{
	char **found = arg;

	if (strcmp(root, "/") || strchr(where, '\\'))
		return;
	free(*found);
	*found = strdup(where);
}

char *mount_of(const struct host *h, const char *id)
{
	char *device = device_of(h, id), *found = NULL;

	if (device)
		walk_mounts(h, device, keep_place, &found);
	free(device);
	return found;
}

struct wanted {
	const char *const *places;
	bool found;
};

static void compare_place(void *arg, const char *root, const char *where)
{
	struct wanted *w = arg;

	(void)root;
	for (size_t i = 0; w->places[i]; i++)
		w->found |= !strcmp(where, w->places[i]);
}

int mount_is_at(const struct host *h, const char *id, const char *const *places)
{
	struct wanted w = { places, false };
	char *device = device_of(h, id);

	if (!device)
		return -ENOENT;
	walk_mounts(h, device, compare_place, &w);
	free(device);
	return w.found;
}

bool mount_is_point(const struct host *h, const char *where)
{
	const char *const places[] = { where, NULL };
	struct wanted w = { places, false };

	walk_mounts(h, NULL, compare_place, &w);
	return w.found;
}
